//! `balance_dirty_pages`, mm/page-writeback.c.
//!
//! The tracepoint fires before each pause and tells how long the task has been
//! in the call already (`paused`) and how long it is about to sleep (`pause`).
//! So the entry needs no probe of its own: the wait began `paused`
//! milliseconds ago. Only the exit does.
//!
//! A task that pauses has slept before and will sleep again: caches and TLB are cold, and
//! each line of memory that an event touches, of code as of data, costs more than its
//! instructions. So a pause changes two entries, the task's and the device's, and what is
//! needed seldom stands in functions of its own, behind the rest.

use aya_ebpf::{
    EbpfContext,
    helpers::bpf_get_current_pid_tgid,
    macros::{fexit, kretprobe, tracepoint},
    programs::{FExitContext, RetProbeContext, TracePointContext},
};
use aya_log_ebpf::debug;
use monitor_common::{
    BDI_NAME_LEN, BdiId, Cause, Class, DIRTY_SLOTS, DirtyKey, DirtyTotals, KernelConst, Lost,
    TaskTotals, Wait, WaitKey, is_of_node,
};

use crate::{
    maps::{BDI_NAMES, DIRTY, DIRTY_SLOT, FREE_SLOTS, NO_EXIST, TASKS, lost},
    task::{Task, current_tid},
    wait::{bucket, is_long, now, report},
};

const NS_PER_MS: u64 = 1_000_000;
/// `paused` is counted in jiffies, which are up to 10 ms: a wait that began this much later
/// than the one kept is another call.
const SAME_CALL_NS: u64 = 30_000_000;
/// A process may execute another program: for so long its name and class are believed.
const KNOWN_NS: u64 = 1_000_000_000;

/// A pause is about to begin.
#[tracepoint]
pub fn balance_dirty_pages_pause(ctx: TracePointContext) -> u32 {
    pause(&ctx);
    0
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the halves of an id")]
fn pause(ctx: &TracePointContext) {
    let pause_ms = kernel_const(ctx, KernelConst::PausePause, 0) as i64;
    // The kernel announces a pause of zero or less when it lets the task go.
    if pause_ms <= 0 {
        return;
    }
    let name = [0, 1, 2, 3].map(|word| kernel_const(ctx, KernelConst::PauseBdi, word));
    let bdi = BdiId::from_words(name).0;
    let pause_ns = pause_ms as u64 * NS_PER_MS;
    let paused_ns = kernel_const(ctx, KernelConst::PausePaused, 0).wrapping_mul(NS_PER_MS);
    let now = now();
    let since_ns = now.wrapping_sub(paused_ns);

    let id = bpf_get_current_pid_tgid();
    let (tid, tgid) = (id as u32, (id >> 32) as u32);
    let mut found = task(tid);
    match &found {
        Some(task) if task.tgid == tgid && task.bdi == bdi && now < task.known_until_ns => {}
        _ => {
            look(ctx, id, &name);
            found = task(tid);
        }
    }
    let Some(task) = found else { return };
    let earlier_ns = task.since_ns;
    // Where no exit can be probed, the next call of the same task tells that the
    // one before is over; it ended with the last pause announced.
    if earlier_ns != 0 && earlier_ns + SAME_CALL_NS < since_ns {
        over(tid, task, task.until_ns);
    }
    task.delay_ns += pause_ns;
    task.waits += 1;
    task.bdi = bdi;
    task.last_ns = now;
    task.since_ns = since_ns;
    task.until_ns = now + pause_ns;
    let Some(device) = DIRTY.get_ptr_mut(task.slot) else {
        return;
    };
    // SAFETY: the value of a per-CPU map, only written on this CPU.
    count(ctx, unsafe { &mut *device }, now, pause_ns);
}

/// What is kept of a task.
#[inline(always)]
fn task(tid: u32) -> Option<&'static mut TaskTotals> {
    // SAFETY: only the task itself writes its own totals.
    TASKS
        .get_ptr_mut(key(tid))
        .map(|task| unsafe { &mut *task })
}

#[inline(always)]
const fn key(tid: u32) -> WaitKey {
    WaitKey {
        tid,
        cause: Cause::BalanceDirtyPages as u32,
    }
}

/// Reads what the task is, and where its pauses on this device are counted.
#[cold]
#[inline(never)]
#[expect(clippy::cast_possible_truncation, reason = "as above")]
fn look(ctx: &TracePointContext, id: u64, name: &[u64; BDI_NAME_LEN / 8]) {
    let (tid, tgid) = (id as u32, (id >> 32) as u32);
    let Task { class, comm, .. } = Task::current();
    let key = DirtyKey {
        bdi: BdiId::from_words(*name).0,
        class: class as u64,
    };
    let slot = match slot(&key) {
        Some(slot) => slot,
        None => {
            debug!(
                ctx,
                "first pause on BDI {:x} by class {}", key.bdi, key.class
            );
            new_slot(&key, name)
        }
    };
    let known_until_ns = match class {
        // A worker works for another device the next moment.
        Class::Kworker | Class::LoopDevice | Class::Target => 0,
        _ => now() + KNOWN_NS,
    };
    let totals = TaskTotals {
        tgid,
        known_until_ns,
        slot,
        class: class as u8,
        comm,
        ..TaskTotals::default()
    };
    match task(tid) {
        Some(task) if task.tgid == tgid => {
            (task.known_until_ns, task.slot) = (known_until_ns, slot);
            (task.class, task.comm) = (class as u8, comm);
        }
        _ if TASKS.insert(crate::dirty::key(tid), totals, 0).is_err() => lost(Lost::MapFull),
        _ => {}
    }
}

#[inline(always)]
fn slot(key: &DirtyKey) -> Option<u32> {
    // SAFETY: the value is copied.
    unsafe { DIRTY_SLOT.get(key) }.copied()
}

/// Where pauses on a new device are counted; no slot where there is no room.
#[cold]
#[inline(never)]
fn new_slot(key: &DirtyKey, name: &[u64; BDI_NAME_LEN / 8]) -> u32 {
    if BDI_NAMES.insert(key.bdi, name, 0).is_err() {
        lost(Lost::MapFull);
    }
    let Ok(Some(free)) = FREE_SLOTS.pop() else {
        lost(Lost::MapFull);
        return DIRTY_SLOTS;
    };
    if DIRTY_SLOT.insert(key, free, NO_EXIST).is_ok() {
        return free;
    }
    // Another CPU was first.
    let _ = FREE_SLOTS.push(free, 0);
    slot(key).unwrap_or(DIRTY_SLOTS)
}

/// Adds what the kernel said about the node's and the BDI's pages.
#[inline(always)]
fn count(ctx: &TracePointContext, totals: &mut DirtyTotals, now: u64, pause_ns: u64) {
    totals.pause_ns += pause_ns;
    totals.buckets[bucket(pause_ns)] += 1;
    totals.events += 1;
    totals.bdi_dirty += kernel_const(ctx, KernelConst::PauseBdiDirty, 0);
    totals.bdi_setpoint += kernel_const(ctx, KernelConst::PauseBdiSetpoint, 0);
    totals.task_ratelimit += kernel_const(ctx, KernelConst::PauseTaskRatelimit, 0);
    totals.last_ns = now;
    if is_of_node(kernel_const(ctx, KernelConst::PauseCgroup, 0)) {
        let dirty = kernel_const(ctx, KernelConst::PauseDirty, 0);
        let limit = kernel_const(ctx, KernelConst::PauseLimit, 0);
        totals.node_events += 1;
        totals.dirty += dirty;
        totals.limit += limit;
        totals.last_dirty = dirty;
        totals.last_limit = limit;
    }
}

/// A word of the record.
#[inline(always)]
fn kernel_const(ctx: &TracePointContext, what: KernelConst, word: usize) -> u64 {
    let record = ctx.as_ptr().cast::<u8>();
    // Volatile: no load may be made of two, or two of one.
    // SAFETY: the daemon loads this program with the offsets of this kernel's record.
    unsafe {
        record
            .add(what.placeholder() as usize)
            .cast::<u64>()
            .add(word)
            .read_volatile()
    }
}

/// The call is over, by `fexit`.
#[fexit(function = "balance_dirty_pages")]
pub fn balance_dirty_pages_fexit(_ctx: FExitContext) -> i32 {
    exit();
    0
}

/// The call is over, by `kretprobe`.
#[kretprobe(function = "balance_dirty_pages")]
pub fn balance_dirty_pages_kretprobe(_ctx: RetProbeContext) -> u32 {
    exit();
    0
}

/// Most calls end without a pause and pay one look-up.
#[inline(always)]
fn exit() {
    let tid = current_tid();
    let Some(task) = task(tid) else { return };
    if task.since_ns != 0 {
        over(tid, task, now());
        task.since_ns = 0;
    }
}

/// A call of a task is over since then.
#[inline(always)]
fn over(tid: u32, task: &TaskTotals, until_ns: u64) {
    let delay_ns = until_ns.saturating_sub(task.since_ns);
    if is_long(delay_ns) {
        was_long(tid, task, delay_ns);
    }
}

#[cold]
#[inline(never)]
fn was_long(tid: u32, task: &TaskTotals, delay_ns: u64) {
    let wait = Wait {
        since_ns: task.since_ns,
        bdi: task.bdi,
        tgid: task.tgid,
        class: task.class,
        comm: task.comm,
        ..Wait::default()
    };
    report(tid, Cause::BalanceDirtyPages, &wait, delay_ns);
}
