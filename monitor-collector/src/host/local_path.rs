//! Checks that a path is not on NFS, without any request to NFS.
//!
//! The livelock may stop a write to NFS, and even `stat` may hang there. So nothing below an NFS
//! mount is touched: the path is followed name by name, and each is looked up in mountinfo before
//! the kernel resolves it. The storage of a local file system counts, too: the file of a loop
//! device, also below partitions, dm and md (`/sys/dev/block`, by [`backing`]), and the layers of
//! an overlay. Only its server knows the storage of a FUSE file system.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use compact_str::CompactString;

use crate::host::mountinfo::Line as MountLine;
use crate::host::text::unescape;

mod backing;

/// The kernel's own limit, `MAXSYMLINKS`.
const MAX_LINKS: usize = 40;

/// Maximum depth of file systems on top of each other.
const MAX_DEPTH: usize = 8;

/// The reason to refuse a path.
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
        /// The mount point.
        mount_point: String,
    },
    /// Another computer serves it, or a process on this one.
    #[error(
        "{path} is on a file system that a server must answer for ({fstype} at {mount_point}): give a path on a \
         local file system"
    )]
    Served {
        /// The path as given.
        path: String,
        /// Such as `fuse.sshfs`.
        fstype: String,
        /// The mount point.
        mount_point: String,
    },
    /// The storage of a local file system is not local.
    #[error("{path} is on {fstype} at {mount_point}, which rests on {on}: {why}")]
    Rests {
        /// The path as given.
        path: String,
        /// Such as `ext4`.
        fstype: String,
        /// The mount point.
        mount_point: String,
        /// The file of a loop device, or a layer of an overlay.
        on: String,
        /// The reason to refuse that one.
        #[source]
        why: Box<PlacementError>,
    },
    /// File systems on top of each other without an end.
    #[error("{0}: too many file systems rest on each other")]
    Depth(String),
    /// The future mount at an automount point is unknown.
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
        /// The path of the mounts file.
        mountinfo: String,
        /// The error.
        #[source]
        source: io::Error,
    },
}

impl PlacementError {
    /// Whether another path helps; otherwise the check itself failed.
    #[must_use]
    pub const fn is_bad_configuration(&self) -> bool {
        !matches!(self, Self::Mounts { .. })
    }
}

/// Refuses a path on NFS, also through bind mounts, symbolic links, loop devices and overlays, and
/// on other served file systems. A path that does not exist yet counts as its parent.
///
/// # Errors
///
/// It is on NFS, or the check failed.
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
    // The kernel caches the name of the working directory: this does not contact NFS.
    let path = std::path::absolute(path).map_err(mounts)?;
    let mounts = MountLookup::new(&text, |device, source| {
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

struct MountLookup<F> {
    all: Vec<Mount>,
    /// The files that a device is stored on, by its number and its name.
    backing: F,
}

impl<F: Fn(&str, &str) -> Vec<PathBuf>> MountLookup<F> {
    fn new(mountinfo: &str, backing: F) -> Self {
        let all = mountinfo.lines().filter_map(mount).collect();
        Self { all, backing }
    }
}

struct Walk<'a, F> {
    mounts: &'a MountLookup<F>,
    /// The number of file systems above, and which. A layer of a container's root that seems to be
    /// on that root itself belongs to another namespace.
    depth: usize,
    asked: Vec<u64>,
    given: String,
    /// The current path of the walk, without links and dots, and its mounts: the root's first, then
    /// one for each name.
    at: PathBuf,
    on: Vec<Option<usize>>,
    links: usize,
}

impl<'a, F: Fn(&str, &str) -> Vec<PathBuf>> Walk<'a, F> {
    fn new(mounts: &'a MountLookup<F>, given: String, depth: usize) -> Self {
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
        // The remaining names, the next one last.
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
            // It does not exist or cannot be read, so there is no link to follow.
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

    /// The topmost mount at this path, on the mount `below`; `None`: the list lacks it.
    fn mounted(&self, below: Option<usize>) -> Option<usize> {
        // A path that is not UTF-8 is compared in its lossy form. At worst, a good path is refused.
        let at = self.at.to_string_lossy();
        let mut top = None;
        let mounts = &self.mounts.all;
        let mut parent = below.map(|index| mounts[index].id);
        // Each mount lies on another one, so the loop is bounded by their number.
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

    /// Whether the storage of a file system is local. These paths come from the kernel and have no
    /// links, so they are not resolved.
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
    /// Whether a server is behind it, on this computer or another. `virtiofs`, and 9p over virtio,
    /// belong to the host of a virtual machine.
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

/// The directories of an overlay (`ovl_show_options`, fs/overlayfs). A container's are paths of
/// another mount namespace. They are checked all the same, as paths of this one.
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
