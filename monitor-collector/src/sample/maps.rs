//! Reads the eBPF maps. Per-CPU values are added up here and nowhere else.

mod nfs_client;
mod prune;
mod rpc;
mod servers;
mod walk;

use std::{borrow::BorrowMut, collections::BTreeMap};

use aya::{
    Ebpf, Pod,
    maps::{
        Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues, Queue,
        RingBuf,
    },
    util::nr_cpus,
};
use compact_str::CompactString;
use monitor_common::{
    BDI_NAME_LEN, BackingKey, BackingTotals, BdiId, COMM_LEN, CallFlag, Cause, Class, CongestedBdi,
    DIRTY_SLOTS, DirtyKey, DirtyTotals, HistKey, HistValue, Lost as LostKind, NfsClientTotals,
    NfsdTotals, NfsdWrite, PEER_LEN, RpcTotals, Serving, Stall, TaskTotals, ThrottleReason, Wait,
    WaitKey, WriteCongested,
};
use monitor_model::observation::{Delay, DirtyPauses, ServerProcess, StalledTask, Waiting};
use thiserror::Error;

use self::{servers::Servers, walk::Entries as _};
use crate::kernel::{attach::Attached, plan};

/// A map that cannot be opened: a broken build.
#[derive(Debug, Error)]
#[error("the eBPF map {0} cannot be opened: {1}. This binary was built wrong")]
pub struct OpenError(&'static str, String);

/// What was counted of pauses in `balance_dirty_pages`.
pub type Pauses = BTreeMap<DirtyKey, DirtyTotals>;

/// The maps, taken out of the object.
pub struct Maps {
    delays: PerCpuHashMap<MapData, HistKey, HistValue>,
    waits: HashMap<MapData, WaitKey, Wait>,
    tasks: HashMap<MapData, WaitKey, TaskTotals>,
    servers: Servers,
    stalls: RingBuf<MapData>,
    dirty: PerCpuArray<MapData, DirtyTotals>,
    dirty_slot: HashMap<MapData, DirtyKey, u32>,
    free_slots: Queue<MapData, u32>,
    /// Slots of devices that are gone: tasks may remember them for a while.
    old_slots: Vec<u32>,
    /// Whether the kernel tells the state of its dirty pages.
    tells_dirty: bool,
    bdi_names: HashMap<MapData, u64, [u64; BDI_NAME_LEN / 8]>,
    congested: HashMap<MapData, u64, CongestedBdi>,
    write_congested: HashMap<MapData, u32, WriteCongested>,
    nfs_client: PerCpuHashMap<MapData, u32, NfsClientTotals>,
    nfsd: PerCpuArray<MapData, NfsdTotals>,
    nfsd_writes: HashMap<MapData, u32, NfsdWrite>,
    retries: PerCpuArray<MapData, u64>,
    lost: PerCpuArray<MapData, u64>,
    rpc: PerCpuHashMap<MapData, u32, RpcTotals>,
    serving: HashMap<MapData, u32, Serving>,
    call_flags: Array<MapData, u32>,
    /// Whether the programs were told that this kernel serves.
    serves: bool,
    peers: HashMap<MapData, u32, [u8; PEER_LEN]>,
    client_devices: HashMap<MapData, u32, u32>,
    backing: HashMap<MapData, BackingKey, BackingTotals>,
    names: BTreeMap<u64, CompactString>,
}

fn take<T: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<T, OpenError> {
    let map = ebpf
        .take_map(name)
        .ok_or_else(|| OpenError(name, "it is not in the object".into()))?;
    T::try_from(map).map_err(|error| OpenError(name, error.to_string()))
}

impl Maps {
    /// Takes the maps out of the object.
    ///
    /// # Errors
    ///
    /// One is not there or of another type.
    pub fn open(attached: &mut Attached) -> Result<Self, OpenError> {
        let offsets = plan::offsets(&attached.facts).0;
        let state = [
            offsets.bdp_dirty,
            offsets.bdp_limit,
            offsets.bdp_bdi_dirty,
            offsets.bdp_bdi_setpoint,
        ];
        let ebpf = &mut attached.ebpf;
        let mut maps = Self {
            delays: take(ebpf, "DELAYS")?,
            waits: take(ebpf, "WAITS")?,
            tasks: take(ebpf, "TASKS")?,
            servers: Servers::new(take(ebpf, "SERVERS")?),
            stalls: take(ebpf, "STALLS")?,
            dirty: take(ebpf, "DIRTY")?,
            dirty_slot: take(ebpf, "DIRTY_SLOT")?,
            free_slots: take(ebpf, "FREE_SLOTS")?,
            old_slots: (0..DIRTY_SLOTS).collect(),
            tells_dirty: state.iter().all(|offset| *offset >= 0),
            bdi_names: take(ebpf, "BDI_NAMES")?,
            congested: take(ebpf, "CONGESTED")?,
            write_congested: take(ebpf, "WRITE_CONGESTED")?,
            nfs_client: take(ebpf, "NFS_CLIENT")?,
            nfsd: take(ebpf, "NFSD")?,
            nfsd_writes: take(ebpf, "NFSD_WRITES")?,
            retries: take(ebpf, "SVC_ALLOC_ARG_RETRIES")?,
            lost: take(ebpf, "LOST")?,
            rpc: take(ebpf, "RPC")?,
            serving: take(ebpf, "SERVING")?,
            call_flags: take(ebpf, "FLAGS")?,
            serves: false,
            peers: take(ebpf, "PEERS")?,
            client_devices: take(ebpf, "CLIENT_DEVICES")?,
            backing: take(ebpf, "BACKING")?,
            names: BTreeMap::new(),
        };
        maps.free_slots();
        Ok(maps)
    }

    /// Empties the slots of devices that went a while ago, for others to take.
    fn free_slots(&mut self) {
        let cpus = nr_cpus().unwrap_or(0);
        for slot in std::mem::take(&mut self.old_slots) {
            let zeros = PerCpuValues::try_from(vec![DirtyTotals::default(); cpus]);
            if zeros.is_ok_and(|zeros| self.dirty.set(slot, zeros, 0).is_ok()) {
                let _ = self.free_slots.push(slot, 0);
            }
        }
    }

    /// The name of a BDI.
    pub fn bdi_name(&mut self, id: u64) -> CompactString {
        if id == BdiId::NONE.0 {
            return CompactString::default();
        }
        if let Some(name) = self.names.get(&id) {
            return name.clone();
        }
        let Ok(words) = self.bdi_names.get(&id, 0) else {
            return "unknown".into();
        };
        let bytes: Vec<u8> = words
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .take_while(|&byte| byte != 0)
            .collect();
        let name = CompactString::from_utf8_lossy(&bytes);
        self.names.insert(id, name.clone());
        name
    }

    /// Histograms, with those of the pauses.
    pub fn delays(&mut self, pauses: &Pauses) -> Vec<Delay> {
        let mut sums: BTreeMap<HistKey, HistValue> = pauses.iter().map(histogram).collect();
        for (key, values) in self.delays.entries() {
            let sum = sums.entry(key).or_default();
            for value in &values {
                sum.sum_ns = sum.sum_ns.wrapping_add(value.sum_ns);
                for (to, from) in sum.buckets.iter_mut().zip(value.buckets) {
                    *to = to.wrapping_add(from);
                }
            }
        }
        let mut delays: Vec<_> = sums
            .into_iter()
            .filter_map(|(key, value)| {
                Some(Delay {
                    cause: Cause::from_u8(key.cause)?,
                    class: Class::from_u8(key.class)?,
                    reason: ThrottleReason::from_u8(key.reason)?,
                    bdi: self.bdi_name(key.bdi),
                    sum_ns: value.sum_ns,
                    buckets: value.buckets,
                })
            })
            .collect();
        delays.sort_by(|a, b| {
            (a.cause, a.class, a.reason, &a.bdi).cmp(&(b.cause, b.class, b.reason, &b.bdi))
        });
        delays
    }

    /// Waits kept, each with when the announced pause is over (zero: its end
    /// is seen).
    pub fn waits(&mut self) -> Vec<(Waiting, u64)> {
        let all = self.waits.entries();
        all.into_iter()
            .filter_map(|(key, wait)| {
                Some((self.waiting(key.tid, key.cause, &wait)?, wait.until_ns))
            })
            .collect()
    }

    /// Tasks that pause and were not seen to come out, each with when the announced pause
    /// is over.
    pub fn pausing(&mut self, tasks: &[(WaitKey, TaskTotals)]) -> Vec<(Waiting, u64)> {
        let lasting = tasks.iter().filter(|(_, totals)| totals.since_ns != 0);
        lasting
            .filter_map(|(key, totals)| {
                let wait = Wait {
                    since_ns: totals.since_ns,
                    bdi: totals.bdi,
                    tgid: totals.tgid,
                    class: totals.class,
                    comm: totals.comm,
                    ..Wait::default()
                };
                Some((self.waiting(key.tid, key.cause, &wait)?, totals.until_ns))
            })
            .collect()
    }

    fn waiting(&mut self, tid: u32, cause: u32, wait: &Wait) -> Option<Waiting> {
        Some(Waiting {
            tid,
            tgid: wait.tgid,
            comm: comm(&wait.comm),
            cause: Cause::from_u8(u8::try_from(cause).ok()?)?,
            class: self.servers.class(wait.tgid, wait.class)?,
            reason: ThrottleReason::from_u8(wait.reason)?,
            bdi: self.bdi_name(wait.bdi),
            since_ns: wait.since_ns,
        })
    }

    /// Tells the programs which processes serve a client of this node.
    pub fn tell_servers(&mut self, processes: &[ServerProcess]) {
        self.servers.tell(processes);
    }

    /// Tells that this kernel serves calls, before it takes the first.
    pub fn tell_that_it_serves(&mut self) {
        if !self.serves {
            let set = self.call_flags.set(CallFlag::Serves as u32, 1, 0);
            self.serves = set.is_ok();
        }
    }

    /// The class of a task of this process.
    pub fn class(&self, tgid: u32, class: u8) -> Option<Class> {
        self.servers.class(tgid, class)
    }

    /// Forgets a wait whose end was not seen.
    pub fn forget(&mut self, wait: &Waiting) {
        let key = WaitKey {
            tid: wait.tid,
            cause: wait.cause as u32,
        };
        // It may have ended meanwhile.
        let _ = self.waits.remove(&key);
    }

    /// Totals of tasks.
    pub fn tasks(&self) -> Vec<(WaitKey, TaskTotals)> {
        let mut all = self.tasks.entries();
        all.sort_by_key(|(key, _)| *key);
        all
    }

    /// Records of finished waits, oldest first.
    pub fn drain_stalls(&mut self) -> Vec<StalledTask> {
        let mut records = Vec::new();
        while let Some(item) = self.stalls.next() {
            if let Some(record) = plain::<Stall>(&item) {
                records.push(record);
            }
        }
        records
            .into_iter()
            .filter_map(|stall| self.stalled(&stall))
            .collect()
    }

    fn stalled(&mut self, stall: &Stall) -> Option<StalledTask> {
        let wait = Wait {
            since_ns: stall.since_ns,
            bdi: stall.bdi,
            tgid: stall.tgid,
            class: stall.class,
            reason: stall.reason,
            comm: stall.comm,
            ..Wait::default()
        };
        let wait = self.waiting(stall.tid, u32::from(stall.cause), &wait)?;
        Some(StalledTask {
            wait,
            delay_ns: stall.delay_ns,
        })
    }

    /// What was counted of pauses in `balance_dirty_pages`.
    pub fn pauses(&self) -> Pauses {
        let all = self.dirty_slot.entries().into_iter();
        all.filter_map(|(key, slot)| {
            let mut sum = DirtyTotals::default();
            let values = self.dirty.get(&slot, 0).ok()?;
            values.iter().for_each(|value| add(&mut sum, value));
            Some((key, sum))
        })
        .collect()
    }

    /// What `balance_dirty_pages` said.
    pub fn dirty_pauses(&mut self, pauses: &Pauses) -> Vec<DirtyPauses> {
        if !self.tells_dirty {
            return Vec::new();
        }
        let mut pauses: Vec<_> = pauses
            .iter()
            .filter_map(|(key, sum)| {
                Some(DirtyPauses {
                    bdi: self.bdi_name(key.bdi),
                    class: Class::from_u8(u8::try_from(key.class).ok()?)?,
                    events: sum.events,
                    node_events: Some(sum.node_events),
                    pause_ns: sum.pause_ns,
                    dirty_pages: sum.dirty,
                    limit_pages: sum.limit,
                    bdi_dirty_pages: sum.bdi_dirty,
                    bdi_setpoint_pages: sum.bdi_setpoint,
                    task_ratelimit: sum.task_ratelimit,
                    last_ns: sum.last_ns,
                    last_dirty_pages: sum.last_dirty,
                    last_limit_pages: sum.last_limit,
                })
            })
            .collect();
        pauses.sort_by(|a, b| (&a.bdi, a.class).cmp(&(&b.bdi, b.class)));
        pauses
    }

    /// What the kernel's flag says of each BDI of which it was seen to change.
    pub fn congested(&mut self) -> BTreeMap<CompactString, CongestedBdi> {
        let all = self.congested.entries();
        all.into_iter()
            .map(|(id, state)| (self.bdi_name(id), state))
            .collect()
    }

    /// nfsd's totals.
    pub fn nfsd(&self) -> NfsdTotals {
        let values = self.nfsd.get(&0, 0);
        let mut total = NfsdTotals::default();
        for value in values.iter().flat_map(|values| values.iter()) {
            total.writes_started = total.writes_started.wrapping_add(value.writes_started);
            total.writes_done = total.writes_done.wrapping_add(value.writes_done);
            total.bytes_written = total.bytes_written.wrapping_add(value.bytes_written);
            total.last_done_ns = total.last_done_ns.max(value.last_done_ns);
            total.bytes_unattributed = total
                .bytes_unattributed
                .wrapping_add(value.bytes_unattributed);
        }
        total
    }

    /// WRITE operations that an nfsd thread is in, by thread id.
    pub fn nfsd_writes(&self) -> BTreeMap<u32, NfsdWrite> {
        self.nfsd_writes.entries().into_iter().collect()
    }

    /// Forgets the WRITE of a thread that is gone.
    pub fn forget_write(&mut self, tid: u32) {
        let _ = self.nfsd_writes.remove(&tid);
    }

    /// Retries of `svc_alloc_arg`.
    pub fn svc_alloc_arg_retries(&self) -> u64 {
        sum(&self.retries, 0)
    }

    /// What the programs lost.
    pub fn lost(&self, what: LostKind) -> u64 {
        sum(&self.lost, what as u32)
    }
}

fn histogram((key, sum): (&DirtyKey, &DirtyTotals)) -> (HistKey, HistValue) {
    let key = HistKey {
        bdi: key.bdi,
        cause: Cause::BalanceDirtyPages as u8,
        class: u8::try_from(key.class).unwrap_or(u8::MAX),
        ..HistKey::default()
    };
    let value = HistValue {
        sum_ns: sum.pause_ns,
        buckets: sum.buckets,
    };
    (key, value)
}

fn add(sum: &mut DirtyTotals, value: &DirtyTotals) {
    for (to, from) in [
        (&mut sum.events, value.events),
        (&mut sum.node_events, value.node_events),
        (&mut sum.pause_ns, value.pause_ns),
        (&mut sum.dirty, value.dirty),
        (&mut sum.limit, value.limit),
        (&mut sum.bdi_dirty, value.bdi_dirty),
        (&mut sum.bdi_setpoint, value.bdi_setpoint),
        (&mut sum.task_ratelimit, value.task_ratelimit),
    ] {
        *to = to.wrapping_add(from);
    }
    for (to, from) in sum.buckets.iter_mut().zip(value.buckets) {
        *to = to.wrapping_add(from);
    }
    let later = value.last_ns > sum.last_ns;
    // Where no event was the node's, the last of the others says nothing of it.
    if value.node_events > 0 && (later || sum.last_limit == 0) {
        (sum.last_dirty, sum.last_limit) = (value.last_dirty, value.last_limit);
    }
    sum.last_ns = sum.last_ns.max(value.last_ns);
}

fn sum(array: &PerCpuArray<impl BorrowMut<MapData>, u64>, index: u32) -> u64 {
    array
        .get(&index, 0)
        .iter()
        .flat_map(|values| values.iter())
        .fold(0, |sum, value| sum.wrapping_add(*value))
}

pub fn comm(bytes: &[u8; COMM_LEN]) -> CompactString {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(COMM_LEN);
    CompactString::from_utf8_lossy(&bytes[..end])
}

/// A record of the ring buffer; `None` where it is too short to be one.
fn plain<T: Pod>(bytes: &[u8]) -> Option<T> {
    (bytes.len() >= size_of::<T>()).then(|| {
        // SAFETY: T is Pod, so any bytes are a value; the length was checked;
        // the read needs no alignment.
        unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
    })
}
