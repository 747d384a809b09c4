//! What the system says of stacks, held against stacks of known sizes.

use std::hint::black_box;
use std::thread;

use super::*;

/// What `f` returns on a thread with a stack of `size` bytes.
fn on_stack<T: Send + 'static>(size: usize, f: impl FnOnce() -> T + Send + 'static) -> T {
    thread::Builder::new().stack_size(size).spawn(f).expect("a thread").join().expect("no panic")
}

/// What is left with so many frames of at least 1 KiB more on the stack.
#[inline(never)]
fn left_below(frames: u32) -> usize {
    let filler = black_box([0_u8; 1024]);
    let left =
        if frames == 0 { of_this_thread().expect("a known stack").left } else { left_below(frames - 1) };
    black_box(filler);
    left
}

#[test]
fn the_size_is_at_least_the_one_that_the_thread_was_made_with() {
    for size in [256 << 10, 2 << 20, 64 << 20] {
        let stack = on_stack(size, of_this_thread).unwrap();
        // Less what the system takes for itself; and the C library may use the larger stack of a
        // thread that has ended again.
        assert!(stack.size >= size - (64 << 10), "{size}: {stack:?}");
        assert!(stack.left <= stack.size && stack.left >= stack.size / 2, "{size}: {stack:?}");
    }
}

#[test]
fn frames_take_of_what_is_left() {
    let (above, below) = on_stack(2 << 20, || (left_below(0), left_below(200)));
    assert!(above - below >= 200 << 10, "{above} {below}");
    assert!(below > 0 && above < 2 << 20, "{above} {below}");
}

#[test]
fn all_that_is_left_can_be_used() {
    // Down to the last 16 KiB: an address that is not of the stack would end the process here.
    fn descend() -> u32 {
        if of_this_thread().unwrap().left < 16 << 10 { 0 } else { 1 + black_box(descend()) }
    }
    assert!(on_stack(256 << 10, descend) > 100);
}

#[test]
fn each_thread_has_a_stack_of_its_own() {
    let here = of_this_thread().unwrap();
    let large = on_stack(256 << 20, of_this_thread).unwrap();
    assert!(large.size > here.size, "{large:?} {here:?}");
    assert_eq!(of_this_thread().unwrap().size, here.size);
}
