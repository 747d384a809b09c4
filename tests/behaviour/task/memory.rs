//! The memory that tasks live in: sizes and auto traits, neighbours of all sizes, threads that end,
//! forks. What a queued task costs is measured in `tests/allocations`.

use std::cell::RefCell;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use sidestep::current::{Cancelled, HookGuard};
use sidestep::{
    CancelHandle, Cancelling, LaneMetrics, Metrics, NewThread, Pool, PoolBuilder, Rejected, Shutdown,
    ShutdownReport, Task, TaskError, TaskId, Unblocked,
};

use crate::support::{Drops, Gate, all_well, check_sound, eventually, occupy, pool, soon};

/// A value that can be sent and nothing else: not shared, not pinned loosely, not carried over a
/// panic.
struct OnlySend {
    _cell: std::cell::Cell<u8>,
    _pinned: std::marker::PhantomPinned,
    _unwind: std::marker::PhantomData<&'static mut u8>,
}

fn send<T: Send>() {}

fn sync<T: Sync>() {}

fn unpin<T: Unpin>() {}

fn unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}

fn is_static<T: 'static>() {}

#[test]
fn handles_are_send_unpin_and_unwind_safe_whatever_the_result() {
    fn check<T: Send + Unpin + UnwindSafe + RefUnwindSafe + 'static>() {}
    check::<Task<OnlySend>>();
    check::<Cancelling<OnlySend>>();
    check::<Unblocked<OnlySend>>();
    check::<Task<Box<dyn FnMut() + Send>>>();
    sync::<Task<u8>>();
    sync::<Cancelling<u8>>();
    sync::<Unblocked<u8>>();
    send::<CancelHandle>();
    sync::<CancelHandle>();
    unpin::<CancelHandle>();
    unwind_safe::<CancelHandle>();
}

#[test]
fn errors_are_send_and_sync() {
    fn check<T: std::error::Error + Send + Sync + Unpin + 'static>() {}
    check::<TaskError>();
    check::<Cancelled>();
    check::<Rejected<fn()>>();
    send::<Rejected<Box<dyn FnOnce() + Send>>>();
    is_static::<TaskId>();
}

#[test]
fn pools_and_numbers_can_go_anywhere() {
    fn check<T: Send + Sync + Unpin + 'static>() {}
    check::<Pool>();
    check::<Metrics>();
    check::<ShutdownReport>();
    check::<TaskId>();
    send::<Shutdown>();
    unpin::<Shutdown>();
    send::<PoolBuilder>();
    send::<NewThread>();
    check::<LaneMetrics>();
    unwind_safe::<Metrics>();
    unwind_safe::<LaneMetrics>();
    unwind_safe::<TaskId>();
    unwind_safe::<Cancelled>();
}

/// `check` can be called for a type that is not `Send`; for others two implementations apply and
/// nothing compiles.
trait NotSend<A> {
    fn check() {}
}

impl<T: ?Sized> NotSend<()> for T {}

impl<T: ?Sized + Send> NotSend<u8> for T {}

#[test]
fn a_hook_guard_stays_on_its_thread() {
    <HookGuard as NotSend<_>>::check();
}

#[test]
fn sizes() {
    const WORD: usize = size_of::<usize>();
    assert_eq!(size_of::<Task<u8>>(), 2 * WORD, "the cell and the receiver");
    assert_eq!(size_of::<Task<[u64; 100]>>(), 2 * WORD, "whatever the result");
    assert_eq!(size_of::<Cancelling<u8>>(), 2 * WORD);
    assert_eq!(size_of::<Unblocked<u8>>(), 2 * WORD);
    assert!(size_of::<Option<Task<u8>>>() <= 3 * WORD);
    assert_eq!(size_of::<CancelHandle>(), WORD);
    assert_eq!(size_of::<Option<CancelHandle>>(), WORD);
    assert_eq!(size_of::<Pool>(), WORD);
    assert_eq!(size_of::<TaskId>(), 8);
    assert_eq!(size_of::<TaskError>(), WORD);
    assert_eq!(size_of::<Result<(), TaskError>>(), WORD, "an error costs the good way nothing");
    assert_eq!(size_of::<Cancelled>(), 0);
}

/// A task whose closure has `N` bytes, all of them `mark`, and says whether they still are when it
/// runs.
fn marked<const N: usize>(pool: &Pool, mark: u8) -> Task<bool> {
    let bytes = [mark; N];
    pool.spawn(move || std::hint::black_box(&bytes).iter().all(|&byte| byte == mark))
}

/// As `marked`, for a closure that wants to be aligned.
macro_rules! aligned {
    ($pool:expr, $align:literal, $mark:expr) => {{
        #[repr(align($align))]
        struct Aligned([u8; 24]);
        let (value, mark) = (Aligned([$mark; 24]), $mark);
        $pool.spawn(move || {
            let value = std::hint::black_box(&value);
            (&raw const *value).addr().is_multiple_of($align) && value.0.iter().all(|&byte| byte == mark)
        })
    }};
}

/// Tasks of sizes from nothing to far beyond what shares memory with others, every byte around the
/// limit among them.
fn of_all_sizes(pool: &Pool, mark: u8) -> Vec<Task<bool>> {
    let mut tasks = vec![pool.spawn(|| true), aligned!(pool, 16, mark), aligned!(pool, 32, mark)];
    macro_rules! sizes {
        ($($size:literal)*) => { tasks.extend([$(marked::<$size>(pool, mark)),*]) };
    }
    sizes! { 1 7 8 9 15 16 17 31 33 63 64 65 100 127 128 129 144 160 176 }
    sizes! { 183 184 185 191 192 193 194 195 196 197 198 199 200 201 202 203 204 205 206 207 208 209 255 256 257 }
    sizes! { 600 990 1_024 4_096 65_536 }
    tasks.extend([aligned!(pool, 64, mark), aligned!(pool, 4096, mark)]);
    tasks
}

#[test]
fn neighbours_of_all_sizes_leave_each_other_alone() {
    let pool = pool(2, 2);
    for round in 0..20_u8 {
        let gate = Gate::new();
        let running = [occupy(&pool, &gate), occupy(&pool, &gate)];
        let mut tasks = Vec::new();
        for mark in 1..4 {
            tasks.extend(of_all_sizes(&pool, round * 4 + mark));
        }
        // Every third is cancelled, so that others come to lie between what is free.
        let mut index = 0;
        tasks.retain(|_| {
            index += 1;
            index % 3 != 0
        });
        tasks.extend(of_all_sizes(&pool, 0xFF));
        gate.open();
        all_well(running);
        tasks.into_iter().rev().for_each(|task| assert!(soon(task).unwrap(), "round {round}"));
    }
    check_sound(&pool);
}

#[test]
fn tasks_outlive_the_threads_that_spawned_them() {
    let pool = pool(2, 4);
    let drops = Drops::new();
    let gate = Gate::new();
    let running = [occupy(&pool, &gate), occupy(&pool, &gate)];
    let spawners: Vec<_> = (0..20)
        .map(|_| {
            let (pool, drops) = (pool.clone(), drops.clone());
            thread::spawn(move || -> Vec<_> {
                let task = |_| {
                    let token = drops.token();
                    pool.spawn(move || drop(token))
                };
                (0..50).map(task).collect()
            })
        })
        .collect();
    // All spawners are gone before the first task runs, and the handles go on yet another thread.
    let tasks: Vec<_> = spawners.into_iter().flat_map(|spawner| spawner.join().unwrap()).collect();
    let dropper = thread::spawn(move || {
        gate.open();
        for (index, task) in tasks.into_iter().enumerate() {
            match index % 3 {
                0 => drop(task),
                1 => task.detach(),
                _ => _ = soon(task),
            }
        }
    });
    dropper.join().unwrap();
    all_well(running);
    check_sound(&pool);
    eventually("every closure is dropped", || drops.count() == 1000);
}

/// Spawns when it is dropped, which is while its thread ends.
struct SpawnsInTheEnd(Pool, std::sync::mpsc::Sender<Task<u32>>);

impl Drop for SpawnsInTheEnd {
    fn drop(&mut self) {
        for number in 0..40 {
            self.1.send(self.0.spawn(move || number)).unwrap();
        }
        soon(self.0.spawn(|| ())).unwrap();
    }
}

thread_local! {
    static BEFORE: RefCell<Option<SpawnsInTheEnd>> = const { RefCell::new(None) };
    static AFTER: RefCell<Option<SpawnsInTheEnd>> = const { RefCell::new(None) };
}

#[test]
fn destructors_of_thread_locals_may_spawn() {
    let pool = pool(2, 2);
    let (send, receive) = channel();
    let place = pool.clone();
    let ending = thread::spawn(move || {
        // Whichever of them is dropped first, one has the thread's own memory for tasks go before
        // it and the other after.
        BEFORE.set(Some(SpawnsInTheEnd(place.clone(), send.clone())));
        soon(place.spawn(|| ())).unwrap();
        AFTER.set(Some(SpawnsInTheEnd(place, send)));
    });
    ending.join().unwrap();
    let sum: u32 = receive.iter().map(|task| soon(task).unwrap()).sum();
    assert_eq!(sum, 2 * (0..40).sum::<u32>());
    check_sound(&pool);
}

/// Windows starts no thread during such a destructor (`docs/PLATFORMS.md`).
#[cfg(not(windows))]
#[test]
fn a_pools_own_thread_may_spawn_in_its_end() {
    let pool = pool(1, 2);
    let (send, receive) = channel();
    let place = pool.clone();
    let retiring = pool.spawn(move || {
        AFTER.set(Some(SpawnsInTheEnd(place, send)));
        sidestep::current::retire_thread();
    });
    soon(retiring).unwrap();
    let sum: u32 = receive.iter().map(|task| soon(task).unwrap()).sum();
    assert_eq!(sum, (0..40).sum::<u32>());
    check_sound(&pool);
}

#[cfg(unix)]
#[test]
fn a_forked_child_frees_and_makes_tasks_beside_those_of_the_parent() {
    let pool = pool(2, 2);
    let gate = Gate::new();
    let running = [occupy(&pool, &gate), occupy(&pool, &gate)];
    let value = Arc::new(());
    let tasks: Vec<_> = (0..100_u32)
        .map(|number| {
            let value = Arc::clone(&value);
            pool.spawn(move || (number, Arc::strong_count(&value) > 0))
        })
        .collect();
    let mut tasks = Some(tasks);
    let status = crate::support::fork::in_child(|checks| {
        let mut tasks = tasks.take().unwrap();
        for _ in 0..100 {
            checks.no_thread(soon(pool.spawn(|| 1)));
            drop(tasks.pop());
        }
        checks.check(true);
    });
    assert_eq!(status, 0);
    gate.open();
    all_well(running);
    for (index, task) in tasks.take().unwrap().into_iter().enumerate() {
        assert_eq!(soon(task).unwrap(), (u32::try_from(index).unwrap(), true));
    }
    check_sound(&pool);
}
