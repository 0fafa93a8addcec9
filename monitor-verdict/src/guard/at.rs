//! The facts about a loop on its node that the guard decides by.

use compact_str::CompactString;
use monitor_model::{
    guard::{Action, DesiredState, Hold, Mode},
    loops::{Loop, Proof},
    observation::{Bdi, ClientKind, Observation},
    verdict::Verdict,
};

use super::{Standing, to_break};
use crate::mitigation::{PREVENT_RATIO, Target, is_held, strict_server};

/// A loop on its node.
pub(super) struct At<'a> {
    pub(super) node: &'a Observation,
    pub(super) found: &'a Loop,
    pub(super) now: u64,
}

impl At<'_> {
    pub(super) fn bdi(&self) -> Option<&Bdi> {
        self.node
            .bdis
            .iter()
            .find(|bdi| bdi.bdi == self.found.client_bdi)
    }

    pub(super) fn place(&self) -> Target {
        Target::of(self.found, self.node)
    }

    /// Since Linux 6.2.
    pub(super) fn offers_strict_limit(&self) -> Option<bool> {
        self.bdi().map(|bdi| bdi.strict_limit.is_some())
    }

    pub(super) fn is_proven(&self) -> bool {
        self.found.proof >= Proof::Socket
    }

    /// Whether the BDI is held already, by this guard or by an administrator.
    pub(super) fn is_held(&self) -> bool {
        self.bdi().is_some_and(is_held)
    }

    /// An exempt server, and one that writes past the page cache, continues beyond the limit, so its
    /// loop is not at risk. That limits of the client prevent a livelock was measured for NFS only.
    pub(super) fn is_in_danger(&self) -> bool {
        let is_nfs = self.found.client_kind == ClientKind::Nfs;
        is_nfs && !self.found.exempt.is_exempt() && !self.found.direct
    }

    pub(super) fn want(&self, standing: &Standing, mode: Mode, wanted: &mut DesiredState) {
        if !mode.acts() {
            return;
        }
        let action = match (&standing.broken, standing.prevented) {
            (Some(broken), _) => broken.action,
            (None, true) => Action::Prevent,
            (None, false) => return,
        };
        let (id, client) = (self.found.id.clone(), self.found.client_bdi.clone());
        wanted.holds.push(if let Some(broken) = &standing.broken {
            wanted.ease.push((id.clone(), action));
            let strict = self.offers_strict_limit() == Some(true);
            to_break(id, action, client, strict, broken.server.clone())
        } else {
            Hold {
                loop_id: id,
                action,
                bdi: client,
                strict_limit: true,
                max_ratio: Some(PREVENT_RATIO),
                background_bytes: None,
            }
        });
    }

    /// The BDI that the server writes to, if the kernel can limit it strictly.
    pub(super) fn strict_server(&self, verdict: &Verdict) -> Option<CompactString> {
        let name = self.found.server_bdi.as_ref();
        strict_server(name.or(verdict.server_bdi.as_ref()), self.node).map(Into::into)
    }
}
