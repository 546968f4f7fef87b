//! What a packet on a media port is, told by its first byte (RFC 7983 §7).

/// The protocols that share a media port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// STUN: 0 to 3.
    Stun,
    /// ZRTP: 16 to 19.
    Zrtp,
    /// DTLS: 20 to 63.
    Dtls,
    /// A TURN channel: 64 to 79.
    TurnChannel,
    /// RTP or RTCP, version 2: 128 to 191.
    Rtp,
    /// None of them. RFC 7983 §7: the packet MUST be dropped.
    Unknown,
}

/// The protocol that a payload's first byte tells.
#[must_use]
pub const fn protocol(first: u8) -> Protocol {
    match first {
        0..=3 => Protocol::Stun,
        16..=19 => Protocol::Zrtp,
        20..=63 => Protocol::Dtls,
        64..=79 => Protocol::TurnChannel,
        128..=191 => Protocol::Rtp,
        _ => Protocol::Unknown,
    }
}
