//! The watched load: writers over the dirty limit, and reclaim in a cgroup.

use std::{
    fs,
    io::{Seek as _, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Subcommand};

use super::LoopDisk;
use crate::processes::Processes;

/// The task of a child process; the benchmarks start it.
#[derive(Args)]
pub struct Load {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Subcommand)]
enum Kind {
    /// Has pages reclaimed in its own cgroup, again and again
    Reclaim {
        /// The cgroup of this process
        cgroup: PathBuf,
        /// The file to which it writes how often it has done so
        counter: PathBuf,
        /// How often a second at most; 0: as often as it can
        #[arg(long, default_value_t = 0)]
        rate: u64,
    },
}

/// Runs until it is killed.
///
/// # Errors
///
/// It cannot run.
pub fn run(load: &Load) -> Result<()> {
    match &load.kind {
        Kind::Reclaim {
            cgroup,
            counter,
            rate,
        } => reclaim(cgroup, counter, *rate),
    }
}

/// Writers that share a dirty limit, each on its own file.
pub struct Writers {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
    _limits: Limits,
    _disk: LoopDisk,
}

impl Writers {
    /// Starts them. The disk is in memory: with a loop device over a file on a disk, the device's
    /// worker would itself be a writer over its limit.
    pub fn start(count: usize) -> Result<Self> {
        Self::over(count, Path::new("/dev/shm"))
    }

    /// The same with a loop device and its worker.
    pub fn and_worker(count: usize) -> Result<Self> {
        Self::over(count, &std::env::temp_dir())
    }

    fn over(count: usize, dir: &Path) -> Result<Self> {
        const FILE: u64 = 16 << 20;
        let disk = LoopDisk::new(count as u64 * (FILE >> 20) + 200, dir)?;
        let limits = Limits::set("8000000")?;
        let stop = Arc::new(AtomicBool::new(false));
        let written = Arc::new(AtomicU64::new(0));
        let threads = (0..count).map(|index| {
            let path = disk.path().join(format!("file{index}"));
            let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
            thread::spawn(move || {
                let chunk = vec![7; 256 << 10];
                let Ok(mut file) = fs::File::create(path) else {
                    return;
                };
                while !stop.load(Relaxed) {
                    if file.write_all(&chunk).is_err() {
                        return;
                    }
                    written.fetch_add(chunk.len() as u64, Relaxed);
                    if file.stream_position().unwrap_or(0) >= FILE {
                        let _ = file.rewind();
                    }
                }
            })
        });
        Ok(Self {
            threads: threads.collect(),
            stop,
            written,
            _limits: limits,
            _disk: disk,
        })
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The dirty limit; dropping this restores it.
struct Limits {
    ratio: String,
    bytes: String,
}

impl Limits {
    const RATIO: &str = "/proc/sys/vm/dirty_ratio";
    const BYTES: &str = "/proc/sys/vm/dirty_bytes";

    fn set(bytes: &str) -> Result<Self> {
        let before = Self {
            ratio: fs::read_to_string(Self::RATIO)?,
            bytes: fs::read_to_string(Self::BYTES)?,
        };
        fs::write(Self::BYTES, bytes)?;
        Ok(before)
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        // A limit has two files; the one that is not in force reads as 0.
        let _ = if self.bytes.trim() == "0" {
            fs::write(Self::RATIO, &self.ratio)
        } else {
            fs::write(Self::BYTES, &self.bytes)
        };
    }
}

/// A cgroup whose process has its own pages reclaimed.
pub struct Reclaim {
    process: Processes,
    cgroup: PathBuf,
    counter: tempfile::NamedTempFile,
}

impl Reclaim {
    /// Starts it, with at most this many rounds a second.
    pub fn start(rate: u64) -> Result<Self> {
        let cgroup = cgroups()?.join("throttle-monitor-bench");
        let _ = fs::remove_dir(&cgroup);
        fs::create_dir(&cgroup).with_context(|| cgroup.display().to_string())?;
        let counter = tempfile::NamedTempFile::new_in("/dev/shm")?;
        let mut process = Processes::default();
        process.begin(
            std::env::current_exe()?,
            [
                "load".as_ref(),
                "reclaim".as_ref(),
                cgroup.as_os_str(),
                counter.path().as_os_str(),
                "--rate".as_ref(),
                rate.to_string().as_ref(),
            ],
        )?;
        let mut reclaim = Self {
            process,
            cgroup,
            counter,
        };
        thread::sleep(Duration::from_secs(1));
        ensure!(reclaim.process.run(), "the load that reclaims has ended");
        Ok(reclaim)
    }
}

impl Reclaim {
    /// The number of rounds so far.
    pub fn rounds(&self) -> u64 {
        let mut bytes = [0; 8];
        let read = self.counter.as_file().read_exact_at(&mut bytes, 0);
        read.map_or(0, |()| u64::from_le_bytes(bytes))
    }
}

impl Drop for Reclaim {
    fn drop(&mut self) {
        self.process = Processes::default();
        let _ = fs::remove_dir(&self.cgroup);
    }
}

/// The cgroup hierarchy that can limit memory.
fn cgroups() -> Result<PathBuf> {
    for path in ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"] {
        let path = Path::new(path);
        if path.join("memory.limit_in_bytes").exists() {
            return Ok(path.to_owned());
        }
        let controllers = fs::read_to_string(path.join("cgroup.subtree_control"));
        if controllers.is_ok_and(|text| text.contains("memory")) {
            return Ok(path.to_owned());
        }
    }
    anyhow::bail!("no cgroup with the memory controller is mounted under /sys/fs/cgroup")
}

/// Owns pages that cannot be dropped, and requests their reclaim: each attempt is a short reclaim
/// of its own.
fn reclaim(cgroup: &Path, counter: &Path, rate: u64) -> Result<()> {
    let counter = fs::OpenOptions::new().write(true).open(counter)?;
    fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string())?;
    // Pages allocated now belong to the cgroup.
    let own = vec![1_u8; 1 << 20];
    let v1 = cgroup.join("memory.force_empty");
    let (file, text) = if v1.exists() {
        (v1, "0")
    } else {
        (cgroup.join("memory.reclaim"), "1M")
    };
    let begin = Instant::now();
    let mut rounds: u64 = 0;
    loop {
        // An error is expected: not everything can be reclaimed.
        let _ = fs::write(&file, text);
        rounds += 1;
        counter.write_all_at(&rounds.to_le_bytes(), 0)?;
        if let Some(due) = (rounds * 1_000_000_000).checked_div(rate) {
            thread::sleep(Duration::from_nanos(due).saturating_sub(begin.elapsed()));
        }
        std::hint::black_box(&own);
    }
}
