//! A value of an `Unblock` that forks.

use std::io::{self, Write};
use std::process::exit;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use futures_util::AsyncWriteExt;
use sidestep::{Unblock, block_on};

use crate::support::alone::alone_as;
use crate::support::fork::exit_status;
use crate::support::nothing_happens;

struct Forks(Sender<libc::pid_t>);

impl Write for Forks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // SAFETY: the child runs this crate's code, which is meant to stand that, and exits.
        match unsafe { libc::fork() } {
            0 => {
                std::panic::set_hook(Box::new(|_| {
                    // SAFETY: it ends the child at once.
                    unsafe { libc::_exit(33) }
                }));
                // After the write has returned.
                thread::spawn(|| {
                    nothing_happens();
                    exit(7)
                });
            }
            child => self.0.send(child).unwrap(),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// In the child, too, the write returns to the pump.
#[test]
fn a_write_that_forks_goes_on_in_both() {
    alone_as("fork::io::a_write_that_forks_goes_on_in_both", &[], || {
        let (children, child) = channel();
        let mut writer = Unblock::new(Forks(children));
        block_on(async {
            writer.write_all(b"x").await.unwrap();
            writer.flush().await.unwrap();
        });
        assert_eq!(exit_status(child.recv().unwrap()), 7);
    });
}
