//! A reload of the configuration, on its way to the tick thread.

use std::sync::mpsc::SyncSender;

use monitor_model::api::ConfigStatus;
use monitor_verdict::{Thresholds, guard::Policy};

use crate::guard::Link;

/// The settings that change without a restart; `None`: unchanged.
#[derive(Debug, Default)]
pub struct Settings {
    /// The thresholds of the verdict, checked.
    pub thresholds: Option<Thresholds>,
    /// Names of userspace NFS servers.
    pub server_names: Option<Vec<String>>,
    /// The settings of the guard.
    pub guard: Option<Policy>,
    /// The link to the guard's helper, if the guard gets its first one.
    pub link: Option<Link>,
}

/// The outcome of a reload.
#[derive(Debug)]
pub struct Reload {
    /// The new settings; `None`: the file is bad, and nothing changes.
    pub settings: Option<Settings>,
    /// The state to publish.
    pub status: ConfigStatus,
    /// Receives once the tick with the new settings is published.
    pub published: SyncSender<()>,
}
