//! What the server waits for, and why only the server can give it.

use monitor_common::{Cause, Class};
use monitor_model::verdict::Signature;

use super::{CycleView, amount, is_loop_worker};
use crate::evidence::tasks::Task;
use crate::text::percent;

/// The causes that are reclaim of memory, or a sleep within it.
const RECLAIM: [Cause; 7] = [
    Cause::CongestionWait,
    Cause::WaitIffCongested,
    Cause::ReclaimThrottle,
    Cause::DirectReclaim,
    Cause::MemcgReclaim,
    Cause::ThrottleDirectReclaim,
    Cause::Compaction,
];

/// Functions in which an allocation waits for the NFS client's own pages
/// (fs/nfs/file.c, fs/nfs/write.c; `folio` where it was `page`).
const COMMITTING: [&str; 7] = [
    "nfs_release_folio",
    "nfs_release_page",
    "nfs_wb_folio",
    "nfs_wb_page",
    "nfs_commit_inode",
    "__nfs_commit_inode",
    "nfs_launder_folio",
];

/// The kernel threads that reclaim and compact for all.
const RECLAIMERS: [&str; 2] = ["kswapd", "kcompactd"];

/// What the cycle closes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosingEdge {
    Dirty,
    Reclaim,
    Commit,
    Starved,
}

impl ClosingEdge {
    pub const fn causes(self) -> &'static [Cause] {
        match self {
            Self::Dirty => &[Cause::BalanceDirtyPages],
            Self::Reclaim => &RECLAIM,
            Self::Commit => &[Cause::NfsCommit],
            Self::Starved => &[Cause::SvcAllocArg],
        }
    }
}

/// The edge that the signature names; with a loop device, the one that is seen.
pub fn of(view: &CycleView<'_>) -> ClosingEdge {
    match view.signature {
        Signature::DirtyThrottle => ClosingEdge::Dirty,
        Signature::ReclaimCongestion => ClosingEdge::Reclaim,
        Signature::CommitWait => ClosingEdge::Commit,
        Signature::RequestStarvation => ClosingEdge::Starved,
        Signature::LoopDevice => {
            let seen = |edge: &ClosingEdge| {
                let workers = view.tasks.others.iter().filter(|task| is_loop_worker(task));
                let mut all = view.tasks.server.iter().chain(workers);
                all.any(|task| task.wait_in(edge.causes()).is_some())
            };
            let edges = [
                ClosingEdge::Dirty,
                ClosingEdge::Commit,
                ClosingEdge::Starved,
                ClosingEdge::Reclaim,
            ];
            edges.into_iter().find(seen).unwrap_or(ClosingEdge::Dirty)
        }
    }
}

/// Whether a task that is not the server's stands where its threads stand: in
/// `commit-wait` it may be kswapd that waits for all.
pub fn is_part(view: &CycleView<'_>, task: &Task<'_>) -> bool {
    if of(view) != ClosingEdge::Commit {
        return false;
    }
    let kernel = |class: Class| {
        matches!(
            class,
            Class::Kswapd | Class::Kthread | Class::Kworker | Class::Target
        )
    };
    let waits = task.wait_in(ClosingEdge::Commit.causes());
    waits.is_some_and(|wait| kernel(wait.class)) || by_stack(view, task)
}

/// Whether the stack of a reclaimer or of a server's thread shows it waiting
/// for the client's pages: a signal for that is not everywhere.
pub fn by_stack(view: &CycleView<'_>, task: &Task<'_>) -> bool {
    let reclaimer = || RECLAIMERS.iter().any(|name| task.comm.starts_with(name));
    of(view) == ClosingEdge::Commit
        && (task.state.is_some() || reclaimer())
        && task.frames().any(|frame| COMMITTING.contains(&frame))
}

/// The last step: back to the client.
pub fn closing(view: &CycleView<'_>) -> String {
    let (client, server) = (view.place(view.client_bdi()), view.server());
    let bdi = view.bdi(view.client_bdi());
    let writeback = amount(bdi.and_then(|bdi| bdi.writeback_bytes));
    let edge = &view.verdict.conditions.closing_edge;
    let words = match of(view) {
        ClosingEdge::Dirty => {
            let share = edge
                .value
                .map_or_else(|| "an unknown share".to_owned(), percent);
            let rest = view.server_bdi().map_or_else(String::new, |bdi| {
                format!(" of those that are not of {}", view.place(bdi))
            });
            format!(
                "which ends when the node's dirty pages fall below the limit: {share}{rest} are of \
                 {client}, and only {server} cleans them"
            )
        }
        ClosingEdge::Reclaim => format!(
            "which ends when pages under writeback are written: {client} has {writeback} of them, \
             and only {server} answers their WRITEs"
        ),
        ClosingEdge::Commit => {
            let pending = view.nfs_client().map_or_else(String::new, |client| {
                let commits = client.commits_sent.saturating_sub(client.commits_done);
                format!(
                    " (unanswered: {} WRITE calls, {commits} COMMIT calls)",
                    client.pending_writes()
                )
            });
            format!(
                "which ends when pages of {client} are written and committed{pending}, and only \
                 {server} does that"
            )
        }
        ClosingEdge::Starved => {
            let memory = &view.observation.memory;
            let (free, total) = (amount(memory.available_bytes), amount(memory.total_bytes));
            format!(
                "which ends when memory is free for their requests ({free} of {total} available): \
                 {client} has {writeback} under writeback, and only {server} answers those WRITEs"
            )
        }
    };
    match edge.holds {
        Some(true) => format!("{words} [the cycle closes]"),
        Some(false) => format!("{words} [the cycle is open]"),
        None => format!("{words} [unknown whether the cycle closes]"),
    }
}
