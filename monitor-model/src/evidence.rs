//! The evidence of a verdict: one document in which a kernel engineer finds the
//! cycle without other tools.

use compact_str::CompactString;
use monitor_common::Class;
use serde::{Deserialize, Serialize};

use crate::guard::GuardEvent;
use crate::loops::Loop;
use crate::mitigation::Measure;
use crate::observation::{
    Bdi, Container, Lost, Memory, NfsClient, SignalStatus, ThreadState, Waiting,
};
use crate::verdict::{LivelockState, Signature, Verdict};
use crate::words::words;

/// Version of the document: raised when a field changes its meaning.
pub const SCHEMA: u32 = 1;

/// Points of the timeline at most: three minutes of ticks of a second.
pub const MAX_POINTS: usize = 180;
/// Threads of the server at most, and as many other tasks.
pub const MAX_TASKS: usize = 64;
/// Functions of one stack at most.
pub const MAX_FRAMES: usize = 32;
/// Backing devices at most, and as many of what they said of their pauses.
pub const MAX_BDIS: usize = 64;

words! {
    /// When a document was made.
    Trigger {
        /// At the confirmation.
        Confirmed = "confirmed",
        /// When nothing moved any more.
        Deadlock = "deadlock",
        /// At its end.
        Ended = "ended",
    }
}

impl Trigger {
    /// What entering a state is an occasion for.
    #[must_use]
    pub const fn of(entered: LivelockState) -> Option<Self> {
        match entered {
            LivelockState::Livelock => Some(Self::Confirmed),
            LivelockState::Deadlock => Some(Self::Deadlock),
            LivelockState::Recovered => Some(Self::Ended),
            LivelockState::None | LivelockState::Suspected => None,
        }
    }
}

/// The evidence of a verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Its name, also that of its file without `.json`: letters, digits, `-`,
    /// `.` and `_` only.
    pub id: CompactString,
    /// The loop's id.
    #[serde(rename = "loop")]
    pub loop_id: CompactString,
    /// Under which signature it entered the state.
    pub signature: Signature,
    /// When it was made.
    pub occasion: Trigger,
    /// The document of the confirmation that this one follows; `None` in that
    /// itself.
    pub follows: Option<CompactString>,
    /// When, RFC 3339 in UTC.
    pub at: CompactString,
    /// When, milliseconds since 1970.
    pub unix_ms: u64,
    /// When, `CLOCK_MONOTONIC` milliseconds.
    pub monotonic_ms: u64,
    /// Release of the running kernel, `uname -r`.
    pub kernel: CompactString,
    /// Who waits for whom, step by step; empty: an older version made the document.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// The same at a glance.
    #[serde(default)]
    pub picture: Picture,
    /// The steps as text: lines of at most 100 columns.
    pub cycle: Vec<String>,
    /// The verdict at that moment, with its four conditions.
    pub verdict: Verdict,
    /// The loop; `None`: it is no longer known.
    pub found: Option<Loop>,
    /// What gets the node out of it.
    pub mitigations: Vec<Measure>,
    /// What prevents it.
    pub preventions: Vec<Measure>,
    /// The server's threads that are not idle: those that wait first, the
    /// longest first.
    pub threads: Vec<Thread>,
    /// Server threads that are idle; `None`: they are not looked at, as those
    /// of a userspace server.
    pub idle_threads: Option<usize>,
    /// Tasks that are not the server's and wait, or whose stack was read:
    /// those that wait for the loop's BDIs first, the longest first.
    pub writers: Vec<Thread>,
    /// The NFS client's WRITE and COMMIT calls on the loop's mount.
    pub client: Option<NfsClient>,
    /// Backing devices: those of the loop first, then the dirtiest.
    pub bdis: Vec<Bdi>,
    /// What `balance_dirty_pages` said over the verdict's window.
    pub pauses: Vec<Pauses>,
    /// The node's dirty pages and limits.
    pub memory: Memory,
    /// How each signal is attached.
    pub signals: Vec<SignalStatus>,
    /// What was lost on the way, totals.
    pub lost: Lost,
    /// The four conditions over the last minutes, oldest first.
    pub timeline: Vec<Point>,
    /// What the guard decided and did about this loop, oldest first; left out: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guard: Vec<GuardEvent>,
    /// What is not in here, a sentence each.
    pub left_out: Vec<String>,
}

/// A step of the cycle: who waits, or what holds them up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// How it follows from those before it.
    pub kind: StepKind,
    /// Threads that it is about, as in `threads` and `writers`; left out: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tids: Vec<u32>,
    /// The BDI that it is about, as in `bdis`; left out: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bdi: Option<CompactString>,
    /// One sentence.
    pub text: String,
}

/// How a [`Step`] follows from those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepKind {
    /// Those above wait for this.
    Waits,
    /// More about the same.
    Beside,
    /// A kernel stack of the same, innermost function first.
    Stack,
    /// Those above wait for the client again.
    Closes,
    /// Not part of the cycle.
    Aside,
}

/// The cycle at a glance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// Writers, mount, server, disk; empty: an older version made it.
    pub stations: Vec<Station>,
    /// One for each of the four conditions, in their order.
    pub arrows: Vec<Arrow>,
    /// Whether the server waits for its own client, in one sentence.
    pub closing: String,
}

/// Who or what takes part in the cycle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Station {
    /// Path of a mount or file system, or another name.
    pub name: CompactString,
    /// Its BDI; `None`: it has none, or it is unknown.
    pub bdi: Option<CompactString>,
    /// What to know about it, the most important first.
    pub lines: Vec<String>,
}

/// Leads from one [`Station`] to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrow {
    /// Place in `stations` of the one that it leaves.
    pub from: usize,
    /// Place in `stations` of the one that it leads to.
    pub to: usize,
    /// Whether the one waits for the other; else data flows, or should.
    pub waits: bool,
    /// The condition, by its name in JSON.
    pub condition: CompactString,
    /// Whether it holds; `None`: an input is missing.
    pub holds: Option<bool>,
    /// The number that decided; `?`: unknown.
    pub value: String,
    /// What that number is of.
    pub unit: String,
}

/// Who waits in a loop at one moment, and what its ends hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoopNumbers {
    /// Tasks that wait on the client's BDI.
    pub client_waiting: usize,
    /// For how long the first of them waits, seconds.
    pub client_oldest_seconds: Option<f64>,
    /// Tasks of the server that wait in a watched cause.
    pub server_waiting: usize,
    /// For how long the first of them waits, seconds.
    pub server_oldest_seconds: Option<f64>,
    /// WRITE calls that are not answered.
    pub writes_pending: Option<u64>,
    /// Dirty and writeback bytes of the client's BDI.
    pub client_held_bytes: Option<u64>,
    /// The same of the server's.
    pub server_held_bytes: Option<u64>,
}

/// The four conditions at one tick.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// When, `CLOCK_MONOTONIC` milliseconds.
    pub monotonic_ms: u64,
    /// The state after that tick.
    pub state: LivelockState,
    /// The client's dirty and writeback bytes.
    pub demand_bytes: Option<f64>,
    /// Acknowledged to the client, bytes a second.
    pub progress_bytes_per_second: Option<f64>,
    /// Share of the busy server threads' time that is spent waiting.
    pub blockage_ratio: Option<f64>,
    /// The client's share in what the server waits for.
    pub edge_ratio: Option<f64>,
    /// Share of the time that the disk of the server's BDI was busy, over the
    /// verdict's window.
    pub disk_busy_ratio: Option<f64>,
    /// Which of the four hold: demand, no progress, blockage, closing edge.
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
    /// The watched waits that it is in, the outermost first.
    pub waits: Vec<Waiting>,
    /// For how long it is in the outermost of them, seconds.
    pub waiting_seconds: Option<f64>,
    /// For how long a server's thread is in its WRITE, seconds.
    pub write_seconds: Option<f64>,
    /// The kernel function that it sleeps in, where it could be read.
    pub blocked_in: Option<CompactString>,
    /// Whether it waits for a lock while another thread of the server is
    /// throttled, most likely with that lock held.
    pub behind_throttled: bool,
    /// Functions of its kernel stack, innermost first; empty: not read. Read
    /// within a few ticks before, and not at the same moment as the waits.
    pub stack: Vec<CompactString>,
    /// In which container it lives; left out: in none that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
}

/// What `balance_dirty_pages` said to the dirtiers of one class on one BDI,
/// over the verdict's window. Pages are means over its ticks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pauses {
    /// The BDI that was written to.
    pub bdi: CompactString,
    /// What kind of tasks wrote.
    pub class: Class,
    /// Pauses.
    pub events: u64,
    /// Pauses together, seconds.
    pub pause_seconds: f64,
    /// Dirty and writeback pages of the whole node.
    pub dirty_pages: f64,
    /// The hard dirty limit, pages.
    pub limit_pages: f64,
    /// This BDI's dirty and writeback pages.
    pub bdi_dirty_pages: f64,
    /// Where the kernel would have this BDI's part, pages.
    pub bdi_setpoint_pages: f64,
}
