//! What the worker asks of the machine: its clock, its core, its memory and
//! the wake-up.

pub mod affinity;
mod alarm;
mod asleep;
pub mod clock;
pub(crate) mod epoll;
pub mod memory;
pub mod refused;
pub mod wake;
