//! What the workers know of one subscriber, and what they have denied to which.

use std::collections::HashMap;

use trunkline_dataplane::sip::denials::Denial;
use trunkline_dataplane::sip::denials::Why;
use trunkline_dataplane::sip::digest::cache::Known;
use trunkline_dataplane::sip::subscriber::Subscriber;
use trunkline_dataplane::tick::Tick;

use crate::api::types;
use crate::engine::Answers;
use crate::engine::Names;

/// What the workers say of one subscriber: what each believes, how many calls it has begun, and what it was
/// last denied.
#[derive(Debug)]
pub struct Said {
    /// By worker.
    pub workers: Vec<types::Believed>,
    /// Calls.
    pub calls: u64,
    /// A denial.
    pub denial: Option<types::Denial>,
    /// All of them did.
    pub complete: bool,
}

/// What they say of it.
pub fn said(answers: &Answers, names: &Names, now: Tick) -> Said {
    let mut workers: Vec<_> = answers
        .dossiers
        .iter()
        .map(|(worker, dossier)| {
            let of = |belief: &str| types::Believed {
                worker: worker.0,
                belief: belief.to_owned(),
                since_s: 0,
                expires_in_s: 0,
                proved_s: None,
            };
            match dossier.known {
                None => of("nothing"),
                Some(look) => types::Believed {
                    since_s: seconds(now.since(look.kept)),
                    expires_in_s: seconds(look.expires.since(now)),
                    proved_s: look.proved.map(|proved| seconds(now.since(proved))),
                    ..of(match look.known {
                        Known::Subscriber(_) => "known",
                        Known::Nobody => "unknown",
                    })
                },
            }
        })
        .collect();
    workers.sort_by_key(|believed| believed.worker);
    let denials = answers
        .dossiers
        .iter()
        .filter_map(|(_, dossier)| dossier.denial);
    let dossiers = answers.dossiers.iter();
    Said {
        workers,
        calls: dossiers.map(|(_, dossier)| u64::from(dossier.calls)).sum(),
        denial: merged(denials, names, now).pop(),
        complete: answers.complete,
    }
}

/// Who was denied what, who most first.
pub fn denials(answers: &Answers, names: &Names, now: Tick) -> types::Denials {
    let mut denials = merged(answers.denials.iter().copied(), names, now);
    denials.sort_by_key(|denial| (std::cmp::Reverse(denial.count), denial.last_s));
    types::Denials {
        denials,
        complete: answers.complete,
    }
}

/// Each subscriber's in one: the last of them, and how many there were at all workers.
fn merged(denials: impl Iterator<Item = Denial>, names: &Names, now: Tick) -> Vec<types::Denial> {
    let mut by_subscriber: HashMap<Subscriber, (Denial, u64)> = HashMap::new();
    for denial in denials {
        let (last, count) = by_subscriber.entry(denial.who).or_insert((denial, 0));
        *count += u64::from(denial.count);
        let first = last.first.min(denial.first);
        if denial.last > last.last {
            *last = denial;
        }
        last.first = first;
    }
    let rows = by_subscriber.into_values().map(|(denial, count)| {
        let (reason, because) = reason(denial.why);
        types::Denial {
            user: String::from_utf8_lossy(denial.who.user.name()).into_owned(),
            domain: names
                .domain(denial.who.domain)
                .unwrap_or_default()
                .to_owned(),
            count,
            since_s: seconds(now.since(denial.first)),
            last_s: seconds(now.since(denial.last)),
            source: denial.source,
            reason: reason.to_owned(),
            because,
        }
    });
    rows.collect()
}

/// For a program, and for a person.
fn reason(why: Why) -> (&'static str, String) {
    let (reason, because) = match why {
        Why::Password => ("password", "wrong password"),
        Why::Nobody => ("nobody", "the store knows no such subscriber"),
        Why::NoHa1 => (
            "no_ha1",
            "the store has no HA1 for the algorithm that it answered by",
        ),
        Why::Another => (
            "another_user",
            "its authentication user is not the user of its address",
        ),
        Why::Store => ("store", "the subscribers' store gave no answer"),
        Why::Calls => ("calls", "as many calls as its domain allows are up"),
        Why::Unregistered => ("unregistered", "it has not registered from there"),
        Why::Register(refusal) => {
            let reason = refusal
                .reason()
                .map_or_else(String::new, |reason| format!(" {reason}"));
            return (
                "register",
                format!("its REGISTER was answered {}{reason}", refusal.status()),
            );
        }
    };
    (reason, because.to_owned())
}

const fn seconds(ns: u64) -> u64 {
    ns / 1_000_000_000
}

#[cfg(test)]
mod tests {
    use trunkline_dataplane::ids::DomainIndex;
    use trunkline_dataplane::ids::ListenIndex;
    use trunkline_dataplane::sip::registrar::Refusal;
    use trunkline_dataplane::sip::subscriber::User;

    use super::*;

    fn names() -> Names {
        Names {
            domains: vec![("example.org".to_owned(), ListenIndex(0))],
            ..Names::default()
        }
    }

    fn denial(user: &str, last: u8, why: Why, count: u32, first: u64, last_ms: u64) -> Denial {
        Denial {
            who: Subscriber {
                domain: DomainIndex(0),
                user: User::new(user.as_bytes()).unwrap(),
            },
            source: ([10, 0, 0, last], 5060).into(),
            why,
            count,
            first: Tick::ms(first),
            last: Tick::ms(last_ms),
        }
    }

    #[test]
    fn a_subscriber_is_told_once_by_its_last_denial_and_who_was_denied_most_first() {
        let answers = Answers {
            denials: vec![
                denial("bob", 1, Why::Password, 1, 8_000, 8_000),
                denial("alice", 2, Why::Password, 3, 2_000, 3_000),
                denial(
                    "alice",
                    3,
                    Why::Register(Refusal::TooManyContacts),
                    4,
                    1_000,
                    9_000,
                ),
            ],
            complete: true,
            ..Answers::default()
        };
        let told = denials(&answers, &names(), Tick::ms(10_000)).denials;
        let rows: Vec<_> = told
            .iter()
            .map(|row| (row.user.as_str(), row.count))
            .collect();
        assert_eq!(rows, [("alice", 7), ("bob", 1)]);
        let alice = &told[0];
        assert_eq!(
            (alice.since_s, alice.last_s, alice.domain.as_str()),
            (9, 1, "example.org")
        );
        assert_eq!(alice.source.to_string(), "10.0.0.3:5060");
        assert_eq!(alice.reason, "register");
        assert_eq!(
            alice.because,
            "its REGISTER was answered 403 Too Many Contacts"
        );
    }
}
