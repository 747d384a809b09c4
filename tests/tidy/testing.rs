//! The page about testing against the tree: what it cites exists, and what a test says of its
//! origin stands on the page.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::sources::sources;

const PAGE: &str = "docs/internals/TESTING.md";
/// The headings of the two tables whose rows a test may have as its origin.
const CASES: &str = "Cases of other systems";
const PITFALLS: &str = "Pitfalls";
/// The heading of the table that cites the tests of `tests/hostile` without naming the binary.
const HOSTILE: &str = "Hostile conditions";
/// A suite whose numbers stand on a page of their own.
const SUITE: &str = "Promises/A+";

/// The tests of one binary, or of the library: by the paths that the harness gives them.
#[derive(Default)]
struct Tests {
    /// Each file, by the path of its module.
    modules: BTreeMap<String, String>,
    /// Each test, with the comments and attributes before it.
    tests: BTreeMap<String, Vec<String>>,
}

impl Tests {
    fn below(folder: &str) -> Self {
        let mut found = Tests::default();
        for source in sources(folder) {
            let inside = source.path.strip_prefix(folder).unwrap_or(&source.path).with_extension("");
            let parts = inside.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
            let parts: Vec<_> = parts.filter(|part| !["mod", "main", "lib"].contains(&&**part)).collect();
            let module = parts.join("::");
            found.read(&module, &source.text);
            found.modules.insert(module, source.text);
        }
        assert!(found.tests.len() > 20, "the tests below {folder} were found");
        found
    }

    fn read(&mut self, module: &str, text: &str) {
        let (mut inner, mut before): (Vec<(usize, String)>, Vec<String>) = Default::default();
        for line in text.lines() {
            let code = line.trim_start();
            let depth = line.len() - code.len();
            if code.starts_with('}') {
                inner.retain(|(outer, _)| *outer < depth);
            }
            if code.starts_with("//") || code.starts_with("#[") {
                before.push(code.to_owned());
                continue;
            }
            if let Some(name) = code.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(" {")) {
                inner.push((depth, name.to_owned()));
            }
            let function = code.strip_prefix("fn ").or_else(|| code.strip_prefix("async fn "));
            let name = function.and_then(|rest| rest.split_once('(')).map(|(name, _)| name);
            if let Some(name) = name.filter(|_| before.iter().any(|line| line.ends_with("test]"))) {
                let path = inner.iter().map(|(_, name)| &**name).chain([name]);
                let path = [module].into_iter().filter(|module| !module.is_empty()).chain(path);
                let path = path.collect::<Vec<_>>().join("::");
                assert!(!self.tests.contains_key(&path), "two tests are called {path}");
                self.tests.insert(path, before.clone());
            }
            before.clear();
        }
    }

    /// Whether a test, or a file of tests, has this path.
    fn has(&self, path: &str) -> bool {
        self.tests.contains_key(path) || self.modules.contains_key(path)
    }

    /// Whether the file of this path defines such a function, in whatever inner module, or by a
    /// macro that it calls.
    fn defines(&self, path: &str) -> bool {
        let ends = path.match_indices("::").map(|(at, _)| at).chain([path.len()]);
        let module = ends.filter_map(|end| self.modules.get_key_value(&path[..end])).last();
        let Some((module, text)) = module else { return false };
        let rest = path[module.len()..].split("::").filter(|part| !part.is_empty());
        let words: BTreeSet<_> = text.split(|char: char| !char.is_alphanumeric() && char != '_').collect();
        rest.into_iter().all(|part| words.contains(part))
    }
}

/// A row of a table of the page, and the heading it is under.
struct Row {
    heading: String,
    cells: Vec<String>,
}

impl Row {
    /// The spans of code in all cells.
    fn spans(&self) -> impl Iterator<Item = &str> {
        self.cells.iter().flat_map(|cell| cell.split('`').skip(1).step_by(2))
    }

    /// The tests of this kind that the row cites, as `` `kind: path` ``.
    fn cited<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a str> {
        self.spans().filter_map(move |span| span.strip_prefix(kind)?.strip_prefix(": "))
    }
}

fn rows() -> Vec<Row> {
    let (text, mut heading, mut rows) = (fs::read_to_string(PAGE).unwrap(), String::new(), Vec::new());
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            title.clone_into(&mut heading);
        } else if let Some(row) = line.strip_prefix("| ") {
            let cells = row.trim_end_matches('|').split(" | ").map(|cell| cell.trim().to_owned());
            rows.push(Row { heading: heading.clone(), cells: cells.collect() });
        }
    }
    rows
}

#[test]
fn tests_that_the_page_cites_exist() {
    let (behaviour, hostile) = (Tests::below("tests/behaviour"), Tests::below("tests/hostile"));
    let library = Tests::below("src");
    let (mut cited, mut faults) = (0, Vec::new());
    let mut check = |exists: bool, path: &str| {
        cited += 1;
        if !exists {
            faults.push(path.to_owned());
        }
    };
    for row in rows() {
        row.cited("behaviour").for_each(|path| check(behaviour.has(path), path));
        row.cited("unit").chain(row.cited("model")).for_each(|path| check(library.defines(path), path));
        if row.heading == "Models" {
            let models = row.spans().filter(|span| span.contains("::"));
            models.for_each(|path| check(library.defines(path), path));
        }
        if row.heading == HOSTILE && row.cells.len() == 3 {
            // A name alone is in the file of the one before it, or is a file.
            let mut file = "";
            for span in row.cells[2].split('`').skip(1).step_by(2) {
                if span.contains(": ") || span.contains('/') {
                    continue;
                }
                let is_path = span.contains("::");
                file = if is_path { span.rsplit_once("::").map_or("", |(file, _)| file) } else { file };
                let path = if is_path || file.is_empty() { span.into() } else { format!("{file}::{span}") };
                check(hostile.has(&path), &path);
            }
        }
    }
    assert!(cited > 250, "the page cites {cited} tests");
    assert!(faults.is_empty(), "{} cites what is not there: {faults:#?}", PAGE);
}

/// The parts of `// Origin: Kotlin 17; pitfall 8`, each a system and a number.
fn origins(before: &[String]) -> impl Iterator<Item = (&str, &str)> {
    let lines = before.iter().filter_map(|line| line.strip_prefix("// Origin: "));
    lines.flat_map(|line| line.split("; ")).map(|part| part.rsplit_once(' ').unwrap_or((part, "")))
}

#[test]
fn each_origin_of_a_test_has_its_row() {
    let (rows, mut given, mut faults) = (rows(), 0, Vec::new());
    for (path, before) in Tests::below("tests/behaviour").tests {
        for (system, number) in origins(&before) {
            given += 1;
            let holds = if system == SUITE {
                number.split('.').all(|part| part.parse::<u8>().is_ok())
            } else {
                rows.iter().any(|row| {
                    let is_row = match system {
                        "pitfall" => row.heading == PITFALLS,
                        _ => row.heading == CASES && row.cells[1].starts_with(&format!("{system}: ")),
                    };
                    is_row && row.cells[0] == number && row.cited("behaviour").any(|cited| cited == path)
                })
            };
            if !holds {
                faults.push(format!("{path}: {system} {number}"));
            }
        }
    }
    assert!(given > 80, "{given} origins were found");
    assert!(faults.is_empty(), "no row of {} has this number and this test: {faults:#?}", PAGE);
}

/// The other tests do not see an origin that stands elsewhere.
#[test]
fn origins_stand_above_the_attributes_of_a_test() {
    let tests = Tests::below("tests/behaviour");
    let is_origin = |line: &&str| line.contains("Origin") && line.trim_start().starts_with("//");
    let written: usize = tests.modules.values().map(|text| text.lines().filter(is_origin).count()).sum();
    let read = tests.tests.values().flatten().filter(|line| line.starts_with("// Origin: ")).count();
    assert_eq!(written, read, "`// Origin: ` stands between the documentation and `#[test]`");
}

#[test]
fn names_of_tests_carry_no_numbers_of_lists() {
    let mut tests = Tests::below("tests/behaviour").tests.into_keys();
    let fault = tests.find(|path| {
        let name = path.rsplit("::").next().unwrap_or_default();
        ["case_", "pitfall_", "attack_"].iter().any(|prefix| name.starts_with(prefix))
    });
    assert_eq!(fault, None, "the origin is a line above the test");
}

/// A test that starts its own binary again gives it the path of a test. One that is there no more
/// would run nothing, and pass.
#[test]
fn paths_that_tests_give_to_their_own_binary_exist() {
    let tests = Tests::below("tests/behaviour");
    let (mut found, mut faults) = (0, Vec::new());
    for text in tests.modules.values() {
        for literal in text.lines().flat_map(|line| line.split('"').skip(1).step_by(2)) {
            let is_name =
                |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || "_:{}".contains(char);
            let topic = literal.split("::").next().unwrap_or_default();
            if topic.is_empty()
                || !literal.contains("::")
                || !literal.chars().all(is_name)
                || !tests.modules.contains_key(topic)
            {
                continue;
            }
            found += 1;
            let path = literal.strip_suffix("::{name}").unwrap_or(literal);
            let path = path.strip_suffix("::by_time_alone").unwrap_or(path);
            if !tests.has(path) {
                faults.push(literal.to_owned());
            }
        }
    }
    assert!(found > 20, "{found} paths were found");
    assert!(faults.is_empty(), "there is no such test: {faults:#?}");
}

/// A pattern without a test would outlive what it skips. The script looks as well, at the names
/// that the binaries list; this finds it at each change.
#[test]
fn what_the_sanitizers_skip_exists() {
    let script = fs::read_to_string(".ci/sanitize").unwrap().replace("\\\n", " ");
    let paths: Vec<_> = ["src", "tests/behaviour"]
        .into_iter()
        .flat_map(|folder| Tests::below(folder).tests.into_keys())
        .collect();
    let (mut found, mut faults) = (0, Vec::new());
    for line in script.lines().filter_map(|line| line.trim_start().strip_prefix("skip '")) {
        let (_reason, patterns) = line.split_once('\'').unwrap();
        for pattern in patterns.split_whitespace() {
            found += 1;
            // A module that a macro makes of the tests beside it.
            let written = pattern.replace("::by_time_alone", "");
            if !paths.iter().any(|path| path.contains(&written)) {
                faults.push(pattern.to_owned());
            }
        }
    }
    assert!(found > 40, "{found} patterns were found");
    assert!(faults.is_empty(), "no test has such a name: {faults:#?}");
}
