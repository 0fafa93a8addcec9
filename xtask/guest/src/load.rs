//! The load: processes that write for ever.

use std::{fs::File, io::Write as _, process};

/// Write one file, from the start again after `megabytes`, for ever.
pub fn write_forever(path: &str, megabytes: u64) -> ! {
    let _ = rustix::thread::set_name(c"writer");
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
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
