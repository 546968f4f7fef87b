//! Who takes part in a call, and where each sits.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::rc::Rc;

use super::Call;
use super::QUIET_MS;
use super::World;
use super::crowd;
use crate::sim::Crowd;
use crate::sim::agent::Agent;
use crate::sim::agent::Who;
use crate::sim::phone::Kind;
use crate::sim::phone::Phone;
use crate::sim::plan::Habits;
use crate::sim::plan::Plan;
use crate::sim::plan::Route;
use crate::sim::random::Random;
use crate::sim::site::CALLEE;
use crate::sim::site::CALLER;

/// Where the chance of subscribers begins: what is drawn for a call does not depend on it.
const OF_SUBSCRIBERS: u64 = 1 << 40;
/// Of a thousand calls, those of subscribers.
const SUBSCRIBERS: u16 = 350;
/// Where that of users who are called begins.
const OF_CALLED: u64 = 1 << 41;
/// Of a thousand calls, the REGISTERs of their phones, and the calls to them.
const REGISTERED: u16 = 60;
const TO_USERS: u16 = 120;
/// How many users of a kind there are.
const USERS: u64 = 12;

impl World {
    pub(super) fn begin_calls(&mut self) {
        while self.calls.len() < self.options.calls && self.begins(self.calls.len()) <= self.now {
            let number = self.calls.len();
            let mut random = Random::part(self.options.seed, 1_000 + number as u64);
            let plan = Rc::new(self.draw_plan(number, &mut random));
            let agents = self.cast(number, &plan, &mut random);
            self.agenda.push(Reverse((self.now, number, 0)));
            self.quiet.push_back((self.now.plus_ms(QUIET_MS), number));
            self.alive += 1;
            self.calls.push(Some(Box::new(Call {
                plan,
                agents,
                rungs: Vec::new(),
                last: self.now,
                is_cut: false,
            })));
        }
    }

    fn draw_plan(&self, number: usize, random: &mut Random) -> Plan {
        let mut own = Random::part(self.options.seed, OF_SUBSCRIBERS + number as u64);
        match self.options.crowd {
            Some(Crowd::Storm) => return crowd::storm(number, &mut own),
            Some(Crowd::Registers) => {
                return crowd::registers(number, self.options.calls, &mut own);
            }
            None => {}
        }
        let stateless = self.profile.is_stateless();
        let has_users = self.profile.sites[0].domain.is_some();
        let mut of_called = Random::part(self.options.seed, OF_CALLED + number as u64);
        if has_users && of_called.happens(REGISTERED) {
            return Plan::of_phone(&mut of_called);
        }
        if has_users && of_called.happens(TO_USERS) {
            let mut plan = Plan::to_user(&mut of_called, self.options.scenarios);
            let from_above = plan.called.is_some_and(|called| !called.from_below);
            if from_above && of_called.happens(500) {
                plan.subscribe(caller_of_user(&mut of_called));
            }
            return plan;
        }
        let mut plan = Plan::draw(random, self.options.scenarios, stateless);
        if has_users && own.happens(SUBSCRIBERS) {
            let known = Kind::Known;
            let kind = own.pick(&[known, known, known, Kind::Mistaken, Kind::Nobody]);
            plan.subscribe(Habits::draw(&mut own, kind, USERS));
        }
        plan
    }

    fn cast(&mut self, number: usize, plan: &Rc<Plan>, random: &mut Random) -> Vec<Agent> {
        let first = &self.profile.sites[0];
        let last = self.profile.sites.last().unwrap_or(first);
        let port = |ip: IpAddr| SocketAddr::new(ip, 5060);
        let host = plan.subscriber.map_or(CALLER, |habits| habits.host);
        let above = (port(first.nets[0].host(host)), first.listen(0));
        let below = |number| (port(last.nets[1].host(CALLEE + number)), last.listen(1));
        let caller = match plan.route {
            Route::Up | Route::Across => below(0),
            Route::User if plan.called.is_some_and(|called| called.from_below) => below(0),
            _ => above,
        };
        let callees = plan.route.groups().iter().copied().flatten();
        let callees = callees.map(|&callee| match plan.route {
            Route::Up => (callee + 1, above),
            _ => (callee + 1, below(callee)),
        });
        let parties: Vec<_> = std::iter::once((0, caller)).chain(callees).collect();
        let phone = plan.subscriber.map(|habits| self.phone(habits));
        let agent = |(place, (address, next))| {
            let who = Who {
                call: number,
                number: place,
                address,
                next,
                plan: plan.clone(),
                phone: phone.clone().filter(|_| place == 0),
            };
            Agent::new(who, self.now, Random::new(random.next()))
        };
        parties.into_iter().map(agent).collect()
    }

    /// The phone of a subscriber, which keeps its nonce from call to call.
    fn phone(&mut self, habits: Habits) -> Rc<RefCell<Phone>> {
        let algorithm = match habits.number % 3 {
            0 => "MD5",
            _ => "SHA-256",
        };
        let phone = || Phone::new(habits.kind, habits.number, algorithm);
        // Of a user who is called each phone is another.
        let name = match habits.kind {
            Kind::Called => format!("{} at {}", habits.user(), habits.host),
            _ => habits.user(),
        };
        let known = self.phones.entry(name);
        known
            .or_insert_with(|| Rc::new(RefCell::new(phone())))
            .clone()
    }
}

/// A subscriber that calls a user.
fn caller_of_user(random: &mut Random) -> Habits {
    let known = Kind::Known;
    let kind = random.pick(&[known, known, known, Kind::Mistaken, Kind::Nobody]);
    Habits {
        moves: false,
        is_replayed: false,
        registers: false,
        ..Habits::draw(random, kind, USERS)
    }
}
