//! nfsd's WRITE operations (fs/nfsd/trace.h) and its waits for request pages
//! (`svc_alloc_arg`, net/sunrpc/svc_xprt.c).

use aya_ebpf::{
    macros::{kprobe, tracepoint},
    programs::{ProbeContext, TracePointContext},
};
use monitor_common::{Cause, Class, Lost, NfsdTotals, NfsdWrite, Wait, WaitKey};

use crate::{
    maps::{ALLOC_RETRIES, NFSD, NFSD_WRITES, SVC_ALLOC_ARG_RETRIES, WAITS, lost, offsets},
    memory::field,
    rpc::{self, serving},
    task::{Task, current_tid, is_exempt},
    wait::{count, now, total},
};

/// A retry later than this after the one before belongs to another wait. The sleep
/// between them is one jiffy from 5.17 on, 500 ms before.
const SAME_WAIT_NS: u64 = 700_000_000;
/// How long a sleep is expected to last whose length is not known yet: one jiffy, the
/// longest that any kernel has.
const JIFFY_NS: u64 = 10_000_000;
/// What [`svc_alloc_arg_sleep`] looks for.
const HALF_SECOND_NS: u64 = 500_000_000;

/// A thread begins a WRITE.
#[tracepoint]
pub fn nfsd_write_start(ctx: TracePointContext) -> u32 {
    let len: u32 = offsets()
        .and_then(|o| field(&ctx, o.nfsd_write_start_len))
        .unwrap_or(0);
    let write = NfsdWrite {
        since_ns: now(),
        len: u64::from(len),
    };
    if NFSD_WRITES.insert(current_tid(), write, 0).is_err() {
        lost(Lost::MapFull);
    }
    if let Some(totals) = totals() {
        totals.writes_started += 1;
    }
    0
}

/// The file system took a thread's bytes.
#[tracepoint]
pub fn nfsd_write_io_done(ctx: TracePointContext) -> u32 {
    let len: u32 = offsets()
        .and_then(|o| field(&ctx, o.nfsd_write_io_done_len))
        .unwrap_or(0);
    let Some(totals) = totals() else { return 0 };
    totals.bytes_written += u64::from(len);
    match serving() {
        Some(serving) if serving.known != 0 => {
            if let Some(totals) = rpc::totals(serving.client) {
                totals.bytes_written += u64::from(len);
                // It is taken back only after this (`nfsd_vfs_write`, fs/nfsd/vfs.c).
                match is_exempt() {
                    Some(true) => totals.exempt_writes += 1,
                    Some(false) => totals.other_writes += 1,
                    None => {}
                }
            }
        }
        // A call of another host.
        Some(_) => {}
        None => totals.bytes_unattributed += u64::from(len),
    }
    0
}

/// A thread's WRITE is over.
#[tracepoint]
pub fn nfsd_write_done(_ctx: TracePointContext) -> u32 {
    let _ = NFSD_WRITES.remove(current_tid());
    if let Some(totals) = totals() {
        totals.writes_done += 1;
        totals.last_done_ns = now();
    }
    0
}

/// A thread got no pages for its next request and sleeps before it tries again,
/// 5.14 and later. How long, the kernel does not say here.
#[tracepoint]
pub fn svc_alloc_arg_err(_ctx: TracePointContext) -> u32 {
    let task = Task::current();
    // lockd and the NFSv4 callback service have threads that come here, too.
    if matches!(task.class, Class::Nfsd) {
        retry(&task, None);
    }
    0
}

/// The same before 5.14, where no tracepoint tells and the function is inlined:
/// an nfsd thread that sleeps for exactly 500 ms. Nothing else in nfsd does; its
/// other timed sleeps are shorter (`balance_dirty_pages` up to 200 ms,
/// congestion 100 ms) or an hour (idle).
#[kprobe(function = "schedule_timeout")]
pub fn svc_alloc_arg_sleep(ctx: ProbeContext) -> u32 {
    let Some(offsets) = offsets() else { return 0 };
    let Some(timeout) = ctx.arg::<i64>(0) else {
        return 0;
    };
    if offsets.half_second_jiffies < 0 || timeout != i64::from(offsets.half_second_jiffies) {
        return 0;
    }
    let task = Task::current();
    if matches!(task.class, Class::Nfsd) {
        retry(&task, Some(HALF_SECOND_NS));
    }
    0
}

/// Counts a retry of an nfsd thread and the time that it sleeps.
///
/// Where the kernel announces how long it is about to sleep (`sleeps_ns`), that is
/// counted. Elsewhere only the time between two retries is known: it is counted at the
/// second one, and the last sleep of a row is not.
#[inline(always)]
fn retry(task: &Task, sleeps_ns: Option<u64>) {
    if let Some(retries) = SVC_ALLOC_ARG_RETRIES.get_ptr_mut(0) {
        // SAFETY: the value of a per-CPU array, only written on this CPU.
        unsafe { *retries += 1 };
    }
    let now = now();
    // SAFETY: only this task writes its key, and the reference is not kept.
    let before = match unsafe { ALLOC_RETRIES.get(task.tid) } {
        Some(&before) if now.saturating_sub(before) < SAME_WAIT_NS => before,
        _ => 0,
    };
    let _ = ALLOC_RETRIES.insert(task.tid, now, 0);
    let key = WaitKey {
        tid: task.tid,
        cause: Cause::SvcAllocArg as u32,
    };
    let (mut since_ns, mut between_ns) = (now, 0);
    if before != 0 {
        between_ns = now.saturating_sub(before);
        since_ns = before;
        // SAFETY: as above.
        if let Some(&wait) = unsafe { WAITS.get(key) } {
            since_ns = wait.since_ns;
        }
    }
    let (slept_ns, expected_ns) = match sleeps_ns {
        Some(sleeps_ns) => (sleeps_ns, sleeps_ns),
        None if between_ns > JIFFY_NS => (between_ns, between_ns),
        None => (between_ns, JIFFY_NS),
    };
    let wait = Wait {
        since_ns,
        until_ns: now + expected_ns,
        bdi: 0,
        tgid: task.tgid,
        class: task.class as u8,
        reason: 0,
        level: 0,
        zero: 0,
        comm: task.comm,
    };
    if slept_ns > 0 {
        count(Cause::SvcAllocArg, wait.class, 0, 0, slept_ns);
        total(task.tid, Cause::SvcAllocArg, &wait, slept_ns);
    }
    if WAITS.insert(key, wait, 0).is_err() {
        lost(Lost::MapFull);
    }
}

#[inline(always)]
fn totals() -> Option<&'static mut NfsdTotals> {
    // SAFETY: the value of a per-CPU array, only written on this CPU.
    NFSD.get_ptr_mut(0).map(|totals| unsafe { &mut *totals })
}
