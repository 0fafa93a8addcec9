//! Limits the memory of a record by the headers of its CBOR items (RFC 8949), before it is parsed.
//!
//! An empty map takes one byte, but a BDI with only default fields takes several hundred. Without
//! this limit, a file of 400 bytes could take gigabytes.

/// Maximum number of arrays and maps in a record. A daemon's record has less than a tenth as many,
/// of some 64 bytes each.
const MAX_CONTAINERS: usize = 1 << 17;
/// Maximum number of other items in a record.
const MAX_ITEMS: usize = 1 << 21;

/// Whether the record is within the limits. The parser rejects invalid CBOR.
pub fn are_few(record: &[u8]) -> bool {
    let (mut containers, mut items) = (0, 0);
    let mut rest = record;
    while let Some((kind, after)) = head(rest) {
        items += 1;
        containers += usize::from(kind == CborKind::Container);
        if containers > MAX_CONTAINERS || items > MAX_ITEMS {
            return false;
        }
        rest = after;
    }
    true
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CborKind {
    /// An array or a map; its items follow.
    Container,
    /// Any other item.
    Other,
}

/// The item's kind, and the rest after its header and bytes; `None`: the end, or invalid CBOR.
fn head(record: &[u8]) -> Option<(CborKind, &[u8])> {
    let (&first, rest) = record.split_first()?;
    let (argument, rest) = match first & 0x1f {
        small @ 0..24 => (u64::from(small), rest),
        size @ 24..28 => {
            let (bytes, rest) = rest.split_at_checked(1 << (size - 24))?;
            let number = |number, byte: &u8| number << 8 | u64::from(*byte);
            (bytes.iter().fold(0, number), rest)
        }
        // The pieces follow as items of their own, and then a break.
        31 => (0, rest),
        _ => return None,
    };
    match first >> 5 {
        2 | 3 => {
            let length = usize::try_from(argument).ok()?;
            Some((CborKind::Other, rest.get(length..)?))
        }
        4 | 5 => Some((CborKind::Container, rest)),
        _ => Some((CborKind::Other, rest)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{CborKind, MAX_CONTAINERS, MAX_ITEMS, are_few, head};

    /// The kinds of all items in a record, in order.
    fn kinds(record: &[u8]) -> Vec<CborKind> {
        let mut rest = record;
        std::iter::from_fn(|| {
            let (kind, after) = head(rest)?;
            rest = after;
            Some(kind)
        })
        .collect()
    }

    #[test]
    fn every_item_is_seen_and_the_bytes_of_a_text_are_none() {
        use CborKind::{Container, Other};
        let mut record = Vec::new();
        let long = "\u{1}".repeat(300);
        let value = json!({"a": [1, 300, 70_000, -1], long: [[], {}], "x": 1.5, "y": null});
        ciborium::into_writer(&value, &mut record).unwrap();
        let text_and_list = [Other, Container];
        let mut wanted = vec![Container];
        wanted.extend(text_and_list.into_iter().chain([Other; 4]));
        wanted.extend([Other, Other, Other, Other]);
        wanted.extend(text_and_list.into_iter().chain([Container; 2]));
        let mut seen = kinds(&record);
        // serde_json sorts the keys.
        assert_eq!(seen.len(), wanted.len());
        seen.sort_unstable_by_key(|kind| *kind == Other);
        wanted.sort_unstable_by_key(|kind| *kind == Other);
        assert_eq!(seen, wanted);
    }

    #[test]
    fn of_an_endless_text_the_pieces_are_seen() {
        let endless = [0x7f, 0x61, b'a', 0x61, b'b', 0xff, 0x80];
        assert_eq!(kinds(&endless).last(), Some(&CborKind::Container));
    }

    #[test]
    fn a_record_beyond_the_limits_is_detected() {
        assert!(are_few(&vec![0xa0; MAX_CONTAINERS]));
        assert!(!are_few(&vec![0xa0; MAX_CONTAINERS + 1]));
        assert!(are_few(&vec![0x60; MAX_ITEMS]));
        assert!(!are_few(&vec![0x60; MAX_ITEMS + 1]));
    }

    #[test]
    fn invalid_cbor_ends_the_count() {
        for bad in [&[0x1c, 0x80][..], &[0x79, 0xff], &[0x5b, 0xff, 0xff]] {
            assert_eq!(kinds(bad), []);
            assert!(are_few(bad));
        }
    }
}
