//! A call's relay ports and flows: taken, opened, moved, closed, given back.

use super::Proxy;
use super::Step;
use crate::counters::Counter;
use crate::ids::MediaIndex;
use crate::ids::WorkerId;
use crate::limits::PORT_QUARANTINE_MS;
use crate::limits::STREAMS_MAX;
use crate::media::CallRef;
use crate::media::FlowChange;
use crate::media::Ports;
use crate::media::ports;
use crate::settings::MediaRange;
use crate::settings::Settings;
use crate::sip::anchor::Leg;
use crate::sip::call::Call;
use crate::sip::report::LegReport;
use crate::sip::slab::Id;

/// This worker's slice of each media range.
pub(super) fn pools(worker: WorkerId, settings: &Settings) -> Vec<Ports> {
    let slice = |range: &MediaRange| {
        Ports::new(
            ports::slice(&range.ports, worker, settings.workers),
            PORT_QUARANTINE_MS,
        )
    };
    settings.media.iter().map(slice).collect()
}

impl Proxy {
    /// A pair of ports on each side.
    ///
    /// # Errors
    /// 503 where no port is free.
    pub(super) fn take_legs(
        &mut self,
        ranges: [MediaIndex; 2],
        step: &mut Step<'_>,
    ) -> Result<[Leg; 2], u16> {
        let mut take = |range: MediaIndex| {
            let pair = self.ports.get_mut(usize::from(range.0))?.take(step.now)?;
            Some(Leg { range, pair })
        };
        match (take(ranges[0]), take(ranges[1])) {
            (Some(caller), Some(callee)) => Ok([caller, callee]),
            (caller, callee) => {
                step.counters.count(Counter::MediaPortsExhausted);
                for leg in [caller, callee].into_iter().flatten() {
                    self.give_back(leg, step);
                }
                Err(503)
            }
        }
    }

    pub(super) fn give_back(&mut self, leg: Leg, step: &Step<'_>) {
        let returned = self.ports[usize::from(leg.range.0)].release(leg.pair, step.now);
        debug_assert!(
            returned.is_ok(),
            "a port was not of the slice that it came from"
        );
    }

    /// Has the flows follow where the parties have moved. A stream that neither is heard of
    /// any more is closed, and keeps its ports: a repetition of an older message names them.
    pub(super) fn move_flows(&mut self, id: Id, step: &mut Step<'_>) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let owner = call_ref(self.worker, id);
        for number in 0..STREAMS_MAX {
            let stream = self.anchors.stream_mut(&call.anchor, number);
            let Some(stream) = stream.filter(|stream| stream.moved) else {
                continue;
            };
            stream.moved = false;
            if stream.peers != [None; 2] {
                stream.open = true;
                stream.flows(&self.media, owner, |spec| {
                    step.effects.flow(FlowChange::Open(spec));
                });
            } else if std::mem::replace(&mut stream.open, false) {
                for local in stream.locals(&self.media) {
                    step.effects.flow(FlowChange::Close { local, call: owner });
                }
            }
        }
    }

    /// Closes the stream of m= line `number`, and lets its ports rest.
    pub(super) fn drop_stream(&mut self, id: Id, number: usize, step: &mut Step<'_>) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        let Some(stream) = self.anchors.take_stream(&mut call.anchor, number) else {
            return;
        };
        let call = call_ref(self.worker, id);
        if stream.open {
            for local in stream.locals(&self.media) {
                step.effects.flow(FlowChange::Close { local, call });
            }
        }
        for leg in stream.legs {
            self.give_back(leg, step);
        }
    }

    /// Closes a call's flows, lets its ports rest and forgets its offers.
    pub(super) fn close_media(&mut self, id: Id, step: &mut Step<'_>) {
        for number in 0..STREAMS_MAX {
            self.drop_stream(id, number, step);
        }
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        while let Some(offer) = call.anchor.offers {
            if self.anchors.take_offer(&mut call.anchor, offer).is_none() {
                debug_assert!(false, "a call's offer was not there");
                break;
            }
        }
        self.anchors.forget_early(&mut call.anchor);
    }

    /// What the operator sees of a call's media: caller's and callee's leg of each stream.
    pub(super) fn legs(&self, call: &Call) -> [Option<[LegReport; 2]>; STREAMS_MAX] {
        std::array::from_fn(|number| {
            let stream = self.anchors.stream(&call.anchor, number)?;
            Some(stream.report(&self.media))
        })
    }
}

pub(super) fn call_ref(owner: WorkerId, id: Id) -> CallRef {
    CallRef {
        owner,
        slot: id.slot,
        generation: u32::from(id.generation),
    }
}
