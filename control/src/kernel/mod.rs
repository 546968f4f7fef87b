//! The kernel's sockets: one for each listen, bound to its address and port.
//!
//! They keep the port ours, and do what the rings cannot:
//!
//! - in: reassembled fragments, and whatever XDP left to the kernel because no worker has the
//!   queue. Each datagram is mailed to the worker that owns its call.
//! - out: what a worker hands over, since it is larger than the MTU, waits for a neighbour or
//!   leaves by an interface that is not ours. The kernel resolves, routes and fragments.
//! - ICMP errors: the kernel finds the socket by the addresses and ports that the error quotes,
//!   so that it hears of the workers' frames too, though they never passed it.
//!
//! `socket` holds the system calls, `hear` the task that waits on a socket, `counts` what is
//! counted. What is done with all that is the desk's (`engine/kernel.rs`).

pub mod counts;
pub mod hear;
pub mod socket;

pub use counts::Count;
pub use counts::Counts;
pub use socket::ListenSocket;
