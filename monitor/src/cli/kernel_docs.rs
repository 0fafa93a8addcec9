//! What the documentation says of signals, held to their table and to the programs.

use std::{fmt::Write as _, fs, path::Path};

use aya_obj::ProgramSection;
use monitor_collector::kernel::{
    attach::OBJECT,
    report::{Applies, SignalReport},
    signals::{Hook, SIGNALS},
};
use monitor_common::Cause;
use monitor_model::observation::State;

use super::generated;

#[path = "../../tests/plans/mod.rs"]
mod plans;

#[test]
fn docs_have_the_strategy_of_each_signal_and_what_each_loses() {
    let mut strategies = "| signal |".to_owned();
    let kernels =
        plans::KERNELS.map(|(kernel, _)| (kernel, plans::attach(&plans::facts(kernel), &[]).0));
    for (kernel, _) in &kernels {
        let _ = write!(strategies, " {} |", kernel.replace('-', " "));
    }
    let _ = write!(strategies, "\n|---|{}", "---|".repeat(kernels.len()));
    let mut limitations = "| signal | strategy | limitation |\n|---|---|---|".to_owned();
    for signal in SIGNALS {
        let needed = if signal.needed { " (needed)" } else { "" };
        let _ = write!(strategies, "\n| `{}`{needed} |", signal.name);
        for (_, reports) in &kernels {
            let _ = write!(strategies, " {} |", strategy(&reports[signal.name]));
        }
        let strategies = signal
            .strategies
            .iter()
            .map(|strategy| (strategy.name, strategy.limitation));
        for (strategy, limitation) in strategies.chain([("none", signal.limitation)]) {
            if !limitation.is_empty() {
                let _ = write!(
                    limitations,
                    "\n| `{}` | {strategy} | {limitation} |",
                    signal.name
                );
            }
        }
    }
    let parts = [("strategies", strategies), ("limitations", limitations)];
    generated::hold("kernels.md", &parts);
}

fn strategy(report: &SignalReport) -> String {
    match (&report.applies, report.state) {
        (Applies::No(_), _) => "not here".into(),
        (_, State::Attached) => report.strategy.to_string(),
        (_, State::Degraded) => format!("**degraded**: {}", report.strategy),
        (_, State::Unavailable) => "**unavailable**".into(),
    }
}

fn text(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)).unwrap()
}

#[test]
fn docs_name_each_cause_each_file_of_programs_and_each_map() {
    let metrics = text("docs/metrics.md");
    let row = metrics.lines().find(|line| line.starts_with("| `cause` |"));
    for cause in Cause::ALL {
        let word = format!("`{}`", cause.as_str());
        assert!(row.unwrap().contains(&word), "docs/metrics.md: {word}");
    }
    let architecture = text("docs/architecture.md");
    for line in text("monitor-ebpf/src/main.rs").lines() {
        let Some(file) = line
            .strip_prefix("mod ")
            .and_then(|line| line.strip_suffix(';'))
        else {
            continue;
        };
        let file = format!("`{file}.rs`");
        assert!(architecture.contains(&file), "docs/architecture.md: {file}");
    }
    let object = aya_obj::Object::parse(OBJECT).unwrap();
    for map in object.maps.keys().filter(|map| !map.starts_with('.')) {
        let named = map == "AYA_LOGS" || architecture.contains(&format!("`{map}`"));
        assert!(named, "docs/architecture.md: {map}");
    }
}

#[test]
fn each_program_is_in_the_table_and_is_of_the_kind_of_its_hook() {
    let object = aya_obj::Object::parse(OBJECT).unwrap();
    let probes = SIGNALS
        .iter()
        .flat_map(|signal| signal.strategies)
        .flat_map(|strategy| strategy.probes);
    let mut unused: Vec<_> = object.programs.keys().collect();
    for probe in probes {
        let program = object.programs.get(probe.program);
        let section = &program
            .unwrap_or_else(|| panic!("no program {}", probe.program))
            .section;
        let fits = match probe.hook {
            Hook::Tracepoint(..) => matches!(section, ProgramSection::TracePoint),
            Hook::BtfTracepoint(_) => matches!(section, ProgramSection::BtfTracePoint),
            Hook::Fentry(_) => matches!(section, ProgramSection::FEntry { .. }),
            Hook::Fexit(_) => matches!(section, ProgramSection::FExit { .. }),
            Hook::Kprobe(_) | Hook::ModuleKprobe(_) => matches!(section, ProgramSection::KProbe),
            Hook::Kretprobe(_) | Hook::ModuleKretprobe(_) => {
                matches!(section, ProgramSection::KRetProbe)
            }
        };
        assert!(fits, "{}: {section:?} for {:?}", probe.program, probe.hook);
        unused.retain(|name| *name != probe.program);
    }
    assert!(unused.is_empty(), "no signal takes {unused:?}");
}

#[test]
fn each_cause_is_a_signal_and_what_a_strategy_takes_is_known_of_some_kernel() {
    for cause in Cause::ALL {
        assert!(
            SIGNALS.iter().any(|signal| signal.name == cause.as_str()),
            "{cause:?}"
        );
    }
    let facts = plans::KERNELS.map(|(kernel, _)| plans::facts(kernel));
    let btf = || facts.iter().flat_map(|facts| &facts.btf);
    let again = "take the facts again: docs/architecture.md";
    for strategy in SIGNALS.iter().flat_map(|signal| signal.strategies) {
        for path in strategy.btf_offsets {
            assert!(
                btf().any(|btf| btf.offsets.contains_key(*path)),
                "{path}: {again}"
            );
        }
        for probe in strategy.probes {
            let known = match probe.hook {
                Hook::Tracepoint(group, name) => {
                    let name = format!("{group}/{name}");
                    facts
                        .iter()
                        .flat_map(|facts| &facts.formats)
                        .any(|all| all.contains_key(&name))
                }
                Hook::BtfTracepoint(name) => {
                    btf().any(|btf| btf.tracepoints.iter().any(|t| t == name))
                }
                Hook::Fentry(name)
                | Hook::Fexit(name)
                | Hook::Kprobe(name)
                | Hook::Kretprobe(name) => btf().any(|btf| btf.functions.iter().any(|f| f == name)),
                Hook::ModuleKprobe(_) | Hook::ModuleKretprobe(_) => true,
            };
            assert!(known, "{:?}: {again}", probe.hook);
        }
    }
}
