//! Older versions of the library, each built into a program like this one, so that a change can be
//! seen beside what was there before it.
//!
//! A version is taken out of git into a folder of its own, and the instrument as it is now is built
//! against it there. What an older library lacks, the instrument leaves out: each thing that it may
//! lack is a feature of this package. The programs are kept beside this one and used again while
//! neither the version nor the instrument changes; the folder goes.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::disks::Brand;
use crate::driver::Flavor;
use crate::entrants::{Entrant, Part};
use crate::peers::Family;
use crate::scenarios::{Case, Load};

/// What an older library may lack, by the names of the features, in words for a reader.
const PARTS: [(&str, &str); 5] = [
    ("waits", "`Unblocked::wait`: calls from a plain thread"),
    ("states", "`Builder::thread_states`: pools that go by time alone"),
    ("lanes", "`Pool::lane`: calls of which only a few may run"),
    ("disks", "the files of today: calls of files"),
    ("strands", "`Strand::on`: calls of a value"),
];

/// An older version.
#[derive(Debug)]
pub(crate) struct Baseline {
    /// The short form of its commit.
    pub(crate) name: String,
    /// What the commit says of itself.
    title: String,
    program: PathBuf,
    /// The parts that it lacks.
    lacks: Vec<&'static str>,
}

/// What is built where.
struct Workshop {
    /// The repository of the library.
    repository: PathBuf,
    /// This package.
    package: PathBuf,
    /// Where programs and what they are made of are kept.
    store: PathBuf,
}

impl Baseline {
    /// Builds what `revision` means to git, unless that has been done.
    pub(crate) fn build(revision: &str) -> Result<Self> {
        let workshop = Workshop::here()?;
        let commit = format!("{revision}^{{commit}}");
        let name = workshop
            .git(&["rev-parse", "--short", "--verify", "--end-of-options", &commit])
            .with_context(|| format!("{revision:?} is no commit"))?;
        let title = workshop.git(&["show", "--no-patch", "--format=%s", &name])?;
        let (program, lacks) = workshop.program(&name)?;
        Ok(Self { name, title, program, lacks })
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// What a reader should know of it.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let lacks = |part: &&str| {
            let words = PARTS.iter().find(|(name, _)| name == part).map_or(*part, |(_, words)| words);
            format!("{} lacks {words} are left out", self.name)
        };
        let first = format!("@{} is the library at that commit: {}", self.name, self.title);
        [first].into_iter().chain(self.lacks.iter().map(lacks)).collect()
    }

    /// Whether it can stand beside `entrant` in a case.
    pub(crate) fn takes_part(&self, case: &Case, entrant: &Entrant) -> bool {
        is_ours(entrant) && !needs(case.load, entrant).is_some_and(|part| self.lacks.contains(&part))
    }
}

/// The rows that there are of older versions too: ours with its own settings.
fn is_ours(entrant: &Entrant) -> bool {
    let ours = matches!(
        entrant.part,
        Part::Peer(Family::Sidestep | Family::SidestepTime | Family::Strand) | Part::Disk(Brand::Sidestep)
    );
    ours && !entrant.capped
}

/// The part of the library that a run needs, where an older one may lack it.
fn needs(load: Load, entrant: &Entrant) -> Option<&'static str> {
    match (entrant.part, load) {
        (Part::Disk(_), _) => Some("disks"),
        (Part::Peer(Family::Strand), _) => Some("strands"),
        (Part::Peer(Family::SidestepTime), _) => Some("states"),
        (_, Load::Limited { .. } | Load::LimitedClients | Load::LimitedBytes) => Some("lanes"),
        (_, Load::BehindLane { .. } | Load::HashServer) => Some("lanes"),
        _ => (entrant.flavor == Flavor::Thread).then_some("waits"),
    }
}

/// All ways to leave something out, fewer first.
fn ways_to_lack() -> Vec<Vec<&'static str>> {
    let mut ways: Vec<Vec<_>> = (0..1_u32 << PARTS.len())
        .map(|bits| {
            let lacks = PARTS.iter().enumerate().filter(|(place, _)| bits >> place & 1 == 1);
            lacks.map(|(_, (part, _))| *part).collect()
        })
        .collect();
    ways.sort_by_key(Vec::len);
    ways
}

impl Workshop {
    fn here() -> Result<Self> {
        let package = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let repository = package.join("../..").canonicalize().context("this package has been moved")?;
        let program = env::current_exe().context("cannot find this program")?;
        let target = program.parent().and_then(Path::parent).context("this program lies nowhere")?;
        Ok(Self { repository, package, store: target.join("baselines") })
    }

    /// What git answers, without the end of the line.
    fn git(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new("git").arg("-C").arg(&self.repository).args(arguments).output();
        let output = output.context("cannot run git")?;
        ensure!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// The program for a commit, and what it lacks.
    fn program(&self, name: &str) -> Result<(PathBuf, Vec<&'static str>)> {
        let kept = self.store.join(format!("versus-{name}-{:016x}", self.digest()?));
        let note = kept.with_extension("lacks");
        if let (true, Ok(note)) = (kept.exists(), fs::read_to_string(&note)) {
            let lacks =
                PARTS.iter().map(|(part, _)| *part).filter(|part| note.lines().any(|line| line == *part));
            return Ok((kept, lacks.collect()));
        }
        fs::create_dir_all(&self.store)?;
        let folder = tempfile::Builder::new().prefix("source-").tempdir_in(&self.store)?;
        self.check_out(name, folder.path())?;
        let package = folder.path().join("benches/versus");
        if package.exists() {
            fs::remove_dir_all(&package)?;
        }
        fs::create_dir_all(&package)?;
        for part in ["Cargo.toml", "Cargo.lock", "src", ".cargo"] {
            copy(&self.package.join(part), &package.join(part))
                .with_context(|| format!("cannot copy {part}"))?;
        }
        let lacks = self.compile(name, &package)?;
        fs::copy(self.store.join("target/release/versus"), &kept).context("cannot keep the program")?;
        fs::write(&note, lacks.join("\n"))?;
        Ok((kept, lacks))
    }

    /// What the instrument itself is made of.
    fn digest(&self) -> Result<u64> {
        let mut hasher = DefaultHasher::new();
        for part in ["Cargo.toml", "Cargo.lock", "src", ".cargo"] {
            digest(&self.package.join(part), &mut hasher).with_context(|| format!("cannot read {part}"))?;
        }
        Ok(hasher.finish())
    }

    /// Puts the files of a commit into `folder`. The working tree and the index stay as they are.
    fn check_out(&self, name: &str, folder: &Path) -> Result<()> {
        let mut archive = Command::new("git")
            .arg("-C")
            .arg(&self.repository)
            .args(["archive", "--format=tar", name])
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run git")?;
        let files = archive.stdout.take().context("git has no stdout")?;
        let unpacked = Command::new("tar").args(["-x", "-C"]).arg(folder).stdin(files).status();
        let (archived, unpacked) = (archive.wait()?, unpacked.context("cannot run tar")?);
        ensure!(archived.success() && unpacked.success(), "cannot take {name} out of git");
        Ok(())
    }

    /// Builds with as much as there is in that library; says what it lacks.
    fn compile(&self, name: &str, package: &Path) -> Result<Vec<&'static str>> {
        let mut first = None;
        for lacks in ways_to_lack() {
            let without =
                if lacks.is_empty() { String::new() } else { format!(", without {}", lacks.join(", ")) };
            eprintln!("building the library at {name}{without}");
            let has: Vec<_> =
                PARTS.iter().map(|(part, _)| *part).filter(|part| !lacks.contains(part)).collect();
            let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
                .args(["build", "--release", "--no-default-features", "--features", &has.join(",")])
                .env("CARGO_TARGET_DIR", self.store.join("target"))
                .env("CARGO_TERM_COLOR", "never")
                .current_dir(package)
                .stdin(Stdio::null())
                .output()
                .context("cannot run cargo")?;
            if output.status.success() {
                return Ok(lacks);
            }
            first.get_or_insert(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let said = first.unwrap_or_default();
        let errors: Vec<_> = said.lines().filter(|line| line.starts_with("error")).take(5).collect();
        bail!("the instrument cannot be built against {name}: {}", errors.join("; "))
    }
}

/// Copies a file or a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        return fs::copy(from, to).map(drop);
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Feeds names and contents of a file or a folder to `hasher`.
fn digest(path: &Path, hasher: &mut DefaultHasher) -> io::Result<()> {
    path.file_name().hash(hasher);
    if !path.is_dir() {
        fs::read(path)?.hash(hasher);
        return Ok(());
    }
    let mut entries: Vec<_> = fs::read_dir(path)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    entries.iter().try_for_each(|entry| digest(&entry.path(), hasher))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entrants::ENTRANTS;
    use crate::scenarios::cases;

    fn baseline(lacks: &[&'static str]) -> Baseline {
        Baseline {
            name: "1a2b3c4".to_owned(),
            title: "a change".to_owned(),
            program: PathBuf::new(),
            lacks: lacks.to_vec(),
        }
    }

    #[test]
    fn as_little_as_possible_is_left_out() {
        let ways = ways_to_lack();
        assert_eq!((ways.len(), ways[0].len(), ways[1].len(), ways[31].len()), (32, 0, 1, 5));
        assert!(ways.is_sorted_by_key(Vec::len));
    }

    #[test]
    fn every_part_is_a_feature_of_this_package() {
        let manifest = include_str!("../Cargo.toml");
        let (_, features) = manifest.split_once("[features]").unwrap();
        let default = features.lines().find(|line| line.starts_with("default = ")).unwrap();
        for (part, _) in PARTS {
            assert!(default.contains(&format!("{part:?}")), "{part}");
            assert!(features.contains(&format!("\n{part} = []")), "{part}");
        }
    }

    #[test]
    fn what_a_version_lacks_leaves_out_the_cases_that_need_it() {
        let names = |baseline: &Baseline, case: &str| {
            let case = cases().into_iter().find(|one| one.name == case).unwrap();
            let entrants = case.entrants().into_iter().filter(|entrant| baseline.takes_part(&case, entrant));
            entrants.map(|entrant| entrant.name).collect::<Vec<_>>()
        };
        let whole = baseline(&[]);
        assert_eq!(names(&whole, "states_idle_0us"), ["sidestep", "sidestep@current", "sidestep@wait"]);
        assert_eq!(names(&whole, "limited"), ["sidestep", "sidestep@current"]);
        assert_eq!(names(&whole, "ramp_5ms/50"), ["sidestep", "sidestep-time"]);
        assert_eq!(names(&whole, "strand_burst"), ["strand", "strand@current"]);
        assert_eq!(names(&whole, "read_file"), ["sidestep", "sidestep@current"]);
        let old = baseline(&["waits", "states", "lanes", "disks", "strands"]);
        assert_eq!(names(&old, "states_idle_0us"), ["sidestep", "sidestep@current"]);
        assert_eq!(names(&old, "ramp_5ms/50"), ["sidestep"]);
        for case in ["limited", "limited_bytes", "behind_lane_1_10ms", "strand_burst", "read_file"] {
            assert!(names(&old, case).is_empty(), "{case}");
        }
        assert_eq!(old.remarks().len(), 6);
    }

    #[test]
    fn the_digest_is_that_of_names_and_contents() {
        let folder = tempfile::tempdir().unwrap();
        let digest = || {
            let mut hasher = DefaultHasher::new();
            digest(folder.path(), &mut hasher).unwrap();
            hasher.finish()
        };
        fs::create_dir(folder.path().join("src")).unwrap();
        fs::write(folder.path().join("src/a"), "1").unwrap();
        let first = digest();
        assert_eq!(digest(), first);
        fs::write(folder.path().join("src/a"), "2").unwrap();
        assert_ne!(digest(), first);
        fs::write(folder.path().join("src/a"), "1").unwrap();
        fs::rename(folder.path().join("src/a"), folder.path().join("src/b")).unwrap();
        assert_ne!(digest(), first);
    }

    #[test]
    fn a_folder_is_copied_with_all_that_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("from/deep")).unwrap();
        fs::write(folder.path().join("from/deep/file"), "content").unwrap();
        copy(&folder.path().join("from"), &folder.path().join("new/to")).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("new/to/deep/file")).unwrap(), "content");
    }

    #[test]
    fn only_our_own_rows_have_older_versions() {
        let ours = ENTRANTS.iter().filter(|entrant| is_ours(entrant)).map(|entrant| entrant.name);
        assert_eq!(
            ours.collect::<Vec<_>>(),
            [
                "sidestep",
                "sidestep-time",
                "sidestep@current",
                "sidestep@wait",
                "strand",
                "strand@current",
                "sidestep",
                "sidestep@current"
            ]
        );
    }
}
