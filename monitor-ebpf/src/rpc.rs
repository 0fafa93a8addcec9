//! Who serves whom: the same transaction id (xid) sent by this kernel's RPC
//! client and taken by its NFS server is one call seen at both ends, whatever
//! the addresses, namespaces and NAT between them. include/trace/events/sunrpc.h.
//!
//! `xprt_transmit` fires when the call was handed to the socket, so on one host
//! the server may be the first to tell: whoever comes second makes the match.
//! Xids are 32-bit counters, and two of them may meet by chance. So a match
//! counts only within [`TOGETHER_NS`], and one match proves nothing: the
//! verdict asks for a run of them and for their share of all calls.

use aya_ebpf::{
    EbpfContext, helpers::bpf_probe_read_kernel_str_bytes, macros::tracepoint,
    programs::TracePointContext,
};
use monitor_common::{Call, CallFlag, Cause, Lost, PEER_LEN, RpcTotals, Serving, Taken};

use crate::{
    maps::{
        ALLOC_RETRIES, CALLS, CLIENT_DEVICES, FLAGS, FROM, NFSD_WRITES, NO_EXIST, PEER, PEERS, RPC,
        SERVING, STARTING, TAKEN, lost, offsets,
    },
    memory::field,
    nfs_client,
    task::current_tid,
    wait::{drop_wait, now},
};

/// Between the two ends of one call that count as a proof. A server that is late by
/// more has a queue: then the loop was proven before, or its sockets prove it. Whose
/// call a thread works on is known all the same.
const TOGETHER_NS: u64 = 1_000_000_000;
/// The call of a WRITE begins right after the WRITE, in the same task.
const AT_ONCE_NS: u64 = 10_000_000;
/// Every so many calls that a client has served here, the address that the
/// server sees is read again: it is another one after a reconnection.
const PEER_EVERY: u64 = 64;

/// A client's call was handed to its transport.
#[tracepoint]
pub fn xprt_transmit(ctx: TracePointContext) -> u32 {
    let Some(offsets) = offsets() else { return 0 };
    if field::<i32>(&ctx, offsets.transmit_status).unwrap_or(0) != 0 {
        return 0;
    }
    let (Some(client), Some(xid)) = (
        field::<u32>(&ctx, offsets.transmit_client),
        field::<u32>(&ctx, offsets.transmit_xid),
    ) else {
        return 0;
    };
    let now = now();
    let Some(totals) = totals(client) else {
        return 0;
    };
    totals.calls += 1;
    totals.last_call_ns = now;
    raise(CallFlag::Sends);
    if !is_up(CallFlag::Serves) {
        return 0;
    }
    // SAFETY: the reference is not kept.
    let taken = unsafe { TAKEN.get(xid) }.copied();
    let mut seen = Call::SENT;
    if let Some(taken) = taken
        && now.saturating_sub(taken.since_ns) < TOGETHER_NS
    {
        let _ = TAKEN.remove(xid);
        seen |= Call::SERVED;
        if let Some(serving) = SERVING.get_ptr_mut(taken.tid) {
            // SAFETY: the kernel keeps the memory of an entry that is evicted
            // while a program runs. The thread may begin its next call just
            // now: then that call is not known to be its client's, no more.
            let serving = unsafe { &mut *serving };
            if serving.xid == xid {
                (serving.client, serving.known) = (client, 1);
            }
        }
        matched(client, taken.tid, xid, totals, now);
    }
    let call = Call {
        since_ns: now,
        client,
        seen,
    };
    let _ = CALLS.insert(xid, call, 0);
    0
}

/// A server thread begins to work on a call.
#[tracepoint]
pub fn svc_process(ctx: TracePointContext) -> u32 {
    let Some(offsets) = offsets() else { return 0 };
    let Some(xid) = field::<u32>(&ctx, offsets.process_xid) else {
        return 0;
    };
    let tid = current_tid();
    takes_call(tid);
    raise(CallFlag::Serves);
    if !is_up(CallFlag::Sends) {
        return 0;
    }
    let now = now();
    if is_up(CallFlag::PeerWanted) {
        came_from(&ctx, xid, tid);
    }
    let client = sent(xid, tid, now);
    let serving = Serving {
        xid,
        client: client.unwrap_or(0),
        known: u32::from(client.is_some()),
        zero: 0,
    };
    match SERVING.get_ptr_mut(tid) {
        // In place: a new entry for each call would cost more than all the rest.
        // SAFETY: only this task begins its calls.
        Some(known) => unsafe { *known = serving },
        None => {
            let _ = SERVING.insert(tid, serving, 0);
        }
    }
    0
}

/// A thread takes its next call, so what it was in before is over. A WRITE that fails on
/// its stateid ends without `nfsd_write_done` (`nfsd4_write`), and nothing else reports
/// that a wait for pages has ended.
#[inline(always)]
fn takes_call(tid: u32) {
    // SAFETY: the references are not kept.
    let (in_write, retried) = unsafe {
        (
            NFSD_WRITES.get(tid).is_some(),
            ALLOC_RETRIES.get(tid).is_some(),
        )
    };
    if in_write {
        let _ = NFSD_WRITES.remove(tid);
    }
    if retried {
        let _ = ALLOC_RETRIES.remove(tid);
        drop_wait(Cause::SvcAllocArg);
    }
}

/// Who was seen to send a call that the server takes. Where nobody was, its sender
/// may be seen in a moment; most likely it is another host.
#[inline(always)]
fn sent(xid: u32, tid: u32, now: u64) -> Option<u32> {
    if let Some(call) = CALLS.get_ptr_mut(xid) {
        // SAFETY: the kernel keeps the memory of an entry that is evicted
        // while a program runs; a race costs a match, no more.
        let call = unsafe { &mut *call };
        let soon = now.saturating_sub(call.since_ns) < TOGETHER_NS;
        let first = call.seen == Call::SENT;
        // One that was not taken yet waits as long as the server lets it; one that
        // was may be taken up once more (`svc_revisit`), and soon.
        if first || soon {
            call.seen = Call::SENT | Call::SERVED;
            if first
                && soon
                && let Some(totals) = totals(call.client)
            {
                matched(call.client, tid, xid, totals, now);
            }
            return Some(call.client);
        }
    }
    let taken = Taken {
        since_ns: now,
        tid,
        zero: 0,
    };
    let _ = TAKEN.insert(xid, taken, 0);
    None
}

/// Both ends of a call were seen.
#[inline(always)]
fn matched(client: u32, tid: u32, xid: u32, totals: &mut RpcTotals, now: u64) {
    let first = totals.served_here % PEER_EVERY == 0;
    totals.served_here += 1;
    totals.last_served_ns = now;
    // SAFETY: the references are not kept.
    unsafe {
        if !first && PEERS.get(client).is_some() {
            return;
        }
        match FROM.get(tid) {
            Some(from) if from.xid == xid => {
                let _ = PEERS.insert(client, &from.text, 0);
                let _ = FLAGS.set(CallFlag::PeerWanted as u32, 0, 0);
            }
            // From now on the server's threads tell.
            _ => raise(CallFlag::PeerWanted),
        }
    }
}

/// The call that this thread works on or did last; `None`: none was seen.
#[inline(always)]
pub fn serving() -> Option<Serving> {
    // SAFETY: the value is copied.
    unsafe { SERVING.get(current_tid()) }.copied()
}

/// Remembers where a call came from: the server's side may be the first to
/// see it, and does not know yet whose it is.
#[inline(always)]
fn came_from(ctx: &TracePointContext, xid: u32, tid: u32) {
    // `__data_loc`: the lower half is where in the record the string is.
    let Some(at) = offsets().and_then(|o| field::<u32>(ctx, o.process_addr)) else {
        return;
    };
    let Some(peer) = PEER.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: the value of a per-CPU array, only used on this CPU; the record
    // is read through the fault-tolerant helper.
    unsafe {
        (*peer).xid = xid;
        (*peer).text = [0; PEER_LEN];
        let text = ctx.as_ptr().cast::<u8>().add((at & 0xffff) as usize);
        if bpf_probe_read_kernel_str_bytes(text, &mut (*peer).text).is_ok() {
            let _ = FROM.insert(tid, &*peer, 0);
        }
    }
}

/// An RPC task begins. When a WRITE was begun in the same task just now, it is
/// the WRITE's, and tells whose calls are whose mount's.
#[tracepoint]
pub fn rpc_task_begin(ctx: TracePointContext) -> u32 {
    let tid = current_tid();
    // SAFETY: only this task writes its key.
    let Some(&starting) = (unsafe { STARTING.get(tid) }) else {
        return 0;
    };
    let _ = STARTING.remove(tid);
    if now().saturating_sub(starting.since_ns) > AT_ONCE_NS {
        return 0;
    }
    let Some(client) = offsets().and_then(|o| field::<u32>(&ctx, o.task_begin_client)) else {
        return 0;
    };
    if let Some(totals) = nfs_client::totals(Some(starting.dev)) {
        totals.writes_by_rpc += 1;
    }
    // SAFETY: the reference is not kept.
    if unsafe { CLIENT_DEVICES.get(client) } != Some(&starting.dev) {
        let _ = CLIENT_DEVICES.insert(client, starting.dev, 0);
    }
    0
}

/// What is counted of an RPC client.
#[inline(always)]
pub fn totals(client: u32) -> Option<&'static mut RpcTotals> {
    let totals = match RPC.get_ptr_mut(client) {
        Some(totals) => totals,
        None => {
            let _ = RPC.insert(client, RpcTotals::default(), NO_EXIST);
            match RPC.get_ptr_mut(client) {
                Some(totals) => totals,
                None => {
                    lost(Lost::MapFull);
                    return None;
                }
            }
        }
    };
    // SAFETY: the value of a per-CPU map, only written on this CPU.
    Some(unsafe { &mut *totals })
}

/// A node that only serves, or only mounts, has no loop: its calls need not be
/// kept. The daemon raises [`CallFlag::Serves`] where the server has threads: a client
/// sends many calls before the first thread takes one.
#[inline(always)]
fn is_up(flag: CallFlag) -> bool {
    FLAGS.get(flag as u32) == Some(&1)
}

#[inline(always)]
fn raise(flag: CallFlag) {
    if !is_up(flag) {
        let _ = FLAGS.set(flag as u32, 1, 0);
    }
}
