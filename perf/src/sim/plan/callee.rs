//! What a callee does with an INVITE, and what may come of it.

/// What a callee does with an INVITE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callee {
    /// It rings and answers.
    Answers,
    /// It sends media before it answers: 183 with a session description.
    SendsEarly,
    /// Its 183 is reliable (RFC 3262).
    IsReliable,
    /// It refuses with this status.
    Refuses(u16),
    /// It says nothing at all.
    IsDead,
    /// Nothing listens on its port for so many milliseconds, as ICMP says; then it answers.
    IsClosed(u16),
    /// It rings and never answers, until it is cancelled.
    Rings,
    /// It rings, is not impressed by CANCEL, and answers with 200 all the same.
    Insists,
    /// It says nothing for so many milliseconds, then answers with 200 at once.
    IsSlow(u16),
    /// The same, and a second phone behind it answers too.
    IsSlowTwice(u16),
    /// It says nothing for so many milliseconds, then rings and answers.
    RingsLate(u16),
    /// It is a proxy with so many phones behind it: as many To tags ring, the last answers.
    Forks(u8),
    /// There are two phones, and both answer.
    ForksTwice,
    /// Once it talks it calls a number that leads back to itself, with the caller's tag for its
    /// own and the dialog's Call-ID, and answers itself with the tag that it has in the dialog.
    Steals,
    /// A switch that sends back to the box what is no INVITE.
    SendsBack,
}

impl Callee {
    /// The final statuses that may come of it when the caller does not cancel.
    #[must_use]
    pub const fn says(self) -> &'static [u16] {
        match self {
            Callee::Refuses(status) => match status {
                302 => &[302],
                401 => &[401],
                404 => &[404],
                407 => &[407],
                408 => &[408],
                480 => &[480],
                486 => &[486],
                // It does not go on as it is (RFC 3261 §16.7 step 6).
                503 => &[500],
                603 => &[603],
                _ => &[500],
            },
            Callee::IsDead => &[408],
            // RFC 3261 §16.9, §16.7 step 6: its 503 goes up as a 500.
            Callee::IsClosed(_) => &[200, 500],
            // It loses patience, or Timer C does.
            Callee::Rings => &[408, 480, 487],
            _ => &[200],
        }
    }

    /// True where it may have been given up before it answers.
    pub(super) const fn is_late(self) -> bool {
        matches!(
            self,
            Callee::IsSlow(1_500..) | Callee::IsSlowTwice(_) | Callee::RingsLate(_)
        )
    }

    /// The same of a MESSAGE that is sent to several.
    #[must_use]
    pub const fn says_to_others(self) -> &'static [u16] {
        match self {
            Callee::IsClosed(_) => &[200, 500],
            // RFC 4320 §4.2: a 408 goes nowhere.
            Callee::IsDead | Callee::Refuses(408) => &[],
            Callee::Refuses(_) => self.says(),
            // RFC 5393 §4.1; or what another target said to what came back.
            Callee::SendsBack => &[482],
            _ => &[200],
        }
    }
}
