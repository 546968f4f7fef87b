//! Read-only snapshots fed by control.
//!
//! A snapshot is built by control, handed to a worker by message, and freed by
//! control when the worker has handed it back. A worker only looks up.

#![forbid(unsafe_code)]

pub mod dial;
pub mod network;

mod prefixes;

pub use dial::Dial;
pub use network::Link;
pub use network::Neighbour;
pub use network::Network;
pub use network::NextHop;
pub use network::Out;
pub use network::Route;
pub use network::Unresolved;
