//! Pauses noted as they are, for the daemon to look at.
//!
//! A task that pauses has slept before and will sleep again: caches and TLB are cold,
//! and each line and each page of memory that an event touches costs more than all of
//! its instructions. So a pause of an ordinary task is copied into a ring that the
//! daemon has mapped, and that is all: of helpers only the task is asked for, the ring is one page, and what
//! costs more (the clock, the task's name) is asked once in a tick. A CPU has some
//! rings, and takes the next one at each tick. Where that does not do, the program
//! looks at the pause itself: for kernel threads, of which it matters what they are and
//! when exactly they go on; and where the rings are full, because the daemon is stopped
//! or starved.

use aya_ebpf::{
    EbpfContext,
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_current_task, bpf_get_smp_processor_id,
        generated::{bpf_get_current_comm, bpf_get_current_task_btf, bpf_jiffies64},
    },
    programs::TracePointContext,
};
use monitor_common::{COMM_LEN, Known, PAUSES_OF_RING, PauseRing};

use crate::{maps::PAUSES, memory::read, task::PF_KTHREAD, wait::now};

/// Each that is full costs a page of memory that is looked at for nothing.
const RINGS_TRIED: u32 = 4;

/// Whether the kernel announces a sleep. With zero or less it lets the task go.
#[inline(always)]
pub fn is_pause(ctx: &TracePointContext) -> bool {
    let record = ctx.as_ptr().cast::<u8>();
    // SAFETY: the daemon loads this program with the offsets of this kernel's record.
    unsafe { known::<i64>(record, Known::PausePause, 0) > 0 }
}

/// `None`: not noted.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "some low bits of the tick; the halves of an id; a place is below 31"
)]
pub fn note(ctx: &TracePointContext) -> Option<()> {
    let record = ctx.as_ptr().cast::<u8>();
    // SAFETY: the helper takes nothing and always answers.
    let tick = unsafe { bpf_jiffies64() };
    let ring = room(record, tick as u32)?;
    let (written, place) = (ring.written, ring.place as usize);
    if place >= PAUSES_OF_RING {
        return None;
    }
    let task = Task::current(record, ring)?;
    let first = tick != ring.tick;
    if first {
        ring.tick = tick;
        ring.now_ns = now();
    }
    let now_ns = ring.now_ns;
    // The daemon has read what was here: `until` says so.
    let pause = &mut ring.pauses[place];
    pause.now_ns = now_ns;
    pause.tid = task.tid;
    pause.tgid = task.tgid;
    if first {
        task.name(&mut pause.comm);
    } else {
        pause.comm[0] = 0;
    }
    // SAFETY: the daemon loads this program with the offsets of this kernel's record.
    unsafe {
        for (word, to) in pause.bdi.iter_mut().enumerate() {
            *to = known(record, Known::PauseBdi, word);
        }
        pause.limit = known(record, Known::PauseLimit, 0);
        pause.dirty = known(record, Known::PauseDirty, 0);
        pause.bdi_setpoint = known(record, Known::PauseBdiSetpoint, 0);
        pause.bdi_dirty = known(record, Known::PauseBdiDirty, 0);
        pause.task_ratelimit = known(record, Known::PauseTaskRatelimit, 0);
        pause.paused_ms = known(record, Known::PausePaused, 0);
        pause.pause_ms = known(record, Known::PausePause, 0);
        pause.cgroup = known(record, Known::PauseCgroup, 0);
    }
    let next = place + 1;
    ring.place = if next == PAUSES_OF_RING {
        0
    } else {
        next as u64
    };
    ring.written = written + 1;
    Some(())
}

/// The ring of this tick, or where that is full one of the next: tasks that sleep end their
/// sleep at a tick, many of them together.
#[inline(always)]
fn room(record: *const u8, tick: u32) -> Option<&'static mut PauseRing> {
    // SAFETY: a number, which the daemon puts in the place of the load.
    let mask = unsafe { known::<u64>(record, Known::RingMask, 0) } as u32;
    // SAFETY: the helper takes nothing and always answers.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let mut tries = 0;
    while tries < RINGS_TRIED && tries <= mask {
        let ring = PAUSES.get_ptr_mut(cpu * (mask + 1) + ((tick + tries) & mask))?;
        // SAFETY: of this CPU, on which the kernel runs one such program at a time; the
        // daemon, which has it mapped, writes `until` and `task_flags` alone.
        let ring = unsafe { &mut *ring };
        if ring.written < ring.until {
            return Some(ring);
        }
        tries += 1;
    }
    None
}

/// Loads what only the kernel tells where.
///
/// # Safety
///
/// `from` has it there.
#[inline(always)]
unsafe fn known<T>(from: *const u8, what: Known, word: usize) -> T {
    // Volatile: no load may be made of two, or two of one.
    // SAFETY: as said; the placeholders are multiples of eight.
    unsafe {
        from.add(what.placeholder() as usize + word * size_of::<T>())
            .cast::<T>()
            .read_volatile()
    }
}

/// An ordinary task, the one that runs.
struct Task {
    tid: u32,
    tgid: u32,
    /// `None`: this kernel gives no pointer that can be followed by BTF.
    by_btf: Option<*const u8>,
}

impl Task {
    /// `None`: a kernel thread.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "as above, and an offset")]
    fn current(record: *const u8, ring: &PauseRing) -> Option<Self> {
        // The verifier sees a number here, and leaves out the other way with its helpers.
        // SAFETY: as the mask.
        if unsafe { known::<u64>(record, Known::TaskByBtf, 0) } == 0 {
            // SAFETY: the helper answers the task that runs, which stays while it does.
            let task = unsafe { bpf_get_current_task() } as *const u8;
            if read::<u32>(task, ring.task_flags as i32)? & PF_KTHREAD != 0 {
                return None;
            }
            let id = bpf_get_current_pid_tgid();
            return Some(Self {
                tid: id as u32,
                tgid: (id >> 32) as u32,
                by_btf: None,
            });
        }
        // SAFETY: a pointer to the task that runs; the offsets are this kernel's.
        unsafe {
            let task = bpf_get_current_task_btf().cast::<u8>().cast_const();
            if known::<u32>(task, Known::TaskFlags, 0) & PF_KTHREAD != 0 {
                return None;
            }
            Some(Self {
                tid: known(task, Known::TaskPid, 0),
                tgid: known(task, Known::TaskTgid, 0),
                by_btf: Some(task),
            })
        }
    }

    #[inline(always)]
    fn name(&self, comm: &mut [u8; COMM_LEN]) {
        let to = comm.as_mut_ptr();
        match self.by_btf {
            Some(task) => {
                for word in 0..COMM_LEN / 8 {
                    // SAFETY: as above; the entry's name is aligned to eight bytes.
                    unsafe {
                        let from: u64 = known(task, Known::TaskComm, word);
                        to.cast::<u64>().add(word).write(from);
                    }
                }
            }
            None => {
                // SAFETY: writes where it is told, and no more than there is.
                unsafe { bpf_get_current_comm(to.cast(), COMM_LEN as u32) };
            }
        }
    }
}
