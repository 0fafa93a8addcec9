//! One walk over /proc: the processes of each namespace.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, Dir, Mode, OFlags, readlinkat_raw};

use super::warnings::LookupWarnings;
use crate::host::text;

/// Maximum number of processes.
const MAX_PROCESSES: usize = 65_536;
/// Maximum number of namespaces of each kind.
const MAX_NAMESPACES: usize = 1024;
/// Processes to try for a mount namespace, in turn: the first may have ended.
const REPRESENTATIVES: usize = 3;
/// More than `net:[4026531840]` needs.
const MAX_LINK: usize = 32;

/// Namespaces and their processes, lowest process id first.
#[derive(Debug, Default)]
pub struct Namespaces {
    procfs: PathBuf,
    /// Mount namespaces sorted by their lowest process, so the host's is first. A few processes of
    /// each.
    pub mounts: Vec<(u64, Vec<u32>)>,
    /// All processes of each network namespace.
    pub nets: BTreeMap<u64, Vec<u32>>,
    /// Processes whose namespaces are unknown.
    pub denied: u32,
}

impl Namespaces {
    /// Reads two links of each process.
    ///
    /// # Errors
    ///
    /// procfs cannot be read.
    pub fn walk(procfs: &Path, warnings: &mut LookupWarnings) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let root = rustix::fs::open(procfs, flags, Mode::empty())?;
        let mut spaces = Self {
            procfs: procfs.into(),
            ..Self::default()
        };
        let mut of_mounts = BTreeMap::new();
        for pid in processes(&root, warnings)? {
            // A process that ended meanwhile has none, nor has a zombie.
            match (namespace(&root, pid, "mnt"), namespace(&root, pid, "net")) {
                (Ok(mount), Ok(net)) => spaces.add(&mut of_mounts, pid, mount, net, warnings),
                (Err(error), _) | (_, Err(error)) => {
                    let denied = error.kind() == io::ErrorKind::PermissionDenied;
                    spaces.denied += u32::from(denied);
                }
            }
        }
        if spaces.denied > 0 {
            let processes = if spaces.denied == 1 {
                "process"
            } else {
                "processes"
            };
            warnings.note(&format_args!(
                "The kernel refuses to show the namespaces of {} {processes} (CAP_SYS_PTRACE, AppArmor or SELinux): a socket without a known owner may be theirs.",
                spaces.denied
            ));
        }
        Ok(spaces)
    }

    fn add(
        &mut self,
        of_mounts: &mut BTreeMap<u64, usize>,
        pid: u32,
        mount: u64,
        net: u64,
        warnings: &mut LookupWarnings,
    ) {
        let known = self.mounts.len();
        match of_mounts.entry(mount) {
            Entry::Occupied(at) => {
                if let Some((_, pids)) = self.mounts.get_mut(*at.get())
                    && pids.len() < REPRESENTATIVES
                {
                    pids.push(pid);
                }
            }
            Entry::Vacant(new) if known < MAX_NAMESPACES => {
                new.insert(known);
                self.mounts.push((mount, vec![pid]));
            }
            Entry::Vacant(_) => warnings.note(&format_args!(
                "Only {MAX_NAMESPACES} mount namespaces are read."
            )),
        }
        let known = self.nets.len();
        match self.nets.entry(net) {
            Entry::Occupied(mut pids) => pids.get_mut().push(pid),
            Entry::Vacant(new) if known < MAX_NAMESPACES => {
                new.insert(vec![pid]);
            }
            Entry::Vacant(_) => warnings.note(&format_args!(
                "Only {MAX_NAMESPACES} network namespaces are read."
            )),
        }
    }

    /// Reads a file of the first of these processes that still runs. `Ok(None)`: the file does not
    /// exist. `Ok(Some(false))`: it was not read completely.
    ///
    /// # Errors
    ///
    /// It exists but cannot be read.
    pub fn lines(
        &self,
        pids: &[u32],
        file: &str,
        max_lines: usize,
        mut each: impl FnMut(&str),
    ) -> io::Result<Option<bool>> {
        for pid in pids.iter().take(REPRESENTATIVES) {
            let path = self.process(*pid).join(file);
            match text::lines(&path, max_lines, &mut each) {
                Ok(whole) => return Ok(Some(whole)),
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// `/proc/PID`.
    pub fn process(&self, pid: u32) -> PathBuf {
        self.procfs.join(pid.to_string())
    }
}

/// `ENOENT`, or `ESRCH` if the process ended after the file was opened.
pub fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

fn processes(root: &OwnedFd, warnings: &mut LookupWarnings) -> io::Result<Vec<u32>> {
    let mut pids = Vec::new();
    for entry in Dir::read_from(root)? {
        let entry = entry?;
        let name = entry.file_name().to_str().ok();
        if let Some(pid) = name.and_then(|name| name.parse().ok()) {
            if pids.len() == MAX_PROCESSES {
                warnings.note(&format_args!("Only {MAX_PROCESSES} processes are read."));
                break;
            }
            pids.push(pid);
        }
    }
    pids.sort_unstable();
    Ok(pids)
}

/// The number of a process's namespace of this kind; `None`: it has ended, or the kernel denies
/// access.
pub fn number_of(process: &Path, kind: &str) -> Option<u64> {
    let mut link = [0; MAX_LINK];
    let path = process.join("ns").join(kind);
    let length = readlinkat_raw(CWD, path, &mut link).ok()?;
    number(link.get(..length)?)
}

/// The number of a process's user namespace.
pub fn user_of(process: &Path) -> Option<u64> {
    number_of(process, "user")
}

/// The number in `net:[4026531840]`. The link is read, not followed.
fn namespace(root: &OwnedFd, pid: u32, kind: &str) -> io::Result<u64> {
    let mut link = [0; MAX_LINK];
    let length = readlinkat_raw(root, format!("{pid}/ns/{kind}"), &mut link)?;
    link.get(..length)
        .and_then(number)
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

pub(super) fn number(link: &[u8]) -> Option<u64> {
    let (_, number) = std::str::from_utf8(link).ok()?.split_once(":[")?;
    number.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use super::{LookupWarnings, Namespaces, number};

    fn process(root: &Path, pid: u32, mnt: u64, net: u64) {
        let ns = root.join(pid.to_string()).join("ns");
        fs::create_dir_all(&ns).unwrap();
        symlink(format!("mnt:[{mnt}]"), ns.join("mnt")).unwrap();
        symlink(format!("net:[{net}]"), ns.join("net")).unwrap();
    }

    #[test]
    fn the_number_of_a_namespace_is_in_its_link() {
        assert_eq!(number(b"net:[4026531840]"), Some(4_026_531_840));
        for no in [&b"net:[]"[..], b"net", b"net:[1", b"", b"net:[-1]"] {
            assert_eq!(number(no), None);
        }
    }

    #[test]
    fn every_namespace_is_found_with_its_processes_the_hosts_first() {
        let procfs = tempfile::tempdir().unwrap();
        let root = procfs.path();
        for (pid, mnt, net) in [
            (1, 20, 30),
            (2, 20, 30),
            (90, 21, 30),
            (100, 19, 29),
            (9, 20, 30),
        ] {
            process(root, pid, mnt, net);
        }
        fs::create_dir_all(root.join("77/ns")).unwrap();
        fs::create_dir_all(root.join("sys")).unwrap();
        let mut warnings = LookupWarnings::default();
        let spaces = Namespaces::walk(root, &mut warnings).unwrap();
        let mounts = [(20, vec![1, 2, 9]), (21, vec![90]), (19, vec![100])];
        assert_eq!(spaces.mounts, mounts);
        assert_eq!(spaces.nets[&30], [1, 2, 9, 90]);
        assert_eq!(spaces.nets[&29], [100]);
        assert!(warnings.into_sentences().is_empty());
    }

    #[test]
    fn a_file_is_read_of_the_next_process_where_the_first_is_gone() {
        let procfs = tempfile::tempdir().unwrap();
        let root = procfs.path();
        process(root, 5, 20, 30);
        fs::write(root.join("5/mountinfo"), "a line\n").unwrap();
        let spaces = Namespaces::walk(root, &mut LookupWarnings::default()).unwrap();
        let mut seen = Vec::new();
        let mut read = |pids: &[u32]| {
            spaces
                .lines(pids, "mountinfo", 9, |line| seen.push(line.to_owned()))
                .unwrap()
        };
        assert_eq!(read(&[4, 5]), Some(true));
        assert_eq!(read(&[4]), None);
        assert_eq!(seen, ["a line"]);
    }
}
