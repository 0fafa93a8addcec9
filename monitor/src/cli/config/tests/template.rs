//! deploy/config.toml, which the packages install into /etc. Every key is commented out, with its
//! default.

use std::fmt::Write as _;

use clap::CommandFactory as _;

use super::{file, shown::shown};
use crate::cli::{
    args::Cli,
    config::{
        keys,
        show::{comment, in_use, split, tables},
    },
    generated,
};

/// The text above the keys.
const HEAD: &str = "\
# Configuration of throttle-monitor, for the service of that name: every key, at
# its default. To change one, take away the # before its name. Each line stands
# for itself: no table is needed above it.
#
#   throttle-monitor check --config.file /etc/throttle-monitor/config.toml   # try it
#   systemctl reload throttle-monitor                                   # use it
#
# The log names keys that need a restart instead.
# The service has one directory to write to: /var/lib/throttle-monitor.
";

#[test]
fn docs_the_packages_configuration_has_every_key_at_its_default() {
    generated::hold_file("deploy/config.toml", &template());
}

#[test]
fn the_packages_configuration_says_nothing_until_a_line_is_taken_into_use() {
    let text = template();
    assert!(text.parse::<toml::Table>().unwrap().is_empty());
    let one = text.replace(
        "#web.telemetry-path = \"/metrics\"",
        "web.telemetry-path = \"/m\"",
    );
    let file = file(&one);
    let shown = shown(&["--config.file", file.path().to_str().unwrap()]);
    assert!(shown.contains("telemetry-path = \"/m\""), "{shown}");
}

#[test]
fn all_its_lines_taken_into_use_are_the_defaults() {
    let text = template();
    let lines = text.lines().filter_map(|line| line.strip_prefix('#'));
    let keys: Vec<&str> = lines.filter(|line| !line.starts_with([' ', '#'])).collect();
    let keys: Vec<&str> = keys.into_iter().filter(|key| key.contains(" = ")).collect();
    assert_eq!(keys.len(), keys::keys(&Cli::command()).len());
    // Four keys have no default, so the file has an example.
    let of_their_own =
        |key: &str| key.contains("/throttle-monitor/") && !key.starts_with("guard.state-file");
    assert_eq!(keys.iter().filter(|key| of_their_own(key)).count(), 4);
    let defaults: Vec<&str> = keys.into_iter().filter(|key| !of_their_own(key)).collect();
    let file = file(&defaults.join("\n"));
    assert_eq!(
        shown(&["--config.file", file.path().to_str().unwrap()]),
        shown(&[])
    );
}

fn template() -> String {
    let command = Cli::command();
    let keys = keys::keys(&command);
    let matches = command.get_matches_from(["throttle-monitor", "run"]);
    let (_, run) = matches.subcommand().unwrap();
    let mut text = HEAD.to_owned();
    for table in tables(&keys) {
        for key in keys.iter().filter(|key| split(&key.name).0 == table) {
            text.push('\n');
            comment(&mut text, &key.help());
            let value = in_use(key, run).map(|value| value.to_string());
            let _ = writeln!(
                text,
                "#{} = {}",
                key.name,
                value.unwrap_or_else(|| key.example())
            );
        }
    }
    text
}
