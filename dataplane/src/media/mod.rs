//! The RTP relay: what may pass through a relay port, and what becomes of it.
//!
//! A flow is one direction of a media stream through one relay port of ours:
//! the port is the key, and the flow table an array indexed by it. Every
//! worker holds every flow, since RSS decides where a packet lands; each
//! counts its own packets.
//!
//! Closed by default: a packet passes only if its port is open, it comes from
//! where signalling said, and it is what the m= line negotiated. Everything
//! else has a [`MediaDrop`] with its own name. A packet that passes leaves in
//! the frame it came in: its headers are rewritten, and grow into the room before the frame
//! or shrink from one IP version to the other; the payload is not touched.
//!
//! Invariant: for each flow, packets in = packets out + drops.
//!
//! No socket, clock or thread inside; time is an argument.

#![forbid(unsafe_code)]

pub mod demux;
pub mod drop;
pub mod flow;
mod join;
pub mod ports;
pub mod relay;
pub mod rtcp;
pub mod rtp;
pub mod table;

#[doc(hidden)]
pub mod fuzz;

pub use drop::MediaDrop;
pub use flow::CallRef;
pub use flow::FlowChange;
pub use flow::FlowKind;
pub use flow::FlowReport;
pub use flow::FlowSpec;
pub use ports::PortPair;
pub use ports::Ports;
pub use relay::ChecksumPolicy;
pub use relay::GROWTH_MAX;
pub use relay::Relayed;
pub use relay::Solicit;
pub use table::FlowTable;
pub use table::Opened;
pub use table::RangeError;
pub use table::Slot;

#[cfg(test)]
mod family_tests;
