//! Find and rewrite the lines of an SDP body that name where media goes: `c=`, `m=` and
//! `a=rtcp` (RFC 8866, RFC 3264, RFC 3605).
//!
//! [`parse`] notes offsets into the body and copies nothing. [`Session::endpoint`] says of
//! each stream where its media is wanted, or why we cannot stand between. [`rewrite`] puts
//! relay addresses and ports in the place of the ones that are there; every other byte
//! goes out as it came in. [`find`] tells which part of a body is SDP.
//!
//! What else a writer says of addresses stays: `o=`, which names a session and no place,
//! and ICE's candidates. The address in c= and m= is then none of them, so that a reader
//! of ICE either speaks as to any peer (a=ice-mismatch) or takes our relay for one more candidate
//! (RFC 8839 §4.2.5). `a=rtcp-mux` stays as well: where both say it, RTCP comes on the port for
//! RTP, and what a=rtcp names is not used (RFC 5761 §5.1.1).
#![forbid(unsafe_code)]

mod multipart;
mod read;
mod rewrite;

use std::net::IpAddr;
use std::net::SocketAddr;

pub use self::multipart::Content;
pub use self::multipart::find;
pub use self::read::parse;
pub use self::rewrite::Relay;
pub use self::rewrite::RewriteError;
pub use self::rewrite::rewrite;
use crate::span::Span;

/// How many streams one session has at most, rejected ones counted. Audio, video, a
/// shared screen and a few that were rejected before (RFC 3264 §8.2 keeps their m= lines
/// for ever) are five or six; a body with more is refused.
pub const STREAMS_MAX: usize = 8;

/// Why a body is no session description that we can stand between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// It does not start with `v=0`.
    #[error("the body does not start with v=0")]
    Version,
    /// A line is no `x=..`, or holds a lone CR or a NUL.
    #[error("a line of the SDP is not of the form x=value")]
    Line,
    /// An m= line cannot be read.
    #[error("an m= line of the SDP cannot be read")]
    Media,
    /// A c= line cannot be read, there are two in one section, or a stream has none.
    #[error("a stream of the SDP lacks one c= line that can be read")]
    Connection,
    /// An a=rtcp line cannot be read, or there are two in one section.
    #[error("an a=rtcp line of the SDP cannot be read")]
    Rtcp,
    /// More than [`STREAMS_MAX`] m= lines, or a body longer than a message.
    #[error("the SDP describes more streams than we take")]
    TooMany,
    /// A multipart body cannot be read.
    #[error("the multipart body cannot be read")]
    Multipart,
    /// Two parts of a body describe a session, or what does is encoded.
    #[error("the body holds no single session description in plain text")]
    Part,
}

/// What a c= or a=rtcp line says for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// A unicast address. 0.0.0.0 is a hold of RFC 2543 (RFC 3264 §8.4), and we take :: for
    /// the same.
    Ip(IpAddr),
    /// A name.
    Name,
    /// A multicast address, or one with a TTL or a count.
    Multicast,
}

/// An address, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The address.
    pub address: Address,
    /// Address type and address: `IP4 192.0.2.1`, `IP6 2001:db8::1`.
    pub place: Span,
}

/// Which way media flows, as the writer of the SDP sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// From the writer only.
    SendOnly,
    /// To the writer only.
    RecvOnly,
    /// Neither.
    Inactive,
}

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// `audio`.
    Audio,
    /// `video`.
    Video,
    /// Anything else.
    Other,
}

/// An a=rtcp line (RFC 3605).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtcp {
    /// The port.
    pub port: u16,
    /// Where the port stands.
    pub port_place: Span,
    /// The address, where the line has one.
    pub connection: Option<Connection>,
}

/// One m= line and what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// What it carries.
    pub media: Media,
    /// The port for RTP; 0 for a stream that is rejected or gone (RFC 3264 §6).
    pub port: u16,
    /// Where the port stands.
    pub port_place: Span,
    /// How many ports the m= line asks for; 1 where it does not say.
    pub port_count: u32,
    /// The transport protocol, such as `RTP/AVP`.
    pub proto: Span,
    /// Whether it is RTP over UDP, in the clear or not.
    pub is_rtp: bool,
    /// The payload types of RTP, a bit each; none where it is not RTP.
    pub payload_types: u128,
    /// Its own c= line.
    pub connection: Option<Connection>,
    /// Its a=rtcp line.
    pub rtcp: Option<Rtcp>,
    /// Whether it has a=rtcp-mux (RFC 5761).
    pub rtcp_mux: bool,
    /// Its own direction.
    pub direction: Option<Direction>,
    /// Where a c= line goes that is to be added: behind m= and i=.
    connection_at: u16,
    /// The end of its last line.
    end: u16,
}

/// Where the writer of a session description wants a stream's media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// RTP goes here. The address is 0.0.0.0 or :: in a hold of RFC 2543.
    pub rtp: SocketAddr,
    /// RTCP goes here, unless both sides agree on rtcp-mux: what a=rtcp says, or else
    /// the next port.
    pub rtcp: SocketAddr,
}

/// Why we cannot stand between the ends of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanchored {
    /// Its port is 0: there is no media.
    Rejected,
    /// It is not RTP over UDP.
    NotRtp,
    /// Its address is a name.
    Name,
    /// Its address is multicast.
    Multicast,
    /// It asks for more than one pair of ports.
    PortCount,
}

/// A session description, as offsets into its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Session {
    streams: [Option<Stream>; STREAMS_MAX],
    stream_count: usize,
    /// The c= line above all streams.
    pub connection: Option<Connection>,
    /// The direction above all streams.
    pub direction: Option<Direction>,
    /// Whether its lines end in LF alone, which RFC 8866 §5 asks readers to take.
    lf_only: bool,
}

impl Session {
    /// The streams, in order.
    pub fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.streams.iter().take(self.stream_count).flatten()
    }

    /// How many streams there are, rejected ones counted.
    #[must_use]
    pub const fn stream_count(&self) -> usize {
        self.stream_count
    }

    /// The address of a stream: its own, or the session's.
    #[must_use]
    pub fn connection_of(&self, stream: &Stream) -> Option<Connection> {
        stream.connection.or(self.connection)
    }

    /// The direction of a stream: its own, or the session's, or both ways (RFC 8866
    /// §6.7).
    #[must_use]
    pub fn direction_of(&self, stream: &Stream) -> Direction {
        stream.direction.or(self.direction).unwrap_or_default()
    }

    /// Where the writer wants a stream's media.
    ///
    /// # Errors
    /// Why we cannot stand between.
    pub fn endpoint(&self, stream: &Stream) -> Result<Endpoint, Unanchored> {
        if stream.port == 0 {
            return Err(Unanchored::Rejected);
        }
        if !stream.is_rtp {
            return Err(Unanchored::NotRtp);
        }
        if stream.port_count != 1 {
            return Err(Unanchored::PortCount);
        }
        // A stream without any c= line has not passed `parse`.
        let rtp = ip(self
            .connection_of(stream)
            .map_or(Address::Name, |c| c.address))?;
        let (rtcp, rtcp_port) = match stream.rtcp {
            Some(Rtcp {
                port,
                connection: Some(own),
                ..
            }) => (ip(own.address)?, port),
            Some(Rtcp { port, .. }) => (rtp, port),
            None => (rtp, stream.port.saturating_add(1)),
        };
        Ok(Endpoint {
            rtp: SocketAddr::new(rtp, stream.port),
            rtcp: SocketAddr::new(rtcp, rtcp_port),
        })
    }
}

fn ip(address: Address) -> Result<IpAddr, Unanchored> {
    match address {
        Address::Ip(address) => Ok(address),
        Address::Name => Err(Unanchored::Name),
        Address::Multicast => Err(Unanchored::Multicast),
    }
}

#[cfg(test)]
mod tests;
