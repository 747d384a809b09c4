//! The timer thread, where the system refuses it.

use super::*;
use crate::PoolBuilder;
use crate::pool::config::Config;
use crate::pool::inner::Inner;

#[test]
fn a_refused_thread_is_tried_again_and_lets_the_pool_go() {
    let config = Config { export_every: Some(Duration::MAX), ..PoolBuilder::new().check().unwrap() };
    let pool = Inner::new(config);
    let expiry = Arc::clone(&pool.expiry);
    expiry.backoff.begin(std::io::Error::other("no"));
    expiry.keep_publishing("test");
    assert!(!expiry.has_thread.load(Ordering::SeqCst), "not during the pause");
    expiry.backoff.end();
    expiry.keep_publishing("test");
    assert!(expiry.has_thread.load(Ordering::SeqCst));
    expiry.stop();
    while Arc::strong_count(&pool) > 1 {
        std::thread::yield_now();
    }
}
