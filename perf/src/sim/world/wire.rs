//! The ends of the network: who sends, and what becomes of what arrives.

use std::net::IpAddr;

use super::Call;
use super::World;
use super::about;
use crate::sim::ladder::Column;
use crate::sim::ladder::Rung;
use crate::sim::media;
use crate::sim::network::Body;
use crate::sim::network::Packet;
use crate::sim::oracle::Fault;
use crate::sim::sip::Sip;
use crate::sim::site::CALLEE;
use crate::sim::site::CALLEES;
use crate::sim::site::CALLER;
use crate::sim::site::Site;

/// Of a thousand messages to closed ports, those of which ICMP tells.
const ICMP_SENT: u16 = 900;

impl World {
    pub(super) fn arrive(&mut self, packet: &Packet) -> Result<(), Fault> {
        if let Some(at) = self.box_at(packet.destination.ip()) {
            let taken = self.boxes[at].inject(packet, &mut self.trace);
            if taken.map_err(Fault::general)? {
                self.oracles[at].enters(self.now, packet);
            }
            return Ok(());
        }
        let number = call_of(packet);
        let Some(number) = number else { return Ok(()) };
        let to = packet.destination.ip();
        let of_phone = self.place_of_phone(number, packet)?;
        let (caller, callees) = self.hosts();
        let is_host = to == caller || callees.contains(&to);
        let Some(call) = self.calls.get_mut(number).and_then(Option::as_mut) else {
            return Ok(());
        };
        call.last = self.now;
        let place = of_phone.or_else(|| call.place(to));
        let Some(place) = place else {
            if is_host {
                return Err(about(number)(format!("{to} was not called")));
            }
            if call.plan.icmp {
                return self.unreachable(number, packet);
            }
            return Ok(());
        };
        let agent = &mut call.agents[place];
        if agent.is_closed(self.now) {
            return self.unreachable(number, packet);
        }
        let heard = match &packet.body {
            Body::Sip(sip) => agent.receive(self.now, packet.source, sip, &mut self.out),
            Body::Raw(_) => agent.receive_media(packet),
            Body::Unreachable(_) => Ok(()),
        };
        heard.map_err(|why| about(number)(format!("{}: {why}", call.agents[place].who)))?;
        self.note(number, place);
        self.send_all(Some(number))
    }

    /// Who sent a message is told that nobody is there, as often as a kernel is willing to.
    fn unreachable(&mut self, number: usize, packet: &Packet) -> Result<(), Fault> {
        if let Body::Sip(sip) = &packet.body
            && self.random.happens(ICMP_SENT)
        {
            self.out.push(Packet {
                source: packet.destination,
                destination: packet.source,
                body: Body::Unreachable(sip.clone()),
                damage: None,
            });
        }
        self.send_all(Some(number))
    }

    pub(super) fn box_at(&self, address: IpAddr) -> Option<usize> {
        let own = |site: &Site| (0..2).any(|side| site.address(side) == address);
        self.profile.sites.iter().position(own)
    }

    /// Where agents may sit: above the boxes, and below.
    fn hosts(&self) -> (IpAddr, [IpAddr; CALLEES as usize]) {
        let first = &self.profile.sites[0];
        let last = self.profile.sites.last().unwrap_or(first);
        let below = |number: usize| {
            let number = u8::try_from(number).unwrap_or(0);
            last.nets[1].host(CALLEE + number)
        };
        (first.nets[0].host(CALLER), std::array::from_fn(below))
    }

    fn column(&self, call: Option<&Call>, address: IpAddr) -> Column {
        if let Some(at) = self.box_at(address) {
            return Column::Box(u8::try_from(at).unwrap_or(0));
        }
        let place = call.and_then(|call| Some(&call.agents[call.place(address)?]));
        match place.map(|agent| agent.who.number) {
            Some(0) => Column::Caller,
            Some(number) => Column::Callee(number - 1),
            None => Column::Nobody,
        }
    }

    /// What was said goes into the network.
    pub(super) fn send_all(&mut self, call: Option<usize>) -> Result<(), Fault> {
        let out = std::mem::take(&mut self.out);
        for packet in out {
            let to_box = self.box_at(packet.destination.ip()).is_some();
            self.send(packet, call, to_box);
        }
        Ok(())
    }

    pub(super) fn send(&mut self, packet: Packet, call: Option<usize>, to_box: bool) {
        let name = match &packet.body {
            Body::Sip(sip) => Some(sip.name()),
            Body::Unreachable(_) => Some("ICMP".to_owned()),
            Body::Raw(_) => None,
        };
        let (from, to) = (packet.source.ip(), packet.destination.ip());
        let fate = self.network.send(self.now, packet, to_box);
        let known = call.and_then(|number| self.calls.get(number)?.as_deref());
        let (from, to) = (self.column(known, from), self.column(known, to));
        let known = call.and_then(|number| self.calls.get_mut(number)?.as_mut());
        if let Some((call, name)) = known.zip(name) {
            call.rungs.push(Rung {
                at: self.now,
                from,
                to,
                name,
                fate,
            });
        }
    }
}

/// The call that a packet is of.
pub(super) fn call_of(packet: &Packet) -> Option<usize> {
    match &packet.body {
        Body::Sip(sip) | Body::Unreachable(sip) => Sip::call(sip),
        Body::Raw(payload) => media::read(payload).map(|label| label.call),
    }
}
