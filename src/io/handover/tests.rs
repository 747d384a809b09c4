//! Tests of `handover`.

use super::*;

/// A handover of room for `capacity` numbers that is full.
fn full(capacity: usize) -> Arc<Handover<usize>> {
    let handover = Handover::new(capacity);
    assert!((0..capacity).all(|item| handover.offer(item).is_ok()));
    Arc::new(handover)
}

fn is_full(handover: &Handover<usize>) -> bool {
    matches!(handover.offer(usize::MAX), Err(Refused::Full(usize::MAX)))
}

#[test]
fn what_the_stream_has_taken_but_not_given_out_takes_up_room() {
    let handover = full(4);
    let mut taken = VecDeque::new();
    assert_eq!(handover.take(&mut taken, 0, None), Some(0));
    assert_eq!(taken, [1, 2, 3]);
    handover.offer(4).unwrap();
    assert!(is_full(&handover), "3 are with the stream, 1 is here");
    handover.tell(3);
    (5..8).for_each(|item| handover.offer(item).unwrap());
    assert!(is_full(&handover));
}

#[test]
fn a_sender_sleeps_until_half_is_free() {
    let handover = full(4);
    let sender = std::thread::spawn({
        let handover = Arc::clone(&handover);
        move || handover.insist(4)
    });
    while handover.state.lock().unwrap().asleep == 0 {
        std::thread::yield_now();
    }
    let mut taken = VecDeque::new();
    assert_eq!(handover.take(&mut taken, 0, None), Some(0));
    assert_eq!(handover.state.lock().unwrap().asleep, 1, "3 of 4 are outstanding");
    assert!(!handover.is_worth_telling(1));
    assert!(handover.is_worth_telling(2));
    handover.tell(1);
    sender.join().unwrap().unwrap();
    assert_eq!(handover.state.lock().unwrap().queue, [4]);
}

#[test]
fn the_smallest_capacity_tells_of_each_item() {
    let handover = full(1);
    assert!(handover.is_worth_telling(1));
    assert_eq!(handover.take(&mut VecDeque::new(), 0, None), Some(0));
    assert!(handover.offer(1).is_ok());
}

#[test]
fn closing_gives_back_what_is_there_and_what_comes() {
    let handover = full(2);
    let sender = std::thread::spawn({
        let handover = Arc::clone(&handover);
        move || handover.insist(2)
    });
    assert_eq!(handover.close(), [0, 1]);
    assert_eq!(sender.join().unwrap(), Err(2));
    assert!(matches!(handover.offer(3), Err(Refused::Closed(3))));
    assert!(handover.is_closed());
}
