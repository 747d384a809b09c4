//! What the permits cost: the lock, the room of the queue. And what `Debug` shows of them.

use super::*;

#[test]
fn while_nobody_waits_the_lock_is_left_alone() {
    let semaphore = full(1);
    let queue = semaphore.queue.lock().expect("no fork");
    semaphore.release();
    assert!(semaphore.try_acquire());
    semaphore.release();
    assert_eq!(Guest::default().poll(&semaphore), TAKEN);
    drop(queue);
}

#[test]
fn a_wait_queue_gives_room_back_when_it_has_become_short() {
    const GUESTS: usize = 1000;
    let semaphore = full(1);
    let mut guests: Vec<Guest> = (0..GUESTS).map(|_| Guest::waiting(&semaphore)).collect();
    for live in (0..GUESTS).rev() {
        semaphore.give_up(&mut guests[live].acquire);
        let capacity = semaphore.queue.lock().expect("no fork").waiters.capacity();
        assert_eq!(capacity <= 4 * ROOM, live < ROOM, "{capacity} for {live}");
    }
    let _guests: Vec<Guest> = (0..GUESTS).map(|_| Guest::waiting(&semaphore)).collect();
    semaphore.close();
    assert!(
        semaphore.queue.lock().expect("no fork").waiters.capacity() <= 4 * ROOM,
        "where all leave at once, too"
    );
}

#[test]
fn a_wait_queue_of_a_common_length_keeps_its_room() {
    let semaphore = full(1);
    let mut guests: Vec<Guest> = (0..200).map(|_| Guest::waiting(&semaphore)).collect();
    let capacity = semaphore.queue.lock().expect("no fork").waiters.capacity();
    guests.iter_mut().for_each(|guest| semaphore.give_up(&mut guest.acquire));
    assert_eq!(semaphore.queue.lock().expect("no fork").waiters.capacity(), capacity);
}

#[test]
fn debug_decodes_the_word() {
    let semaphore = full(2);
    assert_eq!(format!("{semaphore:?}"), "Semaphore { taken: 2, limit: 2, waiters: false, closed: false }");
    let _guest = Guest::waiting(&semaphore);
    assert_eq!(format!("{semaphore:?}"), "Semaphore { taken: 2, limit: 2, waiters: true, closed: false }");
    semaphore.close();
    assert_eq!(format!("{semaphore:?}"), "Semaphore { taken: 2, limit: 2, waiters: false, closed: true }");
}
