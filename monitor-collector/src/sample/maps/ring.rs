//! The rings of pauses that the programs fill, mapped: what one CPU wrote is read
//! without a system call, and the entry is given back when it is read.

use std::{
    io,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use aya::maps::{Map, MapData};
use monitor_common::{PAUSES_OF_RING, Pause, PauseRing};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::os::fd::AsFd as _;

/// What was written a moment ago is left for the next time: another CPU's stores need
/// not be seen in their order, but they are seen within a millisecond. A pause has the
/// time of the first one of its tick, and a tick is ten milliseconds at most.
pub const SETTLED_NS: u64 = 11_000_000;

/// All rings: some for each CPU, one CPU after the other.
pub struct Rings {
    mapped: Mapped<PauseRing>,
    /// Rings of each CPU.
    each: usize,
    /// Of each ring, how many entries were read.
    read: Vec<u64>,
    /// The time of the last of them.
    last_ns: Vec<u64>,
    closed: bool,
}

impl Rings {
    /// Maps them and lets the programs write.
    pub fn open(rings: &Map, each: u32, task_flags: i32) -> io::Result<Self> {
        let Map::Array(data) = rings else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let mapped = Mapped::<PauseRing>::new(data)?;
        let count = mapped.count;
        let rings = Self {
            mapped,
            each: each.max(1) as usize,
            read: vec![0; count],
            last_ns: vec![0; count],
            closed: false,
        };
        for ring in 0..count {
            let at = rings.mapped.at(ring);
            // SAFETY: within the mapping; no program looks at it before `until` is set.
            unsafe { (&raw mut (*at).task_flags).write_volatile(task_flags.into()) };
            rings.give_back(ring);
        }
        Ok(rings)
    }

    /// How many entries those of a CPU have room for.
    #[expect(clippy::cast_possible_truncation, reason = "a few hundred")]
    pub const fn room(&self) -> u32 {
        (self.each * PAUSES_OF_RING) as u32
    }

    /// Takes what was written since the last time, oldest first; how many were of the
    /// CPU that wrote most.
    pub fn take(&mut self, now_ns: u64, into: &mut Vec<Pause>) -> u32 {
        into.clear();
        let (mut most, mut of_cpu) = (0, 0);
        for ring in 0..self.read.len() {
            if ring % self.each == 0 {
                of_cpu = into.len();
            }
            self.take_of(ring, now_ns, into);
            most = most.max(into.len() - of_cpu);
            if !self.closed {
                self.give_back(ring);
            }
        }
        // Those of a CPU and a tick have one time, and stand in their order.
        into.sort_by_key(|pause| pause.now_ns);
        u32::try_from(most).unwrap_or(u32::MAX)
    }

    fn take_of(&mut self, ring: usize, now_ns: u64, into: &mut Vec<Pause>) {
        let written = self.written(ring);
        while self.read[ring] < written {
            let place = self.read[ring] % PAUSES_OF_RING as u64;
            #[expect(clippy::cast_possible_truncation, reason = "less than 31")]
            // SAFETY: within the mapping, and any bytes are a value; the program writes
            // here again only when it is given back.
            let pause = unsafe {
                let pauses = &raw const (*self.mapped.at(ring)).pauses;
                pauses.cast::<Pause>().add(place as usize).read_volatile()
            };
            // An older one than the last is what was here before.
            if pause.now_ns.saturating_add(SETTLED_NS) > now_ns || pause.now_ns < self.last_ns[ring]
            {
                break;
            }
            self.last_ns[ring] = pause.now_ns;
            self.read[ring] += 1;
            into.push(pause);
        }
    }

    /// From now on the programs look at each pause themselves. What is there already
    /// can be taken.
    pub fn close(&mut self) {
        self.closed = true;
        for ring in 0..self.read.len() {
            self.until(ring).store(0, Ordering::Release);
        }
    }

    fn written(&self, ring: usize) -> u64 {
        // SAFETY: within the mapping and aligned; it is accessed atomically only.
        unsafe { AtomicU64::from_ptr(&raw mut (*self.mapped.at(ring)).written) }
            .load(Ordering::Acquire)
    }

    fn until(&self, ring: usize) -> &AtomicU64 {
        // SAFETY: as above.
        unsafe { AtomicU64::from_ptr(&raw mut (*self.mapped.at(ring)).until) }
    }

    fn give_back(&self, ring: usize) {
        self.until(ring)
            .store(self.read[ring] + PAUSES_OF_RING as u64, Ordering::Release);
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
