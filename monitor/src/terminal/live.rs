//! The screen: one thread draws, one asks, one reads keys, one waits for signals.
//! Who draws waits for none of the others.

use std::{
    io,
    process::{self, ExitCode},
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use ratatui::{
    crossterm::{
        event::{self, Event},
        style::force_color_output,
    },
    layout::Rect,
};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    data::{Answer, Request},
    draw::draw,
    keys::Action,
    source::{Source, answer},
    tty::{self, Screen, is_gone},
    view::View,
};

/// Messages that wait to be looked at. Who has more waits.
const MAX_MESSAGES: usize = 64;

/// The longest time between two looks at whether the terminal is still there.
const GLANCE: Duration = Duration::from_millis(250);

/// How long after a signal the screen may take to be given back.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What the thread that draws is told.
enum Message {
    Input(Event),
    Answer(Answer),
    /// The terminal cannot be read, or a signal came.
    Over,
}

/// Shows it until a key, a signal or the end of the terminal.
pub(crate) fn live(
    source: Box<dyn Source>,
    mut view: View,
    interval: Duration,
) -> anyhow::Result<ExitCode> {
    let begin = Instant::now();
    let mut has_history = false;
    // What this answers is there with the first picture.
    view.answer(answer(&*source, &mut has_history, &view.request()));
    let (messages, received) = mpsc::sync_channel(MAX_MESSAGES);
    let (requests, requested) = mpsc::channel();
    signals(&messages)?;
    force_color_output(true);
    let mut screen = Screen::open().context("the terminal cannot be used (--once prints text)")?;
    keys(&messages)?;
    let mut sent = view.request();
    let asking = ask(
        source,
        has_history,
        sent.clone(),
        interval,
        requested,
        messages,
    )?;
    loop {
        view.tick(begin.elapsed());
        let drawn = screen.terminal.draw(|frame| {
            let area = frame.area();
            view.resize(area.width, area.height);
            draw(&view, area, frame.buffer_mut());
        });
        match drawn {
            Err(_) if is_gone() => break,
            drawn => drawn.context("the terminal")?,
        };
        let request = view.request();
        if sent != request {
            // Who asks ends with this only.
            let _ = requests.send(request.clone());
            sent = request;
        }
        let first = match received.recv_timeout(GLANCE) {
            Err(RecvTimeoutError::Disconnected) => break,
            first => first.ok(),
        };
        view.tick(begin.elapsed());
        // What has gathered is one picture.
        for message in first.into_iter().chain(received.try_iter()) {
            let action = match message {
                Message::Over => Action::Quit,
                Message::Input(Event::Key(key)) => view.key(key),
                Message::Input(_) => Action::Go,
                Message::Answer(answer) => {
                    view.answer(answer);
                    Action::Go
                }
            };
            match action {
                Action::Quit => return Ok(ExitCode::SUCCESS),
                Action::Redraw => anew(&mut screen).context("the terminal")?,
                Action::Go => {}
            }
        }
        if is_gone() {
            break;
        }
        let is_asking = !asking.is_finished();
        anyhow::ensure!(is_asking, "the thread that asks panicked: this is a bug");
    }
    Ok(ExitCode::SUCCESS)
}

/// ratatui's own `clear` asks the terminal where its cursor is, and waits for what only
/// the thread that reads keys would see.
fn anew(screen: &mut Screen) -> io::Result<()> {
    let size = screen.terminal.size()?;
    let area = Rect::new(0, 0, size.width, size.height);
    screen.terminal.resize(area)
}

/// Asks once an interval, and at once when something else is wanted.
fn ask(
    source: Box<dyn Source>,
    mut has_history: bool,
    first: Request,
    interval: Duration,
    requested: Receiver<Request>,
    messages: SyncSender<Message>,
) -> anyhow::Result<JoinHandle<()>> {
    start("ask", move || {
        let mut request = first;
        let mut next = Instant::now() + interval;
        loop {
            match requested.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(newer) if newer == request => continue,
                Ok(newer) => request = requested.try_iter().last().unwrap_or(newer),
                // A daemon that was slow is not asked all that it was not before.
                Err(RecvTimeoutError::Timeout) => next = (next + interval).max(Instant::now()),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let answer = answer(&*source, &mut has_history, &request);
            if messages.send(Message::Answer(answer)).is_err() {
                return;
            }
        }
    })
}

fn start(name: &str, run: impl FnOnce() + Send + 'static) -> anyhow::Result<JoinHandle<()>> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(run);
    started.with_context(|| format!("the thread {name} could not be started"))
}

fn keys(messages: &SyncSender<Message>) -> anyhow::Result<JoinHandle<()>> {
    let messages = messages.clone();
    start("keys", move || {
        loop {
            let message = event::read().map_or(Message::Over, Message::Input);
            let over = matches!(message, Message::Over);
            if messages.send(message).is_err() || over {
                return;
            }
        }
    })
}

/// SIGTERM, SIGHUP (the connection is gone) and SIGINT end it well.
fn signals(messages: &SyncSender<Message>) -> anyhow::Result<JoinHandle<()>> {
    let messages = messages.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("tokio")?;
    let listen = |kind| {
        let _entered = runtime.enter();
        signal(kind)
    };
    let mut terminate = listen(SignalKind::terminate()).context("SIGTERM")?;
    let mut hangup = listen(SignalKind::hangup()).context("SIGHUP")?;
    let mut interrupt = listen(SignalKind::interrupt()).context("SIGINT")?;
    start("signals", move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
        let _ = messages.try_send(Message::Over);
        // Who draws may wait for a terminal that takes nothing (Ctrl-S).
        thread::sleep(LAST_WORDS);
        tty::let_go();
        process::exit(0);
    })
}
