//! The undo journal: the settings before each change, in a file on a tmpfs, so that no disk can
//! delay it. It need not survive a reboot, which resets all settings. The journal of another boot
//! is discarded.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use monitor_collector::host::boot::boot_id;
use rustix::fs::{FlockOperation, Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::tunables::{Tunable, Value};

/// How long to wait for another process that is restoring settings.
const PATIENCE: Duration = Duration::from_secs(3);

/// Version of the file.
const SCHEMA: u32 = 1;

/// The reason why the journal is unavailable.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be created, read or written.
    #[error("the guard's state file {path} cannot be used: {source}")]
    Io {
        /// The file.
        path: String,
        /// The error.
        #[source]
        source: io::Error,
    },
    /// Another process holds the lock.
    #[error("another guard runs on this node (it has locked {0}): stop that daemon first")]
    Taken(String),
    /// This program did not write it.
    #[error(
        "the guard's state file {path} cannot be read: compare vm.dirty_bytes and \
         /sys/class/bdi/*/max_ratio with what they should be, then remove it"
    )]
    Unreadable {
        /// The file.
        path: String,
        /// The problem.
        #[source]
        source: serde_json::Error,
    },
}

/// A setting that was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The setting. Before the package was last upgraded it may have been written as `knob`.
    #[serde(alias = "knob")]
    pub tunable: Tunable,
    /// The loop that it was changed for.
    #[serde(rename = "loop")]
    pub loop_id: String,
    /// The value before.
    pub old: Value,
    /// The values that the guard set: the last one, and the one before. The latter still holds if
    /// the process ended after the note and before the change.
    pub ours: Vec<Value>,
    /// Another process has changed it since, so it is no longer the guard's.
    #[serde(default)]
    pub lost: bool,
}

#[derive(Serialize, Deserialize)]
struct JournalDocument {
    schema: u32,
    boot_id: String,
    entries: Vec<Entry>,
}

/// The changed settings.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    boot_id: String,
    entries: Vec<Entry>,
    _lock: OwnedFd,
}

impl Journal {
    /// Opens it, and locks it against others.
    ///
    /// # Errors
    ///
    /// It is unusable, or another process uses it.
    pub fn open(path: &Path, procfs: &Path) -> Result<Self, JournalError> {
        let broken = |source| JournalError::Io {
            path: path.display().to_string(),
            source,
        };
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(broken)?;
        }
        let lock = lock(&path.with_extension("lock"), path)?;
        let boot_id = boot_id(procfs);
        let entries = match fs::read(path) {
            Ok(text) => entries(&text, &boot_id, path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(broken(error)),
        };
        Ok(Self {
            path: path.to_owned(),
            boot_id,
            entries,
            _lock: lock,
        })
    }

    /// The changed settings.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of this setting.
    pub fn entry(&self, tunable: &Tunable) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.tunable == *tunable)
    }

    /// Records a change before it is made.
    ///
    /// # Errors
    ///
    /// It cannot be written: then the setting must not be changed.
    pub fn note(
        &mut self,
        tunable: &Tunable,
        loop_id: &str,
        old: Value,
        new: Value,
    ) -> io::Result<()> {
        let before = self.entries.clone();
        if let Some(entry) = self
            .entries
            .iter_mut()
            .find(|entry| entry.tunable == *tunable)
        {
            let last = entry.ours.last().copied();
            entry.ours = last.into_iter().chain([new]).collect();
            loop_id.clone_into(&mut entry.loop_id);
        } else {
            self.entries.push(Entry {
                tunable: tunable.clone(),
                loop_id: loop_id.to_owned(),
                old,
                ours: vec![new],
                lost: false,
            });
        }
        self.save().inspect_err(|_| self.entries = before)
    }

    /// Records that another process changed the setting.
    pub fn lose(&mut self, tunable: &Tunable) {
        if let Some(entry) = self
            .entries
            .iter_mut()
            .find(|entry| entry.tunable == *tunable)
        {
            entry.lost = true;
        }
        let _ = self.save();
    }

    /// Removes the setting: it is restored, or does not exist any more.
    pub fn strike(&mut self, tunable: &Tunable) {
        self.entries.retain(|entry| entry.tunable != *tunable);
        let _ = self.save();
    }

    /// Replaces the file in one step, so that it is always complete.
    fn save(&self) -> io::Result<()> {
        if self.entries.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let next = self.path.with_extension("new");
        fs::write(&next, document(&self.boot_id, &self.entries))?;
        fs::rename(&next, &self.path)
    }
}

/// The content of the file.
pub fn document(boot_id: &str, entries: &[Entry]) -> Vec<u8> {
    let document = JournalDocument {
        schema: SCHEMA,
        boot_id: boot_id.to_owned(),
        entries: entries.to_vec(),
    };
    // It holds only names and numbers, which always have a JSON form.
    serde_json::to_vec(&document).unwrap_or_default()
}

/// The entries in the file; empty if they are from before the last boot.
pub fn entries(text: &[u8], boot_id: &str, path: &Path) -> Result<Vec<Entry>, JournalError> {
    let unreadable = |source| JournalError::Unreadable {
        path: path.display().to_string(),
        source,
    };
    let document: JournalDocument = serde_json::from_slice(text).map_err(unreadable)?;
    if document.schema != SCHEMA {
        let words = format!("schema {}, and {SCHEMA} is known", document.schema);
        return Err(unreadable(serde::de::Error::custom(words)));
    }
    // A reboot has reset the changes.
    let same = document.boot_id == boot_id;
    Ok(if same { document.entries } else { Vec::new() })
}

fn lock(path: &Path, journal: &Path) -> Result<OwnedFd, JournalError> {
    let broken = |error: rustix::io::Errno| JournalError::Io {
        path: path.display().to_string(),
        source: error.into(),
    };
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600)).map_err(broken)?;
    let begin = Instant::now();
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if begin.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(50));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(JournalError::Taken(journal.display().to_string()));
            }
            Err(error) => return Err(broken(error)),
        }
    }
}
