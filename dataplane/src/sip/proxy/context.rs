//! The response context (RFC 3261 §16.7): what a request that may go to several targets needs to
//! remember until it has its final answer.
//!
//! A request with one target has none: its one final response is the best.

use super::targets::Targets;
use crate::frame::Kept;
use crate::ids::TrunkIndex;
use crate::sip::endpoint::Endpoint;
use crate::sip::slab::Id;

/// A response context. It lives from the first branch to the final answer; what comes later
/// finds the transactions only.
#[derive(Debug)]
pub(super) struct Context {
    /// The server transaction that is to be answered.
    pub server: Id,
    /// The request as it came: every branch is made of it (RFC 3261 §16.6 step 1).
    pub request: Kept,
    /// The contacts that its targets are, see [`super::found`].
    pub found: Option<Kept>,
    /// Who sent it.
    pub source: Endpoint,
    /// The trunk that it came from.
    pub caller: TrunkIndex,
    /// Whom it may be sent to.
    pub targets: Targets,
    /// The best final response so far.
    pub best: Option<Candidate>,
    /// Header lines: the challenges of 401s and 407s that are not the best response.
    pub challenges: Option<Kept>,
}

/// A final response that may become the answer.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Its status.
    pub status: u16,
    /// The response as it came; `None` where the box itself says it.
    pub response: Option<Kept>,
}

impl Context {
    /// True where the targets are the contacts of a user, those of a lane the flows of a device.
    pub const fn is_of_user(&self) -> bool {
        self.found.is_some()
    }

    /// True where a response with `status` is better than the best so far (RFC 3261 §16.7
    /// step 6). Of equal ones the first remains.
    pub fn is_better(&self, status: u16) -> bool {
        let best = self.best.as_ref();
        best.is_none_or(|best| rank(status) < rank(best.status))
    }
}

/// RFC 3261 §16.7 step 6: the lower, the better. 6xx above all, then the lowest class. In 4xx
/// what tells the caller how to try again comes first, and last what says least, as that a flow is
/// dead (RFC 5626 §11.5); a 503 says nothing of other next hops.
pub(super) const fn rank(status: u16) -> u16 {
    match status {
        600.. => 0,
        401 | 407 => 400,
        415 | 420 | 484 => 401,
        408 | 430 | 487 => 403,
        400..=499 => 402,
        503 => 501,
        500..=599 => 500,
        other => other / 100 * 100,
    }
}

/// True for the responses whose challenges are put together (RFC 3261 §16.7 step 7).
pub(super) const fn is_challenge(status: u16) -> bool {
    matches!(status, 401 | 407)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_final_responses() {
        let from_best_to_worst = [603, 302, 401, 484, 404, 408, 500, 503];
        for pair in from_best_to_worst.windows(2) {
            assert!(rank(pair[0]) < rank(pair[1]), "{pair:?}");
        }
        assert_eq!(rank(401), rank(407));
        assert_eq!(rank(486), rank(404));
    }
}
