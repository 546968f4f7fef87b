//! Bans, of which every worker has each.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use trunkline_dataplane::sip::guard::BanReport;
use trunkline_dataplane::tick::Tick;

use crate::api::types::Ban;
use crate::api::types::Bans;
use crate::engine::Answers;

/// What the workers say of bans that last `ban_s` seconds, each ban once.
pub fn bans(answers: &Answers, ban_s: u32, now: Tick) -> Bans {
    let now_s = u32::try_from(now.0 / 1_000_000_000).unwrap_or(u32::MAX);
    let mut bans: BTreeMap<_, Ban> = BTreeMap::new();
    for report in answers.bans.iter().filter(|ban| ban.until_s > now_s) {
        match bans.entry(report.source.network()) {
            Entry::Occupied(mut there) => there.get_mut().dropped += u64::from(report.dropped),
            Entry::Vacant(place) => {
                place.insert(ban(report, ban_s, now_s));
            }
        }
    }
    Bans {
        bans: bans.into_values().collect(),
        complete: answers.complete,
    }
}

fn ban(report: &BanReport, ban_s: u32, now_s: u32) -> Ban {
    let expires_in_s = report.until_s - now_s;
    Ban {
        source: Ban::name_of(report.source),
        since_s: ban_s.saturating_sub(expires_in_s),
        expires_in_s,
        failures: report.failures,
        dropped: report.dropped.into(),
    }
}
