//! How many CPUs the process may use: those of its main thread, and no more than its control group
//! allows.
//!
//! `num_cpus` knows the quota of the control group, and counts the CPUs of the *calling thread*,
//! once for all where there is a quota. So it is asked on a thread that has the CPUs of the
//! process; where the calling thread has others, that is a thread made for the question. Where
//! `num_cpus` returns fewer than there are CPUs, there is a quota; then `std` is asked as well,
//! which counts anew each time but rounds down. The greater number of the two is the one:
//! `num_cpus` may have been asked by a pinned thread before.

use super::first_use;

/// How many CPUs the process may use; at least 1.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) fn count() -> usize {
    use super::attributes::{CpuSet, Inherit, SignalsBlocked, begin};

    let Some(process) = CpuSet::of_process() else { return ask() };
    let within_quota = move || match ask() {
        all if all >= process.count() => all,
        limited => std::thread::available_parallelism().map_or(limited, |count| count.get().max(limited)),
    };
    if CpuSet::of_this_thread() == Some(process) {
        return within_quota();
    }
    let blocked = SignalsBlocked::new();
    let made = blocked.made();
    let helper = std::thread::Builder::new().name("sidestep-cpus".to_owned()).spawn(move || {
        begin(Inherit::default(), made);
        within_quota()
    });
    blocked.end();
    helper.ok().and_then(|helper| helper.join().ok()).unwrap_or_else(|| process.count())
}

/// How many CPUs the process may use; at least 1.
#[cfg(not(all(target_os = "linux", not(miri))))]
pub(crate) fn count() -> usize {
    ask()
}

/// `num_cpus` reads the quota once for all.
fn ask() -> usize {
    first_use::without_forks(num_cpus::get)
}
