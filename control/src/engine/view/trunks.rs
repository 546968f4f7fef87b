//! The trunks and their counts over all workers.

use trunkline_dataplane::counters::trunks::TABLE;
use trunkline_dataplane::counters::trunks::TrunkCounts;

use crate::api::types;
use crate::engine::Desk;

/// Every trunk.
pub(crate) fn trunks(desk: &Desk) -> types::Trunks {
    let mut all = vec![TrunkCounts::default(); desk.facts.trunks.len()];
    for post in &desk.workers.posts {
        for (sum, counts) in all.iter_mut().zip(post.published_trunks.read()) {
            sum.merge(&counts);
        }
    }
    let trunks = desk.facts.trunks.iter().zip(&all);
    let trunks = trunks.map(|(facts, counts)| types::Trunk {
        name: facts.name.clone(),
        is_domain: facts.calls_of_each.is_some(),
        sources: facts.sources.clone(),
        targets: facts.targets.clone(),
        listen: facts.listen.clone(),
        media: facts.media.clone(),
        counts: TABLE
            .iter()
            .filter(|row| facts.calls_of_each.is_some() || !row.is_of_domain)
            .map(|row| types::TrunkCount {
                name: row.name.to_owned(),
                help: row.help.to_owned(),
                total: counts.get(row.counter),
            })
            .collect(),
    });
    types::Trunks {
        trunks: trunks.collect(),
    }
}
