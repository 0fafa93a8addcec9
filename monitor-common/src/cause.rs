//! Why a task waits, and what kind of task it is.

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $value:literal => $word:literal $(, was $old:literal)?;)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$vmeta])* $variant = $value,)+ }

        impl $name {
            /// Every one of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The label value in metrics and JSON.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The one with this number, as it stands in a map key.
            #[must_use]
            pub const fn from_u8(value: u8) -> Option<Self> {
                match value { $($value => Some(Self::$variant),)+ _ => None }
            }

            /// The one with this label value, or with the one that it had in recordings
            /// made before 1.0.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word $(| $old)? => Some(Self::$variant),)+ _ => None }
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Word;
                impl serde::de::Visitor<'_> for Word {
                    type Value = $name;
                    fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                        f.write_str(concat!("one of", $(" `", $word, "`",)+))
                    }
                    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<$name, E> {
                        $name::from_word(word).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(word), &self))
                    }
                }
                deserializer.deserialize_str(Word)
            }
        }
    };
}

words! {
    /// Where in the kernel a task is made to wait. The words are the kernel's
    /// function names.
    Cause {
        /// `balance_dirty_pages()`: too many dirty pages, mm/page-writeback.c.
        BalanceDirtyPages = 0 => "balance_dirty_pages";
        /// `congestion_wait()`, up to 5.15, mm/backing-dev.c.
        CongestionWait = 1 => "congestion_wait";
        /// `wait_iff_congested()`, up to 5.15, mm/backing-dev.c.
        WaitIffCongested = 2 => "wait_iff_congested";
        /// `reclaim_throttle()`, 5.16 and later, mm/vmscan.c.
        ReclaimThrottle = 3 => "reclaim_throttle";
        /// `try_to_free_pages()`: the task reclaims memory itself.
        DirectReclaim = 4 => "direct_reclaim";
        /// `try_to_free_mem_cgroup_pages()`: the same within a memory cgroup.
        MemcgReclaim = 5 => "memcg_reclaim";
        /// `throttle_direct_reclaim()`: the brake of swap over NFS.
        ThrottleDirectReclaim = 6 => "throttle_direct_reclaim";
        /// `compact_zone()`, mm/compaction.c.
        Compaction = 7 => "compaction";
        /// nfsd got no pages for a request and sleeps, `net/sunrpc/svc_xprt.c`.
        SvcAllocArg = 8 => "svc_alloc_arg";
        /// The NFS client's own write congestion, fs/nfs/write.c.
        NfsCongestion = 9 => "nfs_congestion";
        /// Until pages of an NFS file are written and the server's COMMIT has
        /// come, fs/nfs/write.c.
        NfsCommit = 10 => "nfs_commit";
    }
}

words! {
    /// What kind of task waits.
    Class {
        /// A task of a program.
        User = 0 => "user";
        /// The kernel's NFS server.
        Nfsd = 1 => "nfsd";
        /// A userspace process that serves a client of this node, whatever the protocol.
        Server = 2 => "server", was "nfs_server";
        /// Background reclaim.
        Kswapd = 3 => "kswapd";
        /// A worker of a kernel workqueue, writeback among them.
        Kworker = 4 => "kworker";
        /// A loop device's thread (up to 5.13), or a worker while it works for a
        /// loop device.
        LoopDevice = 5 => "loop_device", was "loop";
        /// Any other kernel thread.
        Kthread = 6 => "kthread";
        /// A thread of a kernel target (LIO, ksmbd, nvmet), or a worker while it works for one.
        Target = 7 => "target";
    }
}

words! {
    /// `enum vmscan_throttle_state`, include/linux/mmzone.h, plus "none".
    ThrottleReason {
        /// Not a `reclaim_throttle`.
        None = 0 => "";
        /// `VMSCAN_THROTTLE_WRITEBACK`: reclaim meets pages under writeback.
        Writeback = 1 => "writeback";
        /// `VMSCAN_THROTTLE_ISOLATED`: too many isolated pages.
        Isolated = 2 => "isolated";
        /// `VMSCAN_THROTTLE_NOPROGRESS`: nothing could be reclaimed.
        NoProgress = 3 => "noprogress";
        /// `VMSCAN_THROTTLE_CONGESTED`: the node's backing devices are congested.
        Congested = 4 => "congested";
    }
}

/// How the end of a wait is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A probe sees it.
    Seen,
    /// A probe sees it. The function is also called where there is nothing to wait for: a
    /// call is a wait from [`crate::LEAST_CALL_NS`] on.
    SeenOfCall,
    /// As [`End::SeenOfCall`]. The thread sleeps uninterruptibly all the while: of one that
    /// does not, the end was missed.
    SeenOfSleep,
    /// Each sleep is announced. A probe sees the end where the kernel lets it; elsewhere it is
    /// taken to come with the end of the last sleep, if no other is announced for so long.
    SeenOrAnnounced {
        /// Nanoseconds.
        patience_ns: u64,
    },
    /// As [`End::SeenOrAnnounced`] without a probe.
    Announced {
        /// Nanoseconds.
        patience_ns: u64,
    },
}

impl Cause {
    /// How the end of such a wait is noticed.
    #[must_use]
    pub const fn end(self) -> End {
        match self {
            Self::BalanceDirtyPages => End::SeenOrAnnounced {
                patience_ns: 300_000_000,
            },
            // As long as a retry may belong to the same wait.
            Self::SvcAllocArg => End::Announced {
                patience_ns: 700_000_000,
            },
            Self::NfsCongestion => End::SeenOfCall,
            Self::NfsCommit => End::SeenOfSleep,
            Self::CongestionWait
            | Self::WaitIffCongested
            | Self::ReclaimThrottle
            | Self::DirectReclaim
            | Self::MemcgReclaim
            | Self::ThrottleDirectReclaim
            | Self::Compaction => End::Seen,
        }
    }
}

impl ThrottleReason {
    /// From the tracepoint's `reason`, 5.16 and later: a bit mask
    /// (`1 << state`, include/trace/events/vmscan.h) of exactly one state.
    #[must_use]
    pub const fn from_tracepoint(mask: i32) -> Self {
        match mask {
            1 => Self::Writeback,
            2 => Self::Isolated,
            4 => Self::NoProgress,
            8 => Self::Congested,
            _ => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cause, Class};

    #[test]
    fn a_cause_survives_the_way_through_a_map_and_a_label() {
        for &cause in Cause::ALL {
            assert_eq!(Cause::from_u8(cause as u8), Some(cause));
            assert_eq!(Cause::from_word(cause.as_str()), Some(cause));
        }
    }

    #[test]
    fn a_number_that_no_class_has_is_refused() {
        assert_eq!(Class::from_u8(200), None);
    }
}
