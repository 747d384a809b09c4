//! Tests of the ids of files.

use super::ask;

#[test]
fn handles_of_one_file_have_one_id() {
    let dir = tempfile::tempdir().unwrap();
    let (path, link, other) = (dir.path().join("one"), dir.path().join("link"), dir.path().join("other"));
    std::fs::write(&path, "one").unwrap();
    std::fs::write(&other, "one").unwrap();
    std::fs::hard_link(&path, &link).unwrap();
    let [one, two, link, other] =
        [&path, &path, &link, &other].map(|path| std::fs::File::open(path).unwrap());
    let asked = [&one, &two, &link].map(|file| ask(file).unwrap().unwrap());
    assert_eq!(asked, [asked[0]; 3]);
    assert_ne!(asked[0], ask(&other).unwrap().unwrap());
    assert_eq!(ask(&one.try_clone().unwrap()).unwrap().unwrap(), asked[0]);
}

#[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
#[test]
fn both_ways_say_the_same() {
    let mut files = Vec::new();
    for path in ["/proc/self/maps", "/dev/null", "/dev/shm", "/etc/passwd", "Cargo.toml", "/"] {
        files.push(std::fs::File::open(path).unwrap());
    }
    let (reader, _writer) = std::io::pipe().unwrap();
    files.push(std::os::fd::OwnedFd::from(reader).into());
    for file in &files {
        assert_eq!(super::at_once(file), ask(file).unwrap(), "{file:?}");
        assert!(super::at_once(file).is_some());
    }
}
