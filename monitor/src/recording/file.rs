//! A file to which frames are appended.

use std::{
    fs, io,
    io::{BufReader, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use super::{
    encoder,
    frame::file_head,
    reader::{ReadError, Reader},
    writer::RecordSink,
};

/// The reason why no recording can be written there.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A system error.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is a directory, a pipe or a device.
    #[error("it is not a regular file")]
    NotRegular,
    /// Another process writes to it.
    #[error("another throttle-monitor records there")]
    Busy,
    /// The existing file must not be overwritten, and cannot be continued.
    #[error("a file that cannot be continued exists already; move it away")]
    Other(#[source] ReadError),
}

/// A file to which frames are appended.
///
/// It is synced only at its end: `fsync` on a busy disk blocks, and delays others. Appended frames
/// are in the page cache, which outlives the daemon. The kernel writes them within about 35 s
/// (`vm.dirty_expire_centisecs`).
#[derive(Debug)]
pub struct FileSink {
    inner: fs::File,
    /// Bytes of complete frames.
    length: u64,
    /// Whether a partial frame may follow them.
    torn: bool,
}

impl FileSink {
    /// Makes a file, or continues a recording: after a crash, what is left of
    /// its last record is cut off. The path must not be on NFS.
    ///
    /// # Errors
    ///
    /// It cannot be opened, another process writes to it, or it is not a recording.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let file = fs::OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            // Opening a pipe would block.
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        if !file.metadata()?.is_file() {
            return Err(OpenError::NotRegular);
        }
        lock(&file)?;
        Self::continued(file)
    }

    /// A new one.
    pub(super) fn created(file: fs::File) -> Self {
        Self {
            inner: file,
            length: 0,
            torn: false,
        }
    }

    fn continued(mut file: fs::File) -> Result<Self, OpenError> {
        let mut length = 0;
        if file.metadata()?.len() > 0 {
            let mut reader = Reader::open(BufReader::new(&file)).map_err(OpenError::Other)?;
            while reader.skip().map_err(OpenError::Other)? {}
            length = reader.whole();
            file.set_len(length)?;
        }
        file.rewind()?;
        Ok(Self {
            length,
            ..Self::created(file)
        })
    }

    /// Its size, bytes.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// Appends frames completely or not at all, after the file's header if it is empty.
    pub(super) fn add(&mut self, frames: &[u8]) -> io::Result<()> {
        if self.torn {
            self.inner.set_len(self.length)?;
            self.torn = false;
        }
        let head = file_head();
        let head = if self.length == 0 { &head[..] } else { &[] };
        let written = self
            .inner
            .write_all(head)
            .and_then(|()| self.inner.write_all(frames));
        if written.is_ok() {
            self.length += (head.len() + frames.len()) as u64;
        } else {
            self.torn = self.inner.set_len(self.length).is_err();
        }
        written
    }

    /// Appends the end mark.
    pub(super) fn end(&mut self) -> io::Result<()> {
        let mut frame = Vec::new();
        encoder::end(&mut frame);
        self.add(&frame)
    }
}

impl RecordSink for FileSink {
    fn append(&mut self, frames: &[u8], _roll: bool) -> io::Result<()> {
        self.add(frames)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.end()?;
        self.inner.sync_data()
    }
}

/// Locks it against other processes while it is open.
pub(super) fn lock(file: &fs::File) -> Result<(), OpenError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(fs::TryLockError::WouldBlock) => Err(OpenError::Busy),
        Err(fs::TryLockError::Error(error)) => Err(error.into()),
    }
}
