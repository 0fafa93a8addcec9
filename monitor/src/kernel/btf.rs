//! What the kernel's BTF tells: offsets in structs, and which functions can be
//! traced by it.

use std::{collections::BTreeMap, fs, path::Path};

use btf_rs::{Btf, Type};
use serde::{Deserialize, Serialize};

use super::signals;

/// Facts out of `/sys/kernel/btf/vmlinux`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BtfFacts {
    /// `struct.field` to its offset in bytes.
    pub offsets: BTreeMap<String, u32>,
    /// `struct.field` of modules that are loaded: of interest is only that they
    /// are there.
    #[serde(default)]
    pub module_fields: Vec<String>,
    /// Functions of interest that BTF knows, which is to say that they are not
    /// inlined and have their own name.
    pub functions: Vec<String>,
    /// Tracepoints of interest that can be attached by BTF (a typedef
    /// `btf_trace_<name>` exists).
    pub tracepoints: Vec<String>,
}

impl BtfFacts {
    /// Whether there is this `struct.field`.
    #[must_use]
    pub fn has_field(&self, path: &str) -> bool {
        self.offsets.contains_key(path) || self.module_fields.iter().any(|field| field == path)
    }
}

/// Whether a task is a kernel thread.
pub const TASK_FLAGS: &str = "task_struct.flags";
/// The first thread of a task's process.
pub const TASK_GROUP_LEADER: &str = "task_struct.group_leader";
/// A task's name.
pub const TASK_COMM: &str = "task_struct.comm";
/// The name of a BDI, since 5.7.
pub const BDI_NAME: &str = "backing_dev_info.dev_name";
/// The file whose pages they are.
pub const MAPPING_HOST: &str = "address_space.host";
/// From a file to the BDI that its pages belong to, and that BDI's name.
pub const FILE_TO_BDI: &[&str] = &[
    "file.f_inode",
    "inode.i_sb",
    "super_block.s_bdi",
    "super_block.s_dev",
    BDI_NAME,
];
/// Struct fields of interest besides [`FILE_TO_BDI`].
const OFFSETS: &[&str] = &[TASK_FLAGS, TASK_GROUP_LEADER, TASK_COMM, MAPPING_HOST];

/// What writers wait on while an NFS mount is congested, since 6.11.
pub const NFS_CONGESTION_WAIT: &str = "nfs_server.write_congestion_wait";
/// Every field of interest in a module, by module.
const MODULE_FIELDS: &[(&str, &str)] = &[("nfs", NFS_CONGESTION_WAIT)];

/// Fields of interest that the BTF of a loaded module tells of. A module's BTF
/// builds on the kernel's, which is large and not kept; the names are its own.
#[must_use]
pub fn module_fields(sysfs: &Path) -> Vec<String> {
    MODULE_FIELDS
        .iter()
        .filter(|(module, path)| {
            fs::read(sysfs.join("kernel/btf").join(module)).is_ok_and(|btf| {
                path.split_once('.')
                    .is_some_and(|(_, name)| has_name(&btf, name))
            })
        })
        .map(|(_, path)| (*path).to_owned())
        .collect()
}

/// Whether a BTF's section of strings has this one.
fn has_name(btf: &[u8], name: &str) -> bool {
    let wanted = [&b"\0"[..], name.as_bytes(), b"\0"].concat();
    btf.windows(wanted.len()).any(|bytes| bytes == wanted)
}

/// Reads the facts out of a BTF file.
///
/// # Errors
///
/// One sentence: the file cannot be read or is no BTF.
pub fn read(path: &Path) -> Result<BtfFacts, String> {
    let btf = Btf::from_file(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let functions =
        signals::functions().filter(|name| knows(&btf, name, |ty| matches!(ty, Type::Func(_))));
    let tracepoints = signals::btf_tracepoints().filter(|name| {
        knows(&btf, &format!("btf_trace_{name}"), |ty| {
            matches!(ty, Type::Typedef(_))
        })
    });
    Ok(BtfFacts {
        module_fields: Vec::new(),
        functions: functions.map(str::to_owned).collect(),
        tracepoints: tracepoints.map(str::to_owned).collect(),
        offsets: OFFSETS
            .iter()
            .chain(FILE_TO_BDI)
            .filter_map(|field| Some(((*field).to_owned(), offset(&btf, field)?)))
            .collect(),
    })
}

fn knows(btf: &Btf, name: &str, kind: impl Fn(&Type) -> bool) -> bool {
    btf.resolve_types_by_name(name)
        .is_ok_and(|types| types.iter().any(kind))
}

/// A field's offset in bytes; fields of anonymous members are not looked for.
fn offset(btf: &Btf, path: &str) -> Option<u32> {
    let (name, field) = path.split_once('.')?;
    btf.resolve_types_by_name(name)
        .ok()?
        .into_iter()
        .find_map(|ty| {
            let Type::Struct(found) = ty else { return None };
            found
                .members
                .iter()
                .find(|member| btf.resolve_name(*member).is_ok_and(|name| name == field))
                .map(|member| member.bit_offset() / 8)
        })
}

#[cfg(test)]
mod tests {
    use super::has_name;

    #[test]
    fn a_name_is_found_whole_only() {
        let btf = b"\x9f\xeb\0nfs_server\0write_congestion_wait\0";
        assert!(has_name(btf, "write_congestion_wait"));
        assert!(!has_name(btf, "congestion_wait"));
        assert!(!has_name(btf, "write_congest"));
    }
}
