//! tracefs, wherever it is, or mounted for one thread alone.

use std::{
    io,
    path::{Path, PathBuf},
    thread,
};

use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    thread::{UnshareFlags, unshare_unsafe},
};

use super::lockdown::{self, CONFIDENTIALITY};

/// Where aya looks, too.
const PLACES: [&str; 2] = ["kernel/tracing", "kernel/debug/tracing"];

/// Runs `work` with tracefs' mount point, or with the sentence that says why
/// there is none.
///
/// Where the machine has not mounted it, `work` runs in a thread with a mount
/// namespace of its own, in which tracefs is mounted over
/// `/sys/kernel/tracing`. The namespace goes with the thread; nobody else ever
/// sees the mount, and it pins none of the machine's.
///
/// Not so under lockdown for confidentiality: the last unmount of tracefs was
/// seen to crash 6.12 and 7.2 there (`tracefs_destroy_inode`, list corruption),
/// and nothing could be read anyway.
pub fn with_tracefs<T: Send>(
    sysfs: &Path,
    work: impl FnOnce(Result<&Path, String>) -> T + Send,
) -> T {
    if let Some(path) = mounted(sysfs) {
        return work(Ok(&path));
    }
    if lockdown::read(sysfs).as_deref() == Some(CONFIDENTIALITY) {
        return work(Err(
            "the kernel is locked down for confidentiality, and tracefs is not mounted; it is not \
             mounted for the daemon alone, since such kernels crash when it is unmounted again"
                .into(),
        ));
    }
    thread::scope(|scope| {
        let thread = scope.spawn(|| match mount_privately() {
            Ok(path) => work(Ok(path)),
            Err(error) => work(Err(format!(
                "tracefs is not mounted at /sys/kernel/tracing and could not be mounted for the daemon alone: {error}"
            ))),
        });
        match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn mounted(sysfs: &Path) -> Option<PathBuf> {
    PLACES
        .iter()
        .map(|place| sysfs.join(place))
        .find(|path| path.join("events").is_dir())
}

fn mount_privately() -> io::Result<&'static Path> {
    let path = Path::new("/sys/kernel/tracing");
    // SAFETY: this thread opened no file and spawned no other; what it
    // unshares are its root directory and its mounts, not file descriptors.
    unsafe { unshare_unsafe(UnshareFlags::FS | UnshareFlags::NEWNS) }?;
    // What is mounted below /sys from here on stays here. Not "/": in a chroot
    // that is not a mount point.
    mount_change(
        "/sys",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    mount(
        "tracefs",
        path,
        "tracefs",
        MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
        None,
    )?;
    Ok(path)
}
