//! Images for guests: a base for each kernel and the plans' parts, and per run an overlay with the
//! daemon and the plan. The kernel unpacks one after the other.
//!
//! They are not compressed: unpacking under emulation costs more than loading.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use cpio::newc::{Builder, ModeFileType, trailer};
use guest::{DAEMON, PLAN, Plan};

use crate::{
    Files,
    kernels::{Kernel, Unpacked},
    parts::{MODULES, Parts},
    sysroot,
};

/// Small files that programs read.
const TEXTS: &[(&str, &str)] = &[
    // libtirpc reads its transports here; without them mountd does not listen.
    (
        "/etc/netconfig",
        "udp tpi_clts v inet udp - -\n\
         tcp tpi_cots_ord v inet tcp - -\n\
         local tpi_cots_ord - loopback - - -\n",
    ),
    ("/etc/hosts", "127.0.0.1 localhost\n"),
    (
        "/etc/services",
        "nfs 2049/tcp\nsunrpc 111/tcp portmapper\nsunrpc 111/udp portmapper\n",
    ),
    ("/etc/protocols", "tcp 6 TCP\nudp 17 UDP\n"),
    // rpcbind switches to the user _rpc.
    (
        "/etc/passwd",
        "root:x:0:0::/:/bin/false\n_rpc:x:101:65534::/:/bin/false\n",
    ),
    ("/etc/group", "root:x:0:\n"),
    ("/etc/nsswitch.conf", "hosts: files\nservices: files\n"),
];

/// Everything except the daemon and the plan.
pub fn base(kernel: Kernel, parts: &Parts, files: &Files) -> Result<Vec<u8>> {
    let unpacked = Unpacked::find(kernel, &files.cache)?;
    let stage = tempfile::tempdir().context("making a temporary directory")?;
    let modules = parts.modules.iter().map(String::as_str);
    let modules: Vec<_> = MODULES.iter().copied().chain(modules).collect();
    unpacked.stage(&modules, stage.path())?;
    let mut archive = Archive::default();
    for (link, to) in [
        ("/lib", "usr/lib"),
        ("/lib64", "usr/lib64"),
        ("/bin", "usr/bin"),
        ("/sbin", "usr/sbin"),
        ("/usr/sbin/modprobe", "kmod"),
        ("/var/run", "../run"),
    ] {
        archive.add(link, ModeFileType::Symlink, 0o777, to.as_bytes())?;
    }
    for directory in ["/dev", "/tmp", "/usr/bin", "/export", "/mnt", "/run"] {
        archive.directory(directory)?;
    }
    archive.console()?;
    let modules = Path::new("lib/modules").join(&unpacked.release);
    for entry in fs::read_dir(stage.path().join(&modules))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        archive.file(
            &format!("/usr/{}/{name}", modules.display()),
            0o644,
            &crate::read(&path)?,
        )?;
    }
    for file in sysroot::files(&files.cache, parts)? {
        archive.file(&file.at, 0o755, &crate::read(&file.from)?)?;
    }
    for (at, text) in TEXTS {
        archive.file(at, 0o644, text.as_bytes())?;
    }
    archive.file("/init", 0o755, &crate::read(&files.init)?)?;
    archive.finish()
}

/// The part that differs between runs.
pub fn overlay(plan: &Plan, daemon: Option<&Path>) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    archive.file(PLAN, 0o644, &serde_json::to_vec(plan)?)?;
    if let Some(path) = daemon {
        archive.file(DAEMON, 0o755, &crate::read(path)?)?;
    }
    archive.finish()
}

/// A cpio archive in the `newc` form, in memory.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    directories: Vec<String>,
    entries: u32,
}

impl Archive {
    fn file(&mut self, at: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.add(at, ModeFileType::Regular, mode, content)
    }

    fn directory(&mut self, at: &str) -> Result<()> {
        if !at.is_empty() && !self.directories.iter().any(|known| known == at) {
            self.directories.push(at.to_owned());
            self.add(at, ModeFileType::Directory, 0o755, &[])?;
        }
        Ok(())
    }

    /// The kernel opens it for PID 1 before anything is mounted on /dev.
    fn console(&mut self) -> Result<()> {
        self.entries += 1;
        Builder::new("dev/console")
            .ino(self.entries)
            .nlink(1)
            .mode(0o600)
            .set_mode_file_type(ModeFileType::Char)
            .rdev_major(5)
            .rdev_minor(1)
            .write(&mut self.bytes, 0)
            .finish()?;
        Ok(())
    }

    fn add(&mut self, at: &str, kind: ModeFileType, mode: u32, content: &[u8]) -> Result<()> {
        if let Some((parent, _)) = at.rsplit_once('/') {
            self.directory(parent)?;
        }
        let size = u32::try_from(content.len()).with_context(|| format!("{at} is too big"))?;
        self.entries += 1;
        let mut writer = Builder::new(at.trim_start_matches('/'))
            .ino(self.entries)
            .nlink(1)
            .mode(mode)
            .set_mode_file_type(kind)
            .write(&mut self.bytes, size);
        std::io::Write::write_all(&mut writer, content)?;
        writer.finish()?;
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<u8>> {
        trailer(&mut self.bytes)?;
        // The next archive must begin at a multiple of four.
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        Ok(self.bytes)
    }
}
