//! Sends files out of the guest, through the port of the facts.

use std::{
    fs::{self, File},
    io::Read as _,
    time::SystemTime,
};

use anyhow::{Context as _, Result};
use data_encoding::BASE64;
use guest::Event;

use crate::tell;

/// The size of a part in one fact: samples must fit in between.
const PART: u64 = 12 << 10;

/// The maximum of one file: the port transfers some hundred kilobytes a second.
const MOST: u64 = 8 << 20;

/// Send the newest files of a directory.
pub fn send(dir: &str, newest: usize) -> Result<()> {
    let mut files: Vec<(SystemTime, String)> = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| dir.to_owned())?.flatten() {
        let data = entry.metadata()?;
        if let (true, Ok(name)) = (data.is_file(), entry.file_name().into_string()) {
            files.push((data.modified()?, name));
        }
    }
    files.sort();
    let old = files.len().saturating_sub(newest);
    for (_, name) in files.drain(old..) {
        let path = format!("{dir}/{name}");
        parts(&path, &name).with_context(|| path.clone())?;
    }
    Ok(())
}

fn parts(path: &str, name: &str) -> Result<()> {
    let mut file = File::open(path)?.take(MOST);
    let mut offset = 0;
    loop {
        let mut part = Vec::new();
        file.by_ref().take(PART).read_to_end(&mut part)?;
        // An empty file also needs one part.
        if part.is_empty() && offset > 0 {
            return Ok(());
        }
        tell::event(Event::File {
            name: name.to_owned(),
            offset,
            content: BASE64.encode(&part),
        });
        offset += part.len() as u64;
        if part.is_empty() {
            return Ok(());
        }
    }
}
