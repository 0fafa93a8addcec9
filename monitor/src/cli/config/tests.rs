mod shown;
mod template;

use std::{ffi::OsString, fs, path::Path, time::Duration};

use monitor_common::HIST_BUCKETS;

use super::{Parsed, parse, parse_beside};
use crate::cli::args::Command;
use crate::cli::flags::BUCKETS;
use crate::cli::run::RunArgs;

fn words(flags: &[&str]) -> Vec<OsString> {
    let all = ["throttle-monitor"]
        .into_iter()
        .chain(flags.iter().copied());
    all.map(OsString::from).collect()
}

fn run(flags: &[&str]) -> RunArgs {
    match parse(words(flags)) {
        Ok(Parsed::Command(cli)) => match cli.command {
            Command::Run(args) => *args,
            other => panic!("not run: {other:?}"),
        },
        other => panic!("refused: {other:?}"),
    }
}

/// Parses `run` with a file of this content, and flags.
fn run_with(text: &str, flags: &[&str]) -> RunArgs {
    let file = file(text);
    let path = file.path().to_str().unwrap();
    let all: Vec<&str> = ["run", "--config.file", path]
        .into_iter()
        .chain(flags.iter().copied())
        .collect();
    run(&all)
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    file
}

/// The error for a file, without its path.
fn refused_with(text: &str, flags: &[&str]) -> String {
    let file = file(text);
    let path = file.path().to_str().unwrap();
    let all: Vec<&str> = ["run", "--config.file", path]
        .into_iter()
        .chain(flags.iter().copied())
        .collect();
    let error = parse(words(&all)).expect_err("must be refused").to_string();
    error.replace(path, "FILE")
}

fn refused(text: &str) -> String {
    refused_with(text, &[])
}

#[test]
fn a_flag_counts_more_than_the_file_and_the_file_more_than_the_default() {
    let text = "interval = \"2s\"\n[web]\ntelemetry-path = \"/m\"\n[thresholds]\nwindow = \"4s\"\n";
    let args = run_with(
        text,
        &["--interval", "500ms", "--thresholds.loops.half-life=20s"],
    );
    assert_eq!(args.interval, Duration::from_millis(500));
    assert_eq!(args.web.telemetry_path, "/m");
    assert_eq!(args.thresholds.thresholds.window, Duration::from_secs(4));
    let loops = &args.thresholds.thresholds.loops;
    assert_eq!(loops.half_life, Duration::from_secs(20));
    assert_eq!(args.kernel.stall_threshold, Duration::from_millis(100));
}

#[test]
fn a_list_of_flags_replaces_that_of_the_file() {
    let text = "[web]\nlisten-address = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n";
    assert_eq!(run_with(text, &[]).web.listen.len(), 2);
    let args = run_with(text, &["--web.listen-address", "127.0.0.1:3"]);
    assert_eq!(args.web.listen, ["127.0.0.1:3".parse().unwrap()]);
}

#[test]
fn what_the_file_turns_on_a_flag_turns_off() {
    let text = "[log]\nebpf = true\n";
    assert!(run_with(text, &[]).kernel.log_ebpf);
    assert!(!run_with(text, &["--log.ebpf=false"]).kernel.log_ebpf);
    assert!(run(&["run", "--log.ebpf"]).kernel.log_ebpf);
}

#[test]
fn a_key_that_is_given_twice_is_refused_with_both_lines() {
    let twice = refused("thresholds.confirm = \"8s\"\n\nthresholds.confirm = \"9s\"\n");
    assert!(twice.starts_with("FILE:3:"), "{twice}");
}

#[test]
fn a_typo_names_file_line_and_the_nearest_key() {
    for (text, line, meant) in [
        ("\nintervall = \"1s\"\n", 2, "interval"),
        (
            "[web]\nlisten_address = [\"127.0.0.1:1\"]\n",
            2,
            "web.listen-address",
        ),
        ("[thresholds]\n\nwindwo = \"3s\"\n", 3, "thresholds.window"),
        (
            "[thresholds.loops]\nhalf_life = \"3s\"\n",
            2,
            "thresholds.loops.half-life",
        ),
        ("window = \"3s\"\n", 1, "thresholds.window"),
        ("[theresholds]\ncalm = \"3s\"\n", 2, "thresholds.calm"),
    ] {
        let error = refused(text);
        assert!(
            error.starts_with(&format!("FILE:{line}: unknown key")),
            "{error}"
        );
        assert!(
            error.ends_with(&format!("did you mean `{meant}`?")),
            "{error}"
        );
    }
}

#[test]
fn a_value_in_place_of_a_table_is_refused_with_the_table_s_keys() {
    let error = refused("web = 3\n");
    assert!(
        error.contains("it is a table, of keys such as `web.listen-address`"),
        "{error}"
    );
    let error = refused("[interval]\nx = 1\n");
    assert!(error.contains("unknown key `interval.x`"), "{error}");
}

#[test]
fn a_wrong_value_says_line_key_value_and_what_it_must_be() {
    for (text, words) in [
        (
            "interval = \"soon\"\n",
            "FILE:1: `interval` is \"soon\", but must be a duration",
        ),
        (
            "interval = 1\n",
            "`interval` is 1, but must be a text in quotes, such as \"1s\"",
        ),
        ("interval = \"1h\"\n", "must be between 100ms and 5s"),
        (
            "[log]\nlevel = \"loud\"\n",
            "FILE:2: `log.level` is \"loud\", but must be one of error, warn",
        ),
        ("[log]\nebpf = \"yes\"\n", "must be true or false"),
        (
            "[web]\nlisten-address = \"127.0.0.1:1\"\n",
            "must be a list, such as [\"127.0.0.1:9746\"]",
        ),
        (
            "[web]\nlisten-address = [\"localhost\"]\n",
            "must be an address and a port",
        ),
        (
            "guard.socket = \"/run/g\"\nguard.dirty-share = 50\n",
            "FILE:2: `guard.dirty-share` is 50, but must be omitted with `guard.socket`",
        ),
        (
            "guard.socket = \"/run/g\"\nguard.state-file = \"/run/s\"\n",
            "FILE:2: `guard.state-file` is /run/s, but must be omitted with",
        ),
        (
            "[web]\nlisten-address = []\n",
            "FILE:2: `web.listen-address` is empty, but must be one",
        ),
        (
            "[loops]\nserver-names = [\"a,b\"]\n",
            "must have no `,` within an item",
        ),
        (
            "[thresholds]\nwindow = \"long\"\n",
            "`thresholds.window` is \"long\", but must be a duration",
        ),
        (
            "[thresholds]\nstall-share = \"x\"\n",
            "must be a number, such as 0.01",
        ),
        (
            "buckets = [0.1, -1]\n",
            "must be a number of seconds above 0",
        ),
    ] {
        let error = refused(text);
        assert!(error.contains(words), "{text:?}: {error}");
    }
}

#[test]
fn values_that_do_not_fit_together_are_blamed_on_who_gave_them() {
    let late = "[thresholds]\nwindow = \"20s\"\n";
    let error = refused(late);
    assert!(
        error.starts_with("FILE:2: `thresholds.window` is 20s, but must be from 2s"),
        "{error}"
    );
    assert!(error.contains("max-gap"), "{error}");
    let error = refused_with("interval = \"1s\"\n", &["--thresholds.window", "20s"]);
    assert!(error.starts_with("--`thresholds.window`"), "{error}");
    let error = refused("[thresholds]\nmax-gap = \"2s\"\n");
    assert!(error.contains("FILE does not fit together"), "{error}");
    let error = refused("buckets = [0.1, 0.1]\n");
    assert!(
        error.starts_with("FILE:1: `buckets` is not ascending (0.1 before 0.1)"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_none_is_refused_with_its_name() {
    let error = refused("interval = \n");
    assert!(error.starts_with("FILE:1: is not TOML"), "{error}");
    let error = refused(&"#".repeat(2 << 20));
    assert!(error.contains("larger than 1 MiB"), "{error}");
    let gone = parse(words(&["run", "--config.file", "/nowhere/at.toml"]))
        .unwrap_err()
        .to_string();
    assert!(
        gone.contains("cannot read the configuration /nowhere/at.toml"),
        "{gone}"
    );
    let directory = parse(words(&["check", "--config.file", "/proc"]))
        .unwrap_err()
        .to_string();
    assert!(
        directory.contains("cannot read the configuration /proc"),
        "{directory}"
    );
    let bytes = tempfile::NamedTempFile::new().unwrap();
    fs::write(bytes.path(), [0xff, 0xfe]).unwrap();
    let path = bytes.path().to_str().unwrap();
    let error = parse(words(&["run", "--config.file", path]))
        .unwrap_err()
        .to_string();
    assert!(error.contains("not text in UTF-8"), "{error}");
}

#[test]
fn a_long_key_is_neither_compared_nor_quoted_whole() {
    let error = refused(&format!("{} = 1\n", "x".repeat(500_000)));
    assert!(error.len() < 200, "{}", error.len());
}

#[test]
fn check_refuses_a_file_that_run_would_refuse_and_takes_what_it_knows() {
    let bad = file("[thresholds]\nwindow = \"1s\"\n");
    let path = bad.path().to_str().unwrap();
    let error = parse(words(&["check", "--config.file", path]))
        .unwrap_err()
        .to_string();
    assert!(error.contains("thresholds.window"), "{error}");
    let good = file("interval = \"2s\"\nstall-threshold = \"1s\"\n");
    let path = good.path().to_str().unwrap();
    let Ok(Parsed::Command(cli)) = parse(words(&["check", "--config.file", path])) else {
        panic!("refused");
    };
    let Command::Check(args) = cli.command else {
        panic!("not check");
    };
    assert_eq!(args.kernel.stall_threshold, Duration::from_secs(1));
}

#[test]
fn without_a_file_the_flags_are_checked_as_well() {
    let error = parse(words(&["run", "--thresholds.hysteresis", "9"]))
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "--`thresholds.hysteresis` is 9, but must be from 1 to 3"
    );
}

#[test]
fn fewer_buckets_leave_the_rest_endless_and_more_are_refused() {
    let args = run(&["run", "--buckets", "0.1,1"]);
    let bounds = args.kernel.settings().bounds_ns;
    assert_eq!(bounds[..3], [100_000_000, 1_000_000_000, u64::MAX]);
    assert_eq!(bounds[HIST_BUCKETS - 2], u64::MAX);
    let many: Vec<String> = (1..=HIST_BUCKETS).map(|n| n.to_string()).collect();
    let error = parse(words(&["run", "--buckets", &many.join(",")]))
        .unwrap_err()
        .to_string();
    assert!(error.contains("at most 15 bounds"), "{error}");
    let default = run(&["run"]).kernel;
    assert_eq!(default.buckets, BUCKETS);
}

#[test]
fn the_defaults_of_the_flags_are_the_defaults_of_the_verdict() {
    assert_eq!(
        run(&["run"]).thresholds,
        crate::cli::thresholds::ThresholdArgs::default()
    );
}

#[test]
fn what_is_about_the_service_reads_its_file_unless_another_is_named_or_there_is_none() {
    let service = file("stall-threshold = \"1s\"\n");
    let other = file("stall-threshold = \"3s\"\n");
    let other = other.path().to_str().unwrap();
    let of = |flags: &[&str], service: &Path| match parse_beside(words(flags), service) {
        Ok(Parsed::Command(cli)) => match cli.command {
            Command::Check(args) => (args.kernel.stall_threshold, args.config.config),
            Command::SupportBundle(args) => (args.kernel.stall_threshold, args.config.config),
            Command::Top(args) => (args.kernel.stall_threshold, args.config.config),
            other => panic!("not asked for: {other:?}"),
        },
        other => panic!("refused: {other:?}"),
    };
    let (one, default) = (Duration::from_secs(1), Duration::from_millis(100));
    for command in ["check", "support-bundle"] {
        let read = of(&[command], service.path());
        assert_eq!(read, (one, Some(service.path().to_owned())));
        let named = of(&[command, "--config.file", other], service.path());
        assert_eq!(named, (Duration::from_secs(3), Some(other.into())));
        assert_eq!(
            of(&[command], Path::new("/nowhere/at.toml")),
            (default, None)
        );
    }
    assert_eq!(of(&["top"], service.path()), (default, None));
    let bad = file("interval = 3\n");
    assert!(parse_beside(words(&["check"]), bad.path()).is_err());
}
