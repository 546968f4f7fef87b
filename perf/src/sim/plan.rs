//! What a call is to do: where it goes, what the caller does, what each callee does.

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
}

impl Route {
    /// The first digit of the number.
    #[must_use]
    pub const fn digit(self) -> u8 {
        match self {
            Route::Plain => 1,
            Route::Parallel => 2,
            Route::Serial => 3,
            Route::Failover => 4,
            Route::Mixed => 5,
            Route::Spiral => 6,
            Route::Loop => 7,
            Route::Stateless => 8,
            Route::Last => 9,
        }
    }

    /// The callees that it may reach, in groups: those of a group at once, and a later group
    /// when the one before has failed. They are numbered by their hosts.
    #[must_use]
    pub const fn groups(self) -> &'static [&'static [u8]] {
        match self {
            Route::Plain | Route::Spiral | Route::Stateless => &[&[0]],
            Route::Parallel => &[&[0, 1]],
            Route::Serial => &[&[0], &[1]],
            Route::Failover => &[&[4], &[5]],
            Route::Mixed => &[&[0, 1], &[2]],
            Route::Loop => &[],
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
    /// REGISTER through the box.
    Register,
    /// A request that claims a dialog with a Route that is not ours.
    Forged,
}

/// What a callee does with an INVITE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callee {
    /// It rings and answers.
    Answers,
    /// It sends media before it answers: 183 with a session description.
    SendsEarly,
    /// Its 183 is reliable (RFC 3262).
    IsReliable,
    /// It refuses with this status.
    Refuses(u16),
    /// It says nothing at all.
    IsDead,
    /// Nothing listens on its port for so many milliseconds, as ICMP says; then it answers.
    IsClosed(u16),
    /// It rings and never answers, until it is cancelled.
    Rings,
    /// It rings, is not impressed by CANCEL, and answers with 200 all the same.
    Insists,
    /// It says nothing for so many milliseconds, then answers with 200 at once.
    IsSlow(u16),
    /// It is a proxy with two phones behind it: two To tags ring, the second answers.
    Forks,
    /// As it, and both answer.
    ForksTwice,
}

impl Callee {
    /// The final statuses that may come of it when the caller does not cancel.
    #[must_use]
    pub const fn says(self) -> &'static [u16] {
        match self {
            Callee::Refuses(status) => match status {
                302 => &[302],
                401 => &[401],
                404 => &[404],
                407 => &[407],
                408 => &[408],
                480 => &[480],
                486 => &[486],
                // It does not go on as it is (RFC 3261 §16.7 step 6).
                503 => &[500],
                603 => &[603],
                _ => &[500],
            },
            Callee::IsDead => &[408],
            // RFC 3261 §16.9, §16.7 step 6: its 503 goes up as a 500.
            Callee::IsClosed(_) => &[200, 500],
            // It loses patience, or Timer C does.
            Callee::Rings => &[408, 480, 487],
            _ => &[200],
        }
    }

    /// The same of a request that is no INVITE.
    const fn says_to_others(self) -> &'static [u16] {
        match self {
            Callee::IsClosed(_) => &[200, 500],
            _ => &[200],
        }
    }
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
}

impl Scenarios {
    /// All of them.
    pub const ALL: Scenarios = Scenarios {
        forks: true,
        stateless: true,
        offers: true,
        sessions: true,
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
    };

    /// Draws one; `stateless` where the listens keep no state, which try no second target.
    #[must_use]
    pub fn draw(random: &mut Random, scenarios: Scenarios, stateless: bool) -> Plan {
        let scenarios = Scenarios {
            forks: scenarios.forks && !stateless,
            ..scenarios
        };
        let route = draw_route(random, scenarios);
        let caller = draw_caller(random, scenarios);
        let mut callees = [Callee::Answers; 6];
        if !matches!(caller, Caller::Bare) {
            callees = callees.map(|_| draw_callee(random, route, scenarios));
        }
        let route = match caller {
            Caller::Asks(_) if matches!(route, Route::Loop) => Route::Loop,
            Caller::Asks(_) => Route::Plain,
            _ => route,
        };
        let session = scenarios.sessions && (random.happens(60) || caller == Caller::Dies);
        Plan {
            route,
            caller,
            callees,
            session,
            packets: if random.happens(300) { 4 } else { 0 },
            icmp: random.happens(400),
            stateless: stateless || route == Route::Stateless,
        }
    }

    /// The final statuses to which the caller's request may come where nothing is lost.
    #[must_use]
    pub fn outcomes(&self) -> Vec<u16> {
        match (self.caller, self.route) {
            (Caller::Asks(Ask::Forged), _) => return vec![481],
            (Caller::Asks(Ask::Box), _) => return vec![200],
            (_, Route::Loop) => return vec![482],
            (Caller::Asks(_), _) => return self.callees[0].says_to_others().to_vec(),
            _ => {}
        }
        if let (true, Callee::Refuses(status)) = (self.stateless, self.callees[0]) {
            // RFC 3261 §16.11: passed on as it is. A CANCEL may be first.
            return vec![status, 487];
        }
        let mut said = self.said();
        if self.icmp && said.contains(&408) {
            said.push(500);
        }
        said
    }

    /// What they come to where nobody says anything of the dead.
    fn said(&self) -> Vec<u16> {
        let cancels = matches!(self.caller, Caller::Cancels(_) | Caller::CancelsEarly);
        // Which responses are worth another target of a trunk is the box's to know.
        let callees = || self.route.groups().iter().copied().flatten();
        let rings = callees().any(|&number| self.callees[usize::from(number)] == Callee::Rings);
        if cancels || rings || matches!(self.route, Route::Failover | Route::Last) {
            let callees = callees();
            let said = callees.flat_map(|&number| self.callees[usize::from(number)].says());
            return said
                .copied()
                .chain(cancels.then_some(487))
                .chain([408])
                .collect();
        }
        self.answers()
    }

    /// True where nobody need say anything to the request: without state the box has no 408 nor
    /// 500 for whom it does not reach.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.stateless
            && match self.callees[0] {
                Callee::IsDead => !matches!(self.caller, Caller::Asks(_)),
                Callee::IsClosed(_) => true,
                _ => false,
            }
    }

    /// What the callees may come to together, uncancelled: a wide answer, since which
    /// response is the best of all is the oracle's to say.
    fn answers(&self) -> Vec<u16> {
        let mut said: Vec<u16> = Vec::new();
        for group in self.route.groups() {
            let callees = group
                .iter()
                .map(|&number| self.callees[usize::from(number)]);
            said.extend(callees.clone().flat_map(|callee| callee.says()));
            for callee in callees {
                let is_late = matches!(callee, Callee::IsSlow(ms) if ms > 1_500);
                if callee.says() == [200] && !is_late {
                    let ended = |status: &u16| *status == 200 || *status >= 600;
                    let late = said.clone();
                    said.retain(ended);
                    // Whoever was late may have been overtaken by a refusal.
                    return if self.has_late() { late } else { said };
                }
            }
        }
        said
    }

    fn has_late(&self) -> bool {
        let mut callees = self.route.groups().iter().copied().flatten();
        callees.any(|&number| matches!(self.callees[usize::from(number)], Callee::IsSlow(_)))
    }
}

fn draw_route(random: &mut Random, scenarios: Scenarios) -> Route {
    match random.between(0, 99) {
        0..=7 if scenarios.forks => Route::Parallel,
        8..=14 if scenarios.forks => Route::Serial,
        15..=21 if scenarios.forks => Route::Failover,
        22..=27 if scenarios.forks => Route::Mixed,
        28..=31 if scenarios.forks => Route::Last,
        32..=36 => Route::Spiral,
        37 => Route::Loop,
        38..=40 if scenarios.stateless => Route::Stateless,
        _ => Route::Plain,
    }
}

fn draw_caller(random: &mut Random, scenarios: Scenarios) -> Caller {
    match random.between(0, 99) {
        0..=3 => Caller::CancelsEarly,
        4..=14 => Caller::Cancels(u16::try_from(random.between(0, 2_500)).unwrap_or(0)),
        15..=24 => Caller::Listens,
        25..=29 => Caller::Races,
        30..=36 => Caller::Holds,
        37..=40 => Caller::OffersLate,
        41..=44 if scenarios.offers => Caller::Updates,
        45..=47 if scenarios.offers => Caller::Glares,
        48..=49 if scenarios.sessions => Caller::Dies,
        50 => Caller::Asks(Ask::Box),
        51..=52 => Caller::Asks(Ask::Options),
        53..=54 => Caller::Asks(Ask::Message),
        55 => Caller::Asks(Ask::Register),
        56 => Caller::Asks(Ask::Forged),
        _ => Caller::HangsUp,
    }
}

fn draw_callee(random: &mut Random, route: Route, scenarios: Scenarios) -> Callee {
    let plain = matches!(route, Route::Plain | Route::Spiral | Route::Stateless);
    match random.between(0, 99) {
        0..=4 => Callee::Refuses(486),
        5..=9 => Callee::Refuses(match random.between(0, 6) {
            0 => 302,
            1 => 404,
            2 => 480,
            3 => 500,
            4 => 401,
            5 => 407,
            _ => 603,
        }),
        10..=12 if scenarios.forks => Callee::Refuses(503),
        13..=14 => Callee::IsDead,
        61..=63 => Callee::IsClosed(random.pick(&[300, 1_200, 5_000, u16::MAX])),
        15..=17 => Callee::Rings,
        18..=19 => Callee::Insists,
        20..=22 => Callee::IsSlow(u16::try_from(random.between(100, 6_000)).unwrap_or(0)),
        23..=27 => Callee::SendsEarly,
        28..=30 if scenarios.offers => Callee::IsReliable,
        31..=33 if plain => Callee::Forks,
        34..=35 if plain && scenarios.forks => Callee::ForksTwice,
        // Where there are others to fall back on, failing is worth more.
        36..=60 if !plain => Callee::Refuses(random.pick(&[408, 503, 486, 404])),
        _ => Callee::Answers,
    }
}
