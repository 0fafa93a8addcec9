//! What is right to say of a recording.

use monitor_model::{related::RelatedKind, verdict::Signature};
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
    /// When the loop stopped, or the load began, if the crawl before that is a
    /// livelock, too: seconds of the node's monotonic clock.
    pub onset: Option<f64>,
    /// So many seconds later at most it must be confirmed.
    #[serde(default = "ten")]
    pub within: f64,
    /// When the loop was helped out, by the same clock: it has not recovered
    /// before.
    pub helped_out: Option<f64>,
    /// When the loop that was helped out went on, or had nothing left to write,
    /// by the same clock: 10 s later at most it must have recovered.
    pub moves_again: Option<f64>,
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
