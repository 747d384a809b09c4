//! What the system tells of the threads of this process, and its descriptors.

/// How often each thread of this process whose name begins so has gone to sleep so far, by its
/// name.
#[cfg(target_os = "linux")]
pub(crate) fn sleeps(name: &str) -> Vec<(String, u64)> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    let sleeps = tasks.filter_map(|task| {
        // One that ends meanwhile has no files any more.
        let comm = std::fs::read_to_string(task.path().join("comm")).ok()?;
        let status = std::fs::read_to_string(task.path().join("status")).ok()?;
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        Some((comm, count.map_or(0, |count| count.trim().parse().unwrap())))
    });
    sleeps.filter(|(comm, _)| comm.starts_with(name)).collect()
}

/// How many threads of this process have names that begin so.
#[cfg(target_os = "linux")]
pub(crate) fn threads_called(name: &str) -> usize {
    sleeps(name).len()
}

/// Takes every descriptor that there is, in a process of the test's own.
pub(crate) fn take_all_descriptors() -> Vec<std::fs::File> {
    let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
    // SAFETY: `limit` is valid for reading.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    let mut taken = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        taken.push(file);
    }
    taken
}
