//! Sends facts on the second serial port, one JSON object per line.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    sync::{Mutex, OnceLock},
};

use anyhow::{Context as _, Result};
use guest::{Event, Fact};
use rustix::{
    termios::{OptionalActions, tcgetattr, tcsetattr},
    time::{ClockId, clock_gettime},
};

static PORT: OnceLock<Mutex<File>> = OnceLock::new();

/// Open the port. Before that, facts go to the console only.
pub fn open() -> Result<()> {
    let port = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/ttyS1")
        .context("opening /dev/ttyS1")?;
    let mut modes = tcgetattr(&port).context("reading the modes of /dev/ttyS1")?;
    modes.make_raw();
    tcsetattr(&port, OptionalActions::Now, &modes).context("setting the modes of /dev/ttyS1")?;
    let _ = PORT.set(Mutex::new(port));
    Ok(())
}

/// `CLOCK_MONOTONIC`, in milliseconds.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let ms = time.tv_sec * 1000 + time.tv_nsec / 1_000_000;
    u64::try_from(ms).unwrap_or(0)
}

/// Sends an event to the host.
pub fn event(event: Event) {
    let fact = Fact { ms: now(), event };
    let Ok(mut line) = serde_json::to_vec(&fact) else {
        return;
    };
    line.push(b'\n');
    match PORT.get().map(Mutex::lock) {
        Some(Ok(mut port)) => drop(port.write_all(&line)),
        _ => println!("{fact:?}"),
    }
}
