//! Mounts: `show_mountinfo`, `fs/proc_namespace.c`, and proc(5).

use std::net::{IpAddr, SocketAddr};

use monitor_model::observation::NfsMount;

use super::{
    sockets::canonical,
    text::{is_device, unescape},
};

/// Where NFS is served if nobody says otherwise.
const NFS_PORT: u16 = 2049;

/// One line of mountinfo, as it stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The mount's number.
    pub id: &'a str,
    /// That of the mount that it is mounted on.
    pub parent: &'a str,
    /// `major:minor`.
    pub device: &'a str,
    /// What of the file system is mounted; of nsfs, the namespace.
    pub root: &'a str,
    /// Escaped.
    pub mount_point: &'a str,
    /// Without subtype.
    pub fstype: &'a str,
    /// Escaped.
    pub source: &'a str,
    /// Options of the super block.
    pub options: &'a str,
}

impl<'a> Line<'a> {
    /// `None`: not such a line.
    pub fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ');
        let (id, parent) = (before.next()?, before.next()?);
        let device = before.next().filter(|device| is_device(device))?;
        let mut after = after.split(' ');
        Some(Self {
            id,
            parent,
            device,
            root: before.next()?,
            mount_point: before.next()?,
            fstype: after.next()?,
            source: after.next()?,
            options: after.next()?,
        })
    }

    /// Whether the kernel's NFS client mounted it.
    pub fn is_nfs(&self) -> bool {
        matches!(self.fstype, "nfs" | "nfs4")
    }

    /// The NFS mount that it tells of.
    pub fn nfs_mount(&self) -> NfsMount {
        NfsMount {
            bdi: self.device.into(),
            source: unescape(self.source),
            fstype: self.fstype.into(),
            version: self.option("vers").unwrap_or_default().into(),
            mount_points: vec![unescape(self.mount_point)],
            server: self.server(),
            netns: None,
            listener: None,
            listener_tgid: None,
        }
    }

    /// `addr=` and `port=` (`nfs_show_mount_options`, fs/nfs/super.c). Without
    /// a port, version 3 asked the server's rpcbind, so the default is a guess.
    fn server(&self) -> Option<SocketAddr> {
        let address: IpAddr = self.option("addr")?.parse().ok()?;
        let port = self.option("port").and_then(|port| port.parse().ok());
        let port = port.filter(|port| *port != 0).unwrap_or(NFS_PORT);
        Some(canonical(SocketAddr::new(address, port)))
    }

    fn option(&self, name: &str) -> Option<&'a str> {
        self.options
            .split(',')
            .filter_map(|option| option.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::Line;

    const NFS: &str = "36 35 0:29 / /mnt/a\\040b rw,noatime shared:1 master:2 - nfs4 10.9.0.2:/ \
                       rw,vers=4.2,rsize=131072,hard,proto=tcp,clientaddr=10.9.0.1,local_lock=none,addr=10.9.0.2";

    #[test]
    fn an_nfs_mount_is_read_with_its_server_and_version() {
        let mount = Line::parse(NFS).unwrap().nfs_mount();
        assert_eq!(mount.bdi, "0:29");
        assert_eq!(mount.source, "10.9.0.2:/");
        assert_eq!(mount.fstype, "nfs4");
        assert_eq!(mount.version, "4.2");
        assert_eq!(mount.mount_points, ["/mnt/a b"]);
        assert_eq!(mount.server, Some("10.9.0.2:2049".parse().unwrap()));
    }

    #[test]
    fn a_port_of_the_mount_is_taken_and_mountaddr_is_not_the_server() {
        let line = "36 35 0:30 / /mnt rw - nfs h:/x rw,vers=3,port=20049,mountaddr=10.0.0.9,mountvers=3,addr=fd00::2";
        let mount = Line::parse(line).unwrap().nfs_mount();
        assert_eq!(mount.server, Some("[fd00::2]:20049".parse().unwrap()));
        assert_eq!(mount.version, "3");
    }

    #[test]
    fn an_option_on_the_mount_itself_is_no_line_of_ours() {
        assert_eq!(Line::parse("36 35 0:29 / /mnt rw"), None);
        assert_eq!(Line::parse("36 35 0:29/../x / /mnt rw - ext4 a rw"), None);
        assert_eq!(Line::parse(""), None);
    }

    #[test]
    fn a_mount_without_optional_fields_is_read() {
        let line =
            "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard,resuid=65534,resgid=65534";
        let line = Line::parse(line).unwrap();
        assert_eq!((line.device, line.mount_point), ("254:0", "/"));
        assert_eq!((line.fstype, line.source), ("ext4", "/dev/vda"));
        assert!(!line.is_nfs());
    }
}
