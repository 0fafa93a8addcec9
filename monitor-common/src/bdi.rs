//! The name of a backing device, made small enough for a map key.

/// A backing device (BDI) as the kernel names it, in 64 bits.
///
/// Block devices, NFS and FUSE name theirs `major:minor`; those are kept
/// exactly, as `major << 20 | minor`, which is also the kernel's `dev_t`. Others
/// (`btrfs-1`, `ceph-2`) are kept as a hash with the top bit set: userspace
/// finds the name by hashing what it sees in `/sys/class/bdi`. Zero is no BDI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct BdiId(pub u64);

/// Marks an id that is a hash of the name.
const HASHED: u64 = 1 << 63;
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
/// The kernel's `MINORBITS`, include/linux/kdev_t.h.
const MINOR_BITS: u32 = 20;

impl BdiId {
    /// The cause of the wait has no BDI.
    pub const NONE: Self = Self(0);
    /// `char bdi[32]` in the tracepoints of include/trace/events/writeback.h.
    pub const NAME_LEN: usize = 32;

    /// From the name as the tracepoints carry it: NUL-terminated bytes.
    ///
    /// One pass, so that the eBPF verifier sees one bounded loop.
    #[must_use]
    #[inline(always)]
    pub fn from_name(name: &[u8; Self::NAME_LEN]) -> Self {
        let mut hash = FNV_OFFSET;
        let mut major = 0u64;
        let mut number = 0u64;
        let mut digits = 0u32;
        let mut colons = 0u32;
        let mut is_device = true;
        for &byte in name {
            if byte == 0 {
                break;
            }
            hash = (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
            if byte == b':' {
                is_device &= digits > 0 && colons == 0;
                colons += 1;
                major = number;
                number = 0;
                digits = 0;
            } else if byte.is_ascii_digit() {
                number = number.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
                digits += 1;
                is_device &= digits <= 9;
            } else {
                is_device = false;
            }
        }
        if is_device && colons == 1 && digits > 0 {
            Self::from_device(major, number)
        } else if hash == FNV_OFFSET {
            Self::NONE
        } else {
            Self(hash | HASHED)
        }
    }

    /// The same for a name of any length, as `/sys/class/bdi` lists it; what
    /// the kernel would have cut off is cut off.
    #[must_use]
    pub fn from_str(name: &str) -> Self {
        let mut bytes = [0u8; Self::NAME_LEN];
        // strscpy_pad() in the tracepoint keeps the last byte for the NUL.
        for (to, from) in bytes[..Self::NAME_LEN - 1].iter_mut().zip(name.bytes()) {
            *to = from;
        }
        Self::from_name(&bytes)
    }

    /// From a device number.
    #[must_use]
    #[inline(always)]
    pub const fn from_device(major: u64, minor: u64) -> Self {
        Self((major << MINOR_BITS | minor) & !HASHED)
    }

    /// From the kernel's own `dev_t`, as in the `dev` field of the tracepoints
    /// of the NFS client.
    #[must_use]
    #[inline(always)]
    pub const fn from_dev_t(dev: u32) -> Self {
        Self(dev as u64)
    }

    /// Major and minor, unless the name is of another form or there is none.
    #[must_use]
    pub const fn device(self) -> Option<(u64, u64)> {
        if self.0 & HASHED != 0 || self.0 == 0 {
            return None;
        }
        Some((self.0 >> MINOR_BITS, self.0 & ((1 << MINOR_BITS) - 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::BdiId;

    #[test]
    fn a_device_number_is_kept_exactly_and_equals_the_dev_t() {
        assert_eq!(BdiId::from_str("254:16").device(), Some((254, 16)));
        assert_eq!(BdiId::from_str("0:29"), BdiId::from_dev_t(29));
        assert_eq!(BdiId::from_str("8:3"), BdiId::from_dev_t(8 << 20 | 3));
    }

    #[test]
    fn other_names_are_told_apart_by_their_hash() {
        let btrfs = BdiId::from_str("btrfs-1");
        assert_eq!(btrfs.device(), None);
        assert_ne!(btrfs, BdiId::from_str("btrfs-2"));
        for name in ["1:2:3", ":5", "7:", "7", "12a:4", "1234567890:1"] {
            assert_eq!(BdiId::from_str(name).device(), None, "{name}");
        }
    }

    #[test]
    fn a_long_name_hashes_as_the_kernel_cuts_it() {
        let long = "a-name-that-is-much-longer-than-the-tracepoint-has-room-for";
        assert_eq!(BdiId::from_str(long), BdiId::from_str(&long[..31]));
    }

    #[test]
    fn an_empty_name_is_no_bdi() {
        assert_eq!(BdiId::from_str(""), BdiId::NONE);
    }
}
