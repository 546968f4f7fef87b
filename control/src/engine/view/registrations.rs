//! Where users have registered, and how it stands with the store that keeps it.

use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::counters::Counters;

use crate::api::types::LocationStatus;
use crate::api::types::Registration;
use crate::api::types::Registrations;
use crate::engine::queries::Answers;

/// The store's, with how many contacts the workers have.
pub fn status(store: Option<&LocationStatus>, counters: &[Counters]) -> Option<LocationStatus> {
    let contacts = counters
        .iter()
        .map(|counters| counters.get(Counter::BindingsNow))
        .sum();
    Some(LocationStatus {
        contacts,
        ..store?.clone()
    })
}

/// Contacts of users, in the order of domains, of users, and of q.
pub fn registrations(answers: Answers) -> Registrations {
    let rows = answers.registrations.into_iter();
    let mut registrations: Vec<_> = rows
        .map(|(worker, row)| Registration {
            worker: worker.0,
            ..row
        })
        .collect();
    registrations.sort_by(|a, b| {
        let order = a.domain.cmp(&b.domain).then_with(|| a.user.cmp(&b.user));
        order.then_with(|| b.q.total_cmp(&a.q))
    });
    Registrations {
        registrations,
        complete: answers.complete,
    }
}
