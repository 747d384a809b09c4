//! The machine as it should not be: one CPU, none to be had, stopped for a while. Linux only.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{block_for, burst, compute, pool, tiny, wait_all};
use crate::support::{also_by_time_alone, keeps_to, set_thread_states, thread_states};

const CHILD: &str = "SIDESTEP_TEST_CHILD";

/// True in a process that `in_child` has made.
fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs this very test of this module once more, in a process of its own, and gives the process and
/// its output.
fn in_child(test: &str) -> (Child, impl BufRead) {
    let module =
        if thread_states() { "threads::growth::machine" } else { "threads::growth::machine::by_time_alone" };
    let mut child = crate::support::alone::this_program()
        .args(["--exact", &format!("{module}::{test}"), "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

fn expect_success(mut child: Child, mut output: impl Read) {
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}\n{rest}");
    assert!(rest.contains("1 passed"), "the test is called otherwise: {rest}");
}

/// Confines this process to one of its CPUs.
fn confine_to_one_cpu() {
    // SAFETY: all zeroes is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: `set` is valid for writing and `size` is its size.
    assert_eq!(unsafe { libc::sched_getaffinity(0, size, &raw mut set) }, 0);
    // SAFETY: the numbers are below the set's size.
    let is_ours = |cpu: &usize| unsafe { libc::CPU_ISSET(*cpu, &set) };
    let cpu = (0..1024).find(is_ours).unwrap();
    // SAFETY: all zeroes is an empty set.
    let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the number is below the set's size.
    unsafe { libc::CPU_SET(cpu, &mut one) };
    // SAFETY: `one` is valid for reading and `size` is its size.
    assert_eq!(unsafe { libc::sched_setaffinity(0, size, &raw const one) }, 0);
}

/// Computations are no reason to grow beyond twice core.
fn check_computing() {
    keeps_to(4, || {
        let pool = pool(2);
        wait_all((0..40).map(|_| pool.spawn(|| compute(5))).collect());
        pool.metrics().threads_peak()
    });
}

#[test]
fn one_cpu_is_no_reason_to_grow() {
    if !is_child() {
        let (child, output) = in_child("one_cpu_is_no_reason_to_grow");
        return expect_success(child, output);
    }
    let ask = thread_states();
    let caller = std::thread::spawn(move || {
        set_thread_states(ask);
        confine_to_one_cpu();
        keeps_to(3, || {
            let pool = pool(2);
            burst(&pool, 1);
            burst(&pool, 8);
            pool.metrics().threads_peak()
        });
        check_computing();
    });
    caller.join().unwrap();
}

/// Keeps every CPU busy until dropped.
struct Load {
    end: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn new() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let end = Arc::new(AtomicBool::new(false));
        let spin = |_| {
            let end = Arc::clone(&end);
            std::thread::spawn(move || {
                while !end.load(Ordering::Relaxed) {
                    std::hint::black_box(tiny());
                }
            })
        };
        Load { threads: (0..2 * cpus).map(spin).collect(), end }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

#[test]
fn a_crowded_machine_is_no_reason_to_grow() {
    let load = Load::new();
    keeps_to(3, || {
        let pool = pool(2);
        burst(&pool, 2);
        pool.metrics().threads_peak()
    });
    check_computing();
    drop(load);
}

fn signal(child: &Child, signal: libc::c_int) {
    let id = libc::pid_t::try_from(child.id()).unwrap();
    // SAFETY: no memory is involved; the child has not been waited for, so the id is its.
    assert_eq!(unsafe { libc::kill(id, signal) }, 0);
}

#[test]
fn having_been_stopped_is_no_reason_to_grow() {
    if is_child() {
        let (pool, start) = (pool(2), Instant::now());
        let tasks: Vec<_> = (0..300).map(|_| pool.spawn(|| compute(2))).collect();
        println!("queued");
        wait_all(tasks);
        // One may be added for each time in which no task ends since none gets a CPU.
        let slow_steps = start.elapsed().as_millis() / 500;
        let peak = pool.metrics().threads_peak();
        // By time alone a stay that was none may look like one.
        let bound = if thread_states() { 4 } else { 8 };
        assert!(peak as u128 <= bound + slow_steps, "{peak} threads in {:?}", start.elapsed());
        return;
    }
    let (child, mut output) = in_child("having_been_stopped_is_no_reason_to_grow");
    let mut line = String::new();
    while !line.contains("queued") {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "the child has ended early");
    }
    for _ in 0..3 {
        block_for(Duration::from_millis(20));
        signal(&child, libc::SIGSTOP);
        block_for(Duration::from_millis(300));
        signal(&child, libc::SIGCONT);
    }
    expect_success(child, output);
}

also_by_time_alone! {
    one_cpu_is_no_reason_to_grow,
    a_crowded_machine_is_no_reason_to_grow,
    having_been_stopped_is_no_reason_to_grow,
}
