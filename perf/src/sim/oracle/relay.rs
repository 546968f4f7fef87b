//! Media: what enters as it should leaves as it entered, and nothing else does.

use std::collections::HashMap;
use std::collections::HashSet;
use std::collections::VecDeque;
use std::rc::Rc;

use super::Fault;
use crate::sim::media;
use crate::sim::media::Fate;
use crate::sim::network::Packet;
use crate::sim::site::Site;

/// What came to ports of a parity, of a party.
type Queue = (Way, VecDeque<Rc<[u8]>>);
type Way = (u16, u8);

/// The media of all calls at one box.
#[derive(Debug, Default)]
pub(super) struct Relay {
    /// What entered and has not left, in order, by call and port parity.
    waiting: HashMap<usize, Vec<Queue>>,
    /// What must leave before the step ends.
    owed: Vec<(usize, Rc<[u8]>)>,
    /// Calls that began before the last restart, whose media the box has forgotten.
    forgotten: HashSet<usize>,
    pub count: u64,
}

impl Relay {
    pub fn enters(&mut self, packet: &Packet, payload: &Rc<[u8]>) {
        let Some(label) = media::read(payload) else {
            return;
        };
        let parity = packet.destination.port() & 1;
        let queues = self.waiting.entry(label.call).or_default();
        let way = (parity, label.from);
        match queues.iter_mut().find(|(known, _)| *known == way) {
            Some((_, queue)) => queue.push_back(payload.clone()),
            None => queues.push((way, VecDeque::from([payload.clone()]))),
        }
        if label.fate == Fate::Passes && !self.forgotten.contains(&label.call) {
            self.owed.push((label.call, payload.clone()));
        }
    }

    pub fn leaves(
        &mut self,
        site: &Site,
        side: usize,
        packet: &Packet,
        payload: &Rc<[u8]>,
    ) -> Result<(), Fault> {
        self.count += 1;
        let label = media::read(payload).ok_or_else(|| Fault::general("media that nobody sent"))?;
        let fault = |why: &str| Fault {
            call: Some(label.call),
            why: why.to_owned(),
        };
        if !site.is_relay(side, packet.source) {
            return Err(fault("media from no relay port"));
        }
        if label.fate == Fate::Never {
            return Err(fault("media that must not pass has passed"));
        }
        let parity = packet.source.port() & 1;
        let queues = self.waiting.entry(label.call).or_default();
        let way = (parity, label.from);
        let Some((_, queue)) = queues.iter_mut().find(|(known, _)| *known == way) else {
            return Err(fault("media that did not come"));
        };
        let Some(at) = queue.iter().position(|waiting| waiting == payload) else {
            return Err(fault("media changed, repeated or out of its order"));
        };
        queue.drain(..=at);
        if let Some(at) = self.owed.iter().position(|(_, owed)| owed == payload) {
            self.owed.remove(at);
        }
        Ok(())
    }

    pub fn settle(&mut self) -> Result<(), Fault> {
        let Some((call, payload)) = self.owed.pop() else {
            return Ok(());
        };
        let text = String::from_utf8_lossy(payload.get(12..24).unwrap_or_default()).into_owned();
        Err(Fault {
            call: Some(call),
            why: format!("media was not forwarded: {text}"),
        })
    }

    /// Flows do not outlive the box.
    pub fn restarts(&mut self, calls: impl Iterator<Item = usize>) {
        self.owed.clear();
        self.forgotten.extend(calls);
    }

    pub fn forget(&mut self, call: usize) {
        self.waiting.remove(&call);
        self.forgotten.remove(&call);
    }
}
