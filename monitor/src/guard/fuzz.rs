//! Hostile input: the state file, and the daemon's messages to its helper.

use std::path::Path;

use super::{
    desired, journal,
    message::{HelperMessage, MAX_MESSAGE},
};

/// The state file: it reads back as the same, and no BDI in it leads to another path.
pub fn state(data: &[u8]) {
    let path = Path::new("guard.json");
    let Ok(entries) = journal::entries(data, "one", path) else {
        return;
    };
    let text = journal::document("one", &entries);
    assert_eq!(journal::entries(&text, "one", path).ok(), Some(entries));
    assert_eq!(
        journal::entries(&text, "two", path).ok().as_deref(),
        Some(&[][..])
    );
}

/// The desired state: each setting at most once, within the kernel's bounds.
pub fn wanted(data: &[u8]) {
    let data = data.get(..MAX_MESSAGE).unwrap_or(data);
    if let Ok(HelperMessage { wanted, .. }) = serde_json::from_slice(data) {
        desired::check(&wanted);
    }
}
