//! The spans by which a console shows tasks.
#![cfg(feature = "tracing")]

use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sidestep::task::JoinSet;
use sidestep::{CancelToken, Pool, ResourcePool, Strand, current};
use tracing::field::{Field, Visit};
use tracing::{Dispatch, Level, Span, Subscriber, dispatcher, info_span, span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::support::{Gate, all_well, builder, check_sound, eventually, occupy, pool, quiet_panic, soon};

/// What a subscriber was given of a span.
#[derive(Clone, Debug, Default)]
struct Shown {
    name: &'static str,
    target: &'static str,
    level: Option<Level>,
    parent: Option<&'static str>,
    fields: BTreeMap<&'static str, String>,
    steps: Vec<&'static str>,
}

impl Shown {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

impl Visit for Shown {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}

/// Lists all spans, as a console would that wants those of tasks.
#[derive(Clone, Default)]
struct Console(Arc<Mutex<Vec<Shown>>>);

/// Which of the list a span is.
struct Index(usize);

impl Console {
    fn dispatch(&self) -> Dispatch {
        Dispatch::new(tracing_subscriber::registry().with(self.clone()))
    }

    /// Runs `f` with this console as its subscriber.
    fn listen<R>(&self, f: impl FnOnce() -> R) -> R {
        dispatcher::with_default(&self.dispatch(), f)
    }

    fn spans(&self, name: &str) -> Vec<Shown> {
        self.0.lock().unwrap().iter().filter(|shown| shown.name == name).cloned().collect()
    }

    fn tasks(&self) -> Vec<Shown> {
        self.spans("runtime.spawn")
    }

    /// The steps of the only span of a task that is named so.
    fn steps(&self, name: &str) -> Vec<&'static str> {
        let mut named: Vec<_> =
            self.tasks().into_iter().filter(|task| task.field("task.name") == Some(name)).collect();
        assert_eq!(named.len(), 1, "{name}: {named:?}");
        named.remove(0).steps
    }

    fn step<S>(&self, id: &span::Id, context: &Context<'_, S>, step: &'static str)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let span = context.span(id).unwrap();
        let extensions = span.extensions();
        let Index(index) = extensions.get().unwrap();
        self.0.lock().unwrap()[*index].steps.push(step);
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Console {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let (metadata, span) = (attributes.metadata(), context.span(id).unwrap());
        let mut shown = Shown {
            name: metadata.name(),
            target: metadata.target(),
            level: Some(*metadata.level()),
            parent: span.parent().map(|parent| parent.name()),
            steps: vec!["new"],
            ..Shown::default()
        };
        attributes.record(&mut shown);
        let mut list = self.0.lock().unwrap();
        span.extensions_mut().insert(Index(list.len()));
        list.push(shown);
    }
    fn on_enter(&self, id: &span::Id, context: Context<'_, S>) {
        self.step(id, &context, "enter");
    }
    fn on_exit(&self, id: &span::Id, context: Context<'_, S>) {
        self.step(id, &context, "exit");
    }
    fn on_close(&self, id: span::Id, context: Context<'_, S>) {
        self.step(&id, &context, "close");
    }
}

const RUN: [&str; 4] = ["new", "enter", "exit", "close"];
const UNRUN: [&str; 2] = ["new", "close"];

/// Before it runs: the time in the queue. Inside of it: the run. Closed: the end.
#[test]
fn a_task_is_shown_with_its_name_and_place_from_its_spawn_to_its_end() {
    let (pool, gate, console) =
        (builder().max_threads(1).name("press").build().unwrap(), Gate::new(), Console::default());
    console.listen(|| {
        let busy = occupy(&pool, &gate);
        assert_eq!(console.tasks().remove(0).steps, ["new", "enter"]);
        let inside = console.clone();
        let (task, site) =
            (pool.options().name("report").spawn(move || inside.steps("report")), Location::caller());
        let shown = console.tasks().remove(1);
        assert_eq!(shown.steps, ["new"]);
        assert_eq!((shown.target, shown.level), ("tokio::task::blocking", Some(Level::TRACE)));
        let (line, column) = (site.line().to_string(), shown.field("loc.col").unwrap());
        assert_ne!(column, "0");
        let id = task.id().as_u64().to_string();
        let fields = [
            ("kind", "blocking"),
            ("loc.col", column),
            ("loc.file", file!()),
            ("loc.line", &line),
            ("pool", "press"),
            ("task.id", &id),
            ("task.name", "report"),
        ];
        assert!(shown.fields.iter().map(|(name, value)| (*name, value.as_str())).eq(fields), "{shown:?}");
        gate.open();
        assert_eq!(soon(task).unwrap(), ["new", "enter"]);
        assert_eq!(console.steps("report"), RUN, "all of it before the handle learns of the end");
        soon(busy).unwrap();
    });
    check_sound(&pool);
}

/// Does `spawn`, which ends its tasks, and returns what of them was shown: all of them at this
/// file.
#[track_caller]
fn shows(console: &Console, count: usize, spawn: impl FnOnce()) -> Vec<Shown> {
    let before = console.tasks().len();
    spawn();
    let shown = console.tasks().split_off(before);
    assert_eq!(shown.len(), count, "{shown:?}");
    for task in &shown {
        assert_eq!(
            (task.field("kind"), task.field("loc.file")),
            (Some("blocking"), Some(file!())),
            "{task:?}"
        );
        assert_eq!(task.steps, RUN, "{task:?}");
    }
    shown
}

#[test]
fn every_way_to_spawn_is_shown() {
    let (pool, console) = (pool(1, 1), Console::default());
    console.listen(|| {
        shows(&console, 1, || soon(pool.spawn(|| ())).unwrap());
        shows(&console, 1, || sidestep::block_on(pool.unblock(|| ())));
        shows(&console, 1, || soon(pool.try_spawn(|| ()).unwrap()).unwrap());
        shows(&console, 3, || assert_eq!(pool.spawn_batch([|| (); 3]).wait().len(), 3));
        shows(&console, 2, || {
            pool.scope(|scope| {
                scope.spawn(|| ());
                scope.spawn(|| ());
            });
        });
        let permit = || pool.reserve().wait().unwrap();
        shows(&console, 1, || soon(permit().spawn(|| ())).unwrap());
        let named =
            shows(&console, 1, || soon(permit().spawn_with(&pool.options().name("x"), || ())).unwrap());
        assert_eq!(named[0].field("task.name"), Some("x"));
        let mut set = JoinSet::new();
        shows(&console, 1, || {
            set.spawn_blocking_on(|| (), &pool);
            assert_eq!(sidestep::block_on(set.join_next()).unwrap().unwrap(), ());
        });
        shows(&console, 1, || sidestep::block_on(sidestep::task::spawn_blocking(|| ())).unwrap());

        let lane = pool.lane("tapes", 1);
        let of_lane = shows(&console, 1, || soon(lane.spawn(|| ())).unwrap());
        assert_eq!((of_lane[0].field("lane"), of_lane[0].field("task.name")), (Some("tapes"), None));
        shows(&console, 2, || assert_eq!(lane.options().spawn_batch([|| (); 2]).wait().len(), 2));
        let keyed = pool.keyed_lane("customers", 1).build().unwrap();
        let of_key = shows(&console, 1, || soon(keyed.spawn(7, || ())).unwrap());
        assert_eq!(of_key[0].field("lane"), Some("customers"));
        let strand = Strand::on(&pool, 1);
        let of_strand = shows(&console, 1, || assert_eq!(soon(strand.call(|value| *value)).unwrap(), 1));
        assert_eq!(of_strand[0].field("lane"), Some("strand"));
        let resources = ResourcePool::builder(&pool, 1, || std::io::Result::Ok(1)).build().unwrap();
        shows(&console, 1, || assert_eq!(soon(resources.call(|value| *value)).unwrap(), 1));
        #[cfg(feature = "fs")]
        shows(&console, 1, || {
            let size = sidestep::fs::on(&pool).metadata("Cargo.toml");
            assert!(sidestep::block_on(size).is_ok());
        });
    });
    check_sound(&pool);
}

#[test]
fn every_end_closes_the_span_and_a_refusal_makes_none() {
    let (pool, gate, console) = (pool(1, 1), Gate::new(), Console::default());
    console.listen(|| {
        let busy = occupy(&pool, &gate);
        drop(pool.options().name("dropped").spawn(|| ()));
        assert_eq!(console.steps("dropped"), UNRUN);
        let cancelled = pool.options().name("cancelled").spawn(|| ());
        cancelled.cancel_handle().cancel();
        assert_eq!(console.steps("cancelled"), UNRUN);
        assert!(soon(cancelled).unwrap_err().is_cancelled());
        let linked = pool.options().name("linked").spawn(|| ());
        let token = CancelToken::new();
        linked.link(&token);
        token.cancel();
        assert_eq!(console.steps("linked"), UNRUN);
        let expired = pool.options().name("expired").expire_after(Duration::ZERO).spawn(|| ());
        assert!(soon(expired).unwrap_err().is_expired());
        assert_eq!(console.steps("expired"), UNRUN);
        let batch = pool.options().name("batch").spawn_batch([|| ()]);
        drop(batch);
        assert_eq!(console.steps("batch"), UNRUN);
        let panics = pool.options().name("panics").spawn(|| quiet_panic("halfway"));
        let detached = pool.options().name("detached").spawn(|| ());
        detached.detach();
        gate.open();
        let end: Result<(), _> = soon(panics);
        assert!(end.unwrap_err().is_panic());
        assert_eq!(console.steps("panics"), RUN);
        eventually("the detached one ends", || console.steps("detached") == RUN);
        soon(busy).unwrap();
        check_sound(&pool);

        let gate = Gate::new();
        let busy = occupy(&pool, &gate);
        let discarded = pool.options().name("discarded").spawn(|| ());
        let shutdown = pool.shutdown().discard_queued();
        assert_eq!(console.steps("discarded"), UNRUN);
        let before = console.tasks().len();
        assert!(soon(pool.spawn(|| ())).unwrap_err().is_shutdown());
        assert!(pool.spawn_batch([|| (); 2]).wait().into_iter().all(|end| end.unwrap_err().is_shutdown()));
        gate.open();
        shutdown.wait();
        drop((busy, discarded));
        let full = builder().max_threads(1).queue_limit(1).build().unwrap();
        let gate = Gate::new();
        let busy = occupy(&full, &gate);
        let queued = full.spawn(|| ());
        assert!(full.try_spawn(|| ()).is_err());
        assert!(soon(full.spawn(|| ())).unwrap_err().is_full());
        assert_eq!(console.tasks().len(), before + 2);
        gate.open();
        all_well([busy, queued]);
        check_sound(&full);
    });
    assert!(console.tasks().iter().all(|task| task.steps.last() == Some(&"close")), "{:?}", console.tasks());
}

/// And is not held open by what it is a child of.
#[test]
fn the_span_of_the_caller_is_its_parent_and_is_the_current_one_in_the_closure() {
    let (pool, console) = (pool(1, 1), Console::default());
    console.listen(|| {
        let request = info_span!("request");
        let task = request.in_scope(|| pool.spawn(|| Span::current().id()));
        assert_eq!(soon(task).unwrap(), request.id());
        assert_eq!(console.tasks()[0].parent, Some("request"));
        drop(request);
        eventually("the request is closed", || console.spans("request")[0].steps.last() == Some(&"close"));
        let alone = pool.spawn(|| Span::current().metadata().map(|metadata| metadata.name()));
        assert_eq!(soon(alone).unwrap(), Some("runtime.spawn"));
        assert_eq!(console.tasks()[1].parent, None);
    });
    assert!(soon(pool.spawn(|| Span::current().is_none())).unwrap());
    check_sound(&pool);
}

/// Else it would be busy with what others do, and never end before them.
#[test]
fn the_span_of_a_task_is_not_taken_along_to_those_that_it_spawns() {
    let (pool, console) = (pool(1, 1), Console::default());
    console.listen(|| {
        let (within, inside) = (pool.clone(), console.clone());
        let outer = pool.options().name("outer").spawn(move || {
            let token = current::token();
            let attached = token.clone();
            let inner = within.options().name("inner").spawn(move || {
                let is_of_outer = current::attach(&attached, || !Span::current().is_none());
                (inside.steps("outer"), is_of_outer)
            });
            (inner, token)
        });
        let (inner, token) = soon(outer).unwrap();
        assert_eq!(console.steps("outer"), RUN, "though the inner one and a token are left");
        assert_eq!(soon(inner).unwrap().0, RUN);
        assert_eq!(console.tasks()[1].parent, None);
        drop(token);
    });
    check_sound(&pool);
}

#[test]
fn a_pool_that_does_not_propagate_spans_is_shown_all_the_same() {
    let (pool, gate, console) =
        (builder().max_threads(1).propagate_spans(false).build().unwrap(), Gate::new(), Console::default());
    console.listen(|| {
        let busy = occupy(&pool, &gate);
        let task = info_span!("request").in_scope(|| pool.spawn(|| Span::current().is_none()));
        assert_eq!(console.spans("request")[0].steps, RUN, "nothing holds it open");
        assert_eq!((console.tasks()[1].parent, &console.tasks()[1].steps[..]), (None, &["new"][..]));
        gate.open();
        assert!(soon(task).unwrap(), "the thread has no subscriber");
        assert_eq!(console.tasks()[1].steps, RUN);
        soon(busy).unwrap();
    });
    check_sound(&pool);
}

/// Does something at one step of the spans of tasks, unless the thread is inside of that.
struct At<F>(&'static str, F);

thread_local! { static INSIDE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) } }

impl<F: Fn()> At<F> {
    fn step(&self, step: &str, is_task: bool) {
        struct Leave;
        impl Drop for Leave {
            fn drop(&mut self) {
                INSIDE.set(false);
            }
        }
        if is_task && step == self.0 && !INSIDE.replace(true) {
            let _leave = Leave;
            self.1();
        }
    }
}

fn is_task<S: Subscriber + for<'a> LookupSpan<'a>>(id: &span::Id, context: &Context<'_, S>) -> bool {
    context.span(id).is_some_and(|span| span.name() == "runtime.spawn")
}

impl<S, F> Layer<S> for At<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    F: Fn() + Send + Sync + 'static,
{
    fn on_new_span(&self, _: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        self.step("new", is_task(id, &context));
    }
    fn on_enter(&self, id: &span::Id, context: Context<'_, S>) {
        self.step("enter", is_task(id, &context));
    }
    fn on_exit(&self, id: &span::Id, context: Context<'_, S>) {
        self.step("exit", is_task(id, &context));
    }
    fn on_close(&self, id: span::Id, context: Context<'_, S>) {
        self.step("close", is_task(&id, &context));
    }
}

/// Ends of every kind, under a subscriber that misbehaves at `step`.
fn ends_under(pool: &Pool, dispatch: &Dispatch, step: &str) {
    dispatcher::with_default(dispatch, || {
        let gate = Gate::new();
        let busy = occupy(pool, &gate);
        drop(pool.spawn(|| ()));
        let late = pool.options().expire_after(Duration::ZERO).spawn(|| ());
        let batch = pool.spawn_batch((0..3).map(|number| move || number));
        let after = info_span!("request").in_scope(|| pool.spawn(|| 42));
        gate.open();
        assert!(soon(late).unwrap_err().is_expired(), "{step}");
        assert_eq!(batch.wait().into_iter().map(Result::unwrap).sum::<i32>(), 3, "{step}");
        assert_eq!(soon(after).unwrap(), 42, "{step}");
        soon(busy).unwrap();
    });
    assert!(soon(pool.spawn(|| Span::current().is_none())).unwrap(), "{step}: a span is left in the thread");
    check_sound(pool);
}

#[test]
fn a_subscriber_that_panics_at_any_step_harms_no_task() {
    for step in RUN {
        let pool = pool(1, 1);
        let panics = At(step, || quiet_panic("a subscriber"));
        ends_under(&pool, &Dispatch::new(tracing_subscriber::registry().with(panics)), step);
    }
}

#[test]
fn a_subscriber_may_spawn_and_wait_at_any_step() {
    for step in RUN {
        let pool = pool(2, 2);
        let (inner, uses) = (pool.clone(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&uses);
        let spawns = At(step, move || {
            // Its own tasks are shown too, and there is an end to that.
            if count.fetch_add(1, Ordering::SeqCst) < 20 {
                inner.spawn(|| ()).wait().unwrap();
                inner.spawn(|| ()).detach();
            }
        });
        ends_under(&pool, &Dispatch::new(tracing_subscriber::registry().with(spawns)), step);
        assert!(uses.load(Ordering::SeqCst) > 0, "{step}");
    }
}

/// Each of them is on its way before the span of the next is made.
#[test]
fn a_subscriber_may_wait_for_the_first_of_a_batch() {
    let (pool, ran) = (pool(1, 1), Arc::new(AtomicUsize::new(0)));
    let (made, seen) = (AtomicUsize::new(0), Arc::clone(&ran));
    let waits = At("new", move || {
        let before = made.fetch_add(1, Ordering::SeqCst);
        eventually("those before have run", || seen.load(Ordering::SeqCst) == before);
    });
    dispatcher::with_default(&Dispatch::new(tracing_subscriber::registry().with(waits)), || {
        let closures = (0..3).map(|_| {
            let ran = Arc::clone(&ran);
            move || ran.fetch_add(1, Ordering::SeqCst)
        });
        let order: Vec<_> = pool.spawn_batch(closures).wait().into_iter().map(Result::unwrap).collect();
        assert_eq!(order, [0, 1, 2]);
    });
    check_sound(&pool);
}
