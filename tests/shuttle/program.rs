//! What a program may consist of, and how one is drawn.

use shuttle::rand::Rng;

/// How a task comes to the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Road {
    Spawn,
    TrySpawn,
    Reserve,
    /// It expires while it waits, by chance.
    Expires,
    /// A shutdown that discards what is queued does not wait for it, or does.
    Skips,
    Blocks,
    Lane(usize),
    Strand(usize),
}

/// What its closure does.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Return,
    Panic,
    LookAround,
    Hook,
    Retire,
    Block,
    /// Starts another, and does with it what the plan says.
    Child(Box<Plan>),
    /// The same, declared as blocking.
    BlockingChild(Box<Plan>),
}

/// What becomes of its handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Wait,
    WaitBriefly,
    Await,
    Drop,
    Detach,
    Cancel,
    CancelAndLeave,
    /// Another thread cancels while this one waits.
    CancelFromElsewhere,
    OnComplete,
    /// Another thread waits.
    HandOver,
    /// Another thread drops it.
    DropElsewhere,
}

/// One task.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) road: Road,
    pub(crate) body: Body,
    pub(crate) fate: Fate,
}

/// One step of one of the program's threads.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Task(Plan),
    Batch(Vec<Body>),
    Scope(usize),
    Shutdown(End),
    Look,
    SetMax(usize),
}

/// How the pool is shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Drain,
    Discard,
    InTime,
    /// The future is dropped at once.
    Announce,
}

/// The pool, and what else is shared.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) core: usize,
    pub(crate) max: usize,
    pub(crate) keep_alive_ms: u64,
    pub(crate) queue_limit: Option<usize>,
    /// One of so many threads cannot be started; none means all can.
    pub(crate) refused: Option<u32>,
    pub(crate) lanes: Vec<usize>,
    pub(crate) strands: usize,
}

/// A whole program: what each thread does.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) setting: Setting,
    pub(crate) threads: Vec<Vec<Step>>,
    /// The last handle is dropped in the end; otherwise the pool is shut down.
    pub(crate) ends_by_drop: bool,
}

fn one_of<T: Clone>(rng: &mut impl Rng, choices: &[T]) -> T {
    choices[rng.gen_range(0..choices.len())].clone()
}

impl Setting {
    fn draw(rng: &mut impl Rng) -> Self {
        let core = rng.gen_range(1..=2);
        Setting {
            core,
            max: rng.gen_range(core..=3),
            keep_alive_ms: one_of(rng, &[0, 1, 10_000]),
            queue_limit: one_of(rng, &[None, None, Some(1), Some(3)]),
            refused: one_of(rng, &[None, None, Some(2), Some(4)]),
            lanes: (0..rng.gen_range(0..=2)).map(|_| rng.gen_range(1..=2)).collect(),
            strands: rng.gen_range(0..=1),
        }
    }
}

impl Plan {
    fn draw(rng: &mut impl Rng, setting: &Setting, depth: u32) -> Self {
        let mut roads = vec![
            Road::Spawn,
            Road::Spawn,
            Road::TrySpawn,
            Road::Reserve,
            Road::Expires,
            Road::Skips,
            Road::Blocks,
        ];
        roads.extend((0..setting.lanes.len()).map(Road::Lane));
        roads.extend((0..setting.strands).map(Road::Strand));
        if depth > 0 {
            // A task that waits for room in its own pool would wait for itself.
            roads.retain(|road| *road != Road::Reserve);
        }
        let fates = [
            Fate::Wait,
            Fate::Wait,
            Fate::WaitBriefly,
            Fate::Await,
            Fate::Drop,
            Fate::Detach,
            Fate::Cancel,
            Fate::CancelAndLeave,
            Fate::CancelFromElsewhere,
            Fate::OnComplete,
            Fate::HandOver,
            Fate::DropElsewhere,
        ];
        Plan { road: one_of(rng, &roads), body: Body::draw(rng, setting, depth), fate: one_of(rng, &fates) }
    }
}

impl Body {
    fn draw(rng: &mut impl Rng, setting: &Setting, depth: u32) -> Self {
        let most = if depth < 2 { 9 } else { 6 };
        match rng.gen_range(0..most) {
            0 => Body::Return,
            1 => Body::Panic,
            2 => Body::LookAround,
            3 => Body::Hook,
            4 => Body::Retire,
            5 => Body::Block,
            6 | 7 => Body::Child(Box::new(Plan::draw(rng, setting, depth + 1))),
            _ => Body::BlockingChild(Box::new(Plan::draw(rng, setting, depth + 1))),
        }
    }
}

impl Step {
    fn draw(rng: &mut impl Rng, setting: &Setting) -> Self {
        match rng.gen_range(0..20) {
            0 => Step::Batch((0..rng.gen_range(0..4)).map(|_| Body::draw(rng, setting, 1)).collect()),
            1 => Step::Scope(rng.gen_range(0..3)),
            2 => Step::Shutdown(one_of(rng, &[End::Drain, End::Discard, End::InTime, End::Announce])),
            3 => Step::Look,
            4 => Step::SetMax(rng.gen_range(setting.core..=3)),
            _ => Step::Task(Plan::draw(rng, setting, 0)),
        }
    }
}

impl Program {
    pub(crate) fn draw(rng: &mut impl Rng) -> Self {
        let setting = Setting::draw(rng);
        let threads = (0..rng.gen_range(1..=3))
            .map(|_| (0..rng.gen_range(1..=4)).map(|_| Step::draw(rng, &setting)).collect())
            .collect();
        Program { setting, threads, ends_by_drop: rng.gen_bool(0.5) }
    }

    /// Whether nothing in it may have the pool refuse or discard a task: no full queue, no refused
    /// thread, no early shutdown.
    pub(crate) fn runs_everything(&self) -> bool {
        let is_shutdown = |step: &Step| matches!(step, Step::Shutdown(_));
        self.setting.queue_limit.is_none()
            && self.setting.refused.is_none()
            && !self.threads.iter().flatten().any(is_shutdown)
    }
}
