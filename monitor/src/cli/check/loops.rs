//! The loops that `check` finds, for people.

use std::{fmt::Write as _, thread, time::Duration};

use compact_str::CompactString;

use crate::{
    kernel::{attach::Attached, report::SignalReport},
    sample::Sampler,
    verdict::{Loop, Loops, Proof, Scope},
};

/// How often it looks, and how long between two looks: traffic of that time
/// proves a loop by its transaction ids; sockets need no traffic.
const LOOKS: u32 = 3;
const BETWEEN: Duration = Duration::from_millis(150);

/// Loops, and sentences about where none could be looked for.
#[derive(Debug, Default)]
pub(super) struct Search {
    pub(super) found: Vec<Loop>,
    pub(super) incomplete: Vec<CompactString>,
}

/// Watches the node for a moment.
pub(super) fn find(attached: &mut Attached) -> Search {
    let mut sampler = match Sampler::new(attached) {
        Ok(sampler) => sampler,
        Err(error) => {
            return Search {
                incomplete: vec![format!("Loops cannot be looked for: {error:#}.").into()],
                ..Search::default()
            };
        }
    };
    let mut loops = Loops::default();
    let mut incomplete = Vec::new();
    for look in 0..LOOKS {
        if look > 0 {
            thread::sleep(BETWEEN);
        }
        let signals = attached.reports.iter().map(SignalReport::status).collect();
        let observation = sampler.tick(signals).observation;
        loops.observe(&observation);
        incomplete.clone_from(&observation.topology.incomplete);
    }
    Search {
        found: loops.found().to_vec(),
        incomplete,
    }
}

/// Adds a section with the loops, one after the other: what is mounted, who
/// serves it, why that is dangerous and what to do; then what was not seen.
pub(super) fn loops(out: &mut String, found: &[Loop], incomplete: &[CompactString]) {
    told(out, found);
    for sentence in incomplete {
        let _ = writeln!(out, "{:<12}{sentence}", "not seen");
    }
}

fn told(out: &mut String, found: &[Loop]) {
    if found.is_empty() {
        let _ = writeln!(
            out,
            "\nNo loop found: no NFS mount of this node is seen to be served by this node. Behind address translation \
             that takes traffic to see: ask a running daemon at /api/v1/loops."
        );
        return;
    }
    let mounts = if found.len() == 1 { "mount" } else { "mounts" };
    let _ = writeln!(
        out,
        "\nThis node serves {} NFS {mounts} to itself:",
        found.len()
    );
    for one in found {
        let _ = writeln!(out, "\n{:<12}{}", one.client_bdi, mounted(one));
        let mut line = |words: String| {
            let _ = writeln!(out, "{:<12}{words}", "");
        };
        line(format!("served by {}{}", one.server, place(one)));
        line(format!("proof: {}", proof(one)));
        line(format!("the server writes to {}", backing(one)));
        if one.became_own_client {
            line("another host served it before: this node has become its own client".to_owned());
        }
        for danger in &one.danger {
            line(format!("danger: {danger}"));
        }
        for advice in &one.advice {
            line(format!("to do: {advice}"));
        }
    }
}

fn mounted(one: &Loop) -> String {
    let Some(first) = one.mounts.first() else {
        return "an NFS mount that was not looked up".to_owned();
    };
    let places: Vec<&str> = one.mounts.iter().map(|m| m.mount_point.as_str()).collect();
    format!("{} at {}", first.source, places.join(", "))
}

const fn place(one: &Loop) -> &'static str {
    match one.scope {
        Scope::SameNetns => ", in the same network namespace",
        Scope::CrossNetns => ", in another network namespace",
        Scope::Unknown => "",
    }
}

fn proof(one: &Loop) -> String {
    let proof = one.proof.as_str();
    match one.proof {
        Proof::Xid => format!(
            "{proof} ({} of {} calls seen to be served here)",
            one.calls_served_here, one.calls
        ),
        Proof::Socket => format!("{proof} (both ends of the connection are on this node)"),
        Proof::Address => format!("{proof} (the server listens at the mounted address)"),
    }
}

fn backing(one: &Loop) -> String {
    let Some(bdi) = &one.server_bdi else {
        return "a BDI that is not known yet".to_owned();
    };
    let words = [one.server_fstype.as_str(), one.server_device.as_str()];
    let known: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    if known.is_empty() {
        bdi.to_string()
    } else {
        format!("{bdi} ({})", known.join(" on "))
    }
}

#[cfg(test)]
mod tests {
    use super::loops;
    use crate::verdict::{Loop, Proof, Scope};

    fn one() -> Loop {
        serde_json::from_value(serde_json::json!({
            "loop": "0:29-nfsd", "client_bdi": "0:29", "server": "nfsd", "server_bdi": "254:0",
            "server_fstype": "ext4", "server_device": "/dev/vda", "proof": "xid",
            "scope": "cross-netns", "since_ms": 0, "since_unix_ms": 0,
            "became_own_client": false, "localio": false,
            "mounts": [
                {"mount_point": "/mnt", "source": "10.9.0.2:/"},
                {"mount_point": "/data", "source": "10.9.0.2:/"},
            ],
            "version": "4.2", "server_address": "10.9.0.2:2049", "client_netns": 1,
            "server_netns": 2, "calls": 50, "calls_served_here": 49,
            "danger": ["nfsd is not exempt", "no limit"], "advice": ["run them apart"],
        }))
        .expect("a loop")
    }

    fn section(found: &[Loop]) -> String {
        let mut out = String::new();
        loops(&mut out, found, &[]);
        out
    }

    #[test]
    fn a_loop_is_told_with_its_danger_and_what_to_do() {
        assert_eq!(
            section(&[one()]),
            "
This node serves 1 NFS mount to itself:

0:29        10.9.0.2:/ at /mnt, /data
            served by nfsd, in another network namespace
            proof: xid (49 of 50 calls seen to be served here)
            the server writes to 254:0 (ext4 on /dev/vda)
            danger: nfsd is not exempt
            danger: no limit
            to do: run them apart
"
        );
    }

    #[test]
    fn what_is_not_known_is_not_made_up() {
        let mut vague = one();
        vague.mounts.clear();
        (vague.proof, vague.scope) = (Proof::Socket, Scope::Unknown);
        vague.server_bdi = None;
        vague.became_own_client = true;
        let text = section(&[vague, one()]);
        for words in [
            "serves 2 NFS mounts to itself",
            "0:29        an NFS mount that was not looked up\n            served by nfsd\n",
            "proof: socket (both ends of the connection are on this node)",
            "writes to a BDI that is not known yet",
            "this node has become its own client",
        ] {
            assert!(text.contains(words), "{words} in {text}");
        }
    }

    #[test]
    fn where_it_could_not_look_is_said_after_what_was_found() {
        let mut out = String::new();
        let gap =
            "No process lives in network namespace 7 (/run/netns/x): its sockets are not seen.";
        loops(&mut out, &[], &[gap.into()]);
        assert!(out.contains("No loop found"), "{out}");
        assert!(out.ends_with(&format!("\nnot seen    {gap}\n")), "{out}");
    }

    #[test]
    fn without_a_loop_it_says_so_and_what_it_cannot_have_seen() {
        assert!(section(&[]).contains("No loop found"));
    }
}
