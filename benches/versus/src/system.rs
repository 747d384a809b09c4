//! What the operating system and the allocator know about this process and this machine. Unix only;
//! where only Linux can tell, the others get `None`.

use std::fs;
use std::io;
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
    usage_of(libc::RUSAGE_SELF)
}

fn usage_of(who: libc::c_int) -> Usage {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to memory of the right size and alignment, which the call may fill.
    let status = unsafe { libc::getrusage(who, usage.as_mut_ptr()) };
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

/// What the CPUs of the machine have done since it was started, by whom it does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Machine {
    /// The CPU time of all programs and of the kernel.
    pub(crate) busy: Duration,
    /// The time that a virtual CPU wanted to run and the host did not let it.
    pub(crate) stolen: Duration,
}

/// Asks the system. It counts in hundredths of a second.
pub(crate) fn machine() -> Option<Machine> {
    // SAFETY: takes and gives plain numbers.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    machine_of(&fs::read_to_string("/proc/stat").ok()?, u32::try_from(ticks).ok()?)
}

/// The sum of all CPUs in the text of `/proc/stat`.
fn machine_of(text: &str, ticks_per_second: u32) -> Option<Machine> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u32> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
    let &[user, nice, system, _idle, _wait, irq, softirq, stolen, ..] = ticks.as_slice() else { return None };
    let time = |ticks: u32| Duration::from_secs(1) * ticks / ticks_per_second;
    let busy = [user, nice, system, irq, softirq].into_iter().map(time).sum();
    Some(Machine { busy, stolen: time(stolen) })
}

/// The CPU time of this process and of all that it has started and waited for, with theirs.
pub(crate) fn family_cpu() -> Duration {
    usage_of(libc::RUSAGE_SELF).cpu + usage_of(libc::RUSAGE_CHILDREN).cpu
}

/// The CPUs on which this process may run.
#[cfg(target_os = "linux")]
pub(crate) fn allowed_cpus() -> Vec<usize> {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: the pointer is to memory of the size that the call is told, which it may fill.
    let status = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), set.as_mut_ptr()) };
    // SAFETY: a zeroed set is valid: it is empty.
    let set = unsafe { set.assume_init() };
    let most = usize::try_from(libc::CPU_SETSIZE).unwrap_or(0);
    // SAFETY: the index is below the size of the set.
    let member = |&cpu: &usize| status == 0 && unsafe { libc::CPU_ISSET(cpu, &set) };
    (0..most).filter(member).collect()
}

/// Keeps the calling thread, and all that it starts from now on, on the first `count` of the CPUs
/// that are allowed.
#[cfg(target_os = "linux")]
pub(crate) fn pin(count: usize) -> io::Result<()> {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    for cpu in allowed_cpus().into_iter().take(count) {
        // SAFETY: a zeroed set is valid, and nothing else refers to it.
        let set = unsafe { set.assume_init_mut() };
        // SAFETY: the number is one of a set of the same size.
        unsafe { libc::CPU_SET(cpu, set) };
    }
    // SAFETY: the pointer is to a set of the size that the call is told.
    let status = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), set.as_ptr()) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Only Linux keeps a process on some of the CPUs.
#[cfg(not(target_os = "linux"))]
pub(crate) fn pin(_: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
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
    fn the_machine_is_the_sum_of_its_cpus() {
        let text = "cpu  100 20 30 4000 50 6 7 80 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n";
        let machine = machine_of(text, 100).unwrap();
        assert_eq!((machine.busy.as_millis(), machine.stolen.as_millis()), (1_630, 800));
        assert_eq!(machine_of("cpu  1 2 3\n", 100), None);
        assert_eq!(machine_of("intr 1\n", 100), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_pinned_thread_stays_where_it_is_put() {
        let before = allowed_cpus();
        let cpus = std::thread::spawn(|| pin(1).map(|()| allowed_cpus())).join().unwrap().unwrap();
        assert_eq!(cpus, before[..1]);
        assert_eq!(allowed_cpus(), before);
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
