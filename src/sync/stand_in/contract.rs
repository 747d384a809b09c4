//! The contract that the stand-ins share with the parts they stand for: each test runs against
//! both.

use std::collections::BTreeSet;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use crate::sync::atomic::{AtomicUsize, Ordering};

/// Counts its drops.
#[derive(Debug)]
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn counter() -> Arc<AtomicUsize> {
    Arc::new(AtomicUsize::new(0))
}

/// The tests of a deque; `$module` has `Injector`, `Steal`, `Stealer` and `Worker`.
macro_rules! deque_contract {
    ($name:ident, $($module:tt)+) => {
        mod $name {
            use super::{Arc, BTreeSet, Dropped, Ordering, counter, thread};
            use $($module)+::{Injector, Steal, Stealer, Worker};

            /// The next item, as `queue` takes it.
            fn take<T>(mut steal: impl FnMut() -> Steal<T>) -> Option<T> {
                loop {
                    match steal() {
                        Steal::Success(item) => return Some(item),
                        Steal::Empty => return None,
                        Steal::Retry => std::hint::spin_loop(),
                    }
                }
            }

            #[test]
            fn the_injector_is_first_in_first_out() {
                let queue = Injector::new();
                assert!(queue.is_empty());
                assert!(matches!(queue.steal(), Steal::Empty));
                for item in 0..200 {
                    queue.push(item);
                    assert!(!queue.is_empty());
                }
                let order: Vec<i32> = std::iter::from_fn(|| take(|| queue.steal())).collect();
                assert_eq!(order, (0..200).collect::<Vec<_>>());
                assert!(queue.is_empty());
                queue.push(7);
                assert_eq!(take(|| queue.steal()), Some(7), "an emptied queue works on");
            }

            #[test]
            fn a_batch_is_the_oldest_and_leaves_the_order() {
                let (queue, worker) = (Injector::new(), Worker::new_fifo());
                assert!(take(|| queue.steal_batch_with_limit_and_pop(&worker, 4)).is_none());
                (0..12).for_each(|item| queue.push(item));
                assert_eq!(take(|| queue.steal_batch_with_limit_and_pop(&worker, 4)), Some(0));
                assert_eq!(take(|| queue.steal()), Some(4), "half of what is there, and the limit");
                let mine: Vec<i32> = std::iter::from_fn(|| worker.pop()).collect();
                assert_eq!(mine, [1, 2, 3]);
                assert_eq!(take(|| queue.steal_batch_with_limit_and_pop(&worker, 1)), Some(5));
                assert!(worker.is_empty(), "one is one");
                let rest: Vec<i32> = std::iter::from_fn(|| take(|| queue.steal())).collect();
                assert_eq!(rest, (6..12).collect::<Vec<_>>());
            }

            #[test]
            fn owner_and_thief_take_the_oldest() {
                let worker = Worker::new_fifo();
                let thieves: [Stealer<i32>; 2] = [worker.stealer(), worker.stealer()];
                assert!(worker.is_empty() && thieves.iter().all(Stealer::is_empty));
                assert!(worker.pop().is_none() && matches!(thieves[0].steal(), Steal::Empty));
                for item in 0..6 {
                    worker.push(item);
                }
                assert!(!worker.is_empty() && !thieves.iter().any(Stealer::is_empty));
                assert_eq!(worker.pop(), Some(0));
                assert_eq!(take(|| thieves[0].steal()), Some(1));
                assert_eq!(worker.pop(), Some(2));
                assert_eq!(take(|| thieves[1].steal()), Some(3));
                assert_eq!(take(|| thieves[0].steal()), Some(4));
                assert_eq!(worker.pop(), Some(5));
                assert!(worker.pop().is_none() && worker.is_empty() && thieves[0].is_empty());
            }

            #[test]
            fn every_item_is_taken_once() {
                const ITEMS: usize = 4000;
                let (injector, worker) = (Arc::new(Injector::new()), Worker::new_fifo());
                let thieves: Vec<_> = (0..3)
                    .map(|_| {
                        let (injector, stealer) = (Arc::clone(&injector), worker.stealer());
                        thread::spawn(move || {
                            let mut taken = Vec::new();
                            while taken.last() != Some(&usize::MAX) {
                                let item = take(|| stealer.steal()).or_else(|| take(|| injector.steal()));
                                taken.extend(item);
                            }
                            taken.pop();
                            taken
                        })
                    })
                    .collect();
                let mut taken = Vec::new();
                for item in 0..ITEMS {
                    if item % 2 == 0 { worker.push(item) } else { injector.push(item) }
                    if item % 7 == 0 {
                        taken.extend(worker.pop());
                    }
                }
                taken.extend(std::iter::from_fn(|| worker.pop()));
                // Each thief stops at one of these.
                thieves.iter().for_each(|_| injector.push(usize::MAX));
                for thief in thieves {
                    let stolen = thief.join().unwrap();
                    assert!(stolen.iter().filter(|item| **item % 2 == 1).is_sorted(), "in the injector's order");
                    assert!(stolen.iter().filter(|item| **item % 2 == 0).is_sorted(), "in the deque's order");
                    taken.extend(stolen);
                }
                assert_eq!(taken.len(), ITEMS, "none twice");
                assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), (0..ITEMS).collect(), "all of them");
            }

            #[test]
            fn what_is_left_is_dropped_with_the_queue() {
                let drops = counter();
                let (injector, worker) = (Injector::new(), Worker::new_fifo());
                for _ in 0..3 {
                    injector.push(Dropped(Arc::clone(&drops)));
                    worker.push(Dropped(Arc::clone(&drops)));
                }
                let stealer = worker.stealer();
                drop(take(|| injector.steal()));
                assert_eq!(drops.load(Ordering::SeqCst), 1);
                drop(injector);
                assert_eq!(drops.load(Ordering::SeqCst), 3);
                drop(worker);
                drop(take(|| stealer.steal()));
                assert_eq!(drops.load(Ordering::SeqCst), 4, "a thief keeps the deque");
                drop(stealer);
                assert_eq!(drops.load(Ordering::SeqCst), 6);
            }
        }
    };
}

deque_contract!(crossbeam_deque, ::crossbeam_deque);
deque_contract!(stand_in_deque, crate::sync::stand_in::deque);

/// A waker that counts; dropping it counts as well.
struct Bell {
    rings: AtomicUsize,
    panics: bool,
    _dropped: Dropped,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rings.fetch_add(1, Ordering::SeqCst);
        if self.panics {
            resume_unwind(Box::new("a waker that panics"));
        }
    }
}

fn bell(drops: &Arc<AtomicUsize>, panics: bool) -> (Arc<Bell>, Waker) {
    let bell = Bell { rings: AtomicUsize::new(0), panics, _dropped: Dropped(Arc::clone(drops)) };
    let bell = Arc::new(bell);
    (Arc::clone(&bell), Waker::from(bell))
}

fn rings(bell: &Bell) -> usize {
    bell.rings.load(Ordering::SeqCst)
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// The tests of a oneshot; `$module` has `channel` and `Canceled`.
macro_rules! oneshot_contract {
    ($name:ident, $($module:tt)+) => {
        mod $name {
            use super::{
                Arc, AssertUnwindSafe, Dropped, Ordering, Poll, Waker, bell, catch_unwind, counter, mpsc, poll,
                rings, thread,
            };
            use $($module)+::{Canceled, channel};

            #[test]
            fn a_value_sent_early_waits() {
                let (sender, mut receiver) = channel();
                assert_eq!(sender.send(7), Ok(()));
                assert_eq!(poll(&mut receiver, Waker::noop()), Poll::Ready(Ok(7)));
            }

            #[test]
            fn a_waiting_receiver_is_woken_once() {
                let (drops, (sender, mut receiver)) = (counter(), channel());
                let (old, old_waker) = bell(&drops, false);
                let (new, new_waker) = bell(&drops, false);
                assert_eq!(poll(&mut receiver, &old_waker), Poll::Pending);
                assert_eq!(poll(&mut receiver, &new_waker), Poll::Pending);
                assert_eq!(sender.send(7), Ok(()));
                assert_eq!((rings(&old), rings(&new)), (0, 1), "the last waker, once");
                assert_eq!(poll(&mut receiver, &new_waker), Poll::Ready(Ok(7)));
                drop(receiver);
                assert_eq!(rings(&new), 1);
            }

            #[test]
            fn a_dropped_sender_wakes_and_cancels() {
                let (drops, (sender, mut receiver)) = (counter(), channel::<i32>());
                let (bell, waker) = bell(&drops, false);
                assert_eq!(poll(&mut receiver, &waker), Poll::Pending);
                drop(sender);
                assert_eq!(rings(&bell), 1);
                assert_eq!(poll(&mut receiver, &waker), Poll::Ready(Err(Canceled)));
            }

            #[test]
            fn a_dropped_receiver_gives_the_value_back() {
                let (sender, receiver) = channel();
                drop(receiver);
                assert_eq!(sender.send(7), Err(7));
            }

            #[test]
            fn an_unread_value_is_dropped_with_the_receiver() {
                let (drops, (sender, receiver)) = (counter(), channel());
                assert!(sender.send(Dropped(Arc::clone(&drops))).is_ok());
                assert_eq!(drops.load(Ordering::SeqCst), 0);
                drop(receiver);
                assert_eq!(drops.load(Ordering::SeqCst), 1);
            }

            #[test]
            fn a_waker_is_dropped_with_the_receiver() {
                let (drops, (sender, mut receiver)) = (counter(), channel::<i32>());
                let (bell, waker) = bell(&drops, false);
                assert_eq!(poll(&mut receiver, &waker), Poll::Pending);
                drop(waker);
                drop(receiver);
                assert_eq!((rings(&bell), Arc::strong_count(&bell)), (0, 1), "let go of, unrung");
                drop(bell);
                assert_eq!(drops.load(Ordering::SeqCst), 1);
                assert_eq!(sender.send(7), Err(7));
            }

            #[test]
            fn try_recv_tells_the_states_apart() {
                let (sender, mut receiver) = channel();
                assert_eq!(receiver.try_recv(), Ok(None), "it may come");
                assert_eq!(sender.send(7), Ok(()));
                assert_eq!(receiver.try_recv(), Ok(Some(7)));
                assert_eq!(receiver.try_recv(), Err(Canceled), "it has been");
                let (sender, mut receiver) = channel::<i32>();
                drop(sender);
                assert_eq!(receiver.try_recv(), Err(Canceled), "it will not come");
            }

            #[test]
            fn a_panic_in_a_waker_leaves_the_value() {
                let (drops, (sender, mut receiver)) = (counter(), channel());
                let (bell, waker) = bell(&drops, true);
                assert_eq!(poll(&mut receiver, &waker), Poll::Pending);
                assert!(catch_unwind(AssertUnwindSafe(|| sender.send(7))).is_err());
                assert_eq!(rings(&bell), 1);
                assert_eq!(poll(&mut receiver, Waker::noop()), Poll::Ready(Ok(7)));
            }

            #[test]
            fn threads_that_race_drop_the_value_once() {
                let drops = counter();
                for round in 1..=500 {
                    let (sender, receiver) = channel();
                    let value = Dropped(Arc::clone(&drops));
                    let (start, started) = mpsc::channel();
                    let thread = thread::spawn(move || {
                        start.send(()).unwrap();
                        drop(sender.send(value));
                    });
                    started.recv().unwrap();
                    drop(receiver);
                    thread.join().unwrap();
                    assert_eq!(drops.load(Ordering::SeqCst), round, "by whoever lets go last");
                }
            }
        }
    };
}

oneshot_contract!(futures_channel, ::futures_channel::oneshot);
oneshot_contract!(stand_in_oneshot, crate::sync::stand_in::oneshot);
