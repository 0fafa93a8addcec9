//! Mounts: `show_mountinfo`, `fs/proc_namespace.c`, and proc(5).

use super::text::is_device;

/// One unparsed line of mountinfo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The mount's number.
    pub id: &'a str,
    /// The number of its parent mount.
    pub parent: &'a str,
    /// `major:minor`.
    pub device: &'a str,
    /// The mounted part of the file system; for nsfs, the namespace.
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
    /// `None`: not a valid line.
    #[must_use]
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
    #[must_use]
    pub fn is_nfs(&self) -> bool {
        matches!(self.fstype, "nfs" | "nfs4")
    }

    /// The value of an option of the super block.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&'a str> {
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

    #[test]
    fn an_incomplete_or_unsafe_line_is_not_parsed() {
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
