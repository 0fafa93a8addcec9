//! Sizes as people write them: `64MiB`.

const MAX_BYTES: u64 = 1 << 40;

/// Bytes of a text such as `64MiB`, `2 GiB` or `1048576`.
///
/// # Errors
///
/// It is not a size, less than `least`, which is whole MiB, or more than 1024 GiB.
pub fn at_least(least: u64, text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        other => return Err(format!("{other:?} is not a unit: use B, KiB, MiB or GiB")),
    };
    let number = digits.trim_end().parse::<u64>();
    let number = number.map_err(|_| "must begin with a whole number, such as 64MiB")?;
    number
        .checked_mul(1 << unit)
        .filter(|bytes| (least..=MAX_BYTES).contains(bytes))
        .ok_or_else(|| format!("must be from {}MiB to 1024GiB", least >> 20))
}

#[cfg(test)]
mod tests {
    use super::at_least;

    #[test]
    fn a_size_is_a_number_and_a_unit_and_large_enough() {
        let size = |text| at_least(2 << 20, text);
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("3 GiB"), Ok(3 << 30));
        assert_eq!(size("2097152B"), Ok(2 << 20));
        assert_eq!(size("2097152"), Ok(2 << 20));
        for no in [
            "",
            "64",
            "64MB",
            "-1MiB",
            "1.5GiB",
            "MiB",
            "1MiB",
            "2000GiB",
            "18446744073709551615GiB",
        ] {
            assert!(size(no).is_err(), "{no}");
        }
    }
}
