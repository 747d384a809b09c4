//! What closures return, whatever its size and alignment: it is handed over whole, or dropped once.

use std::thread;

use sidestep::{Pool, Task};

use crate::support::{DropToken, Drops, Gate, check_sound, occupy, pool, soon};

/// A value that is large, or wants to be aligned, beside a token that counts its drop.
trait Value: Send + 'static {
    fn new(mark: u8, token: DropToken) -> Self;
    fn is_whole(&self, mark: u8) -> bool;
}

struct Bytes<const N: usize>([u8; N], #[expect(dead_code, reason = "it counts")] DropToken);

impl<const N: usize> Value for Bytes<N> {
    fn new(mark: u8, token: DropToken) -> Self {
        Bytes([mark; N], token)
    }
    fn is_whole(&self, mark: u8) -> bool {
        self.0.iter().all(|&byte| byte == mark)
    }
}

#[repr(align(256))]
struct Aligned(Bytes<40>);

impl Value for Aligned {
    fn new(mark: u8, token: DropToken) -> Self {
        Aligned(Bytes::new(mark, token))
    }
    fn is_whole(&self, mark: u8) -> bool {
        (&raw const *self).addr().is_multiple_of(256) && self.0.is_whole(mark)
    }
}

/// Has a value of this type go each of the ways that there are.
fn all_ways<V: Value>(pool: &Pool) {
    let drops = Drops::new();
    let mut mark = 0;
    let mut value = || {
        mark += 1;
        let (mark, token) = (mark, drops.token());
        (mark, move || V::new(mark, token))
    };
    let take = |(mark, closure)| assert!(soon::<V>(pool.spawn(closure)).unwrap().is_whole(mark));
    take(value());
    let (mark_of, closure) = value();
    assert!(pool.spawn(closure).wait().unwrap().is_whole(mark_of));
    let (mark_of, closure) = value();
    let mut batch = pool.spawn_batch([closure]).wait();
    assert!(batch.remove(0).unwrap().is_whole(mark_of));
    let (mark_of, closure) = value();
    assert!(pool.scope(|scope| scope.spawn(closure).wait().unwrap()).is_whole(mark_of));
    assert_eq!(drops.count(), 4, "taken");
    let ways: [fn(Task<V>); 3] = [drop, Task::detach, |task| drop(task.cancel())];
    for let_go in ways {
        // The task is queued, runs, has ended.
        let gate = Gate::new();
        let busy = occupy(pool, &gate);
        let_go(pool.spawn(value().1));
        gate.open();
        soon(busy).unwrap();
        let (gate, began, closure) = (Gate::new(), Gate::new(), value().1);
        let (pass, begin) = (gate.clone(), began.clone());
        let task = pool.spawn(move || {
            begin.open();
            pass.pass();
            closure()
        });
        began.pass();
        let_go(task);
        gate.open();
        let task = pool.spawn(value().1);
        soon(pool.spawn(|| ())).unwrap();
        assert!(task.is_finished(), "the only thread has done one after the other");
        let_go(task);
    }
    pool.scope(|scope| drop(scope.spawn(value().1)));
    soon(pool.spawn(|| ())).unwrap();
    assert_eq!(drops.count(), 4 + 3 * 3 + 1, "each once");
}

#[test]
fn values_of_all_sizes_are_taken_whole_or_dropped_once() {
    let pool = pool(1, 1);
    all_ways::<Bytes<0>>(&pool);
    all_ways::<Bytes<1>>(&pool);
    all_ways::<Bytes<64>>(&pool);
    all_ways::<Bytes<190>>(&pool);
    all_ways::<Bytes<1_000>>(&pool);
    all_ways::<Bytes<65_536>>(&pool);
    all_ways::<Aligned>(&pool);
    check_sound(&pool);
}

/// The room for a value is in the task's memory, and not on the stack of its spawner.
#[test]
fn who_spawns_needs_no_stack_for_the_value() {
    let pool = Pool::builder().max_threads(1).stack_size(64 << 20).build().unwrap();
    let inner = pool.clone();
    let spawner = thread::Builder::new().stack_size(256 << 10).spawn(move || {
        for _ in 0..10 {
            inner.spawn(|| std::hint::black_box([1_u8; 1 << 20])).detach();
        }
    });
    spawner.unwrap().join().unwrap();
    check_sound(&pool);
}
