//! The checksum example as its users meet it: run as a program, judged by its output and its exit
//! status.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "in a test, helpers included, an unwrap is an assertion")]

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _},
    os::unix::{
        ffi::OsStrExt as _, ffi::OsStringExt as _, fs::PermissionsExt as _, process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// Far more than any of the stops needs, far less than hashing the big file would take.
const SOON: Duration = Duration::from_secs(10);
/// Takes minutes to hash, and no room on the disk.
const BIG: u64 = 64 << 30;
const NOBODY: u32 = 65_534;

/// The example beside this test's own executable; `cargo test` has built it unless a single test
/// was asked for.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let this = env::current_exe().unwrap();
        let profile = this.parent().and_then(Path::parent).unwrap();
        let program = profile.join("examples").join("checksum");
        if !program.exists() {
            let mut build = Command::new(env!("CARGO"));
            build.args(["build", "--example", "checksum"]).current_dir(env!("CARGO_MANIFEST_DIR"));
            if profile.ends_with("release") {
                build.arg("--release");
            }
            assert!(build.status().unwrap().success(), "the example does not build");
        }
        program
    })
}

fn checksum(args: &[&str], dir: &Path) -> Output {
    Command::new(program()).args(args).arg(dir).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Makes a file for each name and returns what each holds.
fn fill(dir: &Path, names: impl IntoIterator<Item: AsRef<OsStr>>) -> BTreeMap<OsString, Vec<u8>> {
    let mut files = BTreeMap::new();
    for (number, name) in names.into_iter().enumerate() {
        let path = dir.join(name.as_ref());
        let content = vec![b'x'; number * 100_000];
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &content).unwrap();
        files.insert(path.into_os_string(), content);
    }
    files
}

/// Reads lines of sums the way GNU writes them: name to sum.
fn parse(sums: &[u8]) -> BTreeMap<OsString, String> {
    let lines = sums.split_inclusive(|byte| *byte == b'\n');
    lines
        .map(|line| {
            let line = line.strip_suffix(b"\n").expect("every line ends");
            let (is_escaped, line) = line.strip_prefix(b"\\").map_or((false, line), |rest| (true, rest));
            let (sum, name) = line.split_at(64);
            let name = name.strip_prefix(b"  ").expect("two spaces before the name");
            let name = if is_escaped { unescape(name) } else { name.to_vec() };
            (OsString::from_vec(name), text(sum))
        })
        .collect()
}

fn unescape(name: &[u8]) -> Vec<u8> {
    let mut bytes = name.iter();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'\\') => b'\\',
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                other => panic!("unknown escape {other:?}"),
            },
            byte => *byte,
        });
    }
    plain
}

fn sums_of(files: &BTreeMap<OsString, Vec<u8>>) -> BTreeMap<OsString, String> {
    files.iter().map(|(name, content)| (name.clone(), format!("{:x}", Sha256::digest(content)))).collect()
}

/// Lets `sha256sum -c` judge the lines, where that program exists.
fn judge(sums: &[u8], dir: &Path) {
    let list = dir.join("list of sums");
    fs::write(&list, sums).unwrap();
    match Command::new("sha256sum").args(["--check", "--strict", "--quiet"]).arg(&list).output() {
        Ok(verdict) => assert!(verdict.status.success(), "{verdict:?}"),
        Err(error) => eprintln!("sha256sum cannot be run, so only this test has checked the sums: {error}"),
    }
}

#[test]
fn sums_of_oddly_named_files_are_what_sha256sum_accepts() {
    let dir = TempDir::new().unwrap();
    let mut names = vec!["plain", "with spaces ", "-", "*star", "täglich", ".hidden", "sub/dir/file"];
    names.extend(["new\nline", "cr\r", r"back\slash", r"\\"]);
    let not_utf8 = [OsStr::from_bytes(b"not\xffutf8"), OsStr::from_bytes(b"\xfe\\\n")];
    let files = fill(dir.path(), names.into_iter().map(OsStr::new).chain(not_utf8));

    for args in [&["--sums"][..], &["--sums", "--inline"]] {
        let output = checksum(args, dir.path());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "");
        assert_eq!(parse(&output.stdout), sums_of(&files));
        let elsewhere = TempDir::new().unwrap();
        judge(&output.stdout, elsewhere.path());
    }
}

#[test]
fn an_unreadable_file_is_named_and_the_rest_is_hashed() {
    let dir = TempDir::new().unwrap();
    let files = fill(dir.path(), ["a", "b", "z/c"]);
    let locked = dir.path().join("locked");
    fs::write(&locked, "secret").unwrap();
    // Permissions do not stop root, so the program runs as somebody else, from a place where he may
    // run it.
    let copy = dir.path().join("program");
    fs::copy(program(), &copy).unwrap();
    let tree = dir.path();
    fs::set_permissions(tree, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();

    for args in [&["--sums"][..], &["--sums", "--inline"]] {
        let mut command = Command::new(&copy);
        command.args(args).arg(tree);
        if File::open(&locked).is_ok() {
            command.uid(NOBODY);
        }
        let output = match command.output() {
            Ok(output) => output,
            Err(error) => {
                eprintln!("skipped: this user can read every file and cannot become another: {error}");
                return;
            }
        };
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        let complaint = text(&output.stderr);
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
        assert!(complaint.contains(&*locked.to_string_lossy()), "{complaint}");
        let mut sums = parse(&output.stdout);
        sums.remove(copy.as_os_str()).expect("the program itself stands in the tree as well");
        assert_eq!(sums, sums_of(&files));
    }
}

#[test]
fn symbolic_links_are_passed_over() {
    let dir = TempDir::new().unwrap();
    let files = fill(dir.path(), ["file"]);
    for (target, link) in [("file", "to a file"), ("nowhere", "dangling"), (".", "loop")] {
        std::os::unix::fs::symlink(target, dir.path().join(link)).unwrap();
    }
    let output = checksum(&["--sums"], dir.path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(parse(&output.stdout), sums_of(&files));
}

#[test]
fn json_has_the_same_files_both_ways() {
    let dir = TempDir::new().unwrap();
    fill(dir.path(), ["a", "b", "c"]);
    let output = checksum(&["--json"], dir.path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let figures: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for way in ["pool", "inline"] {
        assert_eq!(figures[way]["files"], 3, "{figures}");
        assert_eq!(figures[way]["bytes"], 300_000, "{figures}");
        assert_eq!(figures[way]["unreadable"], 0, "{figures}");
    }
    assert_eq!(figures["inline"]["threads"], 1, "{figures}");
}

#[test]
fn the_table_shows_the_ways_side_by_side() {
    let dir = TempDir::new().unwrap();
    fill(dir.path(), ["a", "b"]);
    let output = checksum(&[], dir.path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    for what in ["on the pool", "inline", "files", "bytes", "threads used", "worst heartbeat delay"] {
        assert!(table.contains(what), "{table}");
    }
}

#[test]
fn an_empty_tree_has_no_sums() {
    let dir = TempDir::new().unwrap();
    let output = checksum(&["--sums"], dir.path());
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), "");
    assert_eq!(checksum(&[], dir.path()).status.code(), Some(0));
}

#[test]
fn a_missing_directory_is_named() {
    let dir = TempDir::new().unwrap();
    let output = checksum(&["--sums"], &dir.path().join("missing"));
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "");
    assert!(text(&output.stderr).contains("missing"), "{}", text(&output.stderr));
}

/// Starts the program on a tree whose second file is big, and returns once the sum of the first one
/// is out.
fn start_on_a_big_file(args: &[&str], dir: &Path) -> (Child, BufReader<impl std::io::Read + use<>>) {
    fs::write(dir.join("0 small"), "small").unwrap();
    File::create(dir.join("1 big")).unwrap().set_len(BIG).unwrap();
    let mut command = Command::new(program());
    let mut child =
        command.args(args).arg(dir).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    out.read_line(&mut first).unwrap();
    assert!(first.ends_with("0 small\n"), "{first}");
    (child, out)
}

/// Waits for the end of `child`, but not until it has hashed the big file.
fn ends_soon(mut child: Child) -> ExitStatus {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("still running after {SOON:?}");
        }
        std::thread::yield_now();
    }
}

#[test]
fn ctrl_c_stops_in_the_middle_of_a_file() {
    for args in [&["--sums"][..], &["--sums", "--inline"]] {
        let dir = TempDir::new().unwrap();
        let (mut child, mut out) = start_on_a_big_file(args, dir.path());
        let mut err = child.stderr.take().unwrap();
        // SAFETY: the child has not been waited for, so its process id is still its own.
        assert_eq!(unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) }, 0);
        assert_eq!(ends_soon(child).code(), Some(130), "{args:?}");
        let (mut rest, mut complaint) = (String::new(), String::new());
        out.read_to_string(&mut rest).unwrap();
        err.read_to_string(&mut complaint).unwrap();
        assert_eq!(rest, "", "no sum for a file that was not read to its end");
        assert_eq!(complaint, "checksum: interrupted\n");
    }
}

#[test]
fn a_reader_that_goes_away_stops_the_program_quietly() {
    let dir = TempDir::new().unwrap();
    let names: Vec<_> = (0..20_000).map(|number| format!("{number:0200}")).collect();
    for name in &names {
        File::create(dir.path().join(name)).unwrap();
    }
    let mut command = Command::new(program());
    command.arg("--sums").arg(dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let mut complaint = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(141));
    assert_eq!(complaint, "");
}
