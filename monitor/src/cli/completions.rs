//! `completions`: what a shell offers after TAB, made by clap from the flags.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, Command};
use clap_complete::Shell;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Shell to complete for.
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: Shell,
}

/// Prints the script for the shell.
///
/// # Errors
///
/// It cannot be written.
pub fn completions(args: &CompletionsArgs, program: &Command) -> anyhow::Result<ExitCode> {
    let script = script(args.shell, program);
    let written = io::stdout().write_all(&script);
    written.context("the completions cannot be written to stdout")?;
    Ok(ExitCode::SUCCESS)
}

fn script(shell: Shell, program: &Command) -> Vec<u8> {
    let mut script = Vec::new();
    let mut command = offered(program);
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    script
}

/// The command without its hidden subcommands: clap offers those, too.
fn offered(command: &Command) -> Command {
    let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
    let shown: Vec<Command> = shown.cloned().collect();
    // A command cannot lose a subcommand: it is made again without.
    let bare = Command::new(command.get_name().to_owned()).version(env!("CARGO_PKG_VERSION"));
    bare.subcommand_required(true).subcommands(shown)
}

#[cfg(test)]
mod tests {
    use std::{fs, process};

    use clap::ValueEnum as _;

    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::args::Cli;

    fn text(shell: Shell) -> String {
        String::from_utf8(script(shell, &Cli::command())).unwrap()
    }

    #[test]
    fn each_shell_is_offered_every_command_that_is_not_hidden_and_no_other() {
        let command = Cli::command();
        for shell in Shell::value_variants() {
            let text = text(*shell);
            for one in command.get_subcommands() {
                let name = one.get_name();
                assert_eq!(!one.is_hide_set(), text.contains(name), "{shell} {name}");
            }
            assert!(text.contains("web.listen-address"), "{shell}");
        }
    }

    #[test]
    fn bash_and_zsh_are_offered_the_signatures_for_explain() {
        for shell in [Shell::Bash, Shell::Zsh] {
            assert!(text(shell).contains("dirty-throttle"), "{shell}");
        }
    }

    /// bash is here wherever `./dev` is.
    #[test]
    fn bash_parses_its_completions() {
        parses("bash", Shell::Bash);
    }

    #[test]
    #[ignore = "wants zsh and fish: ./dev package --check has them"]
    fn zsh_and_fish_parse_their_completions() {
        parses("zsh", Shell::Zsh);
        parses("fish", Shell::Fish);
    }

    fn parses(program: &str, shell: Shell) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("completions");
        fs::write(&file, script(shell, &Cli::command())).unwrap();
        let output = process::Command::new(program).arg("-n").arg(&file).output();
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && words.is_empty(), "{words}");
    }
}
