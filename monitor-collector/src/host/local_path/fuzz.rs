//! Hostile input: mountinfo and symbolic links at the daemon's output paths.

#![allow(
    clippy::missing_panics_doc,
    reason = "a panic is how a target says that it found something"
)]

use std::path::{Path, PathBuf};

use super::{MountLookup, PlacementError, Walk};
use crate::fuzz_input::{parts, text};

/// A path, links (`FROM TO`), mountinfo: the walk ends, and each refusal has a mount as its reason.
pub fn placement(data: &[u8]) {
    let text = text(data);
    let [path, links, mountinfo] = parts(&text);
    let read_link = |at: &Path| {
        let mut all = links.lines().filter_map(|line| line.split_once(' '));
        let (_, to) = all.find(|(from, _)| at == Path::new(from))?;
        Some(PathBuf::from(to))
    };
    let path = Path::new("/").join(path);
    // Links also serve as devices on files, so that cycles of them are tested.
    let mounts = MountLookup::new(mountinfo, |device, _| {
        let all = links.lines().filter_map(|line| line.split_once(' '));
        let on = all.filter(|(from, _)| *from == device);
        on.map(|(_, to)| PathBuf::from(to)).collect()
    });
    let walk = Walk::new(&mounts, path.display().to_string(), 0);
    let mut result = walk.go(&path, &read_link);
    while let Err(PlacementError::Rests { why, .. }) = result {
        result = Err(*why);
    }
    match result {
        Ok(()) | Err(PlacementError::Mounts { .. }) => {}
        Err(PlacementError::Nfs { fstype, .. } | PlacementError::Served { fstype, .. }) => {
            assert!(mountinfo.contains(&format!(" - {fstype} ")), "{fstype}");
        }
        Err(PlacementError::Depth(_) | PlacementError::Rests { .. }) => {
            assert!(!links.is_empty() || mountinfo.contains("dir"), "{links}");
        }
        Err(PlacementError::Automount { .. }) => assert!(mountinfo.contains(" - autofs ")),
        Err(PlacementError::Links(given)) => assert!(!links.is_empty(), "{given}"),
    }
}
