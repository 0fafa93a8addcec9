//! From facts to the strategies that can be tried, and from what trying them gave to
//! a report. Pure: the kernel stands behind [`Kernel`].

use std::collections::BTreeMap;

use monitor_common::{KernelConst, Offsets};
use monitor_model::observation::State;

use super::{
    facts::Facts,
    fields, format,
    kernel_const::Value,
    report::{Applies, SignalReport},
    signals::{Hook, Probe, SCHEDULE_TIMEOUT, Signal, Strategy},
};

/// What attaches and detaches: the kernel, or a recording of one.
pub trait Kernel {
    /// Hangs a program in.
    ///
    /// # Errors
    ///
    /// The kernel's own words.
    fn attach(&mut self, probe: &Probe) -> Result<(), String>;

    /// Takes it out again; it was attached.
    fn detach(&mut self, probe: &Probe);
}

/// The offsets that the facts tell, and for each tracepoint that lacks a needed
/// field the sentence that says so.
#[must_use]
pub fn offsets(facts: &Facts) -> (Offsets, BTreeMap<String, String>) {
    let mut offsets = Offsets::UNKNOWN;
    let mut bad = BTreeMap::new();
    for (tracepoint, text) in facts.formats.iter().flatten() {
        if let Err(why) = resolve(tracepoint, text, &mut offsets) {
            bad.insert(tracepoint.clone(), why);
        }
    }
    if let Some(hz) = facts.hz {
        offsets.half_second_jiffies = i32::try_from(hz / 2).unwrap_or(-1);
    }
    if let Ok(btf) = &facts.btf {
        for member in Offsets::MEMBERS {
            let offset = btf.offsets.get(member.path).copied();
            let offset = offset.and_then(|offset| i32::try_from(offset).ok());
            *(member.slot)(&mut offsets) = offset.unwrap_or(-1);
        }
    }
    (offsets, bad)
}

/// What the programs are loaded with in their instructions.
pub fn kernel_consts(offsets: Offsets) -> impl Fn(KernelConst) -> Value {
    move |what| {
        let offset = match what {
            KernelConst::PauseBdi => offsets.bdp_bdi,
            KernelConst::PauseLimit => offsets.bdp_limit,
            KernelConst::PauseDirty => offsets.bdp_dirty,
            KernelConst::PauseBdiSetpoint => offsets.bdp_bdi_setpoint,
            KernelConst::PauseBdiDirty => offsets.bdp_bdi_dirty,
            KernelConst::PauseTaskRatelimit => offsets.bdp_task_ratelimit,
            KernelConst::PausePaused => offsets.bdp_paused,
            KernelConst::PausePause => offsets.bdp_pause,
            KernelConst::PauseCgroup => offsets.bdp_cgroup,
        };
        // What is not there reads as zero.
        i16::try_from(offset)
            .ok()
            .filter(|offset| *offset >= 0)
            .map_or(Value::Number(0), Value::At)
    }
}

fn resolve(tracepoint: &str, text: &str, offsets: &mut Offsets) -> Result<(), String> {
    let found = format::parse(text).map_err(|error| error.to_string())?;
    fields::resolve(tracepoint, &found, offsets)
}

/// Why a strategy cannot be tried; `None`: it can.
#[must_use]
pub fn obstacle(strategy: &Strategy, facts: &Facts, avoid: &[String]) -> Option<String> {
    for path in strategy.btf_offsets {
        let missing = match &facts.btf {
            Err(why) => Some(format!("no BTF: {why}")),
            Ok(btf) => (!btf.offsets.contains_key(*path))
                .then(|| format!("the kernel's BTF has no {path}")),
        };
        if missing.is_some() {
            return missing;
        }
    }
    strategy
        .probes
        .iter()
        .find_map(|probe| hook_obstacle(probe.hook, facts, avoid))
}

fn hook_obstacle(hook: Hook, facts: &Facts, avoid: &[String]) -> Option<String> {
    if avoid.iter().any(|kind| kind == hook.kind()) {
        return Some(format!("{} is excluded (--probe.avoid)", hook.kind()));
    }
    match hook {
        Hook::Tracepoint(group, name) => match &facts.formats {
            Err(why) => Some(why.clone()),
            Ok(formats) => {
                let tracepoint = format!("{group}/{name}");
                let Some(text) = formats.get(&tracepoint) else {
                    return Some(format!("this kernel has no tracepoint {tracepoint}"));
                };
                resolve(&tracepoint, text, &mut Offsets::UNKNOWN.clone()).err()
            }
        },
        Hook::BtfTracepoint(name) => match &facts.btf {
            Err(why) => Some(format!("no BTF: {why}")),
            Ok(btf) => (!btf.tracepoints.iter().any(|t| t == name))
                .then(|| format!("the kernel's BTF does not know the tracepoint {name}")),
        },
        Hook::Fentry(name) | Hook::Fexit(name) => match &facts.btf {
            Err(why) => Some(format!("no BTF: {why}")),
            Ok(_) => missing_function(name, facts),
        },
        Hook::Kprobe(SCHEDULE_TIMEOUT) if facts.hz.is_none() => {
            Some("the kernel's tick rate (HZ) cannot be read from /proc/timer_list".into())
        }
        Hook::Kprobe(_) | Hook::Kretprobe(_) | Hook::ModuleKprobe(_) | Hook::ModuleKretprobe(_)
            if !facts.kprobes =>
        {
            Some("this kernel is built without kprobes".into())
        }
        // The kernel itself says it when it is tried.
        Hook::ModuleKprobe(_) | Hook::ModuleKretprobe(_) => None,
        Hook::Kprobe(name) | Hook::Kretprobe(name) => missing_function(name, facts),
    }
}

fn missing_function(name: &str, facts: &Facts) -> Option<String> {
    (!facts.has_function(name))
        .then(|| format!("this kernel has no function {name}, or inlined it"))
}

/// Whether the signal can come at all on this kernel, now or later.
#[must_use]
pub fn applies(signal: &Signal, facts: &Facts) -> Applies {
    let Ok(formats) = &facts.formats else {
        return Applies::Yes;
    };
    let mut hooks = signal
        .strategies
        .iter()
        .flat_map(|strategy| strategy.probes)
        .map(|probe| probe.hook);
    let here = hooks.any(|hook| match hook {
        Hook::Tracepoint(group, name) => formats.contains_key(&format!("{group}/{name}")),
        Hook::BtfTracepoint(_) | Hook::ModuleKprobe(_) | Hook::ModuleKretprobe(_) => false,
        // A function of the kernel's own says nothing about a module.
        Hook::Fentry(name) | Hook::Fexit(name) | Hook::Kprobe(name) | Hook::Kretprobe(name) => {
            signal.module.is_none() && facts.has_function(name)
        }
    });
    match (here, signal.module) {
        (true, _) => Applies::Yes,
        (false, Some(module)) if facts.modules.iter().any(|m| m == module) => {
            match signal.replaced_by {
                Some(other) if lacks_fields(signal, facts) => instead(other),
                _ => Applies::Yes,
            }
        }
        (false, Some(module)) if facts.loads_modules => Applies::OnceLoaded(module.to_owned()),
        (false, Some(module)) => Applies::No(format!(
            "this kernel has no {module}: it is neither built in nor can modules be loaded"
        )),
        (false, None) => match signal.replaced_by {
            Some(other) => instead(other),
            None => Applies::Yes,
        },
    }
}

fn instead(other: &str) -> Applies {
    Applies::No(format!("this kernel does not have it; it has {other}"))
}

/// Whether BTF tells that no strategy of the signal has the fields that it needs.
fn lacks_fields(signal: &Signal, facts: &Facts) -> bool {
    facts.btf.as_ref().is_ok_and(|btf| {
        signal.strategies.iter().all(|strategy| {
            strategy
                .btf_offsets
                .iter()
                .any(|path| !btf.offsets.contains_key(*path))
        })
    })
}

/// Tries the strategies of a signal in order; the first that attaches whole is kept.
pub fn attach(
    signal: &Signal,
    facts: &Facts,
    avoid: &[String],
    kernel: &mut impl Kernel,
) -> SignalReport {
    let applies = applies(signal, facts);
    let mut report = SignalReport::new(signal, applies);
    if !matches!(report.applies, Applies::Yes) {
        return report;
    }
    let mut held: Vec<Probe> = Vec::new();
    for (rank, strategy) in signal.strategies.iter().enumerate() {
        match obstacle(strategy, facts, avoid)
            .map_or_else(|| hold(strategy, &mut held, kernel), Err)
        {
            Ok(()) => {
                report.strategy = strategy.name.into();
                report.state = if strategy.limitation.is_empty() {
                    State::Attached
                } else {
                    State::Degraded
                };
                strategy.limitation.clone_into(&mut report.limitation);
                report.rank = Some(rank);
                release(&mut held, strategy, kernel);
                return report;
            }
            Err(why) => report.refused.push((strategy.name.to_owned(), why)),
        }
    }
    for probe in held {
        kernel.detach(&probe);
    }
    report
}

/// Attaches what the strategy takes and is not yet attached. What another strategy left
/// attached stays for the next one to use.
fn hold(
    strategy: &Strategy,
    held: &mut Vec<Probe>,
    kernel: &mut impl Kernel,
) -> Result<(), String> {
    for probe in strategy.probes {
        if held.iter().any(|h| h.program == probe.program) {
            continue;
        }
        kernel
            .attach(probe)
            .map_err(|why| match probe.hook.module_function() {
                // It is not known before, so the sentence has to say which.
                Some(function) => format!("{function}: {why}"),
                None => why,
            })?;
        held.push(*probe);
    }
    Ok(())
}

/// Detaches what earlier, failed strategies attached and this one does not take.
fn release(held: &mut Vec<Probe>, strategy: &Strategy, kernel: &mut impl Kernel) {
    held.retain(|probe| {
        let taken = strategy.probes.iter().any(|p| p.program == probe.program);
        if !taken {
            kernel.detach(probe);
        }
        taken
    });
}
