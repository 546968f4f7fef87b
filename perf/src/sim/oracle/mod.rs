//! What a proxy and a relay must do, said once more and independently, from the RFCs: one
//! oracle a box, which sees every datagram that reaches the box and every one that leaves it.
//!
//! - `ledger`: what it remembers of a call
//! - `requests`: what may leave as a request, and what came in as one
//! - `responses`: the same of responses
//! - `choice`: which final response may go upstream
//! - `stateless`: both, where the box keeps no state
//! - `guard`, `subscribers`: who may pass as a subscriber, and which of their requests wait
//! - `registrar`: where they are to be called; `located`: the requests to them
//! - `edits`: what a message must look like behind the box
//! - `relay`: the media
//!
//! What a message obliges the box to do is *owed*: it must leave before the step ends.

mod challenge;
mod choice;
mod edits;
mod guard;
mod ledger;
mod located;
mod registrar;
mod relay;
mod requests;
mod responses;
mod stateless;
mod subscribers;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use trunkline_dataplane::tick::Tick;

use self::guard::Guard;
use self::ledger::Ledger;
use self::located::Searches;
use self::registrar::Registrar;
use self::relay::Relay;
use super::network::Body;
use super::network::Packet;
use super::sip::Sip;
use super::site::Site;

/// A batch of timers is late by a bucket of the wheel, and by what the simulator is.
const LATE_MS: u64 = 20;
/// RFC 3261 §17: how long a transaction sends again, and lingers.
const T1_64_MS: u64 = 32_000;
/// Timer C (RFC 3261 §16.6 step 11): more than three minutes, and no longer than four.
const TIMER_C_MIN_MS: u64 = 180_000;
/// The longest that it takes.
const TIMER_C_MS: u64 = 240_000;

/// What must leave before the step ends.
#[derive(Clone, Debug)]
enum Owed {
    /// Something for a new request: a final answer, or the request itself.
    TakenUp(usize),
    /// A 100 for an INVITE that waits.
    Trying(usize),
    /// The 487 to one that was cancelled.
    Cancelled(usize),
    /// This response, upstream.
    Up(usize, Rc<Sip>),
    /// The ACK to the failure of what was sent.
    Ack(usize),
    /// A CANCEL of what was sent.
    Cancel(usize),
    /// A final response, or the request to a further target.
    Decision(usize),
    /// ACK and BYE for a 2xx that comes too late (its To tag).
    Bye(usize, String),
    /// This copy of a request, to its one target, without state.
    On(usize),
    /// This copy of a response to what was sent, without state.
    Back(usize, Rc<Sip>),
}

/// The oracle of a box.
#[derive(Debug)]
pub struct Oracle {
    site: Site,
    workers: u8,
    /// Which start of the box this is.
    epoch: u16,
    /// When it was.
    started: Tick,
    calls: HashMap<usize, Ledger>,
    owed: Vec<(usize, Owed)>,
    relay: Relay,
    /// Of a box with a domain.
    guard: Option<Guard>,
    registrar: Registrar,
    located: Searches,
    /// More calls than the tables hold: the box may refuse what is new.
    crowded: bool,
    /// The To tags of the box's own responses, and the call that got each.
    tags: HashMap<String, usize>,
    /// SIP messages that left.
    pub sip_count: u64,
}

/// What left was wrong: the call it is about, and why.
#[derive(Debug)]
pub struct Fault {
    /// The call's number, where it is known.
    pub call: Option<usize>,
    /// What is wrong.
    pub why: String,
}

impl Fault {
    /// One that is of no call.
    #[must_use]
    pub fn general(why: impl Into<String>) -> Fault {
        Fault {
            call: None,
            why: why.into(),
        }
    }
}

impl Oracle {
    /// One that knows where the box stands, and how many workers it has.
    #[must_use]
    pub fn new(site: Site, workers: u8, crowded: bool) -> Oracle {
        Oracle {
            site,
            workers,
            guard: site.domain.map(Guard::new),
            registrar: Registrar::new(site.kept()),
            located: Searches::default(),
            epoch: 0,
            started: Tick(0),
            calls: HashMap::new(),
            owed: Vec::new(),
            relay: Relay::default(),
            crowded,
            tags: HashMap::new(),
            sip_count: 0,
        }
    }

    /// The box has forgotten everything but its cookie keys, and has so many workers now.
    pub fn restarts(&mut self, now: Tick, workers: u8) {
        self.epoch += 1;
        self.workers = workers;
        if let Some(guard) = &mut self.guard {
            guard.restarts();
        }
        self.registrar.restarts();
        self.located.restarts();
        self.started = now;
        self.owed.clear();
        self.relay.restarts(self.calls.keys().copied());
    }

    /// Another box has forgotten the calls: this one may not know where their media is now.
    pub fn neighbour_restarts(&mut self) {
        self.relay.restarts(self.calls.keys().copied());
    }

    /// Media packets that left.
    #[must_use]
    pub const fn media_count(&self) -> u64 {
        self.relay.count
    }

    /// A datagram reaches the box undamaged.
    pub fn enters(&mut self, now: Tick, packet: &Packet) {
        if self.site.side_of(packet.source.ip()).is_none() {
            return;
        }
        match &packet.body {
            Body::Raw(payload) => self.relay.enters(packet, payload),
            Body::Unreachable(sip) => self.undelivered(now, packet.source, sip),
            Body::Sip(sip) => {
                let Some(call) = sip.call() else { return };
                let mut ledger = self.calls.remove(&call).unwrap_or_default();
                if sip.status().is_some() {
                    self.response_enters(now, call, &mut ledger, sip);
                } else {
                    self.request_enters(now, call, &mut ledger, packet, sip);
                }
                self.calls.insert(call, ledger);
            }
        }
    }

    /// A datagram leaves the box towards `side`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn leaves(&mut self, now: Tick, side: usize, packet: &Packet) -> Result<(), Fault> {
        match &packet.body {
            Body::Raw(payload) => self.relay.leaves(&self.site, side, packet, payload),
            Body::Unreachable(_) => Ok(()),
            Body::Sip(sip) => {
                self.sip_count += 1;
                let call = sip.call();
                let fault = |why: String| Fault {
                    call,
                    why: format!("{}: {why}", sip.name()),
                };
                if packet.source != self.site.listen(side) {
                    return Err(fault(format!("from {}", packet.source)));
                }
                let call = call.ok_or_else(|| fault("no call".to_owned()))?;
                let mut ledger = self.calls.remove(&call).unwrap_or_default();
                let seen = if sip.status().is_some() {
                    self.response_leaves(now, call, &mut ledger, packet, sip)
                } else {
                    self.request_leaves(now, call, &mut ledger, packet, sip)
                };
                self.calls.insert(call, ledger);
                seen.map_err(fault)
            }
        }
    }

    /// The step ends: nothing may be owed.
    ///
    /// # Errors
    /// What did not leave.
    pub fn settle(&mut self) -> Result<(), Fault> {
        self.relay.settle()?;
        if self.crowded {
            self.owed.clear();
        }
        match self.owed.pop() {
            None => Ok(()),
            Some((call, owed)) => {
                let ledger = self.calls.get(&call);
                let why = ledger.map_or_else(String::new, |ledger| ledger.describe(&owed));
                Err(Fault {
                    call: Some(call),
                    why,
                })
            }
        }
    }

    fn owe(&mut self, call: usize, owed: Owed) {
        self.owed.push((call, owed));
    }

    fn paid(&mut self, call: usize, is_it: impl Fn(&Owed) -> bool) {
        self.owed.retain(|(c, owed)| *c != call || !is_it(owed));
    }

    /// True where nothing of the call goes on at this box by itself.
    #[must_use]
    pub fn is_quiet(&self, call: usize, now: Tick) -> bool {
        let ledger = self.calls.get(&call);
        ledger.is_none_or(|ledger| ledger.is_quiet(self.epoch, now))
    }

    /// The call is over everywhere: everything in it must have come to its end.
    ///
    /// # Errors
    /// What has not.
    pub fn forget(&mut self, call: usize) -> Result<(), Fault> {
        self.relay.forget(call);
        self.located.forget(call);
        self.registrar.forget(call).map_err(|why| Fault {
            call: Some(call),
            why,
        })?;
        if let Some(guard) = &mut self.guard {
            guard.waiting.retain(|(of, _)| *of != call);
        }
        let Some(ledger) = self.calls.remove(&call) else {
            return Ok(());
        };
        for tag in ledger
            .asked
            .iter()
            .filter_map(|asked| asked.own_tag.as_ref())
        {
            self.tags.remove(tag);
        }
        ledger.ended(self.epoch, self.crowded).map_err(|why| Fault {
            call: Some(call),
            why,
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.why)
    }
}
