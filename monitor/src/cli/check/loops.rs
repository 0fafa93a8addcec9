//! The loops in `check`'s report.

use std::{thread, time::Duration};

use compact_str::CompactString;
use monitor_collector::{
    kernel::{attach::Attached, report::SignalReport},
    sample::Sampler,
};
use monitor_model::{
    loops::{Loop, Proof, Scope},
    observation::Observation,
    verdict::Signature,
};
use monitor_verdict::{Loops, mitigation};

use super::{
    LoopFound,
    text_report::{Severity, TextReport},
};

/// Number of checks, and the time between two. Traffic in that time proves a loop by its
/// transaction ids; sockets need no traffic.
const LOOKS: u32 = 3;
const BETWEEN: Duration = Duration::from_millis(150);
/// Maximum number of preventions to list per loop, the best ones.
const MEASURES: usize = 2;

/// Loops, and sentences about what could not be searched.
#[derive(Debug, Default)]
pub(super) struct Search {
    pub(super) found: Vec<LoopFound>,
    pub(super) incomplete: Vec<CompactString>,
}

/// Watches the node for a moment.
pub(super) fn find(attached: &mut Attached) -> Search {
    let mut sampler = match Sampler::new(attached) {
        Ok(sampler) => sampler,
        Err(error) => {
            return Search {
                incomplete: vec![format!("Loops cannot be searched for: {error:#}.").into()],
                ..Search::default()
            };
        }
    };
    let mut loops = Loops::default();
    let mut observation = Observation::default();
    for look in 0..LOOKS {
        if look > 0 {
            thread::sleep(BETWEEN);
        }
        let signals = attached.reports.iter().map(SignalReport::status).collect();
        observation = sampler.tick(signals).observation;
        loops.observe(&observation);
    }
    // This signature needs no shortage of memory.
    let preventions =
        |found| mitigation::preventions(Signature::DirtyThrottle, found, &observation);
    let found = loops.found().iter().map(|found| LoopFound {
        preventions: preventions(found),
        found: found.clone(),
    });
    Search {
        found: found.collect(),
        incomplete: observation.topology.incomplete.clone(),
    }
}

/// Adds a section with the loops: the mount, the server, the risk and the recommendations. Then
/// come the parts that could not be searched.
pub(super) fn loops(
    text_report: &mut TextReport,
    found: &[LoopFound],
    incomplete: &[CompactString],
) {
    let count = match found.len() {
        0 => "none found: no backing device of this node is known to be served by this node. Finding some takes traffic (behind address translation, FUSE): a running daemon reports them at /api/v1/loops"
            .to_owned(),
        1 => "1 backing device that this node serves to itself".to_owned(),
        count => format!("{count} backing devices that this node serves to itself"),
    };
    text_report.heading("Loops", &count);
    for one in found {
        told(text_report, one);
    }
    for sentence in incomplete {
        text_report.row(Severity::Fair, "unread", sentence);
    }
}

fn told(text_report: &mut TextReport, one: &LoopFound) {
    let LoopFound { found, preventions } = one;
    let tone = if found.risk.is_empty() {
        Severity::Plain
    } else {
        Severity::Bad
    };
    text_report.row(tone, &found.client_bdi, &mounted(found));
    text_report.more(&format!("served by {}{}", found.server, place(found)));
    text_report.more(&format!("proof: {}", proof(found)));
    text_report.more(&format!("the server writes to {}", backing(found)));
    if !found.path.is_empty() {
        text_report.more(&format!("path: {}", found.path_words()));
    }
    let exempt = found.exempt.words();
    text_report.more(&format!("exempt from local dirty throttling: {exempt}"));
    if found.became_own_client {
        text_report.more("another host served it before: this node has become its own client");
    }
    for risk in &found.risk {
        text_report.row(Severity::Bad, "risk", risk);
    }
    // Without a risk there are no recommendations.
    let wanted = if found.risk.is_empty() { 0 } else { MEASURES };
    for measure in preventions.iter().take(wanted) {
        text_report.row(Severity::Plain, "to do", &measure.what);
        for command in &measure.commands {
            text_report.command(command);
        }
    }
    if preventions.is_empty() {
        for recommendation in &found.recommendations {
            text_report.row(Severity::Plain, "to do", recommendation);
        }
    }
}

fn mounted(one: &Loop) -> String {
    let Some(first) = one.mounts.first() else {
        return match one.client_name.as_str() {
            "" => "a device whose mount could not be looked up".to_owned(),
            name => format!("{name}, not mounted"),
        };
    };
    let places: Vec<&str> = one.mounts.iter().map(|m| m.mount_point.as_str()).collect();
    format!("{} at {}", first.source, places.join(", "))
}

const fn place(one: &Loop) -> &'static str {
    match one.scope {
        Scope::SameNetns => ", in the same network namespace",
        Scope::CrossNetns => ", in another network namespace",
        Scope::None | Scope::Unknown => "",
    }
}

fn proof(one: &Loop) -> String {
    let proof = one.proof.as_str();
    match one.proof {
        Proof::Xid => format!(
            "{proof} ({} of {} calls served here, as observed)",
            one.calls_served_here, one.calls
        ),
        Proof::Kernel => format!("{proof} (the kernel names the server)"),
        Proof::Stream => {
            format!("{proof} (both ends of the connection carry the same bytes)")
        }
        Proof::Socket => format!("{proof} (both ends of the connection are on this node)"),
        Proof::Address => format!("{proof} (the server listens at the mounted address)"),
    }
}

fn backing(one: &Loop) -> String {
    let Some(bdi) = &one.server_bdi else {
        return "an unknown BDI".to_owned();
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
    use compact_str::CompactString;
    use monitor_model::{
        loops::{Exempt, Loop, Proof, Scope},
        observation::Observation,
        verdict::Signature,
    };
    use monitor_verdict::mitigation::{self, Target};

    use super::{LoopFound, TextReport, loops};

    fn one() -> Loop {
        serde_json::from_value(serde_json::json!({
            "loop": "0:29-nfsd", "client_bdi": "0:29", "server": "nfsd", "server_bdi": "254:0",
            "server_fstype": "ext4", "server_device": "/dev/vda", "proof": "xid",
            "scope": "cross-netns", "exempt": {"state": "no", "basis": "observed", "reason": "it has no flag"},
            "since_ms": 0, "since_unix_ms": 0,
            "became_own_client": false, "localio": false,
            "mounts": [
                {"mount_point": "/mnt", "source": "10.9.0.2:/"},
                {"mount_point": "/data", "source": "10.9.0.2:/"},
            ],
            "version": "4.2", "server_address": "10.9.0.2:2049", "client_netns": 1,
            "server_netns": 2, "calls": 50, "calls_served_here": 49,
            "risk": ["nfsd is not exempt", "no limit"], "recommendations": ["run them apart"],
        }))
        .expect("a loop")
    }

    fn found(found: Loop) -> LoopFound {
        let place = Target::of(&found, &Observation::default());
        LoopFound {
            preventions: mitigation::preventions_at(Signature::DirtyThrottle, &place),
            found,
        }
    }

    fn section(found: Vec<Loop>, incomplete: &[CompactString]) -> String {
        let mut text_report = TextReport::new(100);
        let found: Vec<_> = found.into_iter().map(super::tests::found).collect();
        loops(&mut text_report, &found, incomplete);
        anstream::adapter::strip_str(text_report.text()).to_string()
    }

    #[test]
    fn a_loop_is_reported_with_its_risk_and_the_commands() {
        let text = section(vec![one()], &[]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..8],
            [
                "Loops              1 backing device that this node serves to itself",
                "  0:29             10.9.0.2:/ at /mnt, /data",
                "                   served by nfsd, in another network namespace",
                "                   proof: xid (49 of 50 calls served here, as observed)",
                "                   the server writes to 254:0 (ext4 on /dev/vda)",
                "                   exempt from local dirty throttling: no (observed: it has no flag)",
                "  risk             nfsd is not exempt",
                "  risk             no limit",
            ],
            "{text}"
        );
        assert!(lines[8].starts_with("  to do            "), "{text}");
        let mut safe = one();
        safe.risk.clear();
        safe.recommendations.clear();
        assert!(!section(vec![safe.clone()], &[]).contains("to do"));
        // The server is exempt, but at risk for another reason.
        safe.exempt.state = Exempt::Yes;
        safe.risk = vec!["it reclaims".to_owned()];
        safe.recommendations = vec!["run them apart".to_owned()];
        let text = section(vec![safe], &[]);
        assert!(
            text.ends_with("to do            run them apart\n"),
            "{text}"
        );
    }

    #[test]
    fn what_is_not_known_is_not_made_up() {
        let mut vague = one();
        vague.mounts.clear();
        (vague.proof, vague.scope) = (Proof::Socket, Scope::Unknown);
        vague.server_bdi = None;
        vague.became_own_client = true;
        let text = section(vec![vague, one()], &[]);
        for words in [
            "2 backing devices that this node serves to itself",
            "0:29             a device whose mount could not be looked up\n                   served by nfsd\n",
            "proof: socket (both ends of the connection are on this node)",
            "writes to an unknown BDI",
            "this node has become its own client",
        ] {
            assert!(text.contains(words), "{words} in {text}");
        }
    }

    #[test]
    fn missing_facts_are_reported_after_the_loops() {
        let gap = "No process lives in network namespace 7: its sockets are not visible.";
        let text = section(Vec::new(), &[gap.into()]);
        assert!(text.contains("Loops              none found:"), "{text}");
        assert!(
            text.ends_with(&format!("\n  unread           {gap}\n")),
            "{text}"
        );
    }
}
