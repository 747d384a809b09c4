//! User code that uses the pool from inside of the pool: destructors and subscribers.

use sidestep::Pool;

use crate::support::{Drops, Gate, PATIENCE, eventually, occupy, pool, soon};

#[cfg(feature = "tracing")]
mod subscriber {
    //! A subscriber is user code.

    use std::io;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::channel;
    use std::thread;

    use sidestep::{NewThread, Pool};
    use tracing::{Dispatch, Event, Metadata, Subscriber, dispatcher, span};

    use crate::support::{
        Drops, Gate, PATIENCE, PanicOnDrop, check_sound, eventually, occupy, quiet_panic, soon,
    };

    fn os_thread(new: NewThread) -> io::Result<()> {
        thread::Builder::new().spawn(move || new.run()).map(drop)
    }

    struct Calls<F>(F);

    impl<F: Fn() + Send + Sync + 'static> Subscriber for Calls<F> {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "sidestep"
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, _: &Event<'_>) {
            (self.0)();
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    /// It writes its records on the pool that it is told about, which cools down.
    #[test]
    fn it_may_use_the_pool() {
        let first = AtomicBool::new(true);
        let handler = move |new| match first.swap(false, Ordering::SeqCst) {
            true => os_thread(new),
            false => Err(io::Error::other("no more")),
        };
        let pool = Pool::builder().core_threads(4).max_threads(4).spawn_handler(handler).build().unwrap();
        let gate = Gate::new();
        let busy = occupy(&pool, &gate);
        let (inner, inside) = (pool.clone(), Mutex::new(()));
        let dispatch = Dispatch::new(Calls(move || {
            if let Ok(_first) = inside.try_lock() {
                inner.spawn(|| ()).detach();
            }
        }));
        let (other, (send, receive)) = (pool.clone(), channel());
        thread::spawn(move || {
            dispatcher::with_default(&dispatch, || {
                eventually("the third refusal", || {
                    other.spawn(|| ()).detach();
                    other.metrics().spawn_failures() >= 3
                });
            });
            send.send(()).unwrap();
        });
        receive.recv_timeout(PATIENCE).expect("an event was recorded under a lock");
        gate.open();
        soon(busy).unwrap();
        check_sound(&pool);
    }

    #[test]
    fn it_may_panic() {
        let dispatch = Dispatch::new(Calls(|| quiet_panic("a subscriber")));
        let handler = move |new: NewThread| {
            let dispatch = dispatch.clone();
            thread::spawn(move || dispatcher::with_default(&dispatch, || new.run()));
            Ok(())
        };
        let pool = Pool::builder().core_threads(1).max_threads(1).spawn_handler(handler).build().unwrap();
        let gate = Gate::new();
        let pass = gate.clone();
        pool.spawn(move || {
            pass.pass();
            PanicOnDrop(Drops::new())
        })
        .detach();
        gate.open();
        assert_eq!(soon(pool.spawn(|| 42)).unwrap(), 42, "the only thread is still there");
        check_sound(&pool);
    }
}

/// A user's destructor runs under the pool's lock: tokio.
// Origin: pitfall 8
#[test]
fn a_closure_may_use_the_pool_when_it_is_dropped() {
    struct UsesPool(Pool, Drops);
    impl Drop for UsesPool {
        fn drop(&mut self) {
            let token = self.1.token();
            self.0.spawn(move || drop(token)).detach();
            assert!(self.0.metrics().tasks_submitted() > 0);
            let _ = format!("{:?}", self.0);
            drop(self.0.clone());
        }
    }
    let pool = pool(1, 1);
    let gate = Gate::new();
    let running = occupy(&pool, &gate);
    let drops = Drops::new();
    let closure = || {
        let captured = UsesPool(pool.clone(), drops.clone());
        move || drop(captured)
    };
    let handle = pool.spawn(closure());
    drop(pool.spawn(closure()));
    handle.cancel_handle().cancel();
    gate.open();
    soon(running).unwrap();
    eventually("both have spawned", || drops.count() == 2);
    drop(pool.spawn(closure()).cancel().wait());
    assert_eq!(pool.shutdown().discard_queued().timeout(PATIENCE).wait().still_running, 0);
}
