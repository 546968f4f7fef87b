//! What a call is to do.

use super::random::Random;

/// The kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Answered; the caller hangs up.
    Basic,
    /// As basic, but without a media packet: never drawn, for counting instructions.
    Bare,
    /// Answered; the callee hangs up.
    CalleeHangsUp,
    /// Both hang up at once.
    BothHangUp,
    /// Refused with this status.
    Refused(u16),
    /// Cancelled while it rings.
    Cancel,
    /// Cancelled at the first provisional response, which is the box's own 100.
    EarlyCancel,
    /// Cancelled at the moment at which it is answered.
    CancelRace,
    /// Nobody is there: no answer to the INVITE at all.
    Silent,
    /// Held and resumed by the caller, then hung up.
    Hold,
    /// The offer comes in the 200, the answer in the ACK.
    LateOffer,
    /// Media before the answer: a 183 with SDP.
    EarlyMedia,
    /// OPTIONS to the box itself.
    OptionsBox,
    /// OPTIONS through the box.
    OptionsThrough,
}

impl Plan {
    /// Draws one.
    pub const fn draw(random: &mut Random) -> Plan {
        match random.between(0, 19) {
            0..=4 => Plan::Basic,
            5 => Plan::CalleeHangsUp,
            6 => Plan::BothHangUp,
            7 => Plan::Refused(486),
            8 => Plan::Refused(match random.between(0, 4) {
                0 => 302,
                1 => 404,
                2 => 480,
                3 => 500,
                _ => 603,
            }),
            9 | 10 => Plan::Cancel,
            11 => Plan::EarlyCancel,
            12 => Plan::CancelRace,
            13 => Plan::Silent,
            14 | 15 => Plan::Hold,
            16 => Plan::LateOffer,
            17 => Plan::EarlyMedia,
            18 => Plan::OptionsBox,
            _ => Plan::OptionsThrough,
        }
    }

    /// True where an answered call is what comes of it, if nothing is lost.
    #[must_use]
    pub const fn is_answered(self) -> bool {
        matches!(
            self,
            Plan::Basic
                | Plan::CalleeHangsUp
                | Plan::BothHangUp
                | Plan::Hold
                | Plan::LateOffer
                | Plan::EarlyMedia
        )
    }
}
