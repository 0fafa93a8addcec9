//! How each signal came out, for metrics, JSON and people.

use compact_str::CompactString;
use monitor_model::observation::{SignalStatus, State};
use serde::{Deserialize, Serialize};

use super::{
    facts::Facts,
    lockdown::CONFIDENTIALITY,
    signals::{About, Signal},
};

/// Whether a kernel has a signal at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Applies {
    /// It has.
    Yes,
    /// It has not, and nothing is lost: the sentence says what it has instead.
    No(String),
    /// It will, once this module is loaded.
    OnceLoaded(String),
}

/// How one signal came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalReport {
    /// The signal's name.
    pub signal: CompactString,
    /// What it is about.
    pub about: About,
    /// What it shows.
    pub shows: String,
    /// The strategy that was taken, or `none`.
    pub strategy: CompactString,
    /// Whether it comes in.
    pub state: State,
    /// Whether this kernel has it at all.
    pub applies: Applies,
    /// Which of its strategies was taken, counted from zero, best first.
    pub rank: Option<usize>,
    /// The better strategies and why each was not taken, in the kernel's own words.
    pub refused: Vec<(String, String)>,
    /// What is not seen; empty: nothing.
    pub limitation: String,
    /// Whether there is nothing to monitor without it.
    pub needed: bool,
}

impl SignalReport {
    /// Before any strategy was tried.
    #[must_use]
    pub fn new(signal: &Signal, applies: Applies) -> Self {
        let limitation = if matches!(applies, Applies::No(_)) {
            ""
        } else {
            signal.limitation
        };
        Self {
            signal: signal.name.into(),
            about: signal.about,
            shows: signal.shows.into(),
            strategy: "none".into(),
            state: State::Unavailable,
            applies,
            rank: None,
            refused: Vec::new(),
            limitation: limitation.into(),
            needed: signal.needed,
        }
    }

    /// Whether something that this kernel has is lost.
    #[must_use]
    pub fn is_lossy(&self) -> bool {
        self.state != State::Attached && self.applies == Applies::Yes
    }

    /// The better strategies and why each was not taken, in one line.
    #[must_use]
    pub fn why(&self) -> String {
        match &self.applies {
            Applies::No(why) => why.clone(),
            Applies::OnceLoaded(module) => format!("the module {module} is not loaded"),
            Applies::Yes => {
                let refused = self
                    .refused
                    .iter()
                    .map(|(strategy, why)| format!("not by {strategy}: {why}"));
                refused.collect::<Vec<_>>().join("; ")
            }
        }
    }

    /// The same in short, for the observation.
    #[must_use]
    pub fn status(&self) -> SignalStatus {
        SignalStatus {
            signal: self.signal.clone(),
            strategy: self.strategy.clone(),
            state: self.state,
        }
    }

    /// What a person can do about it; `None`: nothing needs to be done.
    #[must_use]
    pub fn remedy(&self, facts: &Facts) -> Option<String> {
        match &self.applies {
            Applies::No(_) => None,
            Applies::OnceLoaded(module) => Some(format!(
                "nothing: it attaches by itself within two ticks after {module} is loaded"
            )),
            Applies::Yes if !self.is_lossy() => None,
            Applies::Yes => Some(remedy(self, facts)),
        }
    }
}

fn remedy(report: &SignalReport, facts: &Facts) -> String {
    let words: String = report
        .refused
        .iter()
        .map(|(_, why)| why.as_str())
        .collect::<Vec<_>>()
        .join("; ");
    if facts.lockdown.as_deref() == Some(CONFIDENTIALITY) {
        "the kernel is locked down for confidentiality, which forbids reading its memory: boot with lockdown=integrity, or accept the limitation"
            .into()
    } else if facts.formats.is_err() {
        "mount tracefs (mount -t tracefs tracefs /sys/kernel/tracing), or run with CAP_SYS_ADMIN so that it can be \
         mounted for the daemon alone"
            .into()
    } else if words.contains("--probe.avoid") {
        "drop --probe.avoid".into()
    } else if words.contains("no tracepoint") {
        "a newer kernel: this one does not have the tracepoint".into()
    } else if facts.btf.is_err() {
        "a kernel with BTF (CONFIG_DEBUG_INFO_BTF=y)".into()
    } else {
        "a kernel that takes BPF trampolines (CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS=y) or kprobes \
         (CONFIG_KPROBES=y); the rest works without"
            .into()
    }
}
