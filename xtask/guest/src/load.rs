//! The load: processes that write for ever, and some that take their time.

use std::{
    fs::{self, File},
    io::Result,
    io::Write as _,
    os::unix::fs::FileExt as _,
    process, thread,
    time::{Duration, Instant},
};

/// Where each writer that takes its time keeps the count of its synced bytes.
pub const SYNCED: &str = "/run/synced";

/// What a writer that takes its time says before it sends its first bytes.
pub const FIRST: &str = "first";

/// Write one file, from the start again after `megabytes`, for ever.
pub fn write_forever(path: &str, megabytes: u64) -> ! {
    let _ = rustix::thread::set_name(c"writer");
    let _ = fs::write("/proc/self/oom_score_adj", "500");
    let chunk = vec![b'x'; 64 * 1024];
    loop {
        let round = || -> Result<()> {
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

/// Write to one file, no more than four times a second and over its first 16 MiB
/// again and again, for so many seconds. The server sees bytes from the start:
/// left to itself the client would keep them for half a minute.
pub fn write_at_leisure(directory: &str, seconds: u64) -> Result<()> {
    const PAUSE: Duration = Duration::from_millis(250);
    let _ = rustix::thread::set_name(c"writer");
    let chunk = vec![b'y'; 256 * 1024];
    // Two clients may write to one export.
    let file = File::create(format!("{directory}/paced{}", process::id()))?;
    fs::create_dir_all(SYNCED)?;
    let tally = File::create(format!("{SYNCED}/{}", process::id()))?;
    let start = Instant::now();
    let mut round: u32 = 0;
    while start.elapsed() < Duration::from_secs(seconds) {
        file.write_all_at(&chunk, u64::from(round % 64) * chunk.len() as u64)?;
        if round == 0 {
            println!("{FIRST}");
        }
        if round.is_multiple_of(4) {
            file.sync_all()?;
            let synced = u64::from(round + 1) * chunk.len() as u64;
            // In place and of one width: a reader never sees it half written.
            tally.write_all_at(format!("{synced:020}\n").as_bytes(), 0)?;
        }
        round += 1;
        thread::sleep((PAUSE * round).saturating_sub(start.elapsed()));
    }
    file.sync_all()
}
