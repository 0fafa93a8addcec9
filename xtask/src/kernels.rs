//! Distribution kernels, unpacked by `./dev` and never installed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::elf;

/// A kernel that guests boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kernel {
    /// Debian 11's
    #[value(name = "5.10")]
    V5_10,
    /// Debian 12's
    #[value(name = "6.1")]
    V6_1,
    /// Debian 13's
    #[value(name = "6.12")]
    V6_12,
    /// Debian testing's
    #[value(name = "newest")]
    Newest,
    /// An older one of Debian 12's backports, in which reclaim waits for an NFS server
    #[value(name = "6.12.43")]
    V6_12_43,
}

/// The kernels for nearly all scenarios, oldest first.
pub const ALL: &[Kernel] = &[Kernel::V5_10, Kernel::V6_1, Kernel::V6_12, Kernel::Newest];

/// All kernels. Those that only a single fault needs are last.
pub const EVERY: &[Kernel] = &[
    Kernel::V5_10,
    Kernel::V6_1,
    Kernel::V6_12,
    Kernel::Newest,
    Kernel::V6_12_43,
];

impl fmt::Display for Kernel {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.pad(match self {
            Self::V5_10 => "5.10",
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::Newest => "newest",
            Self::V6_12_43 => "6.12.43",
        })
    }
}

/// An unpacked kernel's parts.
pub struct Unpacked {
    /// The bootable image.
    pub image: PathBuf,
    /// `…/lib/modules/RELEASE`.
    modules: PathBuf,
    /// The output of `uname -r`.
    pub release: String,
}

impl Unpacked {
    /// Finds the parts under the cache directory.
    pub fn find(kernel: Kernel, cache: &Path) -> Result<Self> {
        let top = cache.join(format!("kernel-{kernel}"));
        let modules = ["lib/modules", "usr/lib/modules"]
            .iter()
            .filter_map(|path| fs::read_dir(top.join(path)).ok())
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.join("kernel").is_dir())
            .with_context(|| {
                format!(
                    "no kernel modules under {}: ./dev unpacks them there; remove the directory and repeat",
                    top.display()
                )
            })?;
        let release = file_name(&modules);
        let image = [
            top.join("boot").join(format!("vmlinuz-{release}")),
            modules.join("vmlinuz"),
        ]
        .into_iter()
        .find(|path| path.is_file())
        .with_context(|| format!("no vmlinuz under {}", top.display()))?;
        Ok(Self {
            image,
            modules,
            release,
        })
    }

    /// Copies the named modules and their dependencies, decompressed, to `to/lib/modules/RELEASE`,
    /// with the indexes that modprobe reads.
    ///
    /// Names that are not modules of this kernel are skipped: a module in one kernel is built into
    /// another.
    pub fn stage(&self, names: &[&str], to: &Path) -> Result<()> {
        let all = self.index();
        let into = to.join("lib/modules").join(&self.release);
        fs::create_dir_all(&into)?;
        let mut wanted: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut done = BTreeSet::new();
        while let Some(name) = wanted.pop() {
            let Some(path) = all.get(&name) else { continue };
            if !done.insert(name.clone()) {
                continue;
            }
            let bytes = decompressed(path)?;
            wanted.extend(elf::module_dependencies(&bytes).with_context(|| name.clone())?);
            fs::write(into.join(format!("{name}.ko")), bytes)?;
        }
        for list in [
            "modules.order",
            "modules.builtin",
            "modules.builtin.modinfo",
        ] {
            fs::copy(self.modules.join(list), into.join(list)).with_context(|| list.to_owned())?;
        }
        let status = Command::new("depmod")
            .arg("-b")
            .arg(to)
            .arg(&self.release)
            .status()
            .context("depmod cannot be started: install the Debian package kmod")?;
        if !status.success() {
            bail!("depmod failed on the modules of {}: {status}", self.release);
        }
        Ok(())
    }

    /// Every module by its name, in the kernel's form.
    fn index(&self) -> BTreeMap<String, PathBuf> {
        let mut found = BTreeMap::new();
        let mut directories = vec![self.modules.join("kernel")];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    directories.push(path);
                } else if let Some((name, _)) = file_name(&path).split_once(".ko") {
                    found.insert(name.replace('-', "_"), path);
                }
            }
        }
        found
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Modules are .xz since 6.12. Guests get them uncompressed: in an initramfs they are in memory
/// anyway, and unpacking under emulation is slow.
fn decompressed(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_none_or(|extension| extension != "xz") {
        return crate::read(path);
    }
    let output = Command::new("xz")
        .arg("-dc")
        .arg(path)
        .output()
        .context("xz cannot be started: install the Debian package xz-utils")?;
    if !output.status.success() {
        bail!(
            "{} is damaged: {}",
            path.display(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(output.stdout)
}
