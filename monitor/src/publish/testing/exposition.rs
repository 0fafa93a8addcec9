//! A strict reader of the text format, version 0.0.4.

use std::collections::{BTreeMap, HashSet};

type Labels = BTreeMap<String, String>;

/// A parsed page. Reading one panics at the first thing that Prometheus would
/// refuse, or that a convention forbids.
#[derive(Default)]
pub(crate) struct Exposition {
    kinds: BTreeMap<String, String>,
    helps: BTreeMap<String, String>,
    samples: Vec<(String, Labels, f64)>,
}

impl Exposition {
    pub(crate) fn parse(text: &str) -> Self {
        let mut page = Self::default();
        assert!(text.ends_with('\n'), "the last line ends");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(
                    page.helps
                        .insert(name.to_owned(), help.to_owned())
                        .is_none(),
                    "second HELP of {name}"
                );
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(
                    page.kinds
                        .insert(name.to_owned(), kind.to_owned())
                        .is_none(),
                    "second TYPE of {name}"
                );
            } else {
                page.samples.push(sample(line));
            }
        }
        page.check();
        page
    }

    fn check(&self) {
        let mut seen = HashSet::new();
        for (name, labels, _) in &self.samples {
            assert!(seen.insert((name, labels)), "{name}{labels:?} twice");
            let family = self.family_of(name);
            assert!(self.helps.contains_key(family), "{family} has no HELP");
            let counter = self.kinds[family] == "counter";
            assert_eq!(
                counter,
                family.ends_with("_total"),
                "{family} is a {}",
                self.kinds[family]
            );
        }
        for family in self
            .kinds
            .iter()
            .filter(|(_, kind)| *kind == "histogram")
            .map(|(name, _)| name)
        {
            self.check_histogram(family);
        }
    }

    fn family_of<'a>(&'a self, name: &'a str) -> &'a str {
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix));
        match base.filter(|base| {
            self.kinds
                .get(*base)
                .is_some_and(|kind| kind == "histogram")
        }) {
            Some(base) => base,
            None => {
                self.kinds
                    .get_key_value(name)
                    .unwrap_or_else(|| panic!("{name} has no TYPE"))
                    .0
            }
        }
    }

    fn check_histogram(&self, family: &str) {
        let mut buckets = BTreeMap::<Labels, Vec<(f64, f64)>>::new();
        for (_, labels, value) in self
            .samples
            .iter()
            .filter(|s| s.0 == format!("{family}_bucket"))
        {
            let mut labels = labels.clone();
            let le = labels.remove("le").unwrap();
            buckets
                .entry(labels)
                .or_default()
                .push((le.replace("+Inf", "inf").parse().unwrap(), *value));
        }
        for (labels, buckets) in buckets {
            assert!(
                buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1),
                "{family}{labels:?}: {buckets:?}"
            );
            let last = buckets.last().unwrap();
            assert!(last.0.is_infinite(), "{family}{labels:?} has no +Inf");
            let count = self.find(&format!("{family}_count"), |l| *l == labels);
            assert_eq!(count, vec![last.1], "+Inf and count of {family}{labels:?}");
            assert_eq!(
                self.find(&format!("{family}_sum"), |l| *l == labels).len(),
                1
            );
        }
    }

    fn find(&self, name: &str, wanted: impl Fn(&Labels) -> bool) -> Vec<f64> {
        self.samples
            .iter()
            .filter(|s| s.0 == name && wanted(&s.1))
            .map(|s| s.2)
            .collect()
    }

    /// The value of the one series with this name and, among others, these
    /// labels.
    pub(crate) fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found = self.find(name, |have| {
            labels
                .iter()
                .all(|&(k, v)| have.get(k).is_some_and(|have| have == v))
        });
        assert!(
            found.len() <= 1,
            "{name}{labels:?} is {} series",
            found.len()
        );
        found.first().copied()
    }

    /// How many series have this name.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.find(name, |_| true).len()
    }

    /// The families, with their types.
    pub(crate) fn kinds(&self) -> &BTreeMap<String, String> {
        &self.kinds
    }
}

fn sample(line: &str) -> (String, Labels, f64) {
    let end = line
        .find(['{', ' '])
        .unwrap_or_else(|| panic!("no value in {line:?}"));
    let (name, mut rest) = line.split_at(end);
    assert!(
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'),
        "name in {line:?}"
    );
    let mut labels = Labels::new();
    if let Some(mut inner) = rest.strip_prefix('{') {
        while !inner.starts_with('}') {
            let (key, value) = inner.split_once("=\"").unwrap();
            let (value, after) = quoted(value);
            assert!(
                labels.insert(key.to_owned(), value).is_none(),
                "label {key} twice in {line:?}"
            );
            inner = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &inner[1..];
    }
    let value = rest
        .strip_prefix(' ')
        .unwrap()
        .parse()
        .unwrap_or_else(|e| panic!("{e}: {line:?}"));
    (name.to_owned(), labels, value)
}

/// The text up to the closing quote, unescaped, and what follows.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next().unwrap().1 {
                'n' => value.push('\n'),
                escaped @ ('\\' | '"') => value.push(escaped),
                other => panic!("\\{other} is not an escape"),
            },
            _ => value.push(c),
        }
    }
    panic!("no closing quote in {text:?}")
}
