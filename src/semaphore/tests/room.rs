//! What the places cost: the lock, the room of the line. And what `Debug` shows of them.

use super::*;

#[test]
fn while_nobody_waits_the_lock_is_left_alone() {
    let places = full(1);
    let line = places.line.lock().expect("no fork");
    places.release();
    assert!(places.try_acquire());
    places.release();
    assert_eq!(Guest::default().poll(&places), TAKEN);
    drop(line);
}

#[test]
fn a_line_gives_room_back_when_it_has_become_short() {
    const GUESTS: usize = 1000;
    let places = full(1);
    let mut guests: Vec<Guest> = (0..GUESTS).map(|_| Guest::waiting(&places)).collect();
    for live in (0..GUESTS).rev() {
        places.give_up(&mut guests[live].turn);
        let capacity = places.line.lock().expect("no fork").waiters.capacity();
        assert_eq!(capacity <= 4 * ROOM, live < ROOM, "{capacity} for {live}");
    }
    let _guests: Vec<Guest> = (0..GUESTS).map(|_| Guest::waiting(&places)).collect();
    places.close();
    assert!(
        places.line.lock().expect("no fork").waiters.capacity() <= 4 * ROOM,
        "where all leave at once, too"
    );
}

#[test]
fn a_line_of_a_common_length_keeps_its_room() {
    let places = full(1);
    let mut guests: Vec<Guest> = (0..200).map(|_| Guest::waiting(&places)).collect();
    let capacity = places.line.lock().expect("no fork").waiters.capacity();
    guests.iter_mut().for_each(|guest| places.give_up(&mut guest.turn));
    assert_eq!(places.line.lock().expect("no fork").waiters.capacity(), capacity);
}

#[test]
fn debug_decodes_the_word() {
    let places = full(2);
    assert_eq!(format!("{places:?}"), "Semaphore { taken: 2, limit: 2, waiters: false, closed: false }");
    let _guest = Guest::waiting(&places);
    assert_eq!(format!("{places:?}"), "Semaphore { taken: 2, limit: 2, waiters: true, closed: false }");
    places.close();
    assert_eq!(format!("{places:?}"), "Semaphore { taken: 2, limit: 2, waiters: false, closed: true }");
}
