//! The facts of real kernels, and a kernel that answers as they did.

use std::collections::{BTreeMap, BTreeSet};

use monitor_collector::kernel::{
    facts::Facts,
    plan::{self, Kernel},
    report::SignalReport,
    signals::{Probe, SIGNALS},
};

/// The kernels, each with its facts.
pub const KERNELS: [(&str, &str); 5] = [
    ("5.10", include_str!("../facts/5.10.json")),
    ("6.1", include_str!("../facts/6.1.json")),
    ("6.12", include_str!("../facts/6.12.json")),
    ("7.2", include_str!("../facts/7.2.json")),
    // No modules, no kprobes, refuses fentry.
    ("6.18-bare", include_str!("../facts/6.18-bare.json")),
];

/// The facts of one of them.
pub fn facts(name: &str) -> Facts {
    let (_, json) = KERNELS.iter().find(|(kernel, _)| *kernel == name).unwrap();
    serde_json::from_str(json).unwrap()
}

/// A kernel that refuses what the recorded one refused.
#[derive(Default)]
pub struct Recorded {
    refuses: BTreeMap<String, String>,
    /// Programs that are attached.
    pub attached: BTreeSet<&'static str>,
}

impl Kernel for Recorded {
    fn attach(&mut self, probe: &Probe) -> Result<(), String> {
        // By the function's name, where the kernel's module lacks it.
        let function = probe.hook.module_function().unwrap_or_default();
        let refused = [probe.hook.kind(), function];
        if let Some(why) = refused.iter().find_map(|what| self.refuses.get(*what)) {
            return Err(why.clone());
        }
        assert!(
            self.attached.insert(probe.program),
            "{} attached twice",
            probe.program
        );
        Ok(())
    }

    fn detach(&mut self, probe: &Probe) {
        assert!(
            self.attached.remove(probe.program),
            "{} detached though not attached",
            probe.program
        );
    }
}

/// Attaches every signal to a kernel with these facts.
pub fn attach(facts: &Facts, avoid: &[&str]) -> (BTreeMap<String, SignalReport>, Recorded) {
    let avoid: Vec<_> = avoid.iter().map(|kind| (*kind).to_owned()).collect();
    let mut kernel = Recorded {
        refuses: facts.refuses.clone(),
        ..Recorded::default()
    };
    let reports = SIGNALS
        .iter()
        .map(|signal| {
            (
                signal.name.to_owned(),
                plan::attach(signal, facts, &avoid, &mut kernel),
            )
        })
        .collect();
    (reports, kernel)
}
