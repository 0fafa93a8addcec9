//! The signals and the ordered strategies to attach each: the one table to change
//! when a signal is added.

mod nfs;
mod table;

pub use table::SIGNALS;

use serde::{Deserialize, Serialize};

/// In which `svc_alloc_arg` sleeps before 5.14, for a time that depends on HZ.
pub const SCHEDULE_TIMEOUT: &str = "schedule_timeout";

/// Where a program is hung in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// `group`/`name`, through perf; fields by the `format` file.
    Tracepoint(&'static str, &'static str),
    /// By BTF, the tracepoint's own arguments.
    BtfTracepoint(&'static str),
    /// A function's entry, by BTF trampoline.
    Fentry(&'static str),
    /// A function's exit, by BTF trampoline.
    Fexit(&'static str),
    /// A function's entry, by breakpoint or ftrace.
    Kprobe(&'static str),
    /// A function's exit, by return probe.
    Kretprobe(&'static str),
    /// The same of a module's function. Whether there is one is not known
    /// before it is tried: the kernel's BTF tells of its own only.
    ModuleKprobe(&'static str),
    /// As [`Hook::ModuleKprobe`].
    ModuleKretprobe(&'static str),
}

impl Hook {
    /// The kind, as in `--probe.avoid`.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Tracepoint(..) => "tracepoint",
            Self::BtfTracepoint(_) => "btf-tracepoint",
            Self::Fentry(_) | Self::Fexit(_) => "fentry",
            Self::Kprobe(_)
            | Self::Kretprobe(_)
            | Self::ModuleKprobe(_)
            | Self::ModuleKretprobe(_) => "kprobe",
        }
    }

    /// The function of a module that it is hung in.
    #[must_use]
    pub const fn module_function(self) -> Option<&'static str> {
        match self {
            Self::ModuleKprobe(name) | Self::ModuleKretprobe(name) => Some(name),
            _ => None,
        }
    }
}

/// A program and its hook.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Its name in monitor-ebpf.
    pub program: &'static str,
    /// Where it is hung in.
    pub hook: Hook,
}

/// A strategy to attach a signal: all its probes or nothing.
#[derive(Clone, Copy, Debug)]
pub struct Strategy {
    /// Its name, in metrics and JSON.
    pub name: &'static str,
    /// What it takes.
    pub probes: &'static [Probe],
    /// Struct fields, `struct.field`, that BTF must tell of.
    pub btf_offsets: &'static [&'static str],
    /// What this strategy does not see that a better one would; empty: nothing.
    pub limitation: &'static str,
}

/// A signal.
#[derive(Clone, Copy, Debug)]
pub struct Signal {
    /// The name, in metrics and JSON.
    pub name: &'static str,
    /// What it is about.
    pub about: About,
    /// What it shows, for a newcomer.
    pub shows: &'static str,
    /// The module that has to be loaded first.
    pub module: Option<&'static str>,
    /// Best first.
    pub strategies: &'static [Strategy],
    /// What is lost without it.
    pub limitation: &'static str,
    /// Where a kernel has no such wait: which one it has instead. `None`: every
    /// kernel that is supported has it.
    pub replaced_by: Option<&'static str>,
    /// Without it there is nothing to monitor.
    pub needed: bool,
}

/// What a signal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// Tasks that wait for dirty pages, for memory, for a device.
    Waits,
    /// The NFS client.
    NfsClient,
    /// The NFS server.
    NfsServer,
    /// Who serves whom.
    Loops,
}

impl About {
    /// Every one of them.
    pub const ALL: [Self; 4] = [Self::Waits, Self::NfsClient, Self::NfsServer, Self::Loops];

    /// As people call it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Waits => "Waits",
            Self::NfsClient => "NFS client",
            Self::NfsServer => "NFS server",
            Self::Loops => "Who serves whom",
        }
    }
}

const fn tp(program: &'static str, group: &'static str, name: &'static str) -> Probe {
    Probe {
        program,
        hook: Hook::Tracepoint(group, name),
    }
}

const fn probe(program: &'static str, hook: Hook) -> Probe {
    Probe { program, hook }
}

fn hooks() -> impl Iterator<Item = Hook> {
    SIGNALS
        .iter()
        .flat_map(|s| s.strategies)
        .flat_map(|w| w.probes)
        .map(|p| p.hook)
}

/// Struct fields that some strategy wants to be told of.
pub fn btf_offsets() -> impl Iterator<Item = &'static str> {
    let strategies = SIGNALS.iter().flat_map(|s| s.strategies);
    unique(
        strategies
            .flat_map(|strategy| strategy.btf_offsets)
            .copied(),
    )
}

/// Functions of the kernel's own that some strategy probes.
pub fn functions() -> impl Iterator<Item = &'static str> {
    unique(hooks().filter_map(|hook| match hook {
        Hook::Fentry(name) | Hook::Fexit(name) | Hook::Kprobe(name) | Hook::Kretprobe(name) => {
            Some(name)
        }
        Hook::Tracepoint(..)
        | Hook::BtfTracepoint(_)
        | Hook::ModuleKprobe(_)
        | Hook::ModuleKretprobe(_) => None,
    }))
}

/// Tracepoints that some strategy attaches by BTF.
pub fn btf_tracepoints() -> impl Iterator<Item = &'static str> {
    unique(hooks().filter_map(|hook| {
        if let Hook::BtfTracepoint(name) = hook {
            Some(name)
        } else {
            None
        }
    }))
}

/// Tracepoints, as (group, name), that some strategy attaches.
pub fn tracepoints() -> impl Iterator<Item = (&'static str, &'static str)> {
    unique(hooks().filter_map(|hook| {
        if let Hook::Tracepoint(group, name) = hook {
            Some((group, name))
        } else {
            None
        }
    }))
}

fn unique<T: Ord + Copy>(items: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    items.collect::<std::collections::BTreeSet<_>>().into_iter()
}
