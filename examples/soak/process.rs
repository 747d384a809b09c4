//! What the process holds: threads, open files, memory. Where the system does not tell, nothing is
//! compared.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fs,
    sync::atomic::{AtomicIsize, Ordering},
};

/// The system's allocator, with an account of the bytes that are in use. Threads share no part of
/// it but by chance.
pub(crate) struct Counting;

#[repr(align(128))]
struct Part(AtomicIsize);

const PARTS: usize = 64;
static PARTS_IN_USE: [Part; PARTS] = [const { Part(AtomicIsize::new(0)) }; PARTS];

/// The part of this thread, told by where its stack is: an allocator can have no thread-local
/// variables.
fn part() -> &'static AtomicIsize {
    let here = 0_u8;
    &PARTS_IN_USE[((&raw const here).addr() >> 18) % PARTS].0
}

// SAFETY: all requests are passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        part().fetch_add(layout.size().cast_signed(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        part().fetch_sub(layout.size().cast_signed(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) };
    }
}

/// Bytes that have been allocated and not freed.
pub(crate) fn heap() -> isize {
    PARTS_IN_USE.iter().map(|part| part.0.load(Ordering::SeqCst)).sum()
}

/// A reading.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Holdings {
    pub(crate) threads: Option<usize>,
    pub(crate) files: Option<usize>,
    pub(crate) rss: Option<u64>,
    pub(crate) heap: isize,
}

impl Holdings {
    pub(crate) fn now() -> Holdings {
        give_back();
        Holdings { threads: thread_count(), files: entries("fd"), rss: rss(), heap: heap() }
    }
}

/// Has the allocator return to the system what it can, so that the resident memory is what is in
/// use.
fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

pub(crate) fn thread_count() -> Option<usize> {
    entries("task")
}

fn entries(of: &str) -> Option<usize> {
    Some(fs::read_dir(format!("/proc/self/{of}")).ok()?.count())
}

fn rss() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// What each thread is called and does, for the report of a standstill.
pub(crate) fn threads() -> Vec<String> {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let read = |path: std::path::PathBuf| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let tasks = tasks.flatten().map(|task| {
        let (name, call) = (read(task.path().join("comm")), read(task.path().join("wchan")));
        format!("{} {name} {call}", task.file_name().display())
    });
    tasks.collect()
}
