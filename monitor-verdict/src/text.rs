//! Numbers as people read them.

/// `12.3 MB`.
#[must_use]
pub fn bytes(bytes: f64) -> String {
    let (mut value, mut unit) = (bytes, "B");
    for next in ["kB", "MB", "GB", "TB"] {
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1000.0, next);
    }
    if unit == "B" || value >= 100.0 {
        format!("{value:.0} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// `12.3 MB/s`.
#[must_use]
pub fn rate(bytes_per_second: f64) -> String {
    format!("{}/s", bytes(bytes_per_second))
}

/// A share as `99 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// Nanoseconds as `6.0 s`.
#[must_use]
pub fn seconds(ns: u64) -> String {
    format!("{:.1} s", ns as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::{bytes, percent, rate, seconds};

    #[test]
    fn numbers_have_one_decimal_where_it_says_something() {
        assert_eq!(bytes(0.0), "0 B");
        assert_eq!(bytes(999.6), "1.0 kB");
        assert_eq!(bytes(12_345_678.0), "12.3 MB");
        assert_eq!(rate(145_000.0), "145 kB/s");
        assert_eq!(bytes(9.9e18), "9900000 TB");
        assert_eq!(percent(0.994), "99 %");
        assert_eq!(seconds(6_040_000_000), "6.0 s");
    }
}
