//! The kernel's counters. This never touches a path on NFS.

use std::{
    collections::BTreeMap,
    fs,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use guest::{Counts, Sample};

/// The directory of the slow writers' counts of synced bytes.
pub const SYNCED: &str = "/run/synced";

/// A process in another mount namespace, whose NFS mounts count as well; 0: none.
static BESIDE: AtomicU32 = AtomicU32::new(0);

/// From now on, count the NFS mounts of this process, too.
pub fn count_beside(pid: u32) {
    BESIDE.store(pid, Relaxed);
}

fn acked_beside() -> u64 {
    match BESIDE.load(Relaxed) {
        0 => 0,
        pid => acked(&fs::read_to_string(format!("/proc/{pid}/mountstats")).unwrap_or_default()),
    }
}

/// Read all counters; what cannot be read is zero.
pub fn read() -> Sample {
    let text = |path| fs::read_to_string(path).unwrap_or_default();
    let memory = text("/proc/meminfo");
    let events = text("/proc/vmstat");
    Sample {
        acked: acked(&text("/proc/self/mountstats"))
            + acked_beside()
            + smb_acked(&text("/proc/fs/cifs/Stats"))
            + written(&["nbd", "sd"]),
        synced: fs::read_dir(SYNCED)
            .into_iter()
            .flatten()
            .flatten()
            .map(|writer| column(&file(&writer.path()), 0))
            .sum(),
        disk: written(&["vd"]),
        dirty: named(&memory, "Dirty:") * 1024,
        writeback: named(&memory, "Writeback:") * 1024,
        oom_kills: named(&events, "oom_kill"),
    }
}

/// Bytes that block devices with these names have completed.
fn written(names: &[&str]) -> u64 {
    let wanted = |disk: &fs::DirEntry| {
        let name = disk.file_name();
        let name = name.to_string_lossy();
        names.iter().any(|begin| name.starts_with(begin))
    };
    fs::read_dir("/sys/block")
        .into_iter()
        .flatten()
        .flatten()
        .filter(wanted)
        .map(|disk| column(&file(&disk.path().join("stat")), 6) * 512)
        .sum()
}

/// NFS bytes from the view of each of these processes.
pub fn of_nfs(pids: &[u32]) -> Counts {
    let mut counts = Counts::default();
    for pid in pids {
        let text = |name| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        counts
            .clients
            .extend(taken(&text("mountinfo"), &text("mountstats")));
        counts.nfsd = counts.nfsd.max(served(&text("net/rpc/nfsd")));
    }
    counts
}

/// The topmost device mounted there.
pub fn device_at<'a>(mountinfo: &'a str, at: &str) -> Option<&'a str> {
    let mut mounts = mountinfo.lines().map(|line| line.split(' '));
    mounts
        .rfind(|words| words.clone().nth(4) == Some(at))
        .and_then(|mut words| words.nth(2))
}

/// By device, the sixth number of the `bytes:` line.
fn taken(mountinfo: &str, mountstats: &str) -> BTreeMap<String, u64> {
    let mut taken = BTreeMap::new();
    let mut device = None;
    for line in mountstats.lines() {
        if let Some((_, rest)) = line.split_once(" mounted on ") {
            let at = rest.split(' ').next().unwrap_or_default();
            device = device_at(mountinfo, at);
        } else if let Some(device) = device
            && line.trim_start().starts_with("bytes:")
        {
            taken.insert(device.to_owned(), column(line, 6));
        }
    }
    taken
}

/// The second number of the `io` line.
fn served(nfsd: &str) -> u64 {
    nfsd.lines()
        .find(|line| line.starts_with("io "))
        .map_or(0, |line| column(line, 2))
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

/// `Bytes read: N  Bytes written: N`, for each share.
fn smb_acked(stats: &str) -> u64 {
    let written = stats.lines().filter_map(|line| {
        let (_, written) = line.split_once("Bytes written: ")?;
        Some(column(written, 0))
    });
    written.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_smb_servers_took_are_summed_over_shares() {
        let text = "1) \\\\127.0.0.1\\IPC$\nSMBs: 3\nBytes read: 0  Bytes written: 0\n\
                    2) \\\\127.0.0.1\\x\nSMBs: 9\nBytes read: 5  Bytes written: 4194304\n";
        assert_eq!(smb_acked(text), 4_194_304);
    }

    #[test]
    fn acknowledged_bytes_are_summed_over_mounts() {
        let text = "device a:/ mounted on /mnt with fstype nfs4 statvers=1.1\n\
                    \t    READ: 1 1 0 10 20 1 1 1 0\n\
                    \t   WRITE: 5 5 0 5000 720 1 1 1 0\n\
                    device b:/ mounted on /m2 with fstype nfs4 statvers=1.1\n\
                    \t   WRITE: 5 5 0 7 720 1 1 1 0\n";
        assert_eq!(acked(text), 5007);
    }

    #[test]
    fn bytes_that_servers_took_are_found_by_device() {
        let info = "29 1 0:27 / /mnt rw,noatime - tmpfs none rw\n\
                    30 29 0:28 / /mnt rw,noatime - nfs4 a:/ rw,vers=4.2\n";
        let stats = "device none mounted on /proc with fstype proc\n\
                     device a:/ mounted on /mnt with fstype nfs4 statvers=1.1\n\
                     \tbytes:\t1 2 3 4 5 4096 7 8\n";
        assert_eq!(taken(info, stats), [("0:28".to_owned(), 4096)].into());
        assert_eq!(served("rc 0 1 2\nio 17 4242\nth 8 0\n"), 4242);
    }
}
