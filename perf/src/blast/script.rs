//! What a call is about, and how many of each there are.

use std::time::Duration;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// INVITE, 180, 200, ACK, BYE, 200.
    Basic,
    /// The callee is busy: 486.
    Busy,
    /// The caller gives up while it rings: CANCEL, 487.
    Cancel,
    /// As basic, with a re-INVITE that holds and one that takes up again.
    Hold,
    /// No call: REGISTER of a user, 200.
    Register,
}

impl Script {
    /// All of them.
    pub const ALL: [Script; 5] = [
        Script::Basic,
        Script::Busy,
        Script::Cancel,
        Script::Hold,
        Script::Register,
    ];

    /// As the command line and the report call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Script::Basic => "basic",
            Script::Busy => "busy",
            Script::Cancel => "cancel",
            Script::Hold => "hold",
            Script::Register => "register",
        }
    }
}

/// Shares of the scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix([u32; Script::ALL.len()]);

impl Default for Mix {
    /// Basic calls alone.
    fn default() -> Mix {
        Mix([1, 0, 0, 0, 0])
    }
}

impl std::str::FromStr for Mix {
    type Err = String;

    /// Reads `basic=90,cancel=5,hold=5`.
    fn from_str(text: &str) -> Result<Mix, String> {
        let mut shares = [0; Script::ALL.len()];
        for part in text.split(',') {
            let (name, share) = part.split_once('=').unwrap_or((part, "1"));
            let at = Script::ALL.iter().position(|script| script.name() == name);
            let share = share.parse().ok().filter(|&share: &u32| share <= 1_000_000);
            match (at, share) {
                (Some(at), Some(share)) => shares[at] = share,
                (None, _) => {
                    let names = Script::ALL.map(Script::name).join(", ");
                    return Err(format!("there is no script {name:?}: {names}"));
                }
                (_, None) => return Err(format!("the share of {name} is a number up to 1000000")),
            }
        }
        if shares == [0; Script::ALL.len()] {
            return Err("some script needs a share".to_owned());
        }
        Ok(Mix(shares))
    }
}

impl Mix {
    /// The script of the call of that number: shares are kept exactly within each round of their
    /// sum, and mixed within it.
    #[must_use]
    pub fn of(&self, number: u64) -> Script {
        let sum: u64 = self.0.iter().map(|&share| u64::from(share)).sum();
        // A step that has no factor in common with the sum visits every place once a round.
        let step = STEPS
            .into_iter()
            .find(|step| !sum.is_multiple_of(*step))
            .unwrap_or(1);
        let mut place = number % sum * step % sum;
        for (script, &share) in Script::ALL.iter().zip(&self.0) {
            if place < u64::from(share) {
                return *script;
            }
            place -= u64::from(share);
        }
        Script::Basic
    }
}

/// Primes, none of which is likely to divide a sum of shares.
const STEPS: [u64; 4] = [7_919, 104_729, 1_299_709, 15_485_863];

/// How long the parts of a call take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// From the INVITE to the callee's final response, or the caller's CANCEL.
    pub ring: Duration,
    /// From the ACK to the BYE; a held call has its re-INVITEs at a third and two thirds.
    pub talk: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_kept_exactly() {
        let mix: Mix = "basic=90,cancel=7,hold=3".parse().unwrap();
        let count = |wanted| (200..300).filter(|&n| mix.of(n) == wanted).count();
        assert_eq!(Script::ALL.map(count), [90, 0, 7, 3, 0]);
        assert!(
            (0..30).any(|number| mix.of(number) != Script::Basic),
            "mixed"
        );
        assert_eq!(Mix::default().of(12), Script::Basic);
    }

    #[test]
    fn a_wrong_mix_says_what_is_wrong() {
        let error = |text: &str| text.parse::<Mix>().unwrap_err();
        assert_eq!(
            error("basic=1,conference=2"),
            "there is no script \"conference\": basic, busy, cancel, hold, register"
        );
        assert_eq!(
            error("hold=x"),
            "the share of hold is a number up to 1000000"
        );
        assert_eq!(error("basic=0"), "some script needs a share");
    }
}
