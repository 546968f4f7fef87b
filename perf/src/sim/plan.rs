//! What a call is to do: where it goes, what the caller does, what each callee does.

use super::phone;
use super::phone::Kind;
use super::random::Random;
use super::site::PHONES;

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
        }
    }

    /// True where several targets may be tried.
    #[must_use]
    pub const fn forks(self) -> bool {
        matches!(
            self,
            Route::Parallel | Route::Serial | Route::Failover | Route::Mixed | Route::Last
        )
    }

    /// The callees that it may reach, in groups: those of a group at once, and a later group
    /// when the one before has failed. They are numbered by their hosts.
    #[must_use]
    pub const fn groups(self) -> &'static [&'static [u8]] {
        match self {
            Route::Plain | Route::Spiral | Route::Stateless | Route::Up => &[&[0]],
            Route::Across => &[&[1]],
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
    /// The same, and a second phone behind it answers too.
    IsSlowTwice(u16),
    /// It says nothing for so many milliseconds, then rings and answers.
    RingsLate(u16),
    /// It is a proxy with so many phones behind it: as many To tags ring, the last answers.
    Forks(u8),
    /// There are two phones, and both answer.
    ForksTwice,
    /// Once it talks it calls a number that leads back to itself, with the caller's tag for its
    /// own and the dialog's Call-ID, and answers itself with the tag that it has in the dialog.
    Steals,
    /// A switch that sends back to the box what is no INVITE.
    SendsBack,
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

    /// True where it may have been given up before it answers.
    const fn is_late(self) -> bool {
        matches!(
            self,
            Callee::IsSlow(1_500..) | Callee::IsSlowTwice(_) | Callee::RingsLate(_)
        )
    }

    /// The same of a MESSAGE that is sent to several.
    #[must_use]
    pub const fn says_to_others(self) -> &'static [u16] {
        match self {
            Callee::IsClosed(_) => &[200, 500],
            // RFC 4320 §4.2: a 408 goes nowhere.
            Callee::IsDead | Callee::Refuses(408) => &[],
            Callee::Refuses(_) => self.says(),
            // RFC 5393 §4.1; or what another target said to what came back.
            Callee::SendsBack => &[482],
            _ => &[200],
        }
    }
}

/// What a caller does that is a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Habits {
    /// What is so of it.
    pub kind: Kind,
    /// Which of its kind it is.
    pub number: usize,
    /// The host that it sits on.
    pub host: u8,
    /// A NAT gives it another port with every request.
    pub rebinds: bool,
    /// It holds, refreshes or hangs up from another address than it has called from.
    pub moves: bool,
    /// Somebody sends its MESSAGE once more as a new request, with the credentials as they were.
    pub is_replayed: bool,
    /// It has credentials for another realm too, which are not the box's.
    pub has_others: bool,
    /// It registers instead of calling.
    pub registers: bool,
    /// It does so again and again.
    pub refreshes: bool,
}

impl Habits {
    /// Draws them for a subscriber of that kind.
    pub fn draw(random: &mut Random, kind: Kind, users: u64) -> Habits {
        let small = |number: u64| u8::try_from(number).unwrap_or(0);
        Habits {
            kind,
            number: usize::try_from(random.between(0, users - 1)).unwrap_or(0),
            host: PHONES.start + small(random.between(0, PHONES.count() as u64 / 2 - 1)),
            rebinds: random.happens(300),
            moves: random.happens(150),
            is_replayed: random.happens(100),
            has_others: random.happens(200),
            registers: random.happens(200),
            refreshes: random.happens(700),
        }
    }

    /// The user's name.
    #[must_use]
    pub fn user(&self) -> String {
        phone::user(self.kind, self.number)
    }

    /// A host that a user may always sit on.
    #[must_use]
    pub fn host_of(number: usize) -> u8 {
        let hosts = PHONES.count() / 2;
        PHONES.start + u8::try_from(number % hosts).unwrap_or(0)
    }

    /// The host that it moves to.
    #[must_use]
    pub fn next_host(&self) -> u8 {
        self.host + u8::try_from(PHONES.count() / 2).unwrap_or(0)
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
    /// The caller is a subscriber.
    pub subscriber: Option<Habits>,
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

    /// The final statuses to which the caller's request may come where nothing is lost.
    #[must_use]
    pub fn outcomes(&self) -> Vec<u16> {
        let mut said = match self.subscriber.map(|habits| habits.kind) {
            _ if self.caller == Caller::Asks(Ask::Box) => return vec![200],
            None => return self.outcomes_of_trunk(),
            Some(Kind::Mistaken | Kind::Nobody) if self.registers() => vec![401],
            Some(Kind::Mistaken | Kind::Nobody) => vec![407, 487],
            // It has too many contacts.
            Some(Kind::Known | Kind::Cached) if self.registers() => vec![200, 403],
            Some(Kind::Known | Kind::Cached) => self.outcomes_of_trunk(),
        };
        // When the store says nothing, or nothing of use, is for the oracle to know.
        said.extend([503, 504]);
        if matches!(self.caller, Caller::Cancels(_) | Caller::CancelsEarly) {
            // It was early enough to find the request waiting, or has crossed a challenge.
            said.extend([407, 487]);
        }
        said
    }

    fn outcomes_of_trunk(&self) -> Vec<u16> {
        match (self.caller, self.route) {
            // Without state no cookie is asked for, and what comes round is told as a loop.
            (Caller::Asks(Ask::Forged), Route::Loop) if self.stateless => return vec![482],
            (Caller::Asks(Ask::Forged), _) => return vec![481],
            (Caller::Asks(Ask::Box), _) => return vec![200],
            (_, Route::Loop) => return vec![482],
            (Caller::Asks(_), route) if route.forks() => {
                let said = self.reached().flat_map(Callee::says_to_others);
                return said.copied().collect();
            }
            (Caller::Asks(_), _) if matches!(self.first(), Callee::IsClosed(_)) => {
                return vec![200, 500];
            }
            (Caller::Asks(_), _) => return vec![200],
            _ => {}
        }
        if let (true, Callee::Refuses(status)) = (self.stateless, self.first()) {
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
        let rings = self.reached().any(|callee| callee == Callee::Rings);
        if cancels || rings || matches!(self.route, Route::Failover | Route::Last) {
            let said = self.reached().flat_map(Callee::says);
            return said
                .copied()
                .chain(cancels.then_some(487))
                .chain([408])
                .collect();
        }
        self.answers()
    }

    /// True where nobody need say anything to the request: without state the box has no 408 nor
    /// 500 for whom it does not reach, and no 408 to what is no INVITE (RFC 4320 §4.2).
    #[must_use]
    pub fn is_silent(&self) -> bool {
        let asks = matches!(self.caller, Caller::Asks(_));
        if asks && self.route.forks() {
            let is_dead = |callee: Callee| callee.says_to_others().is_empty();
            // Who waits for a fork within a fork waits twice.
            let is_within = self.reached().any(|callee| callee == Callee::SendsBack);
            return self.reached().all(is_dead) || is_within && self.reached().any(is_dead);
        }
        self.stateless
            && match self.first() {
                Callee::IsDead => !asks,
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
                let is_late = callee.is_late();
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
        self.reached().any(Callee::is_late)
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
        41..=46 => Route::Up,
        47..=50 => Route::Across,
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
        57..=59 if scenarios.tricks => Caller::Leaves,
        60..=63 if scenarios.tricks => Caller::UpdatesEarly,
        64..=67 if scenarios.tricks => Caller::TriesAgain,
        _ => Caller::HangsUp,
    }
}

fn draw_callee(random: &mut Random, route: Route, caller: Caller, scenarios: Scenarios) -> Callee {
    if matches!(caller, Caller::Leaves | Caller::UpdatesEarly) {
        return Callee::Forks(random.pick(&[2, 2, 3, 5, 7]));
    }
    let asks = matches!(caller, Caller::Asks(_));
    let alone = !route.forks();
    let mut ms = |low, high| u16::try_from(random.between(low, high)).unwrap_or(0);
    let (slow, late) = (ms(100, 6_000), ms(2_050, 6_000));
    match random.between(0, 99) {
        0..=4 => Callee::Refuses(486),
        5..=9 => Callee::Refuses(random.pick(&[302, 404, 480, 500, 401, 407, 603])),
        10..=12 if scenarios.forks => Callee::Refuses(503),
        13..=14 => Callee::IsDead,
        15..=17 => Callee::Rings,
        18..=19 => Callee::Insists,
        20..=22 => Callee::IsSlow(slow),
        23..=27 => Callee::SendsEarly,
        28..=30 if scenarios.offers => Callee::IsReliable,
        31..=33 if alone => Callee::Forks(2),
        34..=35 if alone && scenarios.forks => Callee::ForksTwice,
        // Where there are others to fall back on, failing is worth more.
        31..=40 if asks && scenarios.tricks => Callee::SendsBack,
        41..=50 if asks => Callee::IsDead,
        31..=35 => Callee::RingsLate(late),
        36..=38 if !alone && scenarios.tricks => Callee::IsSlowTwice(late),
        39..=60 if !alone => Callee::Refuses(random.pick(&[408, 503, 486, 404])),
        61..=63 => Callee::IsClosed(random.pick(&[300, 1_200, 5_000, u16::MAX])),
        64..=94 if route == Route::Across && scenarios.tricks => Callee::Steals,
        _ => Callee::Answers,
    }
}
