//! The rings of pauses that the programs fill, mapped: what one CPU wrote is read
//! without a system call, and the entry is given back when it is read.

use std::{
    io,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use aya::maps::{Map, MapData};
use monitor_common::{Pause, PauseHead};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::os::fd::AsFd as _;

/// What was written a moment ago is left for the next time: another CPU's stores need
/// not be seen in their order, but they are seen within less than this.
const SETTLED_NS: u64 = 1_000_000;

/// All rings, one for each CPU.
pub struct Rings {
    heads: Mapped<PauseHead>,
    slots: Mapped<Pause>,
    /// Room of each ring: a power of two.
    room: u32,
    /// Of each ring, how many entries were read.
    read: Vec<u64>,
    /// The time of the last of them.
    last_ns: Vec<u64>,
    closed: bool,
}

impl Rings {
    /// Maps both maps and lets the programs write.
    pub fn open(heads: &Map, slots: &Map, task_flags: i32) -> io::Result<Self> {
        let heads = Mapped::<PauseHead>::new(data(heads)?)?;
        let slots = Mapped::<Pause>::new(data(slots)?)?;
        let cpus = heads.count;
        let room = u32::try_from(slots.count / cpus.max(1)).unwrap_or(0);
        if !room.is_power_of_two() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let rings = Self {
            heads,
            slots,
            room,
            read: vec![0; cpus],
            last_ns: vec![0; cpus],
            closed: false,
        };
        for cpu in 0..cpus {
            let head = rings.heads.at(cpu);
            // SAFETY: within the mapping; no program looks at these before `until` is set.
            unsafe {
                (&raw mut (*head).slots).write_volatile(room);
                (&raw mut (*head).task_flags).write_volatile(task_flags);
            }
            rings.give_back(cpu);
        }
        Ok(rings)
    }

    /// How many entries each has room for.
    pub const fn room(&self) -> u32 {
        self.room
    }

    /// Takes what was written since the last time, oldest first; how many were of the
    /// CPU that wrote most.
    pub fn take(&mut self, now_ns: u64, into: &mut Vec<Pause>) -> u32 {
        into.clear();
        let mut most = 0;
        for cpu in 0..self.read.len() {
            let (written, before) = (self.written(cpu), self.read[cpu]);
            while self.read[cpu] < written {
                let slot = cpu * self.room as usize + self.place(self.read[cpu]);
                // SAFETY: within the mapping, and any bytes are a value; the program writes
                // here again only when it is given back.
                let pause = unsafe { self.slots.at(slot).read_volatile() };
                // An older one than the last is what was here before.
                if pause.now_ns.saturating_add(SETTLED_NS) > now_ns
                    || pause.now_ns < self.last_ns[cpu]
                {
                    break;
                }
                self.last_ns[cpu] = pause.now_ns;
                self.read[cpu] += 1;
                into.push(pause);
            }
            most = most.max(self.read[cpu] - before);
            if !self.closed {
                self.give_back(cpu);
            }
        }
        into.sort_by_key(|pause| pause.now_ns);
        u32::try_from(most).unwrap_or(u32::MAX)
    }

    /// Where in its ring an entry is.
    #[expect(clippy::cast_possible_truncation, reason = "less than the room")]
    fn place(&self, entry: u64) -> usize {
        (entry & u64::from(self.room - 1)) as usize
    }

    /// From now on the programs look at each pause themselves. What is there already
    /// can be taken.
    pub fn close(&mut self) {
        self.closed = true;
        for cpu in 0..self.read.len() {
            self.until(cpu).store(0, Ordering::Release);
        }
    }

    fn written(&self, cpu: usize) -> u64 {
        // SAFETY: within the mapping and aligned; it is accessed atomically only.
        unsafe { AtomicU64::from_ptr(&raw mut (*self.heads.at(cpu)).written) }
            .load(Ordering::Acquire)
    }

    fn until(&self, cpu: usize) -> &AtomicU64 {
        // SAFETY: as above.
        unsafe { AtomicU64::from_ptr(&raw mut (*self.heads.at(cpu)).until) }
    }

    fn give_back(&self, cpu: usize) {
        self.until(cpu)
            .store(self.read[cpu] + u64::from(self.room), Ordering::Release);
    }
}

fn data(map: &Map) -> io::Result<&MapData> {
    match map {
        Map::Array(data) => Ok(data),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// The values of an array.
struct Mapped<T> {
    at: NonNull<T>,
    count: usize,
    bytes: usize,
}

// SAFETY: the memory is nobody else's in this process.
unsafe impl<T: Send> Send for Mapped<T> {}

impl<T> Mapped<T> {
    fn new(map: &MapData) -> io::Result<Self> {
        let info = map.info().map_err(io::Error::other)?;
        if info.value_size() as usize != size_of::<T>() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let count = info.max_entries() as usize;
        let bytes = (count * size_of::<T>()).next_multiple_of(rustix::param::page_size());
        // SAFETY: a new mapping of the kernel's choice of address.
        let at = unsafe {
            mmap(
                std::ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                map.fd().as_fd(),
                0,
            )
        }?;
        let at = NonNull::new(at.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { at, count, bytes })
    }

    fn at(&self, index: usize) -> *mut T {
        assert!(index < self.count, "beyond the map");
        // SAFETY: within the mapping.
        unsafe { self.at.as_ptr().add(index) }
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and nobody keeps a pointer.
        let _ = unsafe { munmap(self.at.as_ptr().cast(), self.bytes) };
    }
}
