//! The name of a backing device, made small enough for a map key.

/// A backing device (BDI) by its name, in 64 bits.
///
/// The kernel's tracepoints carry the name (`254:0`, `btrfs-1`) in 32 bytes. A
/// key of that size would be hashed and compared at every event, and parsing
/// it is more than the verifier of 5.10 will follow. So this is a mix of its
/// four words; the programs leave the name itself in a map of its own whenever
/// they meet a new one. Zero is no BDI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct BdiId(pub u64);

/// `char bdi[32]` in the tracepoints of include/trace/events/writeback.h,
/// padded with zeros (`strscpy_pad`).
pub const BDI_NAME_LEN: usize = 32;

/// Odd, and with bits all over: the golden ratio in 64 bits.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

impl BdiId {
    /// The cause of the wait has no BDI.
    pub const NONE: Self = Self(0);

    /// From the name as the tracepoints carry it, as four words.
    #[must_use]
    #[expect(
        clippy::inline_always,
        reason = "eBPF programs of old kernels have no calls between functions"
    )]
    #[inline(always)]
    pub const fn from_words(words: [u64; BDI_NAME_LEN / 8]) -> Self {
        if words[0] == 0 {
            return Self::NONE;
        }
        let mut mixed = 0u64;
        let mut index = 0;
        while index < words.len() {
            mixed = (mixed ^ words[index]).wrapping_mul(MIX);
            mixed ^= mixed >> 29;
            index += 1;
        }
        Self(mixed | 1)
    }

    /// The same from a string; what the kernel would cut off is cut off.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        let mut bytes = [0u8; BDI_NAME_LEN];
        // The last byte is for the NUL.
        for (to, from) in bytes[..BDI_NAME_LEN - 1].iter_mut().zip(name.bytes()) {
            *to = from;
        }
        let mut words = [0u64; BDI_NAME_LEN / 8];
        for (word, chunk) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_ne_bytes(*chunk);
        }
        Self::from_words(words)
    }
}

#[cfg(test)]
mod tests {
    use super::BdiId;

    #[test]
    fn the_names_of_a_large_machine_are_told_apart() {
        extern crate std;
        let names =
            (0..300).flat_map(|major| (0..200).map(move |minor| std::format!("{major}:{minor}")));
        let names: std::vec::Vec<_> = names
            .chain((0..5000).map(|n| std::format!("btrfs-{n}")))
            .collect();
        let ids: std::collections::HashSet<_> =
            names.iter().map(|name| BdiId::from_name(name)).collect();
        assert_eq!(ids.len(), names.len());
        assert!(!ids.contains(&BdiId::NONE));
    }

    #[test]
    fn a_long_name_is_cut_as_the_kernel_cuts_it() {
        let long = "a-name-that-is-much-longer-than-the-tracepoint-has-room-for";
        assert_eq!(BdiId::from_name(long), BdiId::from_name(&long[..31]));
        assert_ne!(BdiId::from_name(long), BdiId::from_name(&long[..30]));
    }

    #[test]
    fn an_empty_name_is_no_bdi() {
        assert_eq!(BdiId::from_name(""), BdiId::NONE);
    }
}
