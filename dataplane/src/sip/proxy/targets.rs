//! The target set of a request (RFC 3261 §16.5): whom it may be sent to, in which order, and how
//! far each of them has come.
//!
//! ```text
//! route.to      trunk a, q 1.0      trunk b, q 1.0      trunk c, q 0.5
//!               ── group 0, in parallel ──────────      ── group 1, when all of group 0 have failed
//! lanes         a.0 ► a.1 ► a.2     b.0                 c.0 ► c.1
//! ```
//!
//! Trunks of equal q are a group. Each trunk of it is a lane, whose targets are tried one after
//! the other: the next when the one before could not take the request at all. Of a user's contacts
//! the flows of a device are a lane (RFC 5626 §7), whose group is that of its first.

use crate::ids::TrunkIndex;
use crate::limits::BRANCHES_MAX;
use crate::limits::TARGETS_MAX;
use crate::route::Dial;
use crate::settings::DialRoute;
use crate::sip::slab::Id;

/// A target, and how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Its trunk.
    pub trunk: TrunkIndex,
    /// Which of the trunk's targets it is.
    pub number: u8,
    /// Of equal q.
    group: u8,
    /// Of one trunk, or of one device.
    lane: u8,
    /// The part of the request's Max-Breadth that its branch has.
    breadth: u8,
    state: State,
}

/// In a place that holds none.
const NOBODY: Target = Target {
    trunk: TrunkIndex(0),
    number: 0,
    group: 0,
    lane: 0,
    breadth: 0,
    state: State::Over,
};

/// How far a target has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not tried yet.
    Waiting,
    /// Being tried, by this client transaction.
    Pending(Id),
    /// Given up before its transaction has ended, since nothing was heard of it.
    Abandoned(Id),
    /// Its transaction has ended, or it is not to be tried.
    Over,
}

/// The target set, and how much of the request's Max-Breadth no branch has.
#[derive(Debug)]
pub(super) struct Targets {
    list: [Target; TARGETS_MAX],
    count: usize,
    breadth: u8,
}

impl Targets {
    /// The targets of a route, for a request with this Max-Breadth. What is in it twice is
    /// tried once (RFC 3261 §16.5); what is more than `TARGETS_MAX` is not tried.
    pub fn of(dial: &Dial, route: &DialRoute, max_breadth: u8) -> Targets {
        let mut targets = Targets {
            list: [NOBODY; TARGETS_MAX],
            count: 0,
            breadth: max_breadth,
        };
        let mut group = 0;
        let mut q = None;
        for (lane, choice) in (0..=u8::MAX).zip(&route.to) {
            if q.is_some_and(|q| q != choice.q) {
                group += 1;
            }
            q = Some(choice.q);
            let count = dial.trunk(choice.trunk).map_or(0, |t| t.targets.len());
            for number in (0..=u8::MAX).take(count) {
                targets.add(
                    dial,
                    Target {
                        trunk: choice.trunk,
                        number,
                        group,
                        lane,
                        breadth: 0,
                        state: State::Waiting,
                    },
                );
            }
        }
        targets
    }

    /// The contacts of a user for a request with this Max-Breadth: `trunk` stands for the users of its
    /// domain, each contact has a lane, and a q that says how much it is preferred. The first of all
    /// lanes come first, the best of them before the others. Those of equal q are called at once
    /// (RFC 3261 §16.6).
    pub fn of_contacts(
        trunk: TrunkIndex,
        contacts: impl Iterator<Item = (u8, u16)>,
        max_breadth: u8,
    ) -> Targets {
        let mut targets = Targets {
            list: [NOBODY; TARGETS_MAX],
            count: 0,
            breadth: max_breadth,
        };
        let (mut group, mut last) = (0, None);
        for (number, (lane, q)) in (0..).zip(contacts).take(TARGETS_MAX) {
            let first = targets.all().iter().find(|target| target.lane == lane);
            let group = first.map_or_else(
                || {
                    group += u8::from(last.is_some_and(|last| last != q));
                    last = Some(q);
                    group
                },
                |first| first.group,
            );
            targets.list[targets.count] = Target {
                trunk,
                number,
                group,
                lane,
                breadth: 0,
                state: State::Waiting,
            };
            targets.count += 1;
        }
        targets
    }

    fn add(&mut self, dial: &Dial, target: Target) {
        let place_of = |target: &Target| {
            let trunk = dial.trunk(target.trunk)?;
            Some((trunk.targets.get(usize::from(target.number))?, trunk.listen))
        };
        let is_there = |other: &Target| place_of(other) == place_of(&target);
        if self.all().iter().any(is_there) {
            return;
        }
        if let Some(place) = self.list.get_mut(self.count) {
            *place = target;
            self.count += 1;
        }
    }

    fn all(&self) -> &[Target] {
        &self.list[..self.count]
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The target in this place.
    pub fn get(&self, at: usize) -> Target {
        self.list[at]
    }

    /// How many branches the widest group has at once.
    pub fn width(&self) -> usize {
        let (mut widest, mut width, mut group) = (0, 0, None);
        for (at, target) in self.all().iter().enumerate() {
            let is_of_lane = |other: &Target| other.lane == target.lane;
            if self.list[..at].iter().any(is_of_lane) {
                continue;
            }
            // The first of all lanes are in the order of their groups.
            width = if group == Some(target.group) {
                width + 1
            } else {
                1
            };
            group = Some(target.group);
            widest = widest.max(width);
        }
        widest.min(BRANCHES_MAX)
    }

    /// The target to be tried now, if there is one: of the first group that is not over, one of
    /// a lane in which none is being tried.
    pub fn next(&self) -> Option<usize> {
        let pending = |target: &&Target| matches!(target.state, State::Pending(_));
        let waiting = |target: &&Target| target.state == State::Waiting;
        let unsettled = self.all().iter().filter(|t| pending(t) || waiting(t));
        let group = unsettled.map(|target| target.group).min()?;
        // RFC 5393 §5.3.3: the branches have no more Max-Breadth in all than the request.
        if self.breadth == 0 || self.all().iter().filter(pending).count() >= BRANCHES_MAX {
            return None;
        }
        let is_tried = |lane: u8| self.all().iter().any(|t| t.lane == lane && pending(&t));
        let ready = |t: &Target| t.group == group && waiting(&t) && !is_tried(t.lane);
        self.all().iter().position(ready)
    }

    /// The Max-Breadth that the branch of a target gets: an equal part of what is left, so that
    /// all those that wait could be tried while this one is.
    pub fn share(&self) -> u8 {
        let waiting = self.all().iter().filter(|t| t.state == State::Waiting);
        let claims = u8::try_from(waiting.count().max(1)).unwrap_or(u8::MAX);
        (self.breadth / claims).max(1).min(self.breadth)
    }

    /// A target is being tried by `client`, with so much Max-Breadth.
    pub fn tried(&mut self, at: usize, client: Id, breadth: u8) {
        let target = &mut self.list[at];
        target.state = State::Pending(client);
        target.breadth = breadth;
        self.breadth -= breadth;
    }

    /// The target that `client` tries, or has tried before it was abandoned.
    pub fn of_client(&self, client: Id) -> Option<usize> {
        let has = |target: &Target| matches!(target.state, State::Pending(id) | State::Abandoned(id) if id == client);
        self.all().iter().position(has)
    }

    /// True where the target was given up before its transaction has ended.
    pub fn is_abandoned(&self, at: usize) -> bool {
        matches!(self.list[at].state, State::Abandoned(_))
    }

    /// The transaction of a target has ended, or could not begin. RFC 5393 §5.3.3.1: its
    /// Max-Breadth is to be used again.
    pub fn end(&mut self, at: usize) {
        let target = &mut self.list[at];
        target.state = State::Over;
        self.breadth += std::mem::take(&mut target.breadth);
    }

    /// The trunk or the device of a target has answered: its other targets are not tried.
    pub fn end_lane(&mut self, at: usize) {
        let lane = self.list[at].lane;
        for target in &mut self.list[..self.count] {
            if target.lane == lane && target.state == State::Waiting {
                target.state = State::Over;
            }
        }
    }

    /// True where a target of the same trunk or device is yet to be tried.
    pub fn lane_waits(&self, at: usize) -> bool {
        let lane = self.list[at].lane;
        let waits = |t: &Target| t.lane == lane && t.state == State::Waiting;
        self.all().iter().any(waits)
    }

    /// True where another target of the same trunk or device is tried in place of this one, or will be.
    pub fn is_replaced(&self, at: usize) -> bool {
        let lane = self.list[at].lane;
        let mut after = self.all().iter().skip(at + 1);
        self.lane_waits(at) || self.is_abandoned(at) && after.any(|other| other.lane == lane)
    }

    /// A target is given up though its transaction lives on.
    pub fn abandon(&mut self, at: usize) {
        if let State::Pending(client) = self.list[at].state {
            self.list[at].state = State::Abandoned(client);
        }
    }

    /// True where another target is yet to be tried when this one has failed: of its trunk, or of
    /// lower q.
    pub fn is_followed(&self, at: usize) -> bool {
        self.lane_waits(at) || self.lower_waits(at)
    }

    /// True where another target would be tried if this one were given up now, and with it all
    /// others of which nothing was heard in time. As long as one of equal q may yet answer nobody
    /// of lower q is tried.
    pub fn may_follow(&self, at: usize, is_overdue: impl Fn(Id) -> bool) -> bool {
        let group = self.list[at].group;
        let holds = |&(nth, target): &(usize, &Target)| {
            nth != at
                && match target.state {
                    State::Waiting => true,
                    State::Pending(client) => !is_overdue(client),
                    State::Abandoned(_) | State::Over => false,
                }
        };
        let mut equals = (0..).zip(self.all()).filter(|(_, t)| t.group == group);
        self.breadth > 0
            && (self.lane_waits(at) || self.lower_waits(at) && !equals.any(|equal| holds(&equal)))
    }

    fn lower_waits(&self, at: usize) -> bool {
        let group = self.list[at].group;
        let waits = |t: &Target| t.group > group && t.state == State::Waiting;
        self.all().iter().any(waits)
    }

    /// The client transaction by which a target is being tried, if it is.
    pub fn pending(&self, at: usize) -> Option<Id> {
        match self.list[at].state {
            State::Pending(client) => Some(client),
            _ => None,
        }
    }

    /// No target is tried any more (RFC 3261 §16.7 step 5, §16.10).
    pub fn seal(&mut self) {
        for target in &mut self.list[..self.count] {
            if target.state == State::Waiting {
                target.state = State::Over;
            }
        }
    }

    /// True while a target is being tried.
    pub fn is_pending(&self) -> bool {
        let pending = |target: &Target| matches!(target.state, State::Pending(_));
        self.all().iter().any(pending)
    }

    /// The client transactions of all targets that have not ended, abandoned or not.
    pub fn clients(&self) -> [Option<Id>; TARGETS_MAX] {
        self.list.map(|target| match target.state {
            State::Pending(client) | State::Abandoned(client) => Some(client),
            State::Waiting | State::Over => None,
        })
    }
}

#[cfg(test)]
#[path = "targets_tests.rs"]
mod tests;
