//! The two clocks of Windows.

use std::os::windows::io::AsHandle;

use super::*;
use crate::sys::thread_stat::tests::eventually;

/// Where the cycles are counted, a second of them takes about a second of ticks.
#[test]
fn the_two_clocks_agree() {
    let Some(rate) = cycles_per_second() else {
        assert!(cycles(this_thread()).is_none_or(|cycles| cycles == 0), "they are counted");
        return;
    };
    let key = ThreadKey::current();
    let handle = key.handle.as_ref().unwrap().as_handle();
    let (before, ticks_before) = (cycles(handle).unwrap(), ticks(handle).unwrap());
    eventually("300 ms of ticks", || ticks(handle).unwrap() - ticks_before >= Duration::from_millis(300));
    let by_ticks = (ticks(handle).unwrap() - ticks_before).as_secs_f64();
    let by_cycles = (cycles(handle).unwrap() - before) as f64 / rate;
    assert!((0.5..2.0).contains(&(by_cycles / by_ticks)), "{by_cycles} s, {by_ticks} s");
}

#[test]
fn times_are_in_units_of_100_ns() {
    let times = [(0, 0, 0), (1, 0, 100), (0, 1, 429_496_729_600)];
    for (low, high, nanos) in times {
        let file_time = FILETIME { dwLowDateTime: low, dwHighDateTime: high };
        assert_eq!(time(file_time), Duration::from_nanos(nanos));
    }
}
