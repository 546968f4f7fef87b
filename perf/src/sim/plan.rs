//! What a call is to do: where it goes, what the caller does, what each callee does.
//!
//! - `callee`, `habits`: what a callee does, and a caller that is a subscriber
//! - `called`: a call to a user who is reached by its contacts
//! - `draw`: what is drawn; `outcomes`: what may come of it

mod called;
mod callee;
mod draw;
mod habits;
mod outcomes;

pub use self::called::Called;
pub use self::callee::Callee;
pub use self::habits::Habits;

use self::draw::draw_callee;
use self::draw::draw_caller;
use self::draw::draw_route;
use super::random::Random;

/// How the box routes the number called, by its first digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// One callee.
    Plain,
    /// Two callees at once.
    Parallel,
    /// Two callees, one after the other.
    Serial,
    /// A trunk whose first target is dead.
    Failover,
    /// Two callees at once, then a third.
    Mixed,
    /// Through the box itself, which routes it on: RFC 3261 §6, a spiral.
    Spiral,
    /// Through the box itself for ever.
    Loop,
    /// One callee, without state.
    Stateless,
    /// A trunk with a dead target and two others, then a callee.
    Last,
    /// The other way round: from the callees' side to the callers'.
    Up,
    /// From one callee to another: both sides are of one listen.
    Across,
    /// To a user of the domain, where its phones have registered.
    User,
}

impl Route {
    /// The first digit of the number.
    #[must_use]
    pub const fn digit(self) -> u8 {
        match self {
            Route::Across => 0,
            Route::Plain | Route::Up => 1,
            Route::Parallel => 2,
            Route::Serial => 3,
            Route::Failover => 4,
            Route::Mixed => 5,
            Route::Spiral => 6,
            Route::Loop => 7,
            Route::Stateless => 8,
            Route::Last => 9,
            // A name is called: no number begins so.
            Route::User => 10,
        }
    }

    /// True where several targets may be tried.
    #[must_use]
    pub const fn forks(self) -> bool {
        matches!(
            self,
            Route::Parallel
                | Route::Serial
                | Route::Failover
                | Route::Mixed
                | Route::Last
                | Route::User
        )
    }

    /// The callees that it may reach, in groups: those of a group at once, and a later group
    /// when the one before has failed. They are numbered by their hosts. Which phones of a user are
    /// reached is nobody's to know before.
    #[must_use]
    pub const fn groups(self) -> &'static [&'static [u8]] {
        match self {
            Route::Plain | Route::Spiral | Route::Stateless | Route::Up => &[&[0]],
            Route::Across => &[&[1]],
            Route::Parallel => &[&[0, 1]],
            Route::Serial => &[&[0], &[1]],
            Route::Failover => &[&[4], &[5]],
            Route::Mixed => &[&[0, 1], &[2]],
            Route::Loop | Route::User => &[],
            Route::Last => &[&[4], &[5], &[3]],
        }
    }
}

/// What the caller does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// It calls, and hangs up after a while.
    HangsUp,
    /// It calls, and leaves it to the callee to hang up.
    Listens,
    /// Both hang up at once.
    Races,
    /// It cancels so many milliseconds after it called.
    Cancels(u16),
    /// It cancels at the first provisional response, which is the box's own 100.
    CancelsEarly,
    /// It holds and resumes, then hangs up.
    Holds,
    /// It refreshes with UPDATE, then hangs up.
    Updates,
    /// Both send a re-INVITE at once; then it hangs up.
    Glares,
    /// The offer comes in the 200, the answer in the ACK.
    OffersLate,
    /// It calls as [`Caller::HangsUp`], and says nothing any more once it is answered.
    Dies,
    /// It hangs up the first of the phones that ring behind a proxy, which one answers late.
    Leaves,
    /// It refreshes early dialogs with UPDATE; the proxy answers some of them late.
    UpdatesEarly,
    /// Where the call has failed it makes it once more, by another branch.
    TriesAgain,
    /// A request of this kind instead of a call, to the box or through it.
    Asks(Ask),
    /// As [`Caller::HangsUp`] without a media packet: for counting instructions.
    Bare,
}

/// Requests that begin no call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// OPTIONS to the box itself.
    Box,
    /// OPTIONS through the box.
    Options,
    /// MESSAGE through the box.
    Message,
    /// REGISTER: a subscriber's to the box, a trunk's through it.
    Register,
    /// A request that claims a dialog with a Route that is not ours.
    Forged,
}

/// A call.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where it goes.
    pub route: Route,
    /// What the caller does.
    pub caller: Caller,
    /// What each callee does, by its host's number.
    pub callees: [Callee; 6],
    /// Session timers are asked for, of 90 s.
    pub session: bool,
    /// How many RTP packets each party sends when the call begins.
    pub packets: u16,
    /// ICMP says of the dead that nobody listens there.
    pub icmp: bool,
    /// The boxes keep no state for it: a listen or the route says so.
    pub stateless: bool,
    /// The caller is a subscriber.
    pub subscriber: Option<Habits>,
    /// The user who is called.
    pub called: Option<Called>,
}

/// Which of the scenarios may be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenarios {
    /// Routes with more than one target.
    pub forks: bool,
    /// Stateless routes.
    pub stateless: bool,
    /// Reliable provisional responses, UPDATE and glare.
    pub offers: bool,
    /// Session timers, and parties that die.
    pub sessions: bool,
    /// What few parties do, and what harms only where the box is wrong.
    pub tricks: bool,
    /// Callers of no trunk, who prove who they are.
    pub subscribers: bool,
}

impl Scenarios {
    /// All of them.
    pub const ALL: Scenarios = Scenarios {
        forks: true,
        stateless: true,
        offers: true,
        sessions: true,
        tricks: true,
        subscribers: true,
    };
}

impl Plan {
    /// Both parties, one hang-up, no media.
    pub const BARE: Plan = Plan {
        route: Route::Plain,
        caller: Caller::Bare,
        callees: [Callee::Answers; 6],
        session: false,
        packets: 0,
        icmp: false,
        stateless: false,
        subscriber: None,
        called: None,
    };

    /// Draws one; `stateless` where the listens keep no state, which try no second target.
    #[must_use]
    pub fn draw(random: &mut Random, scenarios: Scenarios, stateless: bool) -> Plan {
        let scenarios = Scenarios {
            forks: scenarios.forks && !stateless,
            ..scenarios
        };
        let caller = draw_caller(random, scenarios);
        let route = match (caller, draw_route(random, scenarios)) {
            // Without state the box routes what is said in a dialog, and no route leads across.
            (_, Route::Across) if stateless => Route::Plain,
            (Caller::Asks(Ask::Message), _) if scenarios.forks => {
                random.pick(&[Route::Plain, Route::Parallel, Route::Serial])
            }
            (Caller::Asks(_), Route::Loop) => Route::Loop,
            (Caller::Asks(_) | Caller::Leaves | Caller::UpdatesEarly, _) => Route::Plain,
            (_, route) => route,
        };
        let mut callees = [Callee::Answers; 6];
        callees = callees.map(|_| draw_callee(random, route, caller, scenarios));
        let talks_early = matches!(caller, Caller::Leaves | Caller::UpdatesEarly);
        let session = scenarios.sessions && (random.happens(60) || caller == Caller::Dies);
        Plan {
            route,
            caller,
            callees,
            session: session && !talks_early,
            packets: if talks_early || random.happens(300) {
                4
            } else {
                0
            },
            icmp: random.happens(400),
            stateless: stateless || route == Route::Stateless,
            subscriber: None,
            called: None,
        }
    }

    /// Makes the caller a subscriber, where it calls as one can: from above, and to where the box
    /// keeps state.
    pub fn subscribe(&mut self, habits: Habits) {
        let from_above = !matches!(self.route, Route::Up | Route::Across);
        if !from_above || self.stateless {
            return;
        }
        self.caller = match self.caller {
            Caller::Dies
            | Caller::Leaves
            | Caller::UpdatesEarly
            | Caller::TriesAgain
            | Caller::Bare => Caller::HangsUp,
            Caller::Asks(Ask::Register | Ask::Forged) => Caller::Asks(Ask::Message),
            caller => caller,
        };
        for callee in &mut self.callees {
            // The number leads back to the caller's trunk.
            if *callee == Callee::SendsBack {
                *callee = Callee::Answers;
            }
        }
        let only = match habits {
            _ if habits.registers => Some(Ask::Register),
            _ if habits.is_replayed => Some(Ask::Message),
            _ => None,
        };
        if let Some(ask) = only {
            (self.route, self.caller) = (Route::Plain, Caller::Asks(ask));
        }
        let may_move = matches!(
            self.caller,
            Caller::HangsUp | Caller::Holds | Caller::Updates
        );
        let is_plain = self.route == Route::Plain && may_move;
        self.subscriber = Some(Habits {
            moves: habits.moves && is_plain,
            ..habits
        });
    }

    const fn registers(&self) -> bool {
        matches!(self.caller, Caller::Asks(Ask::Register))
    }

    /// What the callee does that is tried first.
    #[must_use]
    pub fn first(&self) -> Callee {
        let first = self.route.groups().first().and_then(|group| group.first());
        first.map_or(Callee::Answers, |&number| self.callees[usize::from(number)])
    }

    /// The callees that may be reached.
    fn reached(&self) -> impl Iterator<Item = Callee> {
        let all = self.route.groups().iter().copied().flatten();
        all.map(|&number| self.callees[usize::from(number)])
    }
}
