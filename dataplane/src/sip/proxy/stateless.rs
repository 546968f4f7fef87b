//! Forwarding without state (RFC 3261 §16.11), where a listen or a route says so: no
//! transaction, no 100, no Record-Route, no relay ports.
//!
//! All that happens to a message follows from the message and the configuration, so that a
//! retransmission, the CANCEL and the ACK to a failure go the way of their request with its
//! branch, whichever worker takes them up. The branch says on which listen the request came,
//! and is made of where the response to it goes: whoever answers cannot send us elsewhere by
//! changing the Vias.

use std::net::SocketAddr;

use super::Arrival;
use super::Proxy;
use super::Step;
use super::dialog::cookie_of;
use super::forward::Way;
use super::forward::max_breadth;
use crate::counters::Counter;
use crate::counters::trunks::TrunkCounter;
use crate::ids::ListenIndex;
use crate::ids::TrunkIndex;
use crate::settings::DialRoute;
use crate::sip::edit;
use crate::sip::identity::Branch;
use crate::sip::identity::Kind;
use crate::sip::identity::What;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::slab::Id;
use crate::sip::uri::Host;
use crate::sip::uri::Uri;
use crate::sip::via::Via;

impl Proxy {
    /// True for a request that any worker may take up, since its listen keeps no state. One of a
    /// dialog that passed with state, as its Route says, is its owner's.
    pub(super) fn is_stateless(&self, message: &Message<'_>, arrival: Arrival) -> bool {
        if !self.listens[usize::from(arrival.listen.0)].stateless {
            return false;
        }
        let top = message.routes().next().and_then(Result::ok);
        top.is_none_or(|top| cookie_of(message, top.address.uri).is_none())
    }

    /// Where a request of no dialog of ours goes that is to go on without state; `None` where it
    /// is not. The error is the status of the answer.
    pub(super) fn stateless_way(
        &self,
        message: &Message<'_>,
        arrival: Arrival,
        caller: TrunkIndex,
    ) -> Result<Option<Way>, u16> {
        let uri = message.request_uri().ok_or(400_u16)?;
        let route = self.route_of(message, caller)?;
        let by_listen = self.listens[usize::from(arrival.listen.0)].stateless;
        if !by_listen && !route.is_some_and(|route| route.stateless) {
            return Ok(None);
        }
        let parts = Uri::read(message.bytes(), uri).map_err(|_| 400_u16)?;
        let routes = self.our_preloaded_routes(message);
        if let Some((to, listen)) = self.named_target(message, routes, &parts, route) {
            return Ok(Some(Way {
                to,
                listen,
                routes,
                our_host: None,
                breadth: max_breadth(message),
                marks: self.marks(message, arrival),
            }));
        }
        // RFC 3261 §16.11: one target, and always the same. §16.5: 404 where no route fits, 480
        // where it leads nowhere.
        let first = route.ok_or(404_u16)?.to.first().ok_or(480_u16)?;
        let trunk = self.dial.trunk(first.trunk).ok_or(480_u16)?;
        Ok(Some(Way {
            to: *trunk.targets.first().ok_or(480_u16)?,
            listen: trunk.listen,
            routes,
            our_host: self.our_host(&parts),
            breadth: max_breadth(message),
            marks: self.marks(message, arrival),
        }))
    }

    /// RFC 3261 §16.5: the target that the next Route value or else the Request-URI names, where
    /// that is an address of a trunk that the route leads to. Without a route it may be that
    /// of any trunk, if the request says that it is of a dialog: no route leads back to callers.
    fn named_target(
        &self,
        message: &Message<'_>,
        routes: usize,
        uri: &Uri,
        route: Option<&DialRoute>,
    ) -> Option<(SocketAddr, ListenIndex)> {
        let next = message.routes().nth(routes).and_then(Result::ok);
        let next = next.and_then(|next| Uri::read(message.bytes(), next.address.uri).ok());
        let uri = next.as_ref().unwrap_or(uri);
        let index = self.dial.trunk_of(uri.host.and_then(Host::address)?)?;
        let allowed = match route {
            Some(route) => route.to.iter().any(|choice| choice.trunk == index),
            None => message.to_tag().is_some(),
        };
        let listen = self.dial.trunk(index)?.listen;
        let hop = self.named_hop(uri, listen)?;
        (allowed && self.our_host(uri).is_none()).then_some((hop, listen))
    }

    /// Sends a request on without state.
    pub(super) fn forward_stateless(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        way: Way,
        step: &mut Step<'_>,
    ) -> Counter {
        let reply_to = self.reply_to(message, arrival.source);
        let id = self.stateless_id(message, message.via(), reply_to, arrival.listen);
        let outcome = self.send_on(message, arrival, way, Kind::Stateless, id, step);
        if outcome == Counter::SipForwarded {
            step.counters.count(Counter::StatelessRequests);
            if let Some(trunk) = self.dial.trunk_of(way.to.ip()) {
                self.trunks.count(trunk, TrunkCounter::RequestsOut);
            }
        }
        outcome
    }

    /// A CANCEL or an ACK that belongs to nothing here, if what it belongs to went on without
    /// state (RFC 3261 §16.11: no special processing for CANCEL).
    pub(super) fn follow_stateless(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        caller: TrunkIndex,
        step: &mut Step<'_>,
    ) -> Option<Counter> {
        let way = self.stateless_way(message, arrival, caller).ok()??;
        let refused = if message.max_forwards() == Some(0) {
            Some(483)
        } else {
            self.is_loop(message, arrival).then_some(482)
        };
        Some(match refused {
            None => self.forward_stateless(message, arrival, way, step),
            Some(_) if message.method() == Method::Ack => Counter::SipNotRoutable,
            Some(status) => self.answer(message, arrival, status, &[], step),
        })
    }

    /// A response to a request that went on without state: our Via gone, to where the next one
    /// says (RFC 3261 §16.11, §18.2.2). Any worker does so.
    pub(super) fn stateless_response(
        &mut self,
        message: &Message<'_>,
        branch: Branch,
        step: &mut Step<'_>,
    ) -> Counter {
        let Ok(Some(below)) = message.second_via() else {
            return Counter::SipStrayResponse;
        };
        let [listen, _] = branch.id.generation.to_be_bytes();
        let listen = ListenIndex(listen);
        let to = self.reply_to_stamped(message, below);
        let to = to.filter(|&to| self.stateless_id(message, below, to, listen) == branch.id);
        let Some(to) = to else {
            return Counter::SipBranchForged;
        };
        step.counters.count(Counter::Responses);
        if edit::pop_via(message, &mut self.splices).is_err() {
            return Counter::SipNotRoutable;
        }
        match self.send_spliced(message, to, listen, step.effects) {
            Ok(_) => {
                step.counters.count(Counter::StatelessResponses);
                Counter::SipForwarded
            }
            Err(outcome) => outcome,
        }
    }

    /// What makes a branch the request's own: a hash of what its retransmissions, its CANCEL, its
    /// ACK and its responses have in common with it and nobody else has (RFC 3261 §16.11), and of
    /// where its responses go; and the listen on which it came. The Request-URI is in the
    /// branch by its loop hash.
    fn stateless_id(
        &self,
        message: &Message<'_>,
        via: Via,
        reply_to: SocketAddr,
        listen: ListenIndex,
    ) -> Id {
        let (cseq, ..) = message.cseq();
        let mut address = [0; 16];
        match reply_to.ip() {
            std::net::IpAddr::V4(ip) => address[..4].copy_from_slice(&ip.octets()),
            std::net::IpAddr::V6(ip) => address = ip.octets(),
        }
        let hash = self
            .identity
            .hash()
            .text(via.branch.map_or(&[][..], |branch| message.text(branch)))
            .text(message.text(via.host))
            .text(message.from_tag().unwrap_or_default())
            .text(message.call_id())
            .text(&address);
        let number = u64::from(cseq) << 16 | u64::from(reply_to.port());
        let hash = hash.finish(What::Stateless.with(number));
        let [a, b, c, d, e, ..] = hash.to_be_bytes();
        Id::new(
            u32::from_be_bytes([a, b, c, d]),
            u16::from_be_bytes([listen.0, e]),
        )
    }

    /// Where [`Proxy::reply_to`] sent the response to a request whose top Via, stamped by us, is
    /// now `via`.
    fn reply_to_stamped(&self, message: &Message<'_>, via: Via) -> Option<SocketAddr> {
        let bytes = message.bytes();
        let ip = match via.received {
            Some(_) => via.received_ip(bytes)?,
            None => via.host_ip(bytes)?,
        };
        let port = via.rport.flatten().or(via.port).unwrap_or(5060);
        // What we sent to ourselves names an advertised port.
        let ours = self
            .listens
            .iter()
            .find(|listen| listen.address.ip() == ip && listen.advertised.port() == port);
        Some(ours.map_or(SocketAddr::new(ip, port), |listen| listen.address))
    }
}
