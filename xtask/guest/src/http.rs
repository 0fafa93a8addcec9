//! A minimal HTTP client for the daemon's API.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

/// The daemon's default port.
const DAEMON: u16 = 9746;

/// The body of a successful answer.
pub fn get(path: &str) -> Result<String> {
    get_at(DAEMON, path)
}

/// The same for a daemon on another port.
pub fn get_at(port: u16, path: &str) -> Result<String> {
    let limit = Duration::from_secs(3);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream =
        TcpStream::connect_timeout(&address, limit).context("connecting to the daemon")?;
    stream.set_read_timeout(Some(limit))?;
    // Version 1.0, so that the answer ends with the connection, unchunked.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .context("reading the answer")?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the answer has no end of headers")?;
    if head.split_whitespace().nth(1) != Some("200") {
        bail!("{path}: {}", head.lines().next().unwrap_or_default());
    }
    Ok(body.to_owned())
}
