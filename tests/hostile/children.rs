//! Children that the system ends with the thread that started them (`PR_SET_PDEATHSIG`): the
//! thread, not the process.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use sidestep::{Dedicated, Pool};

use crate::support::{check_sound, eventually, nothing_happens, soon};

/// Starts a child that lasts, unless the thread that calls this ends.
fn start_tied() -> Child {
    let mut command = Command::new("sleep");
    command.arg("600");
    let tie = || {
        // SAFETY: the call sets a flag of the child.
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: `tie` makes one system call, which is allowed between `fork` and `exec`.
    unsafe { command.pre_exec(tie) };
    command.spawn().unwrap()
}

fn signal_of(child: &mut Child) -> Option<i32> {
    child.try_wait().unwrap().and_then(|status| status.signal())
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_pool_thread_that_leaves_takes_its_child_with_it_and_one_that_stays_does_not() {
    let builder = Pool::builder().core_threads(1).max_threads(2).keep_alive(Duration::ZERO);
    let pool = builder.build().unwrap();
    let both = Arc::new(Barrier::new(2));
    let tasks = [(); 2].map(|()| {
        let both = Arc::clone(&both);
        pool.spawn(move || {
            sidestep::current::will_block(|| both.wait());
            start_tied()
        })
    });
    let mut children = tasks.map(|task| soon(task).unwrap());
    eventually("the thread above core has left", || pool.metrics().threads() == 1);
    let ended = |children: &mut [Child; 2]| {
        children.iter_mut().filter_map(signal_of).inspect(|signal| assert_eq!(*signal, libc::SIGKILL)).count()
    };
    let children = std::cell::RefCell::new(&mut children);
    eventually("its child has been ended", || ended(&mut children.borrow_mut()) == 1);
    nothing_happens();
    let children = children.into_inner();
    assert_eq!(ended(children), 1, "the core thread is there, and its child");
    check_sound(&pool);
    drop(pool);
    for child in children {
        // The other one ends with the pool, or here.
        let _ = child.kill();
        child.wait().unwrap();
    }
}

#[test]
fn a_dedicated_thread_keeps_its_children_as_long_as_it_lasts() {
    let starter = Dedicated::new(|| ()).unwrap();
    let builder = Pool::builder().core_threads(1).max_threads(2).keep_alive(Duration::ZERO);
    let pool = builder.build().unwrap();
    let starter = Arc::new(starter);
    let through = Arc::clone(&starter);
    // Whatever thread asks for it.
    let task = pool.spawn(move || through.call(|()| start_tied()).wait().unwrap());
    let mut child = soon(task).unwrap();
    pool.shutdown().wait();
    nothing_happens();
    assert_eq!(signal_of(&mut child), None, "the pool is gone, and the child is not");
    drop(starter);
    eventually("the child ends with the dedicated thread", || {
        let path = format!("/proc/{}/stat", child.id());
        std::fs::read_to_string(path).is_ok_and(|stat| stat.contains(") Z "))
    });
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
}

#[test]
fn a_child_of_the_main_program_is_not_touched_by_the_end_of_a_pool() {
    let child = start_tied();
    let pool = Pool::builder().core_threads(1).max_threads(1).build().unwrap();
    soon(pool.spawn(|| ())).unwrap();
    pool.shutdown().wait();
    let mut child = child;
    assert_eq!(signal_of(&mut child), None);
    end(child);
}
