//! Parts of the documentation that are generated from the program, and the test that they are up to
//! date.
//!
//! A part is between `<!-- NAME: generated -->` and `<!-- end -->`. After a change run
//! `THROTTLE_MONITOR_WRITE_DOCS=1 cargo test -p throttle-monitor docs`.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// If set, the tests write the parts instead of comparing them.
const WRITE: &str = "THROTTLE_MONITOR_WRITE_DOCS";

/// Compares a file below docs/ with these parts, by name.
pub fn hold(file: &str, parts: &[(&str, String)]) {
    let file = format!("docs/{file}");
    let mut ought = fs::read_to_string(at(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    for (name, part) in parts {
        ought = filled(&ought, name, part).unwrap_or_else(|| panic!("{file} has no part {name}"));
    }
    hold_file(&file, &ought);
}

/// Compares a file of the repository with this text.
pub fn hold_file(file: &str, ought: &str) {
    if env::var_os(WRITE).is_some() {
        fs::write(at(file), ought).unwrap();
    }
    let is = fs::read_to_string(at(file)).unwrap_or_default();
    let differs = is
        .lines()
        .zip(ought.lines())
        .find(|(is, ought)| is != ought);
    assert!(
        is == ought,
        "{file} is not up to date ({differs:?}): set {WRITE}=1 and test again"
    );
}

fn at(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)
}

fn filled(text: &str, name: &str, part: &str) -> Option<String> {
    let begin = format!("<!-- {name}: generated -->\n");
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once("<!-- end -->")?;
    Some(format!(
        "{before}{begin}\n{}\n\n<!-- end -->{after}",
        part.trim()
    ))
}

#[test]
fn a_part_is_replaced_and_the_rest_is_kept() {
    let text = "a\n<!-- x: generated -->\nold\n<!-- end -->\nb\n";
    let new = filled(text, "x", "new\n").unwrap();
    assert_eq!(new, "a\n<!-- x: generated -->\n\nnew\n\n<!-- end -->\nb\n");
    assert_eq!(filled(&new, "x", "new\n"), Some(new.clone()));
    assert_eq!(filled(text, "y", "new"), None);
}
