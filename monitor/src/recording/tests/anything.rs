//! Arbitrary observations.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use compact_str::CompactString;
use monitor_common::{Cause, Class, HIST_BUCKETS, ThrottleReason};
use monitor_model::observation::{
    Backing, Bdi, Caller, ClientKind, Congestion, CongestionBy, Connection, Container, Delay,
    DirtyPauses, ExemptCount, Export, FarEnd, FileSystem, LoopDevice, Lost, Memory, NetNamespace,
    NfsClient, NfsMount, Nfsd, Observation, OpenCalls, PeerSocket, ProcessPlace, Proof,
    RemoteDevice, RestsOn, RpcClient, ServedDevice, ServerAddress, ServerExit, ServerKind,
    ServerProcess, ServerRef, ServerThread, Serving, SignalStatus, Stack, State, ThreadState,
    Topology, Transport, UserServer, Waited, Waiting, WriteBasis, WritesTo,
};
use proptest::{collection::vec, prelude::*};

/// Numbers that determine an observation. With few of them, they repeat.
struct Dice {
    numbers: Vec<u64>,
    next: usize,
}

impl Dice {
    fn number(&mut self) -> u64 {
        self.next += 1;
        let number = self.numbers[self.next % self.numbers.len()];
        number.rotate_left(u32::try_from(self.next / self.numbers.len() % 64).unwrap())
    }

    fn small(&mut self) -> u32 {
        u32::try_from(self.number() % 70_000).unwrap()
    }

    fn flag(&mut self) -> bool {
        self.number().is_multiple_of(2)
    }

    fn maybe<T>(&mut self, one: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| one(self))
    }

    fn text(&mut self) -> CompactString {
        let texts = ["", "254:0", "nfsd", "ö\u{0}\n\"", "/a b"];
        match self.number() % 400 {
            0 => "long".repeat(3000).into(),
            n => texts[usize::try_from(n).unwrap() % texts.len()].into(),
        }
    }

    fn address(&mut self) -> SocketAddr {
        let (bits, port) = (self.number(), 2049);
        if self.flag() {
            let ip = Ipv4Addr::from_bits(self.small());
            SocketAddr::new(ip.into(), port)
        } else {
            SocketAddr::new(Ipv6Addr::from_bits(u128::from(bits) << 9).into(), port)
        }
    }

    fn some<T>(&mut self, one: impl Fn(&mut Self) -> T) -> Vec<T> {
        let count = self.number() % 4;
        (0..count).map(|_| one(self)).collect()
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.number() % all.len() as u64).unwrap()]
    }
}

/// Arbitrary observations that may share parts with their predecessor.
pub fn observations() -> impl Strategy<Value = Vec<Observation>> {
    let numbers = vec(any::<u64>(), 1..40);
    vec((numbers, any::<u8>()), 0..8).prop_map(|dice| {
        let mut all: Vec<Observation> = Vec::new();
        for (numbers, keep) in dice {
            let mut dice = Dice { numbers, next: 0 };
            let new = observation(&mut dice);
            all.push(match all.last() {
                Some(before) => like(new, before, keep),
                None => new,
            });
        }
        all
    })
}

fn like(new: Observation, before: &Observation, keep: u8) -> Observation {
    let kept = |bit: u8| keep & (1 << bit) != 0;
    let mut now = new;
    if kept(0) {
        now.topology = Arc::clone(&before.topology);
    }
    if kept(1) {
        // A new look-up with the same result.
        now.topology = Arc::new(Topology {
            read_ns: now.topology.read_ns,
            ..Topology::clone(&before.topology)
        });
    }
    if kept(2) {
        now.kernel.clone_from(&before.kernel);
    }
    if kept(3) {
        now.signals.clone_from(&before.signals);
    }
    if kept(4) {
        now.bdis.clone_from(&before.bdis);
    }
    now
}

fn observation(d: &mut Dice) -> Observation {
    Observation {
        monotonic_ns: d.number(),
        unix_ms: d.number(),
        memory: memory(d),
        delays: d.some(delay),
        waits: d.some(waiting),
        dirty_pauses: d.some(pauses),
        clients: d.some(client),
        nfsd: d.maybe(|d| Nfsd {
            bytes_written: d.maybe(Dice::number),
            writes_started: d.number(),
            writes_done: d.number(),
            last_done_ns: d.number(),
            threads: d.some(thread),
            bytes_unattributed: d.maybe(Dice::number),
            serving: d.maybe(|d| d.some(serving)),
        }),
        user_servers: d.some(|d| UserServer {
            name: d.text(),
            tgid: d.small(),
            threads: d.some(thread),
            exempt_threads: d.maybe(exempt),
            stopped: d.flag(),
        }),
        server_exits: d.some(|d| ServerExit {
            name: d.text(),
            tgid: d.small(),
            gone_ns: d.number(),
            cgroup_oom_kills: d.maybe(Dice::number),
            node_oom_kills: d.maybe(Dice::number),
        }),
        bdis: d.some(bdi),
        bdis_left_out: d.small(),
        rpc_clients: d.some(rpc_client),
        topology: Arc::new(topology(d)),
        kernel: d.text(),
        signals: d.some(|d| SignalStatus {
            signal: d.text(),
            strategy: d.text(),
            state: d.of(&[State::Attached, State::Degraded, State::Unavailable]),
        }),
        lost: Lost {
            ringbuf: d.number(),
            map_full: d.number(),
            evicted: d.number(),
            recording: d.number(),
        },
        svc_alloc_arg_retries: d.maybe(Dice::number),
        stacks: d.some(|d| Stack {
            tid: d.small(),
            comm: d.text(),
            frames: d.some(Dice::text),
        }),
    }
}

fn memory(d: &mut Dice) -> Memory {
    Memory {
        page_size: d.number(),
        dirty_bytes: d.maybe(Dice::number),
        writeback_bytes: d.maybe(Dice::number),
        dirty_limit_bytes: d.maybe(Dice::number),
        background_limit_bytes: d.maybe(Dice::number),
        total_bytes: d.maybe(Dice::number),
        available_bytes: d.maybe(Dice::number),
        oom_kills: d.maybe(Dice::number),
    }
}

fn delay(d: &mut Dice) -> Delay {
    let mut buckets = [0; HIST_BUCKETS];
    buckets.fill_with(|| d.number());
    Delay {
        cause: d.of(Cause::ALL),
        class: d.of(Class::ALL),
        reason: d.of(ThrottleReason::ALL),
        bdi: d.text(),
        sum_ns: d.number(),
        buckets,
    }
}

fn waiting(d: &mut Dice) -> Waiting {
    Waiting {
        tid: d.small(),
        tgid: d.small(),
        comm: d.text(),
        cause: d.of(Cause::ALL),
        class: d.of(Class::ALL),
        reason: d.of(ThrottleReason::ALL),
        bdi: d.text(),
        since_ns: d.number(),
    }
}

fn pauses(d: &mut Dice) -> DirtyPauses {
    DirtyPauses {
        bdi: d.text(),
        class: d.of(Class::ALL),
        events: d.number(),
        node_events: d.maybe(Dice::number),
        pause_ns: d.number(),
        dirty_pages: d.number(),
        limit_pages: d.number(),
        bdi_dirty_pages: d.number(),
        bdi_setpoint_pages: d.number(),
        task_ratelimit: d.number(),
        last_ns: d.number(),
        last_dirty_pages: d.number(),
        last_limit_pages: d.number(),
    }
}

fn client(d: &mut Dice) -> NfsClient {
    NfsClient {
        bdi: d.text(),
        writes_sent: d.number(),
        writes_by_rpc: d.maybe(Dice::number),
        bytes_sent: d.number(),
        writes_acked: d.number(),
        bytes_acked: d.number(),
        writes_failed: d.number(),
        commits_sent: d.number(),
        commits_done: d.number(),
        last_sent_ns: d.number(),
        last_acked_ns: d.number(),
    }
}

fn thread(d: &mut Dice) -> ServerThread {
    ServerThread {
        tid: d.small(),
        state: d.of(&ThreadState::ALL),
        write_since_ns: d.maybe(Dice::number),
        blocked_in: d.maybe(Dice::text),
        behind_throttled: d.flag(),
    }
}

fn serving(d: &mut Dice) -> Serving {
    let client = d.small();
    Serving {
        tid: d.small(),
        caller: d.of(&[Caller::Unknown, Caller::Elsewhere, Caller::Client(client)]),
        waited: d.some(|d| Waited {
            cause: d.of(Cause::ALL),
            bdi: d.text(),
            sum_ns: d.number(),
        }),
    }
}

fn bdi(d: &mut Dice) -> Bdi {
    use CongestionBy::{DirtyThreshold, Flag, FuseRequests, NfsWriteback, WriteCongested};
    Bdi {
        bdi: d.text(),
        fstype: d.text(),
        device: d.text(),
        dirty_bytes: d.maybe(Dice::number),
        writeback_bytes: d.maybe(Dice::number),
        threshold_bytes: d.maybe(Dice::number),
        written_bytes: d.maybe(Dice::number),
        disk_busy_ms: d.maybe(Dice::number),
        disk_sectors_written: d.maybe(Dice::number),
        disk_in_flight: d.maybe(Dice::number),
        acked_bytes: d.maybe(Dice::number),
        disk_sectors_read: d.maybe(Dice::number),
        disk_requests: d.maybe(Dice::number),
        disk_request_ms: d.maybe(Dice::number),
        congestion: d.maybe(|d| Congestion {
            congested: d.flag(),
            by: d.of(&[
                Flag,
                WriteCongested,
                NfsWriteback,
                FuseRequests,
                DirtyThreshold,
            ]),
            since_ns: d.maybe(Dice::number),
            total_ns: d.number(),
            threshold_bytes: d.maybe(Dice::number),
        }),
        max_ratio: d.maybe(Dice::small),
        strict_limit: d.maybe(Dice::flag),
    }
}

fn rpc_client(d: &mut Dice) -> RpcClient {
    RpcClient {
        id: d.small(),
        bdi: d.text(),
        calls: d.number(),
        served_here: d.number(),
        last_call_ns: d.number(),
        last_served_ns: d.number(),
        peer: d.maybe(Dice::address),
        backing: d.some(|d| Backing {
            bdi: d.text(),
            device: d.text(),
            writes: d.number(),
            last_ns: d.number(),
        }),
        bytes_written: d.maybe(Dice::number),
        open: d.maybe(|d| OpenCalls {
            count: d.small(),
            since_ns: d.number(),
            procedure: d.text(),
            more: d.flag(),
        }),
        exempt_writes: d.maybe(exempt),
    }
}

fn exempt(d: &mut Dice) -> ExemptCount {
    ExemptCount {
        with: d.number(),
        without: d.number(),
    }
}

fn topology(d: &mut Dice) -> Topology {
    Topology {
        read_ns: d.number(),
        mounts: d.some(nfs_mount),
        file_systems: d.some(|d| FileSystem {
            device: d.text(),
            bdi: d.text(),
            fstype: d.text(),
            source: d.text(),
            mount_point: d.text(),
        }),
        transports: d.some(|d| Transport {
            client: d.small(),
            server: d.address(),
        }),
        connections: d.some(|d| Connection {
            client: d.address(),
            server: d.address(),
            client_netns: d.number(),
            server_netns: d.number(),
            owner: d.text(),
            client_is_local: d.maybe(Dice::flag),
            owner_tgid: d.maybe(Dice::small),
            proof: d.of(&Proof::ALL),
            relays: d.some(server_ref),
        }),
        far_ends: d.some(|d| FarEnd {
            client: d.address(),
            server: d.address(),
            client_netns: d.number(),
            name: d.text(),
            tgid: d.maybe(Dice::small),
            translated: d.flag(),
        }),
        peers: d.some(|d| PeerSocket {
            peer: d.address(),
            server: d.address(),
            netns: d.number(),
            peer_is_local: d.maybe(Dice::flag),
        }),
        exports: d.some(|d| Export {
            netns: d.number(),
            path: d.text(),
            bdi: d.text(),
        }),
        loop_devices: d.some(loop_device),
        server_processes: d.some(|d| ServerProcess {
            tgid: d.small(),
            name: d.text(),
            netns: d.maybe(Dice::number),
        }),
        server_addresses: d.some(|d| ServerAddress {
            address: d.address().ip(),
            netns: d.number(),
        }),
        net_namespaces: d.some(|d| NetNamespace {
            netns: d.number(),
            container: container(d),
        }),
        processes: d.some(|d| ProcessPlace {
            tgid: d.small(),
            container: d.maybe(container),
        }),
        volume_pods: d.some(container),
        served: d.some(|d| ServedDevice {
            bdi: d.text(),
            kind: d.of(&ClientKind::ALL),
            name: d.text(),
            server: server_ref(d),
            proof: d.of(&Proof::ALL),
            address: d.text(),
            client_netns: d.maybe(Dice::number),
            server_netns: d.maybe(Dice::number),
        }),
        remote: d.some(|d| RemoteDevice {
            bdi: d.text(),
            kind: d.of(&ClientKind::ALL),
            name: d.text(),
            address: d.text(),
        }),
        writes: d.some(|d| WritesTo {
            server: server_ref(d),
            bdi: d.text(),
            device: d.text(),
            file: d.text(),
            basis: d.of(&WriteBasis::ALL),
            direct: d.flag(),
            client: d.text(),
        }),
        rests_on: d.some(|d| RestsOn {
            bdi: d.text(),
            on: d.text(),
        }),
        incomplete: d.some(Dice::text),
    }
}

fn nfs_mount(d: &mut Dice) -> NfsMount {
    NfsMount {
        bdi: d.text(),
        source: d.text(),
        fstype: d.text(),
        version: d.text(),
        mount_points: d.some(Dice::text),
        server: d.maybe(Dice::address),
        netns: d.maybe(Dice::number),
        listener: d.maybe(Dice::text),
        listener_tgid: d.maybe(Dice::small),
    }
}

fn loop_device(d: &mut Dice) -> LoopDevice {
    LoopDevice {
        bdi: d.text(),
        file: d.text(),
        on: d.text(),
        maybe_on: d.some(Dice::text),
    }
}

fn server_ref(d: &mut Dice) -> ServerRef {
    ServerRef {
        name: d.text(),
        tgid: d.maybe(Dice::small),
        kind: d.of(&ServerKind::ALL),
    }
}

fn container(d: &mut Dice) -> Container {
    Container {
        id: d.text(),
        runtime: d.text(),
        pod_uid: d.text(),
        namespace: d.text(),
        pod: d.text(),
        hostname: d.text(),
        name: d.text(),
    }
}
