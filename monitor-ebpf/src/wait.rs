//! A wait: kept while it lasts, counted when it ends.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use monitor_common::{
    Cause, HIST_BUCKETS, HistKey, Lost, Stall, TaskTotals, ThrottleReason, Wait, WaitKey,
};

use crate::{
    maps::{BOUNDS_NS, DELAYS, NO_DELAYS, NO_EXIST, STALLS, TASKS, THRESHOLD_NS, WAITS, lost},
    task::{Task, current_tid},
};

/// Keeps a wait that begins now.
#[inline(always)]
pub fn begin(cause: Cause, reason: ThrottleReason) {
    let task = Task::current();
    keep(&task, cause, reason, 0, now(), 0);
}

/// Keeps a wait, or brings a kept one up to date.
#[inline(always)]
pub fn keep(
    task: &Task,
    cause: Cause,
    reason: ThrottleReason,
    bdi: u64,
    since_ns: u64,
    until_ns: u64,
) {
    let wait = Wait {
        since_ns,
        until_ns,
        bdi,
        tgid: task.tgid,
        class: task.class as u8,
        reason: reason as u8,
        level: 0,
        zero: 0,
        comm: task.comm,
    };
    let key = WaitKey {
        tid: task.tid,
        cause: cause as u32,
    };
    if WAITS.insert(key, wait, 0).is_err() {
        lost(Lost::MapFull);
    }
}

/// Takes a wait that ended, without counting it.
#[inline(always)]
pub fn drop_wait(cause: Cause) {
    let _ = WAITS.remove(WaitKey {
        tid: current_tid(),
        cause: cause as u32,
    });
}

/// Takes a wait that ended now and counts it everywhere.
#[inline(always)]
pub fn end(cause: Cause) {
    end_if_longer(cause, 0);
}

/// The same of what is a wait only if it was not shorter than this.
#[inline(always)]
pub fn end_if_longer(cause: Cause, least_ns: u64) {
    let key = WaitKey {
        tid: current_tid(),
        cause: cause as u32,
    };
    // SAFETY: only this task writes its key, so the value stays while it is read.
    let Some(&wait) = (unsafe { WAITS.get(key) }) else {
        return;
    };
    let _ = WAITS.remove(key);
    let delay_ns = now().saturating_sub(wait.since_ns);
    if delay_ns < least_ns {
        return;
    }
    count(cause, wait.class, wait.reason, wait.bdi, delay_ns);
    total(key.tid, cause, &wait, delay_ns);
    report(key.tid, cause, &wait, delay_ns);
}

/// Counts a wait of which the kernel tells the length only when it is over.
#[inline(always)]
pub fn finished(cause: Cause, reason: ThrottleReason, delay_ns: u64) {
    let task = Task::current();
    let wait = Wait {
        since_ns: now().saturating_sub(delay_ns),
        until_ns: 0,
        bdi: 0,
        tgid: task.tgid,
        class: task.class as u8,
        reason: reason as u8,
        level: 0,
        zero: 0,
        comm: task.comm,
    };
    count(cause, wait.class, wait.reason, 0, delay_ns);
    total(task.tid, cause, &wait, delay_ns);
    report(task.tid, cause, &wait, delay_ns);
}

/// Adds to the histogram.
#[inline(always)]
pub fn count(cause: Cause, class: u8, reason: u8, bdi: u64, delay_ns: u64) {
    let key = HistKey {
        bdi,
        cause: cause as u8,
        class,
        reason,
        zero: [0; 5],
    };
    let value = match DELAYS.get_ptr_mut(key) {
        Some(value) => value,
        None => {
            let Some(zeros) = NO_DELAYS.get(0) else {
                return;
            };
            let _ = DELAYS.insert(key, zeros, NO_EXIST);
            match DELAYS.get_ptr_mut(key) {
                Some(value) => value,
                None => return lost(Lost::MapFull),
            }
        }
    };
    // SAFETY: the value of a per-CPU map, only written on this CPU; it lives as
    // long as the program runs (the map frees elements after a grace period).
    unsafe {
        (*value).sum_ns += delay_ns;
        (*value).buckets[bucket(delay_ns)] += 1;
    }
}

/// Which bucket of a histogram a wait belongs to.
#[inline(always)]
pub fn bucket(delay_ns: u64) -> usize {
    let mut bucket = 0;
    // By halves: few instructions.
    for half in [8, 4, 2, 1] {
        let bound = &raw const BOUNDS_NS[(bucket + half - 1) & (HIST_BUCKETS - 1)];
        // SAFETY: of a static. Volatile: the daemon writes it when it loads the programs.
        if delay_ns > unsafe { bound.read_volatile() } {
            bucket += half;
        }
    }
    bucket & (HIST_BUCKETS - 1)
}

/// Adds to the task's totals.
#[inline(always)]
pub fn total(tid: u32, cause: Cause, wait: &Wait, delay_ns: u64) {
    let key = WaitKey {
        tid,
        cause: cause as u32,
    };
    let now = now();
    if let Some(totals) = TASKS.get_ptr_mut(key) {
        // SAFETY: only the task itself writes its own totals.
        unsafe {
            if (*totals).tgid == wait.tgid {
                (*totals).delay_ns += delay_ns;
                (*totals).waits += 1;
                (*totals).bdi = wait.bdi;
                (*totals).last_ns = now;
                (*totals).comm = wait.comm;
                (*totals).class = wait.class;
                return;
            }
        }
    }
    let totals = TaskTotals {
        delay_ns,
        waits: 1,
        bdi: wait.bdi,
        last_ns: now,
        tgid: wait.tgid,
        class: wait.class,
        comm: wait.comm,
        ..TaskTotals::default()
    };
    if TASKS.insert(key, totals, 0).is_err() {
        lost(Lost::MapFull);
    }
}

/// Whether a wait leaves a record.
#[inline(always)]
pub fn is_long(delay_ns: u64) -> bool {
    delay_ns >= THRESHOLD_NS.load()
}

/// Leaves a record if the wait was long enough.
#[inline(always)]
pub fn report(tid: u32, cause: Cause, wait: &Wait, delay_ns: u64) {
    if !is_long(delay_ns) {
        return;
    }
    let Some(mut record) = STALLS.reserve::<Stall>(0) else {
        return lost(Lost::RingBuf);
    };
    record.write(Stall {
        since_ns: wait.since_ns,
        delay_ns,
        bdi: wait.bdi,
        tid,
        tgid: wait.tgid,
        cause: cause as u8,
        class: wait.class,
        reason: wait.reason,
        zero: [0; 5],
        comm: wait.comm,
    });
    // BPF_RB_NO_WAKEUP: the daemon reads at its tick; a wakeup per record
    // would cost the stalled task and gain nothing.
    record.submit(1);
}

/// `CLOCK_MONOTONIC`, nanoseconds.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: the helper takes nothing and always answers.
    unsafe { bpf_ktime_get_ns() }
}
