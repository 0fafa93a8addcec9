//! Waits for a congested backing device, by the functions themselves while
//! they last and by tracepoint when they are over.
//!
//! `congestion_wait` and `wait_iff_congested` (up to 5.15,
//! mm/backing-dev.c) became `reclaim_throttle` (mm/vmscan.c). Their
//! tracepoints fire after the sleep and tell its length; only the function's
//! entry shows a sleep that lasts. The tracepoint also ends what the entry
//! began, because a kretprobe misses returns when more tasks sleep at once than
//! the kernel keeps return probes for.

use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe, tracepoint},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext, TracePointContext},
};
use monitor_common::{Cause, ThrottleReason};

use crate::{
    maps::offsets,
    memory::field,
    wait::{begin, drop_wait, end, finished},
};

const NS_PER_US: u64 = 1_000;

/// A sleep in `congestion_wait` is over.
#[tracepoint]
pub fn congestion_wait_done(ctx: TracePointContext) -> u32 {
    if let Some(us) = offsets().and_then(|o| field::<u32>(&ctx, o.congestion_delayed)) {
        drop_wait(Cause::CongestionWait);
        finished(
            Cause::CongestionWait,
            ThrottleReason::None,
            u64::from(us) * NS_PER_US,
        );
    }
    0
}

/// A call of `wait_iff_congested` is over; without a congested queue it only
/// yielded and the delay is zero.
#[tracepoint]
pub fn wait_iff_congested_done(ctx: TracePointContext) -> u32 {
    if let Some(us) = offsets().and_then(|o| field::<u32>(&ctx, o.iff_congested_delayed)) {
        drop_wait(Cause::WaitIffCongested);
        finished(
            Cause::WaitIffCongested,
            ThrottleReason::None,
            u64::from(us) * NS_PER_US,
        );
    }
    0
}

/// A sleep in `reclaim_throttle` is over.
#[tracepoint]
pub fn reclaim_throttle_done(ctx: TracePointContext) -> u32 {
    let Some(offsets) = offsets() else { return 0 };
    if let Some(us) = field::<u32>(&ctx, offsets.throttled_delayed) {
        let mask = field::<i32>(&ctx, offsets.throttled_reason).unwrap_or(0);
        drop_wait(Cause::ReclaimThrottle);
        finished(
            Cause::ReclaimThrottle,
            ThrottleReason::from_tracepoint(mask),
            u64::from(us) * NS_PER_US,
        );
    }
    0
}

/// Entry and exit of a function in which a task sleeps, each by fentry/fexit
/// and by kprobe/kretprobe. `$end` says what the exit does: `drop_wait` where a
/// tracepoint counts the sleep, `end` where nothing else does.
macro_rules! sleeps_in {
    ($cause:expr, $function:literal, $end:ident, $fentry:ident, $fexit:ident, $kprobe:ident, $kretprobe:ident) => {
        /// The task goes in, by `fentry`.
        #[fentry(function = $function)]
        pub fn $fentry(_ctx: FEntryContext) -> i32 {
            begin($cause, ThrottleReason::None);
            0
        }

        /// The task comes out, by `fexit`.
        #[fexit(function = $function)]
        pub fn $fexit(_ctx: FExitContext) -> i32 {
            $end($cause);
            0
        }

        /// The task goes in, by `kprobe`.
        #[kprobe(function = $function)]
        pub fn $kprobe(_ctx: ProbeContext) -> u32 {
            begin($cause, ThrottleReason::None);
            0
        }

        /// The task comes out, by `kretprobe`.
        #[kretprobe(function = $function)]
        pub fn $kretprobe(_ctx: RetProbeContext) -> u32 {
            $end($cause);
            0
        }
    };
}

sleeps_in!(
    Cause::CongestionWait,
    "congestion_wait",
    drop_wait,
    congestion_wait_fentry,
    congestion_wait_fexit,
    congestion_wait_kprobe,
    congestion_wait_kretprobe
);
sleeps_in!(
    Cause::WaitIffCongested,
    "wait_iff_congested",
    drop_wait,
    wait_iff_congested_fentry,
    wait_iff_congested_fexit,
    wait_iff_congested_kprobe,
    wait_iff_congested_kretprobe
);
sleeps_in!(
    Cause::ReclaimThrottle,
    "reclaim_throttle",
    drop_wait,
    reclaim_throttle_fentry,
    reclaim_throttle_fexit,
    reclaim_throttle_kprobe,
    reclaim_throttle_kretprobe
);
sleeps_in!(
    Cause::ThrottleDirectReclaim,
    "throttle_direct_reclaim",
    end,
    throttle_direct_reclaim_fentry,
    throttle_direct_reclaim_fexit,
    throttle_direct_reclaim_kprobe,
    throttle_direct_reclaim_kretprobe
);
