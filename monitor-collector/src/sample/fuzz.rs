//! Hostile input: what the kernel tells at a tick.

#![allow(
    clippy::missing_panics_doc,
    reason = "a panic is how a target says that it found something"
)]

use monitor_model::observation::{Bdi, Memory};

use super::congestion::rules;
use super::stacks::MAX_FRAMES;
use super::{bdis, memory, threads};
use crate::fuzz_input::{parts, text};

/// A BDI's stats in debugfs, `vmstat`, `nfs_congestion_kb`: and what the rules of
/// congestion make of such numbers.
pub fn bdi_stats(data: &[u8]) {
    let text = text(data);
    let [stats, vmstat, kb] = parts(&text);
    let mut bdi = Bdi::default();
    bdis::parse_stats(stats, &mut bdi);
    let mut node = Memory {
        page_size: 4096,
        ..Memory::default()
    };
    memory::vmstat(vmstat, &mut node);
    for was in [false, true] {
        let nfs = rules::nfs(&bdi, kb.trim_end().parse().ok(), node.page_size, was);
        assert!(nfs.is_none() || bdi.writeback_bytes.is_some());
        let dirty = rules::dirty(&bdi, &node, was);
        assert!(dirty.is_none() || bdi.dirty_bytes.is_some());
    }
}

/// `vmstat` and `meminfo`: a line that is not there gives no number.
pub fn memory(data: &[u8]) {
    let text = text(data);
    let mut node = Memory {
        page_size: 4096,
        ..Memory::default()
    };
    memory::vmstat(&text, &mut node);
    memory::meminfo(&text, &mut node);
    let named = [
        ("nr_dirty ", node.dirty_bytes),
        ("nr_writeback ", node.writeback_bytes),
        ("nr_dirty_threshold ", node.dirty_limit_bytes),
        (
            "nr_dirty_background_threshold ",
            node.background_limit_bytes,
        ),
        ("oom_kill ", node.oom_kills),
        ("MemTotal:", node.total_bytes),
        ("MemAvailable:", node.available_bytes),
    ];
    for (name, value) in named {
        assert!(value.is_none() || text.contains(name), "{name} {value:?}");
    }
}

/// A kernel stack: the functions are in it, in this order, and no trampoline is.
pub fn stacks(data: &[u8]) {
    let text = text(data);
    let mut rest = &*text;
    for function in threads::frames(&text).take(MAX_FRAMES) {
        assert!(!function.starts_with("bpf_trampoline_") && !function.contains('\n'));
        let Some((_, after)) = rest.split_once(function) else {
            panic!("{function} is not in what follows");
        };
        rest = after;
        threads::is_lock(function);
    }
}

/// `stat` and `wchan` of a thread.
pub fn threads(data: &[u8]) {
    let text = text(data);
    let [stat, wchan] = parts(&text);
    if let Some(state) = threads::state(stat) {
        assert!(stat.contains(&format!(") {state}")), "{state:?}");
    }
    threads::is_lock(wchan);
}
