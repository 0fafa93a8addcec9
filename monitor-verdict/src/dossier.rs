//! The evidence of a verdict: one document in which a kernel engineer finds the
//! cycle without other tools.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::loops::Loop;
use crate::observation::{Bdi, Memory, SignalStatus, ThreadState, Waiting};
use crate::remedy::Measure;
use crate::types::Verdict;

/// Version of the document: raised when a field changes its meaning.
pub const SCHEMA: u32 = 1;

/// When a document was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Occasion {
    /// At the confirmation.
    Confirmed,
    /// When nothing moved any more.
    Deadlock,
    /// At its end.
    Ended,
}

/// The evidence of a verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Its name, also that of its file without `.json`: letters, digits, `-`,
    /// `.` and `_` only.
    pub id: CompactString,
    /// When it was made.
    pub occasion: Occasion,
    /// When, `CLOCK_MONOTONIC` milliseconds.
    pub monotonic_ms: u64,
    /// When, milliseconds since 1970.
    pub unix_ms: u64,
    /// Release of the running kernel, `uname -r`.
    pub kernel: CompactString,
    /// The verdict at that moment, with its four conditions.
    pub verdict: Verdict,
    /// The loop; `None`: it is no longer known.
    pub found: Option<Loop>,
    /// Who waits for whom, drawn.
    pub cycle: String,
    /// The four conditions over the last minutes, oldest first.
    pub timeline: Vec<Point>,
    /// The server's threads that are not idle.
    pub threads: Vec<Thread>,
    /// Server threads that are idle.
    pub idle_threads: usize,
    /// Tasks that wait and are not the server's, longest first.
    pub writers: Vec<Thread>,
    /// Backing devices in use.
    pub bdis: Vec<Bdi>,
    /// The node's dirty pages and limits.
    pub memory: Memory,
    /// How each signal is attached.
    pub signals: Vec<SignalStatus>,
    /// What gets the node out of it.
    pub ways_out: Vec<Measure>,
    /// What prevents it.
    pub preventions: Vec<Measure>,
    /// What was left out to keep the document small, a sentence each.
    pub left_out: Vec<String>,
}

/// The four conditions at one tick.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// When, `CLOCK_MONOTONIC` milliseconds.
    pub monotonic_ms: u64,
    /// The client's dirty and writeback bytes.
    pub demand_bytes: Option<f64>,
    /// Acknowledged to the client, bytes a second.
    pub progress_bytes_per_second: Option<f64>,
    /// Share of the busy server threads' time that is spent waiting.
    pub blockage_ratio: Option<f64>,
    /// The client's share in what the server waits for.
    pub edge_ratio: Option<f64>,
    /// Which of the four hold, in this order.
    pub holds: [Option<bool>; 4],
}

/// A thread that waits or works.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thread {
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// Its name.
    pub comm: CompactString,
    /// What a server's thread does; `None` for other tasks.
    pub state: Option<ThreadState>,
    /// The wait that it is in, where it is one that is watched.
    pub wait: Option<Waiting>,
    /// For how long, seconds.
    pub waiting_seconds: Option<f64>,
    /// The kernel function that it sleeps in, where it could be read.
    pub blocked_in: Option<CompactString>,
    /// Functions of its kernel stack, innermost first; empty: not read.
    pub stack: Vec<CompactString>,
}
