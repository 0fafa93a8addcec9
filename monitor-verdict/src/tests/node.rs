//! A simulated node for tests, second by second.

use std::sync::Arc;

use monitor_common::{Cause, Class};
use monitor_model::observation::{
    Backing, Bdi, Congestion, CongestionBy, Delay, DirtyPauses, LoopDevice, NfsClient, NfsMount,
    Observation, ThreadState, Topology, UserServer, Waiting,
};

pub use super::phase::Phase;
pub use super::watched::Watched;

use monitor_model::testing::{self, PAGE};
pub use monitor_model::testing::{CLIENT, DISK};

const MB: u64 = 1_000_000;

/// A node with one NFS client device, nfsd and one disk. Its calls are seen to
/// be served here: the mount alone made a dozen.
#[derive(Clone, Debug)]
pub struct Node {
    pub now: Observation,
    /// Milliseconds a second in finished waits.
    pub spends: Vec<(Cause, Class, &'static str, u64)>,
    /// Unfinished waits, beside those of the phase.
    pub lasting: Vec<Waiting>,
    /// Bytes a second that are written to BDIs.
    pub writes: Vec<(&'static str, u64)>,
    /// The class and the BDI of the phase's pauses.
    pub paused: (Class, &'static str),
    /// Whether throttled threads are in `balance_dirty_pages`.
    pub in_dirty: bool,
    elsewhere: bool,
}

impl Node {
    pub fn new(threads: u32) -> Self {
        let mut node = Self {
            now: testing::node(threads),
            spends: Vec::new(),
            lasting: Vec::new(),
            writes: Vec::new(),
            paused: (Class::Nfsd, DISK),
            in_dirty: true,
            elsewhere: false,
        };
        node.call(CLIENT, 12, 12);
        node
    }

    /// The device's RPC client makes calls, of which `served` are served here.
    pub fn call(&mut self, bdi: &str, calls: u64, served: u64) {
        let now = self.now.monotonic_ns;
        let all = &mut self.now.rpc_clients;
        let at = all.iter().position(|rpc| rpc.bdi == bdi);
        let at = at.unwrap_or_else(|| {
            let id = u32::try_from(all.len()).expect("few") + 7;
            all.push(testing::rpc_client(id, bdi));
            all.len() - 1
        });
        let rpc = &mut all[at];
        rpc.calls += calls;
        rpc.served_here += served;
        rpc.last_call_ns = now;
        if served > 0 {
            rpc.last_served_ns = now;
            rpc.backing = vec![Backing {
                bdi: DISK.into(),
                device: DISK.into(),
                writes: rpc.served_here,
                last_ns: now,
            }];
        }
    }

    /// All calls go to another host.
    pub fn served_elsewhere(&mut self) {
        self.now.rpc_clients.clear();
        self.call(CLIENT, 12, 0);
        self.elsewhere = true;
    }

    /// The look-up finds these mounts, each with the listener at its address in its own namespace.
    pub fn look_up(&mut self, mounts: &[(&str, Option<&str>)]) {
        let mount = |&(bdi, listener): &(&str, Option<&str>)| NfsMount {
            bdi: bdi.into(),
            source: "127.0.0.1:/srv".into(),
            mount_points: vec!["/mnt".into()],
            server: Some(([127, 0, 0, 1], 2049).into()),
            netns: Some(1),
            listener: listener.map(Into::into),
            ..NfsMount::default()
        };
        self.now.topology = Arc::new(Topology {
            read_ns: self.now.monotonic_ns,
            mounts: mounts.iter().map(mount).collect(),
            ..Topology::default()
        });
    }

    /// The server is a process of this name with `threads` threads.
    pub fn userspace(threads: u32, name: &str) -> Self {
        let mut node = Self::new(threads);
        let threads = node.now.nfsd.take().map(|nfsd| nfsd.threads);
        node.now.rpc_clients.clear();
        node.now.user_servers = vec![UserServer {
            stopped: false,
            name: name.into(),
            tgid: 90,
            threads: threads.unwrap_or_default(),
            ..UserServer::default()
        }];
        node.paused = (Class::Server, DISK);
        node.look_up(&[(CLIENT, Some(name))]);
        node
    }

    /// Sets the kernel's flag for a congested client.
    pub fn congest(&mut self, congested: bool) {
        self.now.bdis[0].congestion = Some(Congestion {
            congested,
            by: CongestionBy::Flag,
            since_ns: None,
            total_ns: 0,
            threshold_bytes: None,
        });
    }

    /// A loop device whose file lies on a BDI and that holds `pages` pages.
    pub fn losetup(&mut self, bdi: &str, on: &str, pages: u64) {
        Arc::make_mut(&mut self.now.topology)
            .loop_devices
            .push(LoopDevice {
                bdi: bdi.into(),
                file: "/mnt/file".into(),
                on: on.into(),
                ..LoopDevice::default()
            });
        self.now.bdis.push(Bdi {
            bdi: bdi.into(),
            dirty_bytes: Some(pages * PAGE),
            writeback_bytes: Some(0),
            ..Bdi::default()
        });
    }

    /// A second client device, as idle as the first, and a loop as well.
    pub fn mount(&mut self, bdi: &str) {
        self.now.clients.push(NfsClient {
            bdi: bdi.into(),
            ..NfsClient::default()
        });
        self.call(bdi, 12, 12);
        let from = self.now.bdis[0].clone();
        self.now.bdis.push(Bdi {
            bdi: bdi.into(),
            ..from
        });
    }

    /// One second of a phase.
    pub fn second(&mut self, phase: &Phase) -> Observation {
        self.now.monotonic_ns += 1_000_000_000;
        self.now.unix_ms += 1000;
        self.writes(phase);
        self.server(phase);
        self.pauses(phase);
        self.now.waits.extend(self.lasting.iter().cloned());
        self.spend();
        for &(name, bytes) in &self.writes {
            let bdi = self.now.bdis.iter_mut().find(|bdi| bdi.bdi == name);
            let bdi = bdi.expect("there");
            bdi.written_bytes = Some(bdi.written_bytes.unwrap_or(0) + bytes);
        }
        self.now.bdis[1].disk_busy_ms = self.now.bdis[1]
            .disk_busy_ms
            .map(|ms| ms + phase.disk_busy_ms);
        self.now.clone()
    }

    fn writes(&mut self, phase: &Phase) {
        let client = &mut self.now.clients[0];
        client.bytes_acked += phase.acked;
        client.writes_acked += phase.acked.div_ceil(MB);
        client.writes_sent = client.writes_acked + u64::from(phase.held > 0);
        client.bytes_sent = client.bytes_acked + phase.held * PAGE;
        let calls = phase.acked.div_ceil(MB);
        if calls > 0 {
            let here = self.now.nfsd.is_some() && !self.elsewhere;
            self.call(CLIENT, calls, if here { calls } else { 0 });
        }
        self.now.bdis[0].dirty_bytes = Some(phase.held / 2 * PAGE);
        self.now.bdis[0].writeback_bytes = Some((phase.held - phase.held / 2) * PAGE);
    }

    fn server(&mut self, phase: &Phase) {
        self.now.waits = (0..phase.writers)
            .map(|n| wait(500 + n, Class::User, CLIENT))
            .collect();
        let (class, on) = self.paused;
        let threads = if let Some(nfsd) = &mut self.now.nfsd {
            nfsd.bytes_written = nfsd.bytes_written.map(|bytes| bytes + phase.served);
            &mut nfsd.threads
        } else if let Some(server) = self.now.user_servers.first_mut() {
            &mut server.threads
        } else {
            return;
        };
        for (n, thread) in threads.iter_mut().enumerate() {
            thread.state = if n < phase.throttled {
                if self.in_dirty {
                    let own = wait(100 + n, class, on);
                    self.now.waits.push(Waiting { tgid: 90, ..own });
                }
                ThreadState::Throttled
            } else if n < phase.throttled + phase.blocked {
                ThreadState::Blocked
            } else if n < phase.throttled + phase.blocked + phase.running {
                ThreadState::Running
            } else {
                ThreadState::Idle
            };
        }
    }

    fn spend(&mut self) {
        for &(cause, class, bdi, ms) in &self.spends {
            let all = &mut self.now.delays;
            let same = |d: &Delay| (d.cause, d.class, d.bdi.as_str()) == (cause, class, bdi);
            let at = all.iter().position(same).unwrap_or_else(|| {
                all.push(testing::delay(cause, class, bdi));
                all.len() - 1
            });
            all[at].sum_ns += ms * 1_000_000;
            all[at].buckets[5] += ms / 100;
        }
    }

    fn pauses(&mut self, phase: &Phase) {
        if phase.events == 0 {
            return;
        }
        let all = &mut self.now.dirty_pauses;
        let (class, on) = self.paused;
        let same = |p: &DirtyPauses| p.class == class && p.bdi == on;
        let at = all.iter().position(same).unwrap_or_else(|| {
            all.push(testing::pauses(on, class));
            all.len() - 1
        });
        let sums = &mut all[at];
        sums.events += phase.events;
        sums.pause_ns += phase.pause_ms * 1_000_000;
        sums.dirty_pages += phase.events * phase.dirty;
        sums.limit_pages += phase.events * phase.limit;
        sums.bdi_dirty_pages += phase.events * phase.bdi_dirty;
        sums.bdi_setpoint_pages += phase.events * phase.setpoint;
    }
}

/// A wait of any cause that began with the node.
pub fn lasts(tid: usize, class: Class, cause: Cause, bdi: &str) -> Waiting {
    Waiting {
        cause,
        ..wait(tid, class, bdi)
    }
}

pub fn wait(tid: usize, class: Class, bdi: &str) -> Waiting {
    let tid = u32::try_from(tid).expect("small");
    testing::wait(tid, class, Cause::BalanceDirtyPages, bdi, 1)
}
