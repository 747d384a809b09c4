//! The pool before `main`: a constructor of the executable uses it, and the program finds it as it
//! was left.

use std::sync::atomic::{AtomicUsize, Ordering};

use sidestep::{Pool, Task};

use crate::child::start_with;

const MARK: &std::ffi::CStr = c"HOSTILE_BEFORE_MAIN";

static SUM: AtomicUsize = AtomicUsize::new(0);
static LEFT: std::sync::Mutex<Option<Task<usize>>> = std::sync::Mutex::new(None);

/// Called by the loader before `main`.
#[unsafe(link_section = ".init_array")]
#[used]
static CONSTRUCTOR: extern "C" fn() = {
    extern "C" fn constructor() {
        // SAFETY: the string ends. No other thread changes the environment yet.
        if unsafe { !libc::getenv(MARK.as_ptr()).is_null() } {
            // It must not unwind into the loader.
            let used = std::panic::catch_unwind(use_the_pool);
            SUM.fetch_add(usize::from(used.is_err()), Ordering::SeqCst);
        }
    }
    constructor
};

fn use_the_pool() {
    let tasks: Vec<_> = (0..100).map(|number| sidestep::spawn(move || number)).collect();
    SUM.store(tasks.into_iter().map(|task| task.wait().unwrap()).sum(), Ordering::SeqCst);
    let pool = Pool::builder().core_threads(1).build().unwrap();
    *LEFT.lock().unwrap() = Some(pool.spawn(|| 43));
}

#[test]
fn a_constructor_uses_the_pool() {
    let mark = MARK.to_str().unwrap();
    let Some(child) = start_with("", |command| command.env(mark, "1")) else {
        assert_eq!(SUM.load(Ordering::SeqCst), 99 * 100 / 2);
        assert_eq!(LEFT.lock().unwrap().take().unwrap().wait().unwrap(), 43);
        assert!(Pool::global().metrics().tasks_completed() >= 100);
        assert_eq!(sidestep::spawn(|| 42).wait().unwrap(), 42);
        return;
    };
    child.passes();
}
