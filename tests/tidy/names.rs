//! The names of types: each stands for one thing.

use std::collections::{BTreeMap, BTreeSet};

use crate::sources::library;

/// Names that several files may define, each with the reason.
const SHARED_NAMES: &[(&str, &str)] = &[
    ("Closed", "two public names: the errors of a closed stream and of a closed event loop"),
    ("Host", "a pool's thread, as the code on it sees it; and a name to look up"),
    ("Inner", "the state behind a handle: of a pool, and of the stand-in for the oneshot"),
    ("Reset", "inside a function: sets a variable of the thread back"),
    (
        "State",
        "what a leaf module keeps from call to call: the growth policy, a batch, a scope, an address look-up",
    ),
    (
        "ThreadKey",
        "what each operating system knows of a thread, in a file for each; one of them is compiled",
    ),
    ("Worker", "a thread of a pool; and the stand-in for the deque of that name"),
];

/// The type that a line begins to define.
fn definition(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub") || *word == "unsafe");
    let kind = words.next()?;
    let is_alias = kind == "type" && !line.starts_with(' ');
    if !is_alias && !["struct", "enum", "union", "trait"].contains(&kind) {
        return None;
    }
    words.next()?.split(|char: char| !char.is_alphanumeric() && char != '_').next()
}

#[test]
fn each_type_has_a_name_of_its_own() {
    let mut defined: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in library() {
        for name in source.code().filter_map(definition) {
            defined.entry(name.to_owned()).or_default().insert(source.name());
        }
    }
    assert!(defined.len() > 200, "the definitions were found");
    let shared = defined.iter().filter(|(_, files)| files.len() > 1);
    let shared: BTreeMap<_, _> = shared.collect();
    println!("{} names are defined more than once", shared.len());
    let is_allowed = |name: &str| SHARED_NAMES.iter().any(|(allowed, _)| *allowed == name);
    let faults: BTreeMap<_, _> = shared.iter().filter(|(name, _)| !is_allowed(name)).collect();
    assert!(faults.is_empty(), "several files define a type of this name: {faults:#?}");
    for (name, reason) in SHARED_NAMES {
        assert!(shared.keys().any(|shared| *shared == name), "only one file defines {name} ({reason})");
    }
}
