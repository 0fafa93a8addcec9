//! Reads the kernel's congestion state of an NFS mount from its memory, by a method that shares
//! nothing with the daemon's.
//!
//! `/proc/kcore` contains the memory, `/proc/kallsyms` the address of the list of mounted file
//! systems, and BTF the offset of a field in a struct.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use btf_rs::{Btf, Type};
use guest::{DAEMON, Event};

use crate::{http, tell};

/// From now on, reports the kernel's flag of this mount and the daemon's gauge twice a second.
pub fn watch(at: &str) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let words = mounts.lines().map(|line| line.split(' '));
    let mut mount = words.filter(|words| words.clone().nth(4) == Some(at));
    let bdi = mount.next().and_then(|mut words| words.nth(2));
    let bdi = bdi
        .with_context(|| format!("{at} is not a mount"))?
        .to_owned();
    let minor = bdi.strip_prefix("0:").and_then(|minor| minor.parse().ok());
    let memory = Memory::open()?;
    let address = flag(&memory, minor.context("not an NFS mount")?)?;
    let has_daemon = Path::new(DAEMON).exists();
    thread::spawn(move || {
        while let Ok(flag) = memory.u32(address) {
            tell::event(Event::Congestion {
                kernel: flag != 0,
                daemon: has_daemon.then(|| gauge(&bdi)).flatten(),
                bytes: writeback_kb(&bdi) > congestion_kb(),
            });
            thread::sleep(Duration::from_millis(500));
        }
    });
    Ok(())
}

/// `throttle_bdi_congested` of this BDI.
fn gauge(bdi: &str) -> Option<bool> {
    let body = http::get("/metrics").ok()?;
    let label = format!("bdi=\"{bdi}\"");
    let line = body
        .lines()
        .find(|line| line.starts_with("throttle_bdi_congested{") && line.contains(&label))?;
    Some(line.ends_with(" 1"))
}

/// The KiB under writeback; none: they cannot be read.
fn writeback_kb(bdi: &str) -> Option<u64> {
    let stats = fs::read_to_string(format!("/sys/kernel/debug/bdi/{bdi}/stats")).ok()?;
    let line = stats.lines().find_map(|l| l.strip_prefix("BdiWriteback:"));
    line?.split_whitespace().next()?.parse().ok()
}

fn congestion_kb() -> Option<u64> {
    let kb = fs::read_to_string("/proc/sys/fs/nfs/nfs_congestion_kb").ok()?;
    kb.trim_end().parse().ok()
}

/// The address of the flag of the mount with this minor number: up to Linux 5.15 in its BDI
/// (`set_bdi_congested`), since 5.18 in the NFS client's own struct.
fn flag(memory: &Memory, minor: u32) -> Result<u64> {
    let btf = Btf::from_file("/sys/kernel/btf/vmlinux").context("the kernel's BTF")?;
    let within = |name, field| offset(&btf, name, field);
    let list = within("super_block", "s_list")?;
    let device = within("super_block", "s_dev")?;
    let head = symbol("super_blocks")?;
    let mut next = memory.u64(head)?;
    let found = loop {
        if next == head {
            bail!("the kernel has no super block 0:{minor}");
        }
        // The major number is 0, so only the minor number remains.
        if memory.u32(next - list + device)? == minor {
            break next - list;
        }
        next = memory.u64(next)?;
    };
    if let Ok(congested) = within("bdi_writeback", "congested") {
        let bdi = memory.u64(found + within("super_block", "s_bdi")?)?;
        return Ok(bdi + within("backing_dev_info", "wb")? + congested);
    }
    let nfs = Btf::from_split_file("/sys/kernel/btf/nfs", &btf).context("the BTF of nfs")?;
    let server = memory.u64(found + within("super_block", "s_fs_info")?)?;
    Ok(server + offset(&nfs, "nfs_server", "write_congested")?)
}

fn offset(btf: &Btf, name: &str, field: &str) -> Result<u64> {
    let types = btf.resolve_types_by_name(name).unwrap_or_default();
    types
        .iter()
        .find_map(|found| {
            let Type::Struct(found) = found else {
                return None;
            };
            found
                .members
                .iter()
                .find(|member| btf.resolve_name(*member).is_ok_and(|name| name == field))
        })
        .map(|member| u64::from(member.bit_offset() / 8))
        .with_context(|| format!("the BTF has no {name}.{field}"))
}

fn symbol(name: &str) -> Result<u64> {
    let symbols = fs::read_to_string("/proc/kallsyms").context("/proc/kallsyms")?;
    symbols
        .lines()
        .find_map(|line| {
            let mut words = line.split_whitespace();
            let address = words.next()?;
            (words.nth(1) == Some(name)).then(|| u64::from_str_radix(address, 16).ok())?
        })
        .with_context(|| format!("/proc/kallsyms has no {name}"))
}

/// The kernel's memory by its own addresses.
struct Memory {
    core: File,
    /// For each part: its address, its size, and its offset in the file.
    parts: Vec<[u64; 3]>,
}

impl Memory {
    fn open() -> Result<Self> {
        let core = File::open("/proc/kcore").context("/proc/kcore")?;
        let mut memory = Self {
            core,
            parts: Vec::new(),
        };
        // An ELF file of 64 bits: `e_phoff`, `e_phnum`, and of each program
        // header `p_vaddr`, `p_memsz`, `p_offset`.
        let headers = memory.at(32)?;
        for number in 0..memory.at(56)? & 0xffff {
            let header = headers + number * 56;
            let part = [
                memory.at(header + 16)?,
                memory.at(header + 40)?,
                memory.at(header + 8)?,
            ];
            memory.parts.push(part);
        }
        Ok(memory)
    }

    /// A word of the file.
    fn at(&self, offset: u64) -> Result<u64> {
        let mut word = [0; 8];
        self.core.read_exact_at(&mut word, offset)?;
        Ok(u64::from_le_bytes(word))
    }

    fn u64(&self, address: u64) -> Result<u64> {
        // The first part is a note without an address.
        let part = self
            .parts
            .iter()
            .find(|[start, size, _]| *start > 0 && address.wrapping_sub(*start) < *size);
        let [start, _, offset] = part.with_context(|| format!("no memory at {address:#x}"))?;
        self.at(offset + (address - start))
    }

    fn u32(&self, address: u64) -> Result<u32> {
        #[expect(clippy::cast_possible_truncation, reason = "little-endian: its half")]
        self.u64(address).map(|word| word as u32)
    }
}
