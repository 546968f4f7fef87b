//! Carrying out what the SIP core decided: flows first, then messages.

use std::net::IpAddr;

use super::Worker;
use super::capture::capture_sent;
use crate::capture::Layer;
use crate::counters::Counter;
use crate::frame::FRAME_LEN_MAX;
use crate::ids::InterfaceIndex;
use crate::ids::Lane;
use crate::ids::WorkerId;
use crate::interfaces::Row;
use crate::mailbox::Mail;
use crate::mailbox::Report;
use crate::media::FlowChange;
use crate::media::Opened;
use crate::ring::Rings;
use crate::route::Network;
use crate::route::Unresolved;
use crate::sip::effects::NonceUse;
use crate::sip::effects::Question;
use crate::sip::effects::Send;
use crate::sip::guard::Word;
use crate::sip::places::Granted;
use crate::sip::places::PlaceWord;
use crate::sip::places::Seek;
use crate::sip::proxy::Step;
use crate::tick::Tick;
use crate::wire;
use crate::wire::Ethernet;

/// The largest frame that there is.
const FRAME_BYTES_MAX: usize = FRAME_LEN_MAX as usize;

impl<R: Rings> Worker<R> {
    /// Carries out all effects of one input. The others learn of a new flow before the
    /// message that names its port leaves, unless a mailbox is full: then the message goes
    /// first, and that is counted.
    pub(super) fn carry_out(&mut self, now: Tick) {
        if self.post.tap.is_on() {
            self.tell_captured_call();
        }
        for at in 0..self.effects.flows().len() {
            let change = self.effects.flows()[at];
            self.change_flow(&change);
            for outbox in self.post.outboxes.iter_mut().flatten() {
                if !outbox.post_flow(change) {
                    self.counters.count(Counter::FlowMailsLost);
                } else if outbox.has_backlog() {
                    self.counters.count(Counter::FlowMailsDelayed);
                }
            }
        }
        for at in 0..self.effects.sends().len() {
            let send = self.effects.sends()[at].clone();
            self.counters.count(Counter::SipToSend);
            let outcome = self.deliver(&send, now);
            self.counters.count(outcome);
        }
        for at in 0..self.effects.questions().len() {
            let question = self.effects.questions()[at];
            self.ask(question, now);
        }
        if let Some((owner, heard)) = self.effects.heard() {
            self.mail(owner, Mail::Heard(heard));
        }
        self.effects.clear();
    }

    /// Asks control or another worker. A question that finds no room is lost: whoever waits for its
    /// answer has a deadline.
    fn ask(&mut self, question: Question, now: Tick) {
        match question {
            Question::Store { question, who } => {
                let report = Report::Ask { question, who };
                if self.post.reports.send(report).is_err() {
                    self.counters.count(Counter::ReportsLost);
                }
            }
            Question::Nonce { maker, of } => self.mail(maker, Mail::NonceUse(of)),
            Question::Contacts { keeper, of } => self.mail(keeper, Mail::Locate(of)),
            Question::Place(of) => self.mail(of.keeper, Mail::Place(PlaceWord::Seek(of))),
            Question::Guard { to, word } => self.tell(to, word),
            Question::Seek(of) => self.seek(&of, now),
        }
    }

    /// Answers another worker that asks of a nonce of ours.
    pub(super) fn note_use(&mut self, of: &NonceUse) {
        let used = self.proxy.note_use(of);
        let ticket = of.ticket;
        self.mail(of.asker, Mail::NonceUsed { ticket, used });
    }

    pub(super) fn mail(&mut self, to: WorkerId, mail: Mail) {
        let outbox = self.post.outboxes.get_mut(usize::from(to.0));
        if !outbox
            .and_then(Option::as_mut)
            .is_some_and(|outbox| outbox.post_question(mail))
        {
            self.counters.count(Counter::QuestionMailsLost);
        }
    }

    /// Takes up what another worker tells of the calls of a subscriber.
    pub(super) fn hear_of_place(&mut self, word: PlaceWord) {
        match word {
            PlaceWord::Seek(of) => self.place(of),
            PlaceWord::Granted(of, granted) => self.proxy.placed(of, granted),
            PlaceWord::Back(subscriber) => self.proxy.place_back(subscriber),
        }
    }

    /// Answers another worker that seeks a place for a call of a subscriber. What it does not hear of
    /// it has not got.
    fn place(&mut self, of: Seek) {
        let granted = self.proxy.take_place(&of);
        let outbox = self.post.outboxes.get_mut(usize::from(of.asker.0));
        let mail = Mail::Place(PlaceWord::Granted(of, granted));
        let is_told = outbox
            .and_then(Option::as_mut)
            .is_some_and(|outbox| outbox.post_in_order(mail));
        if !is_told {
            self.counters.count(Counter::QuestionMailsLost);
            if granted == Granted::Yes {
                self.proxy.place_back(of.subscriber);
            }
        }
    }

    /// Tells keepers of places that are given back. What finds no room is told later.
    fn give_places_back(&mut self) {
        while let Some((keeper, subscriber)) = self.proxy.next_place_back() {
            let outbox = self.post.outboxes.get_mut(usize::from(keeper.0));
            let is_told = outbox.and_then(Option::as_mut).is_some_and(|outbox| {
                outbox.post_in_order(Mail::Place(PlaceWord::Back(subscriber)))
            });
            if !is_told {
                return self.proxy.return_place((keeper, subscriber));
            }
        }
    }

    /// The outcome of a SIP frame that is not looked at, because of where it came from.
    pub(super) fn turned_away(&mut self, source: IpAddr, now: Tick) -> Option<Counter> {
        match self.is_ours(source) {
            true => Some(Counter::SipSourceOurs),
            false => self.proxy.turned_away(source, now),
        }
    }

    /// True for an address of this host. What it sends to itself never was a frame, and the kernel,
    /// which drops such frames as martians, is not asked: nobody on the wire speaks as us.
    fn is_ours(&self, source: IpAddr) -> bool {
        self.listens.iter().any(|listen| listen.ip() == source) || self.network.is_our_own(source)
    }

    /// Tells another worker of a source, or every other. A failure more or less is no matter; what a
    /// keeper says is.
    fn tell(&mut self, to: Option<WorkerId>, word: Word) {
        if let (Some(keeper), Word::Failed(_)) = (to, word) {
            return self.mail(keeper, Mail::Guard(word));
        }
        for at in 0..self.post.outboxes.len() {
            if to.is_none_or(|to| usize::from(to.0) == at)
                && let Some(outbox) = &mut self.post.outboxes[at]
                && !outbox.post_in_order(Mail::Guard(word))
            {
                self.counters.count(Counter::QuestionMailsLost);
            }
        }
    }

    /// Takes up what is told of a source.
    pub(super) fn hear(&mut self, word: Word, now: Tick) {
        let mut step = Step {
            now,
            effects: &mut self.effects,
            counters: &mut self.counters,
        };
        self.proxy.hear(word, &mut step);
        self.carry_out(now);
    }

    /// What the core owes others: places to be given back, and a look for bindings of sources that are to
    /// be banned.
    pub(super) fn pay_debts(&mut self, now: Tick) -> bool {
        self.give_places_back();
        if !self.proxy.has_walk() {
            return false;
        }
        let mut step = Step {
            now,
            effects: &mut self.effects,
            counters: &mut self.counters,
        };
        self.proxy.walk(&mut step);
        self.carry_out(now);
        true
    }

    /// Opens, changes or closes a flow in this worker's table.
    pub(super) fn change_flow(&mut self, change: &FlowChange) {
        match *change {
            FlowChange::Open(spec) => {
                if self.flows.open(&spec) == Opened::New {
                    self.counters.count(Counter::FlowsOpened);
                }
            }
            FlowChange::Close { local, call } => {
                if let Some(report) = self.flows.close(local, call) {
                    self.counters.count(Counter::FlowsClosed);
                    if report.drops > 0 {
                        self.counters.count(Counter::FlowsClosedWithDrops);
                    }
                }
            }
        }
    }

    /// Puts a SIP message on a transmit ring, or hands it to the kernel where no ring takes
    /// it, and says how that went.
    pub(super) fn send(&mut self, send: &Send, now: Tick) -> Counter {
        let source = self.listens[usize::from(send.listen.0)];
        if source.is_ipv4() != send.to.is_ipv4() {
            return Counter::SipNoRoute;
        }
        let hop = match self.network.resolve(send.to.ip()) {
            Ok(hop) => hop,
            Err(Unresolved::NoNeighbour { interface, address }) => {
                self.solicit(interface, address);
                return self.send_by_kernel(send, Counter::SipNoNeighbour, now);
            }
            Err(Unresolved::OtherInterface) => {
                return self.send_by_kernel(send, Counter::SipOtherInterface, now);
            }
            Err(Unresolved::OurOwn) => {
                return self.send_by_kernel(send, Counter::SipOwnAddress, now);
            }
            Err(Unresolved::NoRoute) => return Counter::SipNoRoute,
            Err(Unresolved::LinkDown { .. }) => return Counter::SipLinkDown,
            Err(Unresolved::NotUnicast) => return Counter::SipNotUnicast,
        };
        let message = self.effects.bytes(send);
        let Row { vlan, device, .. } = self.interfaces.get(hop.interface);
        let headers_len = wire::headers_len(&vlan, send.to.ip());
        let packet_len = wire::ip_headers_len(send.to.ip()) + message.len();
        // A link may take larger packets than our frames hold.
        if packet_len > usize::from(hop.mtu) || headers_len + message.len() > FRAME_BYTES_MAX {
            return self.send_by_kernel(send, Counter::SipOverMtu, now);
        }
        let Some(mut frame) = self.rings.allocate(headers_len + message.len()) else {
            return Counter::SipNoFrame;
        };
        let bytes = self.rings.bytes_mut(&mut frame);
        bytes[headers_len..].copy_from_slice(message);
        let ethernet = Ethernet {
            destination: hop.dst_mac,
            source: hop.src_mac,
        };
        // The frame was allocated for exactly this, so the headers fit.
        let _ = wire::write_headers(bytes, &ethernet, &vlan, source, send.to, message.len());
        wire::fill_udp_checksum(bytes);
        if self.post.tap.is_on() {
            let layer = Layer::Frame(hop.interface);
            capture_sent(
                message,
                (layer, bytes),
                &mut self.post.tap,
                &mut self.counters,
                now,
            );
        }
        match self.rings.transmit(device, Lane::of_peer(send.to), frame) {
            Ok(()) => Counter::SipSent,
            Err(frame) => {
                self.rings.free(frame);
                Counter::SipTxFull
            }
        }
    }

    /// Asks control to have the kernel find a neighbour, unless it was just asked.
    pub(super) fn solicit(&mut self, interface: InterfaceIndex, address: IpAddr) {
        if self
            .operator
            .solicited(interface, address, self.network.epoch())
        {
            return;
        }
        if self
            .post
            .reports
            .send(Report::Solicit { interface, address })
            .is_err()
        {
            self.counters.count(Counter::ReportsLost);
        }
    }

    /// Takes the new network and hands the old one back to be freed.
    pub(super) fn replace_network(&mut self, network: Box<Network>) {
        let old = std::mem::replace(&mut self.network, network);
        // Without room the box is freed here: that is slow once, but loses nothing.
        let _ = self.post.reports.send(Report::Network(old));
    }
}
