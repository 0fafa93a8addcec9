//! The sockets that processes hold: `/proc/PID/fd`. Links are read, not followed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

use crate::topology::fds::links;
use crate::topology::namespaces::{Namespaces, is_gone};
use crate::topology::owners::inode;

/// Maximum number of file descriptors in one search.
const MAX_FDS: usize = 262_144;
/// The highest of standard input, output and error, which are often sockets of a log.
const STDERR: u32 = 2;

/// What a process holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Its sockets by inode, each with one of its file descriptors, but for those of its standard
    /// input and output.
    pub sockets: BTreeMap<u64, u32>,
    /// The file descriptor by which it has the device open.
    pub device: Option<u32>,
}

impl Held {
    /// Reads the files of a process; `device` is the name of a block device.
    ///
    /// # Errors
    ///
    /// The kernel denies access, or there are too many files.
    pub fn read(process: &Path, device: &str) -> io::Result<Self> {
        let (mut held, mut standard, mut budget) = (Self::default(), BTreeSet::new(), MAX_FDS);
        links(process, &mut budget, |fd, link| {
            if let Some(inode) = inode(link) {
                if fd <= STDERR {
                    standard.insert(inode);
                } else {
                    held.sockets.insert(inode, fd);
                }
            } else if let Some(dir) = link.strip_suffix(device.as_bytes())
                && dir.starts_with(b"/")
                && dir.ends_with(b"/")
            {
                held.device = Some(fd);
            }
        })?;
        if budget == 0 {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        held.sockets.retain(|inode, _| !standard.contains(inode));
        Ok(held)
    }
}

/// The processes that hold a socket, each with one of its file descriptors.
pub type Holders = BTreeMap<u32, u32>;

/// Which processes of the node hold each of these sockets; `None`: not all processes could be read.
pub fn holders(spaces: &Namespaces, inodes: &BTreeSet<u64>) -> Option<BTreeMap<u64, Holders>> {
    let mut found: BTreeMap<u64, Holders> = BTreeMap::new();
    if inodes.is_empty() {
        return Some(found);
    }
    let mut budget = MAX_FDS;
    for &pid in spaces.nets.values().flatten() {
        let read = links(&spaces.process(pid), &mut budget, |fd, link| {
            if let Some(inode) = inode(link).filter(|inode| inodes.contains(inode)) {
                found.entry(inode).or_default().insert(pid, fd);
            }
        });
        match read {
            Ok(()) => {}
            Err(error) if is_gone(&error) => {}
            Err(_) => return None,
        }
    }
    (budget > 0 && spaces.denied == 0).then_some(found)
}
