//! Ethernet II.

/// A station's address.
pub type MacAddress = [u8; 6];

/// Length of an Ethernet II header without a VLAN tag.
pub const HEADER_LEN: usize = 14;

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;

/// The two addresses of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ethernet {
    /// The station it goes to: the next hop.
    pub destination: MacAddress,
    /// The station that sends it: our interface.
    pub source: MacAddress,
}

/// An Ethernet II header whose length has been checked.
#[derive(Clone, Copy, Debug)]
pub struct Header<'f>(&'f [u8; HEADER_LEN]);

impl<'f> Header<'f> {
    /// The header of `frame` and what follows it; `None` if `frame` is shorter
    /// than a header.
    #[must_use]
    pub fn new_checked(frame: &'f [u8]) -> Option<(Header<'f>, &'f [u8])> {
        let (header, rest) = frame.split_first_chunk()?;
        Some((Header(header), rest))
    }

    /// The EtherType.
    #[must_use]
    pub fn ethertype(self) -> u16 {
        u16::from_be_bytes([self.0[12], self.0[13]])
    }
}

/// Writes an Ethernet II header that carries IPv4.
pub fn write(header: &mut [u8; HEADER_LEN], addresses: &Ethernet) {
    let [d0, d1, d2, d3, d4, d5] = addresses.destination;
    let [s0, s1, s2, s3, s4, s5] = addresses.source;
    let [t0, t1] = ETHERTYPE_IPV4.to_be_bytes();
    *header = [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1];
}
