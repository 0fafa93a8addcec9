use guest::{Fact, Related};

use super::*;
use crate::judge::{
    Fault,
    livelock::tests::{facts, verdict},
};

fn wants(disk: u64) -> Quiet {
    Quiet {
        disk,
        ..Quiet::default()
    }
}

#[test]
fn a_negative_scenario_is_wrong_with_a_verdict_and_void_without_load() {
    let quiet = facts(60_000);
    assert!(judge(&Seen(&quiet), &wants(10_000_000)).is_ok());
    let void = judge(&Seen(&quiet), &wants(30_000_000));
    assert!(matches!(void, Err(Fault::Void(_))));
    let mut loud = quiet;
    loud.push(verdict(30_000));
    let wrong = judge(&Seen(&loud), &wants(10_000_000));
    assert!(matches!(wrong, Err(Fault::Wrong(_))));
}

#[test]
fn a_verdict_where_nothing_moved_and_the_disk_was_idle_is_no_false_alarm() {
    let mut facts = facts(14_000);
    facts.push(verdict(24_000));
    let real = judge(&Seen(&facts), &wants(0));
    assert!(matches!(real, Err(Fault::Void(why)) if why.contains("a real one")));
    for fact in &mut facts {
        if let Event::Sample(sample) = &mut fact.event {
            sample.disk += fact.ms * 5_000;
        }
    }
    let false_alarm = judge(&Seen(&facts), &wants(0));
    assert!(
        matches!(false_alarm, Err(Fault::Wrong(_))),
        "a slow disk that works"
    );
}

#[test]
fn a_kill_where_memory_should_be_enough_proves_nothing_from_then_on() {
    let killed_at = |moment| {
        let mut facts = facts(60_000);
        for fact in &mut facts {
            if let Event::Sample(sample) = &mut fact.event {
                sample.oom_kills = u64::from(fact.ms >= moment);
            }
        }
        facts
    };
    let quiet = killed_at(20_000);
    let void = judge(&Seen(&quiet), &wants(0));
    assert!(matches!(void, Err(Fault::Void(why)) if why.contains("1 processes killed")));
    let mut told_after = quiet;
    told_after.push(verdict(30_000));
    let void = judge(&Seen(&told_after), &wants(0));
    assert!(matches!(void, Err(Fault::Void(_))));
    let mut told_before = killed_at(40_000);
    told_before.push(verdict(30_000));
    let wrong = judge(&Seen(&told_before), &wants(0));
    assert!(matches!(wrong, Err(Fault::Wrong(_))));
}

#[test]
fn without_a_kill_a_storm_proves_nothing() {
    let quiet = Quiet {
        oom: true,
        ..Quiet::default()
    };
    let void = judge(&Seen(&facts(60_000)), &quiet);
    assert!(matches!(void, Err(Fault::Void(_))));
}

#[test]
fn a_daemon_that_knows_related_conditions_must_name_the_one_at_hand() {
    let quiet = Quiet {
        related: &["slow-disk"],
        ..Quiet::default()
    };
    let mut facts = facts(60_000);
    let mut add = |event| facts.push(Fact { ms: 30_000, event });
    add(Event::HasRelated);
    let named = |kind: &str| {
        Event::Related(Related {
            monotonic_ms: 30_000,
            kind: kind.to_owned(),
            bdi: String::new(),
            began: true,
            reason: String::new(),
        })
    };
    add(named("memory-starvation"));
    let wrong = judge(&Seen(&facts), &quiet);
    assert!(matches!(wrong, Err(Fault::Wrong(_))));
    facts.push(Fact {
        ms: 31_000,
        event: named("slow-disk"),
    });
    assert!(judge(&Seen(&facts), &quiet).is_ok());
}

#[test]
fn a_daemon_must_say_what_is_true_of_a_condition_and_not_only_name_it() {
    let quiet = Quiet {
        says: &["is stopped"],
        ..Quiet::default()
    };
    for (reason, right) in [("waits for nothing", false), ("ganesha is stopped", true)] {
        let mut facts = facts(60_000);
        let mut add = |event| facts.push(Fact { ms: 30_000, event });
        add(Event::HasRelated);
        add(Event::Related(Related {
            monotonic_ms: 30_000,
            kind: "nfs-server-not-responding".to_owned(),
            bdi: String::new(),
            began: true,
            reason: reason.to_owned(),
        }));
        assert_eq!(judge(&Seen(&facts), &quiet).is_ok(), right, "{reason}");
    }
}
