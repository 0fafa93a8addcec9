//! One loop at one tick: the inputs of its conditions and signatures, and the facts that several of
//! them share.

mod all_loops;
mod disk;
mod pages;

use compact_str::CompactString;
use monitor_common::{Cause, Class};
use monitor_model::{
    loops::{NFSD, Proof},
    observation::{ClientKind, ServerKind, ServerRef, State},
    verdict::{Condition, Conditions, Signature},
};

use crate::thresholds::Thresholds;
use crate::window::confidence::MissingInput;
use crate::window::reduce::{Sample, Threads, UserThreads};
use crate::window::{Moved, Own, PauseMeans, ThreadSamples, Window};

pub use all_loops::AllLoops;
pub use disk::Disk;

/// The inputs of one loop.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The node over the window.
    pub window: &'a Window,
    /// The client's device.
    pub client: &'a str,
    /// Its kind.
    pub kind: ClientKind,
    /// The server.
    pub server: &'a str,
    /// The servers of the path, that one first.
    pub servers: &'a [ServerRef],
    /// The BDIs between the client and the last server, which others clean.
    pub inner: &'a [CompactString],
    /// The BDI that the server writes to, if known.
    pub server_bdi: Option<&'a str>,
    /// Whether workers of the client write instead of the server.
    pub localio: bool,
    /// How the loop was found.
    pub proof: Proof,
    /// The threads and writes of nfsd that belong to the loop.
    pub own: Own<'a>,
    /// The numbers to compare with.
    pub thresholds: &'a Thresholds,
    /// Rate, bytes a second, below which the loop counts as stalled, hysteresis included.
    pub stall_rate: f64,
    /// Since the last second with progress, nanoseconds.
    pub stalled_ns: u64,
    /// All loops, this one among them.
    pub loops: &'a AllLoops,
    /// The conditions one tick ago: one that held then has a looser threshold.
    pub before: &'a Conditions,
    /// The edges that held one tick ago.
    pub held: HeldEdges,
}

/// The signatures whose closing edge holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldEdges([bool; Signature::ALL.len()]);

impl HeldEdges {
    /// Whether the edge of this signature holds.
    #[must_use]
    pub fn by(self, signature: Signature) -> bool {
        self.0.get(signature as usize).copied().unwrap_or(false)
    }

    /// Records whether it holds now.
    pub fn set(&mut self, signature: Signature, holds: bool) {
        if let Some(slot) = self.0.get_mut(signature as usize) {
            *slot = holds;
        }
    }
}

impl View<'_> {
    /// The factor by which a condition's threshold is looser now.
    #[must_use]
    pub fn slack(&self, before: &Condition) -> f64 {
        self.thresholds.slack(before.holds == Some(true))
    }

    /// The factor by which a signature's threshold is looser now.
    #[must_use]
    pub fn edge_slack(&self, signature: Signature) -> f64 {
        self.thresholds.slack(self.held.by(signature))
    }

    /// The newest sample.
    #[must_use]
    pub fn newest(&self) -> Option<&Sample> {
        self.window.newest()
    }

    /// Whether the server is the kernel's.
    #[must_use]
    pub fn by_nfsd(&self) -> bool {
        self.server == NFSD
    }

    /// The classes of the servers' threads, each once.
    fn classes(&self) -> impl Iterator<Item = Class> {
        let all = self.servers.iter().enumerate();
        let first = all.filter(|(at, server)| {
            let mut before = self.servers.iter().take(*at);
            !before.any(|one| one.kind == server.kind)
        });
        first.map(|(_, server)| match server.kind {
            ServerKind::Nfsd => Class::Nfsd,
            ServerKind::Process => Class::Server,
            ServerKind::Target => Class::Target,
            ServerKind::LoopDevice => Class::LoopDevice,
        })
    }

    /// Whether a waiter of this class on this BDI works for the loop. It is a thread of one of its
    /// servers, or with LOCALIO a worker that writes to what the server exports.
    #[must_use]
    pub fn serves(&self, class: Class, bdi: &str) -> bool {
        let worker = self.localio && class == Class::Kworker && self.server_bdi == Some(bdi);
        worker || self.classes().any(|own| own == class)
    }

    /// Bytes acknowledged to the client over the window.
    #[must_use]
    pub fn acked(&self) -> Option<Moved> {
        self.window
            .moved(|sample| sample.client(self.client)?.bytes_acked)
    }

    /// Whether requests to the loop wait without an answer: writers on the client's BDI, or more
    /// WRITE calls than were answered over the window. No task waits for pages that are only dirty.
    #[must_use]
    pub fn waits(&self) -> Option<bool> {
        let Some(client) = self.newest()?.client(self.client) else {
            return Some(false);
        };
        let answered = self
            .window
            .moved(|sample| sample.client(self.client)?.answered_writes);
        let calls = match client.pending_writes? {
            0 => Some(false),
            pending => answered.map(|answered| answered.bytes < pending),
        };
        let writers = client.waiting_writers.map(|writers| writers > 0);
        any_of(&[writers, calls])
    }

    /// Bytes that the server wrote for the loop over the window. Known only for nfsd.
    #[must_use]
    pub fn served(&self) -> Option<Moved> {
        self.by_nfsd().then(|| self.window.served(self.own))?
    }

    /// The states of the serving threads over the window.
    #[must_use]
    pub fn threads(&self) -> Option<ThreadSamples> {
        self.window.threads(|sample| self.threads_of(sample))
    }

    /// The states of the serving threads at one moment.
    fn threads_of(&self, sample: &Sample) -> Option<Threads> {
        let of = |server: &ServerRef| self.threads_of_server(server, sample);
        let own = self.servers.iter().map(of);
        let own = own.reduce(|sum, one| Some(sum?.and(one?)))??;
        if !self.localio {
            return Some(own);
        }
        let mut workers = Threads::default();
        for wait in &sample.lasting {
            let throttled = wait.cause == Cause::BalanceDirtyPages;
            if throttled && wait.class == Class::Kworker && self.serves(wait.class, &wait.bdi) {
                workers.throttled = workers.throttled.saturating_add(1);
                workers.in_dirty = workers.in_dirty.saturating_add(1);
            }
        }
        Some(own.and(workers))
    }

    /// The states of the threads of one server of the path. Those of a userspace server come from
    /// the throttling signal where it is not listed.
    fn threads_of_server(&self, server: &ServerRef, sample: &Sample) -> Option<Threads> {
        match server.kind {
            ServerKind::Nfsd => match &sample.nfsd_threads {
                Some(all) => Some(self.own.threads(all)),
                None => sample.server?.threads,
            },
            ServerKind::Process => {
                let all = sample.user_servers.iter();
                let own = all.filter(|one| self.is_process(server, one));
                let own = own.map(|one| one.threads).reduce(Threads::and);
                own.or(sample.user_waits)
            }
            ServerKind::Target => sample.target_waits,
            // Whether a worker is throttled is all that is known of it.
            ServerKind::LoopDevice => {
                let in_dirty = sample.lasting.iter().filter(|wait| {
                    wait.class == Class::LoopDevice && wait.cause == Cause::BalanceDirtyPages
                });
                let throttled = u32::try_from(in_dirty.count()).unwrap_or(u32::MAX);
                Some(Threads {
                    throttled,
                    in_dirty: throttled,
                    ..Threads::default()
                })
            }
        }
    }

    /// Whether the pauses of a class, which servers share, are those of other processes: some were
    /// seen in `balance_dirty_pages`, and none of the path.
    fn is_of_others(&self, class: Class) -> bool {
        if class != Class::Server {
            return false;
        }
        let is_process = |one: &&ServerRef| one.kind == ServerKind::Process;
        let own = |sample: &Sample| {
            let processes = self.servers.iter().filter(is_process);
            let listed = processes.map(|server| {
                let mut all = sample.user_servers.iter();
                all.find(|one| self.is_process(server, one))
            });
            // Of one that is not listed nothing is known.
            let listed: Option<Vec<_>> = listed.collect();
            listed.map(|all| all.iter().map(|one| one.threads.in_dirty).max())
        };
        let mut others = false;
        for sample in self.window.samples() {
            match own(sample) {
                Some(Some(0)) => {}
                _ => return false,
            }
            others |= sample
                .user_waits
                .is_some_and(|threads| threads.in_dirty > 0);
        }
        others
    }

    /// Whether a process is that server. An NFS server may consist of several processes of one
    /// name; of any other, each process is a server of its own.
    fn is_process(&self, server: &ServerRef, one: &UserThreads) -> bool {
        if self.kind == ClientKind::Nfs && server.name == self.server || server.tgid.is_none() {
            one.name == server.name
        } else {
            Some(one.tgid) == server.tgid
        }
    }

    /// The BDI, other than a client's, on which the serving threads paused most.
    #[must_use]
    pub fn paused_most(&self) -> Option<(&str, PauseMeans)> {
        let newest = self.newest()?;
        let mut most: Option<(&str, PauseMeans)> = None;
        for pauses in &newest.pauses {
            let own = self.serves(pauses.class, &pauses.bdi);
            let is_client = pauses.bdi == self.client || newest.client(&pauses.bdi).is_some();
            let is_part = self.inner.contains(&pauses.bdi) || self.is_of_others(pauses.class);
            if !own || is_client || is_part {
                continue;
            }
            let Some(mut means) = self.window.pauses(&pauses.bdi, pauses.class) else {
                continue;
            };
            if pauses.class == Class::Nfsd {
                // The page counts belong to the device, not to the class.
                let only = |bdi: &str| bdi == pauses.bdi;
                means.pause_ns = self.window.nfsd_paused_ns(self.own, only);
                if means.pause_ns == 0 && newest.nfsd_threads.is_some() {
                    continue;
                }
            }
            // The list is sorted: among equals the first name wins.
            if most.is_none_or(|(_, best)| means.pause_ns > best.pause_ns) {
                most = Some((&pauses.bdi, means));
            }
        }
        most
    }

    /// Pauses of the serving threads over the window, nanoseconds.
    #[must_use]
    pub fn paused_ns(&self) -> u64 {
        let of = |class| match class {
            Class::Nfsd => self.window.nfsd_paused_ns(self.own, |_| true),
            class if self.is_of_others(class) => 0,
            class => self.window.paused_ns(class, |_| true),
        };
        let own = self.classes().map(of).fold(0, u64::saturating_add);
        let workers = |bdi: &str| self.serves(Class::Kworker, bdi);
        own.saturating_add(self.window.paused_ns(Class::Kworker, workers))
    }

    /// Time of the serving threads in reclaim.
    #[must_use]
    pub fn reclaim_ns(&self) -> u64 {
        let of = |class| Window::reclaim_of(|cause| self.time_in(cause, class, |_| true));
        self.classes().map(of).fold(0, u64::saturating_add)
    }

    /// Time that tasks of a class spent in a cause. For nfsd only the loop's threads count.
    fn time_in(&self, cause: Cause, class: Class, wanted: impl Fn(&str) -> bool) -> u64 {
        if class == Class::Nfsd {
            self.window.nfsd_time_in(self.own, cause, wanted)
        } else {
            self.window.time_in(cause, class, wanted)
        }
    }

    /// Time of a class in waits for the COMMIT of the client's pages.
    #[must_use]
    pub fn commit_ns(&self, class: Class) -> u64 {
        // The name is empty if the BDI could not be read.
        let own = |bdi: &str| bdi.is_empty() || bdi == self.client;
        self.time_in(Cause::NfsCommit, class, own)
    }

    /// The same of the servers' threads.
    #[must_use]
    pub fn servers_commit_ns(&self) -> u64 {
        let all = self.classes().map(|class| self.commit_ns(class));
        all.fold(0, u64::saturating_add)
    }

    /// nfsd's time without pages for a request. The number of retries carries no meaning: their
    /// length differs between kernels.
    #[must_use]
    pub fn alloc_ns(&self) -> u64 {
        if !self.by_nfsd() {
            return 0;
        }
        self.time_in(Cause::SvcAllocArg, Class::Nfsd, |_| true)
    }

    /// The time in all causes: reclaim, COMMIT and request pages nest.
    #[must_use]
    pub fn throttled_ns(&self) -> u64 {
        let nested = self.reclaim_ns().max(self.alloc_ns());
        let nested = nested.max(self.servers_commit_ns());
        self.paused_ns().saturating_add(nested)
    }

    /// A time as a share of that of the server's threads that do not queue behind others.
    #[must_use]
    pub fn share_of_unblocked(&self, ns: u64) -> f64 {
        let mean = |t: ThreadSamples| t.unblocked as f64 / f64::from(t.samples.max(1));
        let threads = self.threads().map_or(1.0, mean).max(1.0);
        self.share_of_thread(ns) / threads
    }

    /// A time as a share of the window, as if of one thread.
    #[must_use]
    pub fn share_of_thread(&self, ns: u64) -> f64 {
        ns as f64 / self.window.covered_ns().max(1) as f64
    }

    /// The missing inputs of demand, progress and blockage.
    pub fn gaps(&self, gaps: &mut Vec<MissingInput>) {
        let Some(newest) = self.newest() else {
            return;
        };
        let signals = newest.signals;
        if signals.dirty == Some(State::Unavailable) {
            gaps.push(MissingInput::DirtyUnseen);
        } else if signals.dirty == Some(State::Degraded) {
            gaps.push(MissingInput::DirtyExitUnseen);
        }
        if self.kind == ClientKind::Nfs && signals.client == Some(State::Unavailable) {
            gaps.push(MissingInput::ClientUnseen);
        }
        if self.by_nfsd() {
            if newest.server.is_some_and(|s| s.bytes_written.is_none()) {
                gaps.push(MissingInput::ServedUnseen);
            }
            if signals.calls == Some(State::Unavailable) || self.own.is_mixed(newest) {
                gaps.push(MissingInput::CallsUnseen);
            }
        } else {
            gaps.push(MissingInput::ServedUnwatched);
            let is_process = |one: &&ServerRef| one.kind == ServerKind::Process;
            let processes: Vec<&ServerRef> = self.servers.iter().filter(is_process).collect();
            let listed = |one: &UserThreads| processes.iter().any(|own| self.is_process(own, one));
            let unlisted = processes.is_empty() || !newest.user_servers.iter().any(listed);
            if unlisted {
                gaps.push(MissingInput::ThreadsUnlisted);
            }
            let in_dirty = |one: &UserThreads| one.threads.in_dirty > 0;
            let others = newest.user_servers.iter().filter(|one| !listed(one));
            if others.into_iter().any(in_dirty) {
                gaps.push(MissingInput::ServersMixed);
            }
        }
        if self.localio && self.server_bdi.is_none() {
            gaps.push(MissingInput::WorkersUnknown);
        }
        if self
            .window
            .moved(|s| Some(s.map_full))
            .is_some_and(|m| m.bytes > 0)
        {
            gaps.push(MissingInput::MapFull);
        }
        if self.proof == Proof::Address {
            gaps.push(MissingInput::AddressOnly);
        }
    }
}

/// Any of these, where some may be unknown: one true makes it true.
#[must_use]
pub fn any_of(parts: &[Option<bool>]) -> Option<bool> {
    if parts.contains(&Some(true)) {
        return Some(true);
    }
    let known = parts.iter().all(Option::is_some);
    known.then_some(false)
}

/// All of these, where some may be unknown: one false makes it false.
#[must_use]
pub fn all_of(parts: &[Option<bool>]) -> Option<bool> {
    if parts.contains(&Some(false)) {
        return Some(false);
    }
    let known = parts.iter().all(Option::is_some);
    known.then_some(true)
}
