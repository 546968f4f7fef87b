//! The task that waits on one listen's socket.

use std::io;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use trunkline_dataplane::ids::ListenIndex;
use trunkline_dataplane::limits::DATAGRAM_LEN_MAX;

use super::ListenSocket;
use crate::engine::Request;

/// Datagrams, and ICMP errors, that are taken before the desk and other tasks have their turn:
/// a mebibyte of the largest.
const TAKEN_MAX: usize = 16;

/// Waits on one listen's socket.
#[derive(Debug)]
pub struct Hearer {
    listen: ListenIndex,
    socket: Arc<ListenSocket>,
    /// The same socket, by which tokio waits.
    watched: UdpSocket,
}

impl Hearer {
    /// On the socket of `listen`. To be called inside the runtime.
    ///
    /// # Errors
    /// The socket cannot be watched.
    pub fn new(listen: ListenIndex, socket: Arc<ListenSocket>) -> io::Result<Hearer> {
        let watched = UdpSocket::from_std(socket.try_clone()?)?;
        Ok(Hearer {
            listen,
            socket,
            watched,
        })
    }

    /// Hands what reaches the socket to the desk until that has gone. ICMP errors first: they
    /// are about what has gone before.
    pub async fn run(self, desk: mpsc::Sender<Request>) {
        let mut buffer = vec![0; DATAGRAM_LEN_MAX];
        let both = Interest::ERROR | Interest::READABLE;
        while self.watched.ready(both).await.is_ok() {
            let mut requests = Vec::new();
            self.take(Interest::ERROR, icmp_error, &mut requests, &mut buffer);
            self.take(Interest::READABLE, datagram, &mut requests, &mut buffer);
            for request in requests {
                if desk.send(request).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Takes what waits by `take`, which is ready where `interest` is.
    fn take(
        &self,
        interest: Interest,
        take: fn(ListenIndex, &ListenSocket, &mut [u8]) -> Option<Request>,
        requests: &mut Vec<Request>,
        buffer: &mut [u8],
    ) {
        // Without a pause between the last look and the note that nothing is left.
        let _ = self.watched.try_io(interest, || {
            for _ in 0..TAKEN_MAX {
                match take(self.listen, &self.socket, buffer) {
                    Some(request) => requests.push(request),
                    None => return Err(io::ErrorKind::WouldBlock.into()),
                }
            }
            Ok(())
        });
    }
}

fn icmp_error(listen: ListenIndex, socket: &ListenSocket, buffer: &mut [u8]) -> Option<Request> {
    match socket.icmp_error(buffer) {
        Ok(error) => error.map(|error| Request::IcmpError {
            error,
            quoted: buffer[..error.len].to_vec(),
        }),
        Err(error) => {
            tracing::debug!("listen {}: ICMP errors: {error}", listen.0);
            None
        }
    }
}

fn datagram(listen: ListenIndex, socket: &ListenSocket, buffer: &mut [u8]) -> Option<Request> {
    loop {
        match socket.receive(buffer) {
            Ok(Some(datagram)) if datagram.truncated => return Some(Request::Truncated),
            Ok(Some(datagram)) => {
                return Some(Request::Datagram {
                    listen,
                    source: datagram.source,
                    bytes: buffer[..datagram.len].to_vec(),
                });
            }
            Ok(None) => return None,
            // What ICMP said of something sent is told here once more, before what waits.
            Err(error) => tracing::debug!("listen {}: {error}", listen.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn datagrams_and_icmp_errors_reach_the_desk_one_by_one() {
        let bound = || std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = bound();
        let here = socket.local_addr().unwrap();
        let socket = Arc::new(ListenSocket::new(socket).unwrap());
        let (desk, mut requests) = mpsc::channel(2);
        let hearer = Hearer::new(ListenIndex(3), Arc::clone(&socket)).unwrap();
        tokio::spawn(hearer.run(desk));
        let peer = bound();
        for round in 0..3 * TAKEN_MAX {
            let text = round.to_string().into_bytes();
            peer.send_to(&text, here).unwrap();
            let Some(Request::Datagram {
                listen,
                source,
                bytes,
            }) = requests.recv().await
            else {
                panic!("no datagram")
            };
            assert_eq!((listen, bytes), (ListenIndex(3), text));
            assert_eq!(source, peer.local_addr().unwrap());
        }
        let gone = bound().local_addr().unwrap();
        for round in 1..=3 * TAKEN_MAX {
            // As many as the kernel's limit of ICMP errors lets through at once.
            socket.send(&vec![b'x'; round], gone);
            let Some(Request::IcmpError { error, quoted }) = requests.recv().await else {
                panic!("no error")
            };
            assert_eq!((error.destination, quoted.len()), (gone, round));
        }
        for _ in 0..3 * TAKEN_MAX {
            peer.send_to(b"many at once", here).unwrap();
        }
        for _ in 0..3 * TAKEN_MAX {
            assert!(matches!(
                requests.recv().await,
                Some(Request::Datagram { .. })
            ));
        }
    }
}
