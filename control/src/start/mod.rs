//! Start, in the order in which a refusal does the least harm.

pub mod lock;
pub mod ports;
pub mod privileges;
pub mod sockets;
pub mod state;
