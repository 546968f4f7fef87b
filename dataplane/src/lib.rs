//! Trunkline's engine: SIP and RTP frames in, SIP and RTP frames out.
//!
//! No async, no I/O outside `ring/`, no allocation after start.
#![cfg_attr(test, allow(clippy::cast_possible_truncation))] // Tests count in small numbers.

pub mod capture;
pub mod counters;
pub mod frame;
#[doc(hidden)]
pub mod fuzz;
pub mod ids;
#[doc(hidden)]
pub mod interfaces;
pub mod kernel;
pub mod lab;
pub mod letters;
pub mod limits;
pub mod mailbox;
pub mod media;
pub mod post;
pub mod ring;
pub mod route;
pub mod samples;
pub mod sdp;
pub mod settings;
pub mod sip;
pub mod span;
pub mod stun;
pub mod sys;
pub mod text;
pub mod tick;
pub mod timer;
pub mod triage;
pub mod wire;
pub mod worker;
