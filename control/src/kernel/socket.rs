//! One listen's socket: its options, what it sends, receives, and is told of by ICMP.

use std::io;
use std::io::IoSliceMut;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::SocketAddrV4;
use std::net::SocketAddrV6;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::ControlMessageOwned;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::RecvMsg;
use nix::sys::socket::SockaddrStorage;
use nix::sys::socket::recvmsg;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt;
use trunkline_dataplane::sip::undelivered::Why;

use super::Count;

/// Bytes of each socket's buffers. A message of 64 KiB in fragments takes some 110 KiB of the
/// receive buffer; of the send buffer each neighbour that is being resolved takes up to 208 KiB
/// (`unres_qlen_bytes`). Lower, and one silent neighbour keeps out the others; higher, and a
/// flood of fragments takes more of the host's memory.
const BUFFER_LEN: usize = 4 << 20;

/// Errors of earlier sends that one send may meet: ICMP leaves them on the socket, and the
/// next call of any kind reports one of them.
const PENDING_ERRORS: usize = 3;

/// The socket of one listen.
#[derive(Debug)]
pub struct ListenSocket {
    socket: UdpSocket,
    /// Datagrams that the kernel dropped at the last look, since the buffer was full.
    overflowed: AtomicU32,
}

/// A datagram that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Who sent it.
    pub source: SocketAddr,
    /// Its length.
    pub len: usize,
    /// True where it was longer than the buffer.
    pub truncated: bool,
}

/// An ICMP error for a datagram that was sent from this listen, by the kernel or by a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// Where the datagram was going.
    pub destination: SocketAddr,
    /// What it means for a request; `None` where that is nothing (RFC 3261 §18.4).
    pub why: Option<Why>,
    /// How many bytes of the datagram's payload are quoted.
    pub len: usize,
}

impl ListenSocket {
    /// Makes a bound socket ready: not blocking, with large buffers, told of ICMP errors. That
    /// it fragments what is larger than the path's MTU is the kernel's default for UDP.
    ///
    /// # Errors
    /// The kernel refuses an option.
    pub fn new(socket: UdpSocket) -> io::Result<ListenSocket> {
        socket.set_nonblocking(true)?;
        // The forced ones need CAP_NET_ADMIN, and are not bound by net.core.rmem_max.
        if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER_LEN).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &BUFFER_LEN)?;
        }
        if setsockopt(&socket, sockopt::SndBufForce, &BUFFER_LEN).is_err() {
            setsockopt(&socket, sockopt::SndBuf, &BUFFER_LEN)?;
        }
        setsockopt(&socket, sockopt::RxqOvfl, &1)?;
        match socket.local_addr()? {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
        }
        Ok(ListenSocket {
            socket,
            overflowed: AtomicU32::new(0),
        })
    }

    /// Another handle on the same socket.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn try_clone(&self) -> io::Result<UdpSocket> {
        self.socket.try_clone()
    }

    /// Sends a message, and says under which name that counts.
    pub fn send(&self, message: &[u8], to: SocketAddr) -> Count {
        let mut sent = self.socket.send_to(message, to);
        for _ in 0..PENDING_ERRORS {
            match &sent {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    sent = self.socket.send_to(message, to);
                }
                _ => break,
            }
        }
        let Err(error) = sent else {
            return Count::Sent;
        };
        match Errno::from_raw(error.raw_os_error().unwrap_or_default()) {
            Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM => Count::RefusedBusy,
            Errno::EMSGSIZE => Count::RefusedTooLarge,
            Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::ENETDOWN => Count::RefusedUnreachable,
            other => {
                tracing::debug!("the kernel does not send to {to}: {other}");
                Count::RefusedOther
            }
        }
    }

    /// Receives a datagram into `buffer`; `None` where none waits.
    ///
    /// # Errors
    /// One of an earlier send, which is told of by [`ListenSocket::icmp_error`].
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Datagram>> {
        let control = nix::cmsg_space!(u32);
        let datagram = self.read(buffer, control, MsgFlags::empty(), |received| {
            for message in received.cmsgs()? {
                if let ControlMessageOwned::RxqOvfl(dropped) = message {
                    self.overflowed.store(dropped, Ordering::Relaxed);
                }
            }
            let source = received.address.as_ref().and_then(address);
            Ok(source.map(|source| Datagram {
                source: SocketAddr::new(source.ip().to_canonical(), source.port()),
                len: received.bytes,
                truncated: received.flags.contains(MsgFlags::MSG_TRUNC),
            }))
        })?;
        Ok(datagram.flatten())
    }

    /// Takes the oldest ICMP error, what it quotes into `buffer`; `None` where none waits.
    ///
    /// # Errors
    /// The kernel's.
    pub fn icmp_error(&self, buffer: &mut [u8]) -> io::Result<Option<IcmpError>> {
        let control = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
        self.read(buffer, control, MsgFlags::MSG_ERRQUEUE, |received| {
            let mut why = None;
            for message in received.cmsgs()? {
                if let ControlMessageOwned::Ipv4RecvErr(error, _)
                | ControlMessageOwned::Ipv6RecvErr(error, _) = message
                {
                    why = meaning(&error);
                }
            }
            let destination = received.address.as_ref().and_then(address);
            Ok(IcmpError {
                destination: destination.unwrap_or(NOWHERE),
                why,
                len: received.bytes,
            })
        })
    }

    /// Datagrams that the kernel has dropped so far, since the buffer was full.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed).into()
    }

    /// One `recvmsg`; `None` where nothing waits.
    fn read<T>(
        &self,
        buffer: &mut [u8],
        mut control: Vec<u8>,
        flags: MsgFlags,
        take: impl FnOnce(&RecvMsg<'_, '_, SockaddrStorage>) -> nix::Result<T>,
    ) -> io::Result<Option<T>> {
        let mut places = [IoSliceMut::new(buffer)];
        match recvmsg(
            self.socket.as_raw_fd(),
            &mut places,
            Some(&mut control),
            flags,
        ) {
            Ok(received) => Ok(Some(take(&received)?)),
            Err(Errno::EAGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Where a quoted datagram went whose address the kernel does not tell.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = storage.as_sockaddr_in() {
        return Some(SocketAddrV4::from(*v4).into());
    }
    storage
        .as_sockaddr_in6()
        .map(|v6| SocketAddrV6::from(*v6).into())
}

/// RFC 3261 §18.4: host, network, port or protocol unreachable, and parameter problems, are
/// failures to send. Time exceeded and source quench are not.
fn meaning(error: &libc::sock_extended_err) -> Option<Why> {
    // The types and codes of RFC 792 and RFC 4443.
    match (error.ee_origin, error.ee_type, error.ee_code) {
        (libc::SO_EE_ORIGIN_ICMP, 3, 4) | (libc::SO_EE_ORIGIN_ICMP6, 2, _) => Some(Why::TooLarge),
        (libc::SO_EE_ORIGIN_ICMP, 3 | 12, _) | (libc::SO_EE_ORIGIN_ICMP6, 1 | 4, _) => {
            Some(Why::Unreachable)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket on the loopback, and a closed port there.
    fn pair(address: &str) -> (ListenSocket, SocketAddr) {
        let socket = ListenSocket::new(UdpSocket::bind(address).unwrap()).unwrap();
        let closed = UdpSocket::bind(address).unwrap().local_addr().unwrap();
        (socket, closed)
    }

    #[test]
    fn a_closed_port_is_told_with_a_quote_and_does_not_stop_other_sends() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (socket, closed) = pair(address);
            let message = [b'x'; 300];
            assert_eq!(socket.send(&message, closed), Count::Sent);
            // The error waits on the socket; this send is not refused for it.
            let open = UdpSocket::bind(address).unwrap();
            assert_eq!(
                socket.send(b"hello", open.local_addr().unwrap()),
                Count::Sent
            );
            let mut room = [0; 600];
            let error = socket.icmp_error(&mut room).unwrap().unwrap();
            assert_eq!(
                (error.destination, error.why),
                (closed, Some(Why::Unreachable))
            );
            assert_eq!(&room[..error.len], &message);
            assert_eq!(socket.icmp_error(&mut room).unwrap(), None);
            assert_eq!(open.recv(&mut room).unwrap(), 5);
        }
    }

    #[test]
    fn the_largest_datagram_passes_and_a_larger_one_is_refused() {
        let (socket, _) = pair("127.0.0.1:0");
        let peer = ListenSocket::new(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        let to = peer.socket.local_addr().unwrap();
        let message = vec![7; 65_508];
        assert_eq!(socket.send(&message[..65_507], to), Count::Sent);
        assert_eq!(socket.send(&message, to), Count::RefusedTooLarge);
        let mut room = vec![0; 65_535];
        let datagram = peer.receive(&mut room).unwrap().unwrap();
        assert_eq!((datagram.len, datagram.truncated), (65_507, false));
        assert_eq!(peer.receive(&mut room).unwrap(), None);
        assert_eq!(socket.send(&message[..100], to), Count::Sent);
        let datagram = peer.receive(&mut room[..50]).unwrap().unwrap();
        assert!(datagram.truncated);
    }

    #[test]
    fn what_the_kernel_drops_is_counted_once_the_next_is_received() {
        let (socket, _) = pair("127.0.0.1:0");
        let to = socket.socket.local_addr().unwrap();
        let message = vec![7; 60_000];
        for _ in 0..200 {
            socket.send(&message, to);
        }
        let mut room = vec![0; 65_535];
        let mut taken = 0;
        while socket.receive(&mut room).unwrap().is_some() {
            taken += 1;
        }
        assert!((20..200).contains(&taken), "{taken}");
        socket.send(b"one more", to);
        socket.receive(&mut room).unwrap();
        assert_eq!(socket.overflowed(), 200 - taken);
    }
}
