//! What is on the screen.

use std::{sync::Arc, time::Duration};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use throttle_monitor::{
    publish::{
        snapshot::{Published, Snapshot},
        tasks,
    },
    terminal::{Action, Answer, Data, View},
};

use crate::scene::{data, drawn, in_livelock, screen, state, ticks, view};

pub fn press(view: &mut View, key: char) -> Action {
    view.key(KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE))
}

pub fn key(view: &mut View, code: KeyCode) {
    assert_eq!(
        view.key(KeyEvent::new(code, KeyModifiers::NONE)),
        Action::Go
    );
}

pub fn text(view: &View) -> String {
    drawn(view, 80, 24).join("\n")
}

pub fn livelock() -> (Vec<Arc<Published>>, View) {
    let ticks = in_livelock("6.12-netns-livelock");
    let view = view(&ticks, 80, 24);
    (ticks, view)
}

#[test]
fn a_livelock_fits_on_the_smallest_usual_screen_with_all_that_matters() {
    for name in [
        "6.12-netns-livelock",
        "newest-netns-livelock",
        "newest-ganesha-livelock",
        "newest-loop-device",
        "5.10-reclaim-purest",
        "6.12-failover-livelock",
    ] {
        let screen = screen(&in_livelock(name), 80, 24);
        let lines: Vec<&str> = screen.lines().collect();
        assert!(
            lines[0].starts_with(" LIVELOCK ") || lines[0].starts_with(" DEADLOCK "),
            "{screen}"
        );
        for words in [
            " LOOP ",
            "Writers: ",
            " ^  -> ",
            " '= Closed: ",
            " ACKED ",
            " BDIS ",
            "TASKS",
        ] {
            assert!(screen.contains(words), "{name}: {words}\n{screen}");
        }
        assert!(lines[23].ends_with("q quit"), "{screen}");
    }
}

#[test]
fn the_cycle_has_the_numbers_of_the_tick() {
    let (_, view) = livelock();
    let screen = text(&view);
    for words in [
        "LIVELOCK  4 tasks cannot write to /mnt for 10 s, since ",
        "LOOP /mnt (0:28-nfsd): dirty-throttle, 10.9.0.2:/, cross-netns, not exempt, ",
        "       Writers: 4 waiting, for 16.1 s, 41.0 MiB to write",
        " ^  -> /mnt (0:28): 41.0 MiB held, 602 WRITEs open, 0 B/s acknowledged",
        " '= -> nfsd: 8 of 8 stuck, 1 throttled, 7 blocked, for 14.1 s, 100 % waiting",
        "    -> /export (254:0): 256 KiB held, ext4 /dev/vda",
        " '= Closed: nfsd waits for pages of /mnt (0:28); only nfsd can clean them",
        " TYPE    throttle-monitor guard ease 0:28 --server-bdi 254:0",
        " nfsd    [TBBBBBBB] 1 throttled (T), 7 blocked (B), 0 idle",
        "writer              187 balance_dirty_pages /mnt (0:28)        1.00 s  16.1 s",
    ] {
        assert!(screen.contains(words), "{words}\n{screen}");
    }
}

#[test]
fn no_size_panics_and_the_state_is_the_last_thing_to_go() {
    let ticks = in_livelock("6.12-netns-livelock");
    let last = &ticks[ticks.len() - 1..];
    let widths = [1, 2, 3, 7, 10, 19, 39, 40, 59, 71, 72, 80, 131, 200];
    for width in widths {
        for height in (1..30).chain([40, 60]) {
            let mut view = view(last, width, height);
            let lines = drawn(&view, width, height);
            let starts = " LIVELOCK ".get(..usize::from(width.min(10)) - 1).unwrap();
            assert!(
                lines[0].starts_with(starts.trim_end()),
                "{width}x{height}: {lines:?}"
            );
            for page in ['?', 'c', 'm', 'e', 'i'] {
                press(&mut view, page);
                drawn(&view, width, height);
            }
        }
    }
}

#[test]
fn on_a_narrow_screen_the_evidence_is_broken_elsewhere_and_an_old_one_stays_as_it_is() {
    let ticks = in_livelock("6.12-netns-livelock");
    let tick = ticks.last().unwrap();
    let mut view = view(&ticks, 60, 40);
    press(&mut view, 'c');
    let screen = drawn(&view, 60, 40).join("\n");
    let words = " -> /mnt (0:28, 10.9.0.2:/) holds";
    assert!(screen.contains(words), "{screen}");
    let mut old = data(tick, &view.request().rows);
    old.node.loops[0].steps.clear();
    old.node.loops[0].cycle = vec!["dd[7] waits".to_owned(), "  -> nfsd[11] waits".to_owned()];
    view.answer(Answer::Fresh(Box::new(old)));
    let screen = drawn(&view, 60, 40).join("\n");
    assert!(
        screen.contains(" dd[7] waits\n   -> nfsd[11] waits\n"),
        "{screen}"
    );
}

#[test]
fn a_quiet_node_claims_no_more_than_it_knows() {
    let healthy = screen(&ticks("6.12-loopback-healthy"), 80, 24);
    assert!(
        healthy.starts_with(" NO LIVELOCK  this node: 1 loop, none stuck"),
        "{healthy}"
    );
    let remote = screen(&ticks("6.12-local-slow-disk"), 80, 24);
    let words = " NO LIVELOCK  this node: no self-served mount is known";
    assert!(remote.starts_with(words), "{remote}");
    assert!(!remote.contains("LOOP"), "{remote}");
}

#[test]
fn a_related_condition_is_told_with_its_reason() {
    let hung = ticks("6.12-hung-server");
    let told = |tick: &Arc<Published>| {
        let screen = screen(std::slice::from_ref(tick), 120, 30);
        screen.contains(" ALSO    nfs-server-not-responding of ")
    };
    assert!(hung.iter().any(told));
}

#[test]
fn before_the_first_answer_it_waits_and_without_one_it_says_why() {
    let mut view = view(&[], 80, 24);
    assert!(text(&view).starts_with(" WAITING for the first answer"));
    view.tick(Duration::from_secs(7));
    view.answer(Answer::Failed("connection refused".to_owned()));
    let words = "NO ANSWER from http://127.0.0.1:9746 for 7 s: connection refused; asking again";
    assert!(text(&view).contains(words), "{}", text(&view));
}

/// A node on which so many tasks wait.
fn crowd(tick: &Published, tasks: u32) -> Snapshot {
    let mut snapshot = Snapshot::clone(tick);
    let one = snapshot.observation.waits[0].clone();
    let waits = (1..=tasks).map(|tid| {
        let mut wait = one.clone();
        (wait.tid, wait.tgid) = (tid, tid);
        wait
    });
    snapshot.observation.waits = waits.collect();
    snapshot
}

/// By what is asked for and drawn, not by the clock.
#[test]
fn ten_thousand_tasks_are_asked_for_and_drawn_as_ten_are() {
    let (ticks, _) = livelock();
    let mut requests = Vec::new();
    for tasks in [10, 10_000] {
        let snapshot = crowd(ticks.last().unwrap(), tasks);
        let mut view = view(&[], 80, 24);
        for _ in 0..3 {
            let wanted = view.request().rows;
            assert!(wanted.limit <= 24, "{wanted:?}");
            let data = Data {
                node: snapshot.node(&[]),
                rows: tasks::rows(&snapshot, &wanted),
                detail: None,
                tracks: Vec::new(),
            };
            assert!(data.rows.tasks.len() <= 24);
            view.answer(Answer::Fresh(Box::new(data)));
        }
        requests.push(view.request());
        assert!(text(&view).contains(&format!(" TASKS {tasks} ")));
        // Further down no more is asked for than up to there.
        let seen = view.request().rows.limit;
        for _ in 0..7 {
            key(&mut view, KeyCode::Down);
        }
        assert!(view.request().rows.limit <= seen + 7);
    }
    assert_eq!(requests[0], requests[1]);
}

#[test]
fn more_than_was_asked_for_is_not_drawn() {
    let (ticks, _) = livelock();
    let snapshot = crowd(ticks.last().unwrap(), 5_000);
    let mut view = view(&[], 80, 24);
    let all = tasks::TaskQuery {
        limit: 5_000,
        ..tasks::TaskQuery::default()
    };
    let mut known = data(ticks.last().unwrap(), &all);
    known.rows = tasks::rows(&snapshot, &all);
    view.answer(Answer::Fresh(Box::new(known)));
    let rows = drawn(&view, 80, 24);
    let rows = rows.iter().filter(|line| line.contains("  1.00 s "));
    assert!((1..20).contains(&rows.count()));
    for _ in 0..6_000 {
        key(&mut view, KeyCode::Down);
    }
    assert_eq!(view.request().rows.limit, 1000, "a daemon gives no more");
    assert!(text(&view).contains('>'));
}

/// For whoever wants to look: `SCREENS=NAME,... cargo test --test top look -- --nocapture`.
#[test]
fn look() {
    let names = std::env::var("SCREENS").unwrap_or_default();
    for name in names.split(',').filter(|name| !name.is_empty()) {
        let all = ticks(name);
        let stuck = all.iter().rposition(|tick| state(tick).is_livelock());
        let seen = stuck.map_or(&all[..], |last| &all[..=last]);
        for (width, height) in [(40, 12), (80, 24), (120, 40)] {
            println!("--- {name}\n{}", screen(seen, width, height));
        }
        println!(
            "--- {name} --once\n{}",
            throttle_monitor::terminal::plain(&view(seen, 80, 24), 100)
        );
    }
}
