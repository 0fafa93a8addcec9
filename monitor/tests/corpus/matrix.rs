//! The confusion matrix: scenarios by kernels, the sums, and the sums of each kind of loop.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{
    judge::Judged,
    label::{Expect, Label},
};

/// What was said of each scenario on each kernel.
#[derive(Default)]
pub struct Matrix {
    cells: BTreeMap<(String, String), Vec<String>>,
    all: Sums,
    kinds: BTreeMap<String, Sums>,
}

/// What was right and wrong.
#[derive(Clone, Copy, Default)]
struct Sums {
    true_positives: u32,
    false_negatives: u32,
    false_positives: u32,
    true_negatives: u32,
    right_signatures: u32,
    wrong_signatures: u32,
}

impl Matrix {
    pub fn add(&mut self, label: &Label, judged: &Judged) {
        let of_kind = self.kinds.entry(judged.kind.clone()).or_default();
        of_kind.add(label, judged);
        let mut cell = self.all.add(label, judged).to_owned();
        if let Some((at, signature)) = judged.livelock {
            let onset = label.onset.unwrap_or(0.0);
            cell = format!("{cell} {} {:.1} s", signature.as_str(), at - onset);
        }
        if !judged.wrong.is_empty() {
            cell += " !";
        }
        let key = (label.scenario.clone(), label.kernel.clone());
        self.cells.entry(key).or_default().push(cell);
    }
}

impl Sums {
    /// Counts a recording, and returns the word for it.
    fn add(&mut self, label: &Label, judged: &Judged) -> &'static str {
        let (count, word) = match (label.expect, judged.right) {
            (Expect::Livelock, true) => (&mut self.true_positives, "TP"),
            (Expect::Livelock, false) => (&mut self.false_negatives, "FN"),
            (Expect::None, false) => (&mut self.false_positives, "FP"),
            (Expect::None, true) => (&mut self.true_negatives, "TN"),
        };
        *count += 1;
        if let Some((_, signature)) = judged.livelock
            && label.expect == Expect::Livelock
        {
            let right = label.signature.contains(&signature);
            let count = if right {
                &mut self.right_signatures
            } else {
                &mut self.wrong_signatures
            };
            *count += 1;
        }
        word
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "TP {}  FN {}  FP {}  TN {}   signature right {}, wrong {}",
            self.true_positives,
            self.false_negatives,
            self.false_positives,
            self.true_negatives,
            self.right_signatures,
            self.wrong_signatures
        )
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scenarios: BTreeSet<_> = self.cells.keys().map(|(scenario, _)| scenario).collect();
        let kernels: BTreeSet<_> = self.cells.keys().map(|(_, kernel)| kernel).collect();
        let cell = |scenario: &String, kernel: &String| {
            let cell = self.cells.get(&(scenario.clone(), kernel.clone()));
            cell.map_or_else(|| "-".to_owned(), |all| all.join(", "))
        };
        let first = scenarios
            .iter()
            .map(|name| name.len())
            .max()
            .unwrap_or(0)
            .max(8);
        write!(f, "{:first$}", "scenario")?;
        let widths = kernels.iter().map(|kernel| {
            let widest = scenarios
                .iter()
                .map(|scenario| cell(scenario, kernel).len());
            widest.max().unwrap_or(0).max(kernel.len())
        });
        let columns: Vec<_> = kernels.iter().zip(widths).collect();
        for (kernel, width) in &columns {
            write!(f, "  {kernel:width$}")?;
        }
        writeln!(f)?;
        for scenario in &scenarios {
            write!(f, "{scenario:first$}")?;
            for (kernel, width) in &columns {
                write!(f, "  {:width$}", cell(scenario, kernel))?;
            }
            writeln!(f)?;
        }
        writeln!(f, "{}", self.all)?;
        let widest = self.kinds.keys().map(String::len).max().unwrap_or(0);
        for (kind, sums) in &self.kinds {
            writeln!(f, "{kind:widest$}  {sums}")?;
        }
        Ok(())
    }
}
