//! Tests of the actuator on files in place of the kernel's. `./dev vm 6.12 guard-undo` tests the
//! kernel's reaction in guests.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use monitor_model::guard::{Action, DesiredState, Hold, Outcome};
use tempfile::TempDir;

use super::{Actuator, ActuatorError, Made, Settings, journal::JournalError};

const PAGE: u64 = 4096;

struct GuardedNode {
    dir: TempDir,
}

impl GuardedNode {
    fn new(has_fine: bool) -> Self {
        let node = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let bdi = node.path("sys/class/bdi/0:29");
        fs::create_dir_all(&bdi).unwrap();
        fs::create_dir_all(node.path("proc/sys/vm")).unwrap();
        fs::create_dir_all(node.path("proc/sys/kernel/random")).unwrap();
        fs::write(node.path("proc/sys/kernel/random/boot_id"), "one\n").unwrap();
        fs::write(bdi.join("max_ratio"), "100\n").unwrap();
        if has_fine {
            fs::write(bdi.join("max_ratio_fine"), "1000000\n").unwrap();
        }
        fs::write(bdi.join("strict_limit"), "0\n").unwrap();
        fs::write(node.path("proc/sys/vm/dirty_bytes"), "0\n").unwrap();
        fs::write(node.path("proc/sys/vm/dirty_ratio"), "20\n").unwrap();
        node.memory(0);
        node
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn get(&self, path: &str) -> String {
        fs::read_to_string(self.path(path))
            .unwrap()
            .trim()
            .to_owned()
    }

    fn set(&self, path: &str, value: &str) {
        fs::write(self.path(path), value).unwrap();
    }

    /// 100,000 pages of memory that can be dirty, and a limit of 20,000.
    fn memory(&self, dirty: u64) {
        let text = format!(
            "nr_free_pages 40000\nnr_active_file 30000\nnr_inactive_file 30000\n\
             nr_dirty 0\nnr_writeback {dirty}\nnr_dirty_threshold 20000\n"
        );
        self.set("proc/vmstat", &text);
    }

    fn dirty_bytes(&self) -> u64 {
        self.get("proc/sys/vm/dirty_bytes").parse().unwrap()
    }

    fn settings(&self) -> Settings {
        Settings {
            procfs: self.path("proc"),
            sysfs: self.path("sys"),
            journal: self.path("run/guard.json"),
            share: 40,
        }
    }

    fn actuator(&self) -> Actuator {
        Actuator::open(&self.settings()).unwrap()
    }

    fn journal(&self) -> Option<String> {
        fs::read_to_string(self.path("run/guard.json")).ok()
    }
}

fn hold(strict_limit: bool, max_ratio: u32) -> DesiredState {
    DesiredState {
        holds: vec![Hold {
            loop_id: "0:29-nfsd".into(),
            action: Action::Prevent,
            bdi: "0:29".into(),
            strict_limit,
            max_ratio: Some(max_ratio),
            background_bytes: None,
        }],
        ease: Vec::new(),
    }
}

fn easing() -> DesiredState {
    DesiredState {
        ease: vec![("0:29-nfsd".into(), Action::Break)],
        ..hold(false, 1)
    }
}

fn results(made: &[Made]) -> Vec<(Action, Outcome)> {
    made.iter().map(|one| (one.action, one.result)).collect()
}

/// The process is killed: nothing is restored.
fn killed(actuator: Actuator) {
    drop(actuator);
}

#[test]
fn limits_of_a_bdi_are_set_noted_and_put_back() {
    for has_fine in [false, true] {
        let node = GuardedNode::new(has_fine);
        let file = if has_fine {
            "max_ratio_fine"
        } else {
            "max_ratio"
        };
        let ratio = format!("sys/class/bdi/0:29/{file}");
        let before = node.get(&ratio);
        let mut actuator = node.actuator();
        assert_eq!(node.journal(), None);
        actuator.want(hold(true, 10));
        assert_eq!(node.get("sys/class/bdi/0:29/strict_limit"), "1");
        assert_eq!(node.get(&ratio), if has_fine { "100000" } else { "10" });
        assert!(node.journal().unwrap().contains("strict_limit"));
        let report = actuator.report();
        assert_eq!(results(&report.made), [(Action::Prevent, Outcome::Done)]);
        assert_eq!(report.active.len(), 2);
        // Repeating the request changes nothing.
        actuator.want(hold(true, 10));
        assert!(actuator.report().made.is_empty());
        actuator.want(DesiredState::default());
        assert_eq!(node.get("sys/class/bdi/0:29/strict_limit"), "0");
        assert_eq!(node.get(&ratio), before);
        assert_eq!(
            results(&actuator.report().made),
            [(Action::Undo, Outcome::Done)]
        );
        assert_eq!(node.journal(), None);
    }
}

#[test]
fn a_background_limit_comes_back_as_what_it_was_percent_or_bytes() {
    for (bytes, ratio) in [("0", "10"), ("5000000", "0")] {
        let node = GuardedNode::new(true);
        node.set("proc/sys/vm/dirty_background_bytes", bytes);
        node.set("proc/sys/vm/dirty_background_ratio", ratio);
        let mut actuator = node.actuator();
        let mut wanted = hold(false, 1);
        wanted.holds[0].background_bytes = Some(65536);
        actuator.want(wanted);
        assert_eq!(node.get("proc/sys/vm/dirty_background_bytes"), "65536");
        actuator.undo_all();
        if bytes == "0" {
            assert_eq!(node.get("proc/sys/vm/dirty_background_ratio"), ratio);
        } else {
            assert_eq!(node.get("proc/sys/vm/dirty_background_bytes"), bytes);
        }
        assert_eq!(node.journal(), None);
    }
}

#[test]
fn a_ratio_that_was_no_whole_percent_comes_back_as_it_was() {
    let node = GuardedNode::new(true);
    node.set("sys/class/bdi/0:29/max_ratio_fine", "123456\n");
    let mut actuator = node.actuator();
    actuator.want(hold(false, 1));
    assert_eq!(node.get("sys/class/bdi/0:29/max_ratio_fine"), "10000");
    actuator.undo_all();
    assert_eq!(node.get("sys/class/bdi/0:29/max_ratio_fine"), "123456");
}

#[test]
fn the_limit_follows_what_is_dirty_down_to_what_it_was() {
    let node = GuardedNode::new(true);
    let mut actuator = node.actuator();
    actuator.want(easing());
    node.memory(15_000);
    actuator.ease();
    assert_eq!(node.dirty_bytes(), 0, "there is room: nothing is changed");
    for dirty in [32_000, 24_000] {
        node.memory(dirty);
        actuator.ease();
        assert_eq!(node.dirty_bytes(), dirty * PAGE / 10 * 11, "{dirty}");
    }
    node.memory(18_000);
    actuator.ease();
    assert_eq!(node.dirty_bytes(), 20_000 * PAGE, "not below what it was");
    let made = results(&actuator.report().made);
    assert_eq!(
        made,
        [
            (Action::Prevent, Outcome::Done),
            (Action::Break, Outcome::Done),
        ]
    );
    actuator.want(DesiredState::default());
    assert_eq!(node.get("proc/sys/vm/dirty_ratio"), "20");
    assert_eq!(node.journal(), None);
}

#[test]
fn once_raised_the_limit_rises_slowly_so_that_writers_do_not_fill_it_at_once() {
    let node = GuardedNode::new(true);
    let mut actuator = node.actuator();
    actuator.want(easing());
    node.memory(20_000);
    actuator.ease();
    let (first, begin) = (node.dirty_bytes(), Instant::now());
    node.memory(39_000);
    actuator.ease();
    thread::sleep(Duration::from_millis(500));
    actuator.ease();
    let risen = node.dirty_bytes() - first;
    let a_second = 20_000 * PAGE / 16;
    assert!(risen > 0);
    assert!(u128::from(risen) <= u128::from(a_second) * (begin.elapsed().as_millis() + 50) / 1000);
}

#[test]
fn the_limit_is_never_raised_beyond_its_share_of_the_memory() {
    let node = GuardedNode::new(true);
    let mut actuator = node.actuator();
    actuator.want(easing());
    node.memory(90_000);
    actuator.ease();
    actuator.ease();
    let most = 40_000 * PAGE;
    assert_eq!(node.dirty_bytes(), most / 100 * 100);
    let made = actuator.report().made;
    let refused = |one: &&Made| one.result == Outcome::Refused;
    assert_eq!(made.iter().filter(refused).count(), 1, "{made:?}");
}

#[test]
fn once_there_is_room_again_the_limit_is_what_it_was_until_there_is_none() {
    let node = GuardedNode::new(true);
    let mut actuator = node.actuator();
    actuator.want(easing());
    actuator.report();
    for turn in 0..20 {
        node.memory(30_000);
        actuator.ease();
        assert!(node.dirty_bytes() > 30_000 * PAGE);
        let report = actuator.report();
        assert_eq!(report.active.len(), 2);
        // A step taken ten times a second is reported once.
        assert_eq!(report.made.len(), usize::from(turn == 0), "{report:?}");
        node.memory(10_000);
        actuator.ease();
        assert_eq!(node.get("proc/sys/vm/dirty_ratio"), "20");
        // The kernel does the same.
        node.set("proc/sys/vm/dirty_bytes", "0\n");
        let report = actuator.report();
        assert_eq!(report.active.len(), 1);
        assert!(report.made.is_empty(), "{report:?}");
    }
}

#[test]
fn a_limit_in_bytes_is_put_back_as_one() {
    let node = GuardedNode::new(true);
    node.set("proc/sys/vm/dirty_bytes", "50000000\n");
    let mut actuator = node.actuator();
    actuator.want(easing());
    node.memory(20_000);
    actuator.ease();
    assert_eq!(node.dirty_bytes(), 20_000 * PAGE / 10 * 11);
    actuator.undo_all();
    assert_eq!(node.dirty_bytes(), 50_000_000);
}

#[test]
fn the_next_one_puts_back_what_one_that_was_killed_has_left() {
    let node = GuardedNode::new(true);
    let mut actuator = node.actuator();
    actuator.want(hold(true, 10));
    killed(actuator);
    assert_eq!(node.get("sys/class/bdi/0:29/strict_limit"), "1");
    let mut next = node.actuator();
    assert_eq!(
        results(&next.report().made),
        [(Action::Undo, Outcome::Done)]
    );
    assert_eq!(node.get("sys/class/bdi/0:29/strict_limit"), "0");
    assert_eq!(node.get("sys/class/bdi/0:29/max_ratio_fine"), "1000000");
    assert_eq!(node.journal(), None);
}

#[test]
fn what_another_boot_has_left_is_forgotten() {
    let node = GuardedNode::new(true);
    let mut actuator = node.actuator();
    actuator.want(hold(true, 10));
    killed(actuator);
    node.set("proc/sys/kernel/random/boot_id", "two\n");
    let mut next = node.actuator();
    assert!(next.report().made.is_empty());
    assert_eq!(node.get("sys/class/bdi/0:29/strict_limit"), "1");
}

#[test]
fn a_value_that_another_process_sets_stays_afterwards() {
    let node = GuardedNode::new(true);
    let mut actuator = node.actuator();
    actuator.want(hold(true, 10));
    actuator.report();
    node.set("sys/class/bdi/0:29/max_ratio_fine", "370000\n");
    actuator.look_after();
    let report = actuator.report();
    assert_eq!(
        results(&report.made),
        [(Action::Prevent, Outcome::LeftAlone)]
    );
    assert!(report.made[0].words.contains("37 %"), "{report:?}");
    assert_eq!(report.active.len(), 1);
    // It is neither set again nor restored.
    actuator.want(hold(true, 10));
    actuator.look_after();
    assert!(actuator.report().made.is_empty());
    actuator.want(DesiredState::default());
    assert_eq!(node.get("sys/class/bdi/0:29/max_ratio_fine"), "370000");
    assert_eq!(node.get("sys/class/bdi/0:29/strict_limit"), "0");
    assert_eq!(
        results(&actuator.report().made),
        [(Action::Undo, Outcome::LeftAlone)]
    );
}

#[test]
fn a_dirty_limit_that_another_process_sets_during_easing_stays() {
    let node = GuardedNode::new(true);
    let mut actuator = node.actuator();
    actuator.want(easing());
    node.memory(20_000);
    actuator.ease();
    node.set("proc/sys/vm/dirty_bytes", "0\n");
    node.set("proc/sys/vm/dirty_ratio", "35\n");
    node.memory(39_000);
    actuator.ease();
    actuator.ease();
    assert_eq!(node.dirty_bytes(), 0);
    actuator.undo_all();
    assert_eq!(node.get("proc/sys/vm/dirty_ratio"), "35");
    let left = actuator.report().made;
    assert!(
        left.iter().any(|one| one.result == Outcome::LeftAlone),
        "{left:?}"
    );
}

#[test]
fn a_mount_that_is_gone_takes_its_limits_with_it() {
    let node = GuardedNode::new(true);
    let mut actuator = node.actuator();
    actuator.want(hold(true, 10));
    actuator.report();
    fs::remove_dir_all(node.path("sys/class/bdi/0:29")).unwrap();
    actuator.look_after();
    actuator.want(DesiredState::default());
    let report = actuator.report();
    assert!(
        report.made.is_empty() && report.active.is_empty(),
        "{report:?}"
    );
    assert_eq!(node.journal(), None);
}

#[test]
fn a_bdi_that_is_not_there_fails_in_words_and_leaves_nothing() {
    let node = GuardedNode::new(true);
    let mut actuator = node.actuator();
    let mut wanted = hold(true, 10);
    wanted.holds[0].bdi = "0:77".into();
    actuator.want(wanted);
    let made = actuator.report().made;
    assert_eq!(results(&made), [(Action::Prevent, Outcome::Failed)]);
    assert_eq!(node.journal(), None);
}

#[test]
fn a_name_that_is_not_a_bdi_becomes_no_path() {
    let node = GuardedNode::new(true);
    fs::write(node.path("sys/class/max_ratio"), "100\n").unwrap();
    let mut actuator = node.actuator();
    for name in ["..", "../bdi/0:29", "0:29/", "", "0:29\n", "a:b"] {
        let mut wanted = hold(true, 10);
        wanted.holds[0].bdi = name.into();
        actuator.want(wanted);
    }
    assert!(actuator.report().made.is_empty());
    assert_eq!(node.get("sys/class/max_ratio"), "100");
}

#[test]
fn two_guards_are_one_too_many() {
    let node = GuardedNode::new(true);
    let _first = node.actuator();
    let error = Actuator::open(&node.settings()).unwrap_err();
    assert!(
        matches!(error, ActuatorError::Journal(JournalError::Taken(_))),
        "{error}"
    );
}

#[test]
fn a_state_file_that_is_none_is_refused_and_left() {
    let node = GuardedNode::new(true);
    fs::create_dir_all(node.path("run")).unwrap();
    for text in [
        "",
        "{}",
        "null",
        "[1]",
        r#"{"schema":2,"boot_id":"one","entries":[]}"#,
    ] {
        node.set("run/guard.json", text);
        let error = Actuator::open(&node.settings()).unwrap_err();
        assert!(
            error.to_string().contains("cannot be read: compare"),
            "{text}: {error}"
        );
        assert_eq!(node.journal().as_deref(), Some(text));
    }
    // Nor is a text in it used as a path.
    let evil = r#"{"schema":1,"boot_id":"one","entries":[{"tunable":{"max_ratio":"../x"},"loop":"","old":{"number":1},"ours":[]}]}"#;
    node.set("run/guard.json", evil);
    assert!(Actuator::open(&node.settings()).is_err());
}

#[test]
fn without_permission_the_guard_fails_at_the_start() {
    let settings = Settings {
        procfs: Path::new("/nonexistent").to_owned(),
        sysfs: Path::new("/nonexistent").to_owned(),
        journal: std::env::temp_dir().join("never"),
        share: 40,
    };
    let error = Actuator::open(&settings).unwrap_err();
    assert!(error.to_string().contains("must be root"), "{error}");
}
