//! What the machine says of itself, in every short sequence of requests and steps.

use std::io::{IoSlice, SeekFrom};

use super::*;
use crate::io::aligned::AlignedBytes;
use crate::io::unblock::buffers::inbound::ReadChunk;
use crate::io::unblock::state::capability::{SeekFn, WriteFns};
use crate::io::unblock::state::request::{Answer, CallRequest, Request};
use crate::sys::pread::Cached;

/// A value that is never touched: the test makes up what comes of each step.
struct Nothing;

const SEEK: SeekFn<Nothing> = |_, _| Ok(0);
const WRITE: WriteFns<Nothing> = WriteFns { write: |_, bytes| Ok(bytes.len()), flush: |_| Ok(()) };

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ask {
    Read,
    Write,
    Flush,
    Seek,
    Quiesce,
    Call,
    Unwritten,
    Written,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Ask(Ask),
    /// The pump begins, or takes a step that succeeds or fails.
    Pump(bool),
    /// The pool refuses the pump.
    Refuse,
}

const ACTIONS: [Action; 11] = [
    Action::Ask(Ask::Read),
    Action::Ask(Ask::Write),
    Action::Ask(Ask::Flush),
    Action::Ask(Ask::Seek),
    Action::Ask(Ask::Quiesce),
    Action::Ask(Ask::Call),
    Action::Ask(Ask::Unwritten),
    Action::Ask(Ask::Written),
    Action::Pump(true),
    Action::Pump(false),
    Action::Refuse,
];

struct Play {
    machine: Machine<Nothing>,
    chunk: ReadChunk,
    call: CallRequest<Nothing>,
    /// With the pump, between two steps.
    value: Option<Nothing>,
    /// What the caller waits for.
    waits: Option<Ask>,
    accepted: usize,
    written: usize,
}

impl Play {
    fn new(seekable: bool) -> Self {
        let mut machine = Machine::new(Nothing, Sizes::of_capacity(8));
        if seekable {
            machine.set_seekable(SEEK);
        }
        let call = CallRequest { call: None, number: None };
        let chunk = ReadChunk::default();
        Play { machine, chunk, call, value: None, waits: None, accepted: 0, written: 0 }
    }

    fn ask(&mut self, ask: Ask) {
        let (page_cache, mut bytes) = (|_: &Nothing, _: &mut [u8]| Cached::Never, Vec::new());
        if ask == Ask::Call && self.waits != Some(Ask::Call) {
            drop(self.machine.withdraw_call());
            self.call = CallRequest { call: Some(Box::new(|_| ())), number: None };
        }
        let mut request = match ask {
            Ask::Read => Request::Read { read: |_, _| Ok(0), page_cache, want: 2, buffer: &mut [] },
            Ask::Write => Request::Write { write: WRITE, slices: &[IoSlice::new(&[0; 6])], flushes: false },
            Ask::Flush => Request::Flush { write: WRITE },
            Ask::Seek => Request::Seek { seek: SEEK, to: SeekFrom::Start(3) },
            Ask::Quiesce => Request::Quiesce,
            Ask::Call => Request::Call(&mut self.call),
            Ask::Unwritten => Request::Unwritten { bytes: &mut bytes },
            Ask::Written => Request::Written,
        };
        if ask == Ask::Read {
            self.chunk = ReadChunk::default();
        }
        let answer = self.machine.answer(&mut request, &mut self.chunk, &mut AfterUnlock::default());
        if let (Ask::Write, Some(Ok(Answer::Count(count)))) = (ask, &answer) {
            self.accepted += count;
        }
        self.accepted -= bytes.len();
        self.waits = answer.is_none().then_some(ask);
        let _ = self.machine.queue_pump();
        if self.waits.is_some() {
            drop(self.machine.add_waker(Interest::Write, Waker::noop().clone()));
        }
    }

    /// Those that were woken look again.
    fn look_again(&mut self) {
        if let Some(ask) = self.waits {
            self.ask(ask);
        }
    }

    fn pump(&mut self, succeeds: bool) {
        if self.machine.is_queued() {
            self.value = self.machine.start();
        }
        let Some(value) = self.value.take() else { return };
        let result = |value| if succeeds { Ok(value) } else { Err(io::ErrorKind::Other.into()) };
        let ended = match self.machine.begin() {
            PumpStep::Rest => {
                drop(self.machine.rest(value, crate::sync::now()));
                return self.look_again();
            }
            PumpStep::End => unreachable!("the handle is there"),
            PumpStep::Close => unreachable!("no schedule closes the value"),
            PumpStep::Rewind(..) => StepResult::Rewound(result(0).map(drop), false),
            PumpStep::Write(_, bytes, from) => {
                let to = if succeeds { bytes.len() } else { from };
                self.written += to - from;
                StepResult::Wrote(bytes, to, result(0).map(drop))
            }
            PumpStep::Flush(_) => StepResult::Flushed(result(0).map(drop)),
            PumpStep::Seek(_, to, _) => StepResult::Sought(to, result(3), succeeds),
            PumpStep::Call(_) => StepResult::Called,
            PumpStep::Probe(_) => StepResult::Probed(result(0)),
            PumpStep::Read(_, _, size) => {
                StepResult::Read(AlignedBytes::zeroed(size), result(1).map(|count| count as usize))
            }
            PumpStep::Pull(..) => unreachable!("it is no iterator"),
        };
        self.value = Some(value);
        if !self.machine.end(ended).wakes.is_empty() {
            self.look_again();
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Ask(ask) => self.ask(ask),
            Action::Pump(succeeds) => self.pump(succeeds),
            Action::Refuse if self.machine.is_queued() && !self.machine.has_pending_writes() => {
                drop(self.machine.refuse(io::ErrorKind::Other.into()));
                self.look_again();
            }
            Action::Refuse => {}
        }
    }
}

/// A caller that waits has a pump that is on its way or at work; and no byte that was accepted is
/// lost.
#[test]
fn a_caller_that_waits_has_a_pump_and_each_accepted_byte_is_buffered_or_written() {
    const LENGTH: u32 = if cfg!(miri) { 2 } else { 5 };
    let count = ACTIONS.len();
    for (seekable, number) in [false, true]
        .into_iter()
        .flat_map(|seekable| (0..count.pow(LENGTH)).map(move |number| (seekable, number)))
    {
        let actions = (0..LENGTH).map(|place| ACTIONS[number / count.pow(place) % count]);
        let mut play = Play::new(seekable);
        for action in actions.clone() {
            play.act(action);
            let has_pump = play.machine.is_queued() || play.machine.has_pump();
            let all: Vec<_> = actions.clone().collect();
            assert!(play.waits.is_none() || has_pump, "{:?} after {action:?} of {all:?}", play.waits);
            let buffered = play.machine.outbound.buffered();
            assert_eq!(play.accepted, play.written + buffered, "after {action:?} of {all:?}");
        }
    }
}
