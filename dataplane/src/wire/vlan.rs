//! VLAN tags (IEEE 802.1Q, 802.1ad).
//!
//! ```text
//!   stations   outer tag      inner tag      EtherType
//!  ┌─────────┬──────┬───────┬──────┬───────┬───────────┐
//!  │ 12 bytes│ TPID │ TCI   │ TPID │ TCI   │ of the IP │
//!  └─────────┴──────┴───────┴──────┴───────┴───────────┘
//! ```
//!
//! A TCI is priority (3 bits), drop eligible (1) and identifier (12). Only the identifier
//! tells VLANs apart; we send the other bits as zero.

use super::ethernet::MacAddress;

/// Tags of a frame that we take.
pub const TAGS_MAX: usize = 2;

/// Bytes of a tag.
pub const TAG_LEN: usize = 4;

/// Tag protocol identifier of a customer VLAN, and of the inner of two tags.
pub const TPID_8021Q: u16 = 0x8100;

/// Tag protocol identifier of a service VLAN, the outer of two tags.
pub const TPID_8021AD: u16 = 0x88a8;

const STATIONS_LEN: usize = 2 * size_of::<MacAddress>();
const IDENTIFIER: u16 = 0x0fff;

/// The tags of a frame or of an interface: none, one or two, the outer first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VlanStack {
    /// Protocol and identifier of the outer tag, then of the inner; a protocol of 0 is no
    /// tag. Four words compare as one number.
    words: [u16; 2 * TAGS_MAX],
}

impl VlanStack {
    /// No tag.
    pub const NONE: VlanStack = VlanStack {
        words: [0; 2 * TAGS_MAX],
    };

    /// One tag of 802.1Q. Of `id` the lower 12 bits count.
    #[must_use]
    pub const fn one(id: u16) -> VlanStack {
        VlanStack::NONE.with(TPID_8021Q, id)
    }

    /// Two tags; the outer is of the protocol `tpid`, the inner of 802.1Q.
    #[must_use]
    pub const fn two(tpid: u16, outer: u16, inner: u16) -> VlanStack {
        VlanStack::NONE.with(tpid, outer).with(TPID_8021Q, inner)
    }

    /// These tags and one more inside them. A stack of [`TAGS_MAX`] stays as it is.
    const fn with(self, tpid: u16, tci: u16) -> VlanStack {
        let id = tci & IDENTIFIER;
        let words = match self.words {
            [0, ..] => [tpid, id, 0, 0],
            [outer, outer_id, 0, _] => [outer, outer_id, tpid, id],
            full => full,
        };
        VlanStack { words }
    }

    /// True without any tag.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.words[0] == 0
    }

    const fn count(&self) -> usize {
        match self.words {
            [0, ..] => 0,
            [_, _, 0, _] => 1,
            _ => 2,
        }
    }

    /// Bytes that the tags take in a frame: 0, 4 or 8.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count() * TAG_LEN
    }

    /// The tags as they stand in a frame, priority 0; [`VlanStack::len`] bytes count.
    #[must_use]
    pub fn bytes(&self) -> [u8; TAGS_MAX * TAG_LEN] {
        let [[a, b], [c, d], [e, f], [g, h]] = self.words.map(u16::to_be_bytes);
        [a, b, c, d, e, f, g, h]
    }

    /// The tag protocol identifier of the outer tag; 0 without any.
    #[must_use]
    pub const fn outer_tpid(&self) -> u16 {
        self.words[0]
    }

    /// Protocol and identifier of each tag, outer first.
    pub fn tags(&self) -> impl Iterator<Item = (u16, u16)> {
        let [outer, outer_id, inner, inner_id] = self.words;
        let tags = [(outer, outer_id), (inner, inner_id)];
        tags.into_iter().take(self.count())
    }

    /// The identifiers, outer first.
    pub fn ids(&self) -> impl Iterator<Item = u16> {
        self.tags().map(|(_, id)| id)
    }

    /// The tags of a frame, and the EtherType behind them. A third tag's TPID comes out as
    /// the EtherType, which is then none that anybody takes. `None` where the frame ends first.
    #[must_use]
    pub fn read(frame: &[u8]) -> Option<(VlanStack, u16)> {
        let mut stack = VlanStack::NONE;
        let mut rest = frame.get(STATIONS_LEN..)?;
        loop {
            let (&[high, low], behind) = rest.split_first_chunk()?;
            let ethertype = u16::from_be_bytes([high, low]);
            let is_tag = matches!(ethertype, TPID_8021Q | TPID_8021AD);
            if !is_tag || stack.count() == TAGS_MAX {
                return Some((stack, ethertype));
            }
            let (&[high, low], behind) = behind.split_first_chunk()?;
            stack = stack.with(ethertype, u16::from_be_bytes([high, low]));
            rest = behind;
        }
    }
}

impl std::fmt::Display for VlanStack {
    /// The identifiers, outer first, with a point between: `100`, `200.100`; `-` without any.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_empty() {
            return out.write_str("-");
        }
        for (at, id) in self.ids().enumerate() {
            let point = if at == 0 { "" } else { "." };
            write!(out, "{point}{id}")?;
        }
        Ok(())
    }
}
