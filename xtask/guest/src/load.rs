//! The load: processes that write for ever, and slow ones that end.

use std::{
    fs::{self, File},
    io::Result,
    io::Write as _,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    process,
    ptr::null_mut,
    thread,
    time::{Duration, Instant},
};

use guest::Way;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

use crate::counters::{self, SYNCED};

/// A slow writer's message before its first bytes.
pub const FIRST: &str = "first";

/// Writes one file for ever, from the start again after `megabytes`.
pub fn write_forever(path: &str, megabytes: u64, way: &str) -> ! {
    let _ = rustix::thread::set_name(c"writer");
    let _ = fs::write("/proc/self/oom_score_adj", "500");
    loop {
        let round = match Way::named(way) {
            Some(Way::Mapped) => write_mapped(path, megabytes),
            Some(Way::Direct) => write_direct(path, megabytes),
            Some(Way::Small) => write_small(path),
            Some(Way::Metadata) => tend(path),
            Some(way) => write_buffered(path, megabytes, way),
            None => Err(std::io::ErrorKind::InvalidInput.into()),
        };
        if let Err(error) = round {
            eprintln!("the writer of {path} ends: {error}");
            process::exit(1);
        }
    }
}

fn write_buffered(path: &str, megabytes: u64, way: Way) -> Result<()> {
    let chunk = vec![b'x'; 64 * 1024];
    let mut file = File::create(path)?;
    for number in 1..=megabytes * 16 {
        file.write_all(&chunk)?;
        if way == Way::Fsync && number.is_multiple_of(64) {
            file.sync_all()?;
        }
        if way == Way::Moderate && number.is_multiple_of(4) {
            thread::sleep(Duration::from_millis(250));
        }
    }
    Ok(())
}

fn write_direct(path: &str, megabytes: u64) -> Result<()> {
    let (file, mut chunk) = direct(path)?;
    for number in 0..megabytes {
        file.write_all_at(chunk.bytes(), number << 20)?;
    }
    Ok(())
}

/// Writes a megabyte at a time past the page cache, repeatedly over the first eight, at a limited
/// rate.
pub fn write_direct_forever(path: &str, megabytes_per_second: u64) -> Result<()> {
    let _ = rustix::thread::set_name(c"writer");
    let (file, mut chunk) = direct(path)?;
    let pause = Duration::from_secs(1) / u32::try_from(megabytes_per_second.max(1)).unwrap_or(1);
    let mut number = 0;
    loop {
        let start = Instant::now();
        file.write_all_at(chunk.bytes(), (number % 8) << 20)?;
        number += 1;
        thread::sleep(pause.saturating_sub(start.elapsed()));
    }
}

/// A new file to write past the page cache, and a buffer of a megabyte.
fn direct(path: &str) -> Result<(File, Mapping)> {
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(libc::O_DIRECT)
        .open(path)?;
    // Any page-aligned buffer works for direct I/O.
    let mut chunk = Mapping::new(None, 1 << 20)?;
    chunk.bytes().fill(b'x');
    Ok((file, chunk))
}

fn write_mapped(path: &str, megabytes: u64) -> Result<()> {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    file.set_len(megabytes << 20)?;
    let size = usize::try_from(megabytes << 20).map_err(std::io::Error::other)?;
    Mapping::new(Some(&file), size)?.bytes().fill(b'x');
    Ok(())
}

fn write_small(path: &str) -> Result<()> {
    for number in 0..64 {
        fs::write(format!("{path}.{number}"), [b'x'; 4096])?;
        thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

fn tend(path: &str) -> Result<()> {
    let directory = format!("{path}.d");
    fs::create_dir_all(&directory)?;
    for number in 0..64 {
        let name = format!("{directory}/{number}");
        File::create(&name)?;
        fs::rename(&name, format!("{name}.new"))?;
    }
    for entry in fs::read_dir(&directory)? {
        fs::remove_file(entry?.path())?;
    }
    thread::sleep(Duration::from_millis(500));
    Ok(())
}

/// Reads one sparse file for ever, at a limited rate.
pub fn read_forever(path: &str, megabytes: u64, megabytes_per_second: u64) -> Result<()> {
    let _ = rustix::thread::set_name(c"reader");
    let _ = fs::write("/proc/self/oom_score_adj", "500");
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    file.set_len(megabytes << 20)?;
    let mut chunk = vec![0; 1 << 20];
    loop {
        for number in 0..megabytes {
            file.read_exact_at(&mut chunk, number << 20)?;
            thread::sleep(
                Duration::from_secs(1) / u32::try_from(megabytes_per_second).unwrap_or(1),
            );
        }
    }
}

/// Fills a file until a process is killed for lack of memory.
pub fn fill(path: &str) -> Result<()> {
    let chunk = vec![1; 1 << 20];
    let mut file = File::create(path)?;
    while counters::read().oom_kills == 0 {
        file.write_all(&chunk)?;
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Takes memory, and touches it repeatedly.
pub fn gobble(megabytes: u64) -> Result<()> {
    let _ = rustix::thread::set_name(c"gobbler");
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    let size = usize::try_from(megabytes << 20).map_err(std::io::Error::other)?;
    let mut memory = Mapping::new(None, size)?;
    loop {
        for byte in memory.bytes().iter_mut().step_by(4096) {
            *byte = byte.wrapping_add(1);
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Mapped memory, readable and writable.
struct Mapping {
    at: *mut u8,
    size: usize,
}

impl Mapping {
    /// A shared mapping of the file, or an anonymous one.
    fn new(file: Option<&File>, size: usize) -> Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses a free address.
        let at = unsafe {
            match file {
                Some(file) => mmap(null_mut(), size, access, MapFlags::SHARED, file, 0),
                None => mmap_anonymous(null_mut(), size, access, MapFlags::PRIVATE),
            }
        }?;
        Ok(Self {
            at: at.cast(),
            size,
        })
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: it is mapped during the lifetime of this value, which alone has the address.
        unsafe { std::slice::from_raw_parts_mut(self.at, self.size) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and no slice of it outlives this value.
        let _ = unsafe { munmap(self.at.cast(), self.size) };
    }
}

/// Writes to one file for some seconds, at most four times a second, repeatedly over its first 16
/// MiB. It syncs, because the client would keep the first bytes for half a minute otherwise.
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
            // The write is in place and of fixed width, so a reader never sees a part of it.
            tally.write_all_at(format!("{synced:020}\n").as_bytes(), 0)?;
        }
        round += 1;
        thread::sleep((PAUSE * round).saturating_sub(start.elapsed()));
    }
    file.sync_all()
}
