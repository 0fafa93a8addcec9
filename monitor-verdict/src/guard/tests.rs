use std::time::Duration;

use compact_str::CompactString;
use monitor_model::{
    guard::{Action, GuardEvent, Mode, Outcome},
    loops::{Exempt, Loop, Proof},
    observation::{Bdi, Observation},
    verdict::{Condition, LivelockState, Signature, Verdict},
};
use proptest::prelude::*;

use super::{CALM_NS, Decision, Guard, Policy};
use crate::mitigation::tests::the_loop;

const SECOND: u64 = 1_000_000_000;

/// A node with one loop and its verdict.
struct Scene {
    node: Observation,
    loops: Vec<Loop>,
    verdicts: Vec<Verdict>,
    guard: Guard,
}

impl Scene {
    fn new(mode: Mode, kernel: &str) -> Self {
        let is_old = kernel.starts_with("5.") || kernel.starts_with("6.1.");
        let bdi = Bdi {
            bdi: "0:29".into(),
            max_ratio: Some(100),
            strict_limit: (!is_old).then_some(false),
            ..Bdi::default()
        };
        let disk = Bdi {
            bdi: "254:0".into(),
            fstype: "ext4".into(),
            ..bdi.clone()
        };
        Self {
            node: Observation {
                kernel: kernel.into(),
                bdis: vec![bdi, disk],
                monotonic_ns: 100 * SECOND,
                ..Observation::default()
            },
            loops: vec![the_loop()],
            verdicts: vec![verdict(LivelockState::None, false)],
            guard: Guard::new(Policy {
                mode,
                hold_down: Duration::from_secs(30),
                per_hour: 3,
            }),
        }
    }

    fn tick(&mut self) -> Decision {
        self.node.monotonic_ns += SECOND;
        self.guard.decide(&self.node, &self.loops, &self.verdicts)
    }

    fn ticks(&mut self, seconds: u64) -> Vec<GuardEvent> {
        (0..seconds).flat_map(|_| self.tick().events).collect()
    }

    fn stuck(&mut self) {
        self.verdicts = vec![verdict(LivelockState::Livelock, true)];
    }

    fn moving(&mut self) {
        self.verdicts = vec![verdict(LivelockState::None, true)];
        self.verdicts[0].conditions.no_progress.holds = Some(false);
    }

    fn at_rest(&mut self) {
        self.verdicts = vec![verdict(LivelockState::None, false)];
    }
}

/// A verdict in which all four conditions hold, or none does.
fn verdict(state: LivelockState, holds: bool) -> Verdict {
    let condition = || Condition {
        holds: Some(holds),
        ..Condition::default()
    };
    Verdict {
        loop_id: "0:29-nfsd".into(),
        client_bdi: "0:29".into(),
        server: "nfsd".into(),
        server_bdi: Some("254:0".into()),
        signature: Signature::DirtyThrottle,
        state,
        confidence: monitor_model::verdict::Confidence::default(),
        since_ms: 0,
        conditions: monitor_model::verdict::Conditions {
            demand: condition(),
            no_progress: condition(),
            blockage: condition(),
            closing_edge: condition(),
        },
        reason: "it stands still".to_owned(),
        tallies: Vec::new(),
    }
}

fn what(events: &[GuardEvent]) -> Vec<(Action, Outcome)> {
    events
        .iter()
        .map(|event| (event.action, event.result))
        .collect()
}

#[test]
fn off_wants_nothing_whatever_happens() {
    let mut scene = Scene::new(Mode::Off, "6.12.9");
    scene.stuck();
    assert_eq!(scene.tick(), Decision::default());
}

#[test]
fn prevent_holds_the_client_strictly_when_its_loop_appears_and_lets_go_when_it_ends() {
    let mut scene = Scene::new(Mode::Prevent, "6.12.9");
    let Decision { wanted, events } = scene.tick();
    assert_eq!(what(&events), [(Action::Prevent, Outcome::Decided)]);
    assert!(
        events[0]
            .commands
            .iter()
            .any(|line| line.contains("/0:29/strict_limit"))
    );
    let [hold] = &wanted.holds[..] else {
        panic!("{wanted:?}");
    };
    assert!(hold.strict_limit && hold.max_ratio < Some(100));
    assert!(wanted.ease.is_empty(), "no limit of the node is touched");
    // The decision is reported once, and the hold persists after the node shows it.
    scene.node.bdis[0].strict_limit = Some(true);
    scene.node.bdis[0].max_ratio = hold.max_ratio;
    let again = scene.tick();
    assert_eq!((again.wanted, again.events.len()), (wanted, 0));
    scene.loops.clear();
    let Decision { wanted, events } = scene.tick();
    assert_eq!(what(&events), [(Action::Undo, Outcome::Decided)]);
    assert!(wanted.holds.is_empty());
}

#[test]
fn prevent_breaks_what_it_could_not_prevent() {
    let mut scene = Scene::new(Mode::Prevent, "6.12.9");
    scene.tick();
    scene.ticks(40);
    scene.stuck();
    let Decision { wanted, events } = scene.tick();
    assert_eq!(what(&events), [(Action::Break, Outcome::Decided)]);
    assert_eq!(wanted.ease.len(), 1);
    let mut scene = Scene::new(Mode::Prevent, "6.12.9");
    scene.loops[0].proof = Proof::Address;
    scene.stuck();
    assert_eq!(scene.tick(), Decision::default(), "not without a proof");
}

#[test]
fn many_clients_together_leave_half_of_the_limit_to_the_servers() {
    let mut scene = Scene::new(Mode::Prevent, "6.12.9");
    let one = (scene.loops[0].clone(), scene.node.bdis[0].clone());
    let mut together = Vec::new();
    for number in 1..=60 {
        let (mut found, mut bdi) = one.clone();
        bdi.bdi = format!("0:{}", 100 + number).into();
        found.client_bdi = bdi.bdi.clone();
        found.id = format!("{}-nfsd", bdi.bdi).into();
        scene.loops.push(found);
        scene.node.bdis.push(bdi);
        let holds = scene.tick().wanted.holds;
        together.push(holds.iter().filter_map(|hold| hold.max_ratio).sum::<u32>());
    }
    assert!(together[..49].iter().all(|sum| *sum <= 50), "{together:?}");
    assert_eq!(together[59], 61, "and nobody less than one percent");
}

#[test]
fn prevent_requires_a_proof_and_skips_loops_without_risk_or_already_held() {
    let quiet = |change: &dyn Fn(&mut Scene)| {
        let mut scene = Scene::new(Mode::Prevent, "6.12.9");
        change(&mut scene);
        assert_eq!(scene.tick(), Decision::default());
    };
    quiet(&|scene| scene.loops[0].proof = Proof::Address);
    quiet(&|scene| scene.loops[0].exempt.state = Exempt::Yes);
    quiet(&|scene| {
        scene.loops[0].server = "ganesha.nfsd".into();
        scene.loops[0].exempt.state = Exempt::Yes;
    });
    quiet(&|scene| scene.node.bdis.clear());
    quiet(&|scene| {
        scene.node.bdis[0].strict_limit = Some(true);
        scene.node.bdis[0].max_ratio = Some(5);
    });
    for state in [Exempt::No, Exempt::Partly, Exempt::Unknown] {
        for server in ["nfsd", "ganesha.nfsd"] {
            let mut scene = Scene::new(Mode::Prevent, "6.12.9");
            scene.loops[0].server = server.into();
            scene.loops[0].exempt.state = state;
            assert_eq!(scene.tick().events.len(), 1, "{server}: {state:?}");
        }
    }
}

#[test]
fn what_limited_a_loop_is_put_back_once_its_server_is_seen_to_be_exempt() {
    let mut scene = Scene::new(Mode::Prevent, "6.12.9");
    assert_eq!(scene.tick().wanted.holds.len(), 1);
    scene.loops[0].exempt.state = Exempt::Yes;
    let Decision { wanted, events } = scene.tick();
    assert_eq!(what(&events), [(Action::Undo, Outcome::Decided)]);
    assert!(wanted.holds.is_empty());
    assert_eq!(scene.tick(), Decision::default(), "once");
}

#[test]
fn a_loop_whose_server_is_exempt_is_broken_like_any_once_it_stalls() {
    for mode in [Mode::Prevent, Mode::Break] {
        let mut scene = Scene::new(mode, "6.12.9");
        scene.loops[0].exempt.state = Exempt::Yes;
        scene.stuck();
        assert_eq!(
            what(&scene.tick().events),
            [(Action::Break, Outcome::Decided)]
        );
    }
}

#[test]
fn without_strict_limit_prevent_waits_for_the_first_sign_and_eases() {
    let mut scene = Scene::new(Mode::Prevent, "5.10.0-32");
    assert_eq!(scene.tick(), Decision::default());
    scene.verdicts = vec![verdict(LivelockState::Suspected, true)];
    scene.verdicts[0].conditions.blockage.holds = Some(false);
    assert_eq!(scene.tick(), Decision::default(), "three of four");
    scene.verdicts = vec![verdict(LivelockState::Suspected, true)];
    let Decision { wanted, events } = scene.tick();
    assert_eq!(what(&events), [(Action::Prevent, Outcome::Decided)]);
    assert_eq!(wanted.ease.len(), 1);
    assert_eq!(wanted.holds[0].max_ratio, Some(1));
    assert!(!wanted.holds[0].strict_limit);
}

#[test]
fn break_acts_on_a_livelock_and_not_before_until_all_writers_are_done() {
    let mut scene = Scene::new(Mode::Break, "6.12.9");
    scene.verdicts = vec![verdict(LivelockState::Suspected, true)];
    assert_eq!(scene.tick(), Decision::default());
    scene.stuck();
    let Decision { wanted, events } = scene.tick();
    assert_eq!(what(&events), [(Action::Break, Outcome::Decided)]);
    assert_eq!((wanted.ease.len(), wanted.holds.len()), (1, 1));
    // The load continues for an hour, and so does the easing.
    scene.moving();
    assert!(scene.ticks(3600).is_empty());
    assert_eq!(scene.tick().wanted, wanted);
    scene.at_rest();
    assert!(scene.ticks(CALM_NS / SECOND).is_empty());
    let Decision { wanted, events } = scene.tick();
    assert_eq!(what(&events), [(Action::Undo, Outcome::Decided)]);
    assert!(wanted.ease.is_empty() && wanted.holds.is_empty());
}

#[test]
fn what_breaks_it_frees_the_server_where_it_can_and_else_holds_the_client() {
    let held = |kernel: &str, change: &dyn Fn(&mut Scene)| {
        let mut scene = Scene::new(Mode::Break, kernel);
        change(&mut scene);
        scene.stuck();
        scene.verdicts[0]
            .server_bdi
            .clone_from(&scene.loops[0].server_bdi);
        let Decision { wanted, .. } = scene.tick();
        assert_eq!(wanted.ease.len(), 1, "{kernel}");
        let [hold] = &wanted.holds[..] else {
            panic!("{wanted:?}");
        };
        (hold.bdi.to_string(), hold.strict_limit, hold.max_ratio)
    };
    let client = |strict| ("0:29".to_owned(), strict, Some(1));
    let freed = ("254:0".to_owned(), true, None);
    assert_eq!(held("6.12.9", &|_| ()), freed);
    assert_eq!(held("5.10.0-32", &|_| ()), client(false));
    // The server's BDI is unknown, is gone, or is an NFS mount itself.
    assert_eq!(
        held("6.12.9", &|scene| scene.loops[0].server_bdi = None),
        client(true)
    );
    assert_eq!(
        held("6.12.9", &|scene| drop(scene.node.bdis.pop())),
        client(true)
    );
    assert_eq!(
        held("6.12.9", &|scene| scene.node.bdis[1].fstype = "nfs4".into()),
        client(true)
    );
    // A hold persists, whatever the node shows meanwhile.
    let mut scene = Scene::new(Mode::Break, "6.12.9");
    scene.stuck();
    let before = scene.tick().wanted;
    scene.node.bdis[1].strict_limit = Some(true);
    scene.loops[0].server_bdi = None;
    assert_eq!(scene.tick().wanted, before);
}

#[test]
fn a_pause_of_the_writers_does_not_undo_what_keeps_them_going() {
    let mut scene = Scene::new(Mode::Break, "6.12.9");
    scene.stuck();
    scene.tick();
    for _ in 0..5 {
        scene.at_rest();
        assert!(scene.ticks(CALM_NS / SECOND - 1).is_empty());
        scene.moving();
        assert!(scene.ticks(2).is_empty());
    }
    assert_eq!(scene.tick().wanted.ease.len(), 1);
}

#[test]
fn what_no_limit_helps_against_is_refused_once_and_with_words() {
    let mut scene = Scene::new(Mode::Break, "5.10.0-32");
    scene.stuck();
    scene.verdicts[0].signature = Signature::ReclaimCongestion;
    let events = scene.ticks(60);
    assert_eq!(what(&events), [(Action::Break, Outcome::Refused)]);
    assert!(
        events[0].reason.contains("explain reclaim-congestion"),
        "{events:?}"
    );
}

#[test]
fn a_loop_that_is_stuck_again_waits_for_the_hold_down_and_is_broken_then() {
    let mut scene = Scene::new(Mode::Break, "6.12.9");
    scene.guard = Guard::new(Policy {
        mode: Mode::Break,
        hold_down: Duration::from_mins(2),
        per_hour: 3,
    });
    scene.stuck();
    scene.tick();
    scene.at_rest();
    scene.ticks(CALM_NS / SECOND + 2);
    scene.stuck();
    let events = scene.ticks(30);
    assert_eq!(what(&events), [(Action::Break, Outcome::Refused)]);
    assert!(events[0].reason.contains("--guard.hold-down"), "{events:?}");
    let events = scene.ticks(90);
    assert_eq!(what(&events), [(Action::Break, Outcome::Decided)]);
}

#[test]
fn no_more_livelocks_are_broken_within_an_hour_than_allowed() {
    let mut scene = Scene::new(Mode::Break, "6.12.9");
    let mut broken = 0;
    let mut refused = 0;
    for _ in 0..20 {
        scene.stuck();
        let mut events = scene.ticks(31);
        scene.at_rest();
        events.extend(scene.ticks(CALM_NS / SECOND + 2));
        broken += what(&events)
            .iter()
            .filter(|one| **one == (Action::Break, Outcome::Decided))
            .count();
        refused += what(&events)
            .iter()
            .filter(|one| one.1 == Outcome::Refused)
            .count();
    }
    assert_eq!((broken, refused), (3, 17));
    scene.ticks(3600);
    scene.stuck();
    assert_eq!(what(&scene.ticks(2)), [(Action::Break, Outcome::Decided)]);
}

#[test]
fn advise_says_the_commands_once_each_and_wants_nothing() {
    let mut scene = Scene::new(Mode::Advise, "6.12.9");
    let Decision { wanted, events } = scene.tick();
    assert_eq!(what(&events), [(Action::Prevent, Outcome::Advised)]);
    assert!(!events[0].commands.is_empty() && !events[0].undo.is_empty());
    assert_eq!(wanted, monitor_model::guard::DesiredState::default());
    scene.stuck();
    let events = scene.ticks(60);
    assert_eq!(what(&events), [(Action::Break, Outcome::Advised)]);
    assert!(
        events[0].commands[0].contains("guard ease 0:29 --server-bdi 254:0"),
        "{events:?}"
    );
    assert_eq!(
        scene.tick().wanted,
        monitor_model::guard::DesiredState::default()
    );
}

#[test]
fn a_mount_that_comes_and_goes_is_not_limited_at_each_turn() {
    let mut scene = Scene::new(Mode::Prevent, "6.12.9");
    let loops = scene.loops.clone();
    let mut begun = 0;
    for turn in 0..30 {
        scene.loops = if turn % 2 == 0 {
            loops.clone()
        } else {
            Vec::new()
        };
        let events = scene.tick().events;
        begun += what(&events)
            .iter()
            .filter(|one| one.0 == Action::Prevent)
            .count();
    }
    assert_eq!(begun, 1, "within 30 s");
}

fn mode(scene: &mut Scene, mode: Mode) {
    let policy = scene.guard.policy().clone();
    scene.guard.set_policy(Policy { mode, ..policy });
}

#[test]
fn off_by_a_reload_releases_what_was_held_once_and_with_words() {
    let mut scene = Scene::new(Mode::Prevent, "6.12.0");
    assert_eq!(scene.tick().wanted.holds.len(), 1);
    mode(&mut scene, Mode::Off);
    let decision = scene.tick();
    assert!(decision.wanted.holds.is_empty());
    assert_eq!(what(&decision.events), [(Action::Undo, Outcome::Decided)]);
    assert!(decision.events[0].reason.contains("mode is off now"));
    assert!(scene.ticks(60).is_empty());
    mode(&mut scene, Mode::Prevent);
    let decision = scene.tick();
    assert_eq!(decision.wanted.holds.len(), 1);
    assert_eq!(
        what(&decision.events),
        [(Action::Prevent, Outcome::Decided)]
    );
}

#[test]
fn what_the_new_mode_allows_stays_in_force() {
    let mut scene = Scene::new(Mode::Prevent, "6.1.0");
    scene.stuck();
    let before = scene.tick().wanted;
    assert_eq!(before.ease.len(), 1);
    mode(&mut scene, Mode::Break);
    let decision = scene.tick();
    assert_eq!(decision.wanted.ease.len(), 1);
    assert!(decision.events.is_empty(), "{:?}", decision.events);
}

#[test]
fn what_was_only_advised_is_done_once_it_may_be() {
    let mut scene = Scene::new(Mode::Advise, "6.12.0");
    assert_eq!(scene.ticks(3).len(), 1);
    mode(&mut scene, Mode::Prevent);
    let decision = scene.tick();
    assert_eq!(
        what(&decision.events),
        [(Action::Prevent, Outcome::Decided)]
    );
    assert_eq!(decision.wanted.holds.len(), 1);
}

#[test]
fn other_settings_change_without_releasing_anything() {
    let mut scene = Scene::new(Mode::Prevent, "6.12.0");
    let before = scene.tick().wanted;
    let policy = scene.guard.policy().clone();
    scene.guard.set_policy(Policy {
        per_hour: 1,
        ..policy
    });
    let decision = scene.tick();
    assert_eq!((decision.wanted, decision.events.len()), (before, 0));
}

proptest! {
    /// Every desired state belongs to an existing loop. A guard that only advises wants no change.
    #[test]
    fn what_is_wanted_is_of_a_loop_that_is_there(
        mode in proptest::sample::select(Mode::ALL.to_vec()),
        steps in proptest::collection::vec((any::<bool>(), 0..5_u8, any::<bool>(), any::<bool>(), 1..100_u64), 1..60),
    ) {
        let mut scene = Scene::new(mode, "6.12.9");
        let all = scene.loops.clone();
        for (there, state, holds, demand, seconds) in steps {
            scene.loops = if there { all.clone() } else { Vec::new() };
            let state = match state {
                0 => LivelockState::None,
                1 => LivelockState::Suspected,
                2 => LivelockState::Livelock,
                3 => LivelockState::Deadlock,
                _ => LivelockState::Recovered,
            };
            scene.verdicts = vec![verdict(state, holds)];
            scene.verdicts[0].conditions.demand.holds = Some(demand);
            scene.node.monotonic_ns += seconds * SECOND;
            let Decision { wanted, .. } = scene.tick();
            let ids: Vec<&CompactString> = scene.loops.iter().map(|one| &one.id).collect();
            prop_assert!(wanted.holds.iter().all(|hold| ids.contains(&&hold.loop_id)));
            prop_assert!(wanted.ease.iter().all(|(id, _)| ids.contains(&id)));
            prop_assert!(mode.acts() || wanted == monitor_model::guard::DesiredState::default());
            let mut ratios = wanted.holds.iter().filter_map(|hold| hold.max_ratio);
            prop_assert!(ratios.all(|ratio| (1..100).contains(&ratio)));
        }
    }
}
