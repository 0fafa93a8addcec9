//! Tests that the pages are complete, and that the tools for manual pages accept them.

use std::{fs, process};

use clap::CommandFactory as _;

use super::*;
use crate::cli::args::Cli;

fn page_of(name: &str) -> String {
    let pages = pages(Cli::command()).unwrap();
    let page = pages.into_iter().find(|page| page.name == name);
    page.unwrap_or_else(|| panic!("no page {name}")).text
}

#[test]
fn every_command_that_is_not_hidden_has_a_page_and_the_program_s_comes_first() {
    let shown = Cli::command();
    let shown = shown.get_subcommands().filter(|one| !one.is_hide_set());
    let mut wanted = vec!["throttle-monitor".to_owned()];
    wanted.extend(shown.map(|one| format!("throttle-monitor-{}", one.get_name())));
    let names: Vec<String> = pages(Cli::command())
        .unwrap()
        .into_iter()
        .map(|page| page.name)
        .collect();
    assert_eq!(names, wanted);
    assert!(!names.contains(&"throttle-monitor-facts".to_owned()));
}

#[test]
fn every_page_says_of_what_it_is_how_it_exits_and_what_else_to_read() {
    let pages = pages(Cli::command()).unwrap();
    for page in &pages {
        let title = format!("\n.TH {} 1 {DATE} \"{SOURCE}\" \"{MANUAL}\"\n", page.name);
        assert!(page.text.contains(&title), "{}: {title}", page.text);
        assert!(
            page.text.contains("\n.SH \"EXIT STATUS\"\n"),
            "{}",
            page.name
        );
        let (_, see) = page.text.split_once("\n.SH \"SEE ALSO\"\n").unwrap();
        for other in &pages {
            let named = see.contains(&format!(r"\fB{}\fR(1)", other.name.replace('-', r"\-")));
            assert_eq!(named, other.name != page.name, "{}: {see}", page.name);
        }
    }
}

#[test]
fn the_pages_of_the_program_and_of_run_name_the_files() {
    for name in ["throttle-monitor", "throttle-monitor-run"] {
        let page = page_of(name);
        let (_, files) = page.split_once("\n.SH FILES\n").unwrap();
        assert!(
            files.contains(r"/etc/throttle\-monitor/config.toml"),
            "{files}"
        );
    }
}

#[test]
fn a_page_has_every_flag_of_its_command_with_its_default() {
    let page = page_of("throttle-monitor-run");
    let mut command = Cli::command();
    command.build();
    let run = command.find_subcommand("run").unwrap();
    for long in run.get_arguments().filter_map(clap::Arg::get_long) {
        let flag = format!(r"\fB\-\-{}\fR", long.replace('-', r"\-"));
        assert!(page.contains(&flag), "{flag}");
    }
    assert!(page.contains("[default: 127.0.0.1:9746]"), "{page}");
    let synopsis = "\n.SH SYNOPSIS\n\\fBthrottle\\-monitor run\\fR [OPTIONS]\n";
    assert!(page.contains(synopsis), "{page}");
}

#[test]
fn pages_are_written_into_a_directory_that_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let into = directory.path().join("share/man/man1");
    write(&into, &pages(Cli::command()).unwrap()).unwrap();
    let page = fs::read_to_string(into.join("throttle-monitor-replay.1")).unwrap();
    assert!(page.contains("livelock found"), "{page}");
}

#[test]
#[ignore = "wants groff and mandoc: ./dev package --check has them"]
fn groff_and_mandoc_render_every_page_without_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &pages(Cli::command()).unwrap()).unwrap();
    for page in pages(Cli::command()).unwrap() {
        let file = directory.path().join(format!("{}.1", page.name));
        for (program, args) in [
            ("groff", &["-ww", "-z", "-man", "-Tutf8", "-K", "utf8"][..]),
            ("mandoc", &["-T", "lint", "-W", "warning"][..]),
        ] {
            let output = process::Command::new(program)
                .args(args)
                .arg(&file)
                .output();
            let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
            let words = [output.stdout, output.stderr].concat();
            let words = String::from_utf8_lossy(&words).into_owned();
            assert!(
                output.status.success() && words.is_empty(),
                "{program}: {words}"
            );
        }
    }
}
