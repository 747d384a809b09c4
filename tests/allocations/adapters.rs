//! What the adapters keep.

use sidestep::{Promise, TaskError, Unblock};

use super::{bytes, eventually, one_thread, turn};

#[test]
fn a_fresh_unblock_costs_less_than_a_kibibyte_in_all() {
    let _turn = turn();
    let make = || Unblock::new(std::io::Cursor::new(Vec::<u8>::new()));
    // The least: meanwhile a thread of the pool may do what is left of another one's end.
    let measure = || {
        let before = bytes();
        let fresh = make();
        (bytes() - before).unsigned_abs() + size_of_val(&fresh)
    };
    let cost = (0..20).map(|_| measure()).min().unwrap_or_default();
    println!("{cost} bytes for a fresh Unblock");
    assert!((100..1024).contains(&cost), "{cost} bytes for a fresh Unblock");
}

#[test]
fn an_unblock_at_rest_keeps_no_buffers() {
    use futures_util::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

    let _turn = turn();
    let pool = one_thread();
    let text = vec![7; 1 << 20];
    let mut file = Unblock::new(tempfile::tempfile().unwrap()).on(&pool);
    let mut whole = Vec::with_capacity(2 << 20);
    let before = bytes();
    sidestep::block_on(async {
        file.write_all(&text).await.unwrap();
        file.flush().await.unwrap();
        file.seek(std::io::SeekFrom::Start(0)).await.unwrap();
        file.read_to_end(&mut whole).await.unwrap();
    });
    assert!(whole == text);
    // A chunk that has just been read is with the handle, and the pool has a cell or two.
    eventually("the buffers are given back", || bytes() - before < 24 * 1024);
    drop(file);
    pool.shutdown().wait();
}

#[test]
fn recursion_by_promises_takes_no_more_memory_the_longer_it_goes_on() {
    const DEEP: u32 = 1_000_000;
    // Less than a bit for each step, and enough for threads that the pool starts meanwhile.
    const MOST: isize = 64 << 10;
    fn count(left: u32, before: isize) -> Promise<u32, TaskError> {
        Promise::resolve(left).then(move |left| {
            let held = bytes() - before;
            assert!(held < MOST, "{held} bytes, {left} to go");
            if left == 0 { Promise::resolve(DEEP) } else { count(left - 1, before) }
        })
    }
    let _turn = turn();
    assert_eq!(count(DEEP, bytes()).wait().unwrap(), DEEP);
}
