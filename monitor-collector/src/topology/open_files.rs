//! What server processes write to, by the files that they have open.
//!
//! An open file proves that the process can write there, not that it does. Files that a server
//! keeps for itself are left out: logs, process ids, locks, Samba's databases.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    fs,
    hash::{Hash as _, Hasher as _},
    path::Path,
};

use compact_str::CompactString;
use monitor_model::observation::{
    FileSystem, ServerKind, ServerProcess, ServerRef, WriteBasis, WritesTo,
};

use super::fds::{FdInfo, links};
use super::namespaces::Namespaces;
use super::warnings::LookupWarnings;
use crate::host::mountinfo::Line;
use crate::host::text::unescape;

/// Maximum number of processes in one round.
const MAX_PROCESSES: usize = 64;
/// Maximum number of open files of all processes in one round.
const MAX_FDS: usize = 65_536;
/// Maximum number of open files of a process that are looked at closely.
const MAX_FILES: usize = 512;
/// Maximum number of devices of a process.
const MAX_DEVICES: usize = 8;
/// Maximum number of lines of a mount namespace, and of namespaces searched for other mounts.
const MAX_LINES: usize = 131_072;
const MAX_NAMESPACES: usize = 32;
/// After so many rounds the files of a process are read again, though their names are the same.
const KEEP_ROUNDS: u8 = 10;
/// The kernel's suffix for the path of an unlinked file (`d_path`, `fs/d_path.c`).
const DELETED: &str = " (deleted)";
/// Directories and suffixes of files that a server keeps for itself.
const OWN_DIRECTORIES: [&str; 4] = ["/var/log/", "/run/", "/var/run/", "/dev/shm/"];
const OWN_SUFFIXES: [&str; 4] = [".tdb", ".ldb", ".pid", ".lock"];

/// An open file that its process writes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct File {
    path: CompactString,
    info: FdInfo,
}

/// Where a file lies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    bdi: CompactString,
    device: CompactString,
    /// Whether it is memory: nothing is written back.
    memory: bool,
}

/// The files of one process at the last look.
#[derive(Debug)]
struct CachedFiles {
    name: CompactString,
    links: u64,
    rounds: u8,
    writes: Vec<WritesTo>,
}

/// Reads the open files of servers, and remembers those of processes whose files stay the same.
#[derive(Debug, Default)]
pub struct OpenFiles {
    known: BTreeMap<u32, CachedFiles>,
}

/// What a round has to look up files in.
pub struct Places<'a> {
    /// `/sys`.
    pub sysfs: &'a Path,
    /// The processes, by namespace.
    pub spaces: &'a Namespaces,
    /// Everything that is mounted.
    pub file_systems: &'a [FileSystem],
}

impl OpenFiles {
    /// What these processes write to, the likeliest first.
    pub fn read(
        &mut self,
        servers: &[ServerProcess],
        places: &Places<'_>,
        warnings: &mut LookupWarnings,
    ) -> Vec<WritesTo> {
        self.known.retain(|tgid, known| {
            servers
                .iter()
                .any(|s| s.tgid == *tgid && s.name == known.name)
        });
        if servers.len() > MAX_PROCESSES {
            warnings.note(&format_args!(
                "The open files of only {MAX_PROCESSES} servers are read."
            ));
        }
        let mut budget = MAX_FDS;
        let mut changed = Vec::new();
        for server in servers.iter().take(MAX_PROCESSES) {
            let process = places.spaces.process(server.tgid);
            let Some((paths, links)) = candidates(&process, &mut budget) else {
                continue;
            };
            if let Some(known) = self.known.get_mut(&server.tgid)
                && known.links == links
                && known.rounds < KEEP_ROUNDS
            {
                known.rounds += 1;
                continue;
            }
            if paths.len() > MAX_FILES {
                warnings.note(&format_args!(
                    "Only {MAX_FILES} open files of {} ({}) are read.",
                    server.name, server.tgid
                ));
            }
            changed.push((server, links, files(&process, paths)));
        }
        let mounts = mounts_of(&changed, places);
        for (server, links, files) in changed {
            let known = CachedFiles {
                name: server.name.clone(),
                links,
                rounds: 0,
                writes: writes(server, &files, &mounts, places),
            };
            self.known.insert(server.tgid, known);
        }
        let all = servers.iter().filter_map(|s| self.known.get(&s.tgid));
        all.flat_map(|known| known.writes.iter().cloned()).collect()
    }
}

/// The paths that may be files with data, by file descriptor, and a hash of them; `None`: the
/// process ended, or the kernel denies access.
fn candidates(process: &Path, budget: &mut usize) -> Option<(BTreeMap<u32, CompactString>, u64)> {
    let mut paths = BTreeMap::new();
    let add = |fd, link: &[u8]| {
        let path = String::from_utf8_lossy(link);
        if is_candidate(&path) {
            paths.insert(fd, CompactString::from(path));
        }
    };
    links(process, budget, add).ok()?;
    let mut hasher = DefaultHasher::new();
    paths.hash(&mut hasher);
    Some((paths, hasher.finish()))
}

/// Whether a link may be to a file or block device with data. Others have no path (`socket:[9]`,
/// `/memfd:x`), belong to the kernel, or are what a server keeps for itself. Of the devices, those
/// in directories are no disks.
pub(super) fn is_candidate(link: &str) -> bool {
    let path = link.strip_suffix(DELETED).unwrap_or(link);
    let Some(name) = path.strip_prefix('/') else {
        return false;
    };
    let device = name.strip_prefix("dev/");
    let kernels = name.starts_with("proc/") || name.starts_with("sys/");
    let unnamed = !name.contains('/') && (name.contains(':') || name.starts_with('['));
    !kernels
        && !unnamed
        && device.is_none_or(|device| !device.contains('/'))
        && !path.ends_with("/dev/net/tun")
        && !OWN_DIRECTORIES.iter().any(|dir| path.starts_with(dir))
        && !OWN_SUFFIXES.iter().any(|suffix| path.ends_with(suffix))
}

/// Those that are open for writing.
fn files(process: &Path, paths: BTreeMap<u32, CompactString>) -> Vec<File> {
    let file = |(fd, path): (u32, CompactString)| {
        let info = FdInfo::read(process, fd)?;
        info.writes().then_some(File { path, info })
    };
    let paths = paths.into_iter().take(MAX_FILES);
    paths.filter_map(file).collect()
}

/// A mount that files are open on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    device: CompactString,
    devtmpfs: bool,
    root: CompactString,
    point: CompactString,
}

impl Mount {
    pub(super) fn of(line: &Line<'_>) -> Self {
        Self {
            device: line.device.into(),
            devtmpfs: line.fstype == "devtmpfs",
            root: unescape(line.root),
            point: unescape(line.mount_point),
        }
    }

    /// The name of a block device that was opened through this mount. Only in devtmpfs has it the
    /// name that the kernel gave it. A container may have a single node of it under another name.
    pub(super) fn disk(&self, path: &str) -> Option<CompactString> {
        if !self.devtmpfs {
            return None;
        }
        let below = path.strip_prefix(&*self.point)?;
        let root = self.root.strip_suffix('/').unwrap_or(&self.root);
        let name = format!("{root}{below}");
        let name = name.strip_prefix('/')?;
        let is_name = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
        is_name.then(|| name.into())
    }
}

/// The mounts of these files. Each process's own mounts are read first. A file that was opened in
/// another namespace is searched for in the others: the numbers of mounts are unique.
fn mounts_of(
    changed: &[(&ServerProcess, u64, Vec<File>)],
    places: &Places<'_>,
) -> BTreeMap<u32, Mount> {
    let mut found: BTreeMap<u32, Mount> = BTreeMap::new();
    let mut left = BTreeSet::new();
    for (server, _, files) in changed {
        let numbers = files.iter().map(|file| file.info.mount);
        let mut wanted: BTreeSet<_> = numbers.filter(|n| !found.contains_key(n)).collect();
        search(&[server.tgid], places, &mut wanted, &mut found);
        left.extend(wanted);
    }
    for (_, pids) in places.spaces.mounts.iter().take(MAX_NAMESPACES) {
        search(pids, places, &mut left, &mut found);
    }
    found
}

fn search(
    pids: &[u32],
    places: &Places<'_>,
    wanted: &mut BTreeSet<u32>,
    found: &mut BTreeMap<u32, Mount>,
) {
    if wanted.is_empty() {
        return;
    }
    let each = |line: &str| {
        if let Some(line) = Line::parse(line)
            && let Ok(number) = line.id.parse()
            && wanted.remove(&number)
        {
            found.insert(number, Mount::of(&line));
        }
    };
    // What cannot be read leaves its files out.
    let _ = places.spaces.lines(pids, "mountinfo", MAX_LINES, each);
}

/// The files of a process by the device that they lie on. Files that are only appended to are most
/// likely logs, and count if there are no others; so does memory.
fn writes(
    server: &ServerProcess,
    files: &[File],
    mounts: &BTreeMap<u32, Mount>,
    places: &Places<'_>,
) -> Vec<WritesTo> {
    let mut targets: BTreeMap<Target, Vec<&File>> = BTreeMap::new();
    for file in files {
        let mount = mounts.get(&file.info.mount);
        if let Some(target) = mount.and_then(|mount| target(mount, &file.path, places)) {
            targets.entry(target).or_default().push(file);
        }
    }
    let rank =
        |target: &Target, file: &File| 2 * u8::from(target.memory) + u8::from(file.info.appends());
    let ranks = targets
        .iter()
        .flat_map(|(t, files)| files.iter().map(move |file| rank(t, file)));
    let Some(best) = ranks.min() else {
        return Vec::new();
    };
    for (target, files) in &mut targets {
        files.retain(|file| rank(target, file) == best);
    }
    let mut targets: Vec<_> = targets
        .into_iter()
        .filter(|(_, files)| !files.is_empty())
        .collect();
    let buffered = |files: &[&File]| files.iter().filter(|file| !file.info.direct()).count();
    // The most files through the page cache first.
    targets.sort_by_key(|(_, files)| std::cmp::Reverse((buffered(files), files.len())));
    let one = |(target, files): (Target, Vec<&File>)| {
        let direct = buffered(&files) == 0;
        let file = files.iter().find(|file| file.info.direct() == direct);
        WritesTo {
            server: ServerRef {
                name: server.name.clone(),
                tgid: Some(server.tgid),
                kind: ServerKind::Process,
            },
            bdi: target.bdi,
            device: target.device,
            client: CompactString::default(),
            file: file.map(|file| file.path.clone()).unwrap_or_default(),
            basis: WriteBasis::OpenFile,
            direct,
        }
    };
    targets.into_iter().take(MAX_DEVICES).map(one).collect()
}

/// Where a file lies; `None`: on a file system without a BDI (overlayfs), or it is a device other
/// than a disk.
fn target(mount: &Mount, path: &str, places: &Places<'_>) -> Option<Target> {
    if mount.devtmpfs {
        return Some(Target {
            bdi: bdi_of_disk(places.sysfs, &mount.disk(path)?)?,
            device: CompactString::default(),
            memory: false,
        });
    }
    // A node that a container made for itself: which device it is remains unknown.
    if path.starts_with("/dev/") {
        return None;
    }
    let mut all = places.file_systems.iter();
    let file_system = all.find(|fs| fs.device == mount.device)?;
    let memory = file_system.bdi.is_empty();
    Some(Target {
        bdi: if memory {
            &file_system.device
        } else {
            &file_system.bdi
        }
        .clone(),
        device: file_system.device.clone(),
        memory,
    })
}

/// The BDI of a disk, or of the disk that a partition belongs to: its pages are written through it.
fn bdi_of_disk(sysfs: &Path, name: &str) -> Option<CompactString> {
    let dir = sysfs.join("class/block").join(name);
    let own = fs::read_to_string(dir.join("dev")).ok()?;
    let is_partition = dir.join("partition").exists();
    let disks = is_partition.then(|| fs::read_to_string(dir.join("../dev")).ok());
    Some(disks.flatten().unwrap_or(own).trim_end().into())
}

#[cfg(test)]
mod tests;
