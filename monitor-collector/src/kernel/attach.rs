//! Loads the eBPF object and attaches its programs, through aya.

use std::{
    collections::BTreeMap,
    error::Error,
    path::{Path, PathBuf},
};

use aya::{
    Btf, Ebpf, EbpfLoader, GlobalData, include_bytes_aligned,
    maps::{Array, HashMap},
    programs::{
        Program, ProgramError, fentry::FEntryLinkId, fexit::FExitLinkId, kprobe::KProbeLinkId,
        tp_btf::BtfTracePointLinkId, trace_point::TracePointLinkId,
    },
};
use monitor_common::{COMM_LEN, HIST_BUCKETS, Offsets};
use thiserror::Error;

use super::{
    facts::{Facts, Roots},
    kernel_const,
    plan::{self, Kernel},
    report::{Applies, SignalReport},
    signals::{Hook, Probe, SIGNALS},
    tracefs::with_tracefs,
};
use crate::host::hardening;

/// The eBPF object, built by build.rs.
pub static OBJECT: &[u8] =
    include_bytes_aligned!(concat!(env!("OUT_DIR"), "/throttle-monitor-ebpf"));

/// Ticks after which a loaded module is taken to lack what was looked for.
const LATE_TRIES: u32 = 5;

/// What the programs are told when they are loaded.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Waits at least this long leave a record, nanoseconds.
    pub threshold_ns: u64,
    /// Upper bounds of the histograms' buckets, nanoseconds, ascending.
    pub bounds_ns: [u64; HIST_BUCKETS - 1],
    /// Names of userspace NFS servers: a hint for those that the lookup does not find.
    pub nfs_servers: Vec<String>,
    /// Kinds of hook not to use.
    pub avoid: Vec<String>,
    /// Let the programs log (`--log.ebpf`).
    pub log: bool,
    /// Mostly `/proc`.
    pub procfs: PathBuf,
    /// Mostly `/sys`.
    pub sysfs: PathBuf,
}

/// Why nothing at all can be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// Next to nothing would be seen, and no signal would say so.
    #[error(
        "{root} is not a {name} ({file}: {error}): nothing can be monitored. To do: mount it there, or name the right one with {flag}"
    )]
    Root {
        /// What was named.
        root: String,
        /// What it should be.
        name: &'static str,
        /// What each has and this has not.
        file: &'static str,
        /// Why not.
        error: std::io::Error,
        /// What names another.
        flag: &'static str,
    },
    /// The object or its maps were refused.
    #[error("the kernel refused the eBPF maps, so nothing can be monitored: {0}")]
    Load(String),
    /// The object is not as it is built.
    #[error("the eBPF object cannot be fitted to this kernel: {0}. This binary was built wrong")]
    Object(#[from] kernel_const::BadObject),
    /// A map that the object must have is not in it: a broken build.
    #[error("the eBPF object has no map {0}: this binary was built wrong")]
    NoMap(&'static str),
    /// A map could not be written.
    #[error("the eBPF map {0} cannot be written: {1}")]
    Map(&'static str, String),
}

/// The programs on this kernel.
pub struct Attached {
    /// The object: its maps are read by the sampler.
    pub ebpf: Ebpf,
    /// What the kernel offers.
    pub facts: Facts,
    /// How each signal came out, in the order of the table.
    pub reports: Vec<SignalReport>,
    /// Ticks in a row in which a module was there and a signal of it was not.
    late_tries: u32,
    settings: Settings,
}

/// Loads the object and attaches every signal as well as this kernel lets it.
///
/// # Errors
///
/// Nothing can be loaded at all. A signal that cannot be attached is not an error
/// but a report.
pub fn attach_all(settings: Settings) -> Result<Attached, LoadError> {
    are_roots(&settings)?;
    let sysfs = settings.sysfs.clone();
    with_tracefs(&sysfs, |tracefs| {
        let roots = Roots {
            procfs: &settings.procfs,
            sysfs: &settings.sysfs,
        };
        let facts = Facts::gather(roots, tracefs);
        let btf = Btf::from_sys_fs().ok();
        let ebpf = load(&settings, &facts, btf.as_ref())?;
        let mut attached = Attached {
            ebpf,
            facts,
            reports: Vec::new(),
            late_tries: 0,
            settings,
        };
        attached.write_offsets()?;
        attached.write_nfs_servers()?;
        let mut kernel = Programs {
            ebpf: &mut attached.ebpf,
            btf: btf.as_ref(),
            links: BTreeMap::new(),
        };
        attached.reports = SIGNALS
            .iter()
            .map(|signal| {
                plan::attach(
                    signal,
                    &attached.facts,
                    &attached.settings.avoid,
                    &mut kernel,
                )
            })
            .collect();
        Ok(attached)
    })
}

#[allow(clippy::disallowed_methods, reason = "below procfs and sysfs")]
fn are_roots(settings: &Settings) -> Result<(), LoadError> {
    let both = [
        (&settings.procfs, "procfs", "stat", "--path.procfs"),
        (&settings.sysfs, "sysfs", "class/bdi", "--path.sysfs"),
    ];
    for (root, name, file, flag) in both {
        if let Err(error) = std::fs::metadata(root.join(file)) {
            let root = root.display().to_string();
            return Err(LoadError::Root {
                root,
                name,
                file,
                error,
                flag,
            });
        }
    }
    Ok(())
}

impl Attached {
    /// What the programs were told.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Attaches the signals whose module was loaded meanwhile. Returns the
    /// reports that changed. Cheap when there is nothing to do: one look into
    /// `/sys/module` for each module waited for.
    ///
    /// # Errors
    ///
    /// The offsets could not be written.
    pub fn attach_late(&mut self) -> Result<Vec<SignalReport>, LoadError> {
        let sysfs = self.settings.sysfs.clone();
        let waited_for = |report: &&SignalReport| match &report.applies {
            Applies::OnceLoaded(module) => sysfs.join("module").join(module).exists(),
            _ => false,
        };
        if !self.reports.iter().any(|report| waited_for(&report)) {
            return Ok(Vec::new());
        }
        let _ = hardening::io_flusher(false);
        let changed = self.attach_loaded(&sysfs);
        let _ = hardening::io_flusher(true);
        changed
    }

    fn attach_loaded(&mut self, sysfs: &Path) -> Result<Vec<SignalReport>, LoadError> {
        with_tracefs(sysfs, |tracefs| {
            let roots = Roots {
                procfs: &self.settings.procfs,
                sysfs: &self.settings.sysfs,
            };
            self.facts.refresh(roots, tracefs);
            self.write_offsets()?;
            let mut kernel = Programs {
                ebpf: &mut self.ebpf,
                btf: None,
                links: BTreeMap::new(),
            };
            let mut changed = Vec::new();
            for (signal, report) in SIGNALS.iter().zip(&mut self.reports) {
                if !matches!(report.applies, Applies::OnceLoaded(_)) {
                    continue;
                }
                let new = plan::attach(signal, &self.facts, &self.settings.avoid, &mut kernel);
                // /sys/module shows a module before its tracepoints exist: what
                // is not there yet is tried again at the next tick, and given
                // up when it is still not there after a few. What this kernel
                // does not have at all will not come.
                let decided = match new.applies {
                    Applies::OnceLoaded(_) => false,
                    Applies::No(_) => true,
                    Applies::Yes => new.rank.is_some() || self.late_tries >= LATE_TRIES,
                };
                if decided {
                    changed.push(new.clone());
                    *report = new;
                }
            }
            self.late_tries = if changed.is_empty() {
                self.late_tries + 1
            } else {
                0
            };
            Ok(changed)
        })
    }

    /// Uses other names of userspace NFS servers from now on.
    ///
    /// # Errors
    ///
    /// The kernel refuses one; the others are in use.
    pub fn set_nfs_servers(&mut self, names: Vec<String>) -> Result<(), LoadError> {
        let before = std::mem::replace(&mut self.settings.nfs_servers, names);
        let map = self
            .ebpf
            .map_mut("NFS_SERVERS")
            .ok_or(LoadError::NoMap("NFS_SERVERS"))?;
        let mut map = HashMap::<_, [u8; COMM_LEN], u8>::try_from(map)
            .map_err(|error| LoadError::Map("NFS_SERVERS", words(&error)))?;
        for name in before {
            // One that is given twice is gone already.
            let _ = map.remove(&comm(&name));
        }
        self.write_nfs_servers()
    }

    fn write_nfs_servers(&mut self) -> Result<(), LoadError> {
        let map = self
            .ebpf
            .map_mut("NFS_SERVERS")
            .ok_or(LoadError::NoMap("NFS_SERVERS"))?;
        let failed = |error: &dyn Error| LoadError::Map("NFS_SERVERS", words(error));
        let mut map =
            HashMap::<_, [u8; COMM_LEN], u8>::try_from(map).map_err(|error| failed(&error))?;
        for name in &self.settings.nfs_servers {
            map.insert(comm(name), 1, 0)
                .map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    fn write_offsets(&mut self) -> Result<(), LoadError> {
        let offsets = plan::offsets(&self.facts).0;
        let map = self
            .ebpf
            .map_mut("OFFSETS")
            .ok_or(LoadError::NoMap("OFFSETS"))?;
        Array::<_, Offsets>::try_from(map)
            .and_then(|mut array| array.set(0, offsets, 0))
            .map_err(|error| LoadError::Map("OFFSETS", words(&error)))
    }
}

/// The name as the kernel keeps it: 15 bytes.
fn comm(name: &str) -> [u8; COMM_LEN] {
    let mut comm = [0; COMM_LEN];
    for (to, from) in comm[..COMM_LEN - 1].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    comm
}

fn load(settings: &Settings, facts: &Facts, btf: Option<&Btf>) -> Result<Ebpf, LoadError> {
    raise_memlock();
    let mut bounds_ns = [u64::MAX; HIST_BUCKETS];
    bounds_ns[..HIST_BUCKETS - 1].copy_from_slice(&settings.bounds_ns);
    let object = kernel_const::patch(OBJECT, plan::kernel_consts(plan::offsets(facts).0))?;
    EbpfLoader::new()
        .btf(btf)
        .override_global("THRESHOLD_NS", &settings.threshold_ns, true)
        .override_global("BOUNDS_NS", GlobalData::from(&bounds_ns[..]), true)
        .override_global(
            "AYA_LOG_LEVEL",
            if settings.log { &0xffu8 } else { &0u8 },
            true,
        )
        .load(&object)
        .map_err(|error| LoadError::Load(words(&error)))
}

/// Up to 5.10 the memory of eBPF maps counts against `RLIMIT_MEMLOCK`, which is
/// 64 KiB by default. Where it may not be raised, loading says so.
fn raise_memlock() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let _ = setrlimit(
        Resource::Memlock,
        Rlimit {
            current: None,
            maximum: None,
        },
    );
}

/// An error with all its causes, in one line; of the verifier's output only the
/// last line, which says what it refused.
fn words(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines
        .next()
        .unwrap_or_default()
        .trim_end_matches("Verifier output:")
        .trim_end()
        .to_owned();
    // What it counted comes after what it refused.
    let counted = ["processed ", "verification time", "stack depth"];
    match lines.rfind(|line| !counted.iter().any(|words| line.starts_with(words))) {
        Some(last) => format!("{first} … {last}"),
        None => first,
    }
}

enum Link {
    TracePoint(TracePointLinkId),
    BtfTracePoint(BtfTracePointLinkId),
    FEntry(FEntryLinkId),
    FExit(FExitLinkId),
    KProbe(KProbeLinkId),
}

/// The kernel behind the plan.
struct Programs<'a> {
    ebpf: &'a mut Ebpf,
    btf: Option<&'a Btf>,
    links: BTreeMap<&'static str, Link>,
}

impl Programs<'_> {
    fn program(&mut self, name: &str) -> Result<&mut Program, String> {
        let missing =
            || format!("the eBPF object has no program {name}: this binary was built wrong");
        self.ebpf.program_mut(name).ok_or_else(missing)
    }
}

impl Kernel for Programs<'_> {
    fn attach(&mut self, probe: &Probe) -> Result<(), String> {
        let btf = self.btf;
        let link = hang_in(self.program(probe.program)?, probe.hook, btf)?;
        self.links.insert(probe.program, link);
        Ok(())
    }

    fn detach(&mut self, probe: &Probe) {
        let (Some(link), Some(program)) = (
            self.links.remove(probe.program),
            self.ebpf.program_mut(probe.program),
        ) else {
            return;
        };
        let detached = match (program, link) {
            (Program::TracePoint(p), Link::TracePoint(id)) => p.detach(id),
            (Program::BtfTracePoint(p), Link::BtfTracePoint(id)) => p.detach(id),
            (Program::FEntry(p), Link::FEntry(id)) => p.detach(id),
            (Program::FExit(p), Link::FExit(id)) => p.detach(id),
            (Program::KProbe(p), Link::KProbe(id)) => p.detach(id),
            _ => Ok(()),
        };
        if let Err(error) = detached {
            tracing::warn!(program = probe.program, %error, "a program that is not used could not be detached");
        }
    }
}

fn hang_in(program: &mut Program, hook: Hook, btf: Option<&Btf>) -> Result<Link, String> {
    let no_btf = || "no BTF".to_owned();
    match (program, hook) {
        (Program::TracePoint(p), Hook::Tracepoint(group, name)) => {
            once(p.load())?;
            p.attach(group, name).map(Link::TracePoint)
        }
        (Program::BtfTracePoint(p), Hook::BtfTracepoint(name)) => {
            once(p.load(name, btf.ok_or_else(no_btf)?))?;
            p.attach().map(Link::BtfTracePoint)
        }
        (Program::FEntry(p), Hook::Fentry(name)) => {
            once(p.load(name, btf.ok_or_else(no_btf)?))?;
            p.attach().map(Link::FEntry)
        }
        (Program::FExit(p), Hook::Fexit(name)) => {
            once(p.load(name, btf.ok_or_else(no_btf)?))?;
            p.attach().map(Link::FExit)
        }
        (
            Program::KProbe(p),
            Hook::Kprobe(name)
            | Hook::Kretprobe(name)
            | Hook::ModuleKprobe(name)
            | Hook::ModuleKretprobe(name),
        ) => {
            once(p.load())?;
            p.attach(name, 0).map(Link::KProbe)
        }
        _ => {
            return Err(
                "the program is of another type than its hook: this binary was built wrong".into(),
            );
        }
    }
    .map_err(|error| words(&error))
}

/// A program stays loaded when it is detached.
fn once(loaded: Result<(), ProgramError>) -> Result<(), String> {
    match loaded {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(()),
        Err(error) => Err(words(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_verifiers_output_the_line_is_told_that_says_what_it_refused() {
        let said = "the BPF_PROG_LOAD syscall returned Permission denied. Verifier output: 0: (bf) r6 = r1\n\
                    R1 invalid mem access 'inv'\nverification time 812 usec\nstack depth 336+0\n\
                    processed 1204 insns (limit 1000000) max_states_per_insn 4\n\n";
        let told = words(&std::io::Error::other(said));
        assert!(told.ends_with("R1 invalid mem access 'inv'"), "{told}");
        assert!(told.starts_with("the BPF_PROG_LOAD syscall returned Permission denied"));
    }
}
