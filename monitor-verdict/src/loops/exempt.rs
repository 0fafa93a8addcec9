//! Whether the kernel exempts a loop's server from local dirty throttling: observed, or predicted
//! from the kernel's rule until there is an observation.
//!
//! nfsd sets `PF_LOCAL_THROTTLE` while it writes for a connection that was local when it accepted
//! it (`sock_is_loopback`, net/sunrpc/svcsock.c). Local means that the route back to the client
//! leaves by a loopback device: the client's address is one of the server's own network namespace.
//! Since 5.11 it does not do so if the exported file system is itself remote
//! (`EXPORT_OP_REMOTE_FS`). A process sets the flag for itself (`prctl(PR_SET_IO_FLUSHER)`).

use monitor_model::{
    loops::{Exempt, ExemptBasis, Exemption, Loop, PathNode, Scope},
    observation::{ClientKind, ExemptCount, Observation, ServerKind, ServerRef},
};

use super::inputs::{DeviceInputs, ServerEnd};
use crate::mitigation::risk;

/// The WRITEs that nfsd served recently for a device.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct ExemptWrites {
    with: f64,
    without: f64,
}

impl ExemptWrites {
    /// The weight of older WRITEs once there are new ones: a reconnection may change the answer.
    const KEPT: f64 = 0.5;
    /// A share this small counts as none: these are WRITEs from before a reconnection.
    const FEW: f64 = 0.05;

    /// Adds the WRITEs since the previous observation.
    pub(super) fn learn(&mut self, new: ExemptCount) {
        if new == ExemptCount::default() {
            return;
        }
        self.with = self.with * Self::KEPT + new.with as f64;
        self.without = self.without * Self::KEPT + new.without as f64;
    }

    fn state(self) -> Option<Exempt> {
        let all = self.with + self.without;
        if all <= 0.0 {
            return None;
        }
        Some(if self.without <= all * Self::FEW {
            Exempt::Yes
        } else if self.with <= all * Self::FEW {
            Exempt::No
        } else {
            Exempt::Partly
        })
    }
}

/// Judges a loop.
pub(super) fn judge(
    one: &Loop,
    inputs: &DeviceInputs<'_>,
    end: &ServerEnd,
    writes: ExemptWrites,
) -> Exemption {
    of_path(one, inputs.observation).unwrap_or_else(|| of_nfsd(one, inputs, end, writes))
}

/// Judges a path by its last server, where that is a process or a worker: it writes to the local
/// device, and those before it wait for it. `None`: it is nfsd.
pub(super) fn of_path(one: &Loop, observation: &Observation) -> Option<Exemption> {
    let (kind, name) = PathNode::last_server(&one.path)?;
    match kind {
        ServerKind::Nfsd => None,
        ServerKind::Process => {
            let servers = PathNode::servers(&one.path);
            Some(by_threads(one, servers.last()?, observation))
        }
        ServerKind::Target => Some(Exemption::new(
            Exempt::No,
            ExemptBasis::Predicted,
            format!("the kernel gives the workers of {name} no exemption"),
        )),
        ServerKind::LoopDevice => Some(Exemption::new(
            Exempt::Yes,
            ExemptBasis::Predicted,
            "the kernel exempts the workers of loop devices",
        )),
    }
}

fn of_nfsd(
    one: &Loop,
    inputs: &DeviceInputs<'_>,
    end: &ServerEnd,
    writes: ExemptWrites,
) -> Exemption {
    let flag = flag(inputs.observation);
    let seen = |words| format!("nfsd served {words}");
    let observed = |state, words| Exemption::new(state, ExemptBasis::Observed, seen(words));
    match writes.state() {
        Some(Exempt::Yes) => observed(Exempt::Yes, format!("its last WRITEs with {flag}")),
        Some(Exempt::No) => observed(Exempt::No, format!("its last WRITEs without {flag}")),
        Some(state) => observed(
            state,
            format!("some of its last WRITEs with {flag} and others without"),
        ),
        None => predict(one, inputs, end),
    }
}

/// Predicts by the kernel's rule.
fn predict(one: &Loop, inputs: &DeviceInputs<'_>, end: &ServerEnd) -> Exemption {
    let predicted = |state, words: &str| Exemption::new(state, ExemptBasis::Predicted, words);
    let remote = risk::exports_nfs(one, inputs.observation);
    if remote && risk::version(&inputs.observation.kernel).is_some_and(|v| v >= (5, 11)) {
        return predicted(
            Exempt::No,
            "it exports an NFS mount, for which nfsd has no exemption since Linux 5.11",
        );
    }
    let by_scope = match one.scope {
        Scope::SameNetns => Some(true),
        Scope::CrossNetns => Some(false),
        Scope::None | Scope::Unknown => None,
    };
    match end.client_is_local.or(by_scope) {
        Some(true) => predicted(
            Exempt::Yes,
            "the client's address is one of the server's own network namespace",
        ),
        Some(false) => predicted(
            Exempt::No,
            "the client's address is not one of the server's own network namespace",
        ),
        None => Exemption::unknown(
            "no WRITE was seen, and the client's address is not known as the server sees it",
        ),
    }
}

/// Each thread of a process has the flag or lacks it.
fn by_threads(one: &Loop, server: &ServerRef, observation: &Observation) -> Exemption {
    let flag = flag(observation);
    let ExemptCount { with, without } = threads(one, server, observation);
    let (server, all) = (&server.name, with.saturating_add(without));
    let observed = |state, words| Exemption::new(state, ExemptBasis::Observed, words);
    match (with, without) {
        (0, 0) => Exemption::unknown(format!("the threads of {server} could not be read")),
        (_, 0) => observed(Exempt::Yes, format!("the threads of {server} have {flag}")),
        (0, _) => observed(
            Exempt::No,
            format!("the threads of {server} do not have {flag}"),
        ),
        _ => observed(
            Exempt::Partly,
            format!("{without} of {all} threads of {server} do not have {flag}"),
        ),
    }
}

/// The threads of the loop's server: of all processes of its name in its network namespace, as far
/// as known.
fn threads(one: &Loop, server: &ServerRef, observation: &Observation) -> ExemptCount {
    // Several processes of one NFS server are its threads.
    let is_nfs = one.client_kind == ClientKind::Nfs && server.name == one.server;
    if !is_nfs {
        let mut servers = observation.user_servers.iter();
        let found = servers.find(|process| Some(process.tgid) == server.tgid);
        return found
            .and_then(|found| found.exempt_threads)
            .unwrap_or_default();
    }
    let netns = |tgid| {
        let mut processes = observation.topology.server_processes.iter();
        processes.find(|process| process.tgid == tgid)?.netns
    };
    let is_ours = |tgid| match (one.server_netns, netns(tgid)) {
        (Some(ours), Some(netns)) => ours == netns,
        _ => true,
    };
    let servers = observation.user_servers.iter();
    let ours = servers.filter(|server| server.name == one.server && is_ours(server.tgid));
    ours.filter_map(|server| server.exempt_threads)
        .fold(ExemptCount::default(), |sum, one| ExemptCount {
            with: sum.with.saturating_add(one.with),
            without: sum.without.saturating_add(one.without),
        })
}

/// The name of the flag on this kernel.
pub(super) fn flag(observation: &Observation) -> &'static str {
    if risk::is_before(observation, (5, 8)) {
        "PF_LESS_THROTTLE"
    } else {
        "PF_LOCAL_THROTTLE"
    }
}
