use proptest::prelude::*;

use super::node::Node;
use crate::host::mountinfo;
use crate::host::text::unescape;
use crate::topology::LookupRequest;
use crate::topology::addresses::Addresses;
use crate::topology::mounts::nfs_mount;
use crate::topology::sockets::Socket;
use crate::topology::volumes::Volume;

/// Kernel output, cut and mixed.
fn words() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just(" - ".to_owned()),
        Just("0:29".to_owned()),
        Just("nfs4".to_owned()),
        Just("addr=10.9.0.2,port=".to_owned()),
        Just("/mnt\\040\\".to_owned()),
        Just("0200090A:0801".to_owned()),
        Just("0000000000000000FFFF00000200090A:08".to_owned()),
        Just("|-- 10.9.0.2".to_owned()),
        Just("/99999999999 host LOCAL".to_owned()),
        Just("01".to_owned()),
        Just("\t".to_owned()),
        "\\PC{0,12}",
        "[0-9a-fA-F:é]{0,40}",
    ];
    prop::collection::vec(word, 0..16).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn no_line_makes_a_parser_panic(line in words(), cut in 0usize..400) {
        let line: String = line.chars().take(cut).collect();
        let _ = mountinfo::Line::parse(&line).map(|line| nfs_mount(&line));
        let _ = Volume::parse(&line);
        let _ = Socket::parse(&line);
        let _ = unescape(&line);
        let mut addresses = Addresses::default();
        addresses.fib_trie(&line);
        addresses.fib_trie("|-- 10.0.0.1");
        addresses.fib_trie(&line);
        addresses.if_inet6(&line);
        addresses.contains("10.0.0.1".parse().unwrap());
    }

    #[test]
    fn an_escaped_mount_point_comes_back_as_it_was(path in "[ \\t\\n\\\\a-z/äß]{0,40}") {
        let escaped: String = path
            .chars()
            .map(|c| if " \t\n\\".contains(c) { format!("\\{:03o}", u32::from(c)) } else { c.into() })
            .collect();
        prop_assert_eq!(unescape(&escaped), path);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn no_file_of_a_process_makes_a_round_panic(
        lines in prop::collection::vec(words(), 0..20),
        broken in prop::sample::select(&["mountinfo", "net/tcp", "net/fib_trie", "net/nfsfs/volumes", "net/rpc/nfsd.export/content", "comm", "status", "fdinfo/3", "fdinfo/4"][..]),
    ) {
        let node = Node::new();
        node.nfsd_loaded();
        node.nfs_mount(1, "0:29", "10.9.0.2:2049");
        node.sysfs("block/nbd0/pid", "1\n");
        node.sysfs("block/nbd0/dev", "43:0\n");
        node.append(1, "status", "Tgid:\t1");
        node.append(1, "mountinfo", "38 27 0:45 / /f rw - fuse.x x rw");
        node.append(1, "mountinfo", "39 27 0:46 / /m rw - cifs //h/s rw,addr=10.9.0.2");
        node.file(1, 3, "/dev/fuse", 2, 27);
        node.file(1, 4, "/image", 2, 27);
        for line in &lines {
            node.append(1, broken, line);
        }
        node.reader(&["x"]).round(&LookupRequest::default());
    }
}

#[test]
fn very_long_tables_are_cut_and_that_is_reported() {
    let node = Node::new();
    node.nfs_mount(1, "0:29", "10.9.0.2:2049");
    let line =
        "  1: 0200090A:0016 0100090A:0321 01 00000000:00000000 00:00000000 00000000 0 0 9 1\n";
    let table = line.repeat(140_000);
    std::fs::create_dir_all(node.path("proc/1/net")).unwrap();
    std::fs::write(node.path("proc/1/net/tcp"), table).unwrap();
    for device in 0..300 {
        let volume = format!("v4 0a090002  801 0:{device} 0:0 no");
        node.append(1, "net/nfsfs/volumes", &volume);
    }
    let topology = node.reader(&[]).round(&LookupRequest::default());
    assert_eq!(topology.mounts.len(), 256);
    let said = topology.incomplete.join(" ");
    assert!(
        said.contains("the sockets of network namespace 30"),
        "{said}"
    );
    assert!(said.contains("Only 256 NFS mounts"), "{said}");
}
