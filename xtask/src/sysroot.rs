//! The guest's programs, from unpacked packages with the libraries that they need. The host's own
//! programs are not used.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    elf,
    parts::{GANESHA, KSMBD, NBDKIT, PROGRAMS, Parts},
};

/// A file of the guest.
pub struct File {
    /// Its absolute path in the guest.
    pub at: String,
    /// The source of its content.
    pub from: PathBuf,
}

/// nfs-ganesha opens its module for local file systems by name, so its ELF headers do not list it.
const GANESHA_VFS: &str = "usr/lib/x86_64-linux-gnu/ganesha/libfsalvfs.so";

/// nbdkit opens its plugin for files by name, too.
const NBDKIT_FILE: &str = "usr/lib/x86_64-linux-gnu/nbdkit/plugins/nbdkit-file-plugin.so";

/// All programs and libraries.
pub fn files(cache: &Path, parts: &Parts) -> Result<Vec<File>> {
    // Newer packages come first. Their libraries are compatible with older programs, and two
    // versions would cost the guest's memory.
    let newer = if parts.ganesha_six {
        Some(cache.join("ganesha"))
    } else {
        parts.programs.contains(KSMBD).then(|| cache.join("ksmbd"))
    };
    let same = ["userland", "block", "files"].map(|name| cache.join(name));
    let tops: Vec<_> = newer.into_iter().chain(same).collect();
    let mut files = Vec::new();
    let mut wanted = Vec::new();
    for (program, plugin) in [(GANESHA, GANESHA_VFS), (NBDKIT, NBDKIT_FILE)] {
        if parts.programs.contains(program) {
            let from = find(&tops, &[""], plugin)?;
            wanted.push(from.clone());
            files.push(File {
                at: format!("/{plugin}"),
                from,
            });
        }
    }
    let more = parts.programs.iter().map(String::as_str);
    for name in PROGRAMS.iter().copied().chain(more) {
        let from = find(&tops, &["usr/sbin", "sbin", "usr/bin", "bin"], name)?;
        wanted.push(from.clone());
        files.push(File {
            at: format!("/usr/sbin/{name}"),
            from,
        });
    }
    let mut seen = BTreeSet::new();
    while let Some(path) = wanted.pop() {
        let needs = elf::needs(&crate::read(&path)?).with_context(|| path.display().to_string())?;
        for name in needs.libraries {
            if seen.insert(name.clone()) {
                let from = library(&tops, &name)?;
                wanted.push(from.clone());
                files.push(File {
                    at: format!("/usr/lib/x86_64-linux-gnu/{name}"),
                    from,
                });
            }
        }
        if let Some(interpreter) = needs.interpreter
            && seen.insert(interpreter.clone())
        {
            let name = interpreter.rsplit('/').next().unwrap_or_default();
            files.push(File {
                at: format!("/usr{interpreter}"),
                from: library(&tops, name)?,
            });
        }
    }
    Ok(files)
}

fn library(tops: &[PathBuf], name: &str) -> Result<PathBuf> {
    let directories = [
        "usr/lib/x86_64-linux-gnu",
        "lib/x86_64-linux-gnu",
        "usr/lib/x86_64-linux-gnu/samba",
        "usr/lib/ganesha",
    ];
    find(tops, &directories, name)
}

fn find(tops: &[PathBuf], directories: &[&str], name: &str) -> Result<PathBuf> {
    let places = tops
        .iter()
        .flat_map(|top| directories.iter().map(move |at| top.join(at).join(name)));
    places
        .into_iter()
        .find(|path| path.exists())
        .with_context(|| {
            format!(
                "{name} is not in {tops:?}: a package of the guest's programs is missing; see \
             the functions fetch_* in ./dev"
            )
        })
}
