//! The load: processes that write for ever.

use std::{
    fs::{self, File},
    io::{Seek as _, Write as _},
    os::unix::fs::FileExt as _,
    process, thread,
    time::Duration,
};

/// Where each paced writer keeps the count of its synced bytes.
pub const SYNCED: &str = "/run/synced";

/// Write one file, from the start again after `megabytes`, for ever.
pub fn write_forever(path: &str, megabytes: u64) -> ! {
    let _ = rustix::thread::set_name(c"writer");
    let _ = fs::write("/proc/self/oom_score_adj", "500");
    let chunk = vec![b'x'; 64 * 1024];
    loop {
        let round = || -> std::io::Result<()> {
            let mut file = File::create(path)?;
            for _ in 0..megabytes * 16 {
                file.write_all(&chunk)?;
            }
            Ok(())
        };
        if let Err(error) = round() {
            eprintln!("the writer of {path} ends: {error}");
            process::exit(1);
        }
    }
}

/// Write so much a second, and have it synced, for ever. What falls behind,
/// because a sync takes long, is not made up for.
pub fn write_paced(path: &str, kilobytes: u64) -> ! {
    let _ = rustix::thread::set_name(c"writer");
    if let Err(error) = paced(path, kilobytes) {
        eprintln!("the writer of {path} ends: {error}");
    }
    process::exit(1);
}

fn paced(path: &str, kilobytes: u64) -> std::io::Result<()> {
    let chunk = vec![b'y'; 1024];
    fs::create_dir_all(SYNCED)?;
    let tally = File::create(format!("{SYNCED}/{}", process::id()))?;
    let mut file = File::create(path)?;
    let mut synced = 0;
    loop {
        for _ in 0..kilobytes {
            file.write_all(&chunk)?;
        }
        file.sync_all()?;
        synced += kilobytes * 1024;
        // In place and of one width: a reader never sees it half written.
        tally.write_all_at(format!("{synced:020}\n").as_bytes(), 0)?;
        if file.stream_position()? >= 32 << 20 {
            file.rewind()?;
        }
        thread::sleep(Duration::from_secs(1));
    }
}
