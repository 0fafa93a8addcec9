use std::fs;

use super::{EXPLANATIONS, RELATED, bdi, here, list, text};
use crate::cli::args::Cli;
use clap::Parser as _;
use monitor_model::{related::RelatedKind, verdict::Signature};
use monitor_verdict::mitigation::{self, Target};

#[test]
fn every_signature_and_every_related_condition_has_an_explanation_in_the_order_of_the_verdict() {
    assert!(
        EXPLANATIONS
            .iter()
            .map(|one| one.signature)
            .eq(Signature::ALL)
    );
    assert!(RELATED.iter().map(|one| one.kind).eq(RelatedKind::ALL));
    for one in &EXPLANATIONS {
        let functions = one.path.iter().map(|chain| chain.functions.len());
        assert!(functions.min() > Some(2), "{:?}", one.signature);
    }
}

#[test]
fn without_a_word_there_is_a_line_for_each() {
    let list = list();
    assert_eq!(text(None, &Target::default()), list);
    let signatures = Signature::ALL.into_iter().map(Signature::as_str);
    for word in signatures.chain(RelatedKind::ALL.into_iter().map(RelatedKind::as_str)) {
        let begins = |line: &&str| line.trim_start().starts_with(word);
        assert_eq!(list.lines().filter(begins).count(), 1, "{word}");
    }
}

#[test]
fn an_explanation_has_the_path_exactly_three_commands_the_mitigations_and_the_preventions() {
    for one in &EXPLANATIONS {
        let text = text(Some(one.signature.as_str()), &Target::default());
        let mut rest = text.as_str();
        for heading in [
            "WHAT IT IS",
            "THE PATH THROUGH THE KERNEL",
            "ON WHICH KERNELS",
            "CONFIRM IT BY HAND",
            "MITIGATIONS NOW",
            "PREVENT IT",
        ] {
            let (_, after) = rest
                .split_once(heading)
                .unwrap_or_else(|| panic!("{heading}"));
            rest = after;
        }
        let confirm = text.split("CONFIRM IT BY HAND").nth(1).unwrap();
        let confirm = confirm.split("IT IS NOT").next().unwrap();
        let commands = one.confirm.iter().filter(|c| confirm.contains(c.command));
        assert_eq!(commands.count(), 3, "{text}");
    }
}

#[test]
fn the_text_gives_the_measures_of_the_evidence() {
    let place = here("0:29", std::path::Path::new("/nowhere")).with_kernel("6.12.9");
    for one in &EXPLANATIONS {
        let text = text(Some(one.signature.as_str()), &place);
        let mut all = mitigation::mitigations_at(one.signature, &place);
        all.extend(mitigation::preventions_at(one.signature, &place));
        for command in all.iter().flat_map(|measure| &measure.commands) {
            assert!(text.contains(command.as_str()), "{command}");
        }
    }
}

#[test]
fn with_a_bdi_every_command_has_it_and_without_one_the_text_says_how_to_find_it() {
    for one in &EXPLANATIONS {
        let word = Some(one.signature.as_str());
        let with = text(word, &Target::default().with_bdi("0:29"));
        assert!(
            with.contains("the mount's BDI is 0:29") && !with.contains("$bdi"),
            "{with}"
        );
        let without = text(word, &Target::default());
        assert!(
            without.contains("/proc/self/mountinfo\n  bdi=0:29"),
            "{without}"
        );
    }
    assert!(bdi("0:29").is_ok() && bdi("254:0").is_ok());
    assert!(bdi("0:29;reboot").is_err() && bdi("../x").is_err() && bdi("29").is_err());
}

#[test]
fn what_the_bdi_of_this_machine_offers_decides() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("class/bdi/0:29");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("max_ratio"), "40\n").unwrap();
    let place = here("0:29", root.path());
    assert_eq!(
        (place.max_ratio, place.has_strict_limit),
        (Some(40), Some(false))
    );
    fs::write(directory.join("strict_limit"), "1\n").unwrap();
    let place = here("0:29", root.path());
    assert_eq!(
        (place.has_strict_limit, place.strict_limit),
        (Some(true), Some(true))
    );
    assert_eq!(here("0:30", root.path()).has_strict_limit, None);
}

#[test]
fn an_unknown_word_is_answered_with_all_words() {
    let error = Cli::try_parse_from(["throttle-monitor", "explain", "dirty-throtle"]).unwrap_err();
    let words = error.to_string();
    assert!(
        words.contains("loop-device") && words.contains("hung-file-system"),
        "{words}"
    );
    assert!(
        words.contains("similar value exists: 'dirty-throttle'"),
        "{words}"
    );
}

#[test]
fn no_line_of_prose_is_wider_than_a_terminal() {
    for one in &EXPLANATIONS {
        let text = text(Some(one.signature.as_str()), &Target::default());
        for line in text.lines() {
            // Commands may be longer, so that they can be copied.
            let confirms = one
                .confirm
                .iter()
                .any(|confirm| line.trim() == confirm.command);
            let command = confirms || line.starts_with("       ") || line.contains("mountinfo");
            assert!(command || line.chars().count() <= 100, "{line}");
        }
    }
}
