//! Renders docs/runbooks as HTML for `/runbooks/NAME`.
//!
//! Here and not in the daemon: so it has neither a Markdown parser nor the text twice.

use std::{
    env,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

/// Writes `$OUT_DIR/runbooks.rs`: a list of (name, title, HTML).
pub fn write() -> io::Result<()> {
    let directory = Path::new("../docs/runbooks");
    println!("cargo:rerun-if-changed={}", directory.display());
    let entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    let mut files: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "md"));
    files.sort();
    let mut list = String::from("[\n");
    for file in files {
        println!("cargo:rerun-if-changed={}", file.display());
        let text = fs::read_to_string(&file)?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        // What is about the directory is no runbook.
        if name == "README" {
            continue;
        }
        let (title, html) = render(&text);
        let _ = writeln!(list, "({:?}, {title:?}, {html:?}),", &*name);
    }
    list.push(']');
    let out = env::var_os("OUT_DIR").unwrap_or_default();
    fs::write(Path::new(&out).join("runbooks.rs"), list)
}

/// The title, which is the first heading, and the HTML of the rest.
fn render(text: &str) -> (String, String) {
    let options = Options::ENABLE_TABLES;
    let mut title = String::new();
    let mut events: Vec<Event<'_>> = Vec::new();
    // The place of the current heading, and its text.
    let mut heading: Option<(usize, HeadingLevel, String)> = None;
    let mut link_end: Option<String> = None;
    for event in Parser::new_ext(text, options) {
        match event {
            // Comments mark what is generated.
            Event::Html(_) | Event::InlineHtml(_) => {}
            Event::Start(Tag::Heading { level, .. }) => {
                heading = Some((events.len(), level, String::new()));
            }
            Event::End(TagEnd::Heading(_)) => {
                let Some((at, level, words)) = heading.take() else {
                    continue;
                };
                if level == HeadingLevel::H1 {
                    events.truncate(at);
                    words.trim_start_matches("Runbook: ").clone_into(&mut title);
                    continue;
                }
                let open = format!("<{level} id=\"{}\">", anchor(&words));
                events.insert(at, raw(open));
                events.push(raw(format!("</{level}>\n")));
            }
            Event::Start(Tag::Link { dest_url, .. }) => {
                let (open, close) = link(&dest_url);
                events.push(raw(open));
                link_end = Some(close);
            }
            Event::End(TagEnd::Link) => events.push(raw(link_end.take().unwrap_or_default())),
            Event::Start(Tag::Table(columns)) => {
                events.push(raw("<div class=\"scroll\" tabindex=\"0\">".to_owned()));
                events.push(Event::Start(Tag::Table(columns)));
            }
            Event::End(TagEnd::Table) => {
                events.push(Event::End(TagEnd::Table));
                events.push(raw("</div>\n".to_owned()));
            }
            Event::Start(Tag::CodeBlock(_)) => {
                events.push(raw("<pre class=\"scroll\"><code>".to_owned()));
            }
            Event::End(TagEnd::CodeBlock) => events.push(raw("</code></pre>\n".to_owned())),
            event => {
                if let (Some((.., words)), Event::Text(text) | Event::Code(text)) =
                    (&mut heading, &event)
                {
                    words.push_str(text);
                }
                events.push(event);
            }
        }
    }
    let mut rendered = String::new();
    html::push_html(&mut rendered, events.into_iter());
    (title, rendered)
}

fn raw(html: String) -> Event<'static> {
    Event::Html(CowStr::from(html))
}

/// Other runbooks are here; other pages of the documentation are not, so they are named.
fn link(target: &str) -> (String, String) {
    if target.starts_with('#') {
        return (format!("<a href=\"{target}\">"), "</a>".to_owned());
    }
    let (file, place) = target.split_once('#').unwrap_or((target, ""));
    let name = file.strip_suffix(".md").unwrap_or(file);
    if let Some(page) = name.strip_prefix("../") {
        return (String::new(), format!(" (<code>docs/{page}.md</code>)"));
    }
    let place = if place.is_empty() {
        String::new()
    } else {
        format!("#{place}")
    };
    (
        format!("<a href=\"/runbooks/{name}{place}\">"),
        "</a>".to_owned(),
    )
}

/// The anchor that GitHub gives a heading.
fn anchor(words: &str) -> String {
    let kept = words.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c.to_ascii_lowercase()),
        _ => None,
    });
    kept.collect()
}
