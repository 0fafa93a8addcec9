//! Builds and writes a bounded family.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use prometheus::{Result, TextEncoder};

/// Maximum number of series in a family of counters or gauges.
pub const MAX_SERIES: usize = 256;
/// Maximum number of series in a family of histograms, each of some twenty lines.
pub const MAX_HISTOGRAMS: usize = 128;
/// Maximum length of a label value, bytes; longer ones end in an ellipsis.
pub const MAX_LABEL_LEN: usize = 200;

const ELLIPSIS: &str = "…";

/// A family under construction. It takes a bounded number of series, and each set of label values
/// once: Prometheus would reject the whole page for a duplicate.
pub(super) struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    series: Vec<Metric>,
    seen: HashSet<u64>,
    dropped: u64,
    labelled: bool,
}

impl Family {
    pub(super) fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, MetricType::COUNTER)
    }

    pub(super) fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, MetricType::GAUGE)
    }

    pub(super) fn histogram(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, MetricType::HISTOGRAM)
    }

    fn new(name: &'static str, help: &'static str, kind: MetricType) -> Self {
        Self {
            name,
            help,
            kind,
            series: Vec::new(),
            seen: HashSet::new(),
            dropped: 0,
            labelled: false,
        }
    }

    /// Adds a series of a counter or gauge.
    pub(super) fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        let Some(mut metric) = self.admit(labels, MAX_SERIES) else {
            return;
        };
        if self.kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.series.push(metric);
    }

    /// Adds a series of a counter or gauge, if there is a value.
    pub(super) fn add_some(&mut self, labels: &[(&str, &str)], value: Option<f64>) {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            self.add(labels, value);
        }
    }

    /// Adds a histogram. `counts` are per bucket, not cumulative, and have one more entry than
    /// `bounds`, for values beyond all of them.
    pub(super) fn add_histogram(
        &mut self,
        labels: &[(&str, &str)],
        bounds: &[f64],
        counts: &[u64],
        sum: f64,
    ) {
        let Some(mut metric) = self.admit(labels, MAX_HISTOGRAMS) else {
            return;
        };
        let mut cumulative = 0u64;
        let below = bounds.iter().zip(counts).map(|(&bound, &count)| {
            cumulative = cumulative.saturating_add(count);
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(cumulative);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(below.collect());
        let all = counts.iter().fold(0u64, |all, n| all.saturating_add(*n));
        histogram.set_sample_count(all);
        histogram.set_sample_sum(sum);
        metric.set_histogram(histogram);
        self.series.push(metric);
    }

    /// Whether a series with these labels fits and is new. A full family refuses at once: there may
    /// be thousands.
    fn admit(&mut self, labels: &[(&str, &str)], most: usize) -> Option<Metric> {
        self.labelled |= !labels.is_empty();
        if self.series.len() >= most {
            self.dropped += 1;
            return None;
        }
        let mut hasher = DefaultHasher::new();
        for &(_, value) in labels {
            clip(value).hash(&mut hasher);
        }
        if !self.seen.insert(hasher.finish()) {
            return None;
        }
        let pairs = labels.iter().map(|&(name, value)| label(name, value));
        Some(Metric::from_label(pairs.collect()))
    }
}

/// The part of a label value to keep, and the suffix.
fn clip(value: &str) -> (&str, &'static str) {
    if value.len() <= MAX_LABEL_LEN {
        return (value, "");
    }
    let end = value.floor_char_boundary(MAX_LABEL_LEN - ELLIPSIS.len());
    (&value[..end], ELLIPSIS)
}

fn label(name: &str, value: &str) -> LabelPair {
    let (kept, added) = clip(value);
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value([kept, added].concat());
    pair
}

/// The page under construction.
pub(super) struct MetricsPage<'a> {
    text: &'a mut String,
    dropped: Vec<(&'static str, u64)>,
}

impl<'a> MetricsPage<'a> {
    pub(super) const fn new(text: &'a mut String) -> Self {
        Self {
            text,
            dropped: Vec::new(),
        }
    }

    /// Writes a family, unless it is empty.
    pub(super) fn put(&mut self, family: Family) -> Result<()> {
        if family.series.is_empty() {
            return Ok(());
        }
        if family.labelled {
            self.dropped.push((family.name, family.dropped));
        }
        let mut proto = MetricFamily::default();
        proto.set_name(family.name.to_owned());
        proto.set_help(family.help.to_owned());
        proto.set_field_type(family.kind);
        proto.set_metric(family.series);
        TextEncoder::new().encode_utf8(&[proto], self.text)
    }

    /// Writes the count of dropped series.
    pub(super) fn finish(mut self) -> Result<()> {
        let mut family = Family::gauge(
            "throttle_monitor_dropped_series",
            "Series left out of this page because their family is at its limit, by family. Source: the daemon.",
        );
        for (name, dropped) in std::mem::take(&mut self.dropped) {
            family.add(&[("family", name)], dropped as f64);
        }
        self.put(family)
    }
}

#[cfg(test)]
mod tests {
    use super::{Family, MAX_LABEL_LEN, MetricsPage, label};

    #[test]
    fn a_long_label_value_is_cut_between_characters() {
        let long = "é".repeat(MAX_LABEL_LEN);
        let pair = label("device", &long);
        assert!(pair.value().len() <= MAX_LABEL_LEN && pair.value().len() > MAX_LABEL_LEN - 4);
        assert!(pair.value().ends_with("é…"));
        assert_eq!(label("device", "short").value(), "short");
    }

    #[test]
    fn values_that_only_differ_where_they_are_cut_are_one_series() {
        let mut family = Family::gauge("a", "b");
        let long = "x".repeat(MAX_LABEL_LEN);
        family.add(&[("x", &format!("{long}1"))], 1.0);
        family.add(&[("x", &format!("{long}2"))], 2.0);
        assert_eq!(family.series.len(), 1);
    }

    #[test]
    fn labels_that_only_differ_in_where_one_value_ends_are_two_series() {
        let mut family = Family::gauge("a", "b");
        family.add(&[("x", "ab"), ("y", "c")], 1.0);
        family.add(&[("x", "a"), ("y", "bc")], 2.0);
        family.add(&[("x", "a"), ("y", "bc")], 3.0);
        let mut text = String::new();
        MetricsPage::new(&mut text).put(family).unwrap();
        assert_eq!(
            text,
            "# HELP a b\n# TYPE a gauge\na{x=\"ab\",y=\"c\"} 1\na{x=\"a\",y=\"bc\"} 2\n"
        );
    }

    #[test]
    fn a_value_that_is_not_a_number_is_left_out() {
        let mut family = Family::gauge("a", "b");
        family.add_some(&[], Some(f64::NAN));
        family.add_some(&[], Some(f64::INFINITY));
        family.add_some(&[], None);
        let mut text = String::new();
        MetricsPage::new(&mut text).put(family).unwrap();
        assert_eq!(text, "");
    }
}
