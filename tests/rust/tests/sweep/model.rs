//! One pack under the sweep's protocol, and everybody who touches it.
//!
//! Every read and every conditional write is a step of its own, so any two may have anything between them; who stands still for long
//! is any order of steps. A worker or a sweep may die at any step, and its slot is tried again. The decisions and writes are
//! `domain::sweep`'s own; a guard that is taken out ([`Model::without`]) is one condition, or one step's order, left out here.
//!
//! Generous on purpose: a sweep's listing may call anything unneeded (its read may be as old as it likes), what a run hopes to share may be
//! long gone (its parent, too, or what an earlier run of its slot left), a run's epoch may be old by the time it is registered, and locks
//! begin with sharing and end whenever they like, so nothing may depend on them. Marks belong to one pack and epochs to a tenant, so
//! one pack is all there is to see; a stored version is readable or gone, whatever its bytes.

use domain::sweep::{self, Act, Deletion, Effect, Epoch, Event, Guard, Mark, Phase, Sharing, Sweep, Write};
use stateright::Property;

/// A stored version of the pack.
pub(crate) type Version = u8;

/// How much may happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Model {
    /// Runs that each of two workers begins, over all attempts.
    pub(crate) runs: [u8; 2],
    /// Sweeps that each of two sweepers begins.
    pub(crate) sweeps: [u8; 2],
    /// Versions of the pack that may ever be stored.
    pub(crate) versions: Version,
    /// Recovery points at the beginning that need the pack.
    pub(crate) needed: u8,
    /// Whether the pack is locked at the beginning.
    pub(crate) locked: bool,
    /// Whether workers and sweepers may die.
    pub(crate) deaths: bool,
    /// The guard that is taken out.
    pub(crate) without: Option<Guard>,
}

/// Everything that is stored, and everything that somebody remembers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct World {
    pub(crate) epoch: Epoch,
    /// The version that is there.
    pub(crate) stored: Option<Version>,
    next_version: Version,
    locked: bool,
    pub(crate) mark: Option<Mark<Version>>,
    /// Available recovery points that need the pack.
    pub(crate) available: u8,
    pub(crate) workers: [Worker; 2],
    pub(crate) sweepers: [Sweeper; 2],
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Worker {
    runs_left: u8,
    /// The run's record: when it began, and whether it may publish.
    pub(crate) record: Option<(Epoch, Running)>,
    pub(crate) at: Work,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Running {
    Yes,
    Fenced,
}

/// What a worker remembers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Work {
    Idle,
    /// It read the epoch.
    Beginning(Epoch),
    /// It may look at the pack.
    Looking,
    /// It read the pack's mark, or, with `early`, that the version is there already.
    Read {
        mark: Option<Mark<Version>>,
        early: bool,
    },
    /// It may share the pack if the version is there.
    MayShare {
        early: bool,
        rescued: bool,
    },
    /// Without [`Guard::VersionAfterMark`]: it found the version there before it read the mark.
    Early,
    /// It may not share it.
    Refused,
    /// It relies on the pack.
    Has,
    /// It died. Its record stays.
    Dead {
        had: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Sweeper {
    sweeps_left: u8,
    pub(crate) at: Step,
}

/// What a sweeper remembers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Step {
    Idle,
    /// It read the epoch, then listed this version.
    Listed {
        sweep: Sweep,
        version: Option<Version>,
        needed: bool,
    },
    /// It goes from phase to phase.
    On {
        sweep: Sweep,
        early: Option<bool>,
    },
    /// It read a mark.
    Marked {
        sweep: Sweep,
        mark: Mark<Version>,
        early: Option<bool>,
    },
    /// It read who needs the pack.
    Judged {
        sweep: Sweep,
        mark: Mark<Version>,
        needed: bool,
    },
    /// It may delete.
    Deleting {
        sweep: Sweep,
        mark: Mark<Version>,
    },
    /// It deleted, or could not.
    Deleted {
        sweep: Sweep,
        mark: Mark<Version>,
        deletion: Deletion,
    },
}

/// One step of somebody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    /// A worker's next step.
    Work(usize),
    /// A worker stores the pack anew.
    Store(usize),
    /// A worker looks for the version before it reads the mark; only without [`Guard::VersionAfterMark`].
    LookEarly(usize),
    /// A worker gives up, without having needed the pack.
    GiveUp(usize),
    /// A worker dies.
    Die(usize),
    /// A dead worker's slot is tried again.
    Retry(usize),
    /// A sweeper's next step.
    Sweep(usize),
    /// A sweeper condemns what it should not, because its list of who needs it is old.
    SweepOnOldList(usize),
    /// A sweeper fences a worker's run.
    Fence(usize, usize),
    /// A sweeper dies.
    Abort(usize),
    /// Retention lets a recovery point go.
    Expire,
    /// The lock ends.
    Unlock,
}

impl Worker {
    /// Whether its run may still publish and names the pack.
    fn relies_on_the_pack(&self) -> bool {
        matches!(self.at, Work::Has | Work::Dead { had: true }) && matches!(self.record, Some((_, Running::Yes)))
    }
}

impl Model {
    fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    /// Carries a write out if what it depends on holds, but for the guard that is taken out.
    fn write(&self, world: &mut World, write: &Write<Version>, run: Option<usize>) -> bool {
        let running = run.is_some_and(|run| matches!(world.workers[run].record, Some((_, Running::Yes))));
        let holds = write.when.iter().all(|(guard, condition)| {
            // Fencing and publishing share a guard; what is fenced again changes nothing.
            !self.has(*guard) || condition.holds(world.epoch, world.mark.as_ref(), running)
        });
        if !holds {
            return false;
        }
        match (&write.then, run) {
            (Effect::Epoch(epoch), _) => world.epoch = *epoch,
            (Effect::Mark(mark), _) => world.mark = *mark,
            (Effect::Publish, _) => world.available += 1,
            (Effect::Fence, Some(run)) => {
                if let Some((_, state)) = &mut world.workers[run].record {
                    *state = Running::Fenced;
                }
            }
            (Effect::Fence, None) => {}
        }
        true
    }

    fn register(&self, world: &mut World, i: usize, epoch: Epoch) {
        world.workers[i].record = Some((epoch, Running::Yes));
    }

    fn work(&self, world: &mut World, i: usize) {
        let at = world.workers[i].at;
        let registered_late = !self.has(Guard::RegisterFirst);
        world.workers[i].at = match at {
            Work::Idle => {
                world.workers[i].runs_left -= 1;
                if registered_late { Work::Looking } else { Work::Beginning(world.epoch) }
            }
            Work::Beginning(epoch) => {
                self.register(world, i, epoch);
                Work::Looking
            }
            Work::Looking if !self.has(Guard::ReadMark) => Work::MayShare { early: false, rescued: false },
            Work::Looking => Work::Read { mark: world.mark, early: false },
            Work::Early => Work::Read { mark: world.mark, early: true },
            Work::Read { mark, early } => match sweep::sharing(mark.as_ref()) {
                Sharing::Allowed => Work::MayShare { early, rescued: false },
                Sharing::AfterRescue(write) => {
                    if self.write(world, &write, None) {
                        Work::MayShare { early, rescued: true }
                    } else {
                        Work::Looking
                    }
                }
                Sharing::Refused if !self.has(Guard::SweepingIsFinal) => {
                    if world.mark == mark {
                        world.mark = None;
                    }
                    Work::MayShare { early, rescued: false }
                }
                Sharing::Refused => Work::Refused,
            },
            Work::MayShare { early, .. } => {
                if early || world.stored.is_some() || !self.has(Guard::VersionThere) {
                    world.locked |= world.stored.is_some();
                    if registered_late {
                        self.register(world, i, world.epoch);
                    }
                    Work::Has
                } else {
                    Work::Refused
                }
            }
            Work::Has => {
                self.write(world, &sweep::publish(), Some(i));
                world.workers[i].record = None;
                Work::Idle
            }
            Work::Refused | Work::Dead { .. } => unreachable!("no step of its own"),
        };
    }

    /// A sweeper's next step; `old_list` says that it does not see who needs the pack.
    fn sweep(&self, world: &mut World, i: usize, old_list: bool) {
        let at = world.sweepers[i].at;
        world.sweepers[i].at = match at {
            Step::Idle => {
                world.sweepers[i].sweeps_left -= 1;
                let needed = world.available > 0 && !old_list;
                Step::Listed { sweep: Sweep::begin(world.epoch), version: world.stored, needed }
            }
            Step::Listed { sweep, version, needed } => {
                if let (Some(version), false) = (version, needed) {
                    self.write(world, &sweep.condemn(version), None);
                }
                let sweep = sweep.next(Event::Marked).expect("marking is over");
                let early = (!self.has(Guard::Recheck)).then_some(needed);
                Step::On { sweep, early }
            }
            Step::On { sweep, early } => self.go_on(world, sweep, early),
            Step::Marked { sweep, mark, early } => Step::Judged { sweep, mark, needed: early.unwrap_or(world.available > 0) },
            Step::Judged { sweep, mark, needed } => match sweep.judge(&mark, needed) {
                Some(Act::Delete(_)) => Step::Deleting { sweep, mark },
                Some(Act::Write(write)) => {
                    let written = self.write(world, &write, None);
                    match write.then {
                        Effect::Mark(Some(mark)) if written => Step::Deleting { sweep, mark },
                        _ => Step::Idle,
                    }
                }
                None if self.has(Guard::OnlySettled) => Step::Idle,
                // Judged as if its runs had been waited for.
                None => Step::Judged { sweep: Sweep { epoch: mark.epoch(), ..sweep }, mark, needed },
            },
            Step::Deleting { sweep, mark } => {
                let Some(Act::Delete(version)) = sweep.judge(&mark, false) else { unreachable!("it bears the mark of deletion") };
                let meant = world.stored.filter(|stored| *stored == version || !self.has(Guard::DeleteByVersion));
                let deletion = if meant.is_some() && world.locked { Deletion::Locked } else { Deletion::Gone };
                if meant.is_some() && deletion == Deletion::Gone {
                    world.stored = None;
                }
                Step::Deleted { sweep, mark, deletion }
            }
            Step::Deleted { sweep, mark, deletion } => {
                let deletion = if self.has(Guard::LockedStaysMarked) { deletion } else { Deletion::Gone };
                if let Some(write) = sweep.deleted(&mark, deletion) {
                    self.write(world, &write, None);
                }
                Step::Idle
            }
        };
    }

    fn go_on(&self, world: &mut World, sweep: Sweep, early: Option<bool>) -> Step {
        match sweep.phase {
            Phase::Marking => unreachable!("it has marked"),
            Phase::Advancing => {
                let sweep = if self.has(Guard::Advance) {
                    self.write(world, &sweep.advance(), None);
                    sweep.next(Event::Advanced(world.epoch)).unwrap_or(sweep)
                } else {
                    Sweep { phase: Phase::Waiting, ..sweep }
                };
                let early = early.or_else(|| (!self.has(Guard::RecheckAfterWaiting)).then_some(world.available > 0));
                Step::On { sweep, early }
            }
            Phase::Waiting => {
                let in_the_way = (0..world.workers.len()).any(|run| self.is_in_the_way(world, sweep, run));
                if in_the_way {
                    return Step::On { sweep, early };
                }
                Step::On { sweep: Sweep { phase: Phase::Judging, ..sweep }, early }
            }
            Phase::Judging => match world.mark {
                Some(mark) => Step::Marked { sweep, mark, early },
                None => Step::Idle,
            },
        }
    }

    /// Whether a run is what a sweep waits for.
    fn is_in_the_way(&self, world: &World, sweep: Sweep, run: usize) -> bool {
        let Some((began, Running::Yes)) = world.workers[run].record else { return false };
        let settled = sweep.next(Event::Running(Some(began))).is_ok();
        !settled && self.has(Guard::Wait) && (began < sweep.epoch || self.has(Guard::WaitForOwnEpoch))
    }

    /// The world once everybody has died, no lock is left, and `sweeps` sweeps have gone from beginning to end.
    fn after_undisturbed_sweeps(&self, world: &World, sweeps: usize) -> World {
        let mut world = *world;
        world.locked = false;
        for worker in &mut world.workers {
            worker.at = Work::Dead { had: false };
        }
        world.sweepers = [Sweeper { sweeps_left: 2, at: Step::Idle }; 2];
        for _ in 0..sweeps {
            loop {
                if let Step::On { sweep, .. } = &world.sweepers[0].at
                    && sweep.phase == Phase::Waiting
                {
                    for run in 0..world.workers.len() {
                        self.write(&mut world, &sweep::fence(), Some(run));
                    }
                }
                self.sweep(&mut world, 0, false);
                if world.sweepers[0].at == Step::Idle {
                    break;
                }
            }
        }
        world
    }
}

impl stateright::Model for Model {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            epoch: Epoch(0),
            stored: Some(0),
            next_version: 1,
            locked: self.locked,
            mark: None,
            available: self.needed,
            workers: self.runs.map(|runs_left| Worker { runs_left, record: None, at: Work::Idle }),
            sweepers: self.sweeps.map(|sweeps_left| Sweeper { sweeps_left, at: Step::Idle }),
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (i, worker) in world.workers.iter().enumerate() {
            match worker.at {
                Work::Idle if worker.runs_left > 0 => actions.push(Action::Work(i)),
                Work::Idle => {}
                Work::Dead { .. } if worker.runs_left > 0 => actions.push(Action::Retry(i)),
                Work::Dead { .. } => {}
                Work::Refused => {
                    actions.push(Action::GiveUp(i));
                    if world.stored.is_none() && world.next_version < self.versions {
                        actions.push(Action::Store(i));
                    }
                }
                Work::Looking => {
                    actions.push(Action::Work(i));
                    if !self.has(Guard::VersionAfterMark) && world.stored.is_some() {
                        actions.push(Action::LookEarly(i));
                    }
                }
                _ => actions.push(Action::Work(i)),
            }
            if self.deaths && worker.record.is_some() && !matches!(worker.at, Work::Dead { .. }) {
                actions.push(Action::Die(i));
            }
        }
        for (i, sweeper) in world.sweepers.iter().enumerate() {
            match &sweeper.at {
                Step::Idle if sweeper.sweeps_left > 0 => {
                    actions.push(Action::Sweep(i));
                    if world.available > 0 {
                        actions.push(Action::SweepOnOldList(i));
                    }
                }
                Step::Idle => {}
                Step::On { sweep, .. } if sweep.phase == Phase::Waiting => {
                    let in_the_way = (0..world.workers.len()).filter(|run| self.is_in_the_way(world, *sweep, *run));
                    let fences: Vec<Action> = in_the_way.map(|run| Action::Fence(i, run)).collect();
                    if fences.is_empty() {
                        actions.push(Action::Sweep(i));
                    }
                    actions.extend(fences);
                }
                _ => actions.push(Action::Sweep(i)),
            }
            if self.deaths && sweeper.at != Step::Idle {
                actions.push(Action::Abort(i));
            }
        }
        if world.available > 0 {
            actions.push(Action::Expire);
        }
        if world.locked {
            actions.push(Action::Unlock);
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = *before;
        match action {
            Action::Work(i) => self.work(&mut world, i),
            Action::Store(i) => {
                world.stored = Some(world.next_version);
                world.next_version += 1;
                if !self.has(Guard::RegisterFirst) {
                    let epoch = world.epoch;
                    self.register(&mut world, i, epoch);
                }
                world.workers[i].at = Work::Has;
            }
            Action::LookEarly(i) => world.workers[i].at = Work::Early,
            Action::GiveUp(i) => {
                world.workers[i].record = None;
                world.workers[i].at = Work::Idle;
            }
            Action::Die(i) => {
                let had = world.workers[i].at == Work::Has;
                world.workers[i].at = Work::Dead { had };
            }
            // The new run takes the record over, so the old one can publish no more.
            Action::Retry(i) => {
                world.workers[i].record = None;
                world.workers[i].at = Work::Idle;
                self.work(&mut world, i);
            }
            Action::Sweep(i) => self.sweep(&mut world, i, false),
            Action::SweepOnOldList(i) => self.sweep(&mut world, i, true),
            Action::Fence(_, run) => {
                self.write(&mut world, &sweep::fence(), Some(run));
            }
            Action::Abort(i) => world.sweepers[i].at = Step::Idle,
            Action::Expire => world.available -= 1,
            Action::Unlock => world.locked = false,
        }
        // Who is who makes no difference.
        world.workers.sort_unstable();
        world.sweepers.sort_unstable();
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(AVAILABLE, |_, world: &World| world.available == 0 || world.stored.is_some()),
            Property::always(RUNNING, |_, world: &World| {
                world.stored.is_some() || !world.workers.iter().any(Worker::relies_on_the_pack)
            }),
        ];
        if self.without.is_none() {
            properties.push(Property::always(GARBAGE, |model: &Self, world: &World| {
                let after = model.after_undisturbed_sweeps(world, 2);
                after.mark.is_none() && after.stored.is_some() == (after.available > 0)
            }));
            properties.extend(HAPPENINGS.map(|(name, happens)| Property::sometimes(name, happens)));
        }
        properties
    }
}

/// No available recovery point lacks the pack.
pub(crate) const AVAILABLE: &str = "an available recovery point lacks a pack";
/// No run that may still publish lacks it.
pub(crate) const RUNNING: &str = "a run that may publish lacks a pack";
/// Two undisturbed sweeps, once locks have ended, delete all that nobody needs, keep the rest, and leave no mark.
pub(crate) const GARBAGE: &str = "two sweeps leave garbage, or a mark";

type Happening = (&'static str, fn(&Model, &World) -> bool);

/// What must happen in some order of steps, so that the rest is not true of nothing.
pub(crate) const HAPPENINGS: [Happening; 9] = [
    ("a run shares an unmarked pack", |_, world| any_work(world, |at| matches!(at, Work::MayShare { rescued: false, .. }))),
    ("a run rescues a condemned pack", |_, world| any_work(world, |at| matches!(at, Work::MayShare { rescued: true, .. }))),
    ("a run leaves a pack that is being deleted", |_, world| world.stored.is_some() && any_work(world, |at| at == Work::Refused)),
    ("a run stores anew what was deleted, under the old name", |_, world| world.stored == Some(1) && world.available > 0),
    ("a fenced run tries to publish", |_, world| {
        world.workers.iter().any(|worker| worker.at == Work::Has && matches!(worker.record, Some((_, Running::Fenced))))
    }),
    ("a dead run is fenced", |_, world| {
        world.workers.iter().any(|worker| matches!((worker.at, worker.record), (Work::Dead { .. }, Some((_, Running::Fenced)))))
    }),
    ("a sweep deletes what nobody needs", |_, world| {
        world.stored.is_none() && any_step(world, |at| matches!(at, Step::Deleted { deletion: Deletion::Gone, .. }))
    }),
    ("a lock keeps a sweep from deleting", |_, world| {
        any_step(world, |at| matches!(at, Step::Deleted { deletion: Deletion::Locked, .. }))
    }),
    ("a needed pack is judged", |_, world| {
        any_step(world, |at| matches!(at, Step::Judged { needed: true, mark: Mark::Condemned { .. }, .. }))
    }),
];

fn any_work(world: &World, is: fn(Work) -> bool) -> bool {
    world.workers.iter().any(|worker| is(worker.at))
}

fn any_step(world: &World, is: fn(Step) -> bool) -> bool {
    world.sweepers.iter().any(|sweeper| is(sweeper.at))
}
