//! Recordings of the corpus, as a daemon would show them.

use std::{fs::File, io::BufReader, path::Path, sync::Arc, time::Duration};

use monitor_model::verdict::LivelockState;
use ratatui::{Terminal, backend::TestBackend};
use throttle_monitor::{
    pipeline::replay_publisher::ReplayPublisher,
    publish::{
        snapshot::Published,
        tasks::{self, TaskQuery},
    },
    recording::{Header, Reader, RecordingItem, Replayer},
    terminal::{Answer, Data, Origin, Theme, View, draw},
};

/// Plain, with characters beyond ASCII.
pub const LOOK: Theme = Theme {
    colour: false,
    unicode: true,
};

/// What was published at each tick of a recording.
pub fn ticks(name: &str) -> Vec<Arc<Published>> {
    let (mut stage, open) = stage(name);
    let shared = stage.shared();
    let mut ticks = Vec::new();
    Replayer::new(None).play(open(), |observation, changes, engine| {
        stage.tick(observation, changes, engine, observation.unix_ms);
        ticks.push(shared.load());
    });
    assert!(!ticks.is_empty(), "{name}");
    ticks
}

/// An empty stage for a recording, and its file.
pub fn stage(name: &str) -> (ReplayPublisher, impl Fn() -> BufReader<File>) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let path = corpus.join(name).with_extension("tmrec");
    let path = path.with_file_name(format!("{name}.tmrec"));
    let open = move || BufReader::new(File::open(&path).expect("a recording"));
    let header = header(open());
    (ReplayPublisher::new(&header, None), open)
}

fn header(file: BufReader<File>) -> Header {
    match Reader::open(file).unwrap().item().unwrap() {
        Some(RecordingItem::Segment(header)) => *header,
        other => panic!("no header but {other:?}"),
    }
}

/// Until the last tick in a livelock, or all of them.
pub fn in_livelock(name: &str) -> Vec<Arc<Published>> {
    let mut ticks = ticks(name);
    let stuck = |tick: &Arc<Published>| tick.node(&[]).state.is_livelock();
    let last = ticks.iter().rposition(stuck);
    ticks.truncate(last.expect("a livelock") + 1);
    ticks
}

/// What a daemon answers at this tick.
pub fn data(tick: &Published, wanted: &TaskQuery) -> Data {
    Data {
        node: tick.node(&[]),
        rows: tasks::rows(tick, wanted),
        detail: None,
        tracks: Vec::new(),
    }
}

/// A screen of this size that has seen all of these ticks.
pub fn view(ticks: &[Arc<Published>], width: u16, height: u16) -> View {
    let origin = Origin::Daemon("http://127.0.0.1:9746".to_owned());
    let mut view = View::new(origin, LOOK, Duration::from_secs(1));
    view.resize(width, height);
    for tick in ticks {
        feed(&mut view, tick);
    }
    view
}

/// Once more the same as at the tick: twice, for the second answer is to what
/// fits when the first is known.
pub fn feed(view: &mut View, tick: &Published) {
    for _ in 0..2 {
        let data = data(tick, &view.request().rows);
        view.answer(Answer::Fresh(Box::new(data)));
    }
}

/// The lines of the screen.
pub fn drawn(view: &View, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let drawn = terminal.draw(|frame| draw(view, frame.area(), frame.buffer_mut()));
    drawn.unwrap();
    let buffer = terminal.backend().buffer();
    let rows = (0..height).map(|y| (0..width).map(|x| buffer[(x, y)].symbol()).collect());
    rows.map(|row: String| row.trim_end().to_owned()).collect()
}

/// The screen in one text.
pub fn screen(ticks: &[Arc<Published>], width: u16, height: u16) -> String {
    drawn(&view(ticks, width, height), width, height).join("\n")
}

/// The worst state that a tick shows.
pub fn state(tick: &Published) -> LivelockState {
    tick.node(&[]).state
}
