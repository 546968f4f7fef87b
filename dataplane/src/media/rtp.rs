//! The fixed header of RTP (RFC 3550 §5.1).

/// Length of the fixed header in bytes.
pub const HEADER_LEN: usize = 12;

/// A packet of RTP version 2, at least as long as the fixed header.
///
/// Nothing behind the fixed header is checked: with SRTP it is not ours to
/// read.
#[derive(Clone, Copy, Debug)]
pub struct Rtp<'p>(&'p [u8; HEADER_LEN]);

impl<'p> Rtp<'p> {
    /// The header of `payload`; `None` if it is too short or of another
    /// version.
    #[must_use]
    pub fn new_checked(payload: &'p [u8]) -> Option<Rtp<'p>> {
        let header = payload.first_chunk::<HEADER_LEN>()?;
        (header[0] >> 6 == 2).then_some(Rtp(header))
    }

    /// The marker bit.
    #[must_use]
    pub fn marker(self) -> bool {
        self.0[1] & 0x80 != 0
    }

    /// The payload type, 0 to 127.
    #[must_use]
    pub fn payload_type(self) -> u8 {
        self.0[1] & 0x7f
    }

    /// The sequence number.
    #[must_use]
    pub fn sequence(self) -> u16 {
        u16::from_be_bytes([self.0[2], self.0[3]])
    }

    /// The timestamp, in units of the payload's clock.
    #[must_use]
    pub fn timestamp(self) -> u32 {
        u32::from_be_bytes([self.0[4], self.0[5], self.0[6], self.0[7]])
    }

    /// The synchronization source.
    #[must_use]
    pub fn ssrc(self) -> u32 {
        u32::from_be_bytes([self.0[8], self.0[9], self.0[10], self.0[11]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: [u8; 14] = [
        0x80, 0x88, 0x12, 0x34, 0, 0, 0, 160, 0xde, 0xad, 0xbe, 0xef, 1, 2,
    ];

    #[test]
    fn reads_the_fixed_header() {
        let rtp = Rtp::new_checked(&PACKET).unwrap();
        assert!(rtp.marker());
        assert_eq!(
            (rtp.payload_type(), rtp.sequence(), rtp.timestamp()),
            (8, 0x1234, 160)
        );
        assert_eq!(rtp.ssrc(), 0xdead_beef);
    }

    #[test]
    fn refuses_a_short_packet_and_another_version() {
        assert!(Rtp::new_checked(&PACKET[..11]).is_none());
        let mut packet = PACKET;
        packet[0] = 0x40;
        assert!(Rtp::new_checked(&packet).is_none());
    }
}
