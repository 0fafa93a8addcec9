//! Reads from ELF files the libraries or modules that they need.

use anyhow::{Context as _, Result};
use goblin::elf::Elf;

/// The requirements of a program.
#[derive(Default)]
pub struct Needs {
    /// Names of shared libraries (`DT_NEEDED`).
    pub libraries: Vec<String>,
    /// The path of its loader; none for a library or a static program.
    pub interpreter: Option<String>,
}

/// The requirements of a program or library.
pub fn needs(bytes: &[u8]) -> Result<Needs> {
    let elf = Elf::parse(bytes).context("not an ELF file")?;
    Ok(Needs {
        libraries: elf.libraries.iter().map(|&name| name.to_owned()).collect(),
        interpreter: elf.interpreter.map(str::to_owned),
    })
}

/// The names in `depends=` of a kernel module's `.modinfo`.
pub fn module_dependencies(bytes: &[u8]) -> Result<Vec<String>> {
    let elf = Elf::parse(bytes).context("not an ELF file")?;
    let info = elf
        .section_headers
        .iter()
        .find(|section| elf.shdr_strtab.get_at(section.sh_name) == Some(".modinfo"))
        .and_then(goblin::elf::SectionHeader::file_range)
        .and_then(|range| bytes.get(range))
        .context("a kernel module without .modinfo")?;
    Ok(depends(info))
}

fn depends(info: &[u8]) -> Vec<String> {
    info.split(|&byte| byte == 0)
        .filter_map(|entry| entry.strip_prefix(b"depends="))
        .flat_map(|names| names.split(|&byte| byte == b','))
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_of_a_module_are_read_from_its_modinfo() {
        let info = b"license=GPL\0depends=sunrpc,nfs-acl\0retpoline=Y\0";
        assert_eq!(depends(info), ["sunrpc", "nfs_acl"]);
        assert_eq!(depends(b"depends=\0"), [""; 0]);
    }
}
