//! The SMB client's counters: `/proc/fs/cifs/Stats` (`cifs_stats_proc_show`,
//! `fs/smb/client/cifs_debug.c`). It holds spinlocks only while it prints, so a server that does not
//! answer does not delay it.

use std::{collections::BTreeMap, path::Path};

use compact_str::CompactString;

use super::text;

/// Maximum number of lines and of shares.
const MAX_LINES: usize = 16_384;
const MAX_SHARES: usize = 1024;

/// Bytes of acknowledged writes by share, as `//server/share` in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SmbStats(BTreeMap<CompactString, u64>);

impl SmbStats {
    /// Reads the file; `None`: the client is not loaded.
    #[must_use]
    pub fn read(procfs: &Path) -> Option<Self> {
        let mut parser = Parser::default();
        let path = procfs.join("fs/cifs/Stats");
        text::lines(&path, MAX_LINES, |line| parser.line(line)).ok()?;
        Some(Self(parser.shares))
    }

    /// Parses its text.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut parser = Parser::default();
        text.lines()
            .take(MAX_LINES)
            .for_each(|line| parser.line(line));
        Self(parser.shares)
    }

    /// Bytes that the server of a mount's share acknowledged.
    #[must_use]
    pub fn written(&self, source: &str) -> Option<u64> {
        self.0.get(&share(source)?).copied()
    }
}

#[derive(Default)]
struct Parser {
    shares: BTreeMap<CompactString, u64>,
    share: Option<CompactString>,
}

impl Parser {
    /// A share begins with `1) \\server\share`. Its bytes are in `Bytes read: 0  Bytes written: 0`
    /// (`smb2_print_stats`), for SMB1 in `Writes: 0 Bytes: 0` (`cifs_print_stats`). Several users
    /// of one share have a connection each.
    fn line(&mut self, line: &str) {
        if let Some((_, name)) = line.split_once(") ")
            && name.starts_with(r"\\")
        {
            let name = name.split('\t').next().unwrap_or_default();
            self.share = share(name);
            return;
        }
        let bytes = line.split_once("Bytes written:").or_else(|| {
            let writes = line.strip_prefix("Writes:")?;
            writes.split_once("Bytes:")
        });
        if let Some((_, bytes)) = bytes
            && let Ok(bytes) = bytes.trim().parse::<u64>()
            && let Some(share) = self.share.take()
            && (self.shares.len() < MAX_SHARES || self.shares.contains_key(&share))
        {
            let sum = self.shares.entry(share).or_default();
            *sum = sum.saturating_add(bytes);
        }
    }
}

/// `//server/share` in lower case of a mount's source, which may have a path below the share, or of
/// the kernel's `\\server\share`. The protocol does not distinguish case.
#[must_use]
pub fn share(source: &str) -> Option<CompactString> {
    let source = source.replace('\\', "/");
    let mut parts = source.strip_prefix("//")?.split('/');
    let (server, share) = (parts.next()?, parts.next()?);
    if server.is_empty() || share.is_empty() {
        return None;
    }
    Some(format!("//{server}/{share}").to_lowercase().into())
}

#[cfg(test)]
mod tests {
    use super::{SmbStats, share};

    const STATS: &str = r"Resources in use
CIFS Session: 2
Share (unique mount targets): 5
SMB Request/Response Buffer: 2 Pool size: 6
SMB Small Req/Resp Buffer: 2 Pool size: 30
Operations (MIDs): 0

0 session 0 share reconnects
Total vfs operations: 69 maximum at one time: 2

Max requests in flight: 3
1) \\127.0.0.1\x
SMBs: 29
Bytes read: 0  Bytes written: 4096
Open files: 1 total (local), 0 open on server
TreeConnects: 1 total 0 failed
Writes: 3 total 0 failed
2) \\NAS\Data	DISCONNECTED 
SMBs: 8
Bytes read: 7  Bytes written: 10
3) \\nas\data
SMBs: 8
Bytes read: 7  Bytes written: 5
4) \\old\x
SMBs: 9
Oplocks breaks: 0
Reads:  0 Bytes: 1
Writes: 2 Bytes: 99
";

    #[test]
    fn the_bytes_of_a_share_are_those_of_all_its_users() {
        let stats = SmbStats::parse(STATS);
        assert_eq!(stats.written("//127.0.0.1/x"), Some(4096));
        assert_eq!(stats.written("//127.0.0.1/x/a/b"), Some(4096));
        assert_eq!(stats.written("//nas/data"), Some(15));
        assert_eq!(stats.written("//old/x"), Some(99));
        assert_eq!(stats.written("//old/y"), None);
    }

    #[test]
    fn only_a_server_with_a_share_is_a_share() {
        assert_eq!(share(r"\\H\S\p").unwrap(), "//h/s");
        for no in ["", "//", "//h", "//h/", "///s", "/h/s", "h:/s"] {
            assert_eq!(share(no), None, "{no}");
        }
    }
}
