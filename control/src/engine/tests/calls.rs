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
