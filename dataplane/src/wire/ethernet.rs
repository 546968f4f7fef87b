//! Ethernet II.

/// A station's address.
pub type MacAddress = [u8; 6];

/// Length of an Ethernet II header without a VLAN tag.
pub const HEADER_LEN: usize = 14;

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;

/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// The two addresses of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ethernet {
    /// The station it goes to: the next hop.
    pub destination: MacAddress,
    /// The station that sends it: our interface.
    pub source: MacAddress,
}

/// Writes an Ethernet II header without tags.
pub fn write(header: &mut [u8; HEADER_LEN], addresses: &Ethernet, ethertype: u16) {
    let [d0, d1, d2, d3, d4, d5] = addresses.destination;
    let [s0, s1, s2, s3, s4, s5] = addresses.source;
    let [t0, t1] = ethertype.to_be_bytes();
    *header = [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1];
}
