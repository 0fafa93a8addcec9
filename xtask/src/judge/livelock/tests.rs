use guest::{Counts, Fact, Loop, Mounted, Related, Sample, Transition};

use super::*;

/// Writers start at 10 s; 20 MB/s until `stop`, then nothing until 60 s.
pub fn facts(stop: u64) -> Vec<Fact> {
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
                writeback: 50_000_000,
                ..Sample::default()
            }),
        )
    }));
    facts
}

pub fn verdict(at: u64) -> Fact {
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
    judge(&Seen(&facts), &["dirty-throttle"])
}

#[test]
fn a_livelock_that_the_metrics_do_not_show_is_wrong() {
    let mut facts = facts(14_000);
    facts.extend([verdict(23_500), metrics(1)]);
    assert!(judge(&Seen(&facts), &["dirty-throttle"]).is_err());
}

#[test]
fn a_verdict_may_be_taken_back_when_the_loop_moves_again_and_only_then() {
    let judged = |moves: bool| {
        let mut facts = facts(14_000);
        let mut back = verdict(30_000);
        if let Event::Verdict(entry) = &mut back.event {
            "livelock".clone_into(&mut entry.from);
            "recovered".clone_into(&mut entry.to);
        }
        facts.extend([verdict(20_000), back, metrics(4)]);
        for fact in &mut facts {
            if let Event::Sample(sample) = &mut fact.event {
                sample.acked += if moves {
                    fact.ms.saturating_sub(28_000) * 1_000
                } else {
                    0
                };
            }
        }
        judge(&Seen(&facts), &["dirty-throttle"])
    };
    assert!(judged(true).is_ok());
    assert!(matches!(judged(false), Err(Fault::Wrong(why)) if why.contains("nothing moved")));
}

#[test]
fn a_silent_server_beside_the_open_verdict_of_its_own_loop_is_wrong() {
    let judged = |bdi: &str, kind: &str| {
        let mut facts = facts(14_000);
        let related = Event::Related(Related {
            monotonic_ms: 30_000,
            kind: kind.to_owned(),
            bdi: bdi.to_owned(),
            began: true,
            reason: String::new(),
        });
        facts.extend([
            verdict(20_000),
            Fact {
                ms: 30_000,
                event: related,
            },
            metrics(2),
        ]);
        Seen(&facts).second_story().is_some()
    };
    assert!(judged("0:29", "nfs-server-not-responding"));
    assert!(!judged("0:30", "nfs-server-not-responding"));
    assert!(!judged("0:29", "dirty-throttling"));
}

#[test]
fn beside_a_livelock_the_other_loop_must_move_and_have_no_verdict() {
    let judged = |bytes: u64, of: &str| {
        let mount = |at: &str, device: &str| Fact {
            ms: 1,
            event: Event::Mounted(Mounted {
                at: at.to_owned(),
                source: String::new(),
                device: device.to_owned(),
                bdis: Vec::new(),
            }),
        };
        let count = |ms, bytes| Fact {
            ms,
            event: Event::Counted(Counts {
                clients: [("0:30".to_owned(), bytes)].into(),
                nfsd: 0,
            }),
        };
        let mut facts = facts(14_000);
        let mut verdict = verdict(20_000);
        if let Event::Verdict(entry) = &mut verdict.event {
            of.clone_into(&mut entry.of);
        }
        facts.extend([
            mount("/mnt", "0:29"),
            mount("/beside", "0:30"),
            count(9_000, 0),
        ]);
        facts.extend([verdict, count(40_000, bytes), metrics(2)]);
        beside(&Seen(&facts), &["dirty-throttle"], "/beside", 20_000_000)
    };
    let wrong = |judgement| matches!(judgement, Err(Fault::Wrong(_)));
    assert!(
        matches!(judged(1_000, "0:29-nfsd"), Err(Fault::Void(_)))
            || wrong(judged(1_000, "0:29-nfsd"))
    );
    assert!(wrong(judged(30_000_000, "0:30-nfsd")));
}

#[test]
fn a_livelock_confirmed_within_ten_seconds_of_the_stop_is_right() {
    assert!(livelock(14_000, Some(23_500)).is_ok());
}

#[test]
fn a_loop_whose_writers_are_dead_has_not_stopped() {
    let mut facts = facts(14_000);
    for fact in &mut facts {
        if let Event::Sample(sample) = &mut fact.event {
            sample.writeback = 0;
        }
    }
    assert_eq!(Seen(&facts).stopped(10_000), None);
}

#[test]
fn a_loop_whose_client_has_not_begun_to_send_has_not_stopped() {
    let dirty = |writeback| {
        let mut facts = facts(10_000);
        for fact in &mut facts {
            if let Event::Sample(sample) = &mut fact.event {
                (sample.dirty, sample.writeback) = (900_000_000, writeback);
            }
        }
        Seen(&facts).stopped(10_000)
    };
    assert_eq!(dirty(0), None);
    assert_eq!(dirty(1), Some(10_000));
}

#[test]
fn a_livelock_confirmed_later_or_never_is_wrong() {
    assert!(livelock(14_000, Some(25_000)).is_err());
    assert!(livelock(14_000, None).is_err());
}

#[test]
fn the_table_tells_a_daemon_that_confirmed_nothing_from_none() {
    let mut facts = facts(14_000);
    assert_eq!(cell(&Seen(&facts), 10_000), "survived, not confirmed");
    facts.push(verdict(20_000));
    let words = cell(&Seen(&facts), 10_000);
    assert!(words.starts_with("dirty-throttle after 6.0 s"), "{words}");
    facts.push(Fact {
        ms: 1,
        event: Event::NoDaemon,
    });
    assert_eq!(cell(&Seen(&facts), 10_000), "no daemon");
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
            dirty: 50_000_000,
            ..Sample::default()
        }),
    }));
    super::recovery(&Seen(&facts), &["dirty-throttle"])
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

/// The same, but the writers are stopped: after two seconds all is written.
fn drained(recovered: u64) -> Judgement {
    let mut facts = facts(14_000);
    let mut back = verdict(recovered);
    if let Event::Verdict(entry) = &mut back.event {
        "recovered".clone_into(&mut entry.to);
    }
    facts.extend([verdict(20_000), back, metrics(2)]);
    let helped = 50_000;
    facts.push(Fact {
        ms: helped,
        event: Event::HelpedOut,
    });
    for fact in &mut facts {
        if let Event::Sample(sample) = &mut fact.event {
            let since = fact.ms.saturating_sub(helped).min(2_000);
            sample.acked += since * 25_000;
            sample.dirty = (2_000 - since) * 25_000;
            sample.writeback = 0;
        }
    }
    super::recovery(&Seen(&facts), &["dirty-throttle"])
}

#[test]
fn a_recovery_is_right_within_ten_seconds_after_all_was_written() {
    assert!(drained(61_000).is_ok());
    assert!(drained(64_000).is_err(), "too late");
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
fn the_wrong_signature_is_wrong() {
    let mut facts = facts(14_000);
    facts.extend([verdict(20_000), metrics(2)]);
    let judged = judge(&Seen(&facts), &["loop-device"]);
    assert!(matches!(judged, Err(Fault::Wrong(why)) if why.contains("loop-device")));
}

#[test]
fn what_is_late_in_a_guest_that_had_no_time_proves_nothing() {
    let mut facts = facts(14_000);
    facts.extend([verdict(25_000), metrics(2)]);
    // The host gave the guest no time for six seconds.
    facts.retain(|fact| {
        !(matches!(fact.event, Event::Sample(_)) && (16_000..22_000).contains(&fact.ms))
    });
    let judged = judge(&Seen(&facts), &["dirty-throttle"]);
    assert!(matches!(judged, Err(Fault::Void(_))));
}

/// A takeover at 30 s of a loop that stalled at 14 s because its server died.
fn after(confirmed: u64, found: bool) -> Judgement {
    let mut facts = facts(14_000);
    let mut add = |ms, event| facts.push(Fact { ms, event });
    add(30_000, Event::TookOver);
    if found {
        add(31_000, Event::Loop(Loop::default()));
    }
    facts.push(verdict(confirmed));
    after_takeover(&Seen(&facts), &["dirty-throttle"])
}

#[test]
fn a_loop_made_by_a_takeover_stops_from_the_takeover_on() {
    assert!(after(39_000, true).is_ok());
    assert!(after(41_000, true).is_err(), "too late");
    assert!(after(25_000, true).is_err(), "before there was a loop");
    assert!(after(39_000, false).is_err(), "no loop known");
}

#[test]
fn a_server_that_took_over_and_idles_proves_nothing() {
    let judged = |throttled: u32| {
        let mut facts = facts(14_000);
        let text = format!(
            "throttle_nfsd_threads{{state=\"idle\"}} 8\nthrottle_nfsd_threads{{state=\"throttled\"}} {throttled}"
        );
        let mut add = |ms, event| facts.push(Fact { ms, event });
        add(30_000, Event::TookOver);
        let path = "/metrics".to_owned();
        add(60_000, Event::Served { path, ms: 1, text });
        after_takeover(&Seen(&facts), &["dirty-throttle"])
    };
    assert!(matches!(judged(0), Err(Fault::Void(_))));
    assert!(matches!(judged(1), Err(Fault::Wrong(_))));
}

/// Frozen at 14 s, confirmed at 20 s, processes killed from 30 s on.
fn starved(kills: u64, ticks: u64, taken_back: bool) -> Judgement {
    let mut facts = facts(14_000);
    for fact in &mut facts {
        if let Event::Sample(sample) = &mut fact.event
            && fact.ms > 30_000
        {
            sample.oom_kills = kills;
        }
    }
    facts.push(verdict(20_000));
    let mut back = verdict(40_000);
    if let Event::Verdict(entry) = &mut back.event {
        "livelock".clone_into(&mut entry.from);
        "recovered".clone_into(&mut entry.to);
    }
    facts.extend(taken_back.then_some(back));
    facts.extend([0, ticks].map(|more| Fact {
        ms: 45_000 + u64::from(more > 0) * 12_000,
        event: Event::Served {
            path: "/metrics".to_owned(),
            ms: 1,
            text: format!("throttle_monitor_tick_duration_seconds_count {}", 40 + more),
        },
    }));
    survival(&Seen(&facts), &["dirty-throttle"])
}

#[test]
fn a_daemon_survives_whose_ticks_go_on_and_whose_verdict_stands() {
    assert!(starved(3, 12, false).is_ok());
    assert!(matches!(starved(0, 12, false), Err(Fault::Void(_))));
    assert!(starved(3, 2, false).is_err(), "too few ticks for 12 s");
    assert!(starved(3, 12, true).is_err(), "taken back");
}
