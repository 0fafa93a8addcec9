//! The kernel's pseudo file systems, mounted if the machine has not done so.

use std::{
    fs,
    io::{self, Read as _},
    os::fd::OwnedFd,
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags, openat},
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen},
};

/// The root of such a file system, through a detached mount. It is in no namespace, so other
/// processes do not see it, and it ends when this is closed. Needs `CAP_SYS_ADMIN`.
///
/// # Errors
///
/// The kernel refuses, or lacks the file system.
pub fn detached(fstype: &str) -> io::Result<OwnedFd> {
    let context = fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    Ok(fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_RDONLY,
    )?)
}

/// debugfs' root: `/sys/kernel/debug`, or a detached mount.
///
/// # Errors
///
/// The kernel lacks it, or refuses.
pub fn debugfs(sysfs: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let root = rustix::fs::open(sysfs.join("kernel/debug"), flags, Mode::empty())?;
    if openat(&root, "bdi", flags, Mode::empty()).is_ok() {
        return Ok(root);
    }
    detached("debugfs")
}

/// The text of a file below a directory.
///
/// # Errors
///
/// As of `openat` and `read`.
pub fn read_at(root: &OwnedFd, path: impl AsRef<Path>) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = openat(root, path.as_ref(), flags, Mode::empty())?;
    let mut text = String::new();
    fs::File::from(file).read_to_string(&mut text)?;
    Ok(text)
}

/// Whole lines from the beginning of a file below a directory, and whether there is more. The
/// kernel generates only as many as one read has space for.
///
/// # Errors
///
/// As of `openat` and `read`.
pub fn first_lines(
    root: &OwnedFd,
    path: impl AsRef<Path>,
    buffer: &mut [u8],
) -> io::Result<(String, bool)> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = openat(root, path.as_ref(), flags, Mode::empty())?;
    let length = fs::File::from(file).read(buffer)?;
    let more = length == buffer.len();
    let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
    let whole = if more {
        text.rfind('\n').map_or(0, |end| end + 1)
    } else {
        text.len()
    };
    Ok((text.get(..whole).unwrap_or_default().to_owned(), more))
}
