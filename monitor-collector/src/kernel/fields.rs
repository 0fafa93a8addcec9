//! Which fields of which tracepoints the programs read, and under which names
//! the kernels know them.

use monitor_common::{BDI_NAME_LEN, Offsets};

use super::format::Field;

/// A field that a program reads.
pub struct RequiredField {
    /// `group/name` of the tracepoint.
    pub tracepoint: &'static str,
    /// Its names, newest kernels last.
    pub names: &'static [&'static str],
    /// The size that the program reads, bytes. A field of another size is not
    /// the one that is meant.
    pub size: u32,
    /// Where its offset goes.
    pub slot: fn(&mut Offsets) -> &mut i32,
    /// Without it the program can do nothing.
    pub needed: bool,
}

macro_rules! wanted {
    ($($tracepoint:literal: $($slot:ident = [$($name:literal),+], $size:expr, $needed:literal;)+)+) => {
        &[$($(RequiredField {
            tracepoint: $tracepoint,
            names: &[$($name),+],
            size: $size,
            slot: |offsets| &mut offsets.$slot,
            needed: $needed,
        },)+)+]
    };
}

#[expect(clippy::cast_possible_truncation, reason = "32")]
const BDI_NAME_SIZE: u32 = BDI_NAME_LEN as u32;

/// All of them.
pub const REQUIRED_FIELDS: &[RequiredField] = wanted! {
    "writeback/balance_dirty_pages":
        bdp_bdi = ["bdi"], BDI_NAME_SIZE, true;
        bdp_pause = ["pause"], 8, true;
        bdp_paused = ["paused"], 8, true;
        bdp_limit = ["limit"], 8, false;
        bdp_dirty = ["dirty"], 8, false;
        // Renamed between 6.12 and 6.18, together with the order.
        bdp_bdi_setpoint = ["bdi_setpoint", "wb_setpoint"], 8, false;
        bdp_bdi_dirty = ["bdi_dirty", "wb_dirty"], 8, false;
        bdp_task_ratelimit = ["task_ratelimit"], 8, false;
        bdp_cgroup = ["cgroup_ino"], 8, false;
    "writeback/writeback_congestion_wait":
        congestion_delayed = ["usec_delayed"], 4, true;
    "writeback/writeback_wait_iff_congested":
        iff_congested_delayed = ["usec_delayed"], 4, true;
    "vmscan/mm_vmscan_throttled":
        throttled_delayed = ["usec_delayed"], 4, true;
        throttled_reason = ["reason"], 4, false;
    "nfs/nfs_initiate_write":
        initiate_write_dev = ["dev"], 4, true;
        initiate_write_count = ["count"], 4, true;
    "nfs/nfs_writeback_done":
        writeback_done_dev = ["dev"], 4, true;
        writeback_done_count = ["res_count"], 4, true;
        writeback_done_error = ["status", "error"], 4, false;
    "nfs/nfs_initiate_commit":
        initiate_commit_dev = ["dev"], 4, true;
    "nfs/nfs_commit_done":
        commit_done_dev = ["dev"], 4, true;
    "sunrpc/xprt_transmit":
        transmit_client = ["client_id"], 4, true;
        transmit_xid = ["xid"], 4, true;
        transmit_status = ["status"], 4, false;
    "sunrpc/svc_process":
        process_xid = ["xid"], 4, true;
        process_addr = ["addr"], 4, false;
    "sunrpc/rpc_task_begin":
        task_begin_client = ["client_id"], 4, true;
    "nfsd/nfsd_write_start":
        nfsd_write_start_len = ["len"], 4, false;
    "nfsd/nfsd_write_io_done":
        nfsd_write_io_done_len = ["len"], 4, true;
};

/// Writes the offsets of one tracepoint's fields.
///
/// # Errors
///
/// One sentence that names the needed field that is missing.
pub fn resolve(tracepoint: &str, fields: &[Field], offsets: &mut Offsets) -> Result<(), String> {
    for wanted in REQUIRED_FIELDS
        .iter()
        .filter(|w| w.tracepoint == tracepoint)
    {
        let found = fields
            .iter()
            .find(|f| wanted.names.contains(&f.name.as_str()) && f.size == wanted.size);
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
