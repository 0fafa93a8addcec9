//! The documents of the HTTP API, each declared once: the daemon serves them below
//! `/api/v1`, `top` and `explain` read them.
//!
//! The daemon borrows what it serves (`Cow`); a client owns what it reads. A client may be
//! older than the daemon. It ignores fields that it does not know, and leaves out entries of
//! lists that have a word which it does not know.

mod history;
mod node;
mod tasks;

use std::borrow::Cow;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::{
    evidence::Trigger,
    guard::{Action, GuardEvent, Mode, Outcome},
    known::known,
    loops::{Loop, LoopEvent},
    observation::{Container, StalledTask, State, Waiting},
    related::{Related, RelatedEvent},
    verdict::{Signature, Transition, Verdict},
};

pub use history::{MAX_POINTS, Track, TrackPoint, Tracks};
pub use node::{
    BdiNow, DaemonInfo, Line, LoopNow, MAX_BDIS, MAX_LINES, MAX_LOOPS, MAX_TASKS, Node, RelatedNow,
    Server, Waits,
};
pub use tasks::{MAX_MATCH, Row, Rows, Sort, Task, TaskQuery};

/// A document, with the tick that it is of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OfTick<T> {
    /// When, RFC 3339 in UTC; `null` before the first tick.
    pub at: Option<String>,
    /// The same, milliseconds since 1970.
    pub unix_ms: u64,
    /// The document.
    #[serde(flatten)]
    pub body: T,
}

/// Something, with its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct At<T> {
    /// When, RFC 3339 in UTC; of a wait its begin.
    pub at: Option<String>,
    /// What.
    #[serde(flatten)]
    pub item: T,
}

/// Something that holds, with its begin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Since<T> {
    /// Since when, RFC 3339 in UTC.
    #[serde(default)]
    pub since: String,
    /// What.
    #[serde(flatten)]
    pub item: T,
}

/// `/api/v1/loops`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loops<'a> {
    /// Age of the last look at mounts and sockets; `null` before the first.
    pub topology_age_seconds: Option<f64>,
    /// What that look could not see, each a sentence.
    #[serde(default)]
    pub incomplete: Cow<'a, [CompactString]>,
    /// The loops. A client that does not know a word of one says so, rather than that there
    /// is no loop.
    pub loops: Vec<Since<Cow<'a, Loop>>>,
    /// Those that came and went, oldest first.
    #[serde(default, deserialize_with = "known")]
    pub events: Vec<At<Cow<'a, LoopEvent>>>,
}

/// `/api/v1/bdis`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bdis {
    /// All BDIs in use; not all of them are in `bdis`.
    pub total: usize,
    /// A sentence if some are left out.
    #[serde(default)]
    pub incomplete: Vec<CompactString>,
    /// By name.
    pub bdis: Vec<BdiEntry>,
}

/// A backing device. What is not known is `null`; fields without a comment are those of
/// [`Bdi`](crate::observation::Bdi).
#[allow(missing_docs, reason = "documented where they are declared first")]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BdiEntry {
    pub bdi: CompactString,
    pub fstype: CompactString,
    pub device: CompactString,
    pub dirty_bytes: Option<u64>,
    pub writeback_bytes: Option<u64>,
    pub threshold_bytes: Option<u64>,
    pub written_bytes: Option<u64>,
    pub disk_busy_ms: Option<u64>,
    pub disk_sectors_written: Option<u64>,
    pub disk_sectors_read: Option<u64>,
    pub disk_requests: Option<u64>,
    pub disk_request_ms: Option<u64>,
    pub max_ratio: Option<u32>,
    pub strict_limit: Option<bool>,
    /// Whether it is congested.
    pub congested: Option<bool>,
    /// How that is known: a word of [`CongestionBy`](crate::observation::CongestionBy).
    pub congested_by: Option<CompactString>,
    /// Since when, RFC 3339 in UTC.
    pub congested_since: Option<String>,
    /// How long in all.
    pub congested_seconds: Option<f64>,
    /// At how many bytes it counts as congested.
    pub congestion_threshold_bytes: Option<u64>,
    /// Tasks that wait because of its pages.
    pub waiting_tasks: usize,
    /// Whether it is a mount of the NFS client.
    pub nfs_client: bool,
}

/// `/api/v1/stalls`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stalls<'a> {
    /// All waits that last; not all of them are in `stalls`.
    pub total: usize,
    /// The oldest of them.
    #[serde(deserialize_with = "known")]
    pub stalls: Vec<At<Lasting<'a>>>,
    /// Finished ones over the threshold, the newest first.
    #[serde(default, deserialize_with = "known")]
    pub recent: Vec<At<Finished<'a>>>,
}

/// A wait that lasts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lasting<'a> {
    /// How long so far.
    #[serde(default)]
    pub age_seconds: f64,
    /// In which container the task lives; `null`: in none that is known.
    pub container: Option<Cow<'a, Container>>,
    /// The wait.
    #[serde(flatten)]
    pub wait: Cow<'a, Waiting>,
}

/// A wait that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finished<'a> {
    /// How long it took.
    pub delay_seconds: f64,
    /// In which container the task lives; `null`: in none that is known.
    pub container: Option<Cow<'a, Container>>,
    /// The wait.
    #[serde(flatten)]
    pub stall: Cow<'a, StalledTask>,
}

/// `/api/v1/verdicts`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdicts<'a> {
    /// One for each loop.
    #[serde(deserialize_with = "known")]
    pub verdicts: Vec<Since<Cow<'a, Verdict>>>,
    /// Changes of state, oldest first.
    #[serde(deserialize_with = "known")]
    pub timeline: Vec<At<Cow<'a, Transition>>>,
    /// Related conditions that hold.
    #[serde(deserialize_with = "known")]
    pub related: Vec<Since<Cow<'a, Related>>>,
    /// Those that began and ended, oldest first.
    #[serde(deserialize_with = "known")]
    pub related_events: Vec<At<Cow<'a, RelatedEvent>>>,
    /// The documents that are kept, oldest first.
    #[serde(deserialize_with = "known")]
    pub evidence: Vec<EvidenceEntry<'a>>,
}

/// A document of evidence that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceEntry<'a> {
    /// What it is.
    #[serde(flatten)]
    pub head: Cow<'a, EvidenceHead>,
    /// Where the whole of it is served.
    pub path: String,
    /// Where it was written; `null`: nowhere, or not yet.
    pub file: Option<Cow<'a, str>>,
}

/// What a document of evidence is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceHead {
    /// Its name, also that of its file without `.json`.
    pub id: CompactString,
    /// The loop's id.
    #[serde(rename = "loop")]
    pub loop_id: CompactString,
    /// Under which signature.
    pub signature: Signature,
    /// When it was made.
    pub occasion: Trigger,
    /// When, RFC 3339 in UTC.
    pub at: CompactString,
    /// When, milliseconds since 1970.
    pub unix_ms: u64,
    /// Its size, bytes.
    pub bytes: usize,
}

/// `/api/v1/guard`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuardStatus<'a> {
    /// What it may do.
    pub mode: Mode,
    /// What is changed now.
    pub active: Vec<ActiveMeasure>,
    /// How often it did what.
    #[serde(deserialize_with = "known")]
    pub actions: Vec<ActionCount>,
    /// What it decided and did, oldest first.
    #[serde(deserialize_with = "known")]
    pub events: Vec<At<Cow<'a, GuardEvent>>>,
}

/// A change by the guard that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveMeasure {
    /// The loop's id.
    #[serde(rename = "loop")]
    pub loop_id: String,
    /// What is changed.
    pub measure: String,
}

/// How often the guard did something, with this result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionCount {
    /// What.
    pub action: Action,
    /// What came of it.
    pub result: Outcome,
    /// How often.
    pub count: u64,
}

/// `/api/v1/probes`: what this kernel and these privileges allow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// Release of the running kernel, `uname -r`.
    pub kernel: String,
    /// The signals, each with the way that was taken.
    #[serde(default, deserialize_with = "known")]
    pub signals: Vec<SignalReport>,
}

/// How one signal is attached, and why not better.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalReport {
    /// The signal's name.
    pub signal: CompactString,
    /// The way that was taken, or `none`.
    pub strategy: CompactString,
    /// Whether it comes in.
    pub state: State,
    /// Why the better ways failed, in the kernel's words; empty for the best.
    pub reason: String,
    /// What is lost by that; empty for nothing.
    pub loses: String,
    /// What a person can do about it; empty for nothing.
    pub remedy: String,
    /// Whether there is anything to see: `false` where this kernel has no such
    /// wait or its module is not loaded.
    pub applies: bool,
    /// Whether a daemon without it (where it applies) cannot do its work:
    /// then it is not ready.
    pub needed: bool,
}

/// `/api/v1/recordings`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recordings {
    /// What can be replayed.
    pub recordings: Vec<RecordingSet>,
    /// Why there are none; `null`: there may be some.
    pub why_none: Option<Cow<'static, str>>,
}

/// Files that belong together: given to `replay` in this order, they are one
/// recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingSet {
    /// Its files, oldest first.
    pub files: Vec<RecordingFile>,
    /// `now`, or the time, loop and signature of the livelock that it was kept
    /// for.
    pub name: String,
}

/// A file of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingFile {
    /// Its size now.
    pub bytes: u64,
    /// When it was written to last, milliseconds since 1970.
    pub modified_unix_ms: u64,
    /// Its name.
    pub name: String,
}

/// What `/api/v1/events` sends, each with its time ([`At`]), and with `?node` also [`Node`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Happened {
    /// A loop came or went.
    Loop(LoopEvent),
    /// A related condition began or ended.
    Related(RelatedEvent),
    /// A state was entered.
    Verdict(Transition),
    /// The guard decided or did something.
    Guard(GuardEvent),
}

impl Happened {
    /// The event's name: `loop`, `related`, `verdict` or `guard`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Loop(_) => "loop",
            Self::Related(_) => "related",
            Self::Verdict(_) => "verdict",
            Self::Guard(_) => "guard",
        }
    }

    /// When, milliseconds since 1970.
    #[must_use]
    pub const fn unix_ms(&self) -> u64 {
        match self {
            Self::Loop(one) => one.unix_ms,
            Self::Related(one) => one.unix_ms,
            Self::Verdict(one) => one.unix_ms,
            Self::Guard(one) => one.unix_ms,
        }
    }
}
