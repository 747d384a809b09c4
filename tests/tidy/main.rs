//! The rules of the source tree that no lint knows: the order of the modules, the first line of
//! each file, the one door to the primitives, and the numbers of the rules.
#![expect(clippy::unwrap_used, reason = "a tree that cannot be read fails the test")]

mod circles;
mod edges;
mod links;
mod names;
mod sources;
mod testing;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use self::sources::{Source, library, sources};

/// The modules in their order: each uses only what stands before it. `current` is the public face
/// of `task::current`.
const ORDER: [&str; 24] = [
    "numbers",
    "sys",
    "sync",
    "trace",
    "panic",
    "latency",
    "error",
    "task",
    "queue",
    "semaphore",
    "counts",
    "lane",
    "idle",
    "worker",
    "pool",
    "io",
    "fs",
    "net",
    "process",
    "strand",
    "resource_pool",
    "service",
    "event_loop",
    "promise",
];
/// What the page of a public module re-exports from above it, with the reason.
const RE_EXPORTS: &[(&str, &str, &str)] = &[(
    "src/task/mod.rs",
    "pub use crate::pool::{JoinSet, spawn_blocking};",
    "tokio has these names beside those of the handles, and they stand on the pool",
)];
/// The most lines of code in a file; comments, documentation and the tests beside it do not count.
const MOST_LINES: usize = 400;
/// The most columns of a line of comment.
const WIDEST_COMMENT: usize = 100;

#[test]
fn modules_use_only_what_stands_before_them() {
    for source in library() {
        let Some(place) = ORDER.iter().position(|module| *module == source.module()) else {
            assert_eq!(source.path, Path::new("src/lib.rs"), "a module without a place in the order");
            continue;
        };
        let is_re_export = |line: &str| {
            RE_EXPORTS.iter().any(|(path, export, _)| source.path == Path::new(path) && line == *export)
        };
        for line in source.code().filter(|line| !is_re_export(line)) {
            for used in line.split("crate::").skip(1) {
                let name: String =
                    used.chars().take_while(|char| char.is_ascii_alphanumeric() || *char == '_').collect();
                let used = ORDER.iter().position(|module| *module == name);
                assert!(
                    used.is_some_and(|used| used <= place),
                    "{}: `{}` may not use `crate::{name}`: {line}",
                    source.path.display(),
                    source.module(),
                );
            }
        }
    }
}

#[test]
fn every_file_says_first_what_it_owns() {
    for folder in ["src", "tests", "benches", "examples"] {
        for Source { path, text } in sources(folder) {
            assert!(text.starts_with("//! "), "{}", path.display());
        }
    }
}

#[test]
fn every_file_can_be_read_in_one_sitting() {
    for folder in ["src", "tests", "examples"] {
        for source in sources(folder) {
            let lines = source.code().count();
            assert!(lines <= MOST_LINES, "{} has {lines} lines of code", source.path.display());
        }
    }
}

#[test]
fn tests_have_files_of_their_own() {
    for source in library() {
        let inline = source.code().find(|line| line.ends_with("tests {") || line.ends_with("_models {"));
        assert_eq!(inline, None, "{}", source.path.display());
    }
}

/// Rows of tables, and what stands as it is in a block, cannot be broken.
#[test]
fn comments_are_no_wider_than_a_page() {
    let mut faults = Vec::new();
    for folder in ["src", "tests", "examples", "benches"] {
        for Source { path, text } in sources(folder) {
            let mut is_block = false;
            for (number, line) in text.lines().enumerate() {
                let Some(comment) = line.trim_start().strip_prefix("//") else { continue };
                let comment = comment.trim_start_matches(['/', '!']).trim_start();
                is_block ^= comment.starts_with("```");
                let is_long = line.chars().count() > WIDEST_COMMENT;
                if is_long && !is_block && !comment.starts_with('|') {
                    faults.push(format!("{}:{}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(faults.is_empty(), "comments of more than {WIDEST_COMMENT} columns: {faults:#?}");
}

#[test]
fn sync_is_the_only_door_to_the_primitives() {
    let doors = [
        "std::sync::Mutex",
        "std::sync::Condvar",
        "std::sync::atomic",
        "std::thread::park",
        "std::thread::Builder",
        "Instant::now",
        "loom::",
    ];
    for source in sources("src") {
        if ["sys", "sync"].contains(&&*source.module()) || source.is_test() {
            continue;
        }
        for line in source.code() {
            for door in doors {
                assert!(!line.contains(door), "{}: {line}", source.path.display());
            }
        }
    }
}

#[test]
fn the_deque_has_one_importer() {
    for source in sources("src") {
        let imports = source.code().any(|line| line.contains("crossbeam_deque::"));
        let may = source.module() == "queue" || source.is_test();
        assert!(!imports || may, "{}", source.path.display());
    }
}

#[test]
fn rules_that_are_cited_exist_and_rules_that_exist_are_cited() {
    let mut defined = BTreeMap::new();
    let mut cited = BTreeMap::new();
    for source in sources("src") {
        for line in source.text.lines().filter_map(|line| line.split_once("//").map(|(_, comment)| comment)) {
            let definition = line.trim_start_matches(['/', '!', ' ']).strip_prefix("- **");
            let definition = definition.and_then(|rest| rest.split_once("**")).map(|(rule, _)| rule);
            let definition = definition.filter(|rule| is_rule(rule));
            if let Some(rule) = definition {
                defined.insert(rule.to_owned(), source.path.clone());
            }
            for word in line.split(|char: char| !char.is_ascii_alphanumeric()) {
                if is_rule(word) && definition != Some(word) {
                    cited.insert(word.to_owned(), source.path.clone());
                }
            }
        }
    }
    assert!(defined.len() > 10, "the rules were found: {defined:?}");
    for (rule, path) in &cited {
        assert!(defined.contains_key(rule), "{} cites {rule}, which no list defines", path.display());
    }
    for (rule, path) in defined {
        assert!(cited.contains_key(&rule), "{} defines {rule}, which nothing cites", path.display());
    }
}

/// A letter of a list of rules and a digit, such as `T1`.
fn is_rule(word: &str) -> bool {
    let mut chars = word.chars();
    let letter = chars.next().is_some_and(|letter| "TQPELSNVWJ".contains(letter));
    letter && (1..=2).contains(&chars.as_str().len()) && chars.all(|digit| digit.is_ascii_digit())
}

/// The files whose unsafe code keeps a contract of the operating system or of the model checker,
/// and no rule of the crate.
const CONTRACTS: &[&str] = &[
    "src/fs/file/raw.rs",
    "src/sync/cell.rs",
    "src/sys/attributes.rs",
    "src/sys/descriptor/linux.rs",
    "src/sys/epoll.rs",
    "src/sys/exit.rs",
    "src/sys/file_head.rs",
    "src/sys/file_id.rs",
    "src/sys/file_lock.rs",
    "src/sys/pipe.rs",
    "src/sys/child_end.rs",
    "src/sys/fork.rs",
    "src/sys/pread.rs",
    "src/sys/process_slot.rs",
    "src/sys/signals.rs",
    "src/sys/stack.rs",
    "src/sys/thread_stat/apple.rs",
    "src/sys/thread_stat/freebsd.rs",
    "src/sys/thread_stat/clock.rs",
    "src/sys/thread_stat/linux.rs",
    "src/sys/thread_stat/windows.rs",
];

#[test]
fn unsafe_code_cites_its_rule() {
    let mut faults = Vec::new();
    for Source { path, text } in library() {
        let keeps_a_contract = CONTRACTS.iter().any(|file| path == Path::new(file));
        let mut reason = String::new();
        for line in text.lines().take_while(|line| !is_start_of_tests(line)).map(str::trim) {
            if let Some(comment) = line.strip_prefix("// ") {
                reason = if comment.starts_with("SAFETY:") {
                    comment.into()
                } else {
                    format!("{reason} {comment}")
                };
            } else if line.contains("unsafe {") || line.starts_with("unsafe impl") {
                let mut words = reason.split(|char: char| !char.is_alphanumeric());
                if !reason.starts_with("SAFETY:") || !keeps_a_contract && !words.any(is_rule) {
                    faults.push(format!("{}: {line}", path.display()));
                }
                reason.clear();
            } else if line.ends_with([';', '{', '}']) {
                reason.clear();
            }
        }
    }
    assert!(faults.is_empty(), "no comment before this cites a rule: {faults:#?}");
}

/// The functions that the page of the memory model names for a side of an edge, each with its file.
fn sides() -> BTreeSet<(String, String)> {
    let page = fs::read_to_string("docs/internals/MEMORY_MODEL.md").unwrap();
    let mut named = BTreeSet::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let mut file = "";
        for word in row.split('|').skip(2).take(2).flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
            if word.ends_with(".rs") {
                file = word;
            } else {
                named.insert((file.to_owned(), word.to_owned()));
            }
        }
    }
    named
}

#[test]
fn the_page_of_the_memory_model_and_the_code_name_the_same_edges() {
    let strong = ["Ordering::Acquire", "Ordering::Release", "Ordering::AcqRel", "Ordering::SeqCst"];
    let (named, mut functions, mut faults) = (sides(), BTreeSet::new(), Vec::new());
    for Source { path, text } in library() {
        let file = path.strip_prefix("src").unwrap().display().to_string();
        let everywhere = text.lines().any(|line| line.starts_with("//! ORDERING:"));
        let (mut side, mut explained) = ((file.clone(), String::new()), false);
        for line in text.lines().take_while(|line| !is_start_of_tests(line)) {
            let (code, comment) = line.split_once("//").unwrap_or((line, ""));
            if let Some((_, rest)) = code.split_once("fn ") {
                side.1 = rest.chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect();
                functions.insert(side.clone());
                explained = false;
            }
            explained |= comment.contains("ORDERING:");
            if strong.iter().any(|strong| code.contains(strong)) {
                if !everywhere && !explained {
                    faults.push(format!("{side:?} does not say what this pairs with: {code}"));
                }
                if !named.contains(&side) {
                    faults.push(format!("{side:?} is no side of an edge in docs/internals/MEMORY_MODEL.md"));
                }
            }
        }
    }
    faults.extend(named.difference(&functions).map(|side| format!("there is no {side:?}")));
    assert!(faults.is_empty(), "{faults:#?}");
}

fn is_start_of_tests(line: &str) -> bool {
    line.starts_with("mod tests {") || line.starts_with("mod loom_models {")
}
