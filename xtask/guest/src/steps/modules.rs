//! Modules that go again, and what the daemon leaves behind.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use guest::Event;

use super::command;
use crate::tell;

/// Try to unload, and tell.
pub fn unload(modules: &[String], most: Duration) {
    let mut arguments = vec!["-r"];
    arguments.extend(modules.iter().map(String::as_str));
    let start = Instant::now();
    let error = loop {
        match command("modprobe", &arguments) {
            Ok(()) => break None,
            // A server's last thread, a client's last work item: they take their time.
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

/// Count, and tell.
///
/// What nobody holds any more the kernel frees after a grace period of RCU, from
/// a work queue: only what is still there after ten seconds is left behind.
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
    /// What these commands use of `union bpf_attr`.
    #[repr(C)]
    #[derive(Default)]
    struct Attribute {
        start_id: u32,
        next_id: u32,
        open_flags: u32,
    }
    let mut attribute = Attribute::default();
    for found in 0.. {
        // SAFETY: the kernel reads and writes this struct, whose size it is
        // told, and nothing else.
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
