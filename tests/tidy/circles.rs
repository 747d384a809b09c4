//! Circles of imports between the files of the library.
//!
//! An arrow leads from a file to each file that defines a name it uses; re-exports are followed to
//! the definition. A file that only re-exports defines nothing, so no arrow leads to it.

use std::collections::{BTreeMap, BTreeSet};

use crate::sources::{Source, library};

/// The most files that may import each other in a circle.
const LARGEST: usize = 3;

/// Files that stand in front of a module and are left out of its circles, each with the reason.
const FACADES: &[(&str, &str)] = &[
    ("pool/handle.rs", "the public handle has a method for each thing that a pool makes, and those hold one"),
    ("pool/lane.rs", "the same for a lane"),
    ("pool/keyed_lane.rs", "the same for a keyed lane and its keys"),
];

/// Larger circles that stay, each by one of its files, with its size and the reason.
const ALLOWED: &[(&str, usize, &str)] = &[];

type Path = Vec<String>;

/// What the `use` items and paths of one file say.
#[derive(Default)]
struct File {
    /// Names that the file re-exports, and what they stand for.
    exports: BTreeMap<String, Path>,
    /// What the file uses.
    uses: BTreeSet<Path>,
}

struct Tree {
    /// The file of each module.
    modules: BTreeMap<Path, String>,
    files: BTreeMap<Path, File>,
}

fn module_of(name: &str) -> Path {
    let stem = name.strip_suffix(".rs").unwrap_or(name);
    let mut path: Path = stem.split('/').map(str::to_owned).collect();
    if path.last().is_some_and(|last| last == "mod" || last == "lib") {
        path.pop();
    }
    path
}

impl Tree {
    fn of(sources: &[Source]) -> Self {
        let named = sources.iter().map(|source| (module_of(&source.name()), source));
        let modules = named.clone().map(|(module, source)| (module, source.name())).collect();
        let files = named.map(|(module, source)| {
            let file = File::read(source, &module);
            (module, file)
        });
        Tree { files: files.collect(), modules }
    }

    /// The module whose file defines what `path` names, if that is one of these files.
    fn resolve(&self, path: &[String], depth: usize) -> Option<&Path> {
        assert!(depth < 20, "re-exports that lead to each other: {path:?}");
        let length = (0..=path.len()).rev().find(|length| self.modules.contains_key(&path[..*length]))?;
        let (module, file) = self.files.get_key_value(&path[..length])?;
        let Some(name) = path.get(length) else { return Some(module) };
        match file.exports.get(name) {
            Some(target) => {
                let target: Path = target.iter().chain(&path[length + 1..]).cloned().collect();
                self.resolve(&target, depth + 1)
            }
            None => Some(module),
        }
    }

    fn arrows(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut arrows = BTreeMap::new();
        for (module, file) in &self.files {
            let used = file.uses.iter().filter_map(|path| self.resolve(path, 0));
            let used = used.filter(|used| *used != module && !used.is_empty());
            arrows.insert(&*self.modules[module], used.map(|used| &*self.modules[used]).collect());
        }
        arrows.retain(|file, _| !FACADES.iter().any(|(facade, _)| facade == file));
        arrows
    }
}

impl File {
    fn read(source: &Source, module: &[String]) -> Self {
        let code = source.code().collect::<Vec<_>>().join("\n");
        let mut file = File::default();
        let mut local = BTreeMap::new();
        let mut rest = String::new();
        for item in split_items(&code) {
            let Some((export, tree)) = as_use(item) else {
                rest.push_str(item);
                continue;
            };
            for (path, name) in leaves(tree) {
                let Some(path) = absolute(&path, module) else { continue };
                if export {
                    file.exports.insert(name, path);
                } else {
                    local.insert(name, path.clone());
                    file.uses.insert(path);
                }
            }
        }
        for path in paths(&rest) {
            let path: Path = path.split("::").map(str::to_owned).collect();
            match local.get(&path[0]) {
                Some(start) => {
                    file.uses.insert(start.iter().chain(&path[1..]).cloned().collect());
                }
                None => file.uses.extend(absolute(&path, module)),
            }
        }
        file
    }
}

/// The code in pieces, so that each `use` item is a piece.
fn split_items(code: &str) -> impl Iterator<Item = &str> {
    code.split_inclusive(';').flat_map(|piece| {
        let start = piece.lines().scan(0, |at, line| {
            let start = *at;
            *at += line.len() + 1;
            Some((start, line))
        });
        let start = start.filter(|(_, line)| as_use(line).is_some()).map(|(start, _)| start).next();
        let (before, item) = piece.split_at(start.unwrap_or(piece.len()));
        [before, item]
    })
}

/// The tree of a `use` item, and whether it is a re-export.
fn as_use(item: &str) -> Option<(bool, &str)> {
    let item = item.trim_start();
    let scoped = |item| Some(str::strip_prefix(item, "pub(")?.split_once(") ")?.1);
    let bare = item.strip_prefix("pub ").or_else(|| scoped(item));
    let tree = bare.unwrap_or(item).strip_prefix("use ")?;
    Some((bare.is_some(), tree.trim_end_matches(';')))
}

/// The paths of a `use` tree, each with the name that it gets.
fn leaves(tree: &str) -> Vec<(Path, String)> {
    let tree = tree.trim();
    if let Some((start, branches)) = tree.split_once('{') {
        let start: Path = start.split("::").filter(|part| !part.trim().is_empty()).map(trimmed).collect();
        let branches = branches.trim_end().strip_suffix('}').expect("a closed tree");
        let below = split_branches(branches).into_iter().flat_map(leaves);
        return below
            .map(|(path, name)| {
                let name = if name == "self" { start.last().cloned().unwrap_or_default() } else { name };
                let path = start.iter().chain(path.iter().filter(|part| *part != "self"));
                (path.cloned().collect(), name)
            })
            .collect();
    }
    let (path, name) = tree.split_once(" as ").map_or((tree, None), |(path, name)| (path, Some(name)));
    let path: Path = path.split("::").map(trimmed).collect();
    let name = name.map_or_else(|| path.last().cloned().unwrap_or_default(), trimmed);
    vec![(path, name)]
}

fn trimmed(part: &str) -> String {
    part.trim().to_owned()
}

/// The parts between the commas that are in no inner braces.
fn split_branches(branches: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, char) in branches.char_indices() {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&branches[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&branches[start..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// The path from the root of the crate, if it leads into the crate.
fn absolute(path: &[String], module: &[String]) -> Option<Path> {
    let mut base = module.to_vec();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => base.clear(),
        "self" => {}
        "super" => {
            base.pop();
        }
        _ => return None,
    }
    rest = &rest[1..];
    while rest.first().is_some_and(|part| part == "super") {
        base.pop();
        rest = &rest[1..];
    }
    base.extend_from_slice(rest);
    Some(base)
}

/// The paths in code that is no `use` item.
fn paths(code: &str) -> impl Iterator<Item = &str> {
    let is_path = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == ':';
    code.split(move |char| !is_path(char)).filter_map(|word| {
        let word = word.trim_matches(':');
        word.contains("::").then_some(word)
    })
}

/// The sets of files that import each other in a circle, the largest first.
fn circles(arrows: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<Vec<String>> {
    let reach = |from: &str| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(file) = next.pop() {
            for to in arrows.get(&*file).into_iter().flatten() {
                if arrows.contains_key(to) && seen.insert((*to).to_owned()) {
                    next.push((*to).to_owned());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<String>> = arrows.keys().map(|file| (*file, reach(file))).collect();
    let mut found = BTreeSet::new();
    for (file, reach) in &reached {
        if reach.contains(*file) {
            let circle = reach.iter().filter(|other| reached[&***other].contains(*file)).cloned();
            found.insert(circle.collect::<Vec<_>>());
        }
    }
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
    found
}

#[test]
fn circles_of_imports_are_small() {
    let sources = library();
    let tree = Tree::of(&sources);
    let arrows = tree.arrows();
    assert!(arrows.values().map(BTreeSet::len).sum::<usize>() > 300, "the arrows were found");
    let found = circles(&arrows);
    for circle in &found {
        println!("{} files: {}", circle.len(), circle.join(", "));
    }
    for circle in &found {
        let allowed = ALLOWED.iter().find(|(file, ..)| circle.iter().any(|member| member == file));
        let most = allowed.map_or(LARGEST, |(_, size, _)| *size);
        assert!(circle.len() <= most, "{} files import each other: {circle:#?}", circle.len());
    }
    for &(file, size, reason) in ALLOWED {
        let circle = found.iter().find(|circle| circle.iter().any(|member| member == file));
        assert!(circle.is_some_and(|circle| circle.len() == size), "{file} ({reason}): no circle of {size}");
    }
}

#[test]
fn facades_exist() {
    let files: Vec<_> = library().iter().map(Source::name).collect();
    for (facade, reason) in FACADES {
        assert!(files.iter().any(|file| file == facade), "no file {facade} ({reason})");
    }
}

#[test]
fn circles_are_found() {
    let file = |name: &str, text: &str| Source { path: format!("src/{name}").into(), text: text.into() };
    let sources = [
        file("lib.rs", "mod a;\nmod b;\npub use crate::a::One;\n"),
        file(
            "a/mod.rs",
            "mod inner;\nmod other;\npub(crate) use self::{inner::One, other::Two as Second};\n",
        ),
        file("a/inner.rs", "use crate::b::{self, Three};\nfn f() { b::g(); }\n"),
        file("a/other.rs", "fn f() { super::inner::h(); }\n"),
        file("b.rs", "use crate::a::{\n    Second,\n};\npub(crate) struct Three;\n"),
    ];
    let tree = Tree::of(&sources);
    assert_eq!(circles(&tree.arrows()), [["a/inner.rs", "a/other.rs", "b.rs"]]);
}
