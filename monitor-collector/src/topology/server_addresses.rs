//! The addresses under which other nodes reach the NFS servers of this one.

use std::collections::BTreeSet;

use monitor_model::observation::ServerAddress;

use super::round::{Round, addresses};

/// Maximum number of addresses, over all namespaces.
const MAX_ADDRESSES: usize = 64;

/// Reads those of the network namespaces in which nfsd has exports, and of those in which a server's
/// process was met.
pub fn read(round: &mut Round<'_>, met: &BTreeSet<u64>) -> Vec<ServerAddress> {
    let mut found = Vec::new();
    for netns in &round.exporting | met {
        let own = addresses(round, netns);
        let own = own
            .reachable()
            .map(|address| ServerAddress { address, netns });
        found.extend(own.take(MAX_ADDRESSES + 1));
        if found.len() > MAX_ADDRESSES {
            found.truncate(MAX_ADDRESSES);
            round.warnings.note(&format_args!(
                "Only {MAX_ADDRESSES} addresses of this node's NFS servers are read: a loop across nodes over another one is not found."
            ));
            break;
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}
