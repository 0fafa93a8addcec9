//! The open files of a process: `/proc/PID/fd` and `/proc/PID/fdinfo`.
//!
//! The links are read, not followed. `readlink` (`proc_fd_link`, fs/proc/fd.c; `d_path`,
//! `fs/d_path.c`) and `fdinfo` (`seq_show`, `show_fd_locks`) take spinlocks only: a file system that
//! hangs does not hold them. `fdinfo` also calls the driver's own `show_fdinfo`, which may sleep:
//! that of a tun device takes the lock of the network configuration. No file system has one for its
//! files, so it is read of paths only, and not of such devices.

use std::{fs, io, path::Path};

use compact_str::CompactString;
use rustix::fs::{CWD, Dir, Mode, OFlags, readlinkat_raw};

/// Longer paths are cut.
const MAX_LINK: usize = 1024;
/// The permission bits of [`FdInfo::flags`].
const ACCESS_MODE: u32 = 3;

/// What `fdinfo` shows of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FdInfo {
    /// The flags of `open` (`O_*`).
    pub flags: u32,
    /// The mount that it was opened on.
    pub mount: u32,
    /// Of `/dev/fuse`: the device number of the connection (`fuse_dev_show_fdinfo`, since 6.16).
    pub fuse_connection: Option<u64>,
}

impl FdInfo {
    /// Reads `/proc/PID/fdinfo/FD`; `None`: the file is closed, or the kernel denies access.
    pub fn read(process: &Path, fd: u32) -> Option<Self> {
        let path = process.join("fdinfo").join(fd.to_string());
        Self::parse(&fs::read_to_string(path).ok()?)
    }

    /// Parses its text. Locks follow in lines of their own.
    pub fn parse(text: &str) -> Option<Self> {
        let value = |name: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        };
        Some(Self {
            flags: u32::from_str_radix(value("flags")?.trim(), 8).ok()?,
            mount: value("mnt_id")?.trim().parse().ok()?,
            fuse_connection: value("fuse_connection").and_then(|n| n.trim().parse().ok()),
        })
    }

    /// Whether it is open for writing.
    pub const fn writes(self) -> bool {
        matches!(self.flags & ACCESS_MODE, 1 | 2)
    }

    /// Whether writes go past the page cache. The flag's number depends on the architecture.
    pub const fn direct(self) -> bool {
        self.flags & OFlags::DIRECT.bits() != 0
    }

    /// Whether it is only appended to.
    pub const fn appends(self) -> bool {
        self.flags & OFlags::APPEND.bits() != 0
    }
}

/// Calls `each` with the number and the link of every open file of a process, until `budget` is
/// used up.
///
/// # Errors
///
/// The process ended, or the kernel denies access.
pub fn links(
    process: &Path,
    budget: &mut usize,
    mut each: impl FnMut(u32, &[u8]),
) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(process.join("fd"), flags, Mode::empty())?;
    let mut link = [0; MAX_LINK];
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        let number = entry.file_name().to_str().ok();
        let Some(fd) = number.and_then(|number| number.parse().ok()) else {
            continue;
        };
        if *budget == 0 {
            break;
        }
        *budget -= 1;
        if let Ok(length) = readlinkat_raw(&dir, entry.file_name(), &mut link)
            && let Some(link) = link.get(..length)
        {
            each(fd, link);
        }
    }
    Ok(())
}

/// The link of one open file of a process; `None`: it is closed, or the kernel denies access.
pub fn link(process: &Path, fd: u32) -> Option<CompactString> {
    let mut link = [0; MAX_LINK];
    let path = process.join("fd").join(fd.to_string());
    let length = readlinkat_raw(CWD, path, &mut link).ok()?;
    Some(String::from_utf8_lossy(link.get(..length)?).into())
}

/// A process's name; `None`: it has ended.
pub fn comm(process: &Path) -> Option<CompactString> {
    let comm = fs::read_to_string(process.join("comm")).ok()?;
    Some(comm.trim_end_matches('\n').into())
}

#[cfg(test)]
mod tests {
    use rustix::fs::OFlags;

    use super::FdInfo;

    #[test]
    fn flags_mount_and_connection_are_read_and_locks_are_skipped() {
        let text = "pos:\t0\nflags:\t02100002\nmnt_id:\t26\nino:\t13\nlock:\t1: POSIX  ADVISORY  \
                    WRITE 204 fe:00:13 0 EOF\n";
        let info = FdInfo::parse(text).unwrap();
        assert_eq!((info.mount, info.fuse_connection), (26, None));
        assert!(info.writes() && !info.direct() && !info.appends());
        let fuse = FdInfo::parse(&format!("{text}fuse_connection:\t45\n")).unwrap();
        assert_eq!(fuse.fuse_connection, Some(45));
    }

    #[test]
    fn what_is_open_for_reading_or_as_a_path_only_is_not_written() {
        let info = |flags: u32| FdInfo::parse(&format!("flags:\t0{flags:o}\nmnt_id:\t1")).unwrap();
        assert!(!info(0).writes());
        assert!(!info(OFlags::PATH.bits()).writes());
        // Neither read nor written: for ioctl.
        assert!(!info(3).writes());
        assert!(info(1).writes() && info(2).writes());
        assert!(info(2 | OFlags::DIRECT.bits()).direct());
        assert!(info(1 | OFlags::APPEND.bits()).appends());
    }

    #[test]
    fn an_incomplete_text_is_not_parsed() {
        for no in [
            "",
            "flags:\t02",
            "flags:\t09\nmnt_id:\t1",
            "mnt_id:\t1",
            "flags\nmnt_id",
        ] {
            assert_eq!(FdInfo::parse(no), None, "{no}");
        }
    }
}
