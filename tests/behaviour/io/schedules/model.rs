//! What the plain value may be like by now, after all that was called and told.
//!
//! A call that was dropped may have had its effect or not, where the documentation leaves that
//! open: so there may be more than one [`Plain`]. What later calls tell rules some of them out;
//! there must always be one left.

use std::io::{self, Cursor, ErrorKind, Seek, SeekFrom, Write};
use std::rc::Rc;

use super::values::{self, Act, Told};

/// A value without a wrapper, and the seek that was asked for and not yet told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plain {
    pub(crate) bytes: Rc<Vec<u8>>,
    pub(crate) place: u64,
    /// What a line reads from, and how much of it has been read.
    pub(crate) line: Option<(Rc<Vec<u8>>, u64)>,
    /// A seek whose caller has gone, and whether it is certain to have begun.
    begun: Option<(SeekFrom, bool)>,
    /// The same, as tokio's trait sees it: the next seek waits for it.
    started: Option<SeekFrom>,
    /// How that has ended, if a call between has waited for it.
    ended: Option<Sought>,
}

type Sought = Result<u64, ErrorKind>;

impl Plain {
    fn disk<R>(&mut self, f: impl FnOnce(&mut Cursor<&mut Vec<u8>>) -> R) -> R {
        let mut cursor = Cursor::new(Rc::make_mut(&mut self.bytes));
        cursor.set_position(self.place);
        let result = f(&mut cursor);
        self.place = cursor.position();
        result
    }

    /// What a read of at most `most` bytes would give from a value that gives all it has; it moves
    /// nothing.
    fn next(&self, most: usize) -> &[u8] {
        let (bytes, place) = match &self.line {
            Some((input, taken)) => (input, *taken),
            None => (&self.bytes, self.place),
        };
        let from = bytes.len().min(usize::try_from(place).unwrap());
        &bytes[from..bytes.len().min(from + most)]
    }

    fn skip(&mut self, count: usize) {
        match &mut self.line {
            Some((_, taken)) => *taken += count as u64,
            None => self.place += count as u64,
        }
    }

    /// Where the caller is in what is read.
    pub(crate) fn reading_at(&self) -> u64 {
        self.line.as_ref().map_or(self.place, |(_, taken)| *taken)
    }

    fn write(&mut self, bytes: &[u8]) {
        // A cursor behind its end grows even for nothing, a file does not.
        if bytes.is_empty() {
            return;
        }
        self.disk(|disk| disk.write_all(bytes)).unwrap();
    }

    fn seek(&mut self, to: SeekFrom) -> Sought {
        self.disk(|disk| disk.seek(to)).map_err(|error| error.kind())
    }

    fn act(&mut self, acts: &[Act]) -> Vec<Told> {
        self.disk(|disk| values::act(disk, acts))
    }

    fn resize(&mut self, size: usize) {
        Rc::make_mut(&mut self.bytes).resize(size, 0);
    }

    fn write_at(&mut self, bytes: &[u8], at: u64) {
        let place = std::mem::replace(&mut self.place, at);
        self.write(bytes);
        self.place = place;
    }

    fn without_seek(mut self) -> Plain {
        self.begun = None;
        self
    }
}

/// A call of the handle itself, whatever came of it, ends the patience of tokio's seek.
fn turned(mut plain: Plain) -> Plain {
    plain.started = None;
    plain.ended = None;
    plain
}

/// All that may be.
pub(crate) struct Plains {
    pub(crate) all: Vec<Plain>,
    /// Seeks go through tokio's trait.
    pub(crate) tokio: bool,
    /// A seek may fail that could go well.
    pub(crate) faulty: bool,
    /// A call that is polled now reaches the value: none before it is still on its way.
    pub(crate) certain: bool,
}

impl Plains {
    pub(crate) fn new(bytes: Vec<u8>, input: Option<Vec<u8>>, tokio: bool, faulty: bool) -> Self {
        let line = input.map(|input| (Rc::new(input), 0));
        let plain = Plain { bytes: Rc::new(bytes), place: 0, line, begun: None, started: None, ended: None };
        Plains { all: vec![plain], tokio, faulty, certain: true }
    }

    /// Replaces each by what it may be after a call. One must be left.
    fn step(&mut self, what: &str, next: impl Fn(&Plains, &Plain) -> Vec<Plain>) -> Result<(), String> {
        let mut all: Vec<Plain> = Vec::new();
        for plain in self.all.iter().flat_map(|plain| next(self, plain)) {
            if !all.contains(&plain) {
                all.push(plain);
            }
        }
        if all.is_empty() {
            let places: Vec<_> =
                self.all.iter().map(|plain| (plain.place, plain.bytes.len(), plain.begun)).collect();
            return Err(format!("{what} agrees with no plain value; (place, length, seek): {places:?}"));
        }
        self.all = all;
        Ok(())
    }

    /// A seek whose caller has gone is over, whatever came of it.
    fn over(&self, plain: &Plain) -> Vec<Plain> {
        let Some((to, certain)) = plain.begun else { return vec![plain.clone()] };
        let mut moved = plain.clone().without_seek();
        // Nobody is told.
        let _ = moved.seek(to);
        let mut all = vec![moved];
        if !certain || self.faulty {
            all.push(plain.clone().without_seek());
        }
        all
    }

    fn over_turned(&self, plain: &Plain) -> Vec<Plain> {
        self.over(plain).into_iter().map(turned).collect()
    }

    /// A call was polled and dropped, or failed because of something before it.
    fn in_vain(&self, plain: &Plain) -> Vec<Plain> {
        let mut all = self.over_turned(plain);
        all.push(turned(plain.clone()));
        all
    }

    pub(crate) fn nothing_done(&mut self) -> Result<(), String> {
        self.step("a call that did nothing", |all, plain| all.in_vain(plain))
    }

    /// A read of at most `most` bytes gave `got`; it may have been short.
    pub(crate) fn read(&mut self, most: usize, got: &[u8], skipped: usize) -> Result<(), String> {
        let what = format!("a read of {most} that gave {} bytes", got.len());
        let agrees = |plain: &Plain| {
            let next = plain.next(most);
            next.starts_with(got) && got.is_empty() == next.is_empty()
        };
        self.step(&what, |all, plain| {
            let over = all.over_turned(plain).into_iter().filter(&agrees);
            let skip = |mut plain: Plain| {
                plain.skip(skipped);
                plain
            };
            over.map(skip).collect()
        })
    }

    pub(crate) fn wrote(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.change("a write", |plain| plain.write(bytes))
    }

    /// The handle was told that all is well, and nothing is on its way.
    pub(crate) fn settled(&mut self, what: &str) -> Result<(), String> {
        self.change(what, |_| ())
    }

    fn change(&mut self, what: &str, f: impl Fn(&mut Plain)) -> Result<(), String> {
        self.step(what, |all, plain| {
            let mut over = all.over_turned(plain);
            over.iter_mut().for_each(&f);
            over
        })
    }

    /// The same for a call that is not one of the traits: tokio's seek does not know of it.
    fn change_file(&mut self, what: &str, f: impl Fn(&mut Plain)) -> Result<(), String> {
        self.step(what, |all, plain| {
            let mut over = match (plain.started, plain.begun) {
                (Some(started), Some((begun, certain))) if all.tokio && started == begun => {
                    let mut moved = plain.clone().without_seek();
                    moved.ended = Some(moved.seek(begun));
                    let waits = (!certain).then(|| plain.clone());
                    [Some(moved), waits].into_iter().flatten().collect()
                }
                _ => all.over(plain),
            };
            over.iter_mut().for_each(&f);
            over
        })
    }

    pub(crate) fn resized(&mut self, size: usize) -> Result<(), String> {
        self.change_file("set_len", |plain| plain.resize(size))
    }

    pub(crate) fn wrote_at(&mut self, bytes: &[u8], at: u64) -> Result<(), String> {
        self.change_file("write_at", |plain| plain.write_at(bytes, at))
    }

    /// What the bytes may be after `set_len` or `write_at`, if that changes them for certain, and
    /// if they are as they should be `now`: what was accepted and is still to be written may pass
    /// through the same state.
    pub(crate) fn after(
        &self,
        now: &[u8],
        size: Option<usize>,
        write: Option<(&[u8], u64)>,
    ) -> Option<Vec<Rc<Vec<u8>>>> {
        let mut after = Vec::new();
        for plain in self.all.iter().flat_map(|plain| self.over(plain)) {
            let mut changed = plain.clone();
            size.into_iter().for_each(|size| changed.resize(size));
            write.into_iter().for_each(|(bytes, at)| changed.write_at(bytes, at));
            after.push(changed.bytes);
        }
        let changes = |plain: &Plain| **plain.bytes == *now && !after.contains(&plain.bytes);
        self.all.iter().all(changes).then_some(after)
    }

    pub(crate) fn read_at(&mut self, most: usize, got: &[u8], at: u64) -> Result<(), String> {
        let what = format!("read_at of {most} at {at} that gave {} bytes", got.len());
        self.step(&what, |_, plain| {
            let from = plain.bytes.len().min(usize::try_from(at).unwrap());
            let next = &plain.bytes[from..plain.bytes.len().min(from + most)];
            let agrees = next.starts_with(got) && got.is_empty() == next.is_empty();
            agrees.then(|| plain.clone()).into_iter().collect()
        })
    }

    /// The value was lent, and did as told.
    pub(crate) fn acted(&mut self, acts: &[Act], told: Option<&[Told]>) -> Result<(), String> {
        self.step(&format!("a value that told {told:?}"), |all, plain| {
            let mut over = all.over_turned(plain);
            over.retain_mut(|plain| {
                let expected = plain.act(acts);
                told.is_none_or(|told| told == expected)
            });
            over
        })
    }

    /// The value may have been lent.
    pub(crate) fn acted_perhaps(&mut self, acts: &[Act]) -> Result<(), String> {
        self.step("a closure that was dropped", |all, plain| {
            let mut over = all.over_turned(plain);
            over.iter_mut().for_each(|plain| drop(plain.act(acts)));
            over.extend(all.in_vain(plain));
            over
        })
    }

    /// The value has been seen: what it holds and where it stands.
    pub(crate) fn seen(&mut self, bytes: &[u8], place: Option<u64>) -> Result<(), String> {
        let what = format!("the sight of {} bytes from {place:?}", bytes.len());
        self.step(&what, |_, plain| {
            let agrees = **plain.bytes == *bytes && place.is_none_or(|place| place == plain.place);
            agrees.then(|| plain.clone()).into_iter().collect()
        })
    }

    /// The answer of a seek. One to the same place that has begun is the same.
    fn fetch(&self, plain: &Plain, to: SeekFrom) -> Vec<(Plain, Sought)> {
        if let (Some(ended), true) = (plain.ended, plain.started == Some(to)) {
            return vec![(turned(plain.clone()), ended)];
        }
        let before = match plain.begun {
            Some((begun, _)) if begun == to => vec![plain.clone().without_seek()],
            _ => self.over(plain),
        };
        let fetched = before.into_iter().map(|mut plain| {
            let sought = plain.seek(to);
            (turned(plain), sought)
        });
        fetched.collect()
    }

    /// A seek has been polled, and no more.
    fn ask(&self, plain: &Plain, to: SeekFrom, certain: bool) -> Vec<Plain> {
        let asked = |mut plain: Plain, certain| {
            plain.begun = Some((to, certain));
            plain
        };
        match plain.begun {
            None => vec![asked(plain.clone(), certain && self.certain)],
            Some((begun, _)) if begun == to => vec![plain.clone()],
            Some(_) => {
                let mut all: Vec<_> = self.over(plain).into_iter().map(|plain| asked(plain, false)).collect();
                all.push(plain.clone());
                all
            }
        }
    }

    pub(crate) fn sought(&mut self, to: SeekFrom, result: Sought) -> Result<(), String> {
        self.step(&format!("{to:?} that gave {result:?}"), |all, plain| {
            let mut ends = match plain.started.filter(|_| all.tokio) {
                None => all.fetch(plain, to),
                Some(started) => {
                    let mut ends = Vec::new();
                    for (plain, sought) in all.fetch(plain, started) {
                        match sought {
                            Ok(_) => ends.extend(all.fetch(&plain, to)),
                            Err(_) => ends.push((plain, sought)),
                        }
                    }
                    ends
                }
            };
            ends.retain(|(_, sought)| *sought == result);
            ends.into_iter().map(|(plain, _)| turned(plain)).collect()
        })
    }

    pub(crate) fn seek_dropped(&mut self, to: SeekFrom) -> Result<(), String> {
        self.step("a seek that was dropped", |all, plain| {
            if !all.tokio {
                return all.ask(plain, to, true);
            }
            let start = |started, plains: Vec<Plain>| {
                plains.into_iter().map(move |plain| Plain { started: Some(started), ..plain })
            };
            let Some(started) = plain.started else { return start(to, all.ask(plain, to, true)).collect() };
            let mut ends: Vec<_> = start(started, all.ask(plain, started, true)).collect();
            for (plain, sought) in all.fetch(plain, started) {
                if sought.is_ok() {
                    ends.extend(start(to, all.ask(&plain, to, false)));
                }
            }
            ends
        })
    }

    /// A seek gave an error of something else: it has not taken place and will not.
    pub(crate) fn seek_failed(&mut self, to: SeekFrom) -> Result<(), String> {
        self.step("a seek that failed", |all, plain| {
            let fail = |plain: &Plain, to| match plain.begun {
                Some((begun, _)) if begun != to => all.in_vain(plain),
                _ => vec![turned(plain.clone().without_seek())],
            };
            let Some(started) = plain.started.filter(|_| all.tokio) else { return fail(plain, to) };
            let mut ends = fail(plain, started);
            for (plain, sought) in all.fetch(plain, started) {
                if sought.is_ok() {
                    ends.extend(fail(&plain, to));
                }
            }
            ends
        })
    }

    /// A read met an error that lay at `place`.
    pub(crate) fn read_failed(&mut self, place: u64) -> Result<(), String> {
        self.step(&format!("a read error at {place}"), |all, plain| {
            let over = all.over_turned(plain).into_iter();
            over.filter(|plain| plain.reading_at() == place).collect()
        })
    }
}

/// The text of an error that a value was told to give.
pub(crate) fn fault_in(error: &io::Error) -> Option<String> {
    if error.kind() == ErrorKind::WriteZero {
        return Some("zero".to_owned());
    }
    let text = error.to_string();
    let start = text.find("fault ")?;
    let end = start + text[start..].find('.')?;
    Some(text[start..=end].to_owned())
}
