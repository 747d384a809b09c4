//! A value on a thread of its own: where it is made, used and dropped.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use sidestep::{Dedicated, Pool, Task, current};

use crate::support::{
    Drops, Gate, PanicOnDrop, all_well, eventually, nothing_happens, occupy, pool, quiet_panic, soon,
};

/// Not `Send`; says where it was made and dropped.
struct Local {
    events: Arc<Mutex<Vec<(&'static str, ThreadId)>>>,
    count: Rc<Cell<u32>>,
}

impl Local {
    fn new(events: &Arc<Mutex<Vec<(&'static str, ThreadId)>>>) -> Self {
        let local = Local { events: Arc::clone(events), count: Rc::default() };
        local.note("made");
        local
    }

    fn note(&self, what: &'static str) {
        self.events.lock().unwrap().push((what, thread::current().id()));
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.note("dropped");
    }
}

#[test]
fn a_value_that_is_not_send_is_made_used_and_dropped_on_one_thread() {
    let events = Arc::default();
    let seen = Arc::clone(&events);
    let dedicated = Dedicated::new(move || Local::new(&seen)).unwrap();
    for expected in 1..=100 {
        let count = dedicated.call(|local| {
            local.note("used");
            local.count.set(local.count.get() + 1);
            local.count.get()
        });
        assert_eq!(soon(count).unwrap(), expected);
    }
    drop(dedicated);
    eventually("it is dropped", || events.lock().unwrap().len() == 102);
    let events = events.lock().unwrap();
    let (_, home) = events[0];
    assert_ne!(home, thread::current().id());
    assert!(events.iter().all(|(_, thread)| *thread == home), "{events:?}");
    assert_eq!((events[0].0, events[101].0), ("made", "dropped"));
}

#[test]
fn calls_of_many_threads_take_turns_in_order() {
    let dedicated = Dedicated::new(|| Rc::new(RefCell::new(Vec::new()))).unwrap();
    thread::scope(|scope| {
        for caller in 0..4 {
            let dedicated = dedicated.clone();
            scope.spawn(move || {
                let calls = (0..100).map(|number| {
                    dedicated.call(move |list: &mut Rc<RefCell<Vec<(i32, i32)>>>| {
                        list.borrow_mut().push((caller, number));
                    })
                });
                all_well(calls.collect::<Vec<_>>());
            });
        }
    });
    let list = soon(dedicated.call(|list| list.borrow().clone())).unwrap();
    for caller in 0..4 {
        let own: Vec<_> = list.iter().filter(|(by, _)| *by == caller).map(|(_, number)| *number).collect();
        assert_eq!(own, (0..100).collect::<Vec<_>>());
    }
}

#[test]
fn it_counts_in_no_other_pool() {
    let pool = pool(1, 1);
    let gate = Gate::new();
    let busy = occupy(&pool, &gate);
    let (threads, tasks) = (pool.metrics().threads(), pool.metrics().tasks_submitted());
    let dedicated = Dedicated::new(|| thread::current().id()).unwrap();
    let home = soon(dedicated.call(|home| *home)).unwrap();
    assert_eq!((pool.metrics().threads(), pool.metrics().tasks_submitted()), (threads, tasks));
    gate.open();
    soon(busy).unwrap();
    assert_ne!(soon(pool.spawn(|| thread::current().id())).unwrap(), home);
    assert_eq!(dedicated.metrics().tasks_completed(), 1);
}

#[test]
fn a_value_that_fails_to_come_about_says_why() {
    let failed = Dedicated::try_new(|| Err::<Rc<()>, _>(io::Error::other("no device"))).unwrap();
    assert_eq!(soon(failed).unwrap().unwrap_err().to_string(), "no device");
    let panicked = Dedicated::try_new(|| -> Result<Rc<()>, ()> { quiet_panic("no driver") }).unwrap();
    assert!(soon(panicked).unwrap_err().is_panic());
    let there = Dedicated::try_new(|| Ok::<_, ()>(Rc::new(5))).unwrap();
    let there = soon(there).unwrap().unwrap();
    assert_eq!(soon(there.call(|value| **value)).unwrap(), 5);
}

#[test]
fn a_value_made_for_nobody_is_dropped_on_its_thread() {
    let events = Arc::default();
    let (seen, started, gate) = (Arc::clone(&events), Gate::new(), Gate::new());
    let (announce, pass) = (started.clone(), gate.clone());
    let task = Dedicated::try_new(move || {
        announce.open();
        pass.pass();
        Ok::<_, ()>(Local::new(&seen))
    });
    started.pass();
    drop(task.unwrap());
    gate.open();
    eventually("it is dropped", || events.lock().unwrap().len() == 2);
    let events = events.lock().unwrap();
    assert_eq!(events[0].1, events[1].1);
}

#[test]
fn a_panic_in_the_making_refuses_all_calls() {
    let dedicated: Dedicated<Rc<()>> = Dedicated::new(|| quiet_panic("no driver")).unwrap();
    assert!(soon(dedicated.call(|_| ())).unwrap_err().is_poisoned());
    assert!(dedicated.is_poisoned());
    dedicated.clear_poison();
    assert!(soon(dedicated.call(|_| ())).unwrap_err().is_shutdown(), "there is no value");
}

#[test]
fn a_panic_poisons_and_the_value_stays() {
    let dedicated = Dedicated::new(|| Rc::new(Cell::new(1))).unwrap();
    let broken: Task<()> = dedicated.call(|value| {
        value.set(2);
        quiet_panic("half done")
    });
    assert!(soon(broken).unwrap_err().is_panic());
    assert!(soon(dedicated.call(|_| ())).unwrap_err().is_poisoned());
    dedicated.clear_poison();
    assert_eq!(soon(dedicated.call(|value| value.get())).unwrap(), 2);
}

#[test]
fn a_call_that_waits_for_its_own_thread_is_told() {
    let dedicated = Dedicated::new(|| Rc::new(0)).unwrap();
    let own = dedicated.clone();
    let error = soon(dedicated.call(move |_| own.call(|_| ()).wait())).unwrap().unwrap_err();
    assert!(error.is_deadlock(), "{error}");
    soon(dedicated.call(|_| ())).unwrap();
}

#[test]
fn a_queued_call_is_cancelled_at_once_and_a_running_one_is_told() {
    let dedicated = Dedicated::new(|| Rc::new(0)).unwrap();
    let (started, interrupted, drops) = (Gate::new(), Gate::new(), Drops::new());
    let announce = started.clone();
    let running = dedicated.call(move |_| {
        let interrupt = interrupted.clone();
        let _guard = current::on_cancel(move || interrupt.open());
        announce.open();
        interrupted.pass();
    });
    started.pass();
    let token = drops.token();
    drop(dedicated.call(move |_| drop(token)));
    assert_eq!(drops.count(), 1);
    drop(running);
    soon(dedicated.call(|_| ())).unwrap();
}

#[test]
fn close_tells_when_the_value_is_dropped_and_refuses_later_calls() {
    let drops = Drops::new();
    let token = drops.token();
    let dedicated = Dedicated::new(move || (token, Rc::new(()))).unwrap();
    let other = dedicated.clone();
    soon(dedicated.close()).unwrap();
    assert_eq!(drops.count(), 1);
    assert!(soon(other.call(|_| ())).unwrap_err().is_shutdown());
    let bomb = PanicOnDrop(drops.clone());
    let dedicated = Dedicated::new(move || bomb).unwrap();
    assert!(soon(dedicated.close()).unwrap_err().is_panic());
    assert_eq!(drops.count(), 2);
}

#[test]
fn a_value_that_is_send_comes_out() {
    let dedicated = Dedicated::new(|| vec![1]).unwrap();
    dedicated.call(|list| list.push(2)).detach();
    assert_eq!(soon(dedicated.into_inner()).unwrap(), [1, 2]);
}

#[test]
fn retiring_the_thread_ends_the_value_with_it() {
    let events = Arc::default();
    let seen = Arc::clone(&events);
    let dedicated = Dedicated::new(move || Local::new(&seen)).unwrap();
    soon(dedicated.call(|_| current::retire_thread())).unwrap();
    assert!(soon(dedicated.call(|_| ())).unwrap_err().is_shutdown());
    eventually("it is dropped", || events.lock().unwrap().len() == 2);
    let events = events.lock().unwrap();
    assert_eq!(events[0].1, events[1].1, "where it was made");
}

#[test]
fn one_value_dropped_on_the_thread_of_another_leaves_that_alone() {
    let drops = Drops::new();
    let token = drops.token();
    let inner = Dedicated::new(move || (token, Rc::new(1))).unwrap();
    let outer = Dedicated::new(|| Rc::new(2)).unwrap();
    let task = outer.call(move |_| drop(inner));
    soon(task).unwrap();
    eventually("the inner one is dropped", || drops.count() == 1);
    assert_eq!(soon(outer.call(|value| **value)).unwrap(), 2);
}

#[test]
fn an_idle_thread_stays_and_ends_with_the_last_handle() {
    let builder = Pool::builder().name("lodger").keep_alive(std::time::Duration::from_millis(1));
    let dedicated = Dedicated::with(builder, || thread::current().id()).unwrap();
    let home = soon(dedicated.call(|home| *home)).unwrap();
    nothing_happens();
    assert_eq!(soon(dedicated.call(|_| thread::current().id())).unwrap(), home);
    drop(dedicated);
    #[cfg(target_os = "linux")]
    eventually("the thread has ended", || crate::support::threads_called("lodger") == 0);
}

#[test]
fn a_thread_that_is_refused_is_an_error() {
    let builder = Pool::builder().spawn_handler(|_| Err(io::Error::other("no more threads")));
    let drops = Drops::new();
    let token = drops.token();
    let error = Dedicated::with(builder, move || token).map(drop).unwrap_err();
    assert!(error.to_string().contains("no more threads"), "{error}");
    assert_eq!(drops.count(), 1);
}

#[test]
fn the_handle_is_send_and_sync_though_the_value_is_not() {
    fn check<T: Send + Sync + Unpin + std::panic::UnwindSafe + std::panic::RefUnwindSafe>(_: &T) {}
    let dedicated = Dedicated::new(|| Rc::new(Cell::new(0))).unwrap();
    check(&dedicated);
    assert!(format!("{dedicated:?}").starts_with("Dedicated"));
}

#[test]
fn calls_beyond_the_limit_are_refused_and_the_making_is_none_of_them() {
    let (started, gate) = (Gate::new(), Gate::new());
    let (announce, pass) = (started.clone(), gate.clone());
    let making = move || {
        announce.open();
        pass.pass();
        Rc::new(7)
    };
    let dedicated = Dedicated::with(Pool::builder().queue_limit(1), making).unwrap();
    started.pass();
    let queued = dedicated.call(|value| **value);
    assert!(soon(dedicated.call(|_| ())).unwrap_err().is_full());
    assert_eq!(dedicated.metrics().tasks_queued(), 1);
    gate.open();
    assert_eq!(soon(queued).unwrap(), 7);
    assert_eq!(dedicated.metrics().tasks_completed(), 1);
    let none = Dedicated::with(Pool::builder().queue_limit(0), || ());
    assert!(none.unwrap_err().to_string().contains("queue_limit (0)"));
}
