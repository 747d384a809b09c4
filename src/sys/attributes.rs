//! What a thread has of its own besides its code, and inherits from the thread that makes it: the
//! CPUs that it may run on, its scheduling policy and niceness, and the signals that it blocks.
//!
//! A thread of the library should have what the *process* has, however odd the thread that made it
//! happens to be: a real-time thread, one that is pinned to a CPU, one that waits for signals. On
//! Linux the process is its main thread: its CPUs, its policy, its niceness. Other systems have no
//! such calls for another thread, or no such inheritance; there a thread keeps what it was made
//! with.
//!
//! Signals are another matter. A signal to the process goes to any thread that does not block it,
//! so a thread of the library blocks all of them, from its first instruction on: its maker blocks
//! them while it makes it. The exceptions are the signals by which a thread's own fault reaches its
//! handler (`SIGSEGV` and its like): `std` reports a stack overflow by that, and crash reporters
//! work that way.
//!
//! # Children
//!
//! A program that is started from a thread begins with that thread's blocked signals, and `std`'s
//! `Command` leaves them as they are. [`with_process_signals`] lets a thread of the library have
//! those of the process for a while. A `fork` needs no such call: the child's only thread gets the
//! signals of the process at once, by [`before_fork`] and [`in_child`].

/// What a thread inherits from the thread that makes it, instead of having what the process has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Inherit {
    /// The CPUs that it may run on.
    pub(crate) affinity: bool,
    /// Its scheduling policy and its niceness.
    pub(crate) priority: bool,
    /// It blocks the signals that the process blocks, and no others.
    pub(crate) takes_signals: bool,
}

#[cfg(all(unix, not(miri)))]
pub(crate) use self::masks::{SignalsBlocked, before_fork, in_child};
#[cfg(not(all(unix, not(miri))))]
pub(crate) use self::no_masks::SignalsBlocked;

/// Gives the calling thread, which begins, the attributes of the process, but for those in
/// `inherit`. `made` is what its maker has blocked for it. What the system refuses stays as it is.
pub(crate) fn begin(inherit: Inherit, made: Made) {
    #[cfg(all(target_os = "linux", not(miri)))]
    {
        if !inherit.affinity {
            affinity::adopt();
        }
        if !inherit.priority {
            priority::adopt();
        }
    }
    made.begin(inherit.takes_signals);
}

/// What the maker of a thread passes to it of the signals.
#[derive(Clone, Copy)]
pub(crate) struct Made {
    #[cfg(all(unix, not(miri)))]
    maker: libc::sigset_t,
}

/// Calls `f` with the signals that the process blocks, and not with those that a thread of the
/// library blocks. On any other thread it only calls `f`.
///
/// Use it in a closure that starts a program: a program begins with the blocked signals of the
/// thread that starts it, and a thread of the library blocks all of them, so the program would heed
/// neither `SIGTERM` nor the Ctrl-C of a terminal. While `f` runs, the handler of a signal to the
/// process may run on this thread. What a thread of a pool blocks is a setting:
/// [`PoolBuilder::block_signals`](crate::PoolBuilder::block_signals).
///
/// ```
/// use sidestep::current;
///
/// # #[cfg(unix)] {
/// let exit = sidestep::spawn(|| current::with_process_signals(|| {
///     std::process::Command::new("true").spawn()?.wait()
/// }));
/// assert!(exit.wait().unwrap().unwrap().success());
/// # }
/// ```
pub fn with_process_signals<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(all(unix, not(miri)))]
    let _blocked_again = masks::let_in();
    f()
}

#[cfg(all(unix, not(miri)))]
mod masks {
    //! The signals that a thread blocks.

    use super::Made;
    use std::cell::Cell;
    use std::marker::PhantomData;

    thread_local! {
        /// What a thread of the library that blocks all signals would block if it were not one:
        /// what its maker blocked.
        static OWN: Cell<Option<libc::sigset_t>> = const { Cell::new(None) };
        /// What the process blocks, as read before a fork.
        static AT_FORK: Cell<Option<libc::sigset_t>> = const { Cell::new(None) };
    }

    /// The signals of a fault, which a thread gets itself; to block them is to end the process
    /// without a handler.
    const FAULTS: [libc::c_int; 7] =
        [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS, libc::SIGABRT];

    pub(super) fn empty() -> libc::sigset_t {
        // SAFETY: all zeros is a value of this type of integers.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: `set` is valid for writing.
        unsafe { libc::sigemptyset(&raw mut set) };
        set
    }

    fn all_but_faults() -> libc::sigset_t {
        let mut set = empty();
        // SAFETY: `set` is valid for writing.
        unsafe { libc::sigfillset(&raw mut set) };
        for signal in FAULTS {
            // SAFETY: `set` is valid for writing, and `signal` is a signal.
            unsafe { libc::sigdelset(&raw mut set, signal) };
        }
        set
    }

    /// Sets what this thread blocks, and returns what it blocked.
    fn replace(set: &libc::sigset_t) -> libc::sigset_t {
        let mut before = empty();
        // SAFETY: `set` is valid for reading and `before` for writing. The call cannot fail with
        // this first argument.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, set, &raw mut before) };
        before
    }

    /// This thread blocks all signals, and so does a thread that it makes. The drop ends that.
    pub(crate) struct SignalsBlocked {
        before: libc::sigset_t,
        /// The drop belongs on the thread that blocks.
        here: PhantomData<*const ()>,
    }

    impl SignalsBlocked {
        pub(crate) fn new() -> Self {
            SignalsBlocked { before: replace(&all_but_faults()), here: PhantomData }
        }

        /// What a thread that is made now gets.
        pub(crate) fn made(&self) -> Made {
            Made { maker: OWN.get().unwrap_or(self.before) }
        }

        /// Blocks them no longer.
        pub(crate) fn end(self) {
            drop(self);
        }
    }

    impl Drop for SignalsBlocked {
        fn drop(&mut self) {
            replace(&self.before);
        }
    }

    impl Made {
        pub(super) fn begin(self, takes_signals: bool) {
            if takes_signals {
                replace(&of_process().unwrap_or(self.maker));
            } else {
                OWN.set(Some(self.maker));
            }
        }
    }

    /// The signals that a C library has for itself, and lets no program block. It blocks them, with
    /// all others, for an instant while it makes a thread or a child.
    #[cfg(target_os = "linux")]
    const OF_THE_LIBRARY: u64 = 3 << 31;
    /// How often to look again where the main thread is at that.
    #[cfg(target_os = "linux")]
    const LOOKS: usize = 1000;

    /// What the main thread blocks.
    #[cfg(target_os = "linux")]
    fn of_process() -> Option<libc::sigset_t> {
        let read = || {
            let status = std::fs::read_to_string("/proc/self/status").ok()?;
            let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:"))?;
            u64::from_str_radix(blocked.trim(), 16).ok()
        };
        let is_its_own = |blocked: &Option<u64>| blocked.is_none_or(|set| set & OF_THE_LIBRARY == 0);
        let blocked = std::iter::repeat_with(read).take(LOOKS).find(is_its_own)??;
        let mut set = empty();
        for signal in (1..=64).filter(|signal| blocked >> (signal - 1) & 1 == 1) {
            // SAFETY: `set` is valid for writing; the call refuses what is no signal.
            unsafe { libc::sigaddset(&raw mut set, signal) };
        }
        Some(set)
    }

    /// The system does not show what another thread blocks.
    #[cfg(not(target_os = "linux"))]
    fn of_process() -> Option<libc::sigset_t> {
        None
    }

    /// A fork is about to happen on this thread.
    pub(crate) fn before_fork() {
        if let Some(own) = OWN.get() {
            AT_FORK.set(Some(of_process().unwrap_or(own)));
        }
    }

    /// This thread is the only one of a forked child, and no thread of the library any more.
    pub(crate) fn in_child() {
        if let (Some(_), Some(process)) = (OWN.take(), AT_FORK.take()) {
            replace(&process);
        }
    }

    /// Blocks all signals again when it is dropped.
    pub(super) struct LetIn(Option<libc::sigset_t>);

    /// Lets this thread block what the process blocks, if it is one of the library's.
    pub(super) fn let_in() -> LetIn {
        LetIn(OWN.get().map(|own| replace(&of_process().unwrap_or(own))))
    }

    impl Drop for LetIn {
        fn drop(&mut self) {
            // In a forked child the thread has become an ordinary one.
            if let Some(before) = self.0.take().filter(|_| OWN.get().is_some()) {
                replace(&before);
            }
        }
    }
}

#[cfg(not(all(unix, not(miri))))]
mod no_masks {
    //! Where there are no signals to block.

    use super::Made;

    /// Nothing is blocked.
    pub(crate) struct SignalsBlocked;

    impl SignalsBlocked {
        pub(crate) fn new() -> Self {
            SignalsBlocked
        }

        #[expect(clippy::unused_self, reason = "other systems have a use for it")]
        pub(crate) fn made(&self) -> Made {
            Made {}
        }

        #[expect(clippy::unused_self, reason = "other systems have a use for it")]
        pub(crate) fn end(self) {}
    }

    impl Made {
        #[expect(clippy::unused_self, reason = "other systems have a use for it")]
        pub(super) fn begin(self, _takes_signals: bool) {}
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) use self::affinity::CpuSet;

#[cfg(all(target_os = "linux", not(miri)))]
mod affinity {
    //! The CPUs that a thread may run on.

    /// Room for 8192 CPUs.
    const WORDS: usize = 128;
    const BYTES: usize = WORDS * size_of::<u64>();

    /// A set of CPUs.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) struct CpuSet([u64; WORDS]);

    impl CpuSet {
        /// Those of the main thread, and so of the process.
        pub(crate) fn of_process() -> Option<Self> {
            // SAFETY: no arguments, no memory.
            CpuSet::of(unsafe { libc::getpid() })
        }

        /// Those of the calling thread.
        pub(crate) fn of_this_thread() -> Option<Self> {
            CpuSet::of(0)
        }

        fn of(thread: libc::pid_t) -> Option<Self> {
            let mut set = [0; WORDS];
            // SAFETY: `set` is valid for writing its size in bytes, which is what the call is told.
            let status = unsafe { libc::sched_getaffinity(thread, BYTES, set.as_mut_ptr().cast()) };
            (status == 0).then_some(CpuSet(set))
        }

        /// How many CPUs there are in it.
        pub(crate) fn count(&self) -> usize {
            self.0.iter().map(|word| word.count_ones() as usize).sum()
        }

        fn give_to_this_thread(&self) {
            // SAFETY: the set is valid for reading its size in bytes. A set that the system refuses
            // changes nothing.
            unsafe { libc::sched_setaffinity(0, BYTES, self.0.as_ptr().cast()) };
        }
    }

    /// Gives the calling thread the CPUs of the process.
    pub(super) fn adopt() {
        match (CpuSet::of_process(), CpuSet::of_this_thread()) {
            (Some(process), Some(own)) if process != own => process.give_to_this_thread(),
            _ => {}
        }
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
mod priority {
    //! How the scheduler treats a thread. The calls are made by number: some C libraries refuse
    //! them, as they are of a thread and POSIX has them of a process.

    /// In what `sched_getscheduler` returns: children do not inherit the policy.
    const RESET_ON_FORK: libc::c_long = 0x4000_0000;

    /// Gives the calling thread the policy and the niceness of the main thread. Without privileges
    /// a thread may become less urgent, and no more than that.
    pub(super) fn adopt() {
        // SAFETY: no arguments, no memory.
        let process = libc::c_long::from(unsafe { libc::getpid() });
        let (wanted, own) = (policy(process), policy(0));
        if let Some(wanted) = wanted.filter(|_| own.is_some() && own != wanted) {
            let parameter: [libc::c_int; 8] = [wanted.1, 0, 0, 0, 0, 0, 0, 0];
            // SAFETY: the third argument points to the parameter of the policy, an `int` at its
            // begin, for the time of the call.
            unsafe {
                libc::syscall(libc::SYS_sched_setscheduler, 0, wanted.0, parameter.as_ptr());
            }
        }
        let (wanted, own) = (niceness(process), niceness(0));
        if wanted > 0 && own > 0 && wanted != own {
            // SAFETY: numbers only. The first says that the second is a thread.
            unsafe { libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, 0, 20 - wanted) };
        }
    }

    /// The policy of a thread, and the priority in it.
    fn policy(thread: libc::c_long) -> Option<(libc::c_long, libc::c_int)> {
        // SAFETY: numbers only.
        let policy = unsafe { libc::syscall(libc::SYS_sched_getscheduler, thread) };
        let mut parameter: [libc::c_int; 8] = [0; 8];
        // SAFETY: the second argument is valid for writing the parameter, one `int`.
        let status = unsafe { libc::syscall(libc::SYS_sched_getparam, thread, parameter.as_mut_ptr()) };
        (policy >= 0 && status == 0).then_some((policy & !RESET_ON_FORK, parameter[0]))
    }

    /// 20 less the niceness of a thread, as the system counts it: from 1 to 40.
    fn niceness(thread: libc::c_long) -> libc::c_long {
        // SAFETY: numbers only.
        unsafe { libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, thread) }
    }
}
