//! What a document is called.

use compact_str::{CompactString, format_compact};
use monitor_model::{evidence::Trigger, verdict::Signature};

use crate::text::time;

/// Bytes of the loop's id in a name: a file name has at most 255.
const MAX_LOOP: usize = 80;

/// `20251009T085320.123Z-0.29-nfsd-dirty-throttle`: in the order of time when sorted,
/// and fit for a file's name whatever the loop is called. What is kept of a livelock
/// beside its documents has this name, too.
#[must_use]
pub fn incident(unix_ms: u64, loop_id: &str, signature: Signature) -> CompactString {
    let time = time(unix_ms);
    let time: CompactString = time.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    format_compact!("{time}-{}-{}", safe(loop_id), signature.as_str())
}

/// The incident's name, and which of its documents it is.
pub(super) fn id(
    unix_ms: u64,
    loop_id: &str,
    signature: Signature,
    occasion: Trigger,
) -> CompactString {
    let incident = incident(unix_ms, loop_id, signature);
    format_compact!("{incident}-{}", occasion.as_str())
}

/// `0:29-nfsd` as `0.29-nfsd`. Of what had to be changed more than that, a
/// checksum tells two apart.
fn safe(loop_id: &str) -> CompactString {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let mut changed = loop_id.len() > MAX_LOOP;
    let mut safe = CompactString::default();
    for c in loop_id.chars().take(MAX_LOOP) {
        changed |= !plain(c) && c != ':';
        safe.push(match c {
            ':' => '.',
            c if plain(c) => c,
            _ => '_',
        });
    }
    if changed {
        format_compact!("{safe}-{:08x}", fnv1a(loop_id.as_bytes()))
    } else {
        safe
    }
}

/// Fowler, Noll and Vo's hash 1a of 32 bits: the same in every version.
fn fnv1a(bytes: &[u8]) -> u32 {
    let step = |hash: u32, &byte: &u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(0x811c_9dc5, step)
}

/// Whether something is called as documents are: what else is in their
/// directory is not ours to remove.
#[must_use]
pub fn is_document(id: &str) -> bool {
    let shape = b"00000000T000000.000Z-";
    let Some((time, rest)) = id.split_at_checked(shape.len()) else {
        return false;
    };
    let digit_or = |(byte, like): (u8, &u8)| match like {
        b'0' => byte.is_ascii_digit(),
        _ => byte == *like,
    };
    let ends = |occasion: Trigger| {
        let before = rest.strip_suffix(occasion.as_str());
        before.is_some_and(|before| before.len() > 1 && before.ends_with('-'))
    };
    time.bytes().zip(shape).all(digit_or)
        && rest
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        && Trigger::ALL.into_iter().any(ends)
}

#[cfg(test)]
mod tests {
    use monitor_model::{evidence::Trigger, verdict::Signature};
    use proptest::prelude::*;

    use super::{id, is_document};

    fn name(loop_id: &str) -> String {
        let id = id(
            1_760_000_000_123,
            loop_id,
            Signature::CommitWait,
            Trigger::Ended,
        );
        id.into()
    }

    #[test]
    fn a_name_says_when_which_loop_why_and_what_of_it() {
        assert_eq!(
            name("0:29-ganesha.nfsd"),
            "20251009T085320.123Z-0.29-ganesha.nfsd-commit-wait-ended"
        );
    }

    #[test]
    fn loops_of_strange_names_have_names_of_their_own() {
        let strange = ["../a", ".._a", "...a", "/..a", "", "\0", "a\nb", "a\rb"];
        for (n, one) in strange.iter().enumerate() {
            for other in &strange[n + 1..] {
                assert_ne!(name(one), name(other));
            }
        }
    }

    #[test]
    fn what_is_called_otherwise_is_no_document() {
        assert!(is_document(&name("0:29-nfsd")));
        for no in [
            "",
            "notes",
            "20251009T085320.123Z",
            "20251009T085320.123Z-",
            "20251009T085320.123Z-confirmed",
            "20251009T085320.123Z-0.29-nfsd",
            "20251009T085320.123Z-0.29/../nfsd-ended",
            "2025-10-09T08:53:20Z-0.29-nfsd-dirty-throttle-ended",
            "2025100äT085320.123Z-0.29-nfsd-dirty-throttle-ended",
            "20251009T085320.123Z-0.29-nfsd-dirty-throttle-ended.tmp",
        ] {
            assert!(!is_document(no), "{no}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_name_is_safe_for_a_file(
            unix_ms in any::<u64>(),
            loop_id in any::<String>(),
            signature in prop::sample::select(Signature::ALL.to_vec()),
            occasion in prop::sample::select(Trigger::ALL.to_vec()),
        ) {
            let id = id(unix_ms, &loop_id, signature, occasion);
            prop_assert!(is_document(&id), "{}", id);
            prop_assert!(id.len() <= 200 && !id.starts_with('.'));
        }
    }
}
