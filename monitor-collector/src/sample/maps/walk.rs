//! All entries of a hash map, each once.
//!
//! aya walks from key to key (`BPF_MAP_GET_NEXT_KEY`). When the key that it stands at is
//! deleted meanwhile, by a program at the end of a wait or because another one takes its
//! place, the kernel begins at the first key again, and entries come twice. Batches go from bucket to
//! bucket and cannot be thrown back; they are there since 5.6, for every kind of hash map
//! used here, and take a fraction of the system calls. Where the kernel refuses
//! them, what comes twice is dropped.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd as _, AsRawFd as _},
    ptr,
};

use aya::{
    Pod,
    maps::{HashMap, IterableMap as _, MapData, MapError, PerCpuHashMap},
    util::nr_cpus,
};

/// `BPF_MAP_LOOKUP_BATCH`, include/uapi/linux/bpf.h.
const LOOKUP_BATCH: libc::c_long = 24;
/// Bytes asked for at first, and between how many entries. A bucket is read whole or not
/// at all; with a hundred processors an entry of a per-CPU map has tens of kilobytes.
const FIRST_BYTES: usize = 64 << 10;
const LEAST_ROOM: usize = 16;
const FIRST_ROOM: usize = 256;
/// And at most: more than any map here has.
const MOST_ROOM: u32 = 65_536;

/// A map whose entries can be listed.
pub trait Entries<K, V> {
    /// All of them, each once, in no order.
    fn entries(&self) -> Vec<(K, V)>;
}

impl<K: Pod + Ord, V: Pod> Entries<K, V> for HashMap<MapData, K, V> {
    fn entries(&self) -> Vec<(K, V)> {
        batches(self.map(), size_of::<V>(), |bytes| {
            // SAFETY: V is Pod, any bytes are one, and there are as many as it has; the
            // read needs no alignment.
            unsafe { bytes.as_ptr().cast::<V>().read_unaligned() }
        })
        .unwrap_or_else(|_| once(self.iter()))
    }
}

impl<K: Pod + Ord, V: Pod> Entries<K, Vec<V>> for PerCpuHashMap<MapData, K, V> {
    fn entries(&self) -> Vec<(K, Vec<V>)> {
        // The kernel rounds the value of each CPU up to eight bytes.
        let each = size_of::<V>().next_multiple_of(8);
        let values = |bytes: &[u8]| {
            let one = |bytes: &[u8]| {
                // SAFETY: as above.
                unsafe { bytes.as_ptr().cast::<V>().read_unaligned() }
            };
            bytes.chunks_exact(each).map(one).collect()
        };
        let batches = nr_cpus()
            .map_err(|(_, error)| error)
            .and_then(|cpus| batches(self.map(), cpus * each, values));
        batches.unwrap_or_else(|_| {
            let all = self.iter().map(|entry| {
                let (key, values) = entry?;
                Ok((key, values.to_vec()))
            });
            once(all)
        })
    }
}

/// Of a walk from key to key, the last of what comes twice.
fn once<K: Ord, V>(walk: impl Iterator<Item = Result<(K, V), MapError>>) -> Vec<(K, V)> {
    let all: BTreeMap<K, V> = walk.filter_map(Result::ok).collect();
    all.into_iter().collect()
}

/// The attributes of the system call, as `union bpf_attr` has them for batches.
#[repr(C)]
#[derive(Default)]
struct Batch {
    from: u64,
    next: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// Reads batch after batch.
///
/// # Errors
///
/// The kernel has no batches, or a bucket is too large for one.
fn batches<K: Pod, V>(
    map: &MapData,
    value_size: usize,
    value: impl Fn(&[u8]) -> V,
) -> io::Result<Vec<(K, V)>> {
    let fit = FIRST_BYTES / (size_of::<K>() + value_size).max(1);
    let mut room = u32::try_from(fit.clamp(LEAST_ROOM, FIRST_ROOM)).unwrap_or(1);
    let mut all = Vec::new();
    // Where the next batch begins: of a hash map, the number of a bucket.
    let (mut from, mut next, mut first) = (0_u32, 0_u32, true);
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    loop {
        keys.resize(room as usize * size_of::<K>(), 0_u8);
        values.resize(room as usize * value_size, 0_u8);
        let mut batch = Batch {
            from: if first { 0 } else { address(&raw mut from) },
            next: address(&raw mut next),
            keys: address(keys.as_mut_ptr()),
            values: address(values.as_mut_ptr()),
            count: room,
            map: map.fd().as_fd().as_raw_fd().cast_unsigned(),
            ..Batch::default()
        };
        // SAFETY: the attributes are those of this command; the kernel writes a number
        // to `next` and at most `count` keys and values, for which there is room.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                LOOKUP_BATCH,
                ptr::from_mut(&mut batch),
                size_of::<Batch>(),
            )
        };
        let error = (answer < 0).then(io::Error::last_os_error);
        match error.as_ref().map(io::Error::raw_os_error) {
            // The second: that was the last one.
            None | Some(Some(libc::ENOENT)) => {}
            Some(Some(libc::ENOSPC)) if room < MOST_ROOM => {
                room *= 2;
                continue;
            }
            _ => return Err(error.unwrap_or_else(|| io::ErrorKind::Other.into())),
        }
        let keys = keys.chunks_exact(size_of::<K>());
        let entries = keys.zip(values.chunks_exact(value_size));
        all.extend(entries.take(batch.count as usize).map(|(key, bytes)| {
            // SAFETY: K is Pod, any bytes are one, and there are as many as it has; the
            // read needs no alignment.
            let key = unsafe { key.as_ptr().cast::<K>().read_unaligned() };
            (key, value(bytes))
        }));
        if error.is_some() {
            return Ok(all);
        }
        (from, first) = (next, false);
    }
}

fn address<T>(at: *mut T) -> u64 {
    at.expose_provenance() as u64
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use super::*;

    #[test]
    fn what_a_walk_meets_twice_is_there_once_and_is_the_later_of_the_two() {
        let walk = [(7, 1), (8, 2), (7, 3)].map(Ok).into_iter();
        let failed = std::iter::once(Err(MapError::KeyNotFound));
        assert_eq!(once(walk.chain(failed)), [(7, 3), (8, 2)]);
    }

    /// Without the right to make a map, as an ordinary user is, there is nothing to walk.
    fn map(entries: u32) -> Option<HashMap<MapData, u32, u64>> {
        HashMap::create(entries, 0)
            .inspect_err(|error| eprintln!("not tested: {error}"))
            .ok()
    }

    #[test]
    fn a_map_is_listed_whole_whether_it_is_empty_or_larger_than_a_batch() {
        let Some(mut map) = map(5000) else { return };
        assert_eq!(map.entries(), []);
        for key in 0..4000_u32 {
            map.insert(key, u64::from(key) * 3, 0).unwrap();
        }
        let mut all = map.entries();
        all.sort_unstable();
        let expected = (0..4000_u32).map(|key| (key, u64::from(key) * 3));
        assert!(all.into_iter().eq(expected));
    }

    #[test]
    fn values_of_all_cpus_are_listed() {
        let Ok(mut map) = PerCpuHashMap::<MapData, u32, [u32; 3]>::create(16, 0) else {
            return;
        };
        let cpus = nr_cpus().unwrap();
        let values: Vec<_> = (0..cpus)
            .map(|cpu| [u32::try_from(cpu).unwrap(), 5, 6])
            .collect();
        map.insert(9, values.clone().try_into().unwrap(), 0)
            .unwrap();
        assert_eq!(map.entries(), [(9, values)]);
    }

    #[test]
    fn nothing_is_listed_twice_while_keys_are_deleted() {
        const KEYS: u32 = 2000;
        let Some(mut map) = map(KEYS + 100) else {
            return;
        };
        for key in 0..KEYS {
            map.insert(key, 0, 0).unwrap();
        }
        let fd = map.map().fd().as_fd().try_clone_to_owned().unwrap();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let data = MapData::from_fd(fd).unwrap();
                let mut map =
                    HashMap::<_, u32, u64>::try_from(aya::maps::Map::HashMap(data)).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    for key in (0..KEYS).step_by(3) {
                        let _ = map.remove(&key);
                        let _ = map.insert(key, 1, 0);
                    }
                }
            });
            for _ in 0..300 {
                let all = map.entries();
                let keys: BTreeSet<_> = all.iter().map(|(key, _)| *key).collect();
                if keys.len() != all.len() {
                    stop.store(true, Ordering::Relaxed);
                }
                assert_eq!(keys.len(), all.len(), "some are listed twice");
                assert!(keys.iter().filter(|&key| key % 3 != 0).count() == 1333);
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}
