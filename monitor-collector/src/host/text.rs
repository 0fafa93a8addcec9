//! Reading what the kernel prints, within bounds.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader},
    path::Path,
};

use compact_str::{CompactString, ToCompactString as _};

/// Maximum number of bytes of one file.
const MAX_BYTES: u64 = 32 << 20;

/// Calls `each` with every line, without its end, until it has seen
/// `max_lines`. Returns whether all of the file was read.
///
/// # Errors
///
/// As of `open` and `read`.
pub fn lines(path: &Path, max_lines: usize, mut each: impl FnMut(&str)) -> io::Result<bool> {
    each_line(File::open(path)?, max_lines, &mut each)
}

/// The same for any reader.
pub(crate) fn each_line(
    from: impl io::Read,
    max_lines: usize,
    each: &mut dyn FnMut(&str),
) -> io::Result<bool> {
    let mut reader = BufReader::with_capacity(32 << 10, from.take(MAX_BYTES));
    let mut line = Vec::new();
    for _ in 0..max_lines {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(reader.get_ref().limit() > 0);
        }
        let whole = line.pop_if(|byte| *byte == b'\n').is_some();
        if !whole && reader.get_ref().limit() == 0 {
            return Ok(false);
        }
        each(&String::from_utf8_lossy(&line));
    }
    Ok(reader.fill_buf()?.is_empty())
}

/// The entries of a directory that are this prefix and a number, by number: `loop0`, `loop1`. None
/// if it cannot be read; at most so many.
#[must_use]
pub fn numbered(dir: &Path, prefix: &str, most: usize) -> Vec<CompactString> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().to_compact_string())
        .filter(|name| {
            let number = name.strip_prefix(prefix);
            number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        })
        .collect();
    names.sort_unstable_by_key(|name| (name.len(), name.clone()));
    names.truncate(most);
    names
}

/// Undoes the kernel's `\040` (`mangle_path` and `seq_escape`, `fs/seq_file.c`).
#[must_use]
pub fn unescape(text: &str) -> CompactString {
    if !text.contains('\\') {
        return text.into();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let (byte, after) = octal(rest).unwrap_or((first, after));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into()
}

/// The byte of a leading `\ooo`, and the rest.
fn octal(text: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, after) = text.strip_prefix(b"\\")?.split_at_checked(3)?;
    let byte = digits.iter().try_fold(0u8, |byte, digit| {
        let digit = char::from(*digit).to_digit(8)?;
        byte.checked_mul(8)?.checked_add(u8::try_from(digit).ok()?)
    });
    Some((byte?, after))
}

/// `major:minor`, as the kernel prints a device; safe as part of a path.
#[must_use]
pub fn is_device(text: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.split_once(':')
        .is_some_and(|(major, minor)| number(major) && number(minor))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{is_device, lines, unescape};

    #[test]
    fn escapes_are_undone_and_what_is_none_stays() {
        assert_eq!(unescape(r"/a\040b\011c\012d\134e"), "/a b\tc\nd\\e");
        assert_eq!(unescape(r"/tail\0"), r"/tail\0");
        assert_eq!(unescape(r"\999\"), r"\999\");
        assert_eq!(unescape(r"\777"), r"\777");
        assert_eq!(unescape(r"\303\244"), "ä");
    }

    #[test]
    fn a_file_with_too_many_lines_is_reported_as_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "one\ntwo\nthree").unwrap();
        let read = |max| {
            let mut all = Vec::new();
            let whole = lines(&path, max, |line| all.push(line.to_owned())).unwrap();
            (all.join(" "), whole)
        };
        assert_eq!(read(9), ("one two three".into(), true));
        assert_eq!(read(3), ("one two three".into(), true));
        assert_eq!(read(2), ("one two".into(), false));
        assert_eq!(read(0), (String::new(), false));
    }

    #[test]
    fn only_numbers_with_a_colon_are_a_device() {
        assert!(is_device("0:29"));
        for no in ["", "0", ":", "0:", "0:2/..", "..:1", "0:1:2"] {
            assert!(!is_device(no), "{no}");
        }
    }
}
