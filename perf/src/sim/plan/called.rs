//! Calls to users, who are reached by the contacts that they have registered, and the REGISTERs of
//! their phones.
//!
//! A user's phones sit on the hosts of [`CALLED`]: the first where its contact says it is, the second
//! sends from another port each time, the others are behind NATs and name addresses that nobody else knows.

use super::Ask;
use super::Callee;
use super::Caller;
use super::Habits;
use super::Plan;
use super::Route;
use super::Scenarios;
use super::draw::draw_callee;
use super::draw::draw_caller;
use crate::sim::phone::Kind;
use crate::sim::random::Random;
use crate::sim::site::CALLED;

/// How many users are called.
const USERS: u64 = 6;

/// Whom a call is to, and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Called {
    /// Which of the users that are called.
    pub number: usize,
    /// It comes from the callees' network.
    pub from_below: bool,
}

impl Plan {
    /// Draws a call to a user; its caller is a trunk, unless it is made a subscriber.
    #[must_use]
    pub fn to_user(random: &mut Random, scenarios: Scenarios) -> Plan {
        let caller = match draw_caller(random, scenarios) {
            Caller::Dies | Caller::Leaves | Caller::UpdatesEarly | Caller::Bare => Caller::HangsUp,
            // Where a phone has another port by then its two calls are of two parties.
            Caller::TriesAgain => Caller::HangsUp,
            Caller::Asks(Ask::Box | Ask::Register | Ask::Forged) => Caller::Asks(Ask::Message),
            caller => caller,
        };
        let callee = |_| match draw_callee(random, Route::User, caller, scenarios) {
            Callee::Steals | Callee::SendsBack => Callee::Answers,
            callee => callee,
        };
        let callees = [Callee::Answers; 6].map(callee);
        Plan {
            route: Route::User,
            caller,
            callees,
            session: scenarios.sessions && random.happens(60),
            packets: if random.happens(300) { 4 } else { 0 },
            icmp: random.happens(400),
            called: Some(Called {
                number: number(random),
                from_below: random.happens(300),
            }),
            ..Plan::BARE
        }
    }

    /// Draws a REGISTER of a phone of such a user.
    #[must_use]
    pub fn of_phone(random: &mut Random) -> Plan {
        let place = u8::try_from(random.between(0, CALLED.count() as u64 - 1)).unwrap_or(0);
        let mut plan = Plan::BARE;
        plan.subscribe(Habits {
            kind: Kind::Called,
            number: number(random),
            host: CALLED.start + place,
            rebinds: place > 0,
            moves: false,
            is_replayed: false,
            has_others: random.happens(200),
            registers: true,
            refreshes: random.happens(700),
        });
        plan
    }
}

fn number(random: &mut Random) -> usize {
    usize::try_from(random.between(0, USERS - 1)).unwrap_or(0)
}
