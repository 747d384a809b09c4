//! The links of the pages: those between files, those of the front page, which the registry shows
//! as well, and those of the pages that are also in the documentation.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Where the documentation of the newest version lies, and the files of its package.
const DOCUMENTATION: &str = "https://docs.rs/sidestep/latest/sidestep/";
const PACKAGE: &str = "https://docs.rs/crate/sidestep/latest/source/";
/// The front page, and what else the registry shows or keeps for itself: there is no repository
/// beside them.
const ALONE: [&str; 4] =
    ["README.md", "CHANGELOG.md", "src/facades/blocking/README.md", "src/facades/tokio/README.md"];
/// The pages of `sidestep::docs`.
const IN_THE_DOCUMENTATION: [&str; 5] = ["GLOSSARY", "GUIDE", "MIGRATING", "MODELS", "PROMISES"];

/// A page, without its blocks of code.
struct Page {
    path: PathBuf,
    lines: Vec<String>,
}

impl Page {
    fn read(path: &Path) -> Self {
        let mut is_code = false;
        let text = fs::read_to_string(path).unwrap();
        let mut lines = Vec::new();
        for line in text.lines() {
            let is_fence = line.trim_start().starts_with("```");
            is_code ^= is_fence;
            lines.push(if is_code || is_fence { String::new() } else { line.to_owned() });
        }
        Page { path: path.to_owned(), lines }
    }

    /// What its references stand for.
    fn definitions(&self) -> BTreeMap<String, String> {
        let definitions = self.lines.iter().filter_map(|line| {
            let (name, target) = line.strip_prefix('[')?.split_once("]: ")?;
            (name != "//").then(|| (name.to_owned(), target.to_owned()))
        });
        definitions.collect()
    }

    /// The prose: without what is between backticks, but for such a name in brackets.
    fn prose(&self) -> impl Iterator<Item = String> {
        let prose = self.lines.iter().filter(|line| !(line.starts_with('[') && line.contains("]: ")));
        prose.map(|line| {
            let mut out = String::new();
            for (number, part) in line.split('`').enumerate() {
                let is_name = out.ends_with('[');
                out.push_str(match number % 2 {
                    0 => part,
                    _ if is_name => "`",
                    _ => "",
                });
                if number % 2 == 1 && is_name {
                    out.push_str(part);
                    out.push('`');
                }
            }
            out
        })
    }

    /// The targets that stand in the text itself.
    fn inline(&self) -> Vec<String> {
        let mut found = Vec::new();
        for line in self.prose() {
            for rest in line.split("](").skip(1) {
                found.push(rest.split([')', ' ']).next().unwrap_or_default().to_owned());
            }
        }
        found
    }

    /// The names in brackets that have a definition, or look as if they should.
    fn references(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let defined = self.definitions();
        for line in self.prose() {
            let mut rest = line.as_str();
            while let Some((_, after)) = rest.split_once('[') {
                let Some((name, behind)) = after.split_once(']') else { break };
                if let Some((label, end)) = behind.strip_prefix('[').and_then(|behind| behind.split_once(']'))
                {
                    found.insert(label.to_owned());
                    rest = end;
                    continue;
                }
                let is_name = name.starts_with('`') && name.ends_with('`') && name.len() > 2;
                if !behind.starts_with('(') && (is_name || defined.contains_key(name)) {
                    found.insert(name.to_owned());
                }
                rest = behind;
            }
        }
        found
    }

    /// The names of its headings, as a link has them.
    fn headings(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for line in self.lines.iter().filter(|line| line.starts_with('#')) {
            let name = line.trim_start_matches('#').trim().to_lowercase();
            let name: String = name
                .chars()
                .filter(|char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_'))
                .map(|char| if char == ' ' { '-' } else { char })
                .collect();
            found.insert(name);
        }
        found
    }
}

/// All pages of the repository.
fn pages() -> Vec<Page> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::from(".")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", ".git"].contains(&&*name) {
                    folders.push(path);
                }
            } else if name.ends_with(".md") {
                found.push(Page::read(path.strip_prefix(".").unwrap()));
            }
        }
    }
    found
}

/// The path without its `..`.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => _ = out.pop(),
            Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

/// What is wrong with a target that is no address of its own.
fn fault(page: &Page, target: &str) -> Option<String> {
    let (path, heading) = target.split_once('#').map_or((target, None), |(path, name)| (path, Some(name)));
    let path = match path {
        "" => page.path.clone(),
        path => plain(&page.path.parent().unwrap_or(Path::new("")).join(path)),
    };
    if !path.exists() {
        return Some(format!("{}: there is no {}", page.path.display(), path.display()));
    }
    let heading = heading?;
    (!Page::read(&path).headings().contains(heading))
        .then(|| format!("{}: {} has no heading `{heading}`", page.path.display(), path.display()))
}

#[test]
fn links_between_files_lead_somewhere() {
    let (mut count, mut faults) = (0, Vec::new());
    for page in pages().iter().filter(|page| !page.path.ends_with("src/links.md")) {
        let defined = page.definitions();
        for reference in page.references() {
            if !defined.contains_key(&reference) {
                faults.push(format!("{}: [{reference}] leads nowhere", page.path.display()));
            }
        }
        for target in page.inline().into_iter().chain(defined.into_values()) {
            if !target.contains("://") {
                count += 1;
                faults.extend(fault(page, &target));
            }
        }
    }
    assert!(count > 50, "the links were found");
    assert!(faults.is_empty(), "{faults:#?}");
}

/// What `include` in `Cargo.toml` takes into the package.
fn is_packaged(path: &str) -> bool {
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    let list = manifest.split("include = [").nth(1).and_then(|rest| rest.split(']').next()).unwrap();
    let mut is_in = false;
    for pattern in list.split('"').skip(1).step_by(2) {
        let (takes, pattern) = pattern.strip_prefix('!').map_or((true, pattern), |pattern| (false, pattern));
        let pattern = pattern.trim_start_matches('/');
        let matches = match pattern.split_once('*') {
            Some((start, end)) => {
                path.starts_with(start) && path.ends_with(end.rsplit('*').next().unwrap_or(""))
            }
            None => path == pattern,
        };
        if matches {
            is_in = takes;
        }
    }
    is_in && Path::new(path).exists()
}

/// Whether the documentation has such a page: one of the folder `docs`.
fn is_documented(page: &str) -> bool {
    let page = page.split('#').next().unwrap_or_default();
    let name = page.strip_prefix("docs/").and_then(|page| page.strip_suffix("/index.html"));
    page.is_empty() || name.is_some_and(|name| IN_THE_DOCUMENTATION.contains(&&*name.to_uppercase()))
}

#[test]
fn the_front_page_needs_no_repository() {
    for path in ALONE {
        let page = Page::read(Path::new(path));
        let targets: Vec<_> = page.inline().into_iter().chain(page.definitions().into_values()).collect();
        for target in &targets {
            let is_whole = match (target.strip_prefix(PACKAGE), target.strip_prefix(DOCUMENTATION)) {
                (Some(file), _) => is_packaged(file),
                (_, Some(page)) => is_documented(page),
                _ => target.starts_with("https://") || target.starts_with('#'),
            };
            assert!(is_whole, "{path}: {target} is not there for a reader of the registry");
        }
        assert!(!targets.is_empty(), "{path}: the links were found");
    }
}

/// The address in the documentation of an item, by its path.
fn addresses(item: &str) -> Vec<String> {
    let parts: Vec<_> = item.trim_start_matches("crate::").trim_end_matches("()").split("::").collect();
    let (name, modules) = parts.split_last().unwrap();
    let at = |modules: &[&str], file: String| {
        let folder: String = modules.iter().map(|module| format!("{module}/")).collect();
        format!("{DOCUMENTATION}{folder}{file}")
    };
    let mut found = vec![at(&parts, "index.html".into())];
    for kind in ["fn", "struct", "enum", "trait", "type"] {
        found.push(at(modules, format!("{kind}.{name}.html")));
    }
    if let Some((owner, modules)) = modules.split_last() {
        for (kind, member) in [
            ("struct", "method"),
            ("struct", "structfield"),
            ("enum", "variant"),
            ("enum", "method"),
            ("trait", "tymethod"),
            ("trait", "method"),
        ] {
            found.push(at(modules, format!("{kind}.{owner}.html#{member}.{name}")));
        }
    }
    found
}

/// In the documentation the links of `src/links.md` count, which rustdoc checks; elsewhere those at
/// the end of the page.
#[test]
fn pages_of_the_documentation_have_each_link_twice() {
    let links = Page::read(Path::new("src/links.md")).definitions();
    let mut faults = Vec::new();
    let mut used = BTreeSet::new();
    for page in
        IN_THE_DOCUMENTATION.map(|name| Page::read(&Path::new("docs").join(name).with_extension("md")))
    {
        let path = page.path.display();
        for target in page.inline() {
            if !target.starts_with("https://") && !target.starts_with('#') {
                faults.push(format!(
                    "{path}: ({target}) stands in the text, and is not there in the documentation"
                ));
            }
        }
        for (name, here) in page.definitions() {
            match links.get(&name) {
                Some(item) if item.starts_with("crate::docs") => {}
                Some(item) if item.starts_with("crate::") => {
                    if !addresses(item).contains(&here) {
                        faults.push(format!("{path}: [{name}] is {here} here, and {item} in src/links.md"));
                    }
                }
                Some(there) => {
                    if let Some(file) = there.strip_prefix(PACKAGE).filter(|file| !is_packaged(file)) {
                        faults.push(format!("src/links.md: {file} is not in the package"));
                    }
                }
                None if here.starts_with("https://") => {}
                None => faults.push(format!("{path}: src/links.md has no [{name}]")),
            }
            used.insert(name);
        }
    }
    faults.extend(
        links.keys().filter(|name| !used.contains(*name)).map(|name| format!("no page uses [{name}]")),
    );
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn the_figures_of_the_front_page_are_those_of_the_page_about_performance() {
    let figures = fs::read_to_string("docs/PERFORMANCE.md").unwrap();
    let page = fs::read_to_string("README.md").unwrap();
    let table = page.split("## How fast").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(!rows.is_empty());
    for row in rows {
        assert!(figures.lines().any(|line| line == row), "docs/PERFORMANCE.md has no such row: {row}");
    }
}

#[test]
fn the_changelog_has_an_entry_for_this_version() {
    let heading = format!("## [{}]", env!("CARGO_PKG_VERSION"));
    let changelog = fs::read_to_string("CHANGELOG.md").unwrap();
    assert!(changelog.lines().any(|line| line.starts_with(&heading)), "{heading}");
    let front = fs::read_to_string("README.md").unwrap();
    let version = format!("Rust {} or newer", env!("CARGO_PKG_RUST_VERSION"));
    assert!(front.contains(&version), "README.md: {version}");
}
