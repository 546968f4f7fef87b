//! Mail to a worker: from other workers, from control and from itself.

use super::Worker;
use super::capture::Heard;
use super::sip::sip;
use crate::capture::Layer;
use crate::counters::Counter;
use crate::mailbox::Mail;
use crate::mailbox::Origin;
use crate::mailbox::SipMail;
use crate::ring::Rings;
use crate::samples::Stage;
use crate::sip::proxy::Arrival;
use crate::sip::proxy::Step;
use crate::sip::undelivered::Undelivered;
use crate::tick::Tick;

impl<R: Rings> Worker<R> {
    /// Reads every mailbox to the level that it has now.
    pub(super) fn read_mail(&mut self, now: Tick) -> bool {
        let mut worked = false;
        for inbox in 0..self.post.inboxes.len() {
            for _ in 0..self.post.inboxes[inbox].waiting() {
                let Some(mail) = self.post.inboxes[inbox].take() else {
                    break;
                };
                worked = true;
                match mail {
                    Mail::Sip(mail) => self.take_up_mail(inbox, &mail, now),
                    Mail::Undelivered(what) => self.take_up_undelivered(&what, now),
                    Mail::Flow(change) => self.change_flow(&change),
                    Mail::Network(network) => self.replace_network(network),
                    Mail::Query(query) => self.operator.ask(query),
                    Mail::Capture(order) => self.begin_capture(order),
                    Mail::CaptureEnd { id } => self.end_capture(id),
                    Mail::CaptureCall { order, call } => self.post.tap.learn(order, call),
                    Mail::Samples(empty) => self.hand_over_samples(empty),
                    Mail::Said {
                        question,
                        who,
                        said,
                    } => self.proxy.said(question, &who, said, now),
                    Mail::Forget(who) => self.proxy.forget_subscriber(&who),
                    Mail::Doubt => self.proxy.doubt_subscribers(now),
                    Mail::NonceUse(of) => self.note_use(&of),
                    Mail::NonceUsed { ticket, used } => self.proxy.used(ticket, used),
                    Mail::Place(word) => self.hear_of_place(word),
                    Mail::Guard(word) => self.hear(word, now),
                    Mail::Heard(heard) => self.proxy.heard(heard, now),
                    Mail::Stop => self.stopped = true,
                    Mail::Locate(_)
                    | Mail::Located { .. }
                    | Mail::Unlocated { .. }
                    | Mail::Bound(_)
                    | Mail::Unbound(_)
                    | Mail::Sought { .. }
                    | Mail::Loading
                    | Mail::Loaded => self.take_up_location(inbox, mail, now),
                }
            }
        }
        worked
    }

    fn take_up_mail(&mut self, inbox: usize, mail: &SipMail, now: Tick) {
        self.counters.count(match mail.origin {
            Origin::Worker => Counter::MailIn,
            Origin::Kernel => Counter::KernelIn,
            Origin::Own => Counter::OwnIn,
        });
        let len = self.post.inboxes[inbox].take_bytes(mail.len, &mut self.letter);
        let arrival = Arrival {
            source: mail.source,
            listen: mail.listen,
        };
        let message = &self.letter[..len];
        let layer = Layer::Datagram {
            source: mail.source,
            destination: self.listens[usize::from(mail.listen.0)],
        };
        // What another worker mailed was captured there, and our own when it was sent.
        let is_kernels = mail.origin == Origin::Kernel;
        if is_kernels && let Some(outcome) = self.proxy.turned_away(mail.source.ip(), now) {
            self.counters.count(outcome);
            return;
        }
        let packet = is_kernels.then_some((layer, message));
        let heard = Heard { message, packet };
        self.stopwatch.start();
        let mut step = Step {
            now,
            effects: &mut self.effects,
            counters: &mut self.counters,
        };
        let (post, stopwatch) = (&mut self.post, &mut self.stopwatch);
        let outcome = sip(&mut self.proxy, post, stopwatch, heard, arrival, &mut step);
        self.stopwatch.sip();
        self.counters.count(outcome);
        self.carry_out(now);
        self.stopwatch.lap(Stage::SipSend);
    }

    fn take_up_undelivered(&mut self, what: &Undelivered, now: Tick) {
        let mut step = Step {
            now,
            effects: &mut self.effects,
            counters: &mut self.counters,
        };
        self.proxy.undelivered(what, &mut step);
        self.carry_out(now);
    }
}
