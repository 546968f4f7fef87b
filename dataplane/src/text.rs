//! Writing text into a buffer that somebody else owns.

use core::fmt;
use std::net::IpAddr;
use std::net::Ipv4Addr;

/// The buffer was too short for the text. Nothing of it must be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text does not fit the buffer")]
pub struct TooLong;

/// How long a piece may be that is copied as so many bytes.
const SHORT_LEN_MAX: usize = 32;

/// The two digits of every number below a hundred.
const PAIRS: [[u8; 2]; 100] = {
    let mut table = [[b'0'; 2]; 100];
    let mut number = 0_u8;
    while number < 100 {
        table[number as usize] = [b'0' + number / 10, b'0' + number % 10];
        number += 1;
    }
    table
};

/// The digits of every octet with a dot behind them, and how many bytes that is.
const OCTETS: [([u8; 4], u8); 256] = {
    let mut table = [([0; 4], 0); 256];
    let mut octet = u8::MAX;
    loop {
        let digits = [
            b'0' + octet / 100,
            b'0' + octet / 10 % 10,
            b'0' + octet % 10,
        ];
        let [hundreds, tens, ones] = digits;
        table[octet as usize] = match octet {
            100.. => ([hundreds, tens, ones, b'.'], 4),
            10.. => ([tens, ones, b'.', 0], 3),
            _ => ([ones, b'.', 0, 0], 2),
        };
        if octet == 0 {
            break table;
        }
        octet -= 1;
    }
};

/// Text that grows inside a fixed buffer.
///
/// Writing past the end is remembered, not done, so that a writer may push a whole
/// message and ask once, with [`Text::finish`], whether all of it fitted.
#[derive(Debug)]
pub struct Text<'b> {
    buffer: &'b mut [u8],
    len: usize,
    overflowed: bool,
}

impl<'b> Text<'b> {
    /// An empty text in `buffer`.
    pub fn new(buffer: &'b mut [u8]) -> Text<'b> {
        Text {
            buffer,
            len: 0,
            overflowed: false,
        }
    }

    /// Appends bytes.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) {
        let room = self.buffer.get_mut(self.len..).unwrap_or(&mut []);
        match room.get_mut(..bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.overflowed = true,
        }
    }

    /// Appends `bytes[from..end]`, or nothing where that is past the end.
    ///
    /// Most of what a message is made of is short. Such a piece is copied together with what
    /// follows it, as a fixed number of bytes, and the next piece is written over the rest: that
    /// costs less than to call for a copy of just so many.
    #[inline]
    pub fn push_part(&mut self, bytes: &[u8], from: usize, end: usize) {
        let len = end.saturating_sub(from);
        let piece = bytes.get(from..).and_then(<[u8]>::first_chunk);
        let room = self.buffer.get_mut(self.len..);
        let room = room.and_then(<[u8]>::first_chunk_mut::<SHORT_LEN_MAX>);
        match (piece, room) {
            (Some(piece), Some(room)) if len <= SHORT_LEN_MAX => {
                *room = *piece;
                self.len += len;
            }
            _ => self.push(bytes.get(from..end).unwrap_or(&[])),
        }
    }

    /// Appends a number in decimal.
    pub fn decimal(&mut self, number: u32) {
        // The digits end in the middle: what follows them is for `push_part` to copy.
        let mut digits = [0; 2 * SHORT_LEN_MAX];
        let mut start = SHORT_LEN_MAX;
        let mut rest = number;
        loop {
            let [tens, ones] = PAIRS[(rest % 100) as usize];
            // The masks spare checks.
            digits[(start - 1) % SHORT_LEN_MAX] = ones;
            digits[(start - 2) % SHORT_LEN_MAX] = tens;
            if rest < 100 {
                start -= if rest < 10 { 1 } else { 2 };
                break;
            }
            start -= 2;
            rest /= 100;
        }
        self.push_part(&digits, start, SHORT_LEN_MAX);
    }

    /// Appends an IPv4 address in dotted decimal.
    pub fn ipv4(&mut self, address: Ipv4Addr) {
        let mut digits = [0; SHORT_LEN_MAX];
        let mut len = 0;
        for octet in address.octets() {
            let (spelled, spelled_len) = OCTETS[usize::from(octet)];
            if let Some(room) = digits.get_mut(len..len + spelled.len()) {
                // What is not of this octet is written over by the next.
                room.copy_from_slice(&spelled);
            }
            len += usize::from(spelled_len);
        }
        self.push_part(&digits, 0, len - 1);
    }

    /// Appends an address: IPv6 without brackets.
    pub fn ip(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.ipv4(address),
            // `write` fails only where `push` has remembered the overflow already.
            IpAddr::V6(address) => drop(fmt::Write::write_fmt(self, format_args!("{address}"))),
        }
    }

    /// How many bytes were written.
    ///
    /// # Errors
    /// [`TooLong`] when some of the text did not fit.
    pub fn finish(self) -> Result<usize, TooLong> {
        if self.overflowed {
            Err(TooLong)
        } else {
            Ok(self.len)
        }
    }
}

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        if self.overflowed {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(fill: impl FnOnce(&mut Text<'_>)) -> String {
        let mut buffer = [0; 64];
        let mut text = Text::new(&mut buffer);
        fill(&mut text);
        let len = text.finish().unwrap();
        String::from_utf8(buffer[..len].to_vec()).unwrap()
    }

    #[test]
    fn numbers_and_addresses_are_written_as_the_standard_library_does() {
        for number in [0, 7, 10, 99, 100, 705, 1_000, 65_535, u32::MAX] {
            assert_eq!(written(|text| text.decimal(number)), number.to_string());
        }
        for address in ["0.0.0.0", "192.0.2.255", "10.99.100.9", "2001:db8::1"] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(written(|text| text.ip(address)), address.to_string());
        }
    }

    #[test]
    fn parts_of_every_length_are_written_and_nothing_behind_them_is_harmed() {
        let source: Vec<u8> = (0..100).collect();
        for room in [0, 20, 40, 70, 200] {
            for (from, end) in [
                (0, 0),
                (3, 7),
                (60, 92),
                (95, 100),
                (0, 33),
                (7, 3),
                (90, 101),
            ] {
                let known = source.get(from..end).unwrap_or(&[]);
                let mut buffer = vec![0; room];
                let mut text = Text::new(&mut buffer);
                text.push(b"ab");
                text.push_part(&source, from, end);
                text.push(b"cd");
                let len = text.finish();
                if room < known.len() + 4 {
                    assert_eq!(len, Err(TooLong));
                } else {
                    assert_eq!(&buffer[..len.unwrap()], [b"ab", known, b"cd"].concat());
                }
            }
        }
    }

    #[test]
    fn an_overflow_is_remembered_even_if_later_text_would_fit() {
        let mut buffer = [0; 4];
        let mut text = Text::new(&mut buffer);
        text.push(b"abcde");
        text.push(b"f");
        assert_eq!(text.finish(), Err(TooLong));
    }
}
