//! The node at a glance: one document of what a person looks at first, for the
//! page, for `top`, and for whoever asks `/api/v1/node`.

use compact_str::CompactString;
use monitor_common::{Cause, Class};
use serde::{Deserialize, Serialize};

use super::{Rows, SignalReport};
use crate::{
    evidence::{LoopNumbers, Picture, Step, Trigger},
    known::known,
    loops::Loop,
    mitigation::{InVain, Measure},
    observation::{Bdi, Lost, Memory},
    related::Related,
    verdict::{LivelockState, Signature, Verdict},
};

/// Loops in the document at most, the worst first.
pub const MAX_LOOPS: usize = 16;
/// BDIs in it at most: those of the loops first, then the dirtiest.
pub const MAX_BDIS: usize = 24;
/// Tasks in it at most, those that lost most time within the last tick.
pub const MAX_TASKS: usize = 20;
/// Lines of what happened lately in it at most, the newest.
pub const MAX_LINES: usize = 20;

/// The node at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Which tick it was so, milliseconds since 1970; zero before the first.
    pub unix_ms: u64,
    /// Who tells it.
    pub daemon: DaemonInfo,
    /// Whether what it tells is all there is to tell.
    pub ready: bool,
    /// Why not, a sentence each.
    pub not_ready: Vec<String>,
    /// The worst state of any loop.
    pub state: LivelockState,
    /// The same in one sentence.
    pub headline: String,
    /// The loops, the worst first.
    #[serde(deserialize_with = "known")]
    pub loops: Vec<LoopNow>,
    /// All loops; `loops` are at most [`MAX_LOOPS`] of them.
    pub loops_total: usize,
    /// Where loops could not be looked for, a sentence each.
    pub incomplete: Vec<CompactString>,
    /// What looks like a livelock and is none.
    #[serde(deserialize_with = "known")]
    pub related: Vec<RelatedNow>,
    /// The NFS servers' threads.
    pub servers: Vec<Server>,
    /// Tasks that wait at this moment, by cause and class.
    #[serde(deserialize_with = "known")]
    pub waits: Vec<Waits>,
    /// Who lost most time within the last tick.
    pub tasks: Rows,
    /// The node's dirty pages and limits.
    pub memory: Memory,
    /// Backing devices: those of the loops first, then the dirtiest.
    #[serde(deserialize_with = "known")]
    pub bdis: Vec<BdiNow>,
    /// All of them; `bdis` are at most [`MAX_BDIS`] of them.
    pub bdis_total: usize,
    /// How each signal is attached.
    #[serde(deserialize_with = "known")]
    pub signals: Vec<SignalReport>,
    /// What was lost on the way, totals.
    pub lost: Lost,
    /// What happened lately, the newest first.
    #[serde(deserialize_with = "known")]
    pub lines: Vec<Line>,
}

/// Who tells it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DaemonInfo {
    /// Name of the node; empty: not known.
    pub node: String,
    /// Release of its kernel, `uname -r`.
    pub kernel: String,
    /// Version of the program.
    pub version: String,
    /// Commit that it was built from.
    pub revision: String,
    /// Time between two ticks, seconds.
    pub interval_seconds: f64,
    /// The recording that is played; `null`: it is live.
    pub recording: Option<String>,
}

/// A loop, and what is to be said of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoopNow {
    /// Its id.
    #[serde(rename = "loop")]
    pub id: CompactString,
    /// Its state.
    pub state: LivelockState,
    /// Since when it is in that, milliseconds since 1970.
    pub since_unix_ms: u64,
    /// What is to be said of it.
    pub verdict: Verdict,
    /// Who mounts and who serves; `null`: it is there no more.
    pub found: Option<Loop>,
    /// Who waits, and what its ends hold.
    #[serde(flatten)]
    pub numbers: LoopNumbers,
    /// The cycle at a glance; left out by older versions.
    #[serde(default)]
    pub picture: Picture,
    /// While it is, or may be, stuck: what gets the node out of it, the best
    /// first; else what prevents it.
    pub measures: Vec<Measure>,
    /// What was tried and does not help.
    pub in_vain: Vec<InVain>,
    /// The newest document that proves a state of it.
    pub evidence: Option<CompactString>,
    /// What that was made for.
    pub occasion: Option<Trigger>,
    /// Who waits for whom, as that document says it, while it is stuck; left out by
    /// older versions.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// The steps as text: lines of at most 100 columns.
    pub cycle: Vec<String>,
}

impl LoopNow {
    /// Whether it is, or may be, stuck.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.state.metric() > 0.0
    }
}

/// A related condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelatedNow {
    /// Since when, milliseconds since 1970.
    pub since_unix_ms: u64,
    /// Which, of what, and why so.
    #[serde(flatten)]
    pub related: Related,
}

/// The threads of an NFS server, by what they do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// `nfsd`, or the name of its process.
    pub name: CompactString,
    /// Its process id, of a server in userspace.
    pub tgid: Option<u32>,
    /// They wait for a request; `null`: they are not looked at.
    pub idle: Option<usize>,
    /// They work.
    pub running: usize,
    /// They are in one of the causes.
    pub throttled: usize,
    /// They sleep elsewhere: a lock, or the disk.
    pub blocked: usize,
}

/// Tasks that wait at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waits {
    /// Why.
    pub cause: Cause,
    /// What kind of tasks they are.
    pub class: Class,
    /// How many.
    pub tasks: usize,
    /// For how long the first of them waits, seconds.
    pub oldest_seconds: f64,
}

/// A backing device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BdiNow {
    /// What it is.
    #[serde(flatten)]
    pub bdi: Bdi,
    /// Since when it is congested, milliseconds since 1970.
    pub congested_since_unix_ms: Option<u64>,
    /// Tasks that wait because of its pages.
    pub waiting_tasks: usize,
    /// What it is in a loop: `client`, `server`; empty: in none.
    pub role: CompactString,
}

/// A line of what happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When, milliseconds since 1970.
    pub unix_ms: u64,
    /// `loop`, `related` or `verdict`.
    pub kind: CompactString,
    /// What it is about: a loop's id, or a BDI.
    pub of: CompactString,
    /// What it became: `livelock`, `appeared`, `slow-disk ended`.
    pub what: CompactString,
    /// Under which signature, of a verdict.
    pub signature: Option<Signature>,
    /// One sentence.
    pub why: String,
}
