//! Random observations without any sense.

use std::sync::Arc;

use compact_str::CompactString;
use monitor_common::{Cause, Class, HIST_BUCKETS, ThrottleReason};
use monitor_model::observation::{
    Bdi, Caller, Congestion, CongestionBy, Delay, DirtyPauses, LoopDevice, Lost, Memory, NfsClient,
    NfsMount, Nfsd, Observation, RpcClient, ServerThread, Serving, SignalStatus, State,
    ThreadState, Topology, UserServer, Waited, Waiting,
};

/// Numbers from a seed (`splitmix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> usize {
        usize::try_from(self.next() % n).expect("small")
    }

    /// Small, large and extreme numbers.
    fn number(&mut self) -> u64 {
        match self.below(4) {
            0 => self.next(),
            1 => u64::MAX - self.next() % 3,
            2 => self.next() % 3,
            _ => self.next() >> self.below(64),
        }
    }

    fn some(&mut self) -> Option<u64> {
        (self.below(4) > 0).then(|| self.number())
    }

    fn yes(&mut self) -> bool {
        self.below(2) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        let at = self.below(all.len() as u64);
        all[at]
    }

    fn bdi(&mut self) -> CompactString {
        CompactString::const_new(self.of(&["0:29", "0:31", "254:0", "7:0", "7:1", "btrfs-1", ""]))
    }

    fn small(&mut self) -> u32 {
        u32::try_from(self.below(12)).expect("small")
    }

    fn list<T>(&mut self, most: u64, one: impl Fn(&mut Self) -> T) -> Vec<T> {
        let len = self.below(most);
        (0..len).map(|_| one(self)).collect()
    }

    fn thread(&mut self) -> ServerThread {
        ServerThread {
            tid: self.small(),
            state: self.of(&ThreadState::ALL),
            write_since_ns: self.some(),
            blocked_in: None,
            behind_throttled: self.yes(),
        }
    }

    fn serving(&mut self) -> Serving {
        let client = self.small();
        Serving {
            tid: self.small(),
            caller: self.of(&[Caller::Unknown, Caller::Elsewhere, Caller::Client(client)]),
            waited: self.list(3, |random| Waited {
                cause: random.of(Cause::ALL),
                bdi: random.bdi(),
                sum_ns: random.number(),
            }),
        }
    }

    fn wait(&mut self) -> Waiting {
        Waiting {
            tid: self.small(),
            tgid: self.small(),
            comm: CompactString::const_new("any"),
            cause: self.of(Cause::ALL),
            class: self.of(Class::ALL),
            reason: ThrottleReason::None,
            bdi: self.bdi(),
            since_ns: self.number(),
        }
    }

    fn delay(&mut self) -> Delay {
        Delay {
            cause: self.of(Cause::ALL),
            class: self.of(Class::ALL),
            reason: self.of(&[ThrottleReason::None, ThrottleReason::Isolated]),
            bdi: self.bdi(),
            sum_ns: self.number(),
            buckets: [0; HIST_BUCKETS],
        }
    }

    fn pauses(&mut self) -> DirtyPauses {
        DirtyPauses {
            bdi: self.bdi(),
            class: self.of(Class::ALL),
            events: self.number(),
            node_events: self.some(),
            pause_ns: self.number(),
            dirty_pages: self.number(),
            limit_pages: self.number(),
            bdi_dirty_pages: self.number(),
            bdi_setpoint_pages: self.number(),
            task_ratelimit: self.number(),
            last_ns: self.number(),
            last_dirty_pages: self.number(),
            last_limit_pages: self.number(),
        }
    }

    fn device(&mut self) -> Bdi {
        let congestion = Congestion {
            congested: self.yes(),
            by: self.of(&[CongestionBy::Flag, CongestionBy::NfsWriteback]),
            since_ns: self.some(),
            total_ns: self.number(),
            threshold_bytes: self.some(),
        };
        Bdi {
            bdi: self.bdi(),
            dirty_bytes: self.some(),
            writeback_bytes: self.some(),
            threshold_bytes: self.some(),
            written_bytes: self.some(),
            disk_busy_ms: self.some(),
            disk_sectors_written: self.some(),
            disk_in_flight: self.some(),
            acked_bytes: self.some(),
            disk_sectors_read: self.some(),
            disk_requests: self.some(),
            disk_request_ms: self.some(),
            congestion: self.yes().then_some(congestion),
            ..Bdi::default()
        }
    }

    fn client(&mut self) -> NfsClient {
        NfsClient {
            bdi: self.bdi(),
            writes_sent: self.number(),
            writes_by_rpc: self.some(),
            bytes_sent: self.number(),
            writes_acked: self.number(),
            bytes_acked: self.number(),
            writes_failed: self.number(),
            ..NfsClient::default()
        }
    }

    fn topology(&mut self) -> Topology {
        Topology {
            read_ns: self.number(),
            mounts: self.list(4, |random| NfsMount {
                bdi: random.bdi(),
                server: Some(([127, 0, 0, 1], 2049).into()),
                netns: random.some(),
                listener: Some(CompactString::const_new(
                    random.of(&["nfsd", "ganesha.nfsd"]),
                )),
                ..NfsMount::default()
            }),
            loop_devices: self.list(4, |random| LoopDevice {
                bdi: random.bdi(),
                file: CompactString::default(),
                on: random.bdi(),
                ..LoopDevice::default()
            }),
            ..Topology::default()
        }
    }
}

/// A random observation, the same for the same seed. Its time is mostly close to that of the
/// others.
pub fn garbage(seed: u64) -> Observation {
    let mut random = Random(seed);
    let near = random.below(10) > 0;
    Observation {
        monotonic_ns: if near {
            random.next() % 30 * 1_000_000_000
        } else {
            random.number()
        },
        unix_ms: random.number(),
        memory: Memory {
            page_size: random.number(),
            dirty_limit_bytes: random.some(),
            ..Memory::default()
        },
        delays: random.list(12, Random::delay),
        waits: random.list(20, Random::wait),
        dirty_pauses: random.list(8, Random::pauses),
        clients: random.list(5, Random::client),
        nfsd: random.yes().then(|| Nfsd {
            bytes_written: random.some(),
            threads: random.list(10, Random::thread),
            bytes_unattributed: random.some(),
            serving: random.yes().then(|| random.list(10, Random::serving)),
            ..Nfsd::default()
        }),
        user_servers: random.list(3, |random| UserServer {
            stopped: false,
            name: CompactString::const_new(random.of(&["ganesha.nfsd", "unfsd"])),
            tgid: random.small(),
            threads: random.list(5, Random::thread),
            ..UserServer::default()
        }),
        bdis: random.list(8, Random::device),
        rpc_clients: random.list(5, |random| RpcClient {
            id: random.small(),
            bdi: random.bdi(),
            calls: random.number(),
            served_here: random.number(),
            last_call_ns: random.number(),
            last_served_ns: random.number(),
            bytes_written: random.some(),
            ..RpcClient::default()
        }),
        topology: Arc::new(random.topology()),
        signals: random.list(4, |random| SignalStatus {
            signal: CompactString::const_new(random.of(&[
                "balance_dirty_pages",
                "nfs_client_writes",
                "direct_reclaim",
                "nfs_commit",
            ])),
            strategy: CompactString::default(),
            state: random.of(&[State::Attached, State::Degraded, State::Unavailable]),
        }),
        lost: Lost {
            map_full: random.number(),
            ..Lost::default()
        },
        svc_alloc_arg_retries: random.some(),
        ..Observation::default()
    }
}
