//! What the operating system and the allocator know about this process and this machine. Unix only;
//! where only Linux can tell, the others get `None`.

use std::fs;
use std::mem::MaybeUninit;
use std::time::Duration;

/// What the whole process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// User and system time of all threads, also those that have ended.
    pub(crate) cpu: Duration,
    /// Context switches, of both kinds.
    pub(crate) switches: u64,
}

/// Asks the system.
pub(crate) fn usage() -> Usage {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to memory of the right size and alignment, which the call may fill.
    let status = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    assert_eq!(status, 0, "the arguments of getrusage are legal");
    // SAFETY: zeroed plain integers are a valid `rusage`, and the call has succeeded besides.
    let usage = unsafe { usage.assume_init() };
    let time = |of: libc::timeval| {
        Duration::from_secs(of.tv_sec.unsigned_abs()) + Duration::from_micros(of.tv_usec.unsigned_abs())
    };
    Usage {
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
        switches: usage.ru_nvcsw.unsigned_abs() + usage.ru_nivcsw.unsigned_abs(),
    }
}

/// The CPU time of the calling thread.
pub(crate) fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a `timespec` of ours.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(status, 0, "every thread has a CPU clock");
    Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_nanos(time.tv_nsec.unsigned_abs())
}

/// Bytes of the heap in use, in all arenas.
pub(crate) fn heap_bytes() -> Option<usize> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: takes nothing and gives plain numbers; it locks one arena after another.
        let info = unsafe { libc::mallinfo2() };
        Some(info.uordblks + info.hblkhd)
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    None
}

/// The most memory that was ever resident, in KiB. Not from `getrusage`, whose figure outlives
/// `exec` and so may be that of the parent.
pub(crate) fn peak_resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The model of the first CPU.
pub(crate) fn cpu_model() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Name and release of the kernel.
pub(crate) fn kernel() -> Option<String> {
    let read = |file| fs::read_to_string(file).map(|text| text.trim().to_owned()).ok();
    Some(format!("{} {}", read("/proc/sys/kernel/ostype")?, read("/proc/sys/kernel/osrelease")?))
}

/// How many tasks were ready to run, on average over 1, 5 and 15 minutes.
pub(crate) fn load() -> Option<String> {
    let load = fs::read_to_string("/proc/loadavg").ok()?;
    Some(load.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_in_the_clocks() {
        let (before, clock) = (usage().cpu, thread_cpu());
        while thread_cpu() - clock < Duration::from_millis(20) {}
        assert!(usage().cpu - before >= Duration::from_millis(10));
    }

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn the_heap_shows_what_is_on_it() {
        let before = heap_bytes().unwrap();
        let block = std::hint::black_box(vec![1_u8; 10 << 20]);
        assert!(heap_bytes().unwrap() >= before + (5 << 20));
        drop(block);
        assert!(peak_resident().unwrap() > 5 << 10);
    }
}
