//! Tests of `timer`.

use super::*;
use crate::PoolBuilder;

#[test]
fn a_refused_thread_is_tried_again_and_lets_the_pool_go() {
    let config = PoolBuilder { export_every: Some(Duration::MAX), ..PoolBuilder::new() }.check().unwrap();
    let shared = Shared::new(config);
    let timer = Arc::clone(&shared.timer);
    timer.pause.begin(std::io::Error::other("no"));
    timer.keep_rounds("test");
    assert!(!timer.manned.load(Ordering::SeqCst), "not during the pause");
    timer.pause.end();
    timer.keep_rounds("test");
    assert!(timer.manned.load(Ordering::SeqCst));
    timer.stop();
    while Arc::strong_count(&shared) > 1 {
        std::thread::yield_now();
    }
}
