//! The node's dirty pages, out of /proc/vmstat.

use std::{fs, path::Path};

use super::Memory;

/// Reads /proc/vmstat; a line that is not there stays `None`.
pub fn read(procfs: &Path) -> Memory {
    let page_size = rustix::param::page_size() as u64;
    parse(
        &fs::read_to_string(procfs.join("vmstat")).unwrap_or_default(),
        page_size,
    )
}

fn parse(text: &str, page_size: u64) -> Memory {
    let mut memory = Memory {
        page_size,
        ..Memory::default()
    };
    for line in text.lines() {
        let Some((name, value)) = line.split_once(' ') else {
            continue;
        };
        let slot = match name {
            "nr_dirty" => &mut memory.dirty_bytes,
            "nr_writeback" => &mut memory.writeback_bytes,
            "nr_dirty_threshold" => &mut memory.dirty_limit_bytes,
            "nr_dirty_background_threshold" => &mut memory.background_limit_bytes,
            _ => continue,
        };
        *slot = value
            .parse::<u64>()
            .ok()
            .and_then(|pages| pages.checked_mul(page_size));
    }
    memory
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn pages_become_bytes_and_what_is_missing_stays_unknown() {
        let memory = parse(
            "nr_dirty 3\nnr_writeback_temp 9\nnr_dirty_threshold 10105\n",
            4096,
        );
        assert_eq!(memory.dirty_bytes, Some(12_288));
        assert_eq!(memory.writeback_bytes, None);
        assert_eq!(memory.dirty_limit_bytes, Some(41_390_080));
    }

    #[test]
    fn a_number_too_large_is_unknown_rather_than_wrong() {
        assert_eq!(
            parse("nr_dirty 18446744073709551615\n", 4096).dirty_bytes,
            None
        );
    }
}
