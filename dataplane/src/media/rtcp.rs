//! As much of RTCP as the relay must know (RFC 3550 §6.4, RFC 5761 §4).

/// Length in bytes of the shortest packet that may stand first: the common
/// header and an SSRC, as in an empty receiver report.
pub const PACKET_LEN_MIN: usize = 8;

/// The packet type of `payload`, if it is version 2 and long enough to be
/// RTCP, and the type is one that RFC 5761 §4 keeps for it: 192 to 223.
///
/// On a port with RTP these are what RTP payload types 64 to 95 look like
/// under a marker bit, so a multiplexed session does not use those.
#[must_use]
pub fn packet_type(payload: &[u8]) -> Option<u8> {
    let &[first, packet_type, ..] = payload.first_chunk::<PACKET_LEN_MIN>()?;
    (first >> 6 == 2 && is_packet_type(packet_type)).then_some(packet_type)
}

/// True if the second byte of a packet is an RTCP packet type.
#[must_use]
pub const fn is_packet_type(second: u8) -> bool {
    matches!(second, 192..=223)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_rtcp_from_rtp() {
        assert_eq!(packet_type(&[0x80, 200, 0, 6, 1, 2, 3, 4]), Some(200));
        assert_eq!(packet_type(&[0x80, 201, 0, 1, 1, 2, 3]), None);
        assert_eq!(packet_type(&[0x00, 201, 0, 1, 1, 2, 3, 4]), None);
        assert_eq!(packet_type(&[0x80, 0x80, 0, 1, 1, 2, 3, 4]), None);
        assert!(!is_packet_type(191) && is_packet_type(192));
        assert!(is_packet_type(223) && !is_packet_type(224));
    }
}
