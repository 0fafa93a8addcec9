use guest::{Fact, LoopMount};

use super::*;

const WANTED: LoopExpected = LoopExpected {
    at: "/mnt",
    server: "nfsd",
    backing: "/export",
    proof: "xid",
    scope: "cross-netns",
    exempt: "no",
};

/// Facts of a loop that is mounted, written to at 10 s and counted, but not reported.
fn facts(bytes: u64) -> Vec<Fact> {
    let fact = |ms, event| Fact { ms, event };
    let mounted = |at: &str, source: &str, device: &str, bdi: &str| {
        Event::Mounted(Mounted {
            at: at.to_owned(),
            source: source.to_owned(),
            device: device.to_owned(),
            bdis: vec![bdi.to_owned()],
        })
    };
    vec![
        fact(1_000, mounted("/export", "/dev/vda", "0:30", "btrfs-1")),
        fact(2_000, mounted("/mnt", "10.9.0.2:/", "0:29", "0:29")),
        fact(
            10_000,
            Event::FirstWrite {
                dir: "/mnt".to_owned(),
            },
        ),
        fact(
            20_000,
            Event::Counted(Counts {
                clients: [("0:29".to_owned(), bytes)].into(),
                nfsd: bytes,
            }),
        ),
    ]
}

fn right() -> Loop {
    Loop {
        name: "0:29-nfsd".to_owned(),
        client_kind: "nfs".to_owned(),
        client_bdi: "0:29".to_owned(),
        server: "nfsd".to_owned(),
        server_bdi: Some("btrfs-1".to_owned()),
        proof: "xid".to_owned(),
        scope: "cross-netns".to_owned(),
        exempt: guest::Exempt {
            state: "no".to_owned(),
            basis: Some("observed".to_owned()),
        },
        throttled: true,
        became_own_client: false,
        mounts: vec![LoopMount {
            mount_point: "/mnt".to_owned(),
            source: "10.9.0.2:/".to_owned(),
        }],
    }
}

fn judged(reports: &[(u64, Loop)]) -> Judgement {
    let mut facts = facts(FLOW);
    facts.extend(reports.iter().map(|(ms, entry)| Fact {
        ms: *ms,
        event: Event::Loop(entry.clone()),
    }));
    Seen(&facts).loops(&[WANTED])
}

fn with(change: impl FnOnce(&mut Loop)) -> Loop {
    let mut entry = right();
    change(&mut entry);
    entry
}

#[test]
fn a_loop_reported_within_five_seconds_is_right() {
    assert!(judged(&[(15_000, right())]).is_ok());
    let by_device = with(|entry| entry.server_bdi = Some("0:30".to_owned()));
    assert!(judged(&[(15_000, by_device)]).is_ok());
}

#[test]
fn a_loop_reported_later_or_never_is_wrong() {
    assert!(judged(&[(15_001, right())]).is_err());
    let never = judged(&[]).unwrap_err().to_string();
    assert!(never.contains("never reported"), "{never}");
}

#[test]
fn a_report_may_become_right_in_time_but_must_stay_so() {
    let early = with(|entry| {
        entry.proof = "address".to_owned();
        entry.server_bdi = None;
    });
    let report =
        |first: &Loop, second: &Loop| judged(&[(11_000, first.clone()), (14_000, second.clone())]);
    assert!(report(&early, &right()).is_ok());
    assert!(report(&right(), &early).is_err());
    assert!(judged(&[(11_000, early.clone()), (16_000, right())]).is_err());
}

#[test]
fn a_loop_must_not_be_taken_back() {
    let mut facts = facts(FLOW);
    for (ms, event) in [
        (11_000, Event::Loop(right())),
        (13_000, Event::LoopGone("0:29-nfsd".to_owned())),
        (14_000, Event::Loop(right())),
    ] {
        facts.push(Fact { ms, event });
    }
    assert!(Seen(&facts).loops(&[WANTED]).is_err());
}

#[test]
fn every_part_of_a_report_counts() {
    let changes: [fn(&mut Loop); 9] = [
        |entry| "ganesha.nfsd".clone_into(&mut entry.server),
        |entry| "socket".clone_into(&mut entry.proof),
        |entry| "same-netns".clone_into(&mut entry.scope),
        |entry| "yes".clone_into(&mut entry.exempt.state),
        |entry| entry.exempt.basis = Some("predicted".to_owned()),
        |entry| entry.server_bdi = None,
        |entry| entry.server_bdi = Some("254:0".to_owned()),
        |entry| entry.mounts.clear(),
        |entry| "/other".clone_into(&mut entry.mounts[0].mount_point),
    ];
    for change in changes {
        let entry = with(change);
        assert!(judged(&[(11_000, entry.clone())]).is_err(), "{entry:?}");
    }
}

#[test]
fn a_loop_that_is_none_is_wrong_even_if_it_goes_away() {
    let other = with(|entry| "0:31".clone_into(&mut entry.client_bdi));
    assert!(judged(&[(11_000, other), (12_000, right())]).is_err());
    let second = with(|entry| "0:29-ganesha.nfsd".clone_into(&mut entry.name));
    assert!(judged(&[(11_000, second), (12_000, right())]).is_err());
}

#[test]
fn a_server_in_userspace_need_not_tell_what_it_writes_to() {
    let report = |bdi: Option<&str>| {
        let mut facts = facts(FLOW);
        let entry = with(|entry| {
            "ganesha.nfsd".clone_into(&mut entry.server);
            entry.server_bdi = bdi.map(str::to_owned);
        });
        facts.push(Fact {
            ms: 11_000,
            event: Event::Loop(entry),
        });
        Seen(&facts).loops(&[LoopExpected {
            server: "ganesha.nfsd",
            ..WANTED
        }])
    };
    assert!(report(None).is_ok());
    assert!(report(Some("0:30")).is_ok());
    assert!(report(Some("254:0")).is_err());
}

#[test]
fn without_bytes_a_scenario_proves_nothing() {
    let facts = facts(FLOW - 1);
    assert!(matches!(Seen(&facts).loops(&[WANTED]), Err(Fault::Void(_))));
}
