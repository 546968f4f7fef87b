//! Hearing that something has changed.

use std::io;
use std::time::Duration;

use netlink_sys::AsyncSocket as _;
use netlink_sys::AsyncSocketExt as _;
use netlink_sys::SocketAddr;
use netlink_sys::TokioSocket;
use netlink_sys::protocols::NETLINK_ROUTE;

/// How long a burst of changes may go on before it is looked at. Lower, and a link
/// that comes up with its routes is mirrored in several rounds; higher, and a moved
/// neighbour is missed for longer.
const SETTLE: Duration = Duration::from_millis(20);

const RTMGRP_LINK: u32 = 1;
const RTMGRP_NEIGH: u32 = 1 << 2;
const RTMGRP_IPV4_IFADDR: u32 = 1 << 4;
const RTMGRP_IPV4_ROUTE: u32 = 1 << 6;

/// A subscription to the kernel's changes. What they are is not read: all is asked
/// for anew.
pub struct Watch {
    socket: TokioSocket,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Watch(..)")
    }
}

impl Watch {
    /// Subscribes. Take the first dump after this, so that no change is missed.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn open() -> io::Result<Watch> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        let groups = RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE;
        socket.socket_mut().bind(&SocketAddr::new(0, groups))?;
        Ok(Watch {
            socket,
            buffer: Vec::with_capacity(32 * 1024),
        })
    }

    /// Returns when something has changed and a moment has passed. Not to be dropped
    /// before that: what it had heard would be forgotten.
    pub async fn changed(&mut self) {
        self.heard().await;
        let settled = tokio::time::sleep(SETTLE);
        tokio::pin!(settled);
        loop {
            tokio::select! {
                biased;
                () = &mut settled => return,
                () = self.heard() => {}
            }
        }
    }

    async fn heard(&mut self) {
        self.buffer.clear();
        // ENOBUFS: there was more than the socket could hold, so something changed. Any
        // other error is as good a reason to ask, and SETTLE keeps it from spinning.
        let _ = self.socket.recv(&mut self.buffer).await;
    }
}
