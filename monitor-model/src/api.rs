//! The documents of the HTTP API, each declared once. The daemon serves them below `/api/v1`, and
//! `top` and `explain` read them.
//!
//! The daemon borrows what it serves (`Cow`); a client owns what it reads. A client may be older
//! than the daemon, so it ignores unknown fields and drops list entries with an unknown word.

mod config;
mod history;
mod node;
mod tasks;

use std::borrow::Cow;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::{
    evidence::Trigger,
    guard::{Action, GuardEvent, Mode, Outcome},
    known_only::known_only,
    loops::{Loop, LoopEvent},
    observation::{Container, StalledTask, State, Waiting},
    related::{Related, RelatedEvent},
    verdict::{Signature, Transition, Verdict},
};

pub use config::ConfigStatus;
pub use history::{MAX_POINTS, Track, TrackPoint, Tracks};
pub use node::{
    BdiNow, DaemonInfo, Line, LoopNow, MAX_BDIS, MAX_LINES, MAX_LOOPS, MAX_TASKS, Node, RelatedNow,
    Server, Waits,
};
pub use tasks::{MAX_MATCH, Row, Rows, Sort, Task, TaskQuery};

/// A document with its tick.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OfTick<T> {
    /// Time of the tick, RFC 3339 in UTC; `null` before the first one.
    pub at: Option<String>,
    /// The same, milliseconds since 1970.
    pub unix_ms: u64,
    /// The document.
    #[serde(flatten)]
    pub body: T,
}

/// A value with its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct At<T> {
    /// Time, RFC 3339 in UTC; for a wait its start.
    pub at: Option<String>,
    /// The value.
    #[serde(flatten)]
    pub item: T,
}

/// A lasting value with its start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Since<T> {
    /// Its start, RFC 3339 in UTC.
    #[serde(default)]
    pub since: String,
    /// The value.
    #[serde(flatten)]
    pub item: T,
}

/// `/api/v1/loops`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loops<'a> {
    /// Age of the last look-up of mounts and sockets; `null` before the first one.
    pub topology_age_seconds: Option<f64>,
    /// The facts that the look-up lacks, a sentence each.
    #[serde(default)]
    pub incomplete: Cow<'a, [CompactString]>,
    /// The loops. With an unknown word, the document fails to parse: dropping the loop would hide
    /// it.
    pub loops: Vec<Since<Cow<'a, Loop>>>,
    /// The loops that began and ended, oldest first.
    #[serde(default, deserialize_with = "known_only")]
    pub events: Vec<At<Cow<'a, LoopEvent>>>,
}

/// `/api/v1/bdis`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bdis {
    /// Number of all BDIs in use; `bdis` may have fewer.
    pub total: usize,
    /// A sentence if some are left out.
    #[serde(default)]
    pub incomplete: Vec<CompactString>,
    /// The BDIs, by name.
    pub bdis: Vec<BdiEntry>,
}

/// A backing device. Unknown values are `null`; fields without a comment are those of
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
    /// The source of that: a word of [`CongestionBy`](crate::observation::CongestionBy).
    pub congested_by: Option<CompactString>,
    /// Start of the congestion, RFC 3339 in UTC.
    pub congested_since: Option<String>,
    /// Total congested time.
    pub congested_seconds: Option<f64>,
    /// The threshold of congestion.
    pub congestion_threshold_bytes: Option<u64>,
    /// Tasks that wait because of its pages.
    pub waiting_tasks: usize,
    /// Whether it is a mount of the NFS client.
    pub nfs_client: bool,
}

/// `/api/v1/stalls`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stalls<'a> {
    /// Number of all unfinished waits; `stalls` may have fewer.
    pub total: usize,
    /// The oldest of them.
    #[serde(deserialize_with = "known_only")]
    pub stalls: Vec<At<Lasting<'a>>>,
    /// Finished waits over the threshold, the newest first.
    #[serde(default, deserialize_with = "known_only")]
    pub recent: Vec<At<Finished<'a>>>,
}

/// An unfinished wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lasting<'a> {
    /// Its duration so far.
    #[serde(default)]
    pub age_seconds: f64,
    /// The task's container; `null`: none is known.
    pub container: Option<Cow<'a, Container>>,
    /// The wait.
    #[serde(flatten)]
    pub wait: Cow<'a, Waiting>,
}

/// A finished wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finished<'a> {
    /// Its duration.
    pub delay_seconds: f64,
    /// The task's container; `null`: none is known.
    pub container: Option<Cow<'a, Container>>,
    /// The wait.
    #[serde(flatten)]
    pub stall: Cow<'a, StalledTask>,
}

/// `/api/v1/verdicts`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdicts<'a> {
    /// One for each loop.
    #[serde(deserialize_with = "known_only")]
    pub verdicts: Vec<Since<Cow<'a, Verdict>>>,
    /// Changes of state, oldest first.
    #[serde(deserialize_with = "known_only")]
    pub timeline: Vec<At<Cow<'a, Transition>>>,
    /// Related conditions that hold.
    #[serde(deserialize_with = "known_only")]
    pub related: Vec<Since<Cow<'a, Related>>>,
    /// The related conditions that began and ended, oldest first.
    #[serde(deserialize_with = "known_only")]
    pub related_events: Vec<At<Cow<'a, RelatedEvent>>>,
    /// The kept documents of evidence, oldest first.
    #[serde(deserialize_with = "known_only")]
    pub evidence: Vec<EvidenceEntry<'a>>,
}

/// A kept document of evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceEntry<'a> {
    /// Its metadata.
    #[serde(flatten)]
    pub head: Cow<'a, EvidenceHead>,
    /// The path of the whole document.
    pub path: String,
    /// Its file; `null`: there is none, or not yet.
    pub file: Option<Cow<'a, str>>,
}

/// The metadata of a document of evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceHead {
    /// Its name, and that of its file without `.json`.
    pub id: CompactString,
    /// The loop's id.
    #[serde(rename = "loop")]
    pub loop_id: CompactString,
    /// The signature.
    pub signature: Signature,
    /// The trigger.
    pub occasion: Trigger,
    /// Time, RFC 3339 in UTC.
    pub at: CompactString,
    /// Time, milliseconds since 1970.
    pub unix_ms: u64,
    /// Its size, bytes.
    pub bytes: usize,
}

/// `/api/v1/guard`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuardStatus<'a> {
    /// The permitted actions.
    pub mode: Mode,
    /// The current changes.
    pub active: Vec<ActiveMeasure>,
    /// The number of actions by result.
    #[serde(deserialize_with = "known_only")]
    pub actions: Vec<ActionCount>,
    /// Its decisions and actions, oldest first.
    #[serde(deserialize_with = "known_only")]
    pub events: Vec<At<Cow<'a, GuardEvent>>>,
}

/// A change by the guard that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveMeasure {
    /// The loop's id.
    #[serde(rename = "loop")]
    pub loop_id: String,
    /// The changed setting.
    pub measure: String,
}

/// The number of actions with this result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionCount {
    /// The action.
    pub action: Action,
    /// The result.
    pub result: Outcome,
    /// The number.
    pub count: u64,
}

/// `/api/v1/probes`: what this kernel and these privileges allow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// Release of the running kernel, `uname -r`.
    pub kernel: String,
    /// The signals, each with its strategy.
    #[serde(default, deserialize_with = "known_only")]
    pub signals: Vec<SignalReport>,
}

/// The state of one signal, and why it is not better.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalReport {
    /// The signal's name.
    pub signal: CompactString,
    /// The strategy in use, or `none`.
    pub strategy: CompactString,
    /// Its state.
    pub state: State,
    /// The reason why better strategies failed, in the kernel's words; empty: this is the best.
    pub reason: String,
    /// The limitation; empty: there is none.
    pub limitation: String,
    /// The recommendation; empty: there is none.
    pub remedy: String,
    /// Whether it can occur: `false` if this kernel has no such wait or its module is not loaded.
    pub applies: bool,
    /// Whether the daemon is not ready without it (where it applies).
    pub needed: bool,
}

/// `/api/v1/recordings`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recordings {
    /// The recordings.
    pub recordings: Vec<RecordingSet>,
    /// The reason why there are none; `null`: there may be some.
    pub why_none: Option<Cow<'static, str>>,
}

/// Files that belong together: in this order `replay` reads them as one recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingSet {
    /// Its files, oldest first.
    pub files: Vec<RecordingFile>,
    /// `now`, or the time, loop and signature of the livelock that it was kept for.
    pub name: String,
}

/// A file of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingFile {
    /// Its size now.
    pub bytes: u64,
    /// The last write, milliseconds since 1970.
    pub modified_unix_ms: u64,
    /// Its name.
    pub name: String,
}

/// An event of `/api/v1/events`, sent with its time ([`At`]), and with `?node` also [`Node`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Happened {
    /// A loop began or ended.
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

    /// Time, milliseconds since 1970.
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
