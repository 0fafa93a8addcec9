//! LIO, the kernel's SCSI target, by configfs. No lock of these attributes is held during I/O, but a
//! directory that is being changed is locked: removing a LUN waits for its requests.

use std::{
    fs,
    path::{Path, PathBuf},
};

use compact_str::{CompactString, format_compact};
use monitor_model::observation::ClientKind;

use super::super::{Device, MAX_DEVICES, Place, Target, TargetFile};
use super::{disk, line, names};

/// The server's name.
const LIO: &str = "lio";

/// The disks of `tcm_loop`.
///
/// The address of a target portal group (`tcm_loop_tpg_address_show`,
/// `drivers/target/loopback/tcm_loop.c`) is that of its disks but for the LUN, so it proves which
/// backstore a disk has. Kernels before 6.17 crash when that is read of an adapter that got no SCSI
/// host, so it is read only if there are as many hosts as adapters.
pub fn loopback(sysfs: &Path, config: &Path) -> Vec<Device> {
    let fabric = config.join("loopback");
    let mut adapters = names(&fabric);
    adapters.retain(|name| name.contains('.'));
    if adapters.is_empty() || hosts(sysfs) < adapters.len() {
        return Vec::new();
    }
    let mut devices = Vec::new();
    for adapter in adapters {
        for group in groups(&fabric.join(adapter)) {
            let Some(address) = line(&group.join("address")).filter(|text| is_address(text)) else {
                continue;
            };
            for (number, lun) in luns(&group) {
                let name = format!("{address}:{number}");
                let scsi_device = sysfs.join("class/scsi_device").join(name).join("device");
                if devices.len() < MAX_DEVICES
                    && let Some((name, bdi)) = disk(&scsi_device)
                    && let Some(target) = target(config, &lun)
                {
                    devices.push(Device {
                        bdi,
                        kind: ClientKind::Scsi,
                        name: format_compact!("/dev/{name}"),
                        server: Place::Target(target),
                        target: None,
                    });
                }
            }
        }
    }
    devices
}

/// The number of SCSI hosts of `tcm_loop`.
fn hosts(sysfs: &Path) -> usize {
    let class = sysfs.join("class/scsi_host");
    let is_one = |host: &CompactString| {
        let name = line(&class.join(host).join("proc_name"));
        name.is_some_and(|name| name == "tcm_loopback")
    };
    names(&class).iter().filter(|host| is_one(host)).count()
}

/// `HOST:CHANNEL:ID`.
fn is_address(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    text.split(':').count() == 3 && text.split(':').all(is_number)
}

/// The target portal groups of a target.
pub fn groups(target: &Path) -> Vec<PathBuf> {
    let names = names(target);
    let groups = names.iter().filter(|name| name.starts_with("tpgt_"));
    groups.map(|name| target.join(name)).collect()
}

/// The LUNs of a group or an initiator, by number.
pub fn luns(group: &Path) -> Vec<(u64, PathBuf)> {
    let dir = group.join("lun");
    let dir = if dir.exists() { dir } else { group.into() };
    let number = |name: &CompactString| {
        let number = name.strip_prefix("lun_")?.parse().ok()?;
        Some((number, dir.join(name)))
    };
    names(&dir).iter().filter_map(number).collect()
}

/// The last two parts of a link in a LUN's directory: of a group's LUN the backstore, of an
/// initiator's the group's LUN. Other entries are attributes.
pub fn link(lun: &Path) -> Option<[CompactString; 2]> {
    let entries = fs::read_dir(lun).ok()?.flatten().take(MAX_DEVICES);
    let mut links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
    let target = fs::read_link(links.next()?.path()).ok()?;
    let name = target.file_name()?.to_str()?;
    let parent = target.parent()?.file_name()?.to_str()?;
    Some([parent.into(), name.into()])
}

/// The target behind a group's LUN; `None`: its backstore writes to nothing that is known.
pub fn target(config: &Path, lun: &Path) -> Option<Target> {
    let [host, name] = link(lun)?;
    let backstore = config.join("core").join(&host).join(name);
    let info = fs::read_to_string(backstore.join("info")).ok()?;
    Some(Target {
        name: LIO.into(),
        files: Some(vec![file(&host, &info)?]),
    })
}

/// Parses a backstore's `info`: `fd_show_configfs_dev_params`
/// (`drivers/target/target_core_file.c`) and `iblock_show_configfs_dev_params`
/// (`target_core_iblock.c`).
///
/// `O_DSYNC`, as `fileio` has it without `fd_buffered_io`, writes through the page cache and waits.
/// Only asynchronous I/O (`fd_async_io`, since 4.18) goes past it.
pub fn file(host: &str, info: &str) -> Option<TargetFile> {
    let word =
        |text: &str| -> Option<CompactString> { Some(text.split_whitespace().next()?.into()) };
    if host.starts_with("fileio_") {
        let (_, rest) = info.split_once("  File: ")?;
        let (path, rest) = rest.split_once("  Size: ")?;
        return path.starts_with('/').then(|| TargetFile {
            path: path.into(),
            device: None,
            direct: rest.contains(" Async: 1"),
        });
    }
    if host.starts_with("iblock_") {
        let (_, numbers) = info.split_once("Major: ")?;
        let (major, rest) = numbers.split_once(" Minor: ")?;
        let (major, minor) = (word(major)?, word(rest)?);
        let name = info
            .split_once("iBlock device: ")
            .and_then(|(_, rest)| word(rest));
        return Some(TargetFile {
            path: name
                .map(|name| format_compact!("/dev/{name}"))
                .unwrap_or_default(),
            device: (major != "0").then(|| format_compact!("{major}:{minor}")),
            direct: true,
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{file, is_address};

    const FILEIO: &str = "Status: ACTIVATED  Max Queue Depth: 0  SectorSize: 512  HwMaxSectors: 16384\n        \
         TCM FILEIO ID: 0        File: /export/my img  Size: 1572864000  Mode: Buffered-WCE Async: 0\n";
    const IBLOCK: &str = "Status: ACTIVATED  Max Queue Depth: 0  SectorSize: 512  HwMaxSectors: 2048\n        \
         iBlock device: vdb1  UDEV PATH: /dev/vdb1  readonly: 0\n        Major: 254 Minor: 17  CLAIMED: IBLOCK\n";

    #[test]
    fn a_file_is_written_through_the_page_cache_unless_its_io_is_asynchronous() {
        let one = file("fileio_0", FILEIO).unwrap();
        assert_eq!((&*one.path, one.direct), ("/export/my img", false));
        let synced = FILEIO.replace("Buffered-WCE", "O_DSYNC");
        assert!(!file("fileio_0", &synced).unwrap().direct);
        let direct = FILEIO.replace("Async: 0", "Async: 1");
        assert!(file("fileio_12", &direct).unwrap().direct);
    }

    #[test]
    fn a_block_device_is_known_by_its_number_and_written_directly() {
        let one = file("iblock_1", IBLOCK).unwrap();
        assert_eq!((&*one.path, one.direct), ("/dev/vdb1", true));
        assert_eq!(one.device.unwrap(), "254:17");
        let idle = "Status: DEACTIVATED\n          readonly: 0\n        Major: 0 Minor: 0\n";
        assert_eq!(file("iblock_1", idle).unwrap().device, None);
    }

    #[test]
    fn memory_and_passed_through_devices_are_no_files() {
        for (host, info) in [
            ("rd_mcp_0", FILEIO),
            ("pscsi_0", IBLOCK),
            ("user_0", FILEIO),
        ] {
            assert_eq!(file(host, info), None, "{host}");
        }
        assert_eq!(
            file("fileio_0", "Status: DEACTIVATED  File: (null)  Size: 0"),
            None
        );
    }

    #[test]
    fn an_address_is_three_numbers() {
        assert!(is_address("2:0:1"));
        for no in ["", "2:0", "2:0:1:0", "2::1", "../:0:1", "-1:0:1"] {
            assert!(!is_address(no), "{no}");
        }
    }

    proptest! {
        #[test]
        fn no_info_makes_the_parser_panic(
            text in prop::collection::vec(prop::sample::select(&["  File: ", "  Size: ", "/a", "Major: ", " Minor: ", "8", "é", "\n", " Async: 1", "iBlock device: "][..]), 0..9)
        ) {
            for host in ["fileio_0", "iblock_0"] {
                if let Some(file) = file(host, &text.concat()) {
                    prop_assert!(file.path.is_empty() || file.path.starts_with('/'));
                }
            }
        }
    }
}
