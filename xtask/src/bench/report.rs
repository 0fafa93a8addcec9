//! Numbers with their names, for people and as JSON.

use serde_json::{Value, json};

/// All measurements.
#[derive(Default)]
pub struct Report(Vec<Row>);

struct Row {
    part: &'static str,
    name: String,
    unit: &'static str,
    values: Vec<f64>,
}

impl Report {
    /// Adds repeated measurements, and prints their median and spread.
    pub fn add(
        &mut self,
        part: &'static str,
        name: impl Into<String>,
        unit: &'static str,
        values: Vec<f64>,
    ) {
        let row = Row {
            part,
            name: name.into(),
            unit,
            values,
        };
        let spread = match row.values.len() {
            0 | 1 => String::new(),
            count => format!(
                "  {} to {}, {count} rounds",
                number(quantile(&row.values, 0.0)),
                number(quantile(&row.values, 1.0))
            ),
        };
        let middle = number(median(&row.values));
        println!(
            "{part:<9} {:<66} {middle:>10} {:<8}{spread}",
            row.name, row.unit
        );
        self.0.push(row);
    }

    /// Adds a single number.
    pub fn one(
        &mut self,
        part: &'static str,
        name: impl Into<String>,
        unit: &'static str,
        value: f64,
    ) {
        self.add(part, name, unit, vec![value]);
    }

    /// All measurements as JSON.
    pub fn json(&self) -> Value {
        let rows = self.0.iter().map(|row| {
            json!({
                "part": row.part,
                "name": row.name,
                "unit": row.unit,
                "median": median(&row.values),
                "values": row.values,
            })
        });
        rows.collect()
    }
}

/// The median.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which this share lies.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    let at = (share * last as f64).round();
    // A share of 0 to 1 of a length.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    sorted.get(at as usize).copied().unwrap_or(f64::NAN)
}

/// The mean, and half the width of its 95 % confidence interval: by the normal distribution from
/// thirty values on, by Student's below.
pub fn mean_and_interval(values: &[f64]) -> (f64, f64) {
    /// 97.5 % quantiles of Student's t for 1 to 29 degrees of freedom.
    const STUDENT: [f64; 29] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
        2.052, 2.048, 2.045,
    ];
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let freedom = values.len().saturating_sub(1);
    let Some(before) = freedom.checked_sub(1) else {
        return (mean, f64::INFINITY);
    };
    let student = STUDENT.get(before).copied().unwrap_or(1.96);
    (mean, student * (squares / freedom as f64 / count).sqrt())
}

/// Three significant digits.
pub fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{mean_and_interval, median, quantile};

    #[test]
    fn the_middle_the_ends_and_the_interval_are_as_in_a_textbook() {
        let values = [4.0, 1.0, 3.0, 2.0, 5.0];
        assert_eq!((median(&values), quantile(&values, 0.0)), (3.0, 1.0));
        let (mean, interval) = mean_and_interval(&values);
        assert!(
            (mean - 3.0).abs() < 1e-9 && (interval - 1.963).abs() < 1e-3,
            "{interval}"
        );
        assert!(mean_and_interval(&[1.0]).1.is_infinite());
    }
}
