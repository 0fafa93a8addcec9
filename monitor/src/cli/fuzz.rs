//! Hostile input: files and answers that the commands read.

use std::{io, time::Duration};

use ratatui::{
    buffer::Buffer,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
    layout::Rect,
};

use monitor_model::api::{Node, Tracks};

use super::daemon::{self, Access};
use crate::pipeline::replay_publisher::ReplayPublisher;
use crate::{
    fuzz_input::{keeps_the_secret, parts, text},
    recording::{Header, Replayer, fuzz::framed},
    terminal::{Answer, Data, Origin, Theme, View, draw, plain},
};

pub(crate) use super::{config::fuzz::config, explain::fuzz::daemon_loops};

/// `--http.config.file`: an error never contains the password. The files that it names are not
/// empty.
pub fn access(data: &[u8]) {
    let text = text(data);
    let [file, named] = parts(&text);
    let read = |_: &_| match named {
        "" => Err(io::ErrorKind::NotFound.into()),
        named => Ok(named.to_owned()),
    };
    if let Err(error) = Access::of(file, &read) {
        keeps_the_secret(&format!("{error:#}"));
    }
}

/// `--url`: it has a known scheme, and no password.
pub fn url(data: &[u8]) {
    if let Ok(url) = daemon::url(&text(data)) {
        assert!(
            url.starts_with("http://") || url.starts_with("https://"),
            "{url}"
        );
        assert!(!url.contains('@'), "{url}");
    }
}

/// The answers that `top` gets from `--url`: the node, tasks, a thread, the history. They are drawn
/// on every page, and move no cursor.
pub fn daemon_node(data: &[u8]) {
    let text = text(data);
    let [node, rows, detail, tracks] = parts(&text);
    let Ok(node) = serde_json::from_str::<Node>(node) else {
        return;
    };
    let detail = serde_json::from_str(detail).ok();
    let data = Data {
        rows: serde_json::from_str(rows).unwrap_or_else(|_| node.tasks.clone()),
        detail,
        tracks: serde_json::from_str::<Tracks>(tracks)
            .map_or_else(|_| Vec::new(), |all| all.tracks),
        node,
    };
    let look = Theme {
        colour: false,
        unicode: true,
    };
    let mut view = View::new(Origin::Own, look, Duration::from_secs(1));
    for _ in 0..2 {
        view.answer(Answer::Fresh(Box::new(data.clone())));
    }
    for character in plain(&view, 100).chars() {
        assert!(character == '\n' || is_shown(character), "{character:?}");
    }
    let keys = [
        '?', 'c', 'm', 'e', 'i', 'j', '\n', '\t', 'j', '\n', 'n', 's',
    ];
    for key in keys {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            key => KeyCode::Char(key),
        };
        view.key(KeyEvent::new(code, KeyModifiers::NONE));
        shows_nothing_else(&view, 80, 24);
    }
    view.resize(20, 5);
    shows_nothing_else(&view, 20, 5);
}

fn shows_nothing_else(view: &View, width: u16, height: u16) {
    let area = Rect::new(0, 0, width, height);
    let mut screen = Buffer::empty(area);
    draw(view, area, &mut screen);
    for cell in screen.content() {
        assert!(cell.symbol().chars().all(is_shown), "{:?}", cell.symbol());
    }
}

/// Whether it is neither a control character nor one that changes the text direction.
fn is_shown(c: char) -> bool {
    let turns = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !c.is_control() && !turns
}

/// Records as in [`crate::recording::fuzz::records`], published as a daemon does: metrics, the
/// node, its evidence.
pub fn replay(data: &[u8]) {
    let mut stage = ReplayPublisher::new(&Header::default(), None);
    let shared = stage.shared();
    Replayer::default().play(framed(data).as_slice(), |observation, changes, engine| {
        stage.tick(observation, changes, engine, observation.unix_ms);
        let published = shared.load();
        assert!(crate::metrics::render(&published).is_ok());
        let node = published.node(&[]);
        let json = serde_json::to_string(&node).unwrap_or_default();
        let again = serde_json::from_str::<Node>(&json);
        assert!(again.is_ok(), "{again:?} of {json}");
    });
}
