//! What a request may come to.

use super::Ask;
use super::Callee;
use super::Caller;
use super::Plan;
use super::Route;
use crate::sim::phone::Kind;

impl Plan {
    /// The final statuses to which the caller's request may come where nothing is lost.
    #[must_use]
    pub fn outcomes(&self) -> Vec<u16> {
        let mut said = match self.subscriber.map(|habits| habits.kind) {
            _ if self.caller == Caller::Asks(Ask::Box) => return vec![200],
            None => return self.outcomes_of_trunk(),
            Some(Kind::Mistaken | Kind::Nobody) if self.registers() => vec![401],
            Some(Kind::Mistaken | Kind::Nobody) => vec![407, 487],
            // It has too many contacts.
            Some(Kind::Known | Kind::Cached | Kind::Called) if self.registers() => vec![200, 403],
            Some(Kind::Known | Kind::Cached | Kind::Called) => self.outcomes_of_trunk(),
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
            (_, Route::User) => return self.outcomes_of_user(),
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

    /// Which of its phones are called, and which of them decides, is for the oracle to know; so is when
    /// nobody is there, or nobody knows.
    fn outcomes_of_user(&self) -> Vec<u16> {
        let asks = matches!(self.caller, Caller::Asks(_));
        let says = |callee: &Callee| match asks {
            true => callee.says_to_others(),
            false => callee.says(),
        };
        let said = self.callees.iter().flat_map(says);
        said.copied()
            .chain([408, 480, 487, 500, 503, 504])
            .collect()
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
