//! Questions to the kernel by netlink, and the attributes of its answers.
//!
//! Few questions, each asked once, so this is a blocking socket and an iterator
//! over attributes.

use nix::errno::Errno;
use nix::sys::socket::AddressFamily;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::SockFlag;
use nix::sys::socket::SockProtocol;
use nix::sys::socket::SockType;
use nix::sys::socket::recv;
use nix::sys::socket::send;
use nix::sys::socket::setsockopt;
use nix::sys::socket::socket;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::time::TimeVal;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
/// Ask for all objects instead of one.
pub(crate) const NLM_F_DUMP: u16 = 0x300;
/// A value that is made of attributes.
pub(crate) const NLA_F_NESTED: u16 = 0x8000;

/// The generic netlink family that names the others.
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

const HEADER_LEN: usize = 16;
/// The kernel answers at most so much at once.
const ANSWER_LEN_MAX: usize = 64 * 1024;
/// A kernel that does not answer must not hang the check.
const ANSWER_WAIT_S: i64 = 2;

/// A socket of one netlink protocol.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// Links, routes, neighbours.
    pub(crate) fn route() -> nix::Result<Netlink> {
        Netlink::open(SockProtocol::NetlinkRoute)
    }

    /// The generic families: ethtool, netdev.
    pub(crate) fn generic() -> nix::Result<Netlink> {
        Netlink::open(SockProtocol::NetlinkGeneric)
    }

    fn open(protocol: SockProtocol) -> nix::Result<Netlink> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            protocol,
        )?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::new(ANSWER_WAIT_S, 0))?;
        Ok(Netlink {
            socket,
            sequence: 0,
        })
    }

    /// Sends one request and returns the bodies of all answers.
    pub(crate) fn ask(&mut self, kind: u16, flags: u16, body: &[u8]) -> nix::Result<Vec<Vec<u8>>> {
        self.sequence += 1;
        let len = u32::try_from(HEADER_LEN + body.len()).map_err(|_| Errno::EMSGSIZE)?;
        let mut message = Vec::with_capacity(HEADER_LEN + body.len());
        message.extend_from_slice(&len.to_ne_bytes());
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&(flags | NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
        message.extend_from_slice(&self.sequence.to_ne_bytes());
        message.extend_from_slice(&0u32.to_ne_bytes());
        message.extend_from_slice(body);
        send(self.socket.as_raw_fd(), &message, MsgFlags::empty())?;

        let mut answers = Vec::new();
        let mut datagram = vec![0; ANSWER_LEN_MAX];
        loop {
            let len = recv(self.socket.as_raw_fd(), &mut datagram, MsgFlags::empty())?;
            if collect(&datagram[..len], self.sequence, &mut answers)? {
                return Ok(answers);
            }
        }
    }

    /// The message type of a generic family; ENOENT where the kernel lacks it.
    pub(crate) fn family(&mut self, name: &str) -> nix::Result<u16> {
        let mut body = generic_header(CTRL_CMD_GETFAMILY);
        let mut name = name.as_bytes().to_vec();
        name.push(0);
        put(&mut body, CTRL_ATTR_FAMILY_NAME, &name);
        for answer in self.ask(GENL_ID_CTRL, 0, &body)? {
            if let Some(id) = find(generic_attributes(&answer), CTRL_ATTR_FAMILY_ID) {
                return to_u16(id).ok_or(Errno::EBADMSG);
            }
        }
        Err(Errno::ENOENT)
    }
}

/// Takes the answers out of one datagram; true after the last of all.
fn collect(datagram: &[u8], sequence: u32, answers: &mut Vec<Vec<u8>>) -> nix::Result<bool> {
    let mut rest = datagram;
    while let Some((header, _)) = rest.split_at_checked(HEADER_LEN) {
        let len = to_u32(&header[0..4]).and_then(|len| usize::try_from(len).ok());
        let Some(message) = len.and_then(|len| rest.get(HEADER_LEN..len)) else {
            return Err(Errno::EBADMSG);
        };
        let kind = to_u16(&header[4..6]);
        if to_u32(&header[8..12]) == Some(sequence) {
            match kind {
                Some(NLMSG_DONE) => return Ok(true),
                Some(NLMSG_ERROR) => return acknowledged(message),
                _ => answers.push(message.to_vec()),
            }
        }
        rest = rest
            .get(aligned(HEADER_LEN + message.len())..)
            .unwrap_or(&[]);
    }
    Ok(false)
}

/// An error of 0 says that the answer is complete.
fn acknowledged(message: &[u8]) -> nix::Result<bool> {
    match message
        .get(0..4)
        .and_then(|code| code.try_into().ok())
        .map(i32::from_ne_bytes)
    {
        Some(0) => Ok(true),
        Some(code) => Err(Errno::from_raw(code.saturating_neg())),
        None => Err(Errno::EBADMSG),
    }
}

/// The four bytes that begin each generic message: command, version, reserved.
pub(crate) fn generic_header(command: u8) -> Vec<u8> {
    vec![command, 1, 0, 0]
}

/// The attributes of a generic message.
pub(crate) fn generic_attributes(body: &[u8]) -> &[u8] {
    body.get(4..).unwrap_or(&[])
}

/// Appends one attribute.
pub(crate) fn put(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    body.extend_from_slice(&len.to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(aligned(body.len()), 0);
}

/// Kind and value of each attribute; ends where the bytes are no attributes.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    /// Upper bits say "nested" and "network order".
    const KIND_MASK: u16 = 0x3fff;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (header, _) = rest.split_at_checked(4)?;
        let len = usize::from(to_u16(&header[0..2])?);
        let value = rest.get(4..len)?;
        rest = rest.get(aligned(len)..).unwrap_or(&[]);
        Some((to_u16(&header[2..4])? & KIND_MASK, value))
    })
}

/// The value of the first attribute of a kind; `None` too where the bytes are
/// no attributes.
pub(crate) fn find(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|(kind, _)| *kind == wanted)
        .map(|(_, value)| value)
}

/// A number of the host's byte order.
pub(crate) fn to_u16(bytes: &[u8]) -> Option<u16> {
    bytes.try_into().ok().map(u16::from_ne_bytes)
}

/// A number of the host's byte order.
pub(crate) fn to_u32(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

/// A string that ends with a zero byte.
pub(crate) fn to_string(bytes: &[u8]) -> Option<String> {
    let text = bytes.split(|byte| *byte == 0).next()?;
    String::from_utf8(text.to_vec()).ok()
}

/// Messages and attributes begin at multiples of four.
fn aligned(len: usize) -> usize {
    len.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let len = u32::try_from(HEADER_LEN + body.len()).unwrap();
        let mut bytes = len.to_ne_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&sequence.to_ne_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(body);
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    #[test]
    fn an_attribute_is_found_behind_padding() {
        let mut body = Vec::new();
        put(&mut body, 1, b"abc\0x");
        put(&mut body, 2 | 0x8000, &7u32.to_ne_bytes());
        assert_eq!(find(&body, 2).and_then(to_u32), Some(7));
        assert_eq!(find(&body, 1).and_then(to_string).as_deref(), Some("abc"));
        assert_eq!(find(&body, 3), None);
    }

    #[test]
    fn lengths_that_lie_end_the_search() {
        for bytes in [&[0u8, 0, 5, 0][..], &[3, 0, 5, 0], &[255, 255, 5, 0], &[1]] {
            assert_eq!(find(bytes, 5), None);
        }
        let mut answers = Vec::new();
        assert_eq!(collect(&[255; 20], 1, &mut answers), Err(Errno::EBADMSG));
        assert_eq!(collect(&[0; 20], 1, &mut answers), Err(Errno::EBADMSG));
    }

    #[test]
    fn answers_end_with_done_or_an_error_code() {
        let mut answers = Vec::new();
        let mut datagram = message(16, 4, b"old one");
        datagram.extend(message(16, 5, b"first"));
        assert_eq!(collect(&datagram, 5, &mut answers), Ok(false));
        assert_eq!(answers, [b"first".to_vec()]);
        assert_eq!(
            collect(&message(NLMSG_DONE, 5, &[0; 4]), 5, &mut answers),
            Ok(true)
        );
        assert_eq!(
            collect(&message(NLMSG_ERROR, 5, &[0; 4]), 5, &mut answers),
            Ok(true)
        );
        let refused = (-1i32).to_ne_bytes();
        assert_eq!(
            collect(&message(NLMSG_ERROR, 5, &refused), 5, &mut answers),
            Err(Errno::EPERM)
        );
    }

    #[test]
    fn the_loopback_answers_without_root() {
        let mut netlink = Netlink::route().unwrap();
        let answers = netlink.ask(18, NLM_F_DUMP, &[0; 16]).unwrap();
        let is_loopback =
            |answer: &Vec<u8>| find(&answer[16..], 3).and_then(to_string).as_deref() == Some("lo");
        assert!(answers.iter().any(is_loopback));
    }
}
