//! The count of every frame's place.

use std::fmt;

/// How many chunks are in each place, of one worker's UMEM.
///
/// `free + fill + rx + held + tx + completion = total` at every moment
/// (design rule 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// All chunks of the UMEM.
    pub total: u32,
    /// In the pool, nobody's.
    pub free: u32,
    /// With the kernel, to receive into.
    pub fill: u32,
    /// Received, waiting in an rx ring.
    pub rx: u32,
    /// With the worker, as [`Frame`](super::Frame) tokens.
    pub held: u32,
    /// With the kernel, to send.
    pub tx: u32,
    /// Sent, waiting in a completion ring.
    pub completion: u32,
}

impl Ledger {
    /// True if every chunk is in exactly one place.
    #[must_use]
    pub fn balanced(&self) -> bool {
        // Wide, so that a count gone wild cannot wrap back into balance.
        let places = [
            self.free,
            self.fill,
            self.rx,
            self.held,
            self.tx,
            self.completion,
        ];
        places.iter().map(|&count| u64::from(count)).sum::<u64>() == u64::from(self.total)
    }

    /// True if the ledger is balanced and nothing is on its way: what is left
    /// in `held` then is a leak.
    #[must_use]
    pub fn at_rest(&self) -> bool {
        self.balanced() && self.rx == 0 && self.held == 0 && self.tx == 0 && self.completion == 0
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "free {} + fill {} + rx {} + held {} + tx {} + completion {} of {}",
            self.free, self.fill, self.rx, self.held, self.tx, self.completion, self.total
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_frame_unbalances() {
        let ledger = Ledger {
            total: 8,
            free: 1,
            fill: 3,
            rx: 1,
            held: 1,
            tx: 1,
            completion: 1,
        };
        assert!(ledger.balanced());
        assert!(!ledger.at_rest());
        assert!(!Ledger { held: 0, ..ledger }.balanced());
        assert!(
            Ledger {
                total: 4,
                free: 1,
                fill: 3,
                ..Ledger::default()
            }
            .at_rest()
        );
    }
}
