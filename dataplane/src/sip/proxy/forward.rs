//! Forwarding (RFC 3261 §16.6): the edits that every request gets on its way, and the
//! transactions that carry it.

use std::net::SocketAddr;

use super::Arrival;
use super::Proxy;
use super::Step;
use super::write::SENT_BY_LEN;
use super::write::sent_by;
use super::write::unedited;
use super::write::unedited_status;
use crate::counters::Counter;
use crate::ids::ListenIndex;
use crate::limits::IN_PROGRESS_PART;
use crate::sip::build;
use crate::sip::call::Sender;
use crate::sip::edit;
use crate::sip::identity::Cookie;
use crate::sip::identity::Kind;
use crate::sip::identity::What;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::sip::slab::Id;
use crate::sip::strict;
use crate::sip::transaction::Branches;
use crate::sip::transaction::Client;
use crate::sip::transaction::Marks;
use crate::sip::transaction::Server;
use crate::span::Span;

/// What a proxy sets where there is no Max-Forwards (RFC 3261 §16.6 step 3), and the most that
/// we let pass: 255 asked for by a stranger would be as many rounds of a loop.
const MAX_FORWARDS: u8 = 70;

/// RFC 5393 §5.3.3: what a proxy sets where there is no Max-Breadth, and the most that it lets pass.
const MAX_BREADTH: u8 = 60;

/// How many branches a request may be split into in all: what its Max-Breadth says, at most 60.
pub(super) fn max_breadth(message: &Message<'_>) -> u8 {
    let asked = message.max_breadth().unwrap_or(MAX_BREADTH.into());
    u8::try_from(asked).map_or(MAX_BREADTH, |asked| asked.min(MAX_BREADTH))
}

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// The next hop.
    pub to: SocketAddr,
    /// The listen from which it leaves.
    pub listen: ListenIndex,
    /// How many of the topmost Route values are ours, to be taken away.
    pub routes: usize,
    /// The hostport in the Request-URI that names us, to be replaced by the next hop's.
    pub our_host: Option<Span>,
    /// What of the request's Max-Breadth goes with it, see [`max_breadth`].
    pub breadth: u8,
    /// Of the request as it came.
    pub marks: Marks,
}

impl Proxy {
    /// True where a request may take a server transaction and a client transaction for its first
    /// branch. `sender` says whose request of which call it is.
    ///
    /// Work in progress goes on: all leave a slot for the BYE of every call, which none but the
    /// first BYE of a known call takes. What is of no known call leaves a part to what is: a session
    /// that cannot be refreshed ends (RFC 4028 §10), and so does a call whose PRACK is refused.
    fn has_room_for(&self, message: &Message<'_>, sender: Option<Sender>) -> bool {
        let taken = self.clients.count().max(self.servers.count());
        if self.has_room_for_new_work(taken) {
            return true;
        }
        let free = self.servers.capacity() as usize - taken;
        let Some(sender) = sender else {
            return false;
        };
        free > self.calls.count() || free > 0 && self.is_first_bye(message, sender)
    }

    /// True where so many slots are taken that what is of no known call may take one more.
    pub(super) fn has_room_for_new_work(&self, taken: usize) -> bool {
        let capacity = self.servers.capacity();
        let spared = self.calls.count() + (capacity / IN_PROGRESS_PART) as usize;
        taken + spared < capacity as usize
    }

    /// True for a BYE of a call of whose dialog no BYE is under way.
    fn is_first_bye(&self, message: &Message<'_>, sender: Sender) -> bool {
        let Some(call) = self.calls.get(sender.call) else {
            return false;
        };
        let dialog = self.dialog_of(message, sender.party, call.sides);
        message.method() == Method::Bye && !self.is_known(dialog)
    }

    /// RFC 3261 §16.6 step 4: one value where both sides are the same listen, else one for
    /// each side, the callee's on top.
    pub(super) fn record_route(
        &mut self,
        message: &Message<'_>,
        cookie: &Cookie,
    ) -> Result<(), edit::Refused> {
        let tag = message.from_tag().unwrap_or_default();
        let sides = cookie.sides;
        let cookie = self.identity.cookie(message.call_id(), tag, cookie);
        let both = [sides.callee, sides.caller].map(|listen| {
            let advertised = &self.advertised[usize::from(listen.0)];
            [advertised.record_route(), cookie.bytes()]
        });
        let count = if sides.callee == sides.caller { 1 } else { 2 };
        edit::insert_record_routes(message, &mut self.splices, &both[..count])
    }

    /// The edits that every forwarded request gets (RFC 3261 §16.6): the source in its top
    /// Via, our Via above it, one hop less, our Route values and what was meant for us gone.
    fn edit_request(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        way: Way,
        branch: &[u8],
    ) -> Result<(), edit::Refused> {
        self.remove_claims(message, arrival)?;
        let ours = self.advertised[usize::from(way.listen.0)].sent_by();
        let splices = &mut self.splices;
        edit::stamp_via(message, splices, arrival.source)?;
        edit::insert_via(message, splices, ours, branch)?;
        let hops = message.max_forwards().map_or(MAX_FORWARDS, |hops| {
            hops.saturating_sub(1).min(MAX_FORWARDS)
        });
        edit::set_limits(message, splices, hops, way.breadth)?;
        // RFC 3261 §16.6 step 6: what begins no dialog yet goes to its trunk, a loose router,
        // whatever its Route names (step 7).
        if message.to_tag().is_some() && strict::is_next(message, way.routes) {
            return strict::wind(message, splices, way.routes);
        }
        if way.routes > 0 {
            edit::remove_routes(message, splices, way.routes)?;
        }
        if let Some(our_host) = way.our_host {
            let mut host = [0; SENT_BY_LEN];
            let host_len = sent_by(way.to, &mut host);
            splices.replace(our_host, &host[..host_len])?;
        }
        Ok(())
    }

    /// Makes the two transactions of a request that goes one way, and sends it on; the client
    /// transaction. The splices so far are kept. `sender` says whose request of which call it
    /// is.
    pub(super) fn forward(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        way: Way,
        sender: Option<Sender>,
        step: &mut Step<'_>,
    ) -> Result<Id, u16> {
        let server = self.open_server(message, arrival, key, sender, step)?;
        let sent = self.send_branch(message, arrival, way, server, sender, step);
        self.settle_server(message, arrival, server, sent.map(Branches::One), step)?;
        sent
    }

    /// Makes the server transaction of a request that is to be sent on.
    pub(super) fn open_server(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        sender: Option<Sender>,
        step: &mut Step<'_>,
    ) -> Result<Id, u16> {
        // One that was parked has it already.
        if let Some(id) = self.transactions.get(key) {
            return Ok(id);
        }
        let invite = message.method() == Method::Invite;
        let reply_to = self.reply_to(message, arrival.source).into();
        let server = Server::new(key, invite, reply_to, arrival.listen, step.now);
        let id = if self.has_room_for(message, sender) {
            self.servers.insert(server)
        } else {
            None
        };
        let Some(id) = id else {
            step.counters.count(Counter::TransactionsRefused);
            return Err(503);
        };
        self.transactions.insert(key, id);
        self.arm_server(id);
        Ok(id)
    }

    /// A server transaction has its branches, or there is nothing left of it.
    pub(super) fn settle_server(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        id: Id,
        sent: Result<Branches, u16>,
        step: &mut Step<'_>,
    ) -> Result<(), u16> {
        match sent {
            Ok(branches) => {
                if let Some(server) = self.servers.get_mut(id) {
                    server.branches = branches;
                }
                self.try_100(message, arrival, id, step);
            }
            Err(_) => self.end_server(id),
        }
        sent.map(|_| ())
    }

    /// Sends a request on by a client transaction of its own, for this server transaction
    /// (RFC 3261 §16.6 step 10). The splices so far are kept.
    pub(super) fn send_branch(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        way: Way,
        server: Id,
        sender: Option<Sender>,
        step: &mut Step<'_>,
    ) -> Result<Id, u16> {
        let Some(id) = self.clients.vacant() else {
            step.counters.count(Counter::TransactionsRefused);
            return Err(503);
        };
        let branch = self
            .identity
            .branch(Kind::Stateful, id, way.marks.loop_hash);
        self.edit_request(message, arrival, way, &branch)
            .map_err(unedited_status)?;
        let room = step.effects.room();
        let len = self
            .splices
            .write(message.bytes(), room)
            .map_err(|_| 513_u16)?;
        let Some(kept) = self.kept.put(&room[..len]) else {
            step.counters.count(Counter::KeptExhausted);
            return Err(503);
        };
        step.effects.send(len, way.to, way.listen);
        let (to, listen) = (way.to.into(), way.listen);
        let mut client = Client::new(message.method(), way.marks, to, listen, kept, step.now);
        client.server = Some(server);
        client.sender = sender;
        // There is room: it was looked at above.
        let id = self.clients.insert(client).ok_or(503_u16)?;
        self.arm_client(id);
        Ok(id)
    }

    /// RFC 3261 §17.2.1: an INVITE gets a 100 at once, so that it is not repeated.
    pub(super) fn try_100(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        server: Id,
        step: &mut Step<'_>,
    ) {
        // One that was parked has had it.
        let has_had = |server: &Server| server.response.is_some();
        if self.servers.get(server).is_some_and(has_had) {
            return;
        }
        let Some((len, to)) = self.write_100(message, arrival, step) else {
            return;
        };
        let bytes = step.effects.send(len, to, arrival.listen);
        if let Some(server) = self.servers.get_mut(server) {
            server.response = self.kept.put(bytes);
        }
    }

    /// Writes the 100 to an INVITE; its length, and where it goes.
    pub(super) fn write_100(
        &self,
        message: &Message<'_>,
        arrival: Arrival,
        step: &mut Step<'_>,
    ) -> Option<(usize, SocketAddr)> {
        if message.method() != Method::Invite {
            return None;
        }
        let response = build::Response {
            source: Some(arrival.source),
            ..build::Response::new(100)
        };
        let len = build::response(message, &response, step.effects.room()).ok()?;
        Some((len, self.reply_to(message, arrival.source)))
    }

    /// What decides where a request goes (RFC 3261 §16.6 step 8): the trunk that it comes from,
    /// Request-URI and Routes; and what tells it from others, which is its [`Proxy::echo`]. The
    /// method is excluded so that CANCEL and ACK have their INVITE's, and the To tag, which the ACK
    /// to a failure has more.
    pub(super) fn way_hash(&self, message: &Message<'_>, arrival: Arrival, echo: u64) -> u64 {
        let uri = message
            .request_uri()
            .map_or(&[][..], |uri| message.text(uri));
        // A request of a dialog takes its Routes off one by one: the same one on top is not yet
        // the same way.
        let mut routes = message.routes().map_while(Result::ok);
        let route = routes.next().map(|route| message.text(route.address.uri));
        let routes_below = routes.count();
        let trunk = self.dial.trunk_of(arrival.source.ip());
        let hash = self
            .identity
            .hash()
            .text(route.unwrap_or_default())
            .text(uri)
            .word(routes_below as u64)
            .word(echo);
        hash.finish(What::Way.with(trunk.map_or(u64::MAX >> 16, |trunk| trunk.0.into())))
    }

    /// RFC 3261 §16.3 step 4: true for a request that we sent to ourselves and have passed on
    /// before, just as it is now. One that goes another way this time is a spiral and passes.
    /// Who brings back what left the box ends by Max-Forwards.
    pub(super) fn is_loop(&self, message: &Message<'_>, arrival: Arrival) -> bool {
        if !self.is_listen(arrival.source) {
            return false;
        }
        let Marks { loop_hash, .. } = self.marks(message, arrival);
        // No way of ours is longer, whatever Vias somebody has stacked up below.
        let vias = message.vias().take(MAX_FORWARDS.into());
        let mut branches =
            vias.map_while(|via| self.identity.read_branch(message.text(via.branch?)).ok());
        branches.any(|branch| branch.loop_hash == loop_hash)
    }

    /// Forwards without a transaction: an ACK to a 2xx (RFC 3261 §16.11).
    pub(super) fn forward_ack(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        key: u64,
        way: Way,
        step: &mut Step<'_>,
    ) -> Counter {
        let id = self.ack_id(key);
        self.send_on(message, arrival, way, Kind::Ack, id, step)
    }

    /// What stands in the branch of an ACK to a 2xx: made of the key of the request, so that a
    /// repetition has the same, but hashed once more, since whoever gets the ACK must not see in
    /// which order the index has its keys.
    fn ack_id(&self, key: u64) -> Id {
        let hash = self.identity.hash().word(key).finish(What::Ack.with(0));
        let [a, b, c, d, e, f, ..] = hash.to_be_bytes();
        Id::new(u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([e, f]))
    }

    /// Edits and sends a request that no client transaction carries.
    pub(super) fn send_on(
        &mut self,
        message: &Message<'_>,
        arrival: Arrival,
        way: Way,
        kind: Kind,
        id: Id,
        step: &mut Step<'_>,
    ) -> Counter {
        let branch = self.identity.branch(kind, id, way.marks.loop_hash);
        if let Err(refused) = self.edit_request(message, arrival, way, &branch) {
            return unedited(refused);
        }
        match self.send_spliced(message, way.to, way.listen, step.effects) {
            Ok(_) => Counter::SipForwarded,
            Err(outcome) => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::WorkerId;
    use crate::lab;
    use crate::settings::Capacity;

    #[test]
    fn the_branch_of_an_ack_shows_nothing_of_its_key() {
        let mut settings = lab::settings(1);
        settings.capacity = Capacity::SMALL;
        let proxy = Proxy::new(WorkerId(0), &settings);
        let [id, next] = [1 << 63, (1 << 63) + 1].map(|key| proxy.ack_id(key));
        assert_ne!(id.slot, 1 << 31);
        assert_ne!(id.slot, next.slot);
        assert_eq!(id, proxy.ack_id(1 << 63));
    }
}
