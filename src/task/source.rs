//! The sources of tokens that belong to no task: what `CancelToken::new` and `child` make.
//!
//! # A forest
//!
//! A source is cancelled by itself, or with the one above it. The sources that descend from each
//! other make a *family*: a forest under one lock, whose roots are independent of each other, or
//! all descend from one task. A branch of it has children, and as a list of hooks what is
//! registered with the source, the tasks linked to it among that.
//!
//! A cancellation marks the whole subtree and takes it out, under the lock; then it fires the lists
//! one after the other, parents first, without a lock. So no recursion is as deep as a family, and
//! a child is either in the tree when its parent is cancelled, or is made afterwards: then it is
//! born cancelled.
//!
//! # What is dropped is forgotten
//!
//! A source whose last token is gone can be cancelled no more but from above, and no hook or waker
//! is there: guards and futures keep a token. What may be left are tasks and children. The drop of
//! the last token moves the tasks to the source above, where they are swept once they have ended;
//! above a root is the task of the family, or nothing: then no cancellation can reach them any
//! more. Of the children one is moved to the place of its parent; with more the branch stays to
//! hold them together, until there is one. Meanwhile it may be the source above of what goes, so
//! its tasks are moved once more when it goes. So a branch without a token has two children at
//! least, each leaf has a token, and there are fewer than twice as many branches as sources with
//! tokens: a million children that were made and dropped leave nothing, and so does a chain of
//! which only the last is kept.
//!
//! All of that is one step under the lock of the family, within which lists are locked too; never
//! the other way round. A task is thus in the list of a source that a cancellation will fire, or
//! has been cancelled: the subtree is taken out under that lock, a list that is moved into after
//! that says so, and who moves cancels what it has moved.
//!
//! A fork leaves the child a copy of all this, whose locks may be held for ever: there nothing is
//! cancelled but by its own flag (`is_cancelled`), and nothing is moved.

use std::sync::Arc;

use super::cancel_hooks::{Dependent, DependentsListed, Hooks};
use super::reference::TaskRef;
use crate::numbers::{NumberMap, NumberSet};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{ProcessMutex, trampoline};

/// What can be cancelled and belongs to no task.
pub(super) struct CancelSource {
    is_cancelled: AtomicBool,
    hooks: Hooks,
    family: Arc<Family>,
    /// Its branch, as long as it is in the forest.
    id: u64,
}

/// A family of sources.
struct Family {
    forest: ProcessMutex<Forest>,
    /// The task that the roots descend from.
    task: Option<TaskRef>,
}

#[derive(Default)]
struct Forest {
    last_id: u64,
    branches: NumberMap<Branch>,
    /// What the task of the family has listed the family as.
    listed_as: Option<u64>,
}

struct Branch {
    source: Arc<CancelSource>,
    parent: Option<u64>,
    children: NumberSet,
    has_token: bool,
}

/// What is to be done once the lock of a family is free.
#[derive(Default)]
#[must_use]
struct Pruned {
    moved: Vec<DependentsListed>,
    /// Without a way to be cancelled, or without use.
    dropped: Vec<Box<dyn Dependent>>,
    branches: Vec<Branch>,
}

impl Pruned {
    fn settle(self) {
        let Pruned { moved, dropped, branches } = self;
        moved.into_iter().for_each(DependentsListed::settle);
        drop((dropped, branches));
    }
}

/// What is to be done for a cancellation once the lock of the family is free.
#[derive(Default)]
#[must_use]
struct Felled {
    /// To be fired, in this order.
    branches: Vec<Branch>,
    pruned: Pruned,
}

impl Forest {
    fn plant(&mut self, source: &Arc<CancelSource>, parent: Option<u64>) {
        let children = NumberSet::default();
        let branch = Branch { source: Arc::clone(source), parent, children, has_token: true };
        self.branches.insert(source.id, branch);
        if let Some(parent) = parent.and_then(|parent| self.branches.get_mut(parent)) {
            parent.children.insert(source.id);
        }
    }

    fn roots(&self) -> Vec<u64> {
        let roots = self.branches.iter().filter(|(_, branch)| branch.parent.is_none());
        roots.map(|(id, _)| id).collect()
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Marks these sources, and all that descend from them, as cancelled, and takes them out.
    fn fell(&mut self, roots: Vec<u64>, task: Option<&TaskRef>) -> Felled {
        let mut felled = Felled::default();
        for root in &roots {
            let above = self.branches.get(*root).and_then(|branch| branch.parent);
            if let Some(parent) = above.and_then(|above| self.branches.get_mut(above)) {
                parent.children.remove(*root);
            }
            above.into_iter().for_each(|above| self.prune(above, task, &mut felled.pruned));
        }
        let mut next = roots;
        next.reverse();
        while let Some(branch) = next.pop().and_then(|id| self.branches.remove(id)) {
            // ORDERING: Release pairs with the Acquire in `is_cancelled`: who sees it sees what the
            // canceller did before.
            branch.source.is_cancelled.store(true, Ordering::Release);
            next.extend(branch.children.numbers().into_iter().rev());
            felled.branches.push(branch);
        }
        felled
    }

    /// The last token of a source is gone.
    fn forget(&mut self, id: u64, task: Option<&TaskRef>) -> Pruned {
        let mut pruned = Pruned::default();
        if let Some(branch) = self.branches.get_mut(id) {
            branch.has_token = false;
            self.hand_up(id, task, &mut pruned);
            self.prune(id, task, &mut pruned);
        }
        pruned
    }

    /// Moves the tasks of a source without a token to the source above, or to the task of the
    /// family.
    fn hand_up(&self, id: u64, task: Option<&TaskRef>, pruned: &mut Pruned) {
        let Some(branch) = self.branches.get(id) else { return };
        let links = branch.source.hooks.take_dependents();
        let above = match branch.parent {
            Some(parent) => self.branches.get(parent).map(|parent| &parent.source.hooks),
            None => task.and_then(TaskRef::hooks),
        };
        match above {
            _ if links.is_empty() => {}
            Some(above) => pruned.moved.push(above.add_dependents(links)),
            None => pruned.dropped.extend(links),
        }
    }

    /// Takes a branch out that has no use, and its parent if that has none then.
    fn prune(&mut self, id: u64, task: Option<&TaskRef>, pruned: &mut Pruned) {
        let mut next = Some(id);
        let has_no_use =
            |branch: &Branch| !branch.has_token && (branch.children.len() < 2 || branch.parent.is_none());
        while let Some(id) = next.take().filter(|id| self.branches.get(*id).is_some_and(has_no_use)) {
            // It may have been given some since its token went.
            self.hand_up(id, task, pruned);
            let Some(branch) = self.branches.remove(id) else { return };
            let children = branch.children.numbers();
            for child in &children {
                if let Some(child) = self.branches.get_mut(*child) {
                    child.parent = branch.parent;
                }
            }
            if let Some(parent) = branch.parent.and_then(|parent| self.branches.get_mut(parent)) {
                parent.children.remove(id);
                children.iter().for_each(|child| _ = parent.children.insert(*child));
                next = branch.parent;
            }
            pruned.branches.push(branch);
        }
    }
}

impl Family {
    fn new(task: Option<TaskRef>) -> Arc<Self> {
        Arc::new(Family { forest: ProcessMutex::default(), task })
    }

    /// Cancels sources, and all that descend from them.
    fn cancel(&self, roots: impl FnOnce(&Forest) -> Vec<u64>) {
        let Some(mut forest) = self.forest.lock() else { return };
        let roots = roots(&forest);
        let Felled { branches, pruned } = forest.fell(roots, self.task.as_ref());
        drop(forest);
        pruned.settle();
        branches.iter().for_each(|branch| branch.source.hooks.fire());
    }
}

/// The family of a task, which is cancelled with it.
struct FamilyOfTask(Arc<Family>);

impl Dependent for FamilyOfTask {
    fn cancel(self: Box<Self>) {
        // J1: it refers to nothing that is borrowed.
        trampoline::bounce(move || self.0.cancel(Forest::roots));
    }

    /// It is removed once it has no use.
    fn is_over(&self) -> bool {
        false
    }
}

impl CancelSource {
    fn plant(family: &Arc<Family>, forest: &mut Forest, parent: Option<u64>) -> SourceRef {
        let source = Arc::new(CancelSource {
            is_cancelled: AtomicBool::new(false),
            hooks: Hooks::new(),
            family: Arc::clone(family),
            id: forest.next_id(),
        });
        forest.plant(&source, parent);
        SourceRef { source }
    }

    /// One that is cancelled, and in no forest.
    fn cancelled() -> SourceRef {
        let (is_cancelled, hooks) = (AtomicBool::new(true), Hooks::new());
        hooks.fire();
        SourceRef { source: Arc::new(CancelSource { is_cancelled, hooks, family: Family::new(None), id: 0 }) }
    }
}

/// The tokens of one source. The last one lets the forest forget it.
pub(super) struct SourceRef {
    source: Arc<CancelSource>,
}

impl SourceRef {
    /// A source that descends from nothing.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self::under(None))
    }

    /// A source that is cancelled with `task`, whose hooks expect others.
    pub(super) fn of_task(task: &TaskRef) -> Arc<Self> {
        if task.is_cancelled() {
            return Arc::new(CancelSource::cancelled());
        }
        // In a forked child nothing will come from above any more.
        let Some(hooks) = task.hooks() else { return Self::new() };
        let source = Self::under(Some(task.clone()));
        let family = Arc::clone(&source.source.family);
        let listing = hooks.add_dependents(vec![Box::new(FamilyOfTask(Arc::clone(&family)))]);
        let id = listing.id;
        family.forest.lock().into_iter().for_each(|mut forest| forest.listed_as = id);
        listing.settle();
        Arc::new(source)
    }

    fn under(task: Option<TaskRef>) -> Self {
        let family = Family::new(task);
        match family.forest.lock() {
            Some(mut forest) => CancelSource::plant(&family, &mut forest, None),
            None => unreachable!("the family has been made in this process"),
        }
    }

    /// A source that is cancelled with this one.
    pub(super) fn child(&self) -> Arc<Self> {
        let family = &self.source.family;
        let Some(mut forest) = family.forest.lock() else {
            // A forked child: nothing will come from above any more.
            return if self.is_cancelled() { Arc::new(CancelSource::cancelled()) } else { Self::new() };
        };
        // A canceller takes this lock: it has come, or will find the child.
        if self.is_cancelled() {
            drop(forest);
            return Arc::new(CancelSource::cancelled());
        }
        Arc::new(CancelSource::plant(family, &mut forest, Some(self.source.id)))
    }

    pub(super) fn cancel(&self) {
        let source = &self.source;
        if source.family.forest.is_forked() {
            // ORDERING: Release, as in `fell`.
            source.is_cancelled.store(true, Ordering::Release);
        } else if !self.is_cancelled() {
            source.family.cancel(|_| vec![source.id]);
        }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `fell`.
        self.source.is_cancelled.load(Ordering::Acquire)
    }

    pub(super) fn is_forked(&self) -> bool {
        self.source.family.forest.is_forked()
    }

    /// What is registered with it; not in a forked child.
    pub(super) fn hooks(&self) -> Option<&Hooks> {
        (!self.is_forked()).then_some(&self.source.hooks)
    }
}

impl Drop for SourceRef {
    fn drop(&mut self) {
        let family = &self.source.family;
        let Some(mut forest) = family.forest.lock() else { return };
        let pruned = forest.forget(self.source.id, family.task.as_ref());
        let listed = if forest.branches.is_empty() { forest.listed_as.take() } else { None };
        drop(forest);
        pruned.settle();
        let hooks = family.task.as_ref().and_then(TaskRef::hooks);
        let unlisted = listed.zip(hooks).and_then(|(id, hooks)| hooks.take_dependent(id));
        drop(unlisted);
    }
}
