use super::*;

/// Writers start at 10 s; 20 MB/s until `stop`, then nothing until 60 s.
fn facts(stop: u64) -> Vec<Fact> {
    let fact = |ms, event| Fact { ms, event };
    let mut facts = vec![fact(10_000, Event::WritersStarted)];
    facts.extend((20..120).map(|half_second| {
        let ms = half_second * 500;
        let bytes = ms.clamp(10_000, stop).saturating_sub(10_000) * 20_000;
        fact(
            ms,
            Event::Sample(Sample {
                acked: bytes,
                disk: bytes,
                ..Sample::default()
            }),
        )
    }));
    facts
}

fn verdict(at: u64) -> Fact {
    Fact {
        ms: at,
        event: Event::Verdict(Transition {
            monotonic_ms: at,
            of: "0:29-nfsd".to_owned(),
            signature: "dirty-throttle".to_owned(),
            from: "suspected".to_owned(),
            to: "livelock".to_owned(),
            reason: String::new(),
        }),
    }
}

fn metrics(state: u32) -> Fact {
    Fact {
        ms: 60_000,
        event: Event::Served {
            path: "/metrics".to_owned(),
            ms: 1,
            text: format!("throttle_livelock_state{{loop=\"0:29-nfsd\"}} {state}"),
        },
    }
}

fn livelock(stop: u64, confirmed: Option<u64>) -> Judgement {
    let mut facts = facts(stop);
    facts.extend(confirmed.map(verdict));
    facts.push(metrics(2));
    Seen(&facts).livelock()
}

#[test]
fn a_livelock_that_the_metrics_do_not_show_is_wrong() {
    let mut facts = facts(14_000);
    facts.extend([verdict(23_500), metrics(1)]);
    assert!(Seen(&facts).livelock().is_err());
}

#[test]
fn a_livelock_confirmed_within_ten_seconds_of_the_stop_is_right() {
    assert!(livelock(14_000, Some(23_500)).is_ok());
}

#[test]
fn a_livelock_confirmed_later_or_never_is_wrong() {
    assert!(livelock(14_000, Some(25_000)).is_err());
    assert!(livelock(14_000, None).is_err());
}

#[test]
fn a_livelock_confirmed_before_the_load_began_is_wrong() {
    assert!(livelock(14_000, Some(9_000)).is_err());
}

/// Frozen at 14 s, confirmed at 20 s, deadlock at 50 s, helped out at 62 s.
fn recovery(deadlock: bool, moves: bool, recovered: Option<u64>) -> Judgement {
    let mut facts = facts(14_000);
    let mut to = |at, state: &str| {
        let mut fact = verdict(at);
        if let Event::Verdict(entry) = &mut fact.event {
            state.clone_into(&mut entry.to);
        }
        facts.push(fact);
    };
    to(20_000, "livelock");
    if deadlock {
        to(50_000, "deadlock");
    }
    if let Some(at) = recovered {
        to(at, "recovered");
    }
    facts.push(metrics(3));
    facts.push(Fact {
        ms: 62_000,
        event: Event::HelpedOut,
    });
    facts.extend((126..160).map(|half_second| Fact {
        ms: half_second * 500,
        event: Event::Sample(Sample {
            acked: 80_000_000
                + if moves {
                    (half_second - 125) * 5_000_000
                } else {
                    0
                },
            ..Sample::default()
        }),
    }));
    Seen(&facts).recovery()
}

#[test]
fn a_recovery_is_right_within_ten_seconds_and_after_a_deadlock() {
    assert!(recovery(true, true, Some(70_000)).is_ok());
    assert!(recovery(false, true, Some(70_000)).is_err(), "no deadlock");
    assert!(recovery(true, true, Some(76_000)).is_err(), "too late");
    assert!(recovery(true, true, None).is_err(), "never");
    assert!(
        matches!(recovery(true, false, None), Err(Fault::Void(_))),
        "the way out did not help"
    );
}

#[test]
fn a_livelock_scenario_that_never_stops_proves_nothing() {
    let words = livelock(60_000, Some(20_000)).unwrap_err();
    assert!(
        matches!(&words, Fault::Void(why) if why.contains("never stopped")),
        "{words}"
    );
}

#[test]
fn a_negative_scenario_is_wrong_with_a_verdict_or_without_load() {
    let quiet = facts(60_000);
    assert!(Seen(&quiet).nothing(10_000_000).is_ok());
    assert!(Seen(&quiet).nothing(30_000_000).is_err());
    let mut loud = quiet;
    loud.push(verdict(30_000));
    assert!(Seen(&loud).nothing(10_000_000).is_err());
}

#[test]
fn what_breaks_down_before_the_daemon_began_is_not_the_daemons() {
    let step = |step: &guest::Step| Fact {
        ms: 1000,
        event: Event::Step(serde_json::to_string(step).unwrap()),
    };
    let modprobe = step(&guest::Step::Modprobe(vec!["nfs".to_owned()]));
    let args = || vec!["check".to_owned()];
    let check = step(&guest::Step::Check {
        args: args(),
        uid: None,
    });
    let daemon = step(&guest::Step::Daemon { args: args() });
    assert!(!Seen(std::slice::from_ref(&modprobe)).has_ours());
    assert!(Seen(&[modprobe.clone(), check]).has_ours());
    assert!(Seen(&[modprobe, daemon]).has_ours());
}
