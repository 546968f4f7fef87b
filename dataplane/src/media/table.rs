//! The flow table: an array indexed by (media range, port).
//!
//! A lookup compares the address with at most [`RANGES_MAX`] ranges and loads
//! one entry: no hash, no chain. The table holds an entry for every port of
//! every range from the start (128 bytes each, and beside it 64 for what IPv6 and VLAN
//! tags add: 1.92 MB for 10,000 ports) and never grows.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use super::flow::CallRef;
use super::flow::Flow;
use super::flow::FlowReport;
use super::flow::FlowSpec;
use super::flow::Wide;
use crate::wire::VlanStack;

/// Media ranges of a table. A lookup compares with each in turn, so that more
/// would cost every packet; a box has one or two for each interface.
pub const RANGES_MAX: usize = 8;

/// Why a table cannot be made of the media ranges given.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RangeError {
    /// More than [`RANGES_MAX`].
    #[error("{given} media ranges are configured, at most {RANGES_MAX} are possible: join some")]
    TooMany {
        /// How many are configured.
        given: usize,
    },
    /// The first port lies behind the last.
    #[error("the media range on {address} holds no port: set its first port below its last")]
    Empty {
        /// The range's address.
        address: IpAddr,
    },
    /// Two ranges share ports of one address.
    #[error("two media ranges on {address} overlap: give each ports of its own")]
    Overlap {
        /// The address of both.
        address: IpAddr,
    },
}

/// What became of a [`FlowSpec`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
#[allow(clippy::large_enum_variant)] // A worker has no box to put the large one in.
pub enum Opened {
    /// The port was closed and is open now.
    New,
    /// The same call's flow was open; its counters go on.
    Updated,
    /// Another call's flow was still open. It is closed, and this is its end.
    Replaced(FlowReport),
    /// The local address and port are in no media range: nothing is open.
    OutsideRanges,
}

/// Every flow of the box, as one worker sees it.
#[derive(Debug)]
pub struct FlowTable {
    ranges: Vec<PortRange>,
    flows: Vec<Flow>,
    /// By the same index: what IPv6 and VLAN tags add to a flow.
    wides: Vec<Wide>,
    /// The tags of each interface; one beyond them has none.
    vlans: Vec<VlanStack>,
    open_count: usize,
}

/// The place of a relay port's flow in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(usize);

#[derive(Clone, Copy, Debug)]
struct PortRange {
    address: IpAddr,
    /// The address as a number if it is of IPv4; 0, which no packet is for, if of IPv6.
    ipv4: u32,
    first: u16,
    last: u16,
    /// Index of the first port's flow.
    base: usize,
}

impl PortRange {
    fn holds(&self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl FlowTable {
    /// A table with every port of `ranges` closed; `vlans` are the tags of each interface.
    /// Allocates all memory that it will ever use, and touches it.
    ///
    /// # Errors
    /// [`RangeError`], to be told to the operator.
    pub fn new(
        ranges: &[(IpAddr, RangeInclusive<u16>)],
        vlans: &[VlanStack],
    ) -> Result<FlowTable, RangeError> {
        if ranges.len() > RANGES_MAX {
            return Err(RangeError::TooMany {
                given: ranges.len(),
            });
        }
        let mut table = FlowTable {
            ranges: Vec::with_capacity(ranges.len()),
            flows: Vec::new(),
            wides: Vec::new(),
            vlans: vlans.to_vec(),
            open_count: 0,
        };
        let mut base = 0;
        for (address, ports) in ranges {
            let (address, first, last) = (*address, *ports.start(), *ports.end());
            if first > last {
                return Err(RangeError::Empty { address });
            }
            let overlaps = |other: &PortRange| {
                other.address == address && first <= other.last && other.first <= last
            };
            if table.ranges.iter().any(overlaps) {
                return Err(RangeError::Overlap { address });
            }
            table.ranges.push(PortRange {
                address,
                ipv4: match address {
                    IpAddr::V4(address) => address.into(),
                    IpAddr::V6(_) => 0,
                },
                first,
                last,
                base,
            });
            base += usize::from(last - first) + 1;
        }
        table.flows = vec![Flow::CLOSED; base];
        table.wides = vec![Wide::BLANK; base];
        Ok(table)
    }

    /// True if `local` is a relay address and port, open or not.
    #[must_use]
    pub fn covers(&self, local: SocketAddr) -> bool {
        self.slot(local).is_some()
    }

    /// Where the flow of a relay address and port is, open or not.
    #[must_use]
    pub fn place(&self, local: SocketAddr) -> Option<Slot> {
        self.slot(local).map(Slot)
    }

    /// Opens the flow, or updates it if the same call has it open.
    pub fn open(&mut self, spec: &FlowSpec) -> Opened {
        let Some((flow, wide)) = self.entry_mut(spec.local) else {
            return Opened::OutsideRanges;
        };
        let opened = if !flow.is_open() {
            Opened::New
        } else if flow.call() == spec.call {
            Opened::Updated
        } else {
            Opened::Replaced(flow.report(wide, spec.local))
        };
        if opened != Opened::Updated {
            *flow = Flow::CLOSED;
        }
        flow.set(wide, spec);
        if opened == Opened::New {
            self.open_count += 1;
        }
        opened
    }

    /// Closes the flow of `call` on `local` and tells what it carried; `None`,
    /// and nothing is closed, if no flow of that call is open there.
    pub fn close(&mut self, local: SocketAddr, call: CallRef) -> Option<FlowReport> {
        let (flow, wide) = self.entry_mut(local)?;
        if !flow.is_open() || flow.call() != call {
            return None;
        }
        let report = flow.report(wide, local);
        *flow = Flow::CLOSED;
        self.open_count -= 1;
        Some(report)
    }

    /// The call of the flow open on `local`.
    #[must_use]
    pub fn call_on(&self, local: SocketAddr) -> Option<CallRef> {
        let flow = self.flows.get(self.slot(local)?)?;
        flow.is_open().then(|| flow.call())
    }

    /// How many flows are open.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.open_count
    }

    /// How many flows can be open: one a port.
    #[must_use]
    pub fn slot_count(&self) -> usize {
        self.flows.len()
    }

    /// The flow open on `local`.
    #[must_use]
    pub fn report(&self, local: SocketAddr) -> Option<FlowReport> {
        let (flow, wide) = self.entry(self.slot(local)?)?;
        flow.is_open().then(|| flow.report(wide, local))
    }

    /// The open flows among the `max` slots from slot `from` on: a bounded
    /// piece of work. Go on with `from + max` until [`FlowTable::slot_count`].
    pub fn reports(&self, from: usize, max: usize) -> impl Iterator<Item = FlowReport> {
        let slots = from..from.saturating_add(max).min(self.flows.len());
        slots.filter_map(|slot| {
            let (flow, wide) = self.entry(slot)?;
            if !flow.is_open() {
                return None;
            }
            Some(flow.report(wide, self.local_of(slot)?))
        })
    }

    /// The entry of an open flow with what belongs to it, and the tags of every interface.
    pub(super) fn open_entry_mut(
        &mut self,
        local: SocketAddr,
    ) -> Option<(&mut Flow, &mut Wide, &[VlanStack])> {
        self.open_entry_at(self.place(local)?)
    }

    /// The same, where its place is known.
    pub(super) fn open_entry_at(
        &mut self,
        Slot(slot): Slot,
    ) -> Option<(&mut Flow, &mut Wide, &[VlanStack])> {
        let flow = self.flows.get_mut(slot).filter(|flow| flow.is_open())?;
        Some((flow, self.wides.get_mut(slot)?, &self.vlans))
    }

    fn entry(&self, slot: usize) -> Option<(&Flow, &Wide)> {
        self.flows.get(slot).zip(self.wides.get(slot))
    }

    fn entry_mut(&mut self, local: SocketAddr) -> Option<(&mut Flow, &mut Wide)> {
        let slot = self.slot(local)?;
        self.flows.get_mut(slot).zip(self.wides.get_mut(slot))
    }

    fn slot(&self, local: SocketAddr) -> Option<usize> {
        // A loop a family, so that IPv4 compares numbers of 32 bits.
        match local {
            SocketAddr::V4(local) => {
                let (address, port) = (u32::from(*local.ip()), local.port());
                for range in &self.ranges {
                    if range.ipv4 == address && range.holds(port) {
                        return Some(range.base + usize::from(port - range.first));
                    }
                }
            }
            SocketAddr::V6(local) => {
                for range in &self.ranges {
                    if range.address == *local.ip() && range.holds(local.port()) {
                        return Some(range.base + usize::from(local.port() - range.first));
                    }
                }
            }
        }
        None
    }

    fn local_of(&self, slot: usize) -> Option<SocketAddr> {
        let range = self.ranges.iter().rev().find(|range| range.base <= slot)?;
        let offset = u16::try_from(slot - range.base).ok()?;
        Some(SocketAddr::new(
            range.address,
            range.first.checked_add(offset)?,
        ))
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
