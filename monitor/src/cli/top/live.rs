//! The screen: one thread draws, one asks, one reads keys, one waits for signals.
//! Who draws waits for none of the others.

use std::{
    io,
    process::{self, ExitCode},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError},
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
    source::Source,
    terminal::{self, Screen, is_gone},
};
use crate::terminal::{Action, Answer, Request, View, draw};

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
///
/// # Errors
///
/// The terminal cannot be used, or a thread had a bug.
pub fn live(mut source: Source, mut view: View, interval: Duration) -> anyhow::Result<ExitCode> {
    let begin = Instant::now();
    // What this answers is there with the first picture.
    view.answer(source.answer(&view.request()));
    let (messages, received) = mpsc::sync_channel(MAX_MESSAGES);
    let (requests, requested) = mpsc::channel();
    signals(&messages)?;
    force_color_output(true);
    let mut screen = Screen::open().context("the terminal cannot be used (--once prints text)")?;
    keys(&messages)?;
    let asking = ask(source, view.request(), interval, requested, messages)?;
    let mut screen = Live {
        screen: &mut screen,
        view,
        begin,
        requests,
        sent: None,
    };
    let shown = screen.run(&received, &asking);
    drop(screen);
    shown?;
    Ok(ExitCode::SUCCESS)
}

struct Live<'a> {
    screen: &'a mut Screen,
    view: View,
    begin: Instant,
    requests: Sender<Request>,
    sent: Option<Request>,
}

impl Live<'_> {
    fn run(&mut self, received: &Receiver<Message>, asking: &JoinHandle<()>) -> anyhow::Result<()> {
        loop {
            match self.draw() {
                Err(_) if is_gone() => return Ok(()),
                drawn => drawn?,
            }
            let mut message = match received.recv_timeout(GLANCE) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            // What has gathered is one picture.
            while let Some(one) = message {
                if self.take(one)? {
                    return Ok(());
                }
                message = match received.try_recv() {
                    Ok(message) => Some(message),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                };
            }
            if is_gone() {
                return Ok(());
            }
            anyhow::ensure!(
                !asking.is_finished(),
                "the thread that asks panicked: this is a bug"
            );
        }
    }

    /// Whether it is over.
    fn take(&mut self, message: Message) -> anyhow::Result<bool> {
        self.view.tick(self.begin.elapsed());
        match message {
            Message::Over => return Ok(true),
            Message::Answer(answer) => self.view.answer(answer),
            Message::Input(Event::Resize(width, height)) => self.view.resize(width, height),
            Message::Input(Event::Key(key)) => match self.view.key(key) {
                Action::Quit => return Ok(true),
                Action::Redraw => self.anew().context("the terminal")?,
                Action::Go => {}
            },
            Message::Input(_) => {}
        }
        Ok(false)
    }

    /// ratatui's own `clear` asks the terminal where its cursor is, and waits for
    /// what only the thread that reads keys would see.
    fn anew(&mut self) -> io::Result<()> {
        let terminal = &mut self.screen.terminal;
        let size = terminal.size()?;
        terminal.resize(Rect::new(0, 0, size.width, size.height))
    }

    fn draw(&mut self) -> anyhow::Result<()> {
        self.view.tick(self.begin.elapsed());
        let terminal = &mut self.screen.terminal;
        terminal.autoresize().context("the terminal")?;
        let size = terminal.size().context("the terminal")?;
        self.view.resize(size.width, size.height);
        let view = &self.view;
        let drawn = terminal.draw(|frame| {
            let area: Rect = frame.area();
            draw(view, area, frame.buffer_mut());
        });
        drawn.context("the terminal")?;
        let request = self.view.request();
        if self.sent.as_ref() != Some(&request) {
            // Who asks ends with this only.
            let _ = self.requests.send(request.clone());
            self.sent = Some(request);
        }
        Ok(())
    }
}

/// Asks once an interval, and at once when something else is wanted.
fn ask(
    mut source: Source,
    first: Request,
    interval: Duration,
    requested: Receiver<Request>,
    messages: SyncSender<Message>,
) -> anyhow::Result<JoinHandle<()>> {
    let thread = thread::Builder::new().name("ask".into());
    let asking = thread.spawn(move || {
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
            let answer = source.answer(&request);
            if messages.send(Message::Answer(answer)).is_err() {
                return;
            }
        }
    });
    asking.context("the thread that asks could not be started")
}

fn keys(messages: &SyncSender<Message>) -> anyhow::Result<()> {
    let messages = messages.clone();
    let thread = thread::Builder::new().name("keys".into());
    let reading = thread.spawn(move || {
        loop {
            let message = event::read().map_or(Message::Over, Message::Input);
            let over = matches!(message, Message::Over);
            if messages.send(message).is_err() || over {
                return;
            }
        }
    });
    reading.context("the thread that reads keys could not be started")?;
    Ok(())
}

/// SIGTERM, SIGHUP (the connection is gone) and SIGINT end it well.
fn signals(messages: &SyncSender<Message>) -> anyhow::Result<()> {
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
    let thread = thread::Builder::new().name("signals".into());
    let waiting = thread.spawn(move || {
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
        terminal::let_go();
        process::exit(0);
    });
    waiting.context("the thread that waits for signals could not be started")?;
    Ok(())
}
