//! Where the fields of a tracepoint's record are that the programs read.

use monitor_common::Offsets;

use super::format::Field;

/// Writes the offsets of one tracepoint's fields.
///
/// # Errors
///
/// One sentence that names the needed field that is missing.
pub fn resolve(tracepoint: &str, fields: &[Field], offsets: &mut Offsets) -> Result<(), String> {
    let wanted = Offsets::FIELDS.iter();
    for wanted in wanted.filter(|wanted| wanted.tracepoint == tracepoint) {
        let is_it = |field: &&Field| {
            wanted.names.contains(&field.name.as_str())
                && usize::try_from(field.size) == Ok(wanted.size)
        };
        let found = fields.iter().find(is_it);
        match found.and_then(|f| i32::try_from(f.offset).ok()) {
            Some(offset) => *(wanted.slot)(offsets) = offset,
            None if wanted.needed => {
                return Err(format!(
                    "the tracepoint {tracepoint} has no field {} of {} bytes",
                    wanted.names.join(" or "),
                    wanted.size
                ));
            }
            None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use monitor_common::Offsets;

    use super::resolve;
    use crate::kernel::format::Field;

    fn field(name: &str, offset: u32, size: u32) -> Field {
        Field {
            name: name.into(),
            offset,
            size,
        }
    }

    #[test]
    fn a_renamed_field_is_found_under_its_new_name() {
        let mut offsets = Offsets::UNKNOWN;
        let fields = [
            field("bdi", 8, 32),
            field("pause", 112, 8),
            field("paused", 104, 8),
            field("wb_dirty", 80, 8),
        ];
        resolve("writeback/balance_dirty_pages", &fields, &mut offsets).unwrap();
        assert_eq!(offsets.bdp_bdi_dirty, 80);
        assert_eq!(
            offsets.bdp_limit, -1,
            "a field that is not there stays unknown"
        );
    }

    #[test]
    fn a_needed_field_of_another_size_is_missing() {
        let fields = [field("usec_delayed", 12, 8)];
        let error = resolve(
            "writeback/writeback_congestion_wait",
            &fields,
            &mut Offsets::UNKNOWN.clone(),
        )
        .unwrap_err();
        assert!(
            error.contains("no field usec_delayed of 4 bytes"),
            "{error}"
        );
    }
}
