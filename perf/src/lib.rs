//! What drives the dataplane from outside: the generator, the simulator, and the count of
//! instructions.

pub mod blast;
pub mod instructions;
pub mod sim;
