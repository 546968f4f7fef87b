//! What drives the dataplane from outside: the simulator, and the count of instructions.

pub mod instructions;
pub mod sim;
