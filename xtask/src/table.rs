//! The table of results in the docs, for every scenario on every kernel: a part of a Markdown file
//! between two marks. Scenarios that were not played keep their result.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    kernels::{self, Kernel},
    scenario::{self, Scenario},
};

const BEGIN: &str = "<!-- written by ./dev vm --all: begin -->";
const END: &str = "<!-- written by ./dev vm --all: end -->";

const NOT_PLAYED: &str = "not played";

/// The parts before, between and after two marks of a file.
pub fn between(path: &Path, begin: &str, end: &str) -> Result<[String; 3]> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let parts = text
        .split_once(begin)
        .and_then(|(before, rest)| Some((before, rest.split_once(end)?)));
    let (before, (old, after)) =
        parts.with_context(|| format!("{} has no lines {begin} and {end}", path.display()))?;
    Ok([before, old, after].map(str::to_owned))
}

/// The file and its table.
pub struct Table {
    path: PathBuf,
    before: String,
    after: String,
    /// By scenario, one cell for each kernel of the list.
    cells: BTreeMap<String, Vec<String>>,
}

impl Table {
    /// Reads it.
    pub fn open(path: &Path) -> Result<Self> {
        let [before, old, after] = between(path, BEGIN, END)?;
        Ok(Self {
            path: path.to_owned(),
            before,
            after,
            cells: cells(&old),
        })
    }

    /// Whether it has no result for this scenario.
    pub fn lacks(&self, kernel: Kernel, scenario: &Scenario) -> bool {
        let row = self.cells.get(scenario.name);
        let column = kernels::EVERY.iter().position(|known| *known == kernel);
        let cell = column.and_then(|column| row?.get(column));
        cell.is_none_or(|cell| cell.is_empty() || cell == NOT_PLAYED)
    }

    /// Sets a result, and writes the file.
    pub fn set(&mut self, kernel: Kernel, scenario: &Scenario, cell: String) -> Result<()> {
        let row = self.cells.entry(scenario.name.to_owned()).or_default();
        row.resize(kernels::EVERY.len(), String::new());
        let column = kernels::EVERY.iter().position(|known| *known == kernel);
        if let Some(old) = column.and_then(|column| row.get_mut(column)) {
            *old = cell;
        }
        let text = format!("{}{BEGIN}\n{}{END}{}", self.before, self.rows(), self.after);
        let new = self.path.with_extension("new");
        fs::write(&new, text).with_context(|| new.display().to_string())?;
        fs::rename(&new, &self.path).with_context(|| self.path.display().to_string())
    }

    fn rows(&self) -> String {
        let names = kernels::EVERY.iter().map(ToString::to_string);
        let names = names.collect::<Vec<_>>().join(" | ");
        let mut text = format!(
            "\n| scenario | {names} |\n|---|{}\n",
            "---|".repeat(kernels::EVERY.len())
        );
        for scenario in scenario::all().iter().filter(|scenario| scenario.is_test()) {
            let row = self.cells.get(scenario.name);
            let cell = |(column, kernel): (usize, &Kernel)| {
                let known = row.and_then(|row| row.get(column));
                match known.filter(|cell| !cell.is_empty()) {
                    _ if !scenario.kernels.contains(kernel) => "–".to_owned(),
                    Some(cell) => cell.clone(),
                    None => NOT_PLAYED.to_owned(),
                }
            };
            let row = kernels::EVERY.iter().enumerate().map(cell);
            let row = row.collect::<Vec<_>>().join(" | ");
            text.extend(["| `", scenario.name, "` | ", &row, " |\n"]);
        }
        text.push_str("\n| scenario | what happens |\n|---|---|\n");
        for scenario in scenario::all().iter().filter(|scenario| scenario.is_test()) {
            text.extend(["| `", scenario.name, "` | ", scenario.about, " |\n"]);
        }
        text.push('\n');
        text
    }
}

/// Rows with a cell for each kernel.
fn cells(text: &str) -> BTreeMap<String, Vec<String>> {
    let rows = text.lines().filter_map(|line| {
        let line = line.strip_prefix("| `")?.strip_suffix(" |")?;
        let (name, rest) = line.split_once("` | ")?;
        let cells: Vec<_> = rest.split(" | ").map(str::to_owned).collect();
        // Older tables may have fewer columns.
        (kernels::ALL.len()..=kernels::EVERY.len())
            .contains(&cells.len())
            .then(|| (name.to_owned(), cells))
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_played_stays_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("table.md");
        fs::write(&path, format!("words\n{BEGIN}\n{END}\nmore\n")).unwrap();
        let scenario = scenario::find("netns-livelock").unwrap();
        let set = |kernel, cell: &str| {
            let mut table = Table::open(&path).unwrap();
            table.set(kernel, &scenario, cell.to_owned()).unwrap();
        };
        let lacks = |kernel| Table::open(&path).unwrap().lacks(kernel, &scenario);
        assert!(lacks(Kernel::V5_10));
        set(Kernel::V5_10, "one");
        assert!(!lacks(Kernel::V5_10) && lacks(Kernel::V6_1));
        set(Kernel::V6_12, "two");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("words\n") && text.ends_with("\nmore\n"));
        assert!(text.contains("| `netns-livelock` | one | not played | two | not played | – |"));
        assert!(text.contains("| `reclaim-purest` | not played | – | – | – | – |"));
    }
}
