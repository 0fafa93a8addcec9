//! What keys do.

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use throttle_monitor::{
    publish::tasks,
    terminal::{Action, Answer, Data, View},
};

use crate::{
    drawing::{key, livelock, press, text},
    scene::{data, drawn, feed, in_livelock, ticks, view},
};

#[test]
fn what_is_frozen_stays_until_it_goes_on() {
    let ticks = in_livelock("6.12-netns-livelock");
    let (last, before) = ticks.split_last().unwrap();
    let mut view = view(before, 80, 24);
    press(&mut view, ' ');
    feed(&mut view, last);
    view.tick(Duration::from_secs(1));
    let frozen = text(&view);
    assert!(
        frozen.contains(" FROZEN for 1 s, as of 17:30:24Z: space continues"),
        "{frozen}"
    );
    assert!(frozen.contains("for 9 s, since 17:30:15Z"), "{frozen}");
    press(&mut view, ' ');
    let screen = text(&view);
    assert!(
        !screen.contains("FROZEN") && screen.contains("for 10 s, since"),
        "{screen}"
    );
}

#[test]
fn sorting_and_filtering_are_asked_for_and_begin_at_the_top() {
    let (tick, mut view) = livelock();
    let words = |view: &View| {
        let rows = view.request().rows;
        (rows.sort.as_str(), rows.matching)
    };
    assert_eq!(words(&view), ("recent", String::new()));
    for sort in ["age", "delay", "waits", "recent"] {
        press(&mut view, 's');
        assert_eq!(words(&view).0, sort);
    }
    press(&mut view, 'a');
    for key in "/nfsdq".chars() {
        assert_eq!(press(&mut view, key), Action::Go);
    }
    key(&mut view, KeyCode::Backspace);
    key(&mut view, KeyCode::Enter);
    assert_eq!(words(&view), ("age", "nfsd".to_owned()));
    feed(&mut view, tick.last().unwrap());
    let screen = text(&view);
    assert!(
        screen.contains(" TASKS 1/5 ") && screen.contains("*AGE"),
        "{screen}"
    );
    assert!(screen.contains(" filter: nfsd  (esc: all)"), "{screen}");
    key(&mut view, KeyCode::Esc);
    assert_eq!(words(&view).1, "");
    assert_eq!(press(&mut view, 'q'), Action::Quit);
}

#[test]
fn a_task_is_looked_at_with_its_kernel_stack() {
    let (all, mut view) = livelock();
    let last = all.last().unwrap();
    let mut waits = last.observation.waits.iter();
    let tid = waits.find(|wait| wait.comm == "nfsd").unwrap().tid;
    let stacks = ticks("6.12-netns-livelock");
    let mut stacks = stacks.iter().flat_map(|tick| &tick.observation.stacks);
    let stack = stacks.find(|one| one.comm == "nfsd").unwrap().clone();
    for key in format!("/{tid}").chars() {
        press(&mut view, key);
    }
    key(&mut view, KeyCode::Enter);
    feed(&mut view, last);
    key(&mut view, KeyCode::Enter);
    assert_eq!(view.request().detail, Some(tid));
    assert!(text(&view).contains("fetching its kernel stack"));
    let known = data(last, &view.request().rows);
    let detail = tasks::Task {
        stack: Some(stack.frames.clone()),
        ..tasks::task(last, tid)
    };
    view.answer(Answer::Fresh(Box::new(Data {
        detail: Some(detail),
        ..known
    })));
    let screen = text(&view);
    for words in [
        " LIVELOCK",
        " TASK ",
        "Kernel stack, innermost first",
        &stack.frames[0],
        "waits for",
    ] {
        assert!(screen.contains(words), "{words}\n{screen}");
    }
}

#[test]
fn the_pages_say_what_to_type_what_happened_and_how_the_evidence_draws_it() {
    let (_, mut view) = livelock();
    let mut page = |key| {
        press(&mut view, key);
        let mut all = String::new();
        for _ in 0..9 {
            all += &text(&view);
            view.key(KeyEvent::new(KeyCode::PageDown, KeyModifiers::NONE));
        }
        all
    };
    let cycle = page('c');
    assert!(cycle.contains("closes]"), "{cycle}");
    let measures = page('m');
    for words in [
        "1. ",
        "/sys/class/bdi/0:28/max_ratio",
        "To undo it",
        "Does not help",
    ] {
        assert!(measures.contains(words), "{words}\n{measures}");
    }
    assert!(page('e').contains("verdict 0:28-nfsd: livelock (dirty-throttle)"));
    assert!(page('i').contains("lost since the start: 0 records"));
    assert!(page('?').contains("ctrl-c"));
}

#[test]
fn the_next_loop_is_looked_at_and_after_the_last_the_first() {
    let ticks = ticks("newest-ganesha-livelock");
    let tick = ticks.last().unwrap();
    let mut view = view(&[], 100, 30);
    let mut known = data(tick, &view.request().rows);
    let mut other = known.node.loops[0].clone();
    other.id = "0:99-nfsd".into();
    known.node.loops.push(other);
    known.node.loops_total = 2;
    view.answer(Answer::Fresh(Box::new(known)));
    let heading = |view: &View| {
        let lines = drawn(view, 100, 30);
        lines
            .into_iter()
            .find(|line| line.starts_with(" LOOP"))
            .unwrap()
    };
    assert!(heading(&view).starts_with(" LOOP 1 of 2: "));
    press(&mut view, 'n');
    let second = heading(&view);
    assert!(second.starts_with(" LOOP 2 of 2: ") && second.contains("(0:99-nfsd)"));
    press(&mut view, 'n');
    assert!(heading(&view).starts_with(" LOOP 1 of 2: "));
    press(&mut view, 'p');
    assert!(heading(&view).starts_with(" LOOP 2 of 2: "));
}
