//! Tests of --help and --config.show.

use clap::CommandFactory as _;
use monitor_common::HIST_BUCKETS;
use proptest::prelude::*;

use super::{file, run, words};
use crate::cli::{
    args::Cli,
    config::{Parsed, keys, parse},
};

pub(super) fn shown(flags: &[&str]) -> String {
    let all: Vec<&str> = ["run", "--config.show"]
        .into_iter()
        .chain(flags.iter().copied())
        .collect();
    match parse(words(&all)) {
        Ok(Parsed::Show(text)) => text,
        other => panic!("not shown: {other:?}"),
    }
}

#[test]
fn every_key_says_what_it_is_for_and_no_key_is_a_table_too() {
    let keys = keys::keys(&Cli::command());
    assert!(keys.len() > 40, "{}", keys.len());
    for key in &keys {
        assert!(
            key.help().len() > 15,
            "{} has no help: {:?}",
            key.name,
            key.help()
        );
        let within = format!("{}.", key.name);
        assert!(
            !keys.iter().any(|other| other.name.starts_with(&within)),
            "{}",
            key.name
        );
    }
}

#[test]
fn thresholds_are_in_the_long_help_with_default_and_reason_and_not_in_the_short() {
    let help = |flag| parse(words(&["run", flag])).unwrap_err().to_string();
    let (short, long) = (help("-h"), help("--help"));
    assert!(!short.contains("--thresholds.window"), "{short}");
    assert!(short.contains("--thresholds.confirm"), "{short}");
    assert!(
        long.contains("--thresholds.loops.half-life <DURATION>"),
        "{long}"
    );
    assert!(
        long.contains("Calls and writes count half after so long"),
        "{long}"
    );
    assert!(long.contains("[default: 10s]"), "{long}");
}

#[test]
fn showing_the_defaults_and_feeding_them_back_changes_nothing() {
    let text = shown(&[]);
    let file = file(&text);
    assert_eq!(
        shown(&["--config.file", file.path().to_str().unwrap()]),
        text
    );
    // The file accepts every default.
    let given: toml::Table = text.parse().unwrap();
    assert_eq!(given["interval"].as_str(), Some("1s"));
    assert_eq!(
        given["thresholds"]["loops"]["half-life"].as_str(),
        Some("10s")
    );
}

#[test]
fn keys_are_shown_in_one_order_whatever_the_file_gives() {
    let names = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let names: Vec<String> = lines
            .filter_map(|line| Some(line.split_once(" =")?.0.into()))
            .collect();
        names
    };
    let one = file("interval = \"2s\"\n[thresholds]\nwindow = \"4s\"\n");
    let text = shown(&["--config.file", one.path().to_str().unwrap()]);
    assert_eq!(names(&text), names(&shown(&[])));
}

#[test]
fn a_size_keeps_its_unit_in_the_file_and_when_it_is_shown() {
    let given = file("record.max-size = \"128MiB\"\nevidence.max-size = 4194304\n");
    let text = shown(&["--config.file", given.path().to_str().unwrap()]);
    assert!(text.contains("\nmax-size = \"128MiB\"\n"), "{text}");
    assert!(text.contains("\nmax-size = \"4194304\"\n"), "{text}");
    assert!(shown(&[]).contains("\nmax-size = \"64MiB\"\n"));
    let flags = ["--record.max-size", "3GiB"];
    assert!(shown(&flags).contains("\nmax-size = \"3GiB\"\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn showing_the_configuration_and_feeding_it_back_changes_nothing(
        interval in 100_u64..5000,
        confirm in 0_u64..3600,
        share in 0.001_f64..1.0,
        floor in 1_u64..1 << 40,
        port in 1_u16..,
        path in "/[a-z\"\\\\ é]{1,12}",
        served in "/[a-z._~-]{1,11}[a-z]",
        names in proptest::collection::vec("[a-z.\"' ]{1,10}", 0..4),
        ebpf: bool,
        buckets in proptest::collection::btree_set(1_u32..10_000_000, 1..HIST_BUCKETS),
    ) {
        let seconds = |us: &u32| (f64::from(*us) / 1e6).to_string();
        let mut flags = vec![
            format!("--interval={interval}ms"),
            format!("--thresholds.confirm={confirm}s"),
            format!("--thresholds.blockage-share={share}"),
            format!("--thresholds.demand-floor-bytes={floor}"),
            format!("--web.listen-address=127.0.0.1:{port}"),
            format!("--web.listen-address=[::1]:{port}"),
            format!("--web.telemetry-path={served}"),
            format!("--path.procfs={path}"),
            format!("--log.ebpf={ebpf}"),
            format!("--buckets={}", buckets.iter().map(seconds).collect::<Vec<_>>().join(",")),
        ];
        flags.extend(names.iter().map(|name| format!("--loops.server-names={name}")));
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let text = shown(&flags);
        let file = file(&text);
        let back = ["--config.file", file.path().to_str().unwrap()];
        prop_assert_eq!(shown(&back), text);
        let all: Vec<&str> = ["run"].into_iter().chain(flags).collect();
        let first = run(&all);
        let second = run(&["run", back[0], back[1]]);
        prop_assert_eq!(first.thresholds, second.thresholds);
        prop_assert_eq!(first.kernel.buckets, second.kernel.buckets);
        prop_assert_eq!(first.kernel.nfs_servers, second.kernel.nfs_servers);
        prop_assert_eq!(first.web.listen, second.web.listen);
    }

    #[test]
    fn no_file_makes_it_panic(text in "\\PC{0,200}") {
        let file = file(&text);
        let _ = parse(words(&["check", "--config.file", file.path().to_str().unwrap()]));
    }
}
