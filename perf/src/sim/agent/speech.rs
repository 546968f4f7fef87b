//! An agent's media.

use std::net::SocketAddr;

use trunkline_dataplane::tick::Tick;

use super::Agent;
use super::Callee;
use super::Caller;
use super::dialog::State;
use super::script::Alarm;
use crate::sim::media;
use crate::sim::media::Fate;
use crate::sim::network::Body;
use crate::sim::network::Packet;
use crate::sim::plan::Route;
use crate::sim::site::STRANGER;

impl Agent {
    pub(super) fn schedule_media(&mut self, dialog: usize, now: Tick) {
        let plan = &self.who.plan;
        // Without state nothing is relayed, and of two answered phones only one is heard.
        if plan.stateless || self.behaviour() == Callee::ForksTwice {
            return;
        }
        // A late answer may still be under way when media that follows it arrives.
        let begin_ms = if plan.caller == Caller::OffersLate {
            200
        } else {
            0
        };
        for number in 0..plan.packets {
            let at = now.plus_ms(begin_ms + 20 * u64::from(number));
            self.alarms.push((at, Alarm::Media(dialog, number)));
        }
        if matches!(plan.caller, Caller::Leaves | Caller::UpdatesEarly) {
            // Once those that lost have answered, too.
            for number in 0..6 {
                let at = now.plus_ms(1_000 + 600 * u64::from(number));
                self.alarms.push((at, Alarm::Media(dialog, 10 + number)));
            }
            let at = now.plus_ms(45_000);
            self.alarms.push((at, Alarm::Media(dialog, 20)));
        }
    }

    /// What must become of our packets. Where answer and offer may still be under way, or other
    /// callees have been tried, the box may know better.
    fn fate(&self) -> Fate {
        let plan = &self.who.plan;
        let is_plain = matches!(plan.route, Route::Plain | Route::Spiral | Route::Up)
            && matches!(
                plan.first(),
                Callee::Answers | Callee::SendsEarly | Callee::IsSlow(_) | Callee::Forks(_)
            )
            && matches!(
                plan.caller,
                Caller::HangsUp
                    | Caller::Listens
                    | Caller::Holds
                    | Caller::Leaves
                    | Caller::UpdatesEarly
            );
        if is_plain {
            Fate::Passes
        } else {
            Fate::Perhaps
        }
    }

    pub(super) fn send_media(&mut self, dialog: usize, number: u16, out: &mut Vec<Packet>) {
        let talks = self
            .dialogs
            .get(dialog)
            .is_some_and(|d| d.state == State::Confirmed);
        if !talks {
            return;
        }
        let fate = self.fate();
        self.send_one(dialog, number, fate, out);
        if number == 0 {
            self.send_stranger(dialog, out);
        }
        if number + 1 == self.who.plan.packets {
            self.send_rtcp(dialog, fate, out);
        }
    }

    pub(super) fn straggle(&self, dialog: usize, now: Tick, out: &mut Vec<Packet>) {
        // For a moment after the end, and while another dialog of the call goes on, its flows
        // are open.
        let plan = &self.who.plan;
        let is_alone = matches!(plan.route, Route::Plain | Route::Spiral)
            && !matches!(plan.first(), Callee::Forks(_) | Callee::ForksTwice);
        let is_over = self.has_hung_up() && !self.is_waiting() && self.hung_up.plus_ms(900) <= now;
        if !is_over || !is_alone {
            return;
        }
        self.send_one(dialog, 999, Fate::Never, out);
    }

    fn media_to(&self, dialog: usize) -> Option<SocketAddr> {
        let named = self.dialogs.get(dialog)?.media_to?;
        // What a box has let pass as it is may be of the other family.
        (named.is_ipv4() == self.who.address.is_ipv4()).then_some(named)
    }

    fn send_one(&self, dialog: usize, number: u16, fate: Fate, out: &mut Vec<Packet>) {
        if let Some(destination) = self.media_to(dialog) {
            let payload = media::rtp(fate, self.who.call, self.who.number, number);
            out.push(raw(self.media_address(), destination, &payload));
        }
    }

    fn send_rtcp(&self, dialog: usize, fate: Fate, out: &mut Vec<Packet>) {
        let above = |address: SocketAddr| SocketAddr::new(address.ip(), address.port() + 1);
        if let Some(destination) = self.media_to(dialog) {
            let payload = media::rtcp(fate, self.who.call, self.who.number);
            out.push(raw(
                above(self.media_address()),
                above(destination),
                &payload,
            ));
        }
    }

    /// Somebody else, who knows the relay port and sends to it.
    fn send_stranger(&self, dialog: usize, out: &mut Vec<Packet>) {
        let Some(destination) = self.media_to(dialog) else {
            return;
        };
        let mut source = self.media_address();
        source.set_ip(stranger_beside(source));
        let payload = media::rtp(Fate::Never, self.who.call, self.who.number, 0);
        out.push(raw(source, destination, &payload));
    }

    /// Takes a media packet from the box.
    ///
    /// # Errors
    /// Where it is not for this party.
    pub fn receive_media(&mut self, packet: &Packet) -> Result<(), String> {
        self.media_in += 1;
        if media::read(packet.body.bytes()).is_some_and(|label| label.from == self.who.number) {
            return Err("its own media".to_owned());
        }
        let mine = self.media_address();
        let port = packet.destination.port();
        if port != mine.port() && port != mine.port() + 1 {
            return Err(format!("media to port {port}, not {}", mine.port()));
        }
        Ok(())
    }
}

fn stranger_beside(address: SocketAddr) -> std::net::IpAddr {
    match address.ip() {
        std::net::IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            [a, b, c, STRANGER].into()
        }
        std::net::IpAddr::V6(ip) => {
            let mut segments = ip.segments();
            segments[7] = STRANGER.into();
            segments.into()
        }
    }
}

fn raw(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Packet {
    Packet {
        source,
        destination,
        body: Body::Raw(payload.into()),
        damage: None,
    }
}
