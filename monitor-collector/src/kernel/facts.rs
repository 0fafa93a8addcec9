//! What this kernel offers: facts only, `Option` and `Result` for what could
//! not be told. Nothing here decides.
//!
//! Facts are serde, so that those of real kernels are the fixtures of the
//! plan's tests (`throttle-monitor facts` prints them).

use std::{collections::BTreeMap, fs, io, path::Path, thread, time::Duration};

use serde::{Deserialize, Serialize};

use super::{btf::BtfFacts, lockdown, signals};

const SVC_ALLOC_ARG_ERR: &str = "sunrpc/svc_alloc_arg_err";

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
    /// The text of each tracepoint's `format` file that a strategy wants and this
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
    /// Ticks a second; read only where a strategy needs it, before 5.14.
    pub hz: Option<u32>,
    /// `none`, `integrity` or `confidentiality`; `None` where the kernel has no
    /// lockdown or does not show it.
    pub lockdown: Option<String>,
    /// Kinds of hook, and functions of modules, that this kernel was seen to
    /// refuse, with its words. Not gathered: filled in from what attaching
    /// really said, for the fixtures.
    #[serde(default)]
    pub refuses: BTreeMap<String, String>,
}

impl Facts {
    /// Gathers the facts. `tracefs` is its mount point or why there is none.
    #[must_use]
    pub fn gather(roots: Roots<'_>, tracefs: Result<&Path, String>) -> Self {
        let mut facts = Self::gather_once(roots, tracefs);
        facts.read_hz(roots.procfs);
        facts
    }

    fn gather_once(roots: Roots<'_>, tracefs: Result<&Path, String>) -> Self {
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
            hz: None,
            lockdown: lockdown::read(roots.sysfs),
            refuses: BTreeMap::new(),
        }
    }

    /// Reads again what changes when a module is loaded.
    pub fn refresh(&mut self, roots: Roots<'_>, tracefs: Result<&Path, String>) {
        self.formats = tracefs.map(formats);
        self.modules = modules(roots.sysfs);
        self.read_hz(roots.procfs);
    }

    /// Only where sunrpc is loaded and lacks the tracepoint: it takes a while.
    fn read_hz(&mut self, procfs: &Path) {
        let traced = self
            .formats
            .as_ref()
            .is_ok_and(|formats| formats.contains_key(SVC_ALLOC_ARG_ERR));
        if self.hz.is_none() && !traced && self.modules.iter().any(|module| module == "sunrpc") {
            self.hz = hz(procfs);
        }
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
    symbols(io::BufReader::new(
        fs::File::open(procfs.join("kallsyms")).ok()?,
    ))
}

pub(super) fn symbols(kallsyms: impl io::BufRead) -> Option<Vec<String>> {
    let wanted: Vec<_> = signals::functions().collect();
    let mut found = Vec::new();
    for line in kallsyms.lines() {
        let line = line.ok()?;
        if let Some(name) = line.split_whitespace().nth(2)
            && wanted.contains(&name)
            // Functions of several files may have one name.
            && !found.iter().any(|known| known == name)
        {
            found.push(name.to_owned());
        }
    }
    Some(found)
}

/// How often it is looked at most, and how far off a known rate may be: at 100
/// Hz a jiffy is 4 % of the first look, 2 % of the second.
const HZ_LOOKS: u32 = 8;
const HZ_TOLERANCE: f64 = 0.03;

/// HZ, from looks at `/proc/timer_list`, which tells jiffies and nanoseconds
/// at once. Nothing else tells it: user space's `CLK_TCK` is 100 everywhere.
///
/// On a busy machine some time may pass between the two numbers of a look, so
/// that it takes a while until what was measured is one of those that Kconfig
/// offers.
fn hz(procfs: &Path) -> Option<u32> {
    let look = || timer_list(&fs::read_to_string(procfs.join("timer_list")).ok()?);
    let (ns, jiffies) = look()?;
    for _ in 0..HZ_LOOKS {
        thread::sleep(Duration::from_millis(250));
        let (later_ns, later_jiffies) = look()?;
        let seconds = later_ns.checked_sub(ns)? as f64 / 1e9;
        let measured = later_jiffies.checked_sub(jiffies)? as f64 / seconds;
        if let Some(hz) = known_hz(measured) {
            return Some(hz);
        }
    }
    None
}

pub(super) fn known_hz(measured: f64) -> Option<u32> {
    [100, 250, 300, 1000]
        .into_iter()
        .find(|hz| (measured / f64::from(*hz) - 1.0).abs() < HZ_TOLERANCE)
}

/// `now at N nsecs` and the highest `jiffies: N`, `kernel/time/timer_list.c`.
pub(super) fn timer_list(text: &str) -> Option<(u64, u64)> {
    let ns = text.lines().find_map(|line| {
        line.strip_prefix("now at ")?
            .split(' ')
            .next()?
            .parse()
            .ok()
    })?;
    let jiffies = text
        .lines()
        .filter_map(|line| line.strip_prefix("jiffies: ")?.trim().parse().ok())
        .max()?;
    Some((ns, jiffies))
}

#[cfg(test)]
mod tests {
    use super::{known_hz, symbols, timer_list};

    #[test]
    fn a_function_that_several_files_have_is_found_once() {
        let line = "0000000000000000 t balance_dirty_pages\n";
        let found = symbols(line.repeat(3).as_bytes());
        assert_eq!(found.unwrap(), ["balance_dirty_pages"]);
    }

    #[test]
    fn a_tick_rate_between_two_that_there_are_is_none() {
        assert_eq!(known_hz(246.0), Some(250));
        assert_eq!(known_hz(1003.0), Some(1000));
        for between in [110.0, 235.0, 270.0, 285.0, 500.0] {
            assert_eq!(known_hz(between), None);
        }
    }

    #[test]
    fn the_timer_list_tells_time_and_jiffies_of_the_same_moment() {
        let text = "Timer List Version: v0.8\nHRTIMER_MAX_CLOCK_BASES: 8\nnow at 12345678901 nsecs\n\ncpu: 0\n\
                    jiffies: 4294895000\n\ncpu: 1\njiffies: 4294895001\n";
        assert_eq!(timer_list(text), Some((12_345_678_901, 4_294_895_001)));
        assert_eq!(timer_list("now at soon\n"), None);
    }
}
