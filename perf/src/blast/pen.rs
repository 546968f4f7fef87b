//! Writes text into bytes that were lent, without allocating.

/// A place in a buffer. What does not fit is left out, and [`Pen::done`] says so.
#[derive(Debug)]
pub struct Pen<'b> {
    room: &'b mut [u8],
    len: usize,
    overrun: bool,
}

impl<'b> Pen<'b> {
    /// Begins at the start of `room`.
    #[must_use]
    pub fn new(room: &'b mut [u8]) -> Pen<'b> {
        Pen {
            room,
            len: 0,
            overrun: false,
        }
    }

    /// Writes bytes as they are.
    pub fn put(&mut self, bytes: impl AsRef<[u8]>) -> &mut Pen<'b> {
        let bytes = bytes.as_ref();
        match self.room.get_mut(self.len..self.len + bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => self.overrun = true,
        }
        self
    }

    /// Writes a number in decimal.
    pub fn number(&mut self, mut number: u64) -> &mut Pen<'b> {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = DIGITS[(number % 10) as usize];
            number /= 10;
            if number == 0 {
                return self.put(&digits[at..]);
            }
        }
    }

    /// Writes a number as eight hexadecimal digits.
    pub fn hex(&mut self, number: u32) -> &mut Pen<'b> {
        let mut digits = [0; 8];
        for (place, digit) in digits.iter_mut().rev().enumerate() {
            *digit = DIGITS[(number >> (4 * place) & 15) as usize];
        }
        self.put(digits)
    }

    /// How many bytes were written; `None` if not all that should have been.
    #[must_use]
    pub fn done(&self) -> Option<usize> {
        (!self.overrun).then_some(self.len)
    }
}

const DIGITS: [u8; 16] = *b"0123456789abcdef";

/// Reads what [`Pen::hex`] wrote.
#[must_use]
pub fn read_hex(digits: &[u8]) -> Option<u32> {
    if digits.len() != 8 {
        return None;
    }
    digits.iter().try_fold(0, |number, &digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u32::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_they_are_read() {
        let mut room = [0; 64];
        let mut pen = Pen::new(&mut room);
        pen.put("n=")
            .number(0)
            .put(",")
            .number(18_446_744_073_709_551_615);
        pen.put(" x=").hex(0xdead_beef);
        let len = pen.done().unwrap();
        assert_eq!(&room[..len], b"n=0,18446744073709551615 x=deadbeef");
        assert_eq!(read_hex(b"deadbeef"), Some(0xdead_beef));
        for wrong in [&b"deadbee"[..], b"deadbeeg", b"", b"DEADBEEF", b"deadbeef0"] {
            assert_eq!(read_hex(wrong), None);
        }
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let mut room = [0; 3];
        let mut pen = Pen::new(&mut room);
        assert_eq!(pen.put("abcd").put("ab").done(), None);
    }
}
