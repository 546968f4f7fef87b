//! The forwarder on UDP sockets: one for each port and side, which a poll(2) wakes, and batches by
//! recvmmsg(2) and sendmmsg(2).

use std::io::IoSlice;
use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::net::SocketAddrV4;
use std::net::UdpSocket;
use std::os::fd::AsFd as _;
use std::os::fd::AsRawFd as _;

use anyhow::Context as _;
use nix::errno::Errno;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::poll::poll;
use nix::sys::socket::ControlMessage;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::MultiHeaders;
use nix::sys::socket::SockaddrIn;
use nix::sys::socket::recvmmsg;
use nix::sys::socket::sendmmsg;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt;

use super::Forwarder;
use super::Side;

/// Datagrams a system call.
const BATCH: usize = 64;
const LETTER_LEN: usize = 2_048;
/// What the peers of a comparison are given as well: the default loses bursts.
const BUFFER_LEN: usize = 4 << 20;

/// A port, on both sides.
#[derive(Debug)]
struct Pair {
    sockets: [UdpSocket; 2],
    port: u16,
}

/// Takes datagrams from the socket of one side and sends them by that of the other.
pub(super) struct OnSockets {
    sides: [Side; 2],
    pairs: Vec<Pair>,
    letters: Vec<[u8; LETTER_LEN]>,
    forwarded: u64,
}

impl OnSockets {
    pub(super) fn open(sides: [Side; 2], ports: &[u16]) -> anyhow::Result<OnSockets> {
        let bind = |side: &Side, port: u16| -> anyhow::Result<UdpSocket> {
            let address = SocketAddr::new(side.ours.into(), port);
            let socket = UdpSocket::bind(address).with_context(|| format!("{address}"))?;
            setsockopt(&socket, sockopt::RcvBufForce, &BUFFER_LEN)?;
            setsockopt(&socket, sockopt::SndBufForce, &BUFFER_LEN)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let pairs = ports
            .iter()
            .map(|&port| {
                Ok(Pair {
                    sockets: [bind(&sides[0], port)?, bind(&sides[1], port)?],
                    port,
                })
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(OnSockets {
            sides,
            pairs,
            letters: vec![[0; LETTER_LEN]; BATCH],
            forwarded: 0,
        })
    }

    /// One batch from a side of a pair; how many datagrams it had. A sender's port that is no port
    /// of ours gets its answers at the pair's.
    fn forward(&mut self, pair: usize, from: usize) -> anyhow::Result<usize> {
        let Pair { sockets, port } = &self.pairs[pair];
        let lens = receive(&sockets[from], &mut self.letters)?;
        if lens.is_empty() {
            return Ok(0);
        }
        let to = SockaddrIn::from(SocketAddrV4::new(self.sides[1 - from].peer, *port));
        let letters = self.letters.iter().zip(&lens);
        let slices: Vec<_> = letters
            .map(|(letter, &len)| [IoSlice::new(&letter[..len])])
            .collect();
        let to = vec![Some(to); lens.len()];
        let mut headers = MultiHeaders::preallocate(lens.len(), None);
        let none: [ControlMessage<'_>; 0] = [];
        let fd = sockets[1 - from].as_raw_fd();
        let sent = sendmmsg(fd, &mut headers, &slices, &to, none, MsgFlags::empty());
        match sent {
            Ok(sent) => self.forwarded += sent.count() as u64,
            // A full buffer or a peer that is gone: the rest is lost, as it is on any network.
            Err(Errno::EAGAIN | Errno::ECONNREFUSED) => {}
            Err(error) => return Err(error).context("sendmmsg"),
        }
        Ok(lens.len())
    }
}

/// The lengths of the datagrams that wait, at most a batch; each is in its letter.
fn receive(socket: &UdpSocket, letters: &mut [[u8; LETTER_LEN]]) -> anyhow::Result<Vec<usize>> {
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(letters.len(), None);
    let mut rooms: Vec<_> = letters
        .iter_mut()
        .map(|letter| [IoSliceMut::new(letter)])
        .collect();
    let flags = MsgFlags::MSG_DONTWAIT;
    match recvmmsg(socket.as_raw_fd(), &mut headers, &mut rooms, flags, None) {
        Ok(received) => Ok(received.map(|message| message.bytes).collect()),
        Err(Errno::EAGAIN | Errno::ECONNREFUSED) => Ok(Vec::new()),
        Err(error) => Err(error).context("recvmmsg"),
    }
}

impl Forwarder for OnSockets {
    fn turn(&mut self) -> anyhow::Result<bool> {
        let mut ready = Vec::new();
        {
            let sockets = self.pairs.iter().flat_map(|pair| &pair.sockets);
            let mut entries: Vec<_> = sockets
                .map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN))
                .collect();
            match poll(&mut entries, PollTimeout::from(100_u8)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("poll"),
            }
            for (at, entry) in entries.iter().enumerate() {
                if entry.any() == Some(true) {
                    ready.push(at);
                }
            }
        }
        for &at in &ready {
            self.forward(at / 2, at % 2)?;
        }
        Ok(!ready.is_empty())
    }

    /// A turn waits for its sockets itself.
    fn rest(&mut self) {}

    fn forwarded(&self) -> u64 {
        self.forwarded
    }
}
