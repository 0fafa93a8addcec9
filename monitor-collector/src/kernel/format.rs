//! A tracepoint's `format` file: where its fields are in the record.

use thiserror::Error;

/// A field of a tracepoint's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The kernel's name for it.
    pub name: String,
    /// Bytes from the start of the record.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
}

/// A `format` file that is not one.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("line {line} of a tracepoint's format is not a field: {text:?}")]
pub struct FormatError {
    /// Counted from one.
    pub line: usize,
    /// What stands there.
    pub text: String,
}

/// Reads the fields out of a `format` file (`kernel/trace/trace_events.c`,
/// `f_show`): lines such as
/// `field:unsigned long limit;\toffset:40;\tsize:8;\tsigned:0;`.
///
/// # Errors
///
/// A line that begins with `field:` and is not of that form.
pub fn parse(text: &str) -> Result<Vec<Field>, FormatError> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index, line.trim()))
        .filter(|(_, line)| line.starts_with("field:"))
        .map(|(index, line)| {
            field(line).ok_or_else(|| FormatError {
                line: index + 1,
                text: line.to_owned(),
            })
        })
        .collect()
}

fn field(line: &str) -> Option<Field> {
    let mut parts = line.split(';').map(str::trim);
    let declaration = parts.next()?.strip_prefix("field:")?;
    let mut offset = None;
    let mut size = None;
    for part in parts {
        match part.split_once(':') {
            Some(("offset", value)) => offset = value.parse().ok(),
            Some(("size", value)) => size = value.parse().ok(),
            _ => {}
        }
    }
    // The last word of the declaration, without an array's brackets, which a
    // string has before its name: `__data_loc char[] addr`.
    let name = declaration.split_whitespace().last()?;
    let name = name.split('[').next()?.trim_start_matches('*');
    (!name.is_empty()).then_some(Field {
        name: name.to_owned(),
        offset: offset?,
        size: size?,
    })
}

#[cfg(test)]
mod tests {
    use super::{FormatError, parse};

    #[test]
    fn an_array_a_pointer_a_plain_field_and_a_string_are_read() {
        let text = "name: x\nID: 1\nformat:\n\tfield:char bdi[32];\toffset:8;\tsize:32;\tsigned:0;\n\
                    \tfield:const void * head_base;\toffset:40;\tsize:8;\tsigned:0;\n\
                    \tfield:unsigned long limit;\toffset:48;\tsize:8;\tsigned:0;\n\
                    \tfield:__data_loc char[] addr;\toffset:56;\tsize:4;\tsigned:1;\n\nprint fmt: \"field:\", REC->x\n";
        let fields = parse(text).unwrap();
        let seen: Vec<_> = fields
            .iter()
            .map(|f| (f.name.as_str(), f.offset, f.size))
            .collect();
        assert_eq!(
            seen,
            [
                ("bdi", 8, 32),
                ("head_base", 40, 8),
                ("limit", 48, 8),
                ("addr", 56, 4)
            ]
        );
    }

    #[test]
    fn a_field_without_an_offset_is_an_error_that_names_the_line() {
        let error = parse("format:\n\tfield:int x;\tsize:4;\n").unwrap_err();
        assert_eq!(
            error,
            FormatError {
                line: 2,
                text: "field:int x;\tsize:4;".into()
            }
        );
    }
}
