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

/// Bytes of changes that may wait to be heard. What does not fit is made up for by
/// asking for everything.
const BACKLOG: usize = 1 << 20;

/// Bytes of one datagram of the kernel's: it fills a page or four, NLMSG_GOODSIZE.
const DATAGRAM_LEN: usize = 64 * 1024;

const RTMGRP_LINK: u32 = 1;
const RTMGRP_NEIGH: u32 = 1 << 2;
const RTMGRP_IPV4_IFADDR: u32 = 1 << 4;
const RTMGRP_IPV4_ROUTE: u32 = 1 << 6;
const RTMGRP_IPV6_IFADDR: u32 = 1 << 8;
const RTMGRP_IPV6_ROUTE: u32 = 1 << 10;
/// RTNLGRP_NEXTHOP is group 32. Where a nexthop object is deleted, the kernel says nothing of
/// the routes of IPv4 that go with it.
const RTMGRP_NEXTHOP: u32 = 1 << 31;

/// Which tables have changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Links and addresses.
    pub links: bool,
    /// Routes.
    pub routes: bool,
    /// Neighbours.
    pub neighbours: bool,
}

impl Changes {
    /// All of them.
    pub const ALL: Changes = Changes {
        links: true,
        routes: true,
        neighbours: true,
    };

    /// True where there is one.
    #[must_use]
    pub fn any(self) -> bool {
        self.links || self.routes || self.neighbours
    }

    /// These and those.
    #[must_use]
    pub fn and(self, other: Changes) -> Changes {
        Changes {
            links: self.links || other.links,
            routes: self.routes || other.routes,
            neighbours: self.neighbours || other.neighbours,
        }
    }

    /// What one datagram of the kernel's tells, by the types of its messages alone.
    fn of(datagram: &[u8]) -> Changes {
        const RTM_NEWROUTE: u16 = 24;
        const RTM_DELROUTE: u16 = 25;
        const RTM_NEWNEIGH: u16 = 28;
        const RTM_DELNEIGH: u16 = 29;
        const RTM_NEWNEXTHOP: u16 = 104;
        const RTM_DELNEXTHOP: u16 = 105;
        let mut changes = Changes::default();
        let mut rest = datagram;
        while let Some((&[a, b, c, d, kind, type_high], _)) = rest.split_first_chunk() {
            let found = match u16::from_ne_bytes([kind, type_high]) {
                RTM_NEWROUTE | RTM_DELROUTE | RTM_NEWNEXTHOP | RTM_DELNEXTHOP => Changes {
                    routes: true,
                    ..Changes::default()
                },
                RTM_NEWNEIGH | RTM_DELNEIGH => Changes {
                    neighbours: true,
                    ..Changes::default()
                },
                // A link or an address takes routes and neighbours with it, and of those
                // routes the kernel tells nothing (fib_flush).
                _ => return Changes::ALL,
            };
            changes = changes.and(found);
            let len = usize::try_from(u32::from_ne_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            // Messages begin at multiples of four; one of no length would never end.
            rest = rest
                .get(len.max(4).next_multiple_of(4)..)
                .unwrap_or_default();
        }
        changes
    }
}

/// A subscription to the kernel's changes. Only which tables they concern is read; those
/// are asked for anew.
pub struct Watch {
    socket: TokioSocket,
    buffer: Vec<u8>,
    heard: Changes,
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
        let groups = RTMGRP_LINK
            | RTMGRP_NEIGH
            | RTMGRP_IPV4_IFADDR
            | RTMGRP_IPV4_ROUTE
            | RTMGRP_IPV6_IFADDR
            | RTMGRP_IPV6_ROUTE
            | RTMGRP_NEXTHOP;
        socket.socket_mut().set_rx_buf_sz(BACKLOG)?;
        socket.socket_mut().bind(&SocketAddr::new(0, groups))?;
        Ok(Watch {
            socket,
            buffer: Vec::with_capacity(DATAGRAM_LEN),
            heard: Changes::default(),
        })
    }

    /// Returns when something has changed and a moment has passed. Where it is dropped
    /// before that, the next call remembers what was heard.
    pub async fn changed(&mut self) -> Changes {
        while !self.heard.any() {
            self.hear().await;
        }
        let settled = tokio::time::sleep(SETTLE);
        tokio::pin!(settled);
        loop {
            tokio::select! {
                biased;
                () = &mut settled => return std::mem::take(&mut self.heard),
                () = self.hear() => {}
            }
        }
    }

    async fn hear(&mut self) {
        self.buffer.clear();
        let changes = match self.socket.recv(&mut self.buffer).await {
            Ok(_) if self.buffer.len() < DATAGRAM_LEN => Changes::of(&self.buffer),
            // Cut off; or ENOBUFS: there was more than the socket could hold. Any other error
            // is as good a reason to ask for all, and SETTLE keeps it from spinning.
            _ => Changes::ALL,
        };
        self.heard = self.heard.and(changes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, len: u32) -> Vec<u8> {
        let mut bytes = len.to_ne_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.resize(len as usize, 0);
        bytes
    }

    #[test]
    fn what_changed_is_told_by_the_type() {
        let routes = Changes {
            routes: true,
            ..Changes::default()
        };
        let neighbours = Changes {
            neighbours: true,
            ..Changes::default()
        };
        assert_eq!(Changes::of(&message(24, 60)), routes);
        assert_eq!(Changes::of(&message(105, 24)), routes);
        assert_eq!(Changes::of(&message(29, 76)), neighbours);
        let both = [message(28, 76), message(25, 60)].concat();
        assert_eq!(Changes::of(&both), routes.and(neighbours));
        for kind in [16, 17, 20, 21, 3] {
            assert_eq!(Changes::of(&message(kind, 40)), Changes::ALL, "{kind}");
        }
    }

    #[test]
    fn lengths_that_lie_come_to_an_end() {
        let mut lie = message(24, 60);
        lie[0..4].copy_from_slice(&0_u32.to_ne_bytes());
        let _ = Changes::of(&lie);
        lie[0..4].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert!(Changes::of(&lie).routes);
        assert!(!Changes::of(&[1, 2, 3]).any());
    }
}
