//! What a request must be to be forwarded (RFC 3261 §16.3), what it is made before (§16.4) and
//! for a strict router (§16.6 step 6), and what a response must be, on whole workers.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::net::SocketAddr;

use bench::Bench;
use bench::CALLEE;
use bench::answer;
use bench::call::establish;
use bench::call::in_dialog;
use bench::call::status;
use bench::call::to_callee;
use bench::call::to_caller;
use bench::header;
use bench::invite;
use bench::request;
use trunkline_dataplane::counters::Counter;

/// The Route lines of a request.
fn routes(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("Route: "))
        .map(str::to_owned)
        .collect()
}

fn without_routes(text: &str) -> String {
    text.split_inclusive("\r\n")
        .filter(|line| !line.starts_with("Route: "))
        .collect()
}

#[test]
fn what_a_strict_router_sends_us_goes_on_as_if_a_loose_one_had_sent_it() {
    // RFC 3261 §16.4, §16.12.1.2.
    let mut bench = Bench::new(1);
    let (_, answered) = establish(&mut bench, 0, "strict");
    let loose = in_dialog("INFO", "strict", "2", "b-info", &answered);
    let expected = to_callee(&bench.caller(0, &loose));
    let ours = routes(&loose);
    let [first, second] = [0, 1].map(|n: usize| ours[n].trim_matches(['<', '>']));
    // It takes itself out of Route and puts the next hop, us, into the Request-URI.
    let strict = without_routes(&loose)
        .replacen("sip:callee@10.77.2.2 ", &format!("{first} "), 1)
        .replacen(
            "Call-ID",
            &format!("Route: <{second}>, <sip:callee@10.77.2.2>\r\nCall-ID"),
            1,
        )
        .replace("b-info", "b-strict");
    let sent = to_callee(&bench.caller(0, &strict));
    assert_eq!(routes(&sent), Vec::<String>::new());
    let start = |text: &str| text.lines().next().unwrap().to_owned();
    assert_eq!(start(&sent), "INFO sip:callee@10.77.2.2 SIP/2.0");
    assert_eq!(start(&sent), start(&expected));
    // Without our cookie it is a Request-URI as any other.
    let (bare, _) = first.split_once(";tl=").unwrap();
    let forged = strict
        .replacen(first, bare, 1)
        .replace("b-strict", "b-bare");
    let forged = forged.replacen(second, "sip:10.77.2.2;lr", 1);
    assert_eq!(status(&to_caller(&bench.caller(0, &forged))), "481");
}

#[test]
fn a_strict_router_behind_us_finds_itself_in_the_request_uri() {
    // RFC 3261 §16.6 step 6.
    let mut bench = Bench::new(1);
    let (_, answered) = establish(&mut bench, 0, "behind");
    let text = in_dialog("INFO", "behind", "2", "b-info", &answered);
    let text = text.replacen("Call-ID", "Route: <sip:10.77.2.2:5070;x=y>\r\nCall-ID", 1);
    let left = bench.caller(0, &text);
    let to: SocketAddr = "10.77.2.2:5070".parse().unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].destination, to);
    let sent = left[0].text();
    assert!(sent.starts_with("INFO sip:10.77.2.2:5070;x=y SIP/2.0\r\n"));
    assert_eq!(routes(&sent), ["<sip:callee@10.77.2.2>"]);
    // The ACK to a 2xx as well, which no transaction carries.
    let text = in_dialog("ACK", "behind", "1", "b-ack2", &answered);
    let text = text.replacen("Call-ID", "Route: <sip:10.77.2.2:5070>\r\nCall-ID", 1);
    let left = bench.caller(0, &text);
    assert!(
        left[0]
            .text()
            .starts_with("ACK sip:10.77.2.2:5070 SIP/2.0\r\n")
    );
}

#[test]
fn a_maddr_that_names_us_goes_and_another_stays() {
    // RFC 3261 §16.4.
    let mut bench = Bench::new(1);
    let cases = [
        ("100@example.com;maddr=10.77.1.1", "100@example.com"),
        (
            "100@example.com;a=b;maddr=10.77.1.1;transport=UDP;c",
            "100@example.com;a=b;c",
        ),
        (
            "100@example.com;maddr=10.77.1.1;transport=tcp",
            "100@example.com;maddr=10.77.1.1;transport=tcp",
        ),
        (
            "100@example.com:5070;maddr=10.77.1.1",
            "100@example.com:5070;maddr=10.77.1.1",
        ),
        (
            "100@example.com;maddr=10.77.1.9",
            "100@example.com;maddr=10.77.1.9",
        ),
    ];
    for (n, (came, went)) in cases.into_iter().enumerate() {
        let text = request("MESSAGE", "maddr", &n.to_string(), &format!("m{n}"), "", "");
        let sent = bench.caller(0, &text.replacen("100@10.77.1.1 ", &format!("{came} "), 1));
        assert!(
            to_callee(&sent).starts_with(&format!("MESSAGE sip:{went} SIP/2.0\r\n")),
            "{came}: {sent:#?}"
        );
    }
}

#[test]
fn an_options_to_us_is_answered_at_its_last_hop_and_others_are_not() {
    // RFC 3261 §16.3 step 3.
    let mut bench = Bench::new(1);
    for (n, (method, whom, expected)) in [
        ("OPTIONS", "", "200"),
        ("OPTIONS", "100@", "483"),
        ("MESSAGE", "", "483"),
    ]
    .into_iter()
    .enumerate()
    {
        let text = request(method, "hops", "1", &format!("o{n}"), "", "");
        let text = text
            .replacen("Max-Forwards: 70", "Max-Forwards: 0", 1)
            .replacen("sip:100@10.77.1.1 ", &format!("sip:{whom}10.77.1.1 "), 1);
        let answered = to_caller(&bench.caller(0, &text));
        assert_eq!(status(&answered), expected, "{method} {whom}");
    }
}

#[test]
fn a_request_carries_a_max_breadth_of_60_at_most() {
    // RFC 5393 §5.3.3.
    let mut bench = Bench::new(1);
    for (n, (came, went)) in [("", "60"), ("20", "20"), ("200", "60")]
        .into_iter()
        .enumerate()
    {
        let line = if came.is_empty() {
            String::new()
        } else {
            format!("Max-Breadth: {came}\r\n")
        };
        let text = request(
            "MESSAGE",
            "wide",
            &n.to_string(),
            &format!("w{n}"),
            &line,
            "",
        );
        let sent = to_callee(&bench.caller(0, &text));
        assert_eq!(header(&sent, "Max-Breadth"), went);
    }
}

#[test]
fn a_response_whose_top_via_was_changed_is_not_ours() {
    // RFC 3261 §18.1.2.
    let mut bench = Bench::new(1);
    let sent = to_callee(&bench.caller(0, &invite("via", "")));
    let ringing = answer(&sent, "180 Ringing", "", "");
    for changed in ["10.77.2.9;branch", "10.77.2.1:5070;branch", "box;branch"] {
        let changed = ringing.replacen("10.77.2.1;branch", changed, 1);
        assert_ne!(changed, ringing);
        assert!(bench.callee(0, &changed).is_empty());
    }
    assert_eq!(bench.count(Counter::SipStrayResponse), 3);
    // As we wrote it, with what a server adds to it.
    for same in [
        "10.77.2.1:5060;branch",
        "10.77.2.1;received=10.77.2.1;branch",
    ] {
        let same = ringing.replacen("10.77.2.1;branch", same, 1);
        assert_eq!(status(&to_caller(&bench.callee(0, &same))), "180");
    }
}

#[test]
fn a_forged_tag_or_route_opens_nothing() {
    let mut bench = Bench::new(1);
    let (_, answered) = establish(&mut bench, 0, "mine");
    let flows = bench.count(Counter::FlowsNow);
    let real = in_dialog("INVITE", "mine", "2", "b-real", &answered);
    let to = header(&answered, "To");
    let forgeries = [
        // No Route at all, one without a cookie, one of another call, of another caller.
        without_routes(&real),
        real.replace(";tl=", ";lt="),
        real.replacen("Call-ID: mine", "Call-ID: other", 1),
        real.replacen("tag=caller", "tag=another", 1),
    ];
    for (n, forged) in forgeries.into_iter().enumerate() {
        let forged = forged.replace("b-real", &format!("b-forged{n}"));
        let refused = to_caller(&bench.caller(0, &forged));
        assert_eq!(status(&refused), "481", "{forged}");
        assert_eq!(header(&refused, "To"), to);
        // Nor does its ACK or its BYE.
        for method in ["ACK", "BYE"] {
            let text = forged.replace("INVITE", method);
            let left = bench.caller(0, &text);
            assert!(left.iter().all(|left| left.destination != CALLEE), "{text}");
        }
    }
    assert_eq!(bench.count(Counter::FlowsNow), flows);
    assert_eq!(bench.count(Counter::CallsNow), 1);
    assert_eq!(bench.count(Counter::CallsStarted), 1);
}
