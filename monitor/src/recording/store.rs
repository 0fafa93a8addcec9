//! Recordings for download: the rolling window and its kept ones, or the replayed files.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use monitor_model::api::{RecordingFile, RecordingSet};
use rustix::{
    fs::{AtFlags, Mode, OFlags, openat, statat},
    io::Errno,
};

use super::directory::{is_kept, names, number};

/// The name of the set with the current or replayed files.
const NOW: &str = "now";

/// The location of recordings. A name from a request is only compared with existing names, never
/// used as a path.
#[derive(Debug, Default)]
pub enum RecordingStore {
    /// There are no recordings.
    #[default]
    Empty,
    /// The directory of a rolling window, as it was opened.
    Window(OwnedFd),
    /// These files.
    Files(Vec<PathBuf>),
}

impl RecordingStore {
    /// All sets: the current one first, then the kept ones, newest first. Reads directories.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub fn sets(&self) -> io::Result<Vec<RecordingSet>> {
        match self {
            Self::Empty => Ok(Vec::new()),
            Self::Files(paths) => {
                let files = paths.iter().filter_map(|path| file(path)).collect();
                let name = NOW.to_owned();
                Ok(vec![RecordingSet { name, files }])
            }
            Self::Window(dir) => window(dir),
        }
    }

    /// Opens a file of a set; `None`: it does not exist.
    ///
    /// # Errors
    ///
    /// It exists and cannot be opened.
    pub fn open(&self, set: &str, name: &str) -> io::Result<Option<fs::File>> {
        match self {
            Self::Files(paths) => {
                let mut paths = paths.iter().filter(|_| set == NOW);
                let path = paths.find(|path| path.file_name().is_some_and(|own| own == name));
                path.map(fs::File::open).transpose()
            }
            Self::Window(_) if number(name).is_none() => Ok(None),
            Self::Window(dir) if set == NOW => open(dir, name),
            Self::Window(dir) if is_kept(set) => {
                let Some(kept) = open_dir(dir, set)? else {
                    return Ok(None);
                };
                open(&kept, name)
            }
            Self::Empty | Self::Window(_) => Ok(None),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "of a file that replay was given")]
fn file(path: &Path) -> Option<RecordingFile> {
    let known = path.metadata().ok();
    let modified = known.as_ref().and_then(|known| known.modified().ok());
    let since = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let millis = since.map_or(0, |since| since.as_millis());
    Some(RecordingFile {
        name: path.file_name()?.to_str()?.to_owned(),
        bytes: known.map_or(0, |known| known.len()),
        modified_unix_ms: u64::try_from(millis).unwrap_or(u64::MAX),
    })
}

fn window(dir: &OwnedFd) -> io::Result<Vec<RecordingSet>> {
    let mut kept: Vec<_> = names(dir)?
        .into_iter()
        .filter(|name| is_kept(name))
        .collect();
    // The names begin with the time.
    kept.sort_unstable_by(|a, b| b.cmp(a));
    let mut sets = vec![RecordingSet {
        name: NOW.to_owned(),
        files: segments(dir)?,
    }];
    for name in kept {
        if let Some(dir) = open_dir(dir, &name)? {
            let files = segments(&dir)?;
            sets.push(RecordingSet { name, files });
        }
    }
    Ok(sets)
}

fn segments(dir: &OwnedFd) -> io::Result<Vec<RecordingFile>> {
    let mut found: Vec<_> = names(dir)?
        .into_iter()
        .filter_map(|name| Some((number(&name)?, name)))
        .collect();
    found.sort_unstable();
    let mut entries = Vec::new();
    for (_, name) in found {
        match statat(dir, &*name, AtFlags::SYMLINK_NOFOLLOW) {
            // The window may have rolled meanwhile.
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
            Ok(stat) => entries.push(RecordingFile {
                name,
                bytes: u64::try_from(stat.st_size).unwrap_or(0),
                modified_unix_ms: u64::try_from(stat.st_mtime)
                    .unwrap_or(0)
                    .saturating_mul(1000),
            }),
        }
    }
    Ok(entries)
}

fn open_dir(dir: &OwnedFd, name: &str) -> io::Result<Option<OwnedFd>> {
    there(openat(
        dir,
        name,
        OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    ))
}

fn open(dir: &OwnedFd, name: &str) -> io::Result<Option<fs::File>> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    Ok(there(openat(dir, name, flags, Mode::empty()))?.map(Into::into))
}

fn there(opened: Result<OwnedFd, Errno>) -> io::Result<Option<OwnedFd>> {
    match opened {
        Ok(opened) => Ok(Some(opened)),
        // A name that is too long cannot exist.
        Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Read as _,
        path::{Path, PathBuf},
    };

    use super::RecordingStore;

    const KEPT: &str = "20261122T101500.000Z-0.29-nfsd-dirty-throttle";

    fn window(dir: &Path) -> RecordingStore {
        RecordingStore::Window(fs::File::open(dir).unwrap().into())
    }

    fn read(store: &RecordingStore, set: &str, name: &str) -> Option<String> {
        let mut text = String::new();
        let mut file = store.open(set, name).unwrap()?;
        file.read_to_string(&mut text).unwrap();
        Some(text)
    }

    #[test]
    fn the_window_and_what_it_kept_are_listed_and_opened_by_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let kept = dir.path().join(KEPT);
        fs::create_dir(&kept).unwrap();
        fs::write(dir.path().join("segment-0000000010.tmrec"), "ten").unwrap();
        fs::write(dir.path().join("segment-0000000009.tmrec"), "9").unwrap();
        fs::write(dir.path().join("other"), "no").unwrap();
        fs::write(kept.join("segment-0000000003.tmrec"), "three").unwrap();
        let store = window(dir.path());
        let sets = store.sets().unwrap();
        let listed: Vec<_> = sets
            .iter()
            .flat_map(|set| set.files.iter().map(|f| (&*set.name, &*f.name, f.bytes)))
            .collect();
        assert_eq!(
            listed,
            [
                ("now", "segment-0000000009.tmrec", 1),
                ("now", "segment-0000000010.tmrec", 3),
                (KEPT, "segment-0000000003.tmrec", 5),
            ]
        );
        let text = |set, name| read(&store, set, name);
        assert_eq!(
            text("now", "segment-0000000010.tmrec").as_deref(),
            Some("ten")
        );
        assert_eq!(
            text(KEPT, "segment-0000000003.tmrec").as_deref(),
            Some("three")
        );
        assert_eq!(text(KEPT, "segment-0000000010.tmrec"), None);
    }

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::write(dir.path().join("segment-0000000001.tmrec"), "out").unwrap();
        fs::write(inner.join("secret"), "out").unwrap();
        let outside = dir.path().join("segment-0000000001.tmrec");
        std::os::unix::fs::symlink(&outside, inner.join("segment-0000000002.tmrec")).unwrap();
        std::os::unix::fs::symlink(dir.path(), inner.join(KEPT)).unwrap();
        let store = window(&inner);
        for (set, name) in [
            ("..", "segment-0000000001.tmrec"),
            ("now", "../segment-0000000001.tmrec"),
            ("now", "secret"),
            ("", "segment-0000000001.tmrec"),
            ("/", "segment-0000000001.tmrec"),
        ] {
            assert!(store.open(set, name).unwrap().is_none(), "{set} {name}");
        }
        assert!(store.open("now", "segment-0000000002.tmrec").is_err());
        assert!(store.open(KEPT, "segment-0000000001.tmrec").is_err());
    }

    #[test]
    fn no_name_leads_through_what_was_kept_to_a_directory_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        fs::create_dir_all(inner.join(KEPT)).unwrap();
        let other = dir.path().join("other-dirty-throttle");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("segment-0000000001.tmrec"), "out").unwrap();
        let set = format!("{KEPT}/../../other-dirty-throttle");
        assert!(inner.join(&set).join("segment-0000000001.tmrec").exists());
        let opened = window(&inner).open(&set, "segment-0000000001.tmrec");
        assert!(opened.unwrap().is_none());
        let zero = KEPT.replace("nfsd", "\0");
        let opened = window(&inner).open(&zero, "segment-0000000001.tmrec");
        assert!(opened.unwrap().is_none());
    }

    #[test]
    fn files_that_are_played_are_known_by_their_last_names_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("night.tmrec");
        fs::write(&path, "night").unwrap();
        let store = RecordingStore::Files(vec![path, PathBuf::from("/nowhere/gone.tmrec")]);
        let sets = store.sets().unwrap();
        let names: Vec<_> = sets[0].files.iter().map(|file| &*file.name).collect();
        assert_eq!(names, ["night.tmrec", "gone.tmrec"]);
        assert_eq!(read(&store, "now", "night.tmrec").as_deref(), Some("night"));
        assert_eq!(read(&store, "now", "passwd"), None);
        assert!(RecordingStore::Empty.sets().unwrap().is_empty());
    }
}
