//! The node's memory and its dirty pages, out of /proc/vmstat and
//! /proc/meminfo.

use std::{fs, path::Path};

use monitor_model::observation::Memory;

/// Reads both; a line that is not there stays `None`.
pub fn read(procfs: &Path) -> Memory {
    let mut memory = Memory {
        page_size: rustix::param::page_size() as u64,
        ..Memory::default()
    };
    let text = |name| fs::read_to_string(procfs.join(name)).unwrap_or_default();
    vmstat(&text("vmstat"), &mut memory);
    meminfo(&text("meminfo"), &mut memory);
    memory
}

/// Pages, and counts.
pub(super) fn vmstat(text: &str, memory: &mut Memory) {
    for line in text.lines() {
        let Some((name, value)) = line.split_once(' ') else {
            continue;
        };
        let (slot, unit) = match name {
            "nr_dirty" => (&mut memory.dirty_bytes, memory.page_size),
            "nr_writeback" => (&mut memory.writeback_bytes, memory.page_size),
            "nr_dirty_threshold" => (&mut memory.dirty_limit_bytes, memory.page_size),
            "nr_dirty_background_threshold" => {
                (&mut memory.background_limit_bytes, memory.page_size)
            }
            "oom_kill" => (&mut memory.oom_kills, 1),
            _ => continue,
        };
        *slot = value.parse().ok().and_then(|n: u64| n.checked_mul(unit));
    }
}

/// `MemTotal:       24684796 kB`, fs/proc/meminfo.c.
pub(super) fn meminfo(text: &str, memory: &mut Memory) {
    for line in text.lines() {
        let Some((name, rest)) = line.split_once(':') else {
            continue;
        };
        let slot = match name {
            "MemTotal" => &mut memory.total_bytes,
            "MemAvailable" => &mut memory.available_bytes,
            _ => continue,
        };
        let kb = rest.trim().strip_suffix(" kB");
        *slot = kb
            .and_then(|kb| kb.parse().ok())
            .and_then(|kb: u64| kb.checked_mul(1024));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use monitor_model::observation::Memory;

    use super::{read, vmstat};

    fn of_vmstat(text: &str) -> Memory {
        let mut memory = Memory {
            page_size: 4096,
            ..Memory::default()
        };
        vmstat(text, &mut memory);
        memory
    }

    #[test]
    fn pages_become_bytes_and_what_is_missing_stays_unknown() {
        let memory = of_vmstat("nr_dirty 3\nnr_writeback_temp 9\nnr_dirty_threshold 10105\n");
        assert_eq!(memory.dirty_bytes, Some(12_288));
        assert_eq!(memory.writeback_bytes, None);
        assert_eq!(memory.dirty_limit_bytes, Some(41_390_080));
        assert_eq!(memory.oom_kills, None);
    }

    #[test]
    fn a_number_too_large_is_unknown_rather_than_wrong() {
        let memory = of_vmstat("nr_dirty 18446744073709551615\n");
        assert_eq!(memory.dirty_bytes, None);
    }

    #[test]
    fn killed_processes_are_counted_and_memory_is_in_bytes() {
        let procfs = tempfile::tempdir().unwrap();
        let write = |name, text| fs::write(procfs.path().join(name), text).unwrap();
        write("vmstat", "nr_dirty 1\noom_kill 3\n");
        write(
            "meminfo",
            "MemTotal:         327680 kB\nMemFree:  9 kB\nMemAvailable:       2 kB\nHugePages_Total:  7\n",
        );
        let memory = read(procfs.path());
        assert_eq!(memory.oom_kills, Some(3));
        assert_eq!(memory.total_bytes, Some(320 << 20));
        assert_eq!(memory.available_bytes, Some(2048));
        write("meminfo", "MemTotal: many kB\n");
        assert_eq!(read(procfs.path()).total_bytes, None);
    }
}
