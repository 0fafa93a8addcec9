//! Reclaim and compaction that a task does itself: begin and end.
//!
//! No field is read, so the BTF tracepoint does (it skips the copy of the
//! record), and the plain one where it is refused.

use aya_ebpf::{
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};
use monitor_common::{Cause, ThrottleReason};

use crate::wait::{begin, end};

macro_rules! begin_and_end {
    ($cause:expr, $begin:literal, $end:literal, $btf_begin:ident, $btf_end:ident, $tp_begin:ident, $tp_end:ident) => {
        /// It begins, by BTF tracepoint.
        #[btf_tracepoint(function = $begin)]
        pub fn $btf_begin(_ctx: BtfTracePointContext) -> i32 {
            begin($cause, ThrottleReason::None);
            0
        }

        /// It ends, by BTF tracepoint.
        #[btf_tracepoint(function = $end)]
        pub fn $btf_end(_ctx: BtfTracePointContext) -> i32 {
            end($cause);
            0
        }

        /// It begins, by tracepoint.
        #[tracepoint]
        pub fn $tp_begin(_ctx: TracePointContext) -> u32 {
            begin($cause, ThrottleReason::None);
            0
        }

        /// It ends, by tracepoint.
        #[tracepoint]
        pub fn $tp_end(_ctx: TracePointContext) -> u32 {
            end($cause);
            0
        }
    };
}

begin_and_end!(
    Cause::DirectReclaim,
    "mm_vmscan_direct_reclaim_begin",
    "mm_vmscan_direct_reclaim_end",
    direct_reclaim_btf_begin,
    direct_reclaim_btf_end,
    direct_reclaim_begin,
    direct_reclaim_end
);
begin_and_end!(
    Cause::MemcgReclaim,
    "mm_vmscan_memcg_reclaim_begin",
    "mm_vmscan_memcg_reclaim_end",
    memcg_reclaim_btf_begin,
    memcg_reclaim_btf_end,
    memcg_reclaim_begin,
    memcg_reclaim_end
);
begin_and_end!(
    Cause::Compaction,
    "mm_compaction_begin",
    "mm_compaction_end",
    compaction_btf_begin,
    compaction_btf_end,
    compaction_begin,
    compaction_end
);
