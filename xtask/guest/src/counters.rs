//! Counters of the kernel. Nothing here ever touches a path on NFS.

use std::fs;

use guest::Sample;

use crate::load;

/// Read all counters; what cannot be read is zero.
pub fn read() -> Sample {
    let text = |path| fs::read_to_string(path).unwrap_or_default();
    let memory = text("/proc/meminfo");
    let events = text("/proc/vmstat");
    Sample {
        acked: acked(&text("/proc/self/mountstats")),
        synced: fs::read_dir(load::SYNCED)
            .into_iter()
            .flatten()
            .flatten()
            .map(|writer| column(&file(&writer.path()), 0))
            .sum(),
        disk: fs::read_dir("/sys/block")
            .into_iter()
            .flatten()
            .flatten()
            .filter(|disk| disk.file_name().to_string_lossy().starts_with("vd"))
            .map(|disk| column(&file(&disk.path().join("stat")), 6) * 512)
            .sum(),
        dirty: named(&memory, "Dirty:") * 1024,
        writeback: named(&memory, "Writeback:") * 1024,
        oom_kills: named(&events, "oom_kill"),
    }
}

fn file(path: &std::path::Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn column(line: &str, index: usize) -> u64 {
    line.split_whitespace()
        .nth(index)
        .and_then(|word| word.parse().ok())
        .unwrap_or(0)
}

fn named(text: &str, name: &str) -> u64 {
    text.lines()
        .find(|line| line.split_whitespace().next() == Some(name))
        .map_or(0, |line| column(line, 1))
}

/// The fourth number of each `WRITE:` line is the bytes of completed calls.
fn acked(mountstats: &str) -> u64 {
    mountstats
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("WRITE:"))
        .map(|line| column(line, 4))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledged_bytes_are_summed_over_mounts() {
        let text = "device a:/ mounted on /mnt with fstype nfs4 statvers=1.1\n\
                    \t    READ: 1 1 0 10 20 1 1 1 0\n\
                    \t   WRITE: 5 5 0 5000 720 1 1 1 0\n\
                    device b:/ mounted on /m2 with fstype nfs4 statvers=1.1\n\
                    \t   WRITE: 5 5 0 7 720 1 1 1 0\n";
        assert_eq!(acked(text), 5007);
    }
}
