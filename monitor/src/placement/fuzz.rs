//! Hostile input: mountinfo and symbolic links, where the daemon wants to write.

use std::path::{Path, PathBuf};

use super::{PlacementError, Walk};
use crate::fuzz::{parts, text};

/// A path, links (`FROM TO`), mountinfo: the walk ends, and refuses only what the
/// mounts are a reason for.
pub fn placement(data: &[u8]) {
    let text = text(data);
    let [path, links, mountinfo] = parts(&text);
    let read_link = |at: &Path| {
        let mut all = links.lines().filter_map(|line| line.split_once(' '));
        let (_, to) = all.find(|(from, _)| at == Path::new(from))?;
        Some(PathBuf::from(to))
    };
    let path = Path::new("/").join(path);
    let walk = Walk::new(mountinfo, path.display().to_string());
    match walk.go(&path, read_link) {
        Ok(()) | Err(PlacementError::Mounts { .. }) => {}
        Err(PlacementError::Nfs { fstype, .. }) => {
            assert!(mountinfo.contains(&format!(" - {fstype} ")), "{fstype}");
        }
        Err(PlacementError::Automount { .. }) => assert!(mountinfo.contains(" - autofs ")),
        Err(PlacementError::Links(given)) => assert!(!links.is_empty(), "{given}"),
    }
}
