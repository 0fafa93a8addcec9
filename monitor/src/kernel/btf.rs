//! What the kernel's BTF tells: offsets in structs, and which functions can be
//! traced by it.

use std::{collections::BTreeMap, path::Path};

use btf_rs::{Btf, Type};
use serde::{Deserialize, Serialize};

use super::signals;

/// Facts out of `/sys/kernel/btf/vmlinux`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BtfFacts {
    /// `struct.field` to its offset in bytes.
    pub offsets: BTreeMap<String, u32>,
    /// Functions of interest that BTF knows, which is to say that they are not
    /// inlined and have their own name.
    pub functions: Vec<String>,
    /// Tracepoints of interest that can be attached by BTF (a typedef
    /// `btf_trace_<name>` exists).
    pub tracepoints: Vec<String>,
    /// Helpers of interest that programs can call.
    #[serde(default)]
    pub helpers: Vec<String>,
}

/// Whether a task is a kernel thread.
pub const TASK_FLAGS: &str = "task_struct.flags";
/// The first thread of a task's process.
pub const TASK_GROUP_LEADER: &str = "task_struct.group_leader";
/// A task's name.
pub const TASK_COMM: &str = "task_struct.comm";
/// A thread's id.
pub const TASK_PID: &str = "task_struct.pid";
/// Its process's id.
pub const TASK_TGID: &str = "task_struct.tgid";
/// The task that runs, as a pointer that programs can follow, since 5.11.
pub const TASK_BY_BTF: &str = "get_current_task_btf";
/// From a kworker to the name of the workqueue that it works for, since 5.17.
pub const WORKQUEUE: &[&str] = &[
    "task_struct.worker_private",
    "kthread.data",
    "worker.current_pwq",
    "pool_workqueue.wq",
    "workqueue_struct.name",
];
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
/// What writers wait on while an NFS mount is congested, since 6.11. A struct of
/// the module nfs, but the kernel's own BTF has it too.
pub const NFS_CONGESTION_WAIT: &str = "nfs_server.write_congestion_wait";
/// From a file's pages to the flag of a congested NFS mount, since 5.18.
pub const NFS_WRITE_CONGESTED: &[&str] = &[
    MAPPING_HOST,
    "inode.i_sb",
    "super_block.s_dev",
    "super_block.s_fs_info",
    "nfs_server.s_dev",
    "nfs_server.write_congested",
];
/// Struct fields of interest besides [`FILE_TO_BDI`],
/// [`NFS_WRITE_CONGESTED`] and [`WORKQUEUE`].
const OFFSETS: &[&str] = &[
    TASK_FLAGS,
    TASK_GROUP_LEADER,
    TASK_COMM,
    TASK_PID,
    TASK_TGID,
    NFS_CONGESTION_WAIT,
];

/// Reads the facts out of a BTF file.
///
/// # Errors
///
/// One sentence: the file cannot be read or is no BTF.
pub fn read(path: &Path) -> Result<BtfFacts, String> {
    let btf = Btf::from_file(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(facts(&btf))
}

/// What is of interest in it.
pub(super) fn facts(btf: &Btf) -> BtfFacts {
    let functions =
        signals::functions().filter(|name| knows(btf, name, |ty| matches!(ty, Type::Func(_))));
    let tracepoints = signals::btf_tracepoints().filter(|name| {
        knows(btf, &format!("btf_trace_{name}"), |ty| {
            matches!(ty, Type::Typedef(_))
        })
    });
    BtfFacts {
        functions: functions.map(str::to_owned).collect(),
        tracepoints: tracepoints.map(str::to_owned).collect(),
        offsets: OFFSETS
            .iter()
            .chain(FILE_TO_BDI)
            .chain(NFS_WRITE_CONGESTED)
            .chain(WORKQUEUE)
            .filter_map(|field| Some(((*field).to_owned(), offset(btf, field)?)))
            .collect(),
        helpers: [TASK_BY_BTF]
            .into_iter()
            .filter(|name| has_helper(btf, name))
            .map(str::to_owned)
            .collect(),
    }
}

/// The kernel numbers its helpers in an enum.
fn has_helper(btf: &Btf, name: &str) -> bool {
    let name = format!("BPF_FUNC_{name}");
    btf.resolve_types_by_name("bpf_func_id").is_ok_and(|types| {
        types.iter().any(|ty| {
            let Type::Enum(all) = ty else { return false };
            all.members
                .iter()
                .any(|member| btf.resolve_name(member).is_ok_and(|found| found == name))
        })
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
