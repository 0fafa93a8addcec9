//! `top`: a live view in the terminal, of a running daemon or on its own.

mod live;
mod once;
mod own;
mod source;

pub mod terminal;

use std::{
    env,
    io::{IsTerminal as _, stderr, stdin, stdout},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use self::{own::Own, source::Source};
use super::{
    daemon::{self, Access, AccessArgs, DaemonClient, PATIENCE},
    flags::{ConfigArgs, Format, KernelArgs, interval},
    thresholds::ThresholdArgs,
};
use crate::{
    publish::node::Node,
    terminal::{Look, Origin, View},
};

/// How long somebody waits for a daemon that may not be there.
const LOOK_AROUND: Duration = Duration::from_secs(3);

/// Arguments of `top`.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// URL of a running daemon. Without it: the one at `http://127.0.0.1:9746` if it answers, else
    /// monitor in this process (as root).
    #[arg(long, value_name = "URL", value_parser = daemon::url)]
    pub url: Option<String>,
    /// How to log in to it.
    #[command(flatten)]
    pub access: AccessArgs,
    /// Print one view as text, and exit.
    ///
    /// Without a daemon it takes about ten seconds, the time to confirm a livelock.
    #[arg(long)]
    pub once: bool,
    /// Output format; json: one document per tick, one per line.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Whether to use colours; auto: on a terminal, unless `NO_COLOR` is set.
    #[arg(long, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,
    /// Time between two refreshes, 100ms to 5s.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The numbers of the verdict, on its own.
    #[command(flatten)]
    pub thresholds: ThresholdArgs,
    /// Flags shared with `run`, on its own.
    #[command(flatten)]
    pub kernel: KernelArgs,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal that has them, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never: bold and reversed on a screen, nothing in text.
    Never,
}

/// What the process was started in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    output: Output,
    /// `NO_COLOR` says something.
    no_color: bool,
    /// The locale has more than ASCII.
    unicode: bool,
}

/// Where output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    /// No terminal.
    Pipe,
    /// A terminal that can do nothing, or does not say what: `TERM`.
    Dumb,
    /// A terminal, from which nothing can be read.
    Terminal,
    /// A terminal that takes keys, too.
    Screen,
}

impl Place {
    fn of_this_process() -> Self {
        let var = |name: &str| env::var(name).unwrap_or_default();
        let output = match (stdout().is_terminal(), &*var("TERM"), stdin().is_terminal()) {
            (false, ..) => Output::Pipe,
            (true, "" | "dumb", _) => Output::Dumb,
            (true, _, false) => Output::Terminal,
            (true, _, true) => Output::Screen,
        };
        // The first that is set counts.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].map(var);
        let locale = locale.into_iter().find(|word| !word.is_empty());
        let locale = locale.unwrap_or_default().to_lowercase();
        Self {
            output,
            no_color: !var("NO_COLOR").is_empty(),
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
        }
    }

    const fn look(self, color: Color) -> Look {
        let has_colours = matches!(self.output, Output::Terminal | Output::Screen);
        Look {
            colour: match color {
                Color::Always => true,
                Color::Never => false,
                Color::Auto => has_colours && !self.no_color,
            },
            unicode: self.unicode,
        }
    }
}

/// Shows it until somebody has seen enough.
///
/// # Errors
///
/// The daemon does not answer, or on its own it may not look at the kernel.
pub fn top(args: &TopArgs) -> anyhow::Result<ExitCode> {
    args.kernel.check()?;
    args.thresholds.check()?;
    let place = Place::of_this_process();
    let look = place.look(args.color);
    let screen = place.output == Output::Screen && !args.once && args.format == Format::Text;
    let access = args.access.access()?;
    let origin = origin(args, &access)?;
    let source = match &origin {
        Origin::Daemon(url) => Source::daemon(url, &access),
        Origin::Own => {
            if stderr().is_terminal() {
                eprintln!("throttle-monitor: attaching the eBPF programs");
            }
            Source::Own(Own::start(args)?)
        }
    };
    if args.format == Format::Json {
        return once::json(&source, args);
    }
    let view = View::new(origin, look, args.interval);
    if screen {
        live::live(source, view, args.interval)
    } else {
        once::text(source, view, args)
    }
}

/// Where to look.
fn origin(args: &TopArgs, access: &Access) -> anyhow::Result<Origin> {
    if let Some(url) = &args.url {
        DaemonClient::new(url, PATIENCE, access).get::<Node>("node")?;
        return Ok(Origin::Daemon(url.clone()));
    }
    let url = daemon::DEFAULT;
    match DaemonClient::new(url, LOOK_AROUND, access).get::<Node>("node") {
        Ok(_) => Ok(Origin::Daemon(url.to_owned())),
        Err(error) => {
            let why = error.root_cause().to_string();
            own::may(&args.kernel).with_context(|| {
                format!("no daemon is found at {url} ({why}), and it cannot look on its own (another daemon: --url)")
            })?;
            Ok(Origin::Own)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Color, Look, Output, Place};

    #[test]
    fn colours_are_for_a_terminal_that_has_them_unless_somebody_says_otherwise() {
        let place = |output, no_color| Place {
            output,
            no_color,
            unicode: true,
        };
        let screen = place(Output::Screen, false);
        let colour = |place: Place, color| place.look(color).colour;
        assert!(colour(screen, Color::Auto) && !colour(screen, Color::Never));
        for plain in [
            place(Output::Pipe, false),
            place(Output::Dumb, false),
            place(Output::Screen, true),
        ] {
            assert!(!colour(plain, Color::Auto), "{plain:?}");
            assert!(colour(plain, Color::Always), "{plain:?}");
        }
        let look = screen.look(Color::Auto);
        let all = Look {
            colour: true,
            unicode: true,
        };
        assert_eq!(look, all);
    }
}
