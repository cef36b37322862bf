//! Arrows between the crates of the workspace and between the rooms of a crate, read from the sources as text.
//!
//! A *room* is a module right under a crate's root: a file or a folder of `src/`. The root itself (`lib.rs`, `main.rs`)
//! is none: it may name every room, and what rooms take from it is not counted. An arrow goes from the room whose code
//! names something to the room that it names, with `crate::room::…`, with as many `super::` as reach the root, or by a
//! name that the root re-exports.
//!
//! ```text
//!   crates:  Cargo.toml, the tables of dependencies      storage-node -> engine
//!   rooms:   src/**/*.rs, paths that begin at the root   session -> cluster
//! ```
//!
//! Nothing is linked and nothing parsed but lines and paths: this is a test that runs before anything else is built.
//! Comments are left out, so documents may point anywhere. Not here: what is allowed (`tests/arrows.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A crate of the workspace.
#[derive(Debug, Clone)]
pub struct Crate {
    /// Its name, as in its Cargo.toml.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Names of what it depends on in any way, of ours and of others.
    pub dependencies: BTreeSet<String>,
}

/// The workspace's root.
pub fn workspace() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    while !fs::read_to_string(root.join("Cargo.toml")).is_ok_and(|text| text.contains("[workspace]")) {
        assert!(root.pop(), "no workspace above {}", env!("CARGO_MANIFEST_DIR"));
    }
    root
}

/// The crates that the workspace lists, by name.
pub fn crates(root: &Path) -> BTreeMap<String, Crate> {
    let manifest = read(&root.join("Cargo.toml"));
    let members = manifest.split_once("members = [").expect("members").1.split(']').next().expect("its end");
    let mut folders = Vec::new();
    for member in members.split('"').skip(1).step_by(2) {
        match member.strip_suffix("/*") {
            Some(parent) => {
                let entries = fs::read_dir(root.join(parent)).expect("a folder of crates");
                folders.extend(entries.map(|entry| entry.expect("its entry").path()));
            }
            None => folders.push(root.join(member)),
        }
    }
    let found = folders.into_iter().filter(|folder| folder.join("Cargo.toml").exists()).map(|folder| {
        let manifest = read(&folder.join("Cargo.toml"));
        let name = manifest.split_once("name = \"").expect("a name").1.split('"').next().unwrap_or_default();
        (name.to_owned(), Crate { name: name.to_owned(), dependencies: dependencies(&manifest), folder })
    });
    found.collect()
}

/// What a manifest depends on, to build, to test or to run.
pub fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut found = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.trim_end().ends_with("dependencies]");
        } else if inside && line.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            found.insert(name.to_owned());
        }
    }
    found
}

/// The rooms of a crate.
pub fn rooms(krate: &Crate) -> BTreeSet<String> {
    let source = krate.folder.join("src");
    rust_files(&source).iter().filter_map(|file| room_of(file.strip_prefix(&source).expect("a file below"))).collect()
}

/// The arrows between a crate's rooms, each with the files that draw it.
pub fn arrows(krate: &Crate) -> BTreeMap<(String, String), BTreeSet<String>> {
    let (rooms, source) = (rooms(krate), krate.folder.join("src"));
    let root = ["lib.rs", "main.rs"].map(|name| fs::read_to_string(source.join(name)).unwrap_or_default()).concat();
    let exports = exports(&code(&root), &rooms);
    let mut found = BTreeMap::<_, BTreeSet<String>>::new();
    for file in rust_files(&source) {
        let inside = file.strip_prefix(&source).expect("a file below");
        let Some(from) = room_of(inside) else { continue };
        for name in named_at_root(&code(&read(&file)), depth(inside)) {
            let to = exports.get(&name).unwrap_or(&name);
            if rooms.contains(to) && *to != from {
                let file = inside.display().to_string();
                found.entry((from.clone(), to.clone())).or_default().insert(file);
            }
        }
    }
    found
}

/// The files of a crate, its tests and benches among them, whose code has a word: paths below its folder.
pub fn files_that_say(krate: &Crate, word: &str) -> BTreeSet<String> {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    let says = |code: &str| {
        code.match_indices(word)
            .any(|(at, _)| !code[..at].ends_with(part_of_word) && !code[at + word.len()..].starts_with(part_of_word))
    };
    let folders = ["src", "tests", "benches"].map(|name| krate.folder.join(name));
    let files = folders.iter().filter(|folder| folder.is_dir()).flat_map(|folder| rust_files(folder));
    files
        .filter(|file| says(&code(&read(file))))
        .map(|file| file.strip_prefix(&krate.folder).expect("a file below").display().to_string())
        .collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("its entry").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

/// The room that a file below `src/` belongs to; none for the root and for what is no module.
fn room_of(inside: &Path) -> Option<String> {
    let first = inside.iter().next()?.to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (!["lib", "main", "tests"].contains(&name)).then(|| name.to_owned())
}

/// How many modules a file's code is below the root: `a.rs` and `a/mod.rs` 1, `a/b.rs` 2.
fn depth(inside: &Path) -> usize {
    inside.iter().count() - usize::from(inside.ends_with("mod.rs"))
}

/// A source without its comments and without what lies between quotation marks on one line.
fn code(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    for line in source.lines() {
        let mut quoted = false;
        let mut chars = line.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' if quoted => drop(chars.next()),
                // A quotation mark as a character begins no string.
                '"' if !line[..at].ends_with('\'') => quoted = !quoted,
                '/' if !quoted && line[at..].starts_with("//") => break,
                c if !quoted => code.push(c),
                _ => {}
            }
        }
        code.push('\n');
    }
    code
}

/// The names that paths have right below the crate's root.
fn named_at_root(code: &str, depth: usize) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        // `$crate` of a macro is a path of this crate too.
        if !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            found.extend(heads(&code[at + "crate::".len()..]));
        }
    }
    for (at, _) in code.match_indices("super::") {
        if code[..at].ends_with("super::") {
            continue;
        }
        let mut rest = &code[at..];
        let mut steps = 0;
        while let Some(further) = rest.strip_prefix("super::") {
            (rest, steps) = (further, steps + 1);
        }
        // A module within the file needs one step more.
        if steps >= depth {
            found.extend(heads(rest));
        }
    }
    found
}

/// The first names of what follows a path's beginning: one, or those of a list in braces.
fn heads(rest: &str) -> Vec<String> {
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(list) = rest.strip_prefix('{') else { return vec![name(rest)] };
    let (mut level, mut first, mut found) = (0, true, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => level += 1,
            '}' if level == 0 => break,
            '}' => level -= 1,
            ',' if level == 0 => first = true,
            c if first && !c.is_whitespace() => {
                found.push(name(&list[at..]));
                first = false;
            }
            _ => {}
        }
    }
    found
}

/// What the root re-exports, and from which room.
fn exports(root: &str, rooms: &BTreeSet<String>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for statement in root.split(';') {
        let Some((_, path)) = statement.split_once("use ") else { continue };
        let path = path.trim().trim_start_matches("crate::").trim_start_matches("self::");
        let Some((room, rest)) = path.split_once("::") else { continue };
        if rooms.contains(room) {
            let rest = rest.rsplit_once("::").map_or(rest, |(_, last)| if rest.contains('{') { rest } else { last });
            found.extend(heads(rest).into_iter().map(|name| (name, room.to_owned())));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str, depth: usize) -> Vec<String> {
        named_at_root(&code(text), depth).into_iter().collect()
    }

    #[test]
    fn paths_from_the_root_are_found_and_comments_are_not() {
        assert_eq!(named("use crate::wire::value::text_of; // crate::comment", 1), ["wire"]);
        assert_eq!(named("//! [`crate::ddl`]\n    crate::executor::run(\"crate::text\")", 1), ["executor"]);
        assert_eq!(named("use crate::{a::{self, B}, c, d::E};", 1), ["a", "c", "d"]);
    }

    #[test]
    fn a_word_is_found_in_code_only() {
        let ours = crates(&workspace());
        let files = files_that_say(&ours["tidy"], "files_that_say");
        assert_eq!(files, ["src/lib.rs", "tests/arrows.rs"].map(str::to_owned).into());
        assert!(files_that_say(&ours["tidy"], "files_that").is_empty(), "a part of a word");
    }

    #[test]
    fn supers_count_when_they_reach_the_root() {
        assert_eq!(named("use super::meta::Meta;", 1), ["meta"]);
        assert!(named("use super::meta::Meta;", 2).is_empty());
        assert_eq!(named("use super::super::{plan, expr as build};", 2), ["expr", "plan"]);
    }

    #[test]
    fn names_that_the_root_exports_belong_to_their_room() {
        let rooms = ["model", "schema"].map(str::to_owned).into();
        let found = exports("pub mod model;\npub use model::{\n    A, B,\n};\npub use schema::Schema;", &rooms);
        let found: Vec<_> = found.iter().map(|(name, room)| format!("{room}::{name}")).collect();
        assert_eq!(found, ["model::A", "model::B", "schema::Schema"]);
    }

    #[test]
    fn dependencies_of_every_kind_are_read() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\na.workspace = true\nb-c = { path = \"\" }\n# d\n";
        let found = dependencies(&format!("{manifest}[dev-dependencies]\ne = \"1\"\n[features]\nf = []\n"));
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a", "b-c", "e"]);
    }
}
