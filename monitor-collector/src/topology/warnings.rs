//! The facts that one round could not read.

use std::fmt::Display;

use compact_str::{CompactString, ToCompactString as _};

/// Maximum number of sentences; many namespaces fail alike.
const MAX_GAPS: usize = 32;

/// Collects the warnings.
#[derive(Debug, Default)]
pub struct LookupWarnings(Vec<CompactString>);

impl LookupWarnings {
    /// Adds a sentence, once.
    pub fn note(&mut self, sentence: &impl Display) {
        if self.0.len() < MAX_GAPS {
            let sentence = sentence.to_compact_string();
            if !self.0.contains(&sentence) {
                self.0.push(sentence);
            }
        }
    }

    /// All of them.
    pub fn into_sentences(self) -> Vec<CompactString> {
        self.0
    }
}
