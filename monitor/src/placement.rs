//! Where the daemon may write: never on NFS, which may be what hangs.
//!
//! Only mountinfo is asked which mount a path is on, and a component is looked
//! at only once everything above it is known not to be on NFS.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

/// Symbolic links followed at most, as the kernel does (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

/// Why the daemon does not write there.
#[derive(Debug, thiserror::Error)]
pub enum PlacementError {
    /// It is on NFS.
    #[error(
        "{path} is on NFS ({source_} at {mount_point}): it would hang with what it is to tell of. Name a directory of a local file system"
    )]
    OnNfs {
        /// What was asked for.
        path: PathBuf,
        /// Where NFS is mounted.
        mount_point: PathBuf,
        /// What is mounted.
        source_: String,
    },
    /// What it is on cannot be told.
    #[error(
        "whether {path} is on NFS cannot be told: {why}. Name a directory of a local file system"
    )]
    Unclear {
        /// What was asked for.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The mounts cannot be read.
    #[error("the mounts cannot be read from {path}: {error}")]
    Mounts {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
}

/// Refuses a path on NFS, or one of which that cannot be told. Need not exist.
/// Touches nothing that is on NFS: no `stat`, no look-up.
///
/// # Errors
///
/// See [`PlacementError`].
pub fn refuse_nfs(procfs: &Path, path: &Path) -> Result<(), PlacementError> {
    let file = procfs.join("self/mountinfo");
    let text = fs::read(&file).map_err(|error| PlacementError::Mounts { path: file, error })?;
    let mounts: Vec<Mount> = text
        .split(|&byte| byte == b'\n')
        .filter_map(Mount::parse)
        .collect();
    let unclear = |why: String| PlacementError::Unclear {
        path: path.into(),
        why,
    };
    let whole = std::path::absolute(path).map_err(|error| unclear(error.to_string()))?;
    Walk::new(&mounts)
        .and_then(|walk| walk.to(&whole))
        .map_err(|no| match no {
            No::Nfs(mount) => PlacementError::OnNfs {
                path: path.into(),
                mount_point: mount.point.clone(),
                source_: mount.source.clone(),
            },
            No::Unclear(why) => unclear(why),
        })
}

/// One line of mountinfo: `show_mountinfo`, `fs/proc_namespace.c`.
#[derive(Clone, Debug)]
struct Mount {
    id: u32,
    parent: u32,
    point: PathBuf,
    fstype: String,
    source: String,
}

impl Mount {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ');
        let number = |field: Option<&[u8]>| std::str::from_utf8(field?).ok()?.parse().ok();
        let (id, parent) = (number(fields.next())?, number(fields.next())?);
        let point = PathBuf::from(OsString::from_vec(unescape(fields.nth(2)?)));
        fields.find(|field| *field == b"-")?;
        let text = |field: &[u8]| String::from_utf8_lossy(&unescape(field)).into_owned();
        let (fstype, source) = (text(fields.next()?), text(fields.next()?));
        Some(Self {
            id,
            parent,
            point,
            fstype,
            source,
        })
    }
}

/// Undoes the kernel's `\040`, byte by byte: names need not be UTF-8.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| first == b'\\');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            bytes.push(byte);
            rest = &after[3..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    bytes
}

enum No<'a> {
    Nfs(&'a Mount),
    Unclear(String),
}

/// On the way to a path, as the kernel walks it: from mount to mount.
struct Walk<'a> {
    mounts: &'a [Mount],
    root: &'a Mount,
    /// Without links and dots, each step with the mount that it is on.
    steps: Vec<(OsString, &'a Mount)>,
}

impl<'a> Walk<'a> {
    fn new(mounts: &'a [Mount]) -> Result<Self, No<'a>> {
        let listed = |id| mounts.iter().any(|mount| mount.id == id);
        let lowest = |mount: &&Mount| {
            mount.point == Path::new("/") && (mount.parent == mount.id || !listed(mount.parent))
        };
        let Some(root) = mounts.iter().find(lowest) else {
            return Err(No::Unclear("mountinfo shows no root".to_owned()));
        };
        let mut walk = Self {
            mounts,
            root,
            steps: Vec::new(),
        };
        walk.root = walk.top(root, Path::new("/"))?;
        Ok(walk)
    }

    /// The uppermost mount at a place that is on `on`.
    fn top(&self, on: &'a Mount, place: &Path) -> Result<&'a Mount, No<'a>> {
        let mut top = on;
        // Each mount can lie on another only once.
        for _ in 0..self.mounts.len() {
            let covers = |m: &&Mount| m.parent == top.id && m.id != top.id && m.point == place;
            match self.mounts.iter().find(covers) {
                Some(above) => top = above,
                None => break,
            }
        }
        match top.fstype.as_str() {
            "nfs" | "nfs4" => Err(No::Nfs(top)),
            _ => Ok(top),
        }
    }

    fn place(&self) -> PathBuf {
        let names = self.steps.iter().map(|(name, _)| name.as_os_str());
        Path::new("/").join(names.collect::<PathBuf>())
    }

    fn on(&self) -> &'a Mount {
        self.steps.last().map_or(self.root, |&(_, mount)| mount)
    }

    fn to(mut self, path: &Path) -> Result<(), No<'a>> {
        let mut links = 0;
        let mut rest: VecDeque<OsString> = names(path).collect();
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                self.steps.pop();
                continue;
            }
            // Who walks through an automount point mounts what nobody knows.
            if self.on().fstype == "autofs" {
                let point = self.on().point.display();
                return Err(No::Unclear(format!("{point} is an automount point")));
            }
            let place = self.place().join(&name);
            let mount = self.top(self.on(), &place)?;
            self.steps.push((name, mount));
            let target = match fs::read_link(&place) {
                Ok(target) => target,
                // No link, or nothing there yet.
                Err(error) if is_plain(&error) => continue,
                Err(error) => return Err(No::Unclear(format!("{}: {error}", place.display()))),
            };
            links += 1;
            if links > MAX_LINKS {
                return Err(No::Unclear("too many symbolic links".to_owned()));
            }
            // The text of /proc/PID/root and the like is not where they lead.
            if mount.fstype == "proc" {
                return Err(No::Unclear(format!(
                    "{} is a link of procfs",
                    place.display()
                )));
            }
            self.steps.pop();
            if target.is_absolute() {
                self.steps.clear();
            }
            for name in names(&target).collect::<Vec<_>>().into_iter().rev() {
                rest.push_front(name);
            }
        }
        match self.on() {
            mount if mount.fstype == "autofs" => {
                let point = mount.point.display();
                Err(No::Unclear(format!("{point} is an automount point")))
            }
            _ => Ok(()),
        }
    }
}

fn is_plain(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, NotADirectory, NotFound};
    matches!(error.kind(), InvalidInput | NotADirectory | NotFound)
}

fn names(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::from_bytes(b"..").to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};

    use tempfile::TempDir;

    use super::{PlacementError, refuse_nfs};

    /// A directory with a procfs that tells what the test wants to be mounted.
    struct Host(TempDir);

    impl Host {
        fn new(mounts: &[(u32, u32, &str, &str)]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let base = dir.path().to_str().unwrap();
            let line = |&(id, parent, point, fstype): &(u32, u32, &str, &str)| {
                let point = format!("{base}{point}").replace(' ', "\\040");
                format!("{id} {parent} 0:{id} / {point} rw - {fstype} srv:/x rw\n")
            };
            let lines: String = mounts.iter().map(line).collect();
            let text = format!("1 0 254:0 / / rw shared:1 - ext4 /dev/vda rw\n{lines}");
            fs::create_dir_all(dir.path().join("proc/self")).unwrap();
            fs::create_dir_all(dir.path().join("d/e f/g")).unwrap();
            fs::write(dir.path().join("proc/self/mountinfo"), text).unwrap();
            Self(dir)
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn refuse(&self, path: &str) -> Result<(), PlacementError> {
            refuse_nfs(&self.at("proc"), &self.at(path))
        }

        fn on_nfs(&self, path: &str) -> bool {
            matches!(self.refuse(path), Err(PlacementError::OnNfs { .. }))
        }

        fn unclear(&self, path: &str) -> bool {
            matches!(self.refuse(path), Err(PlacementError::Unclear { .. }))
        }
    }

    #[test]
    fn what_is_below_an_nfs_mount_is_refused_also_where_nothing_is_yet() {
        let host = Host::new(&[(2, 1, "/d/e f", "nfs4")]);
        for no in ["d/e f", "d/e f/g", "d/e f/new/dir", "d/x/../e f/y"] {
            assert!(host.on_nfs(no), "{no}");
        }
        for yes in ["d", "d/e", "d/e f2", "d/new/dir"] {
            assert!(host.refuse(yes).is_ok(), "{yes}");
        }
        let words = host.refuse("d/e f/g").unwrap_err().to_string();
        assert!(
            words.contains("is on NFS (srv:/x at ") && words.contains("local"),
            "{words}"
        );
    }

    #[test]
    fn the_uppermost_mount_counts_and_what_it_hides_does_not() {
        let over = Host::new(&[(2, 1, "/d", "ext4"), (3, 1, "/d/e f", "nfs")]);
        assert!(
            over.refuse("d/e f").is_ok(),
            "the NFS mount lies below what covers it"
        );
        let covered = Host::new(&[(2, 1, "/d/e f", "ext4"), (3, 1, "/d", "nfs")]);
        assert!(covered.on_nfs("d/e f"));
        let stacked = Host::new(&[(3, 2, "/d", "nfs"), (2, 1, "/d", "ext4")]);
        assert!(stacked.on_nfs("d/e f"), "whatever the order of the lines");
        let back = Host::new(&[(2, 1, "/d", "nfs"), (3, 2, "/d/e f", "xfs")]);
        assert!(back.on_nfs("d/e f"), "to get there, NFS is asked");
    }

    #[test]
    fn a_link_to_nfs_is_refused_and_a_link_back_is_not() {
        let host = Host::new(&[(2, 1, "/d/e f", "nfs4")]);
        symlink("d/e f/g", host.at("relative")).unwrap();
        symlink(host.at("d/e f"), host.at("absolute")).unwrap();
        symlink("../relative", host.at("d/twice")).unwrap();
        symlink("d/../d", host.at("back")).unwrap();
        for no in ["relative", "absolute/x", "d/twice/y"] {
            assert!(host.on_nfs(no), "{no}");
        }
        assert!(host.refuse("back/x").is_ok());
    }

    #[test]
    fn what_cannot_be_told_is_refused() {
        let host = Host::new(&[(2, 1, "/d/e f", "autofs"), (3, 1, "/proc", "proc")]);
        symlink("round", host.at("round")).unwrap();
        symlink("/", host.at("proc/self/root")).unwrap();
        for no in ["d/e f", "d/e f/g", "round/x", "proc/self/root/var"] {
            assert!(host.unclear(no), "{no}");
        }
        fs::write(host.at("proc/self/mountinfo"), "").unwrap();
        assert!(host.unclear("d"));
        fs::remove_file(host.at("proc/self/mountinfo")).unwrap();
        assert!(matches!(
            host.refuse("d"),
            Err(PlacementError::Mounts { .. })
        ));
    }

    #[test]
    fn an_automount_point_on_which_a_local_file_system_is_mounted_is_one() {
        let host = Host::new(&[(2, 1, "/d", "autofs"), (3, 2, "/d", "ext4")]);
        assert!(host.refuse("d/e f").is_ok());
    }

    #[test]
    fn this_hosts_own_temporary_directory_is_fine() {
        let dir = tempfile::tempdir().unwrap();
        refuse_nfs(Path::new("/proc"), dir.path()).unwrap();
        refuse_nfs(Path::new("/proc"), Path::new("a/relative/path")).unwrap();
    }
}
