//! What a call must have come to.

use super::Call;
use super::World;
use crate::sim::agent::Agent;
use crate::sim::ladder::Column;
use crate::sim::plan::Ask;
use crate::sim::plan::Callee;
use crate::sim::plan::Caller;
use crate::sim::plan::Route;

impl World {
    /// What a call must have come to. Where packets are lost, or a box restarts, some end
    /// otherwise, and may.
    pub(super) fn check_outcome(&self, call: &Call) -> Result<(), String> {
        let caller = &call.agents[0];
        if call.agents.iter().any(Agent::is_waiting) {
            return Err("a request still waits for its end".to_owned());
        }
        let outcome = caller.outcome();
        let plan = &call.plan;
        let is_fair = self.profile.weather.is_fair() && !call.is_cut;
        if !is_fair || self.options.crowded || caller.is_dead {
            return Ok(());
        }
        let expected = plan.outcomes();
        let is_silent = outcome.is_none() && plan.is_silent();
        if !is_silent && !outcome.is_some_and(|status| expected.contains(&status)) {
            return Err(format!("ended with {outcome:?}, not {expected:?}"));
        }
        if call.agents.iter().any(Agent::lacks_an_ack) {
            return Err("a callee's failure was never acknowledged".to_owned());
        }
        let asks = matches!(plan.caller, Caller::Asks(_));
        if !asks && call.agents.iter().any(Agent::is_talking) {
            return Err("not hung up on both sides".to_owned());
        }
        let heard = call
            .agents
            .iter()
            .filter(|agent| agent.media_in > 0)
            .count();
        let plain = plan.route == Route::Plain
            && plan.callees[0] == Callee::Answers
            && plan.caller == Caller::HangsUp;
        let is_answered = outcome == Some(200);
        if plain && is_answered && plan.packets > 0 && !plan.stateless && heard != 2 {
            return Err("went without media".to_owned());
        }
        let forged = plan.caller == Caller::Asks(Ask::Forged) && !plan.stateless;
        if forged && call.agents.len() > 1 {
            let reached = call
                .rungs
                .iter()
                .any(|rung| matches!(rung.to, Column::Callee(_)));
            if reached {
                return Err("a forged Route has opened the way".to_owned());
            }
        }
        Ok(())
    }
}
