//! The terminal: taken, and given back as it was, however this ends.

use std::{
    io::{self, Write as _, stdout},
    mem::ManuallyDrop,
    panic,
};

use ratatui::{
    Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Show,
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    stdio::stdin,
};

/// A screen of its own on the terminal; gone when it is dropped, and before
/// anything is said of a panic.
#[derive(Debug)]
pub struct Screen {
    /// To draw on. Never dropped: it would tell the terminal that it cannot tell
    /// the terminal anything, and panic over that.
    pub terminal: ManuallyDrop<Terminal<CrosstermBackend<io::Stdout>>>,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    ///
    /// Standard output is none, or does not take it.
    pub fn open() -> io::Result<Self> {
        let said = panic::take_hook();
        // With `panic = "abort"` nothing is dropped: this is all that runs.
        panic::set_hook(Box::new(move |info| {
            give_back();
            said(info);
        }));
        enable_raw_mode()?;
        let opened = execute!(stdout(), EnterAlternateScreen)
            .and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        match opened {
            Ok(terminal) => Ok(Self {
                terminal: ManuallyDrop::new(terminal),
            }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// A terminal that is gone does not take it, and nobody is there to be told.
fn give_back() {
    let _ = disable_raw_mode();
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    let _ = stdout().flush();
}

/// Gives back what can be without writing a word.
pub fn let_go() {
    let _ = disable_raw_mode();
}

/// Whether the other end of the terminal is gone.
///
/// crossterm (0.29) does not tell: it reads nothing again and again.
pub fn is_gone() -> bool {
    let stdin = stdin();
    let mut all = [PollFd::new(&stdin, PollFlags::empty())];
    let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
    match poll(&mut all, Some(&Timespec::default())) {
        Ok(_) => all.iter().any(|one| one.revents().intersects(gone)),
        Err(_) => false,
    }
}
