//! One call, asked for by its Call-ID.

use super::*;

#[tokio::test]
async fn a_call_is_found_by_any_call_id_with_its_flows_summed_over_the_workers() {
    let found: types::Call = Stage::new()
        .run(honest, async |path, _| {
            client::get(
                &path,
                &format!("/v1/calls/{}", crate::percent::encode(CALL_ID)),
            )
            .await
            .unwrap()
        })
        .await;
    assert_eq!((found.id.as_str(), found.worker), (CALL_ID, 1));
    assert_eq!(
        (found.caller.as_deref(), found.callee),
        (Some("caller"), None)
    );
    assert_eq!(
        found.to, "sip:bob@10.0.0.2\u{fffd}\u{fffd}",
        "control characters never reach a terminal"
    );
    let flows = &found.streams[0].caller.flows;
    assert_eq!(
        (
            flows[0].packets_in,
            flows[0].packets_out,
            flows[0].packets_dropped
        ),
        (21, 19, 2)
    );
    assert_eq!(found.streams[0].callee.peer, None);
    assert!(found.streams[0].callee.flows.is_empty());
}

#[tokio::test]
async fn an_unknown_call_is_refused_by_its_id() {
    let refused = Stage::new()
        .run(honest, async |path, _| {
            client::get::<types::Call>(&path, "/v1/calls/nobody%40home").await
        })
        .await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "no call has the Call-ID nobody@home"
    );
}

/// The calls, asked for by `path`, of a box whose callers are users of a domain, of whom each may have three.
async fn calls_of_a_domain(path: &str) -> types::Calls {
    let play = |number: u8, post: &mut WorkerPost, mail: Mail| {
        let Mail::Query(query) = mail else { return };
        let begun = |id: &str, from: &str, state| CallReport {
            call_id: ShortText::new(id.as_bytes()),
            from: ShortText::new(from.as_bytes()),
            state,
            ..call()
        };
        let calls = [
            // Two branches of one request, and another call of the same phone, spelled otherwise.
            begun("a", "sip:alice@example.com", CallState::Early),
            begun("a", "sip:alice@example.com", CallState::Calling),
            begun(
                "b",
                "sip:%61lice@EXAMPLE.com:5060;x=y",
                CallState::Established,
            ),
            begun("c", "sip:alice@example.com", CallState::Ended),
            begun("d", "sip:bob@example.com", CallState::Established),
            CallReport {
                caller: Some(TrunkIndex(1)),
                ..begun("e", "sip:alice@example.com", CallState::Early)
            },
        ];
        if number == 0 {
            for call in calls {
                let id = query.id;
                post.reports.send(Report::Call { id, call }).unwrap();
            }
        }
        let end = Report::End { id: query.id };
        post.reports.send(end).unwrap();
    };
    let mut stage = Stage::new();
    stage.desk.facts.trunks[0].name = "example.com".to_owned();
    stage.desk.facts.trunks[0].calls_of_each = Some(3);
    let ask = async |socket: PathBuf, _| client::get(&socket, path).await.unwrap();
    stage.run(play, ask).await
}

fn ids(calls: &types::Calls) -> Vec<&str> {
    calls.calls.iter().map(|call| call.id.as_str()).collect()
}

#[tokio::test]
async fn who_has_begun_which_calls_is_told_and_asked_for() {
    let row = |subscriber: &str, calls| types::SubscriberCalls {
        subscriber: subscriber.to_owned(),
        calls,
        calls_max: Some(3),
    };
    let (alice, bob) = (row("alice@example.com", 2), row("bob@example.com", 1));
    let all = calls_of_a_domain("/v1/calls").await;
    assert_eq!(ids(&all), ["a", "a", "b", "c", "d", "e"]);
    assert_eq!(all.subscribers, [alice.clone(), bob]);
    assert_eq!(all.calls[5].subscriber, None, "a trunk's call");
    let of_alice = calls_of_a_domain("/v1/calls?subscriber=alice%40example.com").await;
    assert_eq!(ids(&of_alice), ["a", "a", "b", "c"]);
    assert_eq!(of_alice.subscribers, [alice]);
    let of_nobody = calls_of_a_domain("/v1/calls?subscriber=carol%40example.com").await;
    assert!(of_nobody.calls.is_empty() && of_nobody.subscribers.is_empty());
}
