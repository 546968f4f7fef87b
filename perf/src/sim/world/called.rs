//! The phones of users who are called: each takes part in a call once it is reached.

use super::World;
use super::about;
use crate::sim::agent::Agent;
use crate::sim::agent::Who;
use crate::sim::network::Body;
use crate::sim::network::Packet;
use crate::sim::oracle::Fault;
use crate::sim::random::Random;
use crate::sim::site::CALLED;

/// Where the chance of these phones begins.
const OF_PHONES: u64 = 1 << 42;

impl World {
    /// A packet reaches the host of a phone that may be called: who of the call sits there, from now on at the
    /// latest. `None` where it is no such host, or the call is to no user.
    pub(super) fn place_of_phone(
        &mut self,
        number: usize,
        packet: &Packet,
    ) -> Result<Option<usize>, Fault> {
        let first = &self.profile.sites[0];
        let to = packet.destination;
        let mut hosts = CALLED;
        let host = hosts.position(|last| first.nets[0].host(last) == to.ip());
        let Some(host) = host.and_then(|host| u8::try_from(host).ok()) else {
            return Ok(None);
        };
        let Some(call) = self.calls.get_mut(number).and_then(Option::as_mut) else {
            return Ok(None);
        };
        if call.plan.called.is_none() {
            return Ok(call.place(to.ip()));
        }
        if let Some(place) = call.place(to.ip()) {
            let at = call.agents[place].who.address;
            // A box that has restarted locates a repetition anew: the phone may have moved by then.
            return match (&packet.body, at == to || call.is_cut) {
                (Body::Sip(_), false) => {
                    let why = format!("{} is spoken to at {to}", call.agents[place].who);
                    Err(about(number)(why))
                }
                _ => Ok(Some(place)),
            };
        }
        let begins = matches!(&packet.body, Body::Sip(sip)
            if sip.status().is_none() && sip.to_tag().is_empty() && sip.method() != "CANCEL");
        if !begins {
            return Err(about(number)(format!("{to} was not called")));
        }
        let who = Who {
            call: number,
            number: host + 1,
            address: to,
            next: first.listen(0),
            plan: call.plan.clone(),
            phone: None,
        };
        let chance = OF_PHONES + number as u64 * u64::from(CALLED.end) + u64::from(host);
        let mut agent = Agent::new(who, self.now, Random::part(self.options.seed, chance));
        agent.is_cut = call.is_cut;
        call.agents.push(agent);
        Ok(Some(call.agents.len() - 1))
    }
}
