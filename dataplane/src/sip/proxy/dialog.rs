//! In-dialog requests: which dialog they are of, and where they go (RFC 3261 §16.4, §16.12).

use std::net::IpAddr;
use std::net::SocketAddr;

use super::Arrival;
use super::Proxy;
use super::Step;
use super::forward::Way;
use super::forward::max_breadth;
use super::session::refreshes;
use crate::counters::Counter;
use crate::counters::trunks::TrunkCounter;
use crate::ids::ListenIndex;
use crate::ids::TrunkIndex;
use crate::limits::DIALOG_LEN_MAX;
use crate::sip::call::Call;
use crate::sip::call::DialogMark;
use crate::sip::call::Party;
use crate::sip::call::Sender;
use crate::sip::dialog::Record;
use crate::sip::endpoint::Endpoint;
use crate::sip::identity::COOKIE_TEXT_LENS;
use crate::sip::identity::Cookie;
use crate::sip::identity::Sides;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::session::Asked;
use crate::sip::slab::Id;
use crate::sip::uri::Host;
use crate::sip::uri::Uri;
use crate::span::Span;

/// The first port that a URI may name: below are the well-known ones of others, whom nobody is to
/// have the box write to.
const PORT_MIN: u16 = 1024;

/// The parameter of our Record-Route URIs that carries the cookie.
pub(super) const COOKIE_PARAM: &[u8] = b"tl";

/// An in-dialog request that our cookie proves to be one.
#[derive(Clone, Copy, Debug)]
pub(super) struct InDialog {
    /// The listens of the dialog's two sides.
    pub sides: Sides,
    /// Where the other party was when the dialog began, if it is a subscriber.
    pub other_home: Option<Endpoint>,
    /// Who sent the request.
    pub from: Party,
    /// True where it came from an address of its sender's own trunk, or from where a subscriber
    /// has been in this call.
    pub at_home: bool,
    /// True where the address says who sent it. A subscriber's may have changed: then it must
    /// authenticate.
    pub is_proved: bool,
    /// How many of the topmost Route values are ours.
    pub routes: usize,
    /// Of the index of dialogs: [`Proxy::dialog_of`].
    pub key: u64,
}

impl Proxy {
    /// The dialog that the topmost Route's cookie proves, and who of its parties sent this.
    /// The cookie is no secret to the parties and to whoever they show it: `source` must be an
    /// address of the party's own trunk, or the one that it has given.
    ///
    /// RFC 3261 §12.1.1, §12.1.2: an element of RFC 2543 may have sent no tag. The cookie is good for
    /// this Call-ID and the caller's tag alone, so that a request without a To tag is within its dialog
    /// too, as long as the call is known.
    pub(super) fn in_dialog(&self, message: &Message<'_>, source: IpAddr) -> Option<InDialog> {
        let from_tag = message.from_tag().unwrap_or_default();
        let mut routes = message
            .routes()
            .map_while(Result::ok)
            .map(|route| route.address.uri);
        let cookie = cookie_of(message, routes.next()?)?;
        let read = |tag| self.identity.read_cookie(cookie, message.call_id(), tag);
        let (Cookie { sides, homes }, from) = match read(from_tag) {
            Some(cookie) => (cookie, Party::Caller),
            None => {
                let to_tag = message.to_tag().unwrap_or_default();
                (read(to_tag)?, Party::Callee)
            }
        };
        // We record two values where the two sides differ, and take both away again.
        let second = routes.next().and_then(|uri| cookie_of(message, uri));
        let routes = if second == Some(cookie) { 2 } else { 1 };
        let key = self.dialog_of(message, from, sides);
        let trunk = sides.trunks[from as usize];
        let of_subscriber = self.dial.domain_with(trunk).is_some();
        let at_home = match of_subscriber {
            true => self.has_been_at(key, from, source),
            false => self.dial.trunk_with(trunk, source).is_some(),
        };
        if !at_home && !of_subscriber {
            let call = self.calls.get(self.dialogs.get(key)?)?;
            self.has_given(message, call, from, source).then_some(())?;
        }
        if message.to_tag().is_none() {
            // Who once had a call would otherwise begin others past every route.
            self.dialogs.get(key)?;
        }
        // Where the call is not known, or not known any more, the cookie says where its sender was. That
        // is enough to acknowledge and to end; who wants more of a call shows once more who it is.
        let may_end = matches!(message.method(), Method::Ack | Method::Bye);
        let is_unknown = || self.dialogs.get(key).is_none();
        let was_there = || homes[from as usize].is_some_and(|home| home.ip() == source);
        Some(InDialog {
            sides,
            other_home: homes[from.other() as usize],
            from,
            at_home,
            is_proved: at_home || !of_subscriber || may_end && is_unknown() && was_there(),
            routes,
            key,
        })
    }

    /// Where caller and callee of a dialog are, of those that are subscribers: no configuration
    /// says that of them, so the dialog's cookie does.
    pub(super) fn homes(
        &self,
        trunks: [TrunkIndex; 2],
        [caller, callee]: [SocketAddr; 2],
    ) -> [Option<Endpoint>; 2] {
        let [of_caller, of_callee] = trunks.map(|trunk| self.dial.domain_of(trunk));
        [
            of_caller.map(|_| caller.into()),
            of_callee.map(|_| callee.into()),
        ]
    }

    /// True where the messages of a party of a known call have come from this address.
    fn has_been_at(&self, key: u64, party: Party, source: IpAddr) -> bool {
        let call = self.dialogs.get(key).and_then(|id| self.calls.get(id));
        let known = call.and_then(|call| call.parties[party as usize]);
        known.is_some_and(|known| known.addr().ip() == source)
    }

    /// True where From is who the party of a known call was when it began: who has proved to be that is
    /// the party, and not only another user who knows the dialog.
    pub(super) fn is_party(&self, message: &Message<'_>, dialog: &InDialog) -> bool {
        let call = self.dialogs.get(dialog.key);
        let text = call
            .and_then(|id| self.calls.get(id))
            .and_then(|call| call.text.as_ref());
        let mut room = [0; DIALOG_LEN_MAX];
        let record = text.and_then(|text| Record::read(self.texts.read(text, &mut room)));
        let from = message.text(message.from().uri);
        record.is_some_and(|record| record.uris[dialog.from as usize] == from)
    }

    /// The sides of the dialog that a request makes on its way between these listens and trunks. It
    /// passes the box for the first time, or once more than its Record-Routes of ours say
    /// (RFC 3261 §6, a spiral).
    pub(super) fn sides_of(
        &self,
        message: &Message<'_>,
        [caller, callee]: [ListenIndex; 2],
        trunks: [TrunkIndex; 2],
    ) -> Sides {
        let tag = message.from_tag().unwrap_or_default();
        let mut values = message.record_routes().map_while(Result::ok);
        let last = values.find_map(|value| {
            let cookie = cookie_of(message, value.address.uri)?;
            self.identity.read_cookie(cookie, message.call_id(), tag)
        });
        Sides {
            caller,
            callee,
            pass: last.map_or(0, |last| last.sides.pass.saturating_add(1)),
            boot: self.identity.boot(),
            trunks: trunks.map(|trunk| self.dial.tag(trunk)),
        }
    }

    /// Where an in-dialog request goes (RFC 3261 §16.4, §16.12), once our Route values are
    /// gone: the next Route value, else the Request-URI, if that is an address of the other party's
    /// trunk, or the one that this party itself has given. Nobody uses the box to send to whom
    /// they like: else it goes to where the party's messages come from, or where nothing is known
    /// of the call, as after a restart, to where the subscriber was when it began (RFC 5626 §5.3), or
    /// to the first target of the trunk.
    pub(super) fn way_in_dialog(
        &self,
        message: &Message<'_>,
        arrival: Arrival,
        dialog: InDialog,
        call: Option<Id>,
    ) -> Option<Way> {
        let uri = match message.routes().nth(dialog.routes) {
            Some(route) => route.ok()?.address.uri,
            None => message.request_uri()?,
        };
        let uri = Uri::read(message.bytes(), uri).ok()?;
        let to = dialog.from.other();
        let listen = to.listen(dialog.sides);
        let trunk = dialog.sides.trunks[to as usize];
        let call = call.and_then(|id| self.calls.get(id));
        let last = call.and_then(|call| call.parties[to as usize]);
        // A subscriber who says that it is at a trunk would have its caller's requests sent there.
        let is_subscriber = self.dial.domain_with(trunk).is_some();
        let may_be_at = |host| !is_subscriber || last.is_some_and(|last| last.addr().ip() == host);
        let named = self.named_hop(&uri, listen).filter(|hop| {
            self.dial.trunk_with(trunk, hop.ip()).is_some()
                || call.is_some_and(|call| self.has_given(message, call, to, hop.ip()))
                    && may_be_at(hop.ip())
        });
        let first = || {
            let home = dialog.other_home.map(Endpoint::addr);
            let home = home.filter(|_| self.dial.domain_with(trunk).is_some());
            let first = home.or_else(|| self.dial.first_target(trunk));
            first.filter(|first| self.is_reachable(first.ip(), listen))
        };
        Some(Way {
            to: named.or(last.map(Endpoint::addr)).or_else(first)?,
            listen,
            routes: dialog.routes,
            our_host: None,
            breadth: max_breadth(message),
            marks: self.marks(message, arrival),
        })
    }

    /// The address that a URI names as next hop; `None` where it has a name instead, one that the
    /// listen does not reach, or a port at which no SIP is spoken.
    pub(super) fn named_hop(&self, uri: &Uri, listen: ListenIndex) -> Option<SocketAddr> {
        let host = uri.host.and_then(Host::address)?;
        let port = uri.port.unwrap_or(5060);
        let usable = port >= PORT_MIN && self.is_reachable(host, listen);
        usable.then(|| SocketAddr::new(host, port))
    }

    fn is_reachable(&self, host: IpAddr, listen: ListenIndex) -> bool {
        host.is_ipv4() == self.listens[usize::from(listen.0)].address.is_ipv4()
    }

    /// True where `party` of a request's dialog has given `host` as its address, and that is one of
    /// a trunk: its Contact or Record-Route said so. Of a call that was taken up again the other
    /// party may have said it, and without a To tag the request would begin something there.
    fn has_given(&self, message: &Message<'_>, call: &Call, party: Party, host: IpAddr) -> bool {
        let is_within = message.to_tag().is_some() && !call.is_adopted;
        if !is_within || self.dial.trunk_of(host).is_none() {
            return false;
        }
        let mut room = [0; DIALOG_LEN_MAX];
        let text = call.text.as_ref();
        let record = text.and_then(|text| Record::read(self.texts.read(text, &mut room)));
        let hop = record.and_then(|record| record.next_hop(party));
        let uri = hop.and_then(|hop| Uri::read(hop, Span::new(0, hop.len())).ok());
        uri.and_then(|uri| uri.host?.address()) == Some(host)
    }

    /// Sends a request of a dialog on; the error is the status of the answer.
    pub(super) fn forward_in_dialog(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        dialog: InDialog,
        step: &mut Step<'_>,
    ) -> Result<(), u16> {
        let mut call = self.dialogs.get(dialog.key);
        let way = self.way_in_dialog(message, arrival, dialog, call);
        let way = way.ok_or(404_u16)?;
        // What a BYE is ending is not begun again by what it has overtaken.
        let method = message.method();
        let may_offer = refreshes(method) || method == Method::Prack;
        let unknown = call.is_none() && may_offer && !self.is_known(dialog.key);
        let adopts = unknown && self.may_adopt(method, dialog.sides);
        if adopts {
            call = Some(self.adopt_call(message, arrival, dialog, way.to, step)?);
        } else if unknown && !message.body().is_empty() {
            // Nobody's media passes the box by.
            step.counters.count(Counter::OffersRefused);
            return Err(503);
        }
        // What comes from ourselves says nothing of where a party is. Where it has said it is, it is
        // reached by what it said.
        let moved = Some(arrival.source);
        let moved = moved.filter(|source| dialog.at_home && !self.is_listen(*source));
        if let Some(call) = call.and_then(|id| self.calls.get_mut(id)) {
            let party = &mut call.parties[dialog.from as usize];
            *party = moved.map(Endpoint::from).or(*party);
        }
        if let Some(id) = call {
            self.remember_cseq(id, message, dialog.from);
        }
        let party = dialog.from;
        let dialog_mark = DialogMark::of(dialog.key);
        let sender = call.map(|call| Sender {
            call,
            party,
            dialog: dialog_mark,
        });
        let asked = match call.filter(|_| refreshes(message.method())) {
            Some(_) => self.ask_session(message, step),
            None => Ok(Asked::default()),
        };
        let sent = asked.and_then(|asked| {
            let client = self.forward_anchored(message, arrival, key, way, sender, step)?;
            self.remember_asked(client, asked);
            Ok(client)
        });
        if let Ok(client) = sent {
            if message.method() == Method::Bye
                && let Some(server) = self.clients.get(client).and_then(|client| client.server)
            {
                self.note_served(dialog.key, server);
            }
            self.count_out(call, dialog.from.other(), way);
        }
        let Some(id) = call else {
            return sent.map(|_| ());
        };
        match sent {
            Ok(client) if adopts => {
                if let Some(call) = self.calls.get_mut(id) {
                    call.invite = client;
                }
            }
            Ok(_) if refreshes(message.method()) => {
                self.remember_target(id, message, party, step);
            }
            Ok(_) => {}
            Err(_) if adopts => {
                step.counters.count(Counter::CallsFailed);
                self.forget_call(id, step);
            }
            // RFC 3261 §15.1.1: it ends the dialog for its sender though it goes nowhere.
            Err(_) if message.method() == Method::Bye => self.end_by_bye(id, step),
            Err(_) => {}
        }
        sent.map(|_| ())
    }

    /// True where a request in a dialog that is no part of a call begins one. An UPDATE of this start
    /// of the box is in an early dialog that found no room, or that has lost: its call is another.
    /// There is no re-INVITE in an early dialog (RFC 3261 §14.1).
    fn may_adopt(&self, method: Method, sides: Sides) -> bool {
        let is_older = sides.boot != self.identity.boot();
        method == Method::Invite || method == Method::Update && is_older
    }

    /// Counts a request of a dialog for the trunk that it went to.
    fn count_out(&mut self, call: Option<Id>, to: Party, way: Way) {
        let call = call.and_then(|id| self.calls.get(id));
        let trunk = call.and_then(|call| call.trunks[to as usize]);
        if let Some(trunk) = trunk.or_else(|| self.dial.trunk_of(way.to.ip())) {
            self.trunks.count(trunk, TrunkCounter::RequestsOut);
        }
    }
}

/// The cookie in a Route value's URI.
pub(super) fn cookie_of<'m>(message: &Message<'m>, uri: Span) -> Option<&'m [u8]> {
    // At the end, where we wrote it, before all the places where it may be now. Whether it is ours
    // is seen by its MAC.
    let text = message.text(uri);
    for len in COOKIE_TEXT_LENS {
        let parts = text.len().checked_sub(len).map(|at| text.split_at(at));
        if let Some((_, cookie)) = parts.filter(|(front, _)| front.ends_with(b";tl=")) {
            return Some(cookie);
        }
    }
    let uri = Uri::read(message.bytes(), uri).ok()?;
    let cookie = uri.param(message.bytes(), COOKIE_PARAM)?.value?;
    Some(message.text(cookie))
}
