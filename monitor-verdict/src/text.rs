//! Numbers as people read them.

/// `12.3 MiB`.
#[must_use]
pub fn bytes(bytes: f64) -> String {
    let (mut value, mut unit) = (bytes, "B");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1023.5 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "B" || value >= 100.0 {
        format!("{value:.0} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// `12.3 MiB/s`.
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
        assert_eq!(bytes(1023.6), "1.0 KiB");
        assert_eq!(bytes(12_345_678.0), "11.8 MiB");
        assert_eq!(rate(145_000.0), "142 KiB/s");
        assert_eq!(bytes(9.9e18), "9003998 TiB");
        assert_eq!(percent(0.994), "99 %");
        assert_eq!(seconds(6_040_000_000), "6.0 s");
    }
}
