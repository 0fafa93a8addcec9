//! What the daemon itself uses: the usual `process_*` metrics.
//!
//! Not the `process` feature of the prometheus crate: it counts CPU in whole
//! seconds, of which a daemon that may use 0.1 % of a core needs a quarter of
//! an hour, and reads /proc while it is scraped.

use std::fs;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// What the process uses now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessStats {
    /// User and system time of all threads, seconds.
    pub cpu_seconds: f64,
    /// Start, seconds since 1970.
    pub start_time: f64,
    /// `VmRSS` of /proc/self/status.
    pub resident_bytes: Option<u64>,
    /// `VmSize` of /proc/self/status.
    pub virtual_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// The soft limit of open file descriptors; `None` for no limit.
    pub max_fds: Option<u64>,
}

/// Reads them; to be made when the process starts, used at the tick.
#[derive(Clone, Copy, Debug)]
pub struct ProcessSampler {
    start_time: f64,
}

impl ProcessSampler {
    /// Takes now for the start of the process.
    #[must_use]
    pub fn started_now() -> Self {
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            start_time: since_1970.as_secs_f64(),
        }
    }

    /// Reads /proc/self, some tens of microseconds. It is this process in any
    /// case, whatever `--path.procfs` says of the host's.
    #[must_use]
    pub fn sample(&self) -> ProcessStats {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        ProcessStats {
            cpu_seconds: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
            start_time: self.start_time,
            resident_bytes: memory(&status, "VmRSS:"),
            virtual_bytes: memory(&status, "VmSize:"),
            threads: field(&status, "Threads:"),
            open_fds: open_fds().ok(),
            max_fds: getrlimit(Resource::Nofile).current,
        }
    }
}

/// Bytes, of a line in kB.
pub(super) fn memory(status: &str, name: &str) -> Option<u64> {
    field(status, name)?.checked_mul(1024)
}

/// The number after a word of /proc/self/status.
pub(super) fn field(status: &str, name: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn open_fds() -> io::Result<u64> {
    let mut count: u64 = 0;
    for entry in fs::read_dir("/proc/self/fd")? {
        entry?;
        count += 1;
    }
    // One of them is the open directory.
    Ok(count.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::{ProcessSampler, field, memory};

    #[test]
    fn a_kernel_thread_s_status_has_no_memory_and_gives_none() {
        assert_eq!(field("Name:\tkthreadd\nThreads:\t1\n", "VmRSS:"), None);
        assert_eq!(
            field("VmSize:\t   8192 kB\nThreads:\t3\n", "VmSize:"),
            Some(8192)
        );
        assert_eq!(
            field("VmSize:\t   8192 kB\nThreads:\t3\n", "Threads:"),
            Some(3)
        );
    }

    #[test]
    fn more_memory_than_a_number_of_bytes_can_tell_is_none() {
        assert_eq!(memory("VmRSS:\t 18014398509481984 kB\n", "VmRSS:"), None);
        assert_eq!(memory("VmRSS:\t 8 kB\n", "VmRSS:"), Some(8192));
    }

    #[test]
    fn this_process_has_memory_threads_files_and_a_start_of_its_own() {
        let sampler = ProcessSampler::started_now();
        let before = sampler.sample();
        let files: Vec<File> = (0..40)
            .map(|_| File::open("/proc/self/status").unwrap())
            .collect();
        let mut spin = 0u64;
        while sampler.sample().cpu_seconds <= before.cpu_seconds {
            spin += 1;
            assert!(spin < 1_000_000, "CPU time stands still");
        }
        let after = sampler.sample();
        // Other tests of this process open and close theirs meanwhile.
        assert!(after.open_fds.unwrap() + 20 > before.open_fds.unwrap() + files.len() as u64);
        assert!(after.resident_bytes.unwrap() > 100_000);
        assert!(after.virtual_bytes.unwrap() >= after.resident_bytes.unwrap());
        assert!(after.threads.unwrap() >= 1);
        assert!(after.start_time > 1.6e9);
    }
}
