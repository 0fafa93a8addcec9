//! What the judgement of one loop needs of all of them, gathered once a tick.

use compact_str::CompactString;

use crate::window::Window;
use crate::window::confidence::MissingInput;

/// All loops.
#[derive(Clone, Debug, Default)]
pub struct AllLoops {
    /// Their number.
    pub count: usize,
    /// The RPC clients of their mounts, sorted.
    pub rpc_clients: Vec<u32>,
    /// The pages that only their client devices can clean. Unknown ones are left out, which only
    /// makes the sum smaller.
    pub pages: f64,
    /// The inputs that these lack.
    pub gaps: Vec<MissingInput>,
}

impl AllLoops {
    /// Gathers it from each loop's client device and RPC clients.
    pub fn of<'a>(
        loops: impl Iterator<Item = (&'a CompactString, &'a [u32])>,
        window: &Window,
    ) -> Self {
        let mut all = Self::default();
        let mut bdis = Vec::new();
        for (bdi, clients) in loops {
            all.count += 1;
            all.rpc_clients.extend(clients);
            bdis.push(bdi);
        }
        all.rpc_clients.sort_unstable();
        bdis.sort_unstable();
        bdis.dedup();
        let newest = window.newest();
        let clients = bdis.into_iter().filter_map(|bdi| newest?.client(bdi));
        for client in clients {
            let (pages, gap) = window.pages_of(client);
            all.pages += pages.unwrap_or(0.0);
            all.gaps.extend(gap);
        }
        all
    }
}
