//! The beginning of a connection with TLS.

use std::sync::Arc;

use rustls::ServerConfig;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// With which each connection of TLS begins: the type of a record.
const HANDSHAKE: u8 = 0x16;

/// What someone gets who speaks HTTP here, in its own words.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Connection: close\r\n\
    \r\n\
    this port speaks HTTPS: use https:// instead of http://\n";

/// Shakes hands. `None`: with whom that was not possible.
pub(super) async fn accept(
    mut stream: TcpStream,
    config: &Arc<ServerConfig>,
) -> Option<TlsStream<TcpStream>> {
    let mut first = [0];
    if stream.peek(&mut first).await.ok()? == 1 && first[0] != HANDSHAKE {
        // Whether he reads it is his affair.
        let _ = stream.write_all(PLAIN).await;
        let _ = stream.shutdown().await;
        return None;
    }
    let accepted = TlsAcceptor::from(Arc::clone(config)).accept(stream).await;
    accepted
        .inspect_err(|error| tracing::debug!(%error, "no TLS handshake"))
        .ok()
}
