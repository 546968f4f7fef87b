//! The calls, and who has begun them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::SocketAddr;

use trunkline_dataplane::ids::TrunkIndex;
use trunkline_dataplane::media::FlowReport;
use trunkline_dataplane::sip::CallReport;
use trunkline_dataplane::sip::CallState;
use trunkline_dataplane::sip::LegReport;
use trunkline_dataplane::sip::registrar::aor::AddressOfRecord;
use trunkline_dataplane::sip::uri::Uri;
use trunkline_dataplane::span::Span;
use trunkline_dataplane::tick::Tick;

use super::flow;
use super::merged;
use crate::api::types::Call;
use crate::api::types::Calls;
use crate::api::types::Leg;
use crate::api::types::Stream;
use crate::api::types::SubscriberCalls;
use crate::engine::NoCall;
use crate::engine::TrunkFacts;
use crate::engine::queries::Answers;

/// Every call, the oldest first.
pub(in crate::engine) fn calls(
    answers: &Answers,
    trunks: &[TrunkFacts],
    of: Option<&str>,
    now: Tick,
) -> Calls {
    let mut reports: Vec<_> = answers.calls.iter().collect();
    reports.sort_by_key(|report| report.started);
    let calls = reports
        .into_iter()
        .map(|report| one_call(report, &BTreeMap::new(), trunks, now));
    let is_asked_for = |call: &Call| of.is_none() || call.subscriber.as_deref() == of;
    let calls: Vec<Call> = calls.filter(is_asked_for).collect();
    Calls {
        subscribers: subscribers(&calls, trunks),
        calls,
        complete: answers.complete,
    }
}

/// Who has begun how many, most first. The branches of a request are one call.
fn subscribers(calls: &[Call], trunks: &[TrunkFacts]) -> Vec<SubscriberCalls> {
    let mut ids: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.state != ENDED) {
        if let Some(subscriber) = &call.subscriber {
            ids.entry(subscriber).or_default().insert(&call.id);
        }
    }
    let most = |subscriber: &str| {
        let (_, domain) = subscriber.rsplit_once('@')?;
        let trunk = trunks.iter().find(|trunk| trunk.name == domain)?;
        trunk.calls_of_each.filter(|most| *most > 0)
    };
    let rows = ids.into_iter().map(|(subscriber, ids)| SubscriberCalls {
        subscriber: subscriber.to_owned(),
        calls: ids.len(),
        calls_max: most(subscriber),
    });
    let mut rows: Vec<SubscriberCalls> = rows.collect();
    rows.sort_by_key(|row| Reverse(row.calls));
    rows
}

/// The subscriber that began a call: whom its From names, where a domain called.
fn subscriber(report: &CallReport, trunks: &[TrunkFacts]) -> Option<String> {
    let trunk = trunks.get(usize::from(report.caller?.0))?;
    let from = report.from.bytes();
    trunk.calls_of_each?;
    let uri = Uri::read(from, Span::new(0, from.len())).ok()?;
    let user = AddressOfRecord::user_of(from, &uri)?;
    Some(format!(
        "{}@{}",
        String::from_utf8_lossy(user.name()),
        trunk.name
    ))
}

const ENDED: &str = CallState::Ended.name();

/// The call of this Call-ID with its flows.
pub(in crate::engine) fn call(
    id: &str,
    calls: &Answers,
    flows: &Answers,
    trunks: &[TrunkFacts],
    now: Tick,
) -> Result<Call, NoCall> {
    // A worker keeps the first bytes of a very long Call-ID only.
    let is_it = |report: &&CallReport| {
        let shown = report.call_id.display();
        shown == id || (report.call_id.bytes().len() == CALL_ID_KEPT && id.starts_with(&shown))
    };
    match calls.calls.iter().find(is_it) {
        Some(report) => Ok(one_call(report, &merged(flows), trunks, now)),
        None if calls.complete => Err(NoCall::Unknown),
        None => Err(NoCall::Incomplete),
    }
}

/// How many bytes of a Call-ID a report holds.
const CALL_ID_KEPT: usize = 128;

fn one_call(
    report: &CallReport,
    flows: &BTreeMap<SocketAddr, FlowReport>,
    trunks: &[TrunkFacts],
    now: Tick,
) -> Call {
    let seconds = |since: Tick| now.since(since) as f64 / 1e9;
    let trunk = |index: Option<TrunkIndex>| {
        index.and_then(|index| Some(trunks.get(usize::from(index.0))?.name.clone()))
    };
    let streams = report.legs.iter().flatten().map(|[caller, callee]| Stream {
        caller: leg(caller, flows),
        callee: leg(callee, flows),
    });
    Call {
        id: report.call_id.display(),
        from: report.from.display(),
        to: report.to.display(),
        state: report.state.name().to_owned(),
        age_s: seconds(report.started),
        talk_s: report.answered.map(seconds),
        worker: report.worker.0,
        subscriber: subscriber(report, trunks),
        caller: trunk(report.caller),
        callee: trunk(report.callee),
        streams: streams.collect(),
    }
}

fn leg(report: &LegReport, flows: &BTreeMap<SocketAddr, FlowReport>) -> Leg {
    let rtcp = SocketAddr::new(report.relay.ip(), report.relay.port().saturating_add(1));
    let flows = [report.relay, rtcp]
        .into_iter()
        .filter_map(|local| flows.get(&local))
        .map(flow);
    Leg {
        relay: report.relay.to_string(),
        peer: report.peer.map(|peer| peer.to_string()),
        flows: flows.collect(),
    }
}
