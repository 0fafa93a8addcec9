//! File systems that are not NFS, and devices on files of an NFS mount.

use std::fs;

use anyhow::{Context as _, Result};
use guest::FilesStep;

use super::{command, disk, pod::Pods};
use crate::counters;

mod fuse;
mod smb;

/// Executes one of these steps.
pub fn play(step: &FilesStep, pods: &Pods) -> Result<()> {
    match step {
        FilesStep::ServeSmb {
            path,
            server,
            options,
        } => smb::start(path, *server, options),
        FilesStep::MountSmb { server, at } => smb::mount_share(server, at),
        FilesStep::Fuse { path, at, exempt } => fuse::bind(path, at, *exempt),
        FilesStep::LoopDevice {
            pod,
            file,
            megabytes,
        } => {
            if let Some(pid) = pod.as_deref().and_then(|name| pods.pid(name)) {
                counters::count_beside(pid);
            }
            pods.inside(pod.as_deref(), || disk::attach(file, *megabytes))
        }
        FilesStep::Encrypt { device } => encrypt(device),
    }
}

/// Maps a device through dm-crypt.
fn encrypt(device: &str) -> Result<()> {
    let name = device.rsplit('/').next().unwrap_or_default();
    let size = format!("/sys/block/{name}/size");
    let sectors = fs::read_to_string(&size).context(size)?;
    let key = "0123456789abcdef".repeat(2);
    let table = format!(
        "0 {} crypt aes-cbc-plain64 {key} 0 {device} 0",
        sectors.trim()
    );
    // There is no udev.
    let options = ["--noudevsync", "--noudevrules", "create", "secret"];
    command("dmsetup", &[&options[..], &["--table", &table]].concat())
}
