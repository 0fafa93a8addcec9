//! Unloads modules, and counts what the daemon leaves behind.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use guest::Event;

use super::command;
use crate::tell;

/// Tries to unload them, and reports the outcome.
pub fn unload(modules: &[String], most: Duration) {
    let mut arguments = vec!["-r"];
    arguments.extend(modules.iter().map(String::as_str));
    let start = Instant::now();
    let error = loop {
        match command("modprobe", &arguments) {
            Ok(()) => break None,
            // A server's last thread and a client's last work item take some time.
            Err(_) if start.elapsed() < most => thread::sleep(Duration::from_millis(200)),
            Err(error) => break Some(format!("{error:#}")),
        }
    };
    tell::event(Event::Unloaded {
        modules: modules.to_vec(),
        error,
    });
}

/// Commands of bpf(2) that name the next object after one.
const PROGRAMS: libc::c_long = 11;
const MAPS: libc::c_long = 12;
const LINKS: libc::c_long = 31;

/// Counts the BPF objects, and reports them.
///
/// The kernel frees unused objects after a grace period of RCU, from a work queue. Only those that
/// remain after ten seconds are left behind.
pub fn bpf_objects() -> Result<()> {
    let start = Instant::now();
    let objects = loop {
        let objects = [count(PROGRAMS)?, count(MAPS)?, count(LINKS)?];
        if objects == [0; 3] || start.elapsed() > Duration::from_secs(10) {
            break objects;
        }
        thread::sleep(Duration::from_millis(250));
    };
    let [programs, maps, links] = objects;
    tell::event(Event::BpfObjects {
        programs,
        maps,
        links,
    });
    Ok(())
}

fn count(command: libc::c_long) -> Result<usize> {
    /// The used part of `union bpf_attr`.
    #[repr(C)]
    #[derive(Default)]
    struct Attribute {
        start_id: u32,
        next_id: u32,
        open_flags: u32,
    }
    let mut attribute = Attribute::default();
    for found in 0.. {
        // SAFETY: the kernel reads and writes only this struct, whose size the call passes.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                command,
                &raw mut attribute,
                size_of::<Attribute>(),
            )
        };
        if result != 0 {
            let error = std::io::Error::last_os_error();
            if error.raw_os_error() == Some(libc::ENOENT) {
                return Ok(found);
            }
            bail!("bpf({command}): {error}");
        }
        attribute.start_id = attribute.next_id;
    }
    Ok(0)
}
