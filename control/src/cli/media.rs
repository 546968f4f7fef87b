//! The media of a capture, told by its headers: one row a direction and stream.

use std::net::SocketAddr;
use std::time::Duration;

use super::tables::Paper;
use super::tables::media_rows;

/// Streams that are told apart; a capture of one user has a handful.
const STREAMS_MAX: usize = 64;

/// A stream in one direction between two ports.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Who sends.
    pub source: SocketAddr,
    /// To whom.
    pub destination: SocketAddr,
    /// RTP's payload type, or none for RTCP.
    pub payload_type: Option<u8>,
    /// Packets seen.
    pub packets: u64,
    /// The first and the last.
    pub between: [Duration; 2],
    /// RTP's sequence numbers, extended (RFC 3550 appendix A.1): the first and the highest.
    pub sequence: [u64; 2],
    ssrc: u32,
}

impl Stream {
    /// Packets that are missing between the first and the last.
    #[must_use]
    pub fn missing(&self) -> u64 {
        let [first, highest] = self.sequence;
        (highest - first + 1).saturating_sub(self.packets)
    }
}

/// The streams of a capture.
#[derive(Clone, Debug, Default)]
pub struct Media {
    streams: Vec<Stream>,
}

impl Media {
    /// True where there was none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Takes what is no SIP: counted if it is RTP or RTCP (RFC 5761 §4).
    pub fn packet(&mut self, at: Duration, source: SocketAddr, to: SocketAddr, payload: &[u8]) {
        let &[first, second, high, low, ..] = payload else {
            return;
        };
        if first >> 6 != 2 || payload.len() < 8 {
            return;
        }
        let is_rtcp = (192..=223).contains(&second);
        let payload_type = (!is_rtcp).then_some(second & 0x7f);
        let number = u64::from(u16::from_be_bytes([high, low]));
        let ssrc = match payload.get(8..12) {
            Some(&[a, b, c, d]) if !is_rtcp => u32::from_be_bytes([a, b, c, d]),
            _ => 0,
        };
        let known = self.streams.iter_mut().find(|stream| {
            let same = (stream.source, stream.destination) == (source, to);
            same && stream.ssrc == ssrc && stream.payload_type == payload_type
        });
        if let Some(stream) = known {
            stream.packets += 1;
            stream.between[1] = at;
            // The 16 bits that came, near the highest so far.
            let highest = stream.sequence[1];
            let ahead = number.wrapping_sub(highest) & 0xffff;
            if ahead < 0x8000 {
                stream.sequence[1] = highest + ahead;
            }
        } else if self.streams.len() < STREAMS_MAX {
            self.streams.push(Stream {
                source,
                destination: to,
                payload_type,
                packets: 1,
                between: [at, at],
                sequence: [number; 2],
                ssrc,
            });
        }
    }

    /// As a table; nothing where there was none.
    #[must_use]
    pub fn table(&self) -> String {
        if self.streams.is_empty() {
            return String::new();
        }
        let paper = Paper { fit: true };
        format!("\nMedia\n{}", media_rows(paper, &self.streams))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rtp(number: u16) -> [u8; 12] {
        let [high, low] = number.to_be_bytes();
        [0x80, 8, high, low, 0, 0, 0, 0, 1, 2, 3, 4]
    }

    #[test]
    fn packets_are_missed_over_the_wrap_and_late_ones_are_not() {
        let (a, b) = (
            "192.0.2.1:6000".parse().unwrap(),
            "192.0.2.2:7000".parse().unwrap(),
        );
        let mut media = Media::default();
        for number in [65_533, 65_534, 0, 65_535, 3, 2] {
            media.packet(Duration::from_millis(20), a, b, &rtp(number));
        }
        media.packet(Duration::ZERO, b, a, &[0x81, 200, 0, 6, 0, 0, 0, 0]);
        media.packet(Duration::ZERO, b, a, b"\x00\x01stun");
        media.packet(Duration::ZERO, b, a, b"");
        assert_eq!(media.streams.len(), 2);
        // 65,533 to 65,539, of which one (65,537) did not come.
        assert_eq!(
            (media.streams[0].packets, media.streams[0].missing()),
            (6, 1)
        );
        assert_eq!(media.streams[1].payload_type, None);
    }
}
