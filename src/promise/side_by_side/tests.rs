//! Which futures a poll asks, and whom a wake-up wakes.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::SideBySide;

/// Counts the wake-ups of the task.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A future that is ready once its cell says so, and logs its polls.
struct Member {
    index: usize,
    polls: Rc<RefCell<Vec<usize>>>,
    ready: Rc<Cell<bool>>,
    waker: Rc<RefCell<Option<Waker>>>,
    wakes_itself: bool,
}

impl Future for Member {
    type Output = usize;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<usize> {
        self.polls.borrow_mut().push(self.index);
        if self.ready.get() {
            return Poll::Ready(10 * self.index);
        }
        self.waker.replace(Some(context.waker().clone()));
        if self.wakes_itself {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// Members, and what the test holds of each.
struct Handles {
    polls: Rc<RefCell<Vec<usize>>>,
    ready: Vec<Rc<Cell<bool>>>,
    wakers: Vec<Rc<RefCell<Option<Waker>>>>,
}

impl Handles {
    fn wake(&self, index: usize) {
        self.wakers[index].borrow().iter().for_each(Waker::wake_by_ref);
    }

    fn take_polls(&self) -> Vec<usize> {
        self.polls.take()
    }
}

fn members(count: usize, wakes_itself: bool) -> (SideBySide<Member>, Handles) {
    let handles = Handles {
        polls: Rc::default(),
        ready: (0..count).map(|_| Rc::default()).collect(),
        wakers: (0..count).map(|_| Rc::default()).collect(),
    };
    let member = |index| Member {
        index,
        polls: Rc::clone(&handles.polls),
        ready: Rc::clone(&handles.ready[index]),
        waker: Rc::clone(&handles.wakers[index]),
        wakes_itself,
    };
    (SideBySide::new((0..count).map(member).collect()), handles)
}

fn poll(futures: &mut SideBySide<Member>, task: &Waker) -> Poll<Option<(usize, usize)>> {
    pin!(futures.next()).poll(&mut Context::from_waker(task))
}

#[test]
fn a_poll_asks_only_those_that_have_been_woken() {
    let (mut futures, handles) = members(100, false);
    let woken = Arc::new(Woken::default());
    let task = Waker::from(Arc::clone(&woken));
    assert!(poll(&mut futures, &task).is_pending());
    assert_eq!(handles.take_polls(), (0..100).collect::<Vec<_>>(), "at first all, in their order");

    for index in [70, 3, 70] {
        handles.wake(index);
    }
    assert_eq!(woken.0.load(Ordering::Relaxed), 1, "one poll is enough for both");
    handles.ready[3].set(true);
    assert_eq!(poll(&mut futures, &task), Poll::Ready(Some((3, 30))));
    assert_eq!(handles.take_polls(), [70, 3], "in the order of their wake-ups, each once");

    handles.wake(3);
    assert!(poll(&mut futures, &task).is_pending());
    assert_eq!(handles.take_polls(), [], "one that has left is not asked");
}

#[test]
fn the_task_that_polled_last_is_woken() {
    let (mut futures, handles) = members(2, false);
    let woken: [Arc<Woken>; 2] = Default::default();
    let tasks = woken.each_ref().map(|woken| Waker::from(Arc::clone(woken)));
    assert!(poll(&mut futures, &tasks[0]).is_pending());
    assert!(poll(&mut futures, &tasks[1]).is_pending());
    handles.wake(1);
    assert_eq!(woken.each_ref().map(|woken| woken.0.load(Ordering::Relaxed)), [0, 1]);
}

#[test]
fn all_leave_and_then_there_is_none() {
    let (mut futures, handles) = members(3, false);
    let task = Waker::noop();
    handles.ready.iter().for_each(|ready| ready.set(true));
    let outputs: Vec<_> = (0..4).map(|_| poll(&mut futures, task)).collect();
    assert_eq!(outputs, [Some((0, 0)), Some((1, 10)), Some((2, 20)), None].map(Poll::Ready));
    assert_eq!(poll(&mut members(0, false).0, task), Poll::Ready(None));
}

#[test]
fn futures_that_wake_themselves_let_the_task_go() {
    let (mut futures, handles) = members(5, true);
    let woken = Arc::new(Woken::default());
    assert!(poll(&mut futures, &Waker::from(Arc::clone(&woken))).is_pending());
    assert_eq!(handles.take_polls().len(), 5);
    assert!(woken.0.load(Ordering::Relaxed) > 0, "it comes back");
}

#[test]
fn wakers_that_live_on_do_not_keep_that_of_the_task() {
    let (mut futures, handles) = members(2, false);
    let woken = Arc::new(Woken::default());
    assert!(poll(&mut futures, &Waker::from(Arc::clone(&woken))).is_pending());
    assert_eq!(Arc::strong_count(&woken), 2);
    drop(futures);
    assert_eq!(Arc::strong_count(&woken), 1);
    handles.wake(0);
    assert_eq!(woken.0.load(Ordering::Relaxed), 0);
}
