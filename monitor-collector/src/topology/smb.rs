//! SMB mounts, and the BDI of each.
//!
//! Such a BDI is named by the type of the file system and a number that all types share, `cifs-3`
//! (`super_setup_bdi`, fs/super.c). Nothing in procfs or sysfs leads from the mount to it. A single
//! mount has the single BDI of its type. Of several, the bytes tell: those that the server of a
//! share acknowledged, and those that a BDI wrote back.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use compact_str::CompactString;
use monitor_model::observation::FileSystem;

use crate::host::mountinfo::Line;
use crate::host::smb_stats::{SmbStats, share};
use crate::host::text::unescape;

/// The types of SMB mounts.
const TYPES: [&str; 2] = ["cifs", "smb3"];
/// Fewer bytes prove nothing.
const MIN_BYTES: u64 = 4 << 20;
/// The two counts of one mount differ by less than this part of them: by partial pages, and by
/// writes past the page cache.
const ALIKE: u64 = 16;
/// The counts of two mounts differ by more than this part of them.
const DIFFERENT: u64 = 4;

/// A mounted SMB file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmbMount {
    /// Its device, as in mountinfo.
    pub device: CompactString,
    /// Its type.
    pub fstype: CompactString,
    /// `//server/share`.
    pub source: CompactString,
    /// One of its mount points.
    pub mount_point: CompactString,
    /// The server's address; `None`: it is not TCP.
    pub server: Option<IpAddr>,
    /// Its BDI; `None`: unknown.
    pub bdi: Option<CompactString>,
}

impl SmbMount {
    /// The mount in a line of mountinfo; `None`: another type.
    pub fn of(line: &Line<'_>) -> Option<Self> {
        TYPES.contains(&line.fstype).then(|| Self {
            device: line.device.into(),
            fstype: line.fstype.into(),
            source: unescape(line.source),
            mount_point: unescape(line.mount_point),
            server: server(line),
            bdi: None,
        })
    }

    /// The same as a file system, once its BDI is known.
    pub fn file_system(&self) -> Option<FileSystem> {
        Some(FileSystem {
            device: self.device.clone(),
            bdi: self.bdi.clone()?,
            fstype: self.fstype.clone(),
            source: self.source.clone(),
            mount_point: self.mount_point.clone(),
        })
    }
}

/// `addr=` (`cifs_show_address`, fs/smb/client/cifsfs.c), which a scope may follow. With `rdma` the
/// server is reached without TCP.
fn server(line: &Line<'_>) -> Option<IpAddr> {
    if line.options.split(',').any(|option| option == "rdma") {
        return None;
    }
    let address = line.option("addr")?;
    address.split('%').next()?.parse().ok()
}

/// Bytes of shares and BDIs, at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Acknowledged bytes, by share.
    pub shares: BTreeMap<CompactString, u64>,
    /// Bytes written back, by BDI.
    pub bdis: BTreeMap<CompactString, u64>,
}

impl Totals {
    /// Of these mounts and BDIs, with what each BDI wrote.
    pub fn new(
        mounts: &[SmbMount],
        stats: &SmbStats,
        bdis: impl Iterator<Item = (CompactString, u64)>,
    ) -> Self {
        let bytes = |mount: &SmbMount| Some((share(&mount.source)?, stats.written(&mount.source)?));
        Self {
            shares: mounts.iter().filter_map(bytes).collect(),
            bdis: bdis.collect(),
        }
    }

    /// The growth since an earlier time. What was not there is left out, and what was reset.
    fn since(&self, before: &Self) -> Self {
        let grown = |now: &BTreeMap<CompactString, u64>, before: &BTreeMap<CompactString, u64>| {
            let one = |(name, bytes): (&CompactString, &u64)| {
                Some((name.clone(), bytes.checked_sub(*before.get(name)?)?))
            };
            now.iter().filter_map(one).collect()
        };
        Self {
            shares: grown(&self.shares, &before.shares),
            bdis: grown(&self.bdis, &before.bdis),
        }
    }

    /// The BDI that wrote as many bytes as this share's server acknowledged, if no other did, nor
    /// the server of another share.
    fn bdi_of(&self, share: &str, fstype: &str) -> Option<&CompactString> {
        let bytes = *self.shares.get(share)?;
        if bytes < MIN_BYTES {
            return None;
        }
        let near = |other: u64, part: u64| other.abs_diff(bytes) <= bytes / part;
        let of_type = self.bdis.iter().filter(|(bdi, _)| is_of(bdi, fstype));
        let mut close = of_type.filter(|(_, written)| near(**written, DIFFERENT));
        let (bdi, written) = close.next()?;
        let mut shares = self.shares.iter();
        let alone = close.next().is_none()
            && !shares.any(|(name, other)| name != share && near(*other, DIFFERENT));
        (alone && near(*written, ALIKE)).then_some(bdi)
    }
}

/// Whether a BDI is `TYPE-N`.
pub fn is_of(bdi: &str, fstype: &str) -> bool {
    let number = bdi.strip_prefix(fstype).and_then(|n| n.strip_prefix('-'));
    number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether a BDI is that of an SMB mount.
pub fn is_smb(bdi: &str) -> bool {
    TYPES.iter().any(|fstype| is_of(bdi, fstype))
}

/// Finds the BDIs of SMB mounts, and remembers what was proven by their bytes.
#[derive(Debug, Default)]
pub struct SmbBdis {
    /// BDIs by the mount's device.
    proven: BTreeMap<CompactString, CompactString>,
    before: Totals,
}

impl SmbBdis {
    /// Fills in the BDIs. `totals` is asked only if there are several mounts or BDIs of a type.
    pub fn find(
        &mut self,
        mounts: &mut [SmbMount],
        bdis: &BTreeSet<CompactString>,
        totals: impl FnOnce(&[SmbMount]) -> Totals,
    ) {
        let mut several = false;
        for fstype in TYPES {
            let bdis: Vec<_> = bdis.iter().filter(|bdi| is_of(bdi, fstype)).collect();
            let mut mounts = mounts.iter_mut().filter(|mount| mount.fstype == fstype);
            match (mounts.next(), mounts.next(), &*bdis) {
                (Some(mount), None, [bdi]) => mount.bdi = Some((*bdi).clone()),
                (Some(_), _, [_, ..]) => several = true,
                _ => {}
            }
        }
        self.proven.retain(|device, bdi| {
            bdis.contains(bdi) && mounts.iter().any(|mount| mount.device == *device)
        });
        if !several {
            self.before = Totals::default();
            return;
        }
        let now = totals(mounts);
        self.prove(mounts, &now);
        self.before = now;
        for mount in mounts.iter_mut() {
            if let Some(bdi) = self.proven.get(&mount.device) {
                mount.bdi = Some(bdi.clone());
            }
        }
        for fstype in TYPES {
            last(mounts, bdis, fstype);
        }
    }

    /// Compares the bytes since the mounts were made, and those since the last time.
    fn prove(&mut self, mounts: &[SmbMount], now: &Totals) {
        let grown = now.since(&self.before);
        for mount in mounts.iter().filter(|mount| mount.bdi.is_none()) {
            let Some(name) = share(&mount.source) else {
                continue;
            };
            let mut same = mounts.iter().filter(|other| {
                other.device != mount.device && share(&other.source).as_ref() == Some(&name)
            });
            if same.next().is_some() || self.proven.contains_key(&mount.device) {
                continue;
            }
            let bdi = now.bdi_of(&name, &mount.fstype);
            let Some(bdi) = bdi.or_else(|| grown.bdi_of(&name, &mount.fstype)) else {
                continue;
            };
            if self.proven.values().all(|other| other != bdi) {
                self.proven.insert(mount.device.clone(), bdi.clone());
            }
        }
    }
}

/// The last mount without a BDI has the last BDI without a mount, if there are as many of both.
fn last(mounts: &mut [SmbMount], bdis: &BTreeSet<CompactString>, fstype: &str) {
    let of_type = mounts.iter().filter(|mount| mount.fstype == fstype);
    let taken: BTreeSet<_> = of_type
        .clone()
        .filter_map(|mount| mount.bdi.clone())
        .collect();
    let count = of_type.count();
    let all = bdis.iter().filter(|bdi| is_of(bdi, fstype));
    if all.clone().count() != count || taken.len() + 1 != count {
        return;
    }
    let free = all.clone().find(|bdi| !taken.contains(*bdi));
    let mut mounts = mounts.iter_mut().filter(|mount| mount.fstype == fstype);
    if let Some(mount) = mounts.find(|mount| mount.bdi.is_none()) {
        mount.bdi = free.cloned();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use compact_str::CompactString;

    use super::{SmbBdis, SmbMount, Totals, is_smb};
    use crate::host::mountinfo::Line;

    fn mount(device: u32, share: &str) -> SmbMount {
        let line = format!(
            "99 27 0:{device} / /mnt/{share} rw shared:7 - cifs //127.0.0.1/{share} \
             rw,vers=3.1.1,sec=none,cache=strict,uid=0,addr=127.0.0.1,file_mode=0755,soft,rsize=4194304"
        );
        SmbMount::of(&Line::parse(&line).unwrap()).unwrap()
    }

    fn names(all: &[&str]) -> BTreeSet<CompactString> {
        all.iter().map(|name| CompactString::from(*name)).collect()
    }

    /// Megabytes of shares and of BDIs.
    fn totals(shares: &[(&str, u64)], bdis: &[(&str, u64)]) -> Totals {
        let mb = |all: &[(&str, u64)], prefix: &str| {
            let one = |(name, mb): &(&str, u64)| {
                (CompactString::from(format!("{prefix}{name}")), mb << 20)
            };
            all.iter().map(one).collect()
        };
        Totals {
            shares: mb(shares, "//127.0.0.1/"),
            bdis: mb(bdis, "cifs-"),
        }
    }

    fn found(known: &mut SmbBdis, shares: &[&str], bdis: &[&str], now: Totals) -> Vec<String> {
        let mut mounts: Vec<_> = (40..)
            .zip(shares)
            .map(|(n, share)| mount(n, share))
            .collect();
        known.find(&mut mounts, &names(bdis), |_| now);
        let told = |m: &SmbMount| format!("{} {}", m.device, m.bdi.as_deref().unwrap_or("?"));
        mounts.iter().map(told).collect()
    }

    #[test]
    fn a_mount_is_read_with_its_servers_address() {
        let one = mount(45, "x");
        assert_eq!(one.source, "//127.0.0.1/x");
        assert_eq!(one.server, Some("127.0.0.1".parse().unwrap()));
        let line = |options| format!("99 27 0:45 / /m rw - smb3 //h/s rw,{options}");
        let server = |options| {
            SmbMount::of(&Line::parse(&line(options)).unwrap())
                .unwrap()
                .server
        };
        let scoped = "addr=fe80:0000:0000:0000:0000:0000:0000:0001%3";
        assert_eq!(server(scoped), Some("fe80::1".parse().unwrap()));
        assert_eq!(server("addr=10.9.0.2,rdma"), None);
        assert_eq!(server("addr=(unknown)"), None);
        let ext4 = Line::parse("27 1 254:0 / / rw - ext4 /dev/vda rw,addr=1.2.3.4").unwrap();
        assert_eq!(SmbMount::of(&ext4), None);
    }

    #[test]
    fn a_single_mount_has_the_single_bdi_of_its_type() {
        let bdis = ["cifs-1", "254:0", "smb3-2", "btrfs-3", "cifs-x"];
        let known = &mut SmbBdis::default();
        assert_eq!(
            found(known, &["a"], &bdis, Totals::default()),
            ["0:40 cifs-1"]
        );
        // The other one is of a mount that no process sees.
        assert_eq!(
            found(known, &["a"], &["cifs-1", "cifs-2"], Totals::default()),
            ["0:40 ?"]
        );
        assert_eq!(found(known, &["a"], &[], Totals::default()), ["0:40 ?"]);
    }

    #[test]
    fn of_several_the_bytes_tell_and_what_is_left_belongs_together() {
        let known = &mut SmbBdis::default();
        let bdis = ["cifs-1", "cifs-4"];
        let mut at = |now| found(known, &["a", "b"], &bdis, now);
        assert_eq!(at(Totals::default()), ["0:40 ?", "0:41 ?"]);
        let little = totals(&[("a", 3), ("b", 0)], &[("1", 0), ("4", 3)]);
        assert_eq!(at(little), ["0:40 ?", "0:41 ?"]);
        let alike = totals(&[("a", 50), ("b", 45)], &[("1", 45), ("4", 50)]);
        assert_eq!(at(alike), ["0:40 ?", "0:41 ?"]);
        // Since then only one has grown.
        let grown = totals(&[("a", 80), ("b", 45)], &[("1", 45), ("4", 80)]);
        assert_eq!(at(grown), ["0:40 cifs-4", "0:41 cifs-1"]);
        assert_eq!(
            at(Totals::default()),
            ["0:40 cifs-4", "0:41 cifs-1"],
            "remembered"
        );
        assert_eq!(
            found(known, &["a", "b"], &["cifs-1", "cifs-9"], Totals::default()),
            ["0:40 cifs-9", "0:41 cifs-1"],
            "mounted again"
        );
    }

    #[test]
    fn bytes_that_fit_to_none_or_to_two_prove_nothing() {
        let at = |now| {
            found(
                &mut SmbBdis::default(),
                &["a", "b"],
                &["cifs-1", "cifs-2", "cifs-3"],
                now,
            )
        };
        for now in [
            totals(&[("a", 50), ("b", 0)], &[("1", 50), ("2", 48), ("3", 0)]),
            totals(&[("a", 50), ("b", 0)], &[("1", 44), ("2", 0), ("3", 0)]),
            totals(&[("a", 50), ("b", 49)], &[("1", 50), ("2", 0), ("3", 0)]),
        ] {
            assert_eq!(at(now), ["0:40 ?", "0:41 ?"]);
        }
        let one = totals(&[("a", 50), ("b", 0)], &[("1", 49), ("2", 0), ("3", 0)]);
        assert_eq!(at(one), ["0:40 cifs-1", "0:41 ?"], "a third one is left");
    }

    #[test]
    fn two_mounts_of_one_share_are_not_told_apart() {
        let now = totals(&[("a", 50)], &[("1", 50), ("2", 0)]);
        let known = &mut SmbBdis::default();
        assert_eq!(
            found(known, &["a", "a"], &["cifs-1", "cifs-2"], now),
            ["0:40 ?", "0:41 ?"]
        );
    }

    #[test]
    fn only_a_type_with_a_number_is_an_smb_bdi() {
        assert!(is_smb("cifs-1") && is_smb("smb3-20"));
        for no in ["cifs-", "cifs", "cifs-1a", "254:0", "btrfs-1", "xcifs-1"] {
            assert!(!is_smb(no), "{no}");
        }
    }
}
