//! The files that a plan needs in its image beside those of every image. Each file costs the guest
//! memory, and small guests are small on purpose.

use std::collections::BTreeSet;

use guest::{BlockStep, FilesStep, Filesystem, Plan, SmbServer, Step};

/// Modules of every image; a plan adds those that it loads.
pub const MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_blk",
    "veth",
    "sunrpc",
    "nfs",
    "nfsv4",
    "nfsd",
    "auth_rpcgss",
    "loop",
    "crc32c_generic",
    "md5",
    "sha256_generic",
    // For the daemon: who has the other end of a socket.
    "unix_diag",
    "tcp_diag",
];

/// Programs that steps of any plan, or the kernel, call by name.
pub const PROGRAMS: &[&str] = &[
    "exportfs",
    "ip",
    "kmod",
    "mke2fs",
    "nfsdcld",
    "rpc.mountd",
    "rpc.nfsd",
];

/// Names of required modules and programs.
#[derive(Default)]
pub struct Parts {
    /// Kernel modules.
    pub modules: BTreeSet<String>,
    /// Programs.
    pub programs: BTreeSet<String>,
    /// Whether nfs-ganesha is Debian 13's. Then all programs link to its libraries.
    pub ganesha_six: bool,
}

impl Parts {
    /// Adds the parts of this plan.
    pub fn with(mut self, plan: &Plan) -> Self {
        for step in &plan.steps {
            match step {
                Step::Modprobe(names) => names.iter().for_each(|name| self.module(name)),
                Step::Run(lines) => lines
                    .iter()
                    .filter_map(|line| program(line))
                    .for_each(|name| self.program(name)),
                Step::Disk { kind, .. } => self.filesystem(*kind),
                Step::Serve { v3: true, .. } => self.program("rpcbind"),
                Step::LoopDevice { .. } => self.program("losetup"),
                Step::Ganesha { kind, .. } => {
                    self.program(GANESHA);
                    self.ganesha_six |= kind.is_six();
                }
                Step::Block(step) => self.block(step),
                Step::Files(step) => self.files(step),
                _ => {}
            }
        }
        self
    }

    fn block(&mut self, step: &BlockStep) {
        let (modules, programs) = match step {
            BlockStep::Serve(export) => (
                export.server.server_modules(),
                export.server.server_programs(),
            ),
            BlockStep::Attach { server, .. } => (server.client_modules(), server.client_programs()),
        };
        for name in modules {
            self.module(name);
        }
        for name in programs {
            self.program(name);
        }
    }

    fn files(&mut self, step: &FilesStep) {
        match step {
            FilesStep::ServeSmb { server, .. } => match server {
                SmbServer::Samba | SmbServer::SambaExempt => self.program("smbd"),
                SmbServer::Ksmbd => {
                    self.program(KSMBD);
                    self.smb_modules();
                }
            },
            FilesStep::MountSmb { .. } => self.smb_modules(),
            FilesStep::Fuse { .. } => self.program("bindfs"),
            FilesStep::LoopDevice { .. } => self.program("losetup"),
            FilesStep::Encrypt { .. } => self.program("dmsetup"),
        }
    }

    fn smb_modules(&mut self) {
        for name in SMB_MODULES {
            self.module(name);
        }
    }

    fn filesystem(&mut self, kind: Filesystem) {
        match kind {
            Filesystem::Ext4 | Filesystem::Tmpfs => {}
            Filesystem::Xfs => self.program("mkfs.xfs"),
            Filesystem::Btrfs => self.program("mkfs.btrfs"),
        }
    }

    fn module(&mut self, name: &str) {
        if !MODULES.contains(&name) {
            self.modules.insert(name.to_owned());
        }
    }

    fn program(&mut self, name: &str) {
        if !PROGRAMS.contains(&name) {
            self.programs.insert(name.to_owned());
        }
    }
}

/// What the kernel's SMB client and server load by themselves. Their `depends=` does not list it.
const SMB_MODULES: &[&str] = &[
    "nls_utf8",
    "md4",
    "ecb",
    "ctr",
    "cmac",
    "ccm",
    "gcm",
    "ghash_generic",
    "sha512_generic",
];

/// The program in a command line, with or without a network namespace.
fn program(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    match line.strip_prefix("ip netns exec ") {
        Some(rest) => rest.split_whitespace().nth(1),
        None => words.next(),
    }
}

/// The program of nbdkit.
pub const NBDKIT: &str = "nbdkit";

/// The program of ksmbd. If a guest has it, all programs link to Debian 13's libraries.
pub const KSMBD: &str = "ksmbd.mountd";

/// The program of nfs-ganesha.
pub const GANESHA: &str = "ganesha.nfsd";

#[cfg(test)]
mod tests {
    use guest::BlockServer;

    use super::*;

    #[test]
    fn a_plan_names_modules_and_programs_that_not_every_image_has() {
        let plan = Plan {
            steps: vec![
                Step::Modprobe(["nfsd", "xfs"].map(str::to_owned).to_vec()),
                Step::Run(
                    ["ip link show", "ip netns exec srv nft list tables"]
                        .map(str::to_owned)
                        .to_vec(),
                ),
                Step::Disk {
                    kind: Filesystem::Xfs,
                    device: "/dev/vda".to_owned(),
                    at: "/x".to_owned(),
                },
            ],
        };
        let parts = Parts::default().with(&plan);
        assert_eq!(parts.modules, ["xfs".to_owned()].into());
        let programs = ["mkfs.xfs", "nft"].map(str::to_owned);
        assert_eq!(parts.programs, programs.into());
    }

    #[test]
    fn a_block_device_brings_its_server_and_its_client() {
        let step = BlockStep::Attach {
            server: BlockServer::Tgtd,
            address: "127.0.0.1".to_owned(),
        };
        let plan = Plan {
            steps: vec![Step::Block(step)],
        };
        let parts = Parts::default().with(&plan);
        let modules = ["sd_mod", "iscsi_tcp"].map(str::to_owned);
        assert_eq!(parts.modules, modules.into());
        assert_eq!(parts.programs, ["iscsistart".to_owned()].into());
    }

    #[test]
    fn an_smb_share_brings_its_server_and_the_algorithms_that_the_client_loads() {
        let serve = FilesStep::ServeSmb {
            path: "/export".to_owned(),
            server: SmbServer::Samba,
            options: Vec::new(),
        };
        let mount = FilesStep::MountSmb {
            server: "127.0.0.1".to_owned(),
            at: "/mnt".to_owned(),
        };
        let plan = Plan {
            steps: [serve, mount].map(Step::Files).to_vec(),
        };
        let parts = Parts::default().with(&plan);
        assert_eq!(parts.programs, ["smbd".to_owned()].into());
        assert!(parts.modules.contains("ghash_generic"));
    }
}
