//! The bytes that SMB servers acknowledged.

use std::path::Path;

use monitor_model::observation::{Bdi, ClientKind, Topology};

use crate::host::smb_stats::{SmbStats, share};

/// Fills in the acknowledged bytes of SMB clients with a known server. The client counts by share, so of two mounts of one share they are unknown. Without such a client nothing is read.
pub fn acknowledged(bdis: &mut [Bdi], topology: &Topology, procfs: &Path) {
    let here = topology.served.iter();
    let here = here.map(|one| (one.kind, &one.bdi, &one.name));
    let remote = topology.remote.iter();
    let remote = remote.map(|one| (one.kind, &one.bdi, &one.name));
    let served = here
        .chain(remote)
        .filter(|(kind, ..)| *kind == ClientKind::Cifs);
    if served.clone().next().is_none() {
        return;
    }
    let Some(stats) = SmbStats::read(procfs) else {
        return;
    };
    let mounts = topology
        .file_systems
        .iter()
        .filter(|fs| matches!(&*fs.fstype, "cifs" | "smb3"));
    for (_, bdi, source) in served {
        let name = share(source);
        let same = mounts.clone().filter(|fs| share(&fs.source) == name);
        if let Some(one) = bdis.iter_mut().find(|one| one.bdi == *bdi)
            && same.count() <= 1
        {
            one.acked_bytes = stats.written(source);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use monitor_model::observation::{
        Bdi, ClientKind, FileSystem, Proof, RemoteDevice, ServedDevice, ServerRef, Topology,
    };

    use super::acknowledged;

    fn topology(kind: ClientKind, mounts: &[&str]) -> Topology {
        let mount = |source: &&str| FileSystem {
            fstype: "cifs".into(),
            source: (*source).into(),
            ..FileSystem::default()
        };
        Topology {
            served: vec![ServedDevice {
                bdi: "cifs-1".into(),
                kind,
                name: "//h/s/below".into(),
                server: ServerRef::default(),
                proof: Proof::Stream,
                address: "10.9.0.2:445".into(),
                client_netns: None,
                server_netns: None,
            }],
            file_systems: mounts.iter().map(mount).collect(),
            ..Topology::default()
        }
    }

    fn acked(topology: &Topology, procfs: &Path) -> Option<u64> {
        let bdi = Bdi {
            bdi: "cifs-1".into(),
            ..Bdi::default()
        };
        let mut bdis = [bdi];
        acknowledged(&mut bdis, topology, procfs);
        bdis[0].acked_bytes
    }

    #[test]
    fn a_client_has_the_bytes_of_its_share_unless_that_is_mounted_twice() {
        let procfs = tempfile::tempdir().unwrap();
        let one = topology(ClientKind::Cifs, &["//h/s/below", "//h/other"]);
        assert_eq!(acked(&one, procfs.path()), None);
        fs::create_dir_all(procfs.path().join("fs/cifs")).unwrap();
        let stats = "1) \\\\h\\s\nSMBs: 9\nBytes read: 0  Bytes written: 77\n";
        fs::write(procfs.path().join("fs/cifs/Stats"), stats).unwrap();
        assert_eq!(acked(&one, procfs.path()), Some(77));
        let far = Topology {
            served: Vec::new(),
            remote: vec![RemoteDevice {
                bdi: "cifs-1".into(),
                kind: ClientKind::Cifs,
                name: "//h/s/below".into(),
                address: "10.9.0.2:445".into(),
            }],
            ..one
        };
        assert_eq!(acked(&far, procfs.path()), Some(77), "its server is remote");
        let twice = topology(ClientKind::Cifs, &["//h/s/below", "//H/S"]);
        assert_eq!(acked(&twice, procfs.path()), None);
        let other = topology(ClientKind::Nbd, &[]);
        assert_eq!(acked(&other, procfs.path()), None);
    }
}
