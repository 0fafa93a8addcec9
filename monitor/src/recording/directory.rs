//! A rolling window: the last minutes in a directory, in several files. The minutes before a
//! livelock are kept.

use std::{
    collections::VecDeque,
    ffi::CStr,
    fs, io,
    os::{fd::OwnedFd, unix::fs::DirBuilderExt as _},
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use monitor_model::verdict::Signature;
use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags, linkat, mkdirat, openat, renameat, statat, unlinkat},
    io::Errno,
};

use super::{
    file::{FileSink, OpenError, lock},
    writer::RecordSink,
};

const PREFIX: &str = "segment-";
const SUFFIX: &str = ".tmrec";

/// The limits of the directory.
#[derive(Clone, Copy, Debug)]
pub struct WindowLimits {
    /// Minimum time that can be read back, within `max_bytes`.
    pub window: Duration,
    /// Maximum bytes of the window's files, plus one file.
    pub max_bytes: u64,
    /// Number of livelocks whose previous minutes are kept, the newest ones.
    pub keep: usize,
}

/// A rolling window in a directory.
///
/// All names are relative to the directory as it was opened, so a later mount over it has no
/// effect.
#[derive(Debug)]
pub struct DirectorySink {
    dir: OwnedFd,
    /// Locks the directory against other daemons.
    _lock: fs::File,
    limits: WindowLimits,
    /// The finished files, oldest first.
    done: VecDeque<Segment>,
    current: Option<(u64, FileSink)>,
    next: u64,
    /// Whether a new file is due.
    due: bool,
}

/// A finished file.
#[derive(Clone, Copy, Debug)]
struct Segment {
    number: u64,
    bytes: u64,
    /// Its age at `since`.
    age: Duration,
    since: Instant,
}

impl DirectorySink {
    /// Creates or continues one. The path must not be on NFS.
    ///
    /// # Errors
    ///
    /// It cannot be created or opened, or another daemon records there.
    pub fn open(path: &Path, limits: WindowLimits) -> Result<Self, OpenError> {
        let mut builder = fs::DirBuilder::new();
        // The recordings contain mounts, processes and addresses.
        builder.recursive(true).mode(0o700).create(path)?;
        let opened = fs::File::open(path)?;
        lock(&opened)?;
        let mut directory = Self {
            dir: opened.try_clone()?.into(),
            _lock: opened,
            limits,
            done: VecDeque::new(),
            current: None,
            next: 1,
            due: true,
        };
        directory.find()?;
        directory.throw_away();
        Ok(directory)
    }

    /// The directory, as it was opened.
    ///
    /// # Errors
    ///
    /// No file descriptor is left.
    pub fn handle(&self) -> io::Result<OwnedFd> {
        self.dir.try_clone()
    }

    /// Finds the files of an earlier daemon.
    fn find(&mut self) -> io::Result<()> {
        let (now, since) = (SystemTime::now(), Instant::now());
        for name in names(&self.dir)? {
            let Some(number) = number(&name) else {
                continue;
            };
            let stat = statat(&self.dir, &*name, AtFlags::SYMLINK_NOFOLLOW)?;
            let written = u64::try_from(stat.st_mtime).unwrap_or(0);
            let written = UNIX_EPOCH + Duration::from_secs(written);
            self.done.push_back(Segment {
                number,
                bytes: u64::try_from(stat.st_size).unwrap_or(0),
                age: now.duration_since(written).unwrap_or_default(),
                since,
            });
            self.next = self.next.max(number.saturating_add(1));
        }
        self.done.make_contiguous().sort_by_key(|one| one.number);
        Ok(())
    }

    /// Ends the current file and begins the next.
    fn roll(&mut self) -> io::Result<()> {
        let number = self.next;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::APPEND | OFlags::RDWR | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = openat(&self.dir, file_name(number), flags, mode)?;
        self.next += 1;
        let new = FileSink::created(file.into());
        if let Some((number, mut file)) = self.current.replace((number, new)) {
            // On a full disk it lacks the end mark, but is still readable.
            let _ = file.end();
            self.done.push_back(Segment {
                number,
                bytes: file.length(),
                age: Duration::ZERO,
                since: Instant::now(),
            });
        }
        self.due = false;
        self.throw_away();
        Ok(())
    }

    /// Removes files that are older than the window, or exceed its size.
    fn throw_away(&mut self) {
        let mut bytes: u64 = self.done.iter().map(|one| one.bytes).sum();
        while let Some(oldest) = self.done.front() {
            let age = oldest.age.saturating_add(oldest.since.elapsed());
            if bytes <= self.limits.max_bytes && age <= self.limits.window {
                return;
            }
            if let Err(error) = unlinkat(&self.dir, file_name(oldest.number), AtFlags::empty())
                && error != Errno::NOENT
            {
                tracing::warn!(%error, segment = oldest.number, "an old part of the recording cannot be removed");
            }
            bytes = bytes.saturating_sub(oldest.bytes);
            self.done.pop_front();
        }
    }

    /// Links every file of the window into `into`.
    fn link_all(&self, into: &OwnedFd) -> io::Result<()> {
        let current = self.current.iter().map(|(number, _)| *number);
        let mut result = Ok(());
        for number in self.done.iter().map(|one| one.number).chain(current) {
            let name = file_name(number);
            // FAT has no links, so move the file there. The current one is open and keeps growing
            // at either place.
            let linked = linkat(&self.dir, &name, into, &name, AtFlags::empty())
                .or_else(|_| renameat(&self.dir, &name, into, &name));
            match linked {
                Ok(()) | Err(Errno::NOENT | Errno::EXIST) => {}
                Err(error) => result = Err(error.into()),
            }
        }
        result
    }

    /// Removes the oldest kept recording, except `newest`.
    fn forget(&self, newest: &str) -> io::Result<()> {
        let mut kept: Vec<_> = names(&self.dir)?
            .into_iter()
            .filter(|name| is_kept(name) && name != newest)
            .collect();
        kept.sort_unstable();
        let surplus = (kept.len() + 1).saturating_sub(self.limits.keep.max(1));
        let oldest = kept.iter().take(surplus);
        // If one cannot be removed, the next one still is.
        oldest
            .map(|name| self.remove_kept(name))
            .fold(Ok(()), Result::and)
    }

    fn remove_kept(&self, name: &str) -> io::Result<()> {
        let dir = self.open_kept(name)?;
        for segment in names(&dir)? {
            if number(&segment).is_some() {
                unlinkat(&dir, segment, AtFlags::empty())?;
            }
        }
        Ok(unlinkat(&self.dir, name, AtFlags::REMOVEDIR)?)
    }

    fn open_kept(&self, name: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(&self.dir, name, flags, Mode::empty())?)
    }
}

impl RecordSink for DirectorySink {
    fn append(&mut self, frames: &[u8], roll: bool) -> io::Result<()> {
        self.due |= roll;
        if self.due || self.current.is_none() {
            self.roll()?;
        }
        match &mut self.current {
            Some((_, file)) => file.add(frames),
            None => Ok(()),
        }
    }

    fn keep(&mut self, name: &str) -> io::Result<()> {
        match mkdirat(&self.dir, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        self.link_all(&self.open_kept(name)?)?;
        self.forget(name)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.current
            .as_mut()
            .map_or(Ok(()), |(_, file)| file.finish())
    }
}

/// Whether the name is that of a kept recording: [`incident`](monitor_verdict::evidence::incident).
pub(super) fn is_kept(name: &str) -> bool {
    let form = b"00000000T000000.000Z-";
    let fits = |(byte, form): (u8, &u8)| match form {
        b'0' => byte.is_ascii_digit(),
        other => byte == *other,
    };
    let mut signatures = Signature::ALL.iter();
    let ends = |one: &Signature| name.ends_with(&format!("-{}", one.as_str()));
    name.len() > form.len()
        && name.bytes().zip(form).all(fits)
        && name.chars().all(is_plain)
        && signatures.any(ends)
}

/// The characters in such a name: none that leads to another path.
const fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')
}

fn file_name(number: u64) -> String {
    format!("{PREFIX}{number:010}{SUFFIX}")
}

pub(super) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let number = digits.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

pub(super) fn names(dir: &OwnedFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name: &CStr = entry.file_name();
        names.extend(name.to_str().ok().map(str::to_owned));
    }
    Ok(names)
}
