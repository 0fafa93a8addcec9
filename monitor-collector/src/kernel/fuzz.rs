//! Hostile input: what the kernel tells of itself.

#![allow(
    clippy::missing_panics_doc,
    reason = "a panic is how a target says that it found something"
)]

use std::io::BufReader;

use btf_rs::Btf;
use monitor_common::Offsets;

use super::{
    btf,
    facts::{known_hz, symbols, timer_list},
    fields::resolve,
    format::{self, Field},
    lockdown, signals,
};
use crate::fuzz_input::text;

/// A tracepoint's `format` file: what is parsed and written again parses to the
/// same, and no offset comes out that the file does not have.
pub fn tracepoint_format(data: &[u8]) {
    let text = text(data);
    let fields = match format::parse(&text) {
        Ok(fields) => fields,
        Err(error) => {
            let line = text.lines().nth(error.line - 1).unwrap_or_default();
            assert_eq!(line.trim(), error.text, "the line that is named is another");
            return;
        }
    };
    let again = format::parse(&fields.iter().map(written).collect::<String>());
    assert_eq!(again.as_ref(), Ok(&fields));
    for wanted in Offsets::FIELDS {
        let mut offsets = Offsets::UNKNOWN;
        let resolved = resolve(wanted.tracepoint, &fields, &mut offsets);
        let offset = *(wanted.slot)(&mut offsets);
        let has = |field: &Field| i64::from(field.offset) == i64::from(offset);
        assert!(offset == -1 || fields.iter().any(has), "{offset}");
        assert!(!wanted.needed || offset >= 0 || resolved.is_err());
    }
}

fn written(field: &Field) -> String {
    let Field { name, offset, size } = field;
    format!("\tfield:int {name};\toffset:{offset};\tsize:{size};\tsigned:0;\n")
}

/// kallsyms: nothing is found that was not looked for.
pub fn kallsyms(data: &[u8]) {
    let found = symbols(BufReader::new(data)).unwrap_or_default();
    let known: Vec<_> = signals::functions().collect();
    for name in &found {
        assert!(known.contains(&name.as_str()), "{name}");
    }
    assert!(
        found.len() <= known.len(),
        "{} of {}",
        found.len(),
        known.len()
    );
}

/// BTF: nothing is found that was not looked for.
pub fn btf(data: &[u8]) {
    let Ok(read) = Btf::from_bytes(data) else {
        return;
    };
    let facts = btf::facts(&read);
    for name in &facts.functions {
        assert!(signals::functions().any(|known| known == name), "{name}");
    }
    for name in &facts.tracepoints {
        assert!(signals::btf_tracepoints().any(|known| known == name));
    }
    for field in facts.offsets.keys() {
        assert!(field.contains('.'), "{field}");
    }
}

/// `/proc/timer_list` and the level of lockdown.
pub fn kernel_words(data: &[u8]) {
    let text = text(data);
    if let Some((_, jiffies)) = timer_list(&text) {
        known_hz(jiffies as f64);
    }
    if let Some(level) = lockdown::level(&text) {
        assert!(!level.contains(']') && text.contains(&level));
    }
}
