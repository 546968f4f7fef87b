//! SIP: messages as bytes, and where in them things stand.
//!
//! [`message::Message::scan`] looks at a datagram once and notes offsets. Nothing is
//! copied and nothing is unfolded or unescaped: a proxy changes a message by splicing
//! text into it ([`edit`]), and so all but what it must change goes out as it came in.
//!
//! [`proxy::Proxy`] is the core of one worker: messages and timers in, [`effects`] out.
#![forbid(unsafe_code)]

pub mod anchor;
pub mod anchors;
mod base32;
pub mod build;
pub mod call;
pub mod denials;
mod dialog;
pub mod digest;
pub mod edit;
pub mod effects;
pub mod endpoint;
pub mod guard;
pub mod header;
pub mod identity;
mod index;
pub mod live;
pub mod malformed;
pub mod message;
pub mod method;
pub mod places;
pub mod proxy;
mod recent;
pub mod registrar;
mod report;
pub mod scan;
mod session;
pub(crate) mod siphash;
mod sixteen;
mod slab;
pub mod strict;
pub mod subscriber;
mod texts;
pub mod ticket;
pub mod transaction;
pub mod undelivered;
pub mod uri;
pub mod via;

pub use endpoint::Endpoint;
pub use identity::owner;
pub use report::CallReport;
pub use report::CallState;
pub use report::LegReport;
pub use report::ShortText;
pub use slab::Id;

pub use crate::span::Span;
