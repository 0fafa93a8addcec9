//! Numbers as text for people.

use std::time::{Duration, UNIX_EPOCH};

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

/// How long something lasts: `5 us`, `120 ms`, `15.4 s`, `3m 12s`, `2h 03m`, `4d 07h`.
#[must_use]
pub fn span(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "?".to_owned();
    }
    let whole = Duration::try_from_secs_f64(seconds).map_or(u64::MAX, |time| time.as_secs());
    match whole {
        _ if seconds < 0.001 => format!("{:.0} us", seconds.max(0.0) * 1e6),
        _ if seconds < 0.9995 => format!("{:.0} ms", seconds * 1e3),
        _ if seconds < 9.995 => format!("{seconds:.2} s"),
        0..100 => format!("{seconds:.1} s"),
        100..3600 => format!("{}m {:02}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h {:02}m", whole / 3600, whole / 60 % 60),
        _ => format!("{}d {:02}h", whole / 86_400, whole / 3600 % 24),
    }
}

/// A moment, milliseconds since 1970, as RFC 3339 in UTC.
#[must_use]
pub fn time(unix_ms: u64) -> String {
    // The formatter refuses years beyond 9999.
    let latest = Duration::from_millis(253_402_300_799_999);
    let at = UNIX_EPOCH + Duration::from_millis(unix_ms).min(latest);
    humantime::format_rfc3339_millis(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::{bytes, percent, rate, seconds, span};

    #[test]
    fn numbers_have_one_decimal_where_it_matters() {
        assert_eq!(bytes(0.0), "0 B");
        assert_eq!(bytes(1023.6), "1.0 KiB");
        assert_eq!(bytes(12_345_678.0), "11.8 MiB");
        assert_eq!(rate(145_000.0), "142 KiB/s");
        assert_eq!(bytes(9.9e18), "9003998 TiB");
        assert_eq!(percent(0.994), "99 %");
        assert_eq!(seconds(6_040_000_000), "6.0 s");
        let spans = [0.0, 5e-6, 0.12, 0.9996, 9.996, 15.44, 192.0, 7_380.0, 4e5];
        let words = spans.map(span);
        let expected = [
            "0 us", "5 us", "120 ms", "1.00 s", "10.0 s", "15.4 s", "3m 12s", "2h 03m", "4d 15h",
        ];
        assert_eq!(words, expected);
        assert_eq!([span(f64::NAN), span(-1.0)], ["?", "0 us"]);
    }
}
