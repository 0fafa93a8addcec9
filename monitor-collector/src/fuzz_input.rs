//! What every target of hostile input needs.

use std::borrow::Cow;

/// As the parsers take what is not UTF-8.
#[must_use]
pub fn text(data: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(data)
}

/// Parts of one input, for a parser that takes more than one text: they are
/// separated by a line that is `%%`.
#[must_use]
pub fn parts<const N: usize>(text: &str) -> [&str; N] {
    let mut parts = text.splitn(N, "\n%%\n");
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}
