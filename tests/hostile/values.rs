//! Settings that nobody means: each number at its ends, and names of all kinds. Either it is
//! refused with a message that names the field and the value, or it works, and takes no more memory
//! than it should.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use sidestep::{Dedicated, Pool, PoolBuilder, Strand, Unblock, io};

#[cfg(target_os = "linux")]
use crate::child::alone;
use crate::child::start_with;
use crate::support::{check_sound, pool, soon};

/// A setting and its value: refused by name, or not.
fn try_value<T: Copy + Display>(
    name: &str,
    value: T,
    refused: bool,
    set: impl Fn(PoolBuilder, T) -> PoolBuilder,
) {
    let made = set(Pool::builder(), value).build();
    if !refused {
        let pool = made.unwrap();
        check_sound(&pool);
        assert_eq!(pool.shutdown().wait().still_running, 0);
        return;
    }
    let error = made.expect_err(name);
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{error}");
    let text = error.to_string();
    assert!(text.contains(name) && text.contains(&value.to_string()), "{name} = {value}: {text}");
}

#[test]
fn numbers_of_a_pool() {
    for (value, refused) in [(0, true), (1, false), (32_767, false), (32_768, true), (usize::MAX, true)] {
        try_value("core_threads", value, refused, PoolBuilder::core_threads);
        try_value("max_threads", value, refused, PoolBuilder::max_threads);
        let pool = pool(1, 2);
        assert_eq!(pool.set_max_threads(value).is_err(), refused);
        check_sound(&pool);
    }
    for (value, refused) in [(0, true), (256, false), (usize::MAX, false)] {
        try_value("queue_limit", value, refused, PoolBuilder::queue_limit);
    }
    let narrow = Pool::builder().queue_limit(1).build().unwrap();
    for number in 0..100 {
        assert_eq!(soon(narrow.spawn(move || number)).unwrap(), number);
    }
    for (value, refused) in [(0, true), (usize::MAX, true), (usize::MAX / 2, true), (1 << 20, false)] {
        try_value("stack_size", value, refused, PoolBuilder::stack_size);
    }
}

#[test]
fn numbers_of_a_lane() {
    let pool = pool(2, 4);
    for limit in [1, 2, usize::MAX] {
        for queue in [1, usize::MAX] {
            let lane = pool.lane_builder("narrow", limit).queue_limit(queue).build().unwrap();
            assert_eq!(soon(lane.spawn(|| 42)).unwrap(), 42);
            assert_eq!(soon(lane.reserve().wait().unwrap().spawn(|| 43)).unwrap(), 43);
            assert_eq!(lane.limit(), limit);
        }
    }
    let text = |lane: sidestep::LaneBuilder<'_>| lane.build().unwrap_err().to_string();
    let refused = text(pool.lane_builder("narrow", 0));
    assert!(refused.contains("\"narrow\" (0)"), "{refused}");
    let refused = text(pool.lane_builder("narrow", 1).queue_limit(0));
    assert!(refused.contains("queue_limit") && refused.contains("\"narrow\" (0)"), "{refused}");
    let many: Vec<_> = (0..2000).map(|_| pool.lane("many", usize::MAX)).collect();
    many.iter().for_each(|lane| lane.spawn(|| ()).detach());
    drop(many);
    check_sound(&pool);
}

/// The message of the panic of `f`.
fn panic_of<T>(f: impl FnOnce() -> T) -> String {
    let payload = catch_unwind(AssertUnwindSafe(|| drop(f()))).unwrap_err();
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap()
}

#[test]
fn capacities() {
    use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt};
    let pool = pool(2, 4);
    for capacity in [1, 2, usize::MAX / 2, usize::MAX] {
        let mut reader = Unblock::with_capacity(capacity, std::io::Cursor::new(vec![7; 300])).on(&pool);
        let mut read = Vec::new();
        sidestep::block_on(reader.read_to_end(&mut read)).unwrap();
        assert_eq!(read, [7; 300]);
        let mut writer = Unblock::with_capacity(capacity, Vec::new()).on(&pool);
        sidestep::block_on(async {
            writer.write_all(&[7; 300]).await.unwrap();
            writer.flush().await.unwrap();
            assert_eq!(writer.into_inner().await.unwrap(), [7; 300]);
        });
        let items = Unblock::with_capacity(capacity, 0..300).on(&pool);
        assert_eq!(sidestep::block_on(items.count()), 300);
        let mut producer = io::producer_with(pool.options(), capacity, |sink| {
            assert!((0..300).all(|number| sink.send(number).is_ok()));
        });
        assert_eq!(std::iter::from_fn(|| producer.wait_next()).count(), 300);
    }
    for message in [
        panic_of(|| Unblock::with_capacity(0, std::io::empty())),
        panic_of(|| io::producer_with::<_, ()>(pool.options(), 0, |_| ())),
    ] {
        assert!(message.contains("capacity") && message.contains('0'), "{message}");
    }
    check_sound(&pool);
}

#[test]
fn names_of_all_kinds() {
    let megabyte = "n".repeat(1 << 20);
    let unicode = "\u{1F980}".repeat(5);
    for name in ["", " ", "a\nb", "%s%n", "a/../b", ")", &unicode, &megabyte] {
        let pool = Pool::builder().name(name).core_threads(1).max_threads(4).build().unwrap();
        let lane = pool.lane(name, 1);
        assert_eq!(lane.name(), name);
        assert_eq!(soon(lane.options().name(name.to_owned()).spawn(|| 1)).unwrap(), 1);
        assert_eq!(soon(pool.options().name(name.to_owned()).spawn(|| 1)).unwrap(), 1);
        let lost = pool.options().name(name.to_owned()).spawn(|| std::panic::resume_unwind(Box::new("no")));
        let error: sidestep::TaskError = soon::<()>(lost).unwrap_err();
        assert!(error.to_string().contains(&*name.escape_debug().to_string()), "{name:?}");
        let _ = (format!("{pool:?} {lane:?}"), pool.long_running(std::time::Duration::ZERO));
        // The monitor and the timer are called by it as well.
        pool.options().expire_after(std::time::Duration::from_secs(60)).spawn(|| ()).detach();
        check_sound(&pool);
        assert_eq!(pool.shutdown().wait().still_running, 0);
    }
}

#[test]
fn names_with_nuls() {
    let nul = "a\0b";
    let error = Pool::builder().name(nul).build().unwrap_err();
    assert!(error.to_string().contains("name (\"a\\0b\")"), "{error}");
    let error = Dedicated::with(Pool::builder().name(nul), || ()).unwrap_err();
    assert!(error.to_string().contains("name (\"a\\0b\")"), "{error}");
    // Lanes and tasks are no threads.
    let pool = pool(1, 1);
    let lane = pool.lane(nul, 1);
    assert_eq!(soon(lane.options().name(nul).spawn(|| 1)).unwrap(), 1);
    assert_eq!(Strand::in_lane(&lane, 1).unwrap().call(|value| *value).wait().unwrap(), 1);
}

#[test]
fn environments_full_of_rubbish() {
    const CORE: &str = "SIDESTEP_CORE_THREADS";
    let megabyte = "9".repeat(1 << 16);
    let values = ["0", "-0", "+", "1e3", "0x10", "\u{0661}", "1 2", "NaN", "\t", &megabyte];
    for value in values {
        let Some(child) = start_with(value, |command| command.env(CORE, value)) else {
            let error = sidestep::spawn(|| 1).wait().unwrap_err();
            assert!(error.is_no_thread());
            let text = error.to_string();
            assert!(text.contains(CORE), "{text}");
            let own = Pool::builder().core_threads(1).build().unwrap();
            return check_sound(&own);
        };
        child.passes();
    }
}

#[test]
#[cfg(unix)]
fn an_environment_that_is_no_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let bytes = OsStr::from_bytes(&[0xFF, b'2']);
    let Some(child) = start_with("", |command| command.env("SIDESTEP_MAX_THREADS", bytes)) else {
        assert!(sidestep::spawn(|| 1).wait().unwrap_err().to_string().contains("SIDESTEP_MAX_THREADS"));
        return;
    };
    child.passes();
}

/// What this process has in memory, in bytes.
#[cfg(target_os = "linux")]
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
#[cfg(target_os = "linux")]
fn the_largest_pool_takes_little_before_it_is_used() {
    alone(|| {
        let before = resident();
        let pool = Pool::builder().core_threads(32_767).queue_limit(usize::MAX).build().unwrap();
        let lane = pool.lane_builder("wide", usize::MAX).queue_limit(usize::MAX).build().unwrap();
        soon(lane.spawn(|| ())).unwrap();
        soon(pool.spawn(|| ())).unwrap();
        let taken = resident().saturating_sub(before);
        assert!(taken < 64 << 20, "{taken} bytes");
        println!("{taken} bytes");
    });
}
