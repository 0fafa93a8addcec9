//! Checks that sibling modules have no cycles: none may use, directly or through others, one that
//! uses it. A child's use of its parent is not a cycle.
//!
//! Tests and fuzzing code are ignored. cargo checks the crates themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    str::FromStr as _,
};

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The crates to check.
#[derive(Args)]
pub struct StructureArgs {
    /// Directories of crates, each with a `src`
    #[arg(required = true)]
    crates: Vec<PathBuf>,
}

/// A path from the crate's root to a module or an item.
type Names = Vec<String>;

/// Checks all crates; returns whether none has a cycle.
pub fn run(choice: &StructureArgs) -> Result<bool> {
    let mut modules = 0;
    let mut found = Vec::new();
    for one in &choice.crates {
        let house = House::read(&one.join("src"))?;
        modules += house.modules.len();
        for circle in house.circles() {
            found.push(format!("{}: {}", one.display(), circle));
        }
    }
    for circle in &found {
        println!("{circle}");
    }
    println!("{modules} modules, {} circles", found.len());
    Ok(found.is_empty())
}

/// The modules of a crate that are files, and their uses.
#[derive(Default)]
struct House {
    modules: BTreeMap<Names, Room>,
}

#[derive(Default)]
struct Room {
    /// The paths that it uses, from the crate's root.
    uses: BTreeSet<Names>,
    /// Its re-exports: the name, and the path of the item.
    hands_on: BTreeMap<String, Names>,
}

impl House {
    fn read(source: &Path) -> Result<Self> {
        let mut files = Vec::new();
        list(source, source, &mut files)?;
        let mut house = Self::default();
        for (names, _) in &files {
            house.modules.insert(names.clone(), Room::default());
        }
        for (names, path) in files {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let tokens = TokenStream::from_str(&text).map_err(|error| anyhow!("{error}"));
            let tokens = tokens.with_context(|| path.display().to_string())?;
            let mut room = Room::default();
            house.walk(tokens, &names, &mut room);
            house.modules.insert(names, room);
        }
        Ok(house)
    }

    /// Collects the uses in these tokens of the module `here`.
    fn walk(&self, tokens: TokenStream, here: &Names, room: &mut Room) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        let mut public = false;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token {
                TokenTree::Punct(mark) if mark.as_char() == '#' => {
                    let is_test = matches!(tokens.get(at), Some(TokenTree::Group(group)) if is_for_tests(&group.stream()));
                    if is_test {
                        at = end_of_item(&tokens, at + 1);
                    }
                }
                TokenTree::Ident(word) if word == "pub" => {
                    public = true;
                    continue;
                }
                TokenTree::Ident(word) if word == "mod" => {
                    if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) =
                        (tokens.get(at), tokens.get(at + 1))
                    {
                        let inner = [here.as_slice(), &[name.to_string()]].concat();
                        self.walk(body.stream(), &inner, room);
                        at += 2;
                    }
                }
                TokenTree::Ident(word) if word == "use" => {
                    let end = end_of_item(&tokens, at);
                    let mut leaves = Vec::new();
                    tree(&tokens[at..end], &Names::new(), &mut leaves);
                    for (names, alias) in leaves {
                        let Some(whole) = self.resolve(&names, here) else {
                            continue;
                        };
                        if public {
                            room.hands_on.insert(alias, whole);
                        } else {
                            room.uses.insert(whole);
                        }
                    }
                    at = end;
                }
                TokenTree::Ident(_) => {
                    let (names, end) = path(&tokens, at - 1);
                    at = end;
                    if names.len() > 1 {
                        room.uses.extend(self.resolve(&names, here));
                    }
                }
                TokenTree::Group(group) => {
                    if public && group.delimiter() == Delimiter::Parenthesis {
                        continue;
                    }
                    self.walk(group.stream(), here, room);
                }
                _ => {}
            }
            public = false;
        }
    }

    /// The path from the crate's root; `None`: it belongs to another crate or to no module.
    fn resolve(&self, names: &[String], here: &Names) -> Option<Names> {
        let (first, rest) = names.split_first()?;
        let from = match first.as_str() {
            "crate" => return Some(rest.to_vec()),
            "self" => return Some([here.as_slice(), rest].concat()),
            "super" => here.split_last().map(|(_, parents)| parents.to_vec())?,
            _ => {
                let child = [here.as_slice(), std::slice::from_ref(first)].concat();
                return self
                    .modules
                    .contains_key(&child)
                    .then(|| [here.as_slice(), names].concat());
            }
        };
        match rest.first().map(String::as_str) {
            Some("super") => self.resolve(rest, &from),
            _ => Some([from.as_slice(), rest].concat()),
        }
    }

    /// The module that declares an item, through re-exports.
    fn target(&self, names: &Names, depth: usize) -> Option<Names> {
        let modules = (0..=names.len()).rev().map(|end| names[..end].to_vec());
        let module = modules
            .into_iter()
            .find(|one| self.modules.contains_key(one))?;
        let next = names.get(module.len());
        let handed = next.and_then(|name| self.modules[&module].hands_on.get(name));
        match handed {
            Some(whole) if depth > 0 => {
                let rest = &names[module.len() + 1..];
                self.target(&[whole.as_slice(), rest].concat(), depth - 1)
            }
            _ => Some(module),
        }
    }

    /// Describes each cycle: its modules and the uses between them.
    fn circles(&self) -> Vec<String> {
        const DEPTH: usize = 8;
        let mut arrows = BTreeSet::new();
        for (from, room) in &self.modules {
            let targets = room.uses.iter();
            for to in targets.filter_map(|names| self.target(names, DEPTH)) {
                arrows.insert((from.clone(), to));
            }
        }
        let parents: BTreeSet<&[String]> = self
            .modules
            .keys()
            .flat_map(|names| (0..names.len()).map(|end| &names[..end]))
            .collect();
        parents
            .into_iter()
            .flat_map(|parent| circles_below(parent, &arrows))
            .collect()
    }
}

/// Cycles among the children of one module, each with everything below it.
fn circles_below(parent: &[String], arrows: &BTreeSet<(Names, Names)>) -> Vec<String> {
    let child = |names: &Names| {
        let below = names.len() > parent.len() && names.starts_with(parent);
        below.then(|| names[parent.len()].clone())
    };
    let mut uses: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for (from, to) in arrows {
        if let (Some(a), Some(b)) = (child(from), child(to))
            && a != b
        {
            let words = format!("  {} uses {}", from.join("::"), to.join("::"));
            uses.entry(a).or_default().entry(b).or_default().push(words);
        }
    }
    let reaches = |from: &String| {
        let mut seen = BTreeSet::new();
        let mut open = vec![from];
        while let Some(one) = open.pop() {
            for next in uses.get(one).into_iter().flat_map(BTreeMap::keys) {
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        seen
    };
    let all: BTreeMap<&String, BTreeSet<&String>> =
        uses.keys().map(|one| (one, reaches(one))).collect();
    let mut told = BTreeSet::new();
    let mut circles = Vec::new();
    for (one, reached) in &all {
        if told.contains(one) || !reached.contains(one) {
            continue;
        }
        let circle: Vec<&String> = reached
            .iter()
            .copied()
            .filter(|other| all.get(other).is_some_and(|back| back.contains(one)))
            .collect();
        told.extend(circle.iter().copied());
        let mut words = format!("a circle of {} below {:?}", circle.len(), parent.join("::"));
        for a in &circle {
            for b in &circle {
                for line in uses[*a].get(*b).into_iter().flatten() {
                    words = format!("{words}\n{line}");
                }
            }
        }
        circles.push(words);
    }
    circles
}

/// Whether an attribute marks an item for tests or fuzzing.
fn is_for_tests(attribute: &TokenStream) -> bool {
    let words = attribute.to_string();
    words.starts_with("cfg") && words.contains("test")
}

/// The position after the item that begins here: after its `;` or its braces.
fn end_of_item(tokens: &[TokenTree], from: usize) -> usize {
    let mut at = from;
    let mut is_use = false;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            TokenTree::Ident(word) if word == "use" => is_use = true,
            TokenTree::Punct(mark) if mark.as_char() == ';' => break,
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                let is_last = !matches!(tokens.get(at), Some(TokenTree::Punct(mark)) if mark.as_char() == ';');
                if is_last && !is_use {
                    break;
                }
            }
            _ => {}
        }
    }
    at
}

/// The leaves of a `use`, each with its local name.
fn tree(tokens: &[TokenTree], before: &Names, leaves: &mut Vec<(Names, String)>) {
    for part in
        tokens.split(|token| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ','))
    {
        let mut names = before.clone();
        let mut alias = None;
        let mut is_whole = true;
        let mut words = part.iter();
        while let Some(token) = words.next() {
            match token {
                TokenTree::Ident(word) if word == "as" => {
                    alias = words.next().map(ToString::to_string);
                }
                TokenTree::Ident(word) if word == "self" && !before.is_empty() => {}
                TokenTree::Ident(word) => names.push(word.to_string()),
                TokenTree::Group(group) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    tree(&inner, &names, leaves);
                    is_whole = false;
                }
                _ => {}
            }
        }
        if let Some(last) = names.last().filter(|_| is_whole && !part.is_empty()) {
            let alias = alias.unwrap_or_else(|| last.clone());
            leaves.push((names, alias));
        }
    }
}

/// The path that begins here, and where it ends.
fn path(tokens: &[TokenTree], from: usize) -> (Names, usize) {
    let colon =
        |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(mark)) if mark.as_char() == ':');
    let mut names = Names::new();
    let mut at = from;
    while let Some(TokenTree::Ident(word)) = tokens.get(at) {
        names.push(word.to_string());
        at += 1;
        if !(colon(at) && colon(at + 1)) {
            break;
        }
        at += 2;
    }
    (names, at)
}

/// All module files below, without tests.
fn list(root: &Path, directory: &Path, files: &mut Vec<(Names, PathBuf)>) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if matches!(
            &*stem,
            "tests" | "testing" | "fuzz" | "fuzz_input" | "documented" | "generated"
        ) {
            continue;
        }
        if path.is_dir() {
            list(root, &path, files)?;
        } else if path.extension().is_some_and(|end| end == "rs") {
            let inside = path.strip_prefix(root)?.with_extension("");
            let names = inside
                .iter()
                .map(|name| name.to_string_lossy().into_owned());
            let names: Names = names
                .filter(|name| !matches!(&**name, "mod" | "lib" | "main"))
                .collect();
            files.push((names, path));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(files: &[(&str, &str)]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        House::read(dir.path()).unwrap().circles()
    }

    #[test]
    fn two_that_use_each_other_are_a_circle_wherever_it_is_written() {
        for back in [
            "use crate::a::A;",
            "use super::{a::{self, A}, c};",
            "fn f() { let x = [crate::a::A]; }",
            "fn f() { println!(\"{}\", super::a::A); }",
        ] {
            let found = circles(&[
                ("lib.rs", "mod a; mod b;"),
                ("a.rs", "use crate::b;"),
                ("b.rs", back),
            ]);
            assert_eq!(found.len(), 1, "{back}");
            assert!(
                found[0].contains("a uses b") && found[0].contains("b uses a"),
                "{found:?}"
            );
        }
    }

    #[test]
    fn what_a_module_hands_on_is_its_that_declares_it() {
        let lib = ("lib.rs", "mod a; mod b; mod c;");
        let c = ("c/mod.rs", "mod d; pub use d::D;");
        let d = ("c/d.rs", "use crate::a::A;");
        assert_eq!(circles(&[lib, c, d, ("a.rs", "use crate::c::D;")]).len(), 1);
        let handed = ("b.rs", "pub use crate::a::A;");
        assert_eq!(
            circles(&[lib, handed, ("a.rs", "use crate::b::A;")]).len(),
            0
        );
    }

    #[test]
    fn a_parent_and_tests_make_none() {
        let parent = ("lib.rs", "mod a; use a::B; struct S;");
        assert_eq!(circles(&[parent, ("a.rs", "use super::S;")]).len(), 0);
        let test = "#[cfg(test)]\nmod tests { use crate::a::A; }\n#[cfg(any(test, fuzzing))]\nuse crate::a::A;";
        assert_eq!(
            circles(&[("lib.rs", ""), ("a.rs", "use crate::b;"), ("b.rs", test)]).len(),
            0
        );
    }
}
