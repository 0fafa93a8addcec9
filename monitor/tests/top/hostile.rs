//! Names come from the node, from another machine or from a recording.

use std::time::Duration;

use serde_json::Value;
use throttle_monitor::{
    publish::{node::Node, tasks::Rows},
    terminal::{Answer, Data, Origin, Theme, View, plain},
};

use crate::{
    drawing::press,
    scene::{LOOK, data, drawn, in_livelock, view},
};

const NASTY: [&str; 5] = [
    "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\r\n",
    "\u{202e}\u{2066}drawkcab\u{200b}\u{feff}",
    "漢字漢字漢字漢字漢字漢字漢字漢字",
    "e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}",
    "",
];

/// Every text in it is nasty, but for those that are words of the program's own.
fn poison(value: &mut Value, with: &str) {
    const WORDS: [&str; 13] = [
        "state",
        "signature",
        "proof",
        "scope",
        "basis",
        "cause",
        "class",
        "reason",
        "by",
        "occasion",
        "kind",
        "role",
        "recording",
    ];
    match value {
        Value::String(text) => with.clone_into(text),
        Value::Array(all) => all.iter_mut().for_each(|one| poison(one, with)),
        Value::Object(all) => {
            for (key, one) in all {
                if !WORDS.contains(&key.as_str()) || !one.is_string() {
                    poison(one, with);
                }
            }
        }
        _ => {}
    }
}

fn poisoned(with: &str) -> Data {
    let ticks = in_livelock("6.12-netns-livelock");
    let clean = data(ticks.last().unwrap(), &view(&[], 80, 24).request().rows);
    let mut node = serde_json::to_value(&clean.node).unwrap();
    poison(&mut node, with);
    let mut rows = serde_json::to_value(&clean.rows).unwrap();
    poison(&mut rows, with);
    Data {
        node: serde_json::from_value::<Node>(node).unwrap(),
        rows: serde_json::from_value::<Rows>(rows).unwrap(),
        ..clean
    }
}

fn is_shown(c: char) -> bool {
    let turns = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !c.is_control() && !turns
}

fn all_pages(view: &mut View, width: u16, height: u16) -> String {
    let mut all = drawn(view, width, height).concat();
    for key in ['?', 'c', 'm', 'e', 'i'] {
        press(view, key);
        all += &drawn(view, width, height).concat();
    }
    all
}

#[test]
fn no_name_reaches_the_terminal_with_what_would_move_its_cursor() {
    for nasty in NASTY {
        let mut view = view(&[], 80, 24);
        view.answer(Answer::Fresh(Box::new(poisoned(nasty))));
        let text = plain(&view, 100);
        assert!(text.chars().all(|c| is_shown(c) || c == '\n'), "{text:?}");
        let colour = true;
        let coloured = Theme { colour, ..LOOK };
        let mut in_colours = View::new(Origin::Own, coloured, Duration::from_secs(1));
        in_colours.answer(Answer::Fresh(Box::new(poisoned(nasty))));
        let text = plain(&in_colours, 100);
        assert!(text.contains("\u{1b}["));
        let bare = text.replace("\u{1b}[", "");
        assert!(bare.chars().all(|c| is_shown(c) || c == '\n'), "{bare:?}");
        let screens = all_pages(&mut view, 80, 24);
        let bad = screens.chars().find(|c| !is_shown(*c));
        assert_eq!(bad, None);
    }
}

#[test]
fn a_livelock_that_only_a_newer_daemon_has_a_word_for_is_still_one() {
    let ticks = in_livelock("6.12-netns-livelock");
    let clean = data(ticks.last().unwrap(), &view(&[], 80, 24).request().rows);
    let mut node = serde_json::to_value(&clean.node).unwrap();
    for one in node["loops"].as_array_mut().unwrap() {
        one["verdict"]["signature"] = "found-in-2030".into();
    }
    let node = serde_json::from_value::<Node>(node).unwrap();
    assert!(node.loops.is_empty());
    let mut view = view(&[], 80, 24);
    view.answer(Answer::Fresh(Box::new(Data { node, ..clean })));
    let text = plain(&view, 100);
    let is_said = text.contains("LIVELOCK") && text.contains("(loop 0:");
    assert!(is_said && !text.contains("none stuck"), "{text}");
}

#[test]
fn a_name_of_a_megabyte_is_drawn_as_the_start_of_one() {
    let mut view = view(&[], 80, 24);
    view.answer(Answer::Fresh(Box::new(poisoned(&"x ".repeat(1 << 19)))));
    assert!(all_pages(&mut view, 80, 24).len() < 6 * 80 * 24 * 4);
    assert!(plain(&view, 100).len() < 1 << 20);
}

#[test]
fn where_there_is_ascii_only_nothing_else_is_written() {
    let ticks = in_livelock("6.12-netns-livelock");
    let look = Theme {
        unicode: false,
        ..LOOK
    };
    let mut view = View::new(Origin::Own, look, Duration::from_secs(1));
    for tick in &ticks {
        crate::scene::feed(&mut view, tick);
    }
    let screens = all_pages(&mut view, 80, 24);
    assert!(screens.is_ascii());
    let text = plain(&view, 100);
    assert!(
        text.is_ascii() && text.contains(" in this process, no daemon |"),
        "{text}"
    );
}
