//! Checks whether the other guest answers.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// Two guests share the host's processors, so one may boot long after the other.
const PATIENCE: Duration = Duration::from_mins(1);

fn answers(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

/// Waits until a server listens there.
pub fn reach(address: &str) -> Result<()> {
    let parsed = address.parse().with_context(|| address.to_owned())?;
    let start = Instant::now();
    while !answers(parsed) {
        if start.elapsed() > PATIENCE {
            bail!("nothing listens at {address}");
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Waits until a client has connected.
pub fn hear(port: u16) -> Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    listener.accept().context("waiting for the other guest")?;
    Ok(())
}

/// Waits until three attempts in a row fail: on a busy host one answer may be late.
pub fn gone(address: &str) -> Result<()> {
    let parsed = address.parse().with_context(|| address.to_owned())?;
    let start = Instant::now();
    let mut silent = 0;
    while silent < 3 {
        silent = if answers(parsed) { 0 } else { silent + 1 };
        if start.elapsed() > PATIENCE {
            bail!("{address} still answers");
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
