//! A guard for `main`: its drop shuts the pool down and waits for what is queued, for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

#[cfg(all(feature = "tracing", target_os = "linux"))]
use sidestep::Pool;

use crate::support::{Gate, PATIENCE, occupy, pool, soon};

#[test]
fn its_drop_waits_until_detached_tasks_have_run() {
    let (pool, ran) = (pool(2, 2), Arc::new(AtomicUsize::new(0)));
    let guard = pool.drain_on_drop(PATIENCE);
    for _ in 0..100 {
        let ran = Arc::clone(&ran);
        pool.spawn(move || _ = ran.fetch_add(1, Ordering::SeqCst)).detach();
    }
    assert_eq!(soon(pool.spawn(|| 1)).unwrap(), 1, "the guard itself changes nothing");
    drop(guard);
    assert_eq!(ran.load(Ordering::SeqCst), 100);
    assert!(pool.spawn(|| ()).wait().unwrap_err().is_shutdown());
    assert_eq!(pool.metrics().threads(), 0);
}

#[test]
fn it_waits_no_longer_than_its_time() {
    let (pool, gate) = (pool(1, 1), Gate::new());
    let running = occupy(&pool, &gate);
    let begun = Instant::now();
    drop(pool.drain_on_drop(Duration::from_millis(50)));
    assert!(begun.elapsed() >= Duration::from_millis(50));
    assert!(!running.is_finished());
    drop(pool.drain_on_drop(Duration::ZERO));
    gate.open();
    soon(running).unwrap();
    drop(pool.drain_on_drop(Duration::MAX));
    assert_eq!(pool.metrics().threads(), 0);
}

#[test]
fn it_may_be_dropped_while_main_panics_and_by_a_task_of_its_pool() {
    let (pool, (send, receive)) = (pool(1, 1), channel());
    let inner = pool.clone();
    let panicked = soon(pool.spawn(move || {
        let _guard = inner.drain_on_drop(PATIENCE);
        inner.spawn(move || send.send(7).unwrap()).detach();
        std::panic::resume_unwind(Box::new("on the way"));
    }));
    assert!(panicked.unwrap_err().is_panic());
    assert_eq!(receive.recv_timeout(PATIENCE), Ok(7));
    assert_eq!(pool.shutdown().wait().still_running, 0);
}

#[test]
fn two_guards_of_one_pool_wait_both() {
    let (pool, ran) = (pool(1, 1), Arc::new(AtomicUsize::new(0)));
    let guards = [pool.drain_on_drop(PATIENCE), pool.drain_on_drop(PATIENCE)];
    let runs = Arc::clone(&ran);
    pool.spawn(move || _ = runs.fetch_add(1, Ordering::SeqCst)).detach();
    let threads = guards.map(|guard| std::thread::spawn(move || drop(guard)));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(ran.load(Ordering::SeqCst), 1);
}

#[cfg(all(feature = "tracing", target_os = "linux"))]
#[test]
fn it_traces_what_is_left() {
    use std::sync::Mutex;
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    struct Hear(Arc<Mutex<String>>);
    impl<S: tracing::Subscriber> Layer<S> for Hear {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            struct Visit<'a>(&'a mut String);
            impl tracing::field::Visit for Visit<'_> {
                fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                    self.0.push_str(&format!("{field}={value:?} "));
                }
            }
            event.record(&mut Visit(&mut self.0.lock().unwrap()));
        }
    }

    let (heard, gate) = (Arc::new(Mutex::new(String::new())), Gate::new());
    let pool = Pool::builder().name("left").core_threads(1).max_threads(1).build().unwrap();
    let pass = gate.clone();
    let (begun, wait) = channel();
    let task = pool.options().name("tape drive").spawn(move || {
        begun.send(()).unwrap();
        pass.pass();
    });
    wait.recv_timeout(PATIENCE).unwrap();
    let subscriber = tracing_subscriber::registry().with(Hear(Arc::clone(&heard)));
    tracing::subscriber::with_default(subscriber, || drop(pool.drain_on_drop(Duration::ZERO)));
    let heard = heard.lock().unwrap().clone();
    for word in ["left", "tasks=1", "tape drive", "drain_guard.rs"] {
        assert!(heard.contains(word), "{word}: {heard}");
    }
    gate.open();
    soon(task).unwrap();
}
