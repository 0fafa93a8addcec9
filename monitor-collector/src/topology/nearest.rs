//! The mount that a path lies on, by the list of mounts alone: the path itself may be on a file
//! system whose server hangs, so it is never touched.

use std::io;

use compact_str::CompactString;

use super::mounts::MAX_LINES;
use super::namespaces::Namespaces;
use crate::host::mountinfo::Line;
use crate::host::text::unescape;

/// The kernel's suffix for the path of an unlinked file (`d_path`, `fs/d_path.c`).
pub const DELETED: &str = " (deleted)";

/// The mount that a file probably lies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nearest {
    /// Where it is mounted.
    pub mount_point: CompactString,
    /// The file system's device, as in mountinfo.
    pub device: CompactString,
    /// Its type.
    pub fstype: CompactString,
    /// Of NFS: the maximum length of its writes.
    pub wsize: Option<u64>,
    /// Of an overlay: the directory that it writes to, as its mounter saw it.
    pub upper: Option<CompactString>,
    parent: CompactString,
}

impl Nearest {
    fn of(mount_point: CompactString, line: &Line<'_>) -> Self {
        let upper = line.option("upperdir").map(unescape);
        Self {
            mount_point,
            device: line.device.into(),
            fstype: line.fstype.into(),
            wsize: line.option("wsize").and_then(|size| size.parse().ok()),
            upper: upper.filter(|_| line.fstype == "overlay"),
            parent: line.parent.into(),
        }
    }

    /// The longer mount point is closer to the file. Of two at the same place the upper one is
    /// mounted on the lower; their order carries no meaning.
    fn gives_way_to(&self, mount_point: &str, line: &Line<'_>) -> bool {
        let length = self.mount_point.len();
        mount_point.len() > length || mount_point.len() == length && self.parent != line.id
    }
}

/// For each path the mount that it lies on, in the mount namespace of these processes. The second
/// part is as of [`Namespaces::lines`].
pub fn find(
    spaces: &Namespaces,
    pids: &[u32],
    paths: &[&str],
) -> (Vec<Option<Nearest>>, io::Result<Option<bool>>) {
    let mut best: Vec<Option<Nearest>> = vec![None; paths.len()];
    if paths.is_empty() {
        return (best, Ok(Some(true)));
    }
    let read = spaces.lines(pids, "mountinfo", MAX_LINES, |line| {
        let Some(line) = Line::parse(line) else {
            return;
        };
        let mount_point = unescape(line.mount_point);
        for (path, best) in paths.iter().zip(&mut best) {
            let is_nearer = || {
                let best = best.as_ref();
                best.is_none_or(|best| best.gives_way_to(&mount_point, &line))
            };
            if holds(&mount_point, path) && is_nearer() {
                *best = Some(Nearest::of(mount_point.clone(), &line));
            }
        }
    });
    (best, read)
}

/// Whether a path is at or below a mount point.
pub fn holds(mount_point: &str, path: &str) -> bool {
    let path = path.strip_suffix(DELETED).unwrap_or(path);
    let below = path.strip_prefix(mount_point);
    below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || mount_point.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::holds;

    #[test]
    fn only_what_is_below_a_mount_point_is_on_it() {
        assert!(holds("/", "/image") && holds("/a", "/a/b") && holds("/a", "/a"));
        assert!(!holds("/a", "/ab") && !holds("/a/b", "/a"));
    }
}
