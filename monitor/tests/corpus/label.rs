//! What is right to say of a recording.

use monitor_verdict::{Signature, related::RelatedKind};
use serde::{Deserialize, Deserializer};

/// `labels.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    #[serde(default)]
    pub recording: Vec<Label>,
}

/// A recording and what is right to say of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// Its file, beside `labels.toml`.
    pub file: String,
    /// The scenario that was played, a row of the matrix.
    pub scenario: String,
    /// The kernel that it was played on, a column of the matrix.
    pub kernel: String,
    pub expect: Expect,
    /// Of a livelock: the right one, or several.
    #[serde(default, deserialize_with = "one_or_more")]
    pub signature: Vec<Signature>,
    /// When the load began, seconds after the first observation.
    pub load_after: Option<f64>,
    /// So many seconds later at most it must be confirmed.
    #[serde(default = "ten")]
    pub within: f64,
    /// When the way out was taken, seconds after the first observation: 10 s
    /// later at most it must have recovered, and not before.
    pub way_out_after: Option<f64>,
    /// Related conditions that must begin.
    #[serde(default)]
    pub related: Vec<RelatedKind>,
    /// Related conditions that must not.
    #[serde(default)]
    pub not_related: Vec<RelatedKind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    Livelock,
    None,
}

const fn ten() -> f64 {
    10.0
}

fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Signature>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        One(Signature),
        More(Vec<Signature>),
    }
    Ok(match Either::deserialize(from)? {
        Either::One(one) => vec![one],
        Either::More(more) => more,
    })
}
