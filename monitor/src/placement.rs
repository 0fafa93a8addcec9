//! Where the daemon may write: not on NFS, and that without asking NFS.
//!
//! A write to NFS may be what the livelock stops, and a mere `stat` there may
//! never come back. So nothing below an NFS mount is touched: the path is
//! followed name by name, each is looked up in mountinfo before the kernel is
//! asked about it.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use compact_str::CompactString;

use crate::sample::{MountLine, unescape};

/// As the kernel's own limit, `MAXSYMLINKS`.
const MAX_LINKS: usize = 40;

/// Why a path is refused.
#[derive(Debug, thiserror::Error)]
pub enum PlacementError {
    /// It is on NFS.
    #[error(
        "{path} is on NFS ({fstype} at {mount_point}), where a livelock would stop it: give a path on a local file system"
    )]
    Nfs {
        /// The path as given.
        path: String,
        /// `nfs` or `nfs4`.
        fstype: String,
        /// Where that is mounted.
        mount_point: String,
    },
    /// What would be mounted there is not known.
    #[error(
        "{path} is below the automount point {mount_point}, on what is not known until it is mounted: give a path on a \
         local file system"
    )]
    Automount {
        /// The path as given.
        path: String,
        /// The automount point.
        mount_point: String,
    },
    /// Symbolic links without an end.
    #[error("{0}: too many symbolic links")]
    Links(String),
    /// The mounts cannot be read.
    #[error("it cannot be told whether {path} is on NFS: {mountinfo} cannot be read")]
    Mounts {
        /// The path as given.
        path: String,
        /// The file that says it.
        mountinfo: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl PlacementError {
    /// Whether another path is to be given; else it could not be told.
    #[must_use]
    pub const fn is_of_the_configuration(&self) -> bool {
        !matches!(self, Self::Mounts { .. })
    }
}

/// Refuses a path on NFS, also through bind mounts and symbolic links; one that
/// does not exist yet counts as what it would be made in.
///
/// # Errors
///
/// It is on NFS, or that cannot be told.
pub fn refuse_nfs(procfs: &Path, path: &Path) -> Result<(), PlacementError> {
    let mountinfo = procfs.join("self/mountinfo");
    let given = path.display().to_string();
    let mounts = |source| PlacementError::Mounts {
        path: given.clone(),
        mountinfo: mountinfo.display().to_string(),
        source,
    };
    let text = fs::read(&mountinfo).map_err(mounts)?;
    let text = String::from_utf8_lossy(&text);
    // The kernel keeps the name of the working directory: NFS is not asked.
    let path = std::path::absolute(path).map_err(mounts)?;
    Walk::new(&text, given).go(&path, |path| fs::read_link(path).ok())
}

/// A mount of mountinfo.
struct Mount {
    id: u64,
    parent: u64,
    at: CompactString,
    fstype: String,
}

struct Walk {
    mounts: Vec<Mount>,
    given: String,
    /// Where the walk is, without links and dots, and on which mounts that is:
    /// one more than it has names, the root's first.
    at: PathBuf,
    on: Vec<Option<usize>>,
    links: usize,
}

impl Walk {
    fn new(mountinfo: &str, given: String) -> Self {
        let mut walk = Self {
            mounts: mountinfo.lines().filter_map(mount).collect(),
            given,
            at: PathBuf::from("/"),
            on: Vec::new(),
            links: 0,
        };
        walk.on.push(walk.mounted(None));
        walk
    }

    fn go(
        mut self,
        path: &Path,
        read_link: impl Fn(&Path) -> Option<PathBuf>,
    ) -> Result<(), PlacementError> {
        // Names still to go, the next one last.
        let mut ahead = reversed(path);
        self.refuse(self.on.last().copied().flatten())?;
        while let Some(name) = ahead.pop() {
            if name == Path::new("..") {
                if self.at.pop() {
                    self.on.pop();
                }
                continue;
            }
            self.at.push(&name);
            let parent = self.on.last().copied().flatten();
            let on = self.mounted(parent).or(parent);
            self.refuse(on)?;
            self.on.push(on);
            // Not there or not to be read: nothing to follow.
            let Some(link) = read_link(&self.at) else {
                continue;
            };
            self.links += 1;
            if self.links > MAX_LINKS {
                return Err(PlacementError::Links(self.given));
            }
            if link.is_absolute() {
                self.at = PathBuf::from("/");
                self.on.truncate(1);
            } else {
                self.at.pop();
                self.on.pop();
            }
            ahead.extend(reversed(&link));
        }
        Ok(())
    }

    /// The topmost mount right here, on the mount `below`; `None` for one that
    /// is not in the list.
    fn mounted(&self, below: Option<usize>) -> Option<usize> {
        // What is no UTF-8 is compared as it can be shown: at worst, a path is
        // refused that need not be.
        let at = self.at.to_string_lossy();
        let mut top = None;
        let mut parent = below.map(|index| self.mounts[index].id);
        // Each mount lies on another one: no more than there are.
        for _ in 0..self.mounts.len() {
            let here = |mount: &Mount| {
                mount.at == at && parent.is_none_or(|parent| mount.parent == parent)
            };
            let Some(index) = self.mounts.iter().rposition(here) else {
                break;
            };
            if top == Some(index) {
                break;
            }
            top = Some(index);
            parent = Some(self.mounts[index].id);
        }
        top
    }

    fn refuse(&self, on: Option<usize>) -> Result<(), PlacementError> {
        let Some(mount) = on.map(|index| &self.mounts[index]) else {
            return Ok(());
        };
        let path = self.given.clone();
        let mount_point = mount.at.to_string();
        match mount.fstype.as_str() {
            "nfs" | "nfs4" => Err(PlacementError::Nfs {
                path,
                fstype: mount.fstype.clone(),
                mount_point,
            }),
            "autofs" => Err(PlacementError::Automount { path, mount_point }),
            _ => Ok(()),
        }
    }
}

fn mount(line: &str) -> Option<Mount> {
    let parsed = MountLine::parse(line)?;
    let mut ids = line.split(' ').map_while(|word| word.parse().ok());
    Some(Mount {
        id: ids.next()?,
        parent: ids.next()?,
        at: unescape(parsed.mount_point),
        fstype: parsed.fstype.to_owned(),
    })
}

fn reversed(path: &Path) -> Vec<PathBuf> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    });
    names.rev().collect()
}

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;
