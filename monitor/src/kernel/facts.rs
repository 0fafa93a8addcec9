//! What this kernel offers: facts only, `Option` and `Result` for what could
//! not be told. Nothing here decides.
//!
//! Facts are serde, so that those of real kernels are the fixtures of the
//! plan's tests (`throttle-monitor facts` prints them).

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::{Deserialize, Serialize};

use super::{btf::BtfFacts, signals};

/// Where the kernel's file systems are.
#[derive(Clone, Copy, Debug)]
pub struct Roots<'a> {
    /// Mostly `/proc`.
    pub procfs: &'a Path,
    /// Mostly `/sys`.
    pub sysfs: &'a Path,
}

/// What a kernel offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// `uname -r`.
    pub release: String,
    /// The text of each tracepoint's `format` file that a way wants and this
    /// kernel has, by `group/name`; or why tracefs cannot be read.
    pub formats: Result<BTreeMap<String, String>, String>,
    /// What BTF tells, or why there is none.
    pub btf: Result<BtfFacts, String>,
    /// Functions of interest in /proc/kallsyms; read only where there is no
    /// BTF.
    pub kallsyms: Option<Vec<String>>,
    /// Whether the kernel has kprobes.
    pub kprobes: bool,
    /// Whether the kernel can load modules.
    pub loads_modules: bool,
    /// Modules of interest that are loaded.
    pub modules: Vec<String>,
    /// `none`, `integrity` or `confidentiality`; `None` where the kernel has no
    /// lockdown or does not show it.
    pub lockdown: Option<String>,
    /// Kinds of hook that this kernel was seen to refuse, with its words. Not
    /// gathered: filled in from what attaching really said, for the fixtures.
    #[serde(default)]
    pub refuses: BTreeMap<String, String>,
}

impl Facts {
    /// Gathers the facts. `tracefs` is its mount point or why there is none.
    #[must_use]
    pub fn gather(roots: Roots<'_>, tracefs: Result<&Path, String>) -> Self {
        let btf = super::btf::read(&roots.sysfs.join("kernel/btf/vmlinux"));
        Self {
            release: rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
            formats: tracefs.map(formats),
            kallsyms: btf.is_err().then(|| kallsyms(roots.procfs)).flatten(),
            btf,
            kprobes: roots.sysfs.join("bus/event_source/devices/kprobe").exists(),
            loads_modules: roots.procfs.join("modules").exists(),
            modules: modules(roots.sysfs),
            lockdown: lockdown(roots.sysfs),
            refuses: BTreeMap::new(),
        }
    }

    /// Reads again what changes when a module is loaded.
    pub fn refresh(&mut self, roots: Roots<'_>, tracefs: Result<&Path, String>) {
        self.formats = tracefs.map(formats);
        self.modules = modules(roots.sysfs);
    }

    /// Whether a function can be probed by name, as far as can be told.
    #[must_use]
    pub fn has_function(&self, name: &str) -> bool {
        match (&self.btf, &self.kallsyms) {
            (Ok(btf), _) => btf.functions.iter().any(|f| f == name),
            (Err(_), Some(symbols)) => symbols.iter().any(|f| f == name),
            (Err(_), None) => false,
        }
    }
}

/// Modules of interest that are loaded. One that is built in may or may not
/// show here; its tracepoints are then there from the start.
#[must_use]
pub fn modules(sysfs: &Path) -> Vec<String> {
    let mut names: Vec<_> = signals::SIGNALS.iter().filter_map(|s| s.module).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .filter(|name| sysfs.join("module").join(name).exists())
        .map(str::to_owned)
        .collect()
}

fn formats(tracefs: &Path) -> BTreeMap<String, String> {
    signals::tracepoints()
        .filter_map(|(group, name)| {
            let path = tracefs.join("events").join(group).join(name).join("format");
            Some((format!("{group}/{name}"), fs::read_to_string(path).ok()?))
        })
        .collect()
}

/// Functions of interest among the kernel's symbols, read line by line: the
/// file has ten megabytes.
fn kallsyms(procfs: &Path) -> Option<Vec<String>> {
    use io::BufRead as _;
    let wanted: Vec<_> = signals::functions().collect();
    let file = io::BufReader::new(fs::File::open(procfs.join("kallsyms")).ok()?);
    let mut found = Vec::new();
    for line in file.lines() {
        let line = line.ok()?;
        if let Some(name) = line.split_whitespace().nth(2)
            && wanted.contains(&name)
        {
            found.push(name.to_owned());
        }
    }
    Some(found)
}

/// The word in brackets, `none [integrity] confidentiality`.
fn lockdown(sysfs: &Path) -> Option<String> {
    let text = fs::read_to_string(sysfs.join("kernel/security/lockdown")).ok()?;
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}
