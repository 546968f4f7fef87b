//! The mirror of the kernel's links, addresses, routes and neighbours.
//!
//! Of whatever the kernel says has changed, the whole table is asked for again, a
//! moment later, so that a burst of changes costs one round; a link or an address
//! concerns all tables. Where a notification was lost (the socket's buffer overran),
//! everything is asked for. What came out is compared with what went before: workers get a new snapshot only where one of them
//! could send a packet differently.

mod dump;
mod message;
mod neighbours;
mod places;
mod translate;
mod watch;

use std::io;

pub use dump::Dump;
pub use dump::Hop;
pub use dump::LinkFacts;
pub use dump::NeighbourFacts;
pub use dump::NeighbourKey;
pub use dump::RouteFacts;
pub use dump::VlanFacts;
pub use neighbours::Neighbours;
pub use places::Place;
pub use translate::Tables;
pub use watch::Changes;
pub use watch::Watch;

/// Why the kernel's tables cannot be mirrored.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// No netlink socket.
    #[error("cannot open a netlink socket: {0}. The process needs the address family AF_NETLINK")]
    Socket(#[from] io::Error),
    /// The kernel refused a question.
    #[error("the kernel does not tell its {what}: {error}")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// What it said.
        error: rtnetlink::Error,
    },
}

/// A connection for questions and requests, its driver running on this runtime.
///
/// # Errors
/// The socket cannot be made.
pub fn connect() -> Result<rtnetlink::Handle, NetlinkError> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    tokio::spawn(connection);
    Ok(handle)
}
