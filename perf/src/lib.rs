//! What drives the dataplane from outside: the generator, the simulator, and the count of
//! instructions.

pub mod blast;
pub mod flood;
pub mod floor;
pub mod instructions;
pub mod link;
pub mod measure;
pub mod profile;
pub mod report;
pub mod sim;
pub mod stop;
