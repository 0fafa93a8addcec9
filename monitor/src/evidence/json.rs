//! Renders a document for `less` and for programs: JSON with a line for each field and for each
//! element of a list.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

/// Renders the document with a final newline.
///
/// # Errors
///
/// serde's errors, which plain data does not cause.
pub(super) fn render(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(32 * 1024);
    value.serialize(&mut Serializer::with_formatter(
        &mut text,
        LineBreaks::default(),
    ))?;
    text.push(b'\n');
    Ok(text)
}

/// Breaks lines down to the elements of the outermost list, but not within these.
#[derive(Debug, Default)]
struct LineBreaks {
    indent: usize,
    /// The number of open lists.
    lists: usize,
    has_value: bool,
}

impl LineBreaks {
    fn line<W: Write + ?Sized>(&self, to: &mut W) -> io::Result<()> {
        to.write_all(b"\n")?;
        (0..self.indent).try_for_each(|_| to.write_all(b"  "))
    }

    /// The separator between two elements, with or without a line break.
    fn next<W: Write + ?Sized>(&self, to: &mut W, first: bool, broken: bool) -> io::Result<()> {
        match (first, broken) {
            (true, true) => self.line(to),
            (false, true) => to.write_all(b",").and_then(|()| self.line(to)),
            (true, false) => Ok(()),
            (false, false) => to.write_all(b", "),
        }
    }

    fn begin<W: Write + ?Sized>(&mut self, to: &mut W, with: &[u8]) -> io::Result<()> {
        self.indent += 1;
        self.has_value = false;
        to.write_all(with)
    }

    fn end<W: Write + ?Sized>(&mut self, to: &mut W, with: &[u8], broken: bool) -> io::Result<()> {
        self.indent -= 1;
        if broken && self.has_value {
            self.line(to)?;
        }
        to.write_all(with)
    }
}

impl Formatter for LineBreaks {
    fn begin_array<W: Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        self.lists += 1;
        self.begin(to, b"[")
    }

    fn end_array<W: Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        let broken = self.lists == 1;
        self.lists -= 1;
        self.end(to, b"]", broken)
    }

    fn begin_array_value<W: Write + ?Sized>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        self.next(to, first, self.lists == 1)
    }

    fn end_array_value<W: Write + ?Sized>(&mut self, _: &mut W) -> io::Result<()> {
        self.has_value = true;
        Ok(())
    }

    fn begin_object<W: Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        self.begin(to, b"{")
    }

    fn end_object<W: Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        self.end(to, b"}", self.lists == 0)
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        self.next(to, first, self.lists == 0)
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(b": ")
    }

    fn end_object_value<W: Write + ?Sized>(&mut self, _: &mut W) -> io::Result<()> {
        self.has_value = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::render;

    #[test]
    fn each_field_and_each_element_has_a_line_and_no_more() {
        let value = json!({
            "cycle": ["a", "  -> b"],
            "empty": [],
            "memory": {"dirty": 1, "of": {"limit": null}},
            "nothing": {},
            "threads": [{"stack": ["f", "g"], "tid": 1}, {"tid": 2}],
        });
        let text = String::from_utf8(render(&value).unwrap()).unwrap();
        assert_eq!(
            text,
            "{\n  \"cycle\": [\n    \"a\",\n    \"  -> b\"\n  ],\n  \"empty\": [],\n  \"memory\": \
             {\n    \"dirty\": 1,\n    \"of\": {\n      \"limit\": null\n    }\n  },\n  \"nothing\": \
             {},\n  \"threads\": [\n    {\"stack\": [\"f\", \"g\"], \"tid\": 1},\n    {\"tid\": 2}\n  \
             ]\n}\n"
        );
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
