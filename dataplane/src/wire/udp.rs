//! UDP (RFC 768).

/// Length of a header.
pub const HEADER_LEN: usize = 8;

/// The checksum field of a packet without checksum.
pub const NO_CHECKSUM: u16 = 0;

/// A UDP header whose length has been checked.
#[derive(Clone, Copy, Debug)]
pub struct Header<'f>(&'f [u8; HEADER_LEN]);

impl<'f> Header<'f> {
    /// The header at the start of `bytes` and what follows it; `None` if
    /// `bytes` is shorter than a header.
    #[must_use]
    pub fn new_checked(bytes: &'f [u8]) -> Option<(Header<'f>, &'f [u8])> {
        let (header, rest) = bytes.split_first_chunk()?;
        Some((Header(header), rest))
    }

    /// The port it was sent from.
    #[must_use]
    pub fn source(self) -> u16 {
        u16::from_be_bytes([self.0[0], self.0[1]])
    }

    /// The port it is for.
    #[must_use]
    pub fn destination(self) -> u16 {
        u16::from_be_bytes([self.0[2], self.0[3]])
    }

    /// Length of header and payload in bytes, as it says itself.
    #[must_use]
    pub fn len(self) -> u16 {
        u16::from_be_bytes([self.0[4], self.0[5]])
    }

    /// True if the packet claims to carry nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        usize::from(self.len()) <= HEADER_LEN
    }

    /// The checksum field as it stands; [`NO_CHECKSUM`] if there is none.
    #[must_use]
    pub fn checksum(self) -> u16 {
        u16::from_be_bytes([self.0[6], self.0[7]])
    }
}

/// Writes a header without checksum. `len` counts header and payload.
pub fn write(header: &mut [u8; HEADER_LEN], source: u16, destination: u16, len: u16) {
    let [s0, s1] = source.to_be_bytes();
    let [d0, d1] = destination.to_be_bytes();
    let [l0, l1] = len.to_be_bytes();
    *header = [s0, s1, d0, d1, l0, l1, 0, 0];
}
