//! What the kernel's BTF tells: offsets in structs, and which functions can be
//! traced by it.

use std::{collections::BTreeMap, path::Path};

use btf_rs::{Btf, Type};
use serde::{Deserialize, Serialize};

use monitor_common::Offsets;

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
}

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
        offsets: Offsets::MEMBERS
            .iter()
            .map(|member| member.path)
            .chain(signals::btf_offsets())
            .filter_map(|path| Some((path.to_owned(), offset(btf, path)?)))
            .collect(),
    }
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
