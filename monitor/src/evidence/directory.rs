//! The directory of `--evidence.dir`: its files are complete or absent, and bounded in number and
//! size.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use monitor_collector::host::local_path::{PlacementError, refuse_nfs};
use monitor_verdict::evidence::is_document;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, fchmod, fsync, mkdirat, openat, renameat, statat,
    unlinkat,
};
use rustix::io::Errno;

/// Maximum number of entries to read at once; the rest waits for the next document.
const MAX_ENTRIES: usize = 65_536;

/// Limits of the directory. They cover only the daemon's own files; others are never touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvidenceLimits {
    /// Maximum number of files.
    pub files: usize,
    /// Maximum bytes of all files.
    pub bytes: u64,
}

/// The reason why a document is not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The directory is on NFS now.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// A system error.
    #[error("{what} {path}: {error}")]
    Io {
        /// The failed operation.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// It exceeds the limit for all documents together.
    #[error("the document has {bytes} bytes, more than the directory may hold ({most})")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit for all documents, bytes.
        most: u64,
    },
}

/// The destination of documents.
#[derive(Clone, Debug)]
pub struct EvidenceDirectory {
    procfs: PathBuf,
    path: PathBuf,
    limits: EvidenceLimits,
}

impl EvidenceDirectory {
    /// Checks the path without creating or opening anything: the disk may hang, and only the writer
    /// thread waits for it.
    ///
    /// # Errors
    ///
    /// It is on NFS, or the check failed.
    pub fn new(procfs: &Path, path: &Path, limits: EvidenceLimits) -> Result<Self, PlacementError> {
        refuse_nfs(procfs, path)?;
        Ok(Self {
            procfs: procfs.into(),
            path: std::path::absolute(path).unwrap_or_else(|_| path.into()),
            limits,
        })
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the remains of interrupted writes, and files beyond the limits.
    pub(super) fn tidy(&self) -> Result<(), WriteError> {
        let dir = self.open()?;
        for name in self.list(&dir, is_leftover)? {
            self.remove(&dir, &name)?;
        }
        self.make_room(&dir, 0, "")
    }

    /// Writes a document: to a temporary file, to the disk, and then in place. This takes as long
    /// as the disk does.
    ///
    /// # Errors
    ///
    /// The directory is on NFS, full, or too small for it.
    pub fn write(&self, id: &str, json: &[u8]) -> Result<PathBuf, WriteError> {
        let bytes = json.len() as u64;
        if bytes > self.limits.bytes {
            let most = self.limits.bytes;
            return Err(WriteError::TooLarge { bytes, most });
        }
        let dir = self.open()?;
        let name = format!("{id}.json");
        self.make_room(&dir, bytes, &name)?;
        let path = self.path.join(&name);
        let beside = format!(".{name}.tmp");
        let written = write_beside(&dir, &beside, json)
            .and_then(|()| renameat(&dir, &beside, &dir, &name).map_err(Into::into));
        if let Err(error) = written {
            // If this fails, the next start removes it.
            let _ = unlinkat(&dir, &beside, AtFlags::empty());
            let what = "cannot write";
            return Err(WriteError::Io { what, path, error });
        }
        fsync(&dir).map_err(|error| self.failed("cannot sync", error))?;
        Ok(path)
    }

    /// Opens it, and creates its last component if missing. The mounts may have changed since the
    /// last time.
    fn open(&self) -> Result<OwnedFd, WriteError> {
        refuse_nfs(&self.procfs, &self.path)?;
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let open = || openat(CWD, &self.path, flags, Mode::empty());
        let opened = open().or_else(|error| {
            if error != Errno::NOENT {
                return Err(error);
            }
            mkdirat(CWD, &self.path, Mode::from_raw_mode(0o750))?;
            open()
        });
        opened.map_err(|error| self.failed("cannot open", error))
    }

    /// Removes the oldest own files until `bytes` more fit. A file with this name will be replaced,
    /// so it does not count.
    fn make_room(&self, dir: &OwnedFd, bytes: u64, name: &str) -> Result<(), WriteError> {
        let mut files = Vec::new();
        for one in self.list(dir, is_ours)? {
            match statat(dir, &one, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if one != name => {
                    files.push((one, u64::try_from(stat.st_size).unwrap_or(0)));
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(self.failed("cannot look into", error)),
            }
        }
        // The names begin with the time.
        files.sort_unstable();
        let new = usize::from(!name.is_empty());
        let mut sum: u64 = files.iter().map(|(_, size)| size).sum();
        let mut count = files.len();
        for (one, size) in files {
            let fits = count + new <= self.limits.files && sum + bytes <= self.limits.bytes;
            if fits {
                break;
            }
            self.remove(dir, &one)?;
            count -= 1;
            sum -= size;
        }
        Ok(())
    }

    /// The regular files whose names `wanted` accepts.
    fn list(&self, dir: &OwnedFd, wanted: fn(&str) -> bool) -> Result<Vec<String>, WriteError> {
        let failed = |error| self.failed("cannot list", error);
        let mut names = Vec::new();
        for entry in Dir::read_from(dir).map_err(failed)?.take(MAX_ENTRIES) {
            let entry = entry.map_err(failed)?;
            // Some file systems do not report the type; then the name decides.
            let file = matches!(entry.file_type(), FileType::RegularFile | FileType::Unknown);
            if let Ok(name) = entry.file_name().to_str()
                && file
                && wanted(name)
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn remove(&self, dir: &OwnedFd, name: &str) -> Result<(), WriteError> {
        match unlinkat(dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failed("cannot remove an old file of", error)),
        }
    }

    fn failed(&self, what: &'static str, error: Errno) -> WriteError {
        let (path, error) = (self.path.clone(), error.into());
        WriteError::Io { what, path, error }
    }
}

fn write_beside(dir: &OwnedFd, name: &str, json: &[u8]) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o640);
    let create = || openat(dir, name, flags, mode);
    let file = create().or_else(|error| {
        if error != Errno::EXIST {
            return Err(error);
        }
        unlinkat(dir, name, AtFlags::empty())?;
        create()
    })?;
    // Only the owner and the group may read it, whatever the umask.
    fchmod(&file, mode)?;
    let mut file = File::from(file);
    file.write_all(json)?;
    file.sync_all()
}

fn is_ours(name: &str) -> bool {
    name.strip_suffix(".json").is_some_and(is_document)
}

fn is_leftover(name: &str) -> bool {
    let name = name
        .strip_prefix('.')
        .and_then(|name| name.strip_suffix(".tmp"));
    name.is_some_and(is_ours)
}
