//! The generator: many user agents in one process, callers and callees, that know what they sent
//! and when.
//!
//! ```text
//!   pace ──► Load ──► Outbox            one thread, one clock
//!             ▲  │                      callers on one interface, callees on the other:
//!   frames ───┘  └─► Tally              the time a message takes through the box is exact
//! ```
//!
//! [`Load`](load::Load) is sans-IO: time and datagrams are arguments, what it says goes into an
//! [`Outbox`](load::Outbox). Each call is one entry with both ends in it; the Call-ID names the entry.
//! User agents follow RFC 3261: INVITE is repeated by Timer A and given up by Timer B, other
//! requests by Timers E and F, a 2xx by §13.3.1.4 until its ACK comes, another final response by
//! Timers G and H.

pub mod args;
pub mod call;
mod callee;
mod caller;
pub mod digest;
pub mod load;
pub mod media;
pub mod pace;
pub mod pen;
pub mod phones;
pub mod port;
pub mod report;
pub mod run;
pub mod script;
mod speech;
pub mod tally;

#[cfg(test)]
mod tests;
