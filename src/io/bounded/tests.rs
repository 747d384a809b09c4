//! Tests of `bounded`.

use super::*;

/// A channel of room for `capacity` numbers that is full.
fn full(capacity: usize) -> Arc<BoundedChannel<usize>> {
    let channel = BoundedChannel::new(capacity);
    assert!((0..capacity).all(|item| channel.try_send(item).is_ok()));
    Arc::new(channel)
}

fn is_full(channel: &BoundedChannel<usize>) -> bool {
    matches!(channel.try_send(usize::MAX), Err(TrySendError::Full(usize::MAX)))
}

#[test]
fn what_the_stream_has_taken_but_not_given_out_takes_up_room() {
    let channel = full(4);
    let mut taken = VecDeque::new();
    assert_eq!(channel.take(&mut taken, 0, None), Some(0));
    assert_eq!(taken, [1, 2, 3]);
    channel.try_send(4).unwrap();
    assert!(is_full(&channel), "3 are with the stream, 1 is here");
    channel.acknowledge(3);
    (5..8).for_each(|item| channel.try_send(item).unwrap());
    assert!(is_full(&channel));
}

#[test]
fn a_sender_sleeps_until_half_is_free() {
    let channel = full(4);
    let sender = std::thread::spawn({
        let channel = Arc::clone(&channel);
        move || channel.send_blocking(4)
    });
    while channel.state.lock().unwrap().asleep == 0 {
        std::thread::yield_now();
    }
    let mut taken = VecDeque::new();
    assert_eq!(channel.take(&mut taken, 0, None), Some(0));
    assert_eq!(channel.state.lock().unwrap().asleep, 1, "3 of 4 are outstanding");
    assert!(!channel.should_acknowledge(1));
    assert!(channel.should_acknowledge(2));
    channel.acknowledge(1);
    sender.join().unwrap().unwrap();
    assert_eq!(channel.state.lock().unwrap().queue, [4]);
}

#[test]
fn the_smallest_capacity_tells_of_each_item() {
    let channel = full(1);
    assert!(channel.should_acknowledge(1));
    assert_eq!(channel.take(&mut VecDeque::new(), 0, None), Some(0));
    assert!(channel.try_send(1).is_ok());
}

#[test]
fn closing_gives_back_what_is_there_and_what_comes() {
    let channel = full(2);
    let sender = std::thread::spawn({
        let channel = Arc::clone(&channel);
        move || channel.send_blocking(2)
    });
    assert_eq!(channel.close(), [0, 1]);
    assert_eq!(sender.join().unwrap(), Err(2));
    assert!(matches!(channel.try_send(3), Err(TrySendError::Closed(3))));
    assert!(channel.is_closed());
}
