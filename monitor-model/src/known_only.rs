//! Lists of a daemon that may be newer.

use serde::{
    Deserialize,
    de::{Deserializer, IgnoredAny},
};

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry<T> {
    Known(T),
    Unknown(IgnoredAny),
}

/// Reads a list and leaves out what is not known here, such as a loop with a signature that
/// was added later: the rest is still worth showing.
pub(crate) fn known_only<'de, D, C>(list: D) -> Result<C, D::Error>
where
    D: Deserializer<'de>,
    C: IntoIterator<Item: Deserialize<'de>> + FromIterator<<C as IntoIterator>::Item>,
{
    let entries = Vec::<Entry<C::Item>>::deserialize(list)?.into_iter();
    let known = entries.filter_map(|entry| match entry {
        Entry::Known(entry) => Some(entry),
        Entry::Unknown(IgnoredAny) => None,
    });
    Ok(known.collect())
}
