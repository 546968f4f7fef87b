//! Writing text into a buffer that somebody else owns.

use core::fmt;
use std::net::IpAddr;
use std::net::Ipv4Addr;

/// The buffer was too short for the text. Nothing of it must be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text does not fit the buffer")]
pub struct TooLong;

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
    pub fn push(&mut self, bytes: &[u8]) {
        let end = self.len.saturating_add(bytes.len());
        match self.buffer.get_mut(self.len..end) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.len = end;
            }
            None => self.overflowed = true,
        }
    }

    /// Appends a number in decimal.
    pub fn decimal(&mut self, number: u32) {
        let mut digits = [0_u8; 10];
        let mut rest = number;
        let mut used = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b"0123456789"[(rest % 10) as usize];
            rest /= 10;
            used += 1;
            if rest == 0 {
                break;
            }
        }
        self.push(digits.get(digits.len() - used..).unwrap_or(&[]));
    }

    /// Appends an IPv4 address in dotted decimal.
    pub fn ipv4(&mut self, address: Ipv4Addr) {
        let mut digits = [b'.'; 16];
        let mut len = 0;
        for octet in address.octets() {
            let [hundreds, tens, ones] = [octet / 100, octet / 10 % 10, octet % 10];
            for (digit, written) in [(hundreds, octet >= 100), (tens, octet >= 10), (ones, true)] {
                // What is not written is written over; the mask spares a check.
                digits[len & 15] = b'0' + digit;
                len += usize::from(written);
            }
            digits[len & 15] = b'.';
            len += 1;
        }
        self.push(digits.get(..len - 1).unwrap_or(&[]));
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
        for number in [0, 7, 10, 65_535, u32::MAX] {
            assert_eq!(written(|text| text.decimal(number)), number.to_string());
        }
        for address in ["0.0.0.0", "192.0.2.255", "2001:db8::1"] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(written(|text| text.ip(address)), address.to_string());
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
