//! Where the daemon may write: not on NFS, and that without asking NFS.
//!
//! A write to NFS may be what the livelock stops, and a mere `stat` there may
//! never come back. So nothing below an NFS mount is touched: the path is
//! followed name by name, each is looked up in mountinfo before the kernel is
//! asked about it. What a local file system rests on counts, too: the file of a
//! loop device, also below partitions, dm and md (`/sys/dev/block`, by
//! [`backing`]), and the layers of an overlay. What a FUSE file system rests on
//! is not known to anybody but its server.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use compact_str::CompactString;

use crate::host::mountinfo::Line as MountLine;
use crate::host::text::unescape;

mod backing;

/// As the kernel's own limit, `MAXSYMLINKS`.
const MAX_LINKS: usize = 40;

/// So many file systems may rest on each other.
const MAX_DEPTH: usize = 8;

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
    /// Its server is another computer, or a process of this one.
    #[error(
        "{path} is on a file system that a server must answer for ({fstype} at {mount_point}): give a path on a \
         local file system"
    )]
    Served {
        /// The path as given.
        path: String,
        /// Such as `fuse.sshfs`.
        fstype: String,
        /// Where that is mounted.
        mount_point: String,
    },
    /// A local file system rests on something that is not.
    #[error("{path} is on {fstype} at {mount_point}, which rests on {on}: {why}")]
    Rests {
        /// The path as given.
        path: String,
        /// Such as `ext4`.
        fstype: String,
        /// Where that is mounted.
        mount_point: String,
        /// The file of a loop device, or a layer of an overlay.
        on: String,
        /// Why that is refused.
        #[source]
        why: Box<PlacementError>,
    },
    /// File systems upon file systems without an end.
    #[error("{0}: too many file systems rest on each other")]
    Depth(String),
    /// What would be mounted there is not known.
    #[error(
        "{path} is below the automount point {mount_point}, on a file system that is unknown until it is mounted: give a path on a \
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
    #[error("whether {path} is on NFS is unknown: {mountinfo} cannot be read")]
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

/// Refuses a path on NFS, also through bind mounts, symbolic links, loop devices and
/// overlays, and what another server answers for; one that does not exist yet counts as what
/// it would be made in.
///
/// # Errors
///
/// It is on NFS, or that cannot be told.
pub fn refuse_nfs(procfs: &Path, path: &Path) -> Result<(), PlacementError> {
    refuse(procfs, Path::new("/sys"), path)
}

fn refuse(procfs: &Path, sysfs: &Path, path: &Path) -> Result<(), PlacementError> {
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
    let mounts = Mounts::new(&text, |device, source| {
        backing::files(sysfs, device, source)
    });
    Walk::new(&mounts, given, 0).go(&path, &|path| fs::read_link(path).ok())
}

/// A mount of mountinfo.
struct Mount {
    id: u64,
    parent: u64,
    at: CompactString,
    fstype: String,
    device: CompactString,
    source: CompactString,
    options: String,
}

struct Mounts<F> {
    all: Vec<Mount>,
    /// The files that a device rests on, by its number and its name.
    backing: F,
}

impl<F: Fn(&str, &str) -> Vec<PathBuf>> Mounts<F> {
    fn new(mountinfo: &str, backing: F) -> Self {
        let all = mountinfo.lines().filter_map(mount).collect();
        Self { all, backing }
    }
}

struct Walk<'a, F> {
    mounts: &'a Mounts<F>,
    /// How many file systems lie above, and which: a layer of a container's root that seems
    /// to be on that root itself is of another namespace.
    depth: usize,
    asked: Vec<u64>,
    given: String,
    /// Where the walk is, without links and dots, and on which mounts that is:
    /// one more than it has names, the root's first.
    at: PathBuf,
    on: Vec<Option<usize>>,
    links: usize,
}

impl<'a, F: Fn(&str, &str) -> Vec<PathBuf>> Walk<'a, F> {
    fn new(mounts: &'a Mounts<F>, given: String, depth: usize) -> Self {
        let mut walk = Self {
            mounts,
            depth,
            asked: Vec::new(),
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
        read_link: &dyn Fn(&Path) -> Option<PathBuf>,
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
        let mounts = &self.mounts.all;
        let mut parent = below.map(|index| mounts[index].id);
        // Each mount lies on another one: no more than there are.
        for _ in 0..mounts.len() {
            let here = |mount: &Mount| {
                mount.at == at && parent.is_none_or(|parent| mount.parent == parent)
            };
            let Some(index) = mounts.iter().rposition(here) else {
                break;
            };
            if top == Some(index) {
                break;
            }
            top = Some(index);
            parent = Some(mounts[index].id);
        }
        top
    }

    fn refuse(&self, on: Option<usize>) -> Result<(), PlacementError> {
        let Some(mount) = on.map(|index| &self.mounts.all[index]) else {
            return Ok(());
        };
        if self.asked.contains(&mount.id) {
            return Ok(());
        }
        let path = self.given.clone();
        let fstype = mount.fstype.clone();
        let mount_point = mount.at.to_string();
        match mount.fstype.as_str() {
            "nfs" | "nfs4" => Err(PlacementError::Nfs {
                path,
                fstype,
                mount_point,
            }),
            "autofs" => Err(PlacementError::Automount { path, mount_point }),
            _ if mount.is_served() => Err(PlacementError::Served {
                path,
                fstype,
                mount_point,
            }),
            "overlay" => self.rests(mount, &layers(&mount.options)),
            _ => self.rests(mount, &(self.mounts.backing)(&mount.device, &mount.source)),
        }
    }

    /// Whether what a file system rests on is local. These paths are the kernel's own:
    /// without links, and nobody is asked about them.
    fn rests(&self, mount: &Mount, on: &[PathBuf]) -> Result<(), PlacementError> {
        if self.depth >= MAX_DEPTH && !on.is_empty() {
            return Err(PlacementError::Depth(self.given.clone()));
        }
        for file in on {
            let given = file.display().to_string();
            let inner = Walk {
                asked: self.asked.iter().copied().chain([mount.id]).collect(),
                ..Walk::new(self.mounts, given.clone(), self.depth + 1)
            };
            inner.go(file, &|_| None).map_err(|why| match why {
                PlacementError::Depth(_) => PlacementError::Depth(self.given.clone()),
                why => PlacementError::Rests {
                    path: self.given.clone(),
                    fstype: mount.fstype.clone(),
                    mount_point: mount.at.to_string(),
                    on: given,
                    why: Box::new(why),
                },
            })?;
        }
        Ok(())
    }
}

impl Mount {
    /// Whether a server answers for it, near or far. `virtiofs`, and 9p over virtio, are the
    /// host's of a virtual machine.
    fn is_served(&self) -> bool {
        let (kind, _) = self.fstype.split_once('.').unwrap_or((&self.fstype, ""));
        match kind {
            "fuse" | "fuseblk" | "cifs" | "smb3" | "ceph" | "afs" | "lustre" => true,
            "9p" => !self
                .options
                .split(',')
                .any(|option| option == "trans=virtio"),
            _ => false,
        }
    }
}

/// The directories of an overlay (`ovl_show_options`, fs/overlayfs). Of a container they are
/// paths of another mount namespace, which mean nothing here: what they would be here is
/// looked at all the same.
fn layers(options: &str) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for option in options.split(',') {
        let Some((key, value)) = option.split_once('=') else {
            continue;
        };
        if matches!(
            key,
            "lowerdir" | "lowerdir+" | "datadir+" | "upperdir" | "workdir"
        ) {
            let value = unescape(value);
            let dirs = value.split(':').filter(|dir| dir.starts_with('/'));
            all.extend(dirs.map(PathBuf::from));
        }
    }
    all
}

fn mount(line: &str) -> Option<Mount> {
    let parsed = MountLine::parse(line)?;
    let mut ids = line.split(' ').map_while(|word| word.parse().ok());
    Some(Mount {
        id: ids.next()?,
        parent: ids.next()?,
        at: unescape(parsed.mount_point),
        fstype: parsed.fstype.to_owned(),
        device: parsed.device.into(),
        source: unescape(parsed.source),
        options: parsed.options.to_owned(),
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

#[cfg(any(test, fuzzing, feature = "fuzz"))]
pub mod fuzz;
#[cfg(test)]
mod tests;
