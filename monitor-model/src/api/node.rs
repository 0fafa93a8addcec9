//! The node at a glance: one document with the most important facts, for the page, for `top`, and
//! for clients of `/api/v1/node`.

use compact_str::CompactString;
use monitor_common::{Cause, Class};
use serde::{Deserialize, Serialize};

use super::{ConfigStatus, Rows, SignalReport};
use crate::{
    evidence::{LoopNumbers, Picture, Step, Trigger},
    known_only::known_only,
    loops::Loop,
    mitigation::{Ineffective, Measure},
    observation::{Bdi, Lost, Memory},
    related::Related,
    verdict::{LivelockState, Signature, Verdict},
};

/// Maximum number of loops, the worst first.
pub const MAX_LOOPS: usize = 16;
/// Maximum number of BDIs: those of the loops first, then the dirtiest.
pub const MAX_BDIS: usize = 24;
/// Maximum number of tasks, those with the longest delays within the last tick.
pub const MAX_TASKS: usize = 20;
/// Maximum number of recent events, the newest.
pub const MAX_LINES: usize = 20;

/// The node at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Time of the tick, milliseconds since 1970; zero before the first one.
    pub unix_ms: u64,
    /// The daemon.
    pub daemon: DaemonInfo,
    /// Whether the daemon's facts are complete.
    pub ready: bool,
    /// The reasons why not, a sentence each.
    pub not_ready: Vec<String>,
    /// The worst state of any loop.
    pub state: LivelockState,
    /// The same in one sentence.
    pub headline: String,
    /// The loops, the worst first.
    #[serde(deserialize_with = "known_only")]
    pub loops: Vec<LoopNow>,
    /// All loops; `loops` are at most [`MAX_LOOPS`] of them.
    pub loops_total: usize,
    /// The facts that the search for loops lacks, a sentence each.
    pub incomplete: Vec<CompactString>,
    /// Related conditions.
    #[serde(deserialize_with = "known_only")]
    pub related: Vec<RelatedNow>,
    /// The NFS servers' threads.
    pub servers: Vec<Server>,
    /// Tasks that wait at this moment, by cause and class.
    #[serde(deserialize_with = "known_only")]
    pub waits: Vec<Waits>,
    /// The tasks with the longest delays within the last tick.
    pub tasks: Rows,
    /// The node's dirty pages and limits.
    pub memory: Memory,
    /// Backing devices: those of the loops first, then the dirtiest.
    #[serde(deserialize_with = "known_only")]
    pub bdis: Vec<BdiNow>,
    /// All of them; `bdis` are at most [`MAX_BDIS`] of them.
    pub bdis_total: usize,
    /// The state of each signal.
    #[serde(deserialize_with = "known_only")]
    pub signals: Vec<SignalReport>,
    /// Totals of lost data.
    pub lost: Lost,
    /// Recent events, the newest first.
    #[serde(deserialize_with = "known_only")]
    pub lines: Vec<Line>,
    /// The configuration; `null` in a replay.
    #[serde(default)]
    pub config: Option<ConfigStatus>,
}

/// The daemon.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DaemonInfo {
    /// Name of the node; empty: unknown.
    pub node: String,
    /// Release of its kernel, `uname -r`.
    pub kernel: String,
    /// Version of the program.
    pub version: String,
    /// Commit that it was built from.
    pub revision: String,
    /// Time between two ticks, seconds.
    pub interval_seconds: f64,
    /// The recording that is replayed; `null`: the data is live.
    pub recording: Option<String>,
}

/// A loop and its verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoopNow {
    /// Its id.
    #[serde(rename = "loop")]
    pub id: CompactString,
    /// Its state.
    pub state: LivelockState,
    /// Start of the state, milliseconds since 1970.
    pub since_unix_ms: u64,
    /// The verdict.
    pub verdict: Verdict,
    /// The loop; `null`: it ended.
    pub found: Option<Loop>,
    /// The waiting tasks, and the pages at both ends.
    #[serde(flatten)]
    pub numbers: LoopNumbers,
    /// The cycle at a glance; older versions omit it.
    #[serde(default)]
    pub picture: Picture,
    /// The mitigations, the best first, while it is stalled or suspected; otherwise the
    /// preventions.
    pub measures: Vec<Measure>,
    /// Ineffective actions.
    pub ineffective: Vec<Ineffective>,
    /// The newest document that proves a state of it.
    pub evidence: Option<CompactString>,
    /// The trigger of that document.
    pub occasion: Option<Trigger>,
    /// The steps of the cycle from that document while it is stalled; older versions omit them.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// The steps as text: lines of at most 100 columns.
    pub cycle: Vec<String>,
}

impl LoopNow {
    /// Whether it is stalled or suspected.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.state.metric() > 0.0
    }
}

/// A related condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelatedNow {
    /// Start of the condition, milliseconds since 1970.
    pub since_unix_ms: u64,
    /// The kind, the BDI and the reason.
    #[serde(flatten)]
    pub related: Related,
}

/// The threads of an NFS server, by state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// `nfsd`, or the name of its process.
    pub name: CompactString,
    /// The process id of a userspace server.
    pub tgid: Option<u32>,
    /// Threads that wait for a request; `null`: unknown.
    pub idle: Option<usize>,
    /// Threads that work.
    pub running: usize,
    /// Threads in one of the causes.
    pub throttled: usize,
    /// Threads that sleep elsewhere: for a lock, or the disk.
    pub blocked: usize,
}

/// Tasks that wait at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waits {
    /// The cause.
    pub cause: Cause,
    /// The class of the tasks.
    pub class: Class,
    /// Their number.
    pub tasks: usize,
    /// The longest wait so far, seconds.
    pub oldest_seconds: f64,
}

/// A backing device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BdiNow {
    /// The device.
    #[serde(flatten)]
    pub bdi: Bdi,
    /// Start of the congestion, milliseconds since 1970.
    pub congested_since_unix_ms: Option<u64>,
    /// Tasks that wait because of its pages.
    pub waiting_tasks: usize,
    /// Its role in a loop: `client`, `server`; empty: none.
    pub role: CompactString,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Time, milliseconds since 1970.
    pub unix_ms: u64,
    /// `loop`, `related` or `verdict`.
    pub kind: CompactString,
    /// The subject: a loop's id, or a BDI.
    pub of: CompactString,
    /// The change: `livelock`, `appeared`, `slow-disk ended`.
    pub what: CompactString,
    /// The signature of a verdict.
    pub signature: Option<Signature>,
    /// One sentence.
    pub why: String,
}
