//! Time as the engine sees it: an argument, never a call.

/// Nanoseconds on the box's monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

impl Tick {
    /// A moment that never comes.
    pub const NEVER: Tick = Tick(u64::MAX);

    /// The tick `ms` milliseconds after the clock's start.
    #[must_use]
    pub const fn ms(ms: u64) -> Tick {
        Tick(ms.saturating_mul(1_000_000))
    }

    /// This tick and `ms` milliseconds more.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Tick {
        Tick(self.0.saturating_add(ms.saturating_mul(1_000_000)))
    }

    /// Nanoseconds that have passed since `earlier`; 0 where it lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Tick) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whole milliseconds since the clock's start.
    #[must_use]
    pub const fn as_ms(self) -> u64 {
        self.0 / 1_000_000
    }
}
