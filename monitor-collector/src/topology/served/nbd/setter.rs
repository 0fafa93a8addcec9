//! Whether the process that sysfs shows set the device up.
//!
//! Before 5.17 the kernel keeps a pointer to that task, not its id (`task_recv`,
//! `drivers/block/nbd.c`). The task may have ended, and its memory may be another one's: then sysfs
//! shows the id of a process that has nothing to do with the device, and that started later. These
//! kernels start a thread `knbd0-recv` whenever `/dev/nbd0` is set up (`nbd_start_device`), so it
//! tells when that was. Later kernels keep the id, and have a thread `nbd0-recv` for each device.

use std::collections::BTreeMap;

use compact_str::CompactString;

use crate::topology::fds::comm;
use crate::topology::identity::Identity;
use crate::topology::namespaces::Namespaces;

/// The driver's threads.
#[derive(Clone, Debug, Default)]
pub struct Threads {
    /// When each device was set up, by name, in clock ticks since the boot.
    set_up: BTreeMap<CompactString, u64>,
    /// Whether the kernel keeps the id.
    keeps_id: bool,
}

impl Threads {
    /// Reads the names of all processes. `connected` are the devices that are set up.
    pub fn read(spaces: &Namespaces, connected: &[CompactString]) -> Self {
        let mut threads = Self::default();
        for &pid in spaces.nets.values().flatten() {
            let name = comm(&spaces.process(pid)).unwrap_or_default();
            // "kworker/R-nbd0-" since 6.9 (`init_rescuer`, kernel/workqueue.c).
            let name = name.strip_prefix("kworker/R-").unwrap_or(&name);
            let (is_old, rest) = match name.strip_prefix('k') {
                Some(rest) => (true, rest),
                None => (false, name),
            };
            let Some((device, _)) = rest.split_once('-') else {
                continue;
            };
            if !device.starts_with("nbd") {
                continue;
            }
            let Some(thread) = Identity::read(spaces, pid).filter(|thread| thread.of_kernel) else {
                continue;
            };
            if is_old {
                threads.set_up.insert(device.into(), thread.started);
            } else {
                threads.keeps_id = true;
            }
        }
        // Of a kernel that starts it with the driver, it tells nothing.
        if threads.set_up.keys().any(|name| !connected.contains(name)) {
            threads.set_up.clear();
        }
        threads
    }

    /// Whether a process set a device up; `None`: unknown.
    pub fn is_setter(&self, device: &str, process: &Identity) -> Option<bool> {
        if self.keeps_id {
            return Some(true);
        }
        let set_up = *self.set_up.get(device)?;
        (process.started != set_up).then_some(process.started < set_up)
    }
}
