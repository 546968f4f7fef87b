//! Calls to devices that have registered several flows (RFC 5626 §7): which flow is tried, when the next one
//! is, and what the caller hears of it.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::net::SocketAddr;

use bench::ACCESS;
use bench::Bench;
use bench::Left;
use bench::answer;
use bench::call::CALLEE_MEDIA;
use bench::call::CALLER_MEDIA;
use bench::call::only;
use bench::call::status;
use bench::call::to_caller;
use bench::carriers::ack_of_failure;
use bench::carriers::all_to_caller;
use bench::phone;
use bench::phone::Device;
use bench::phone::PHONE;
use bench::phone::to_user;
use bench::sdp;
use bench::stored;
use bench::stored::load;
use bench::stored::sought;
use bench::with_sdp;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::ids::WorkerId;
use trunkline_dataplane::mailbox::Mail;
use trunkline_dataplane::settings::Location;
use trunkline_dataplane::sip::identity::Identity;
use trunkline_dataplane::sip::registrar::Record;
use trunkline_dataplane::sip::undelivered::Undelivered;
use trunkline_dataplane::sip::undelivered::Why;
use trunkline_dataplane::sip::undelivered::read_quote;

/// Where a flow of a device ends.
fn at(device: u16, reg_id: u16) -> SocketAddr {
    SocketAddr::new(PHONE.ip(), 6000 + 20 * device + reg_id)
}

fn params(device: u16, reg_id: u16) -> String {
    format!(";+sip.instance=\"<urn:uuid:{device}>\";reg-id={reg_id}")
}

/// A box with alice, whose devices register these flows, one after the other.
fn bench(workers: u8, flows: &[(u16, u16)]) -> Bench {
    let mut settings = phone::settings(workers);
    settings.registrar.contacts_max = 16;
    let mut bench = Bench::of(&settings);
    let mut alice = Device::asking(&mut bench, "alice");
    for &(device, reg_id) in flows {
        let (from, params) = (at(device, reg_id), params(device, reg_id));
        let lines = "Supported: path, outbound\r\nExpires: 600\r\n";
        let contact = format!("Contact: <sip:alice@{from}>{params}\r\n");
        let register = alice.register(lines);
        let register = register.replace("Contact: <sip:alice@10.77.1.66:5070>\r\n", &contact);
        // Where it tells of many contacts the 200 leaves by the kernel, in fragments.
        bench.say(0, from, ACCESS, &register);
        bench.pass_ms(8);
    }
    assert_eq!(bench.count(Counter::BindingsNow), flows.len() as u64);
    bench
}

/// The caller's INVITE to alice.
fn call(call_id: &str) -> String {
    with_sdp(&to_user("INVITE", "alice", call_id), &sdp(CALLER_MEDIA))
}

/// Who has got a message that begins so.
fn got(left: &[Left], start: &str) -> Vec<SocketAddr> {
    let found = left.iter().filter(|left| left.text().starts_with(start));
    let mut got: Vec<_> = found.map(|left| left.destination).collect();
    got.dedup();
    got
}

fn says(bench: &mut Bench, from: SocketAddr, sent: &str, what: &str) -> Vec<Left> {
    let is_ok = what.starts_with("200") && sent.starts_with("INVITE");
    let body = if is_ok {
        sdp(CALLEE_MEDIA)
    } else {
        String::new()
    };
    let contact = format!("Contact: <sip:alice@{from}>\r\n");
    bench.say(0, from, ACCESS, &answer(sent, what, &contact, &body))
}

/// ICMP says that a request did not get there; what leaves because of it.
fn unreachable(bench: &mut Bench, destination: SocketAddr, sent: &str) -> Vec<Left> {
    let settings = phone::settings(1);
    let identity = Identity::new(WorkerId(0), settings.boot, &settings.secrets, &[]);
    let (method, branch) = read_quote(sent.as_bytes()).unwrap();
    let what = Undelivered {
        branch: identity.read_branch(branch).unwrap(),
        method,
        destination,
        why: Why::Unreachable,
    };
    assert!(bench.posts[0].mail.post_undelivered(what));
    bench.left.clear();
    bench.turn();
    bench.left.drain(..).collect()
}

/// The caller has got a failure, and nothing else; it acknowledges it.
fn fails_with(bench: &mut Bench, left: &[Left], code: &str) {
    let told = all_to_caller(left);
    assert!(!told.is_empty(), "{left:#?}");
    assert!(told.iter().all(|text| status(text) == code), "{told:#?}");
    bench.caller(0, &ack_of_failure(&told[0]));
}

fn ends_at_rest(bench: &mut Bench) {
    bench.pass_ms(70_000);
    bench.assert_at_rest();
}

#[test]
fn a_flow_that_has_failed_is_replaced_by_the_one_registered_before() {
    let mut bench = bench(1, &[(1, 1), (1, 2)]);
    let left = bench.caller(0, &call("failed"));
    assert_eq!(got(&left, "INVITE "), [at(1, 2)]);
    assert_eq!(status(&to_caller(&left)), "100");
    let sent = only(&left, ACCESS, at(1, 2));
    let left = says(&mut bench, at(1, 2), &sent, "430 Flow Failed");
    assert!(only(&left, ACCESS, at(1, 2)).starts_with("ACK "));
    let sent = only(&left, ACCESS, at(1, 1));
    let uri = format!("INVITE sip:alice@{} ", at(1, 1));
    assert!(sent.starts_with(&uri), "{sent}");
    assert!(all_to_caller(&left).is_empty());
    let left = says(&mut bench, at(1, 1), &sent, "180 Ringing");
    assert_eq!(status(&to_caller(&left)), "180");
    let left = says(&mut bench, at(1, 1), &sent, "200 OK");
    assert_eq!(status(&to_caller(&left)), "200");
    assert_eq!(bench.count(Counter::ContextsNow), 0);
    assert_eq!(bench.count(Counter::CallsStarted), 1);
    assert_eq!(bench.count(Counter::CallsFailed), 0);
    bench.pass_ms(1_000);
    assert_eq!(bench.count(Counter::CallsNow), 1);
}

#[test]
fn any_other_final_response_is_the_devices_own() {
    for (what, told) in [
        ("302 Moved Temporarily", "302"),
        ("404 Not Found", "404"),
        ("480 Temporarily Unavailable", "480"),
        ("486 Busy Here", "486"),
        ("500 Oops", "500"),
        ("503 Service Unavailable", "500"),
        ("603 Decline", "603"),
    ] {
        let mut bench = bench(1, &[(1, 1), (1, 2)]);
        let left = bench.caller(0, &call("own"));
        let sent = only(&left, ACCESS, at(1, 2));
        let left = says(&mut bench, at(1, 2), &sent, what);
        assert_eq!(got(&left, "INVITE "), []);
        fails_with(&mut bench, &left, told);
        ends_at_rest(&mut bench);
    }
}

/// RFC 5626 §7: by a 408 too, as an edge says it of a phone that does not answer; but not by that of a device
/// that has rung.
#[test]
fn a_408_leads_to_the_next_flow_unless_the_device_was_reached() {
    for (first, follows) in [("100 Trying", true), ("180 Ringing", false)] {
        let mut bench = bench(1, &[(1, 1), (1, 2)]);
        let left = bench.caller(0, &call("silent"));
        let sent = only(&left, ACCESS, at(1, 2));
        says(&mut bench, at(1, 2), &sent, first);
        bench.pass_ms(20_000);
        let left = says(&mut bench, at(1, 2), &sent, "408 Request Timeout");
        let left = if follows {
            assert!(all_to_caller(&left).is_empty());
            let sent = only(&left, ACCESS, at(1, 1));
            says(&mut bench, at(1, 1), &sent, "408 Request Timeout")
        } else {
            assert_eq!(got(&left, "INVITE "), []);
            left
        };
        fails_with(&mut bench, &left, "408");
        ends_at_rest(&mut bench);
    }
}

#[test]
fn a_flow_of_which_nothing_is_heard_is_given_up_for_the_next() {
    let mut bench = bench(1, &[(1, 1), (1, 2)]);
    bench.caller(0, &call("dead"));
    let left = bench.pass_ms(1_990);
    assert_eq!(got(&left, "INVITE "), [at(1, 2)]);
    let left = bench.pass_ms(20);
    assert_eq!(got(&left, "INVITE "), [at(1, 1)]);
    // The first is sent no more, and the last has its whole time.
    let left = bench.pass_ms(31_900);
    assert_eq!(got(&left, "INVITE "), [at(1, 1)]);
    assert!(all_to_caller(&left).is_empty());
    let left = bench.pass_ms(200);
    fails_with(&mut bench, &left, "408");
    ends_at_rest(&mut bench);
}

/// What a flow says that was given up is the device's answer all the same: a third is not tried after it.
#[test]
fn after_a_late_answer_no_other_flow_is_tried() {
    let mut bench = bench(1, &[(1, 1), (1, 2), (1, 3)]);
    let left = bench.caller(0, &call("late"));
    let first = only(&left, ACCESS, at(1, 3));
    let left = bench.pass_ms(2_010);
    let second = only(&left, ACCESS, at(1, 2));
    let left = says(&mut bench, at(1, 3), &first, "486 Busy Here");
    assert_eq!(got(&left, ""), [at(1, 3)], "its ACK");
    let left = says(&mut bench, at(1, 2), &second, "430 Flow Failed");
    assert_eq!(got(&left, "INVITE "), []);
    fails_with(&mut bench, &left, "486");
    ends_at_rest(&mut bench);
}

#[test]
fn an_icmp_error_leads_to_the_next_flow_at_once() {
    let mut bench = bench(1, &[(1, 1), (1, 2)]);
    let left = bench.caller(0, &call("icmp"));
    let sent = only(&left, ACCESS, at(1, 2));
    let left = unreachable(&mut bench, at(1, 2), &sent);
    assert!(all_to_caller(&left).is_empty());
    let sent = only(&left, ACCESS, at(1, 1));
    let left = unreachable(&mut bench, at(1, 1), &sent);
    fails_with(&mut bench, &left, "500");
    ends_at_rest(&mut bench);
    assert_eq!(bench.count(Counter::BindingsNow), 2);
}

#[test]
fn the_caller_hears_of_a_dead_flow_where_no_other_answers() {
    for (second, told) in [
        ("430 Flow Failed", "430"),
        ("486 Busy Here", "486"),
        ("500 Oops", "500"),
    ] {
        let mut bench = bench(1, &[(1, 1), (1, 2)]);
        let left = bench.caller(0, &call("both"));
        let sent = only(&left, ACCESS, at(1, 2));
        let left = says(&mut bench, at(1, 2), &sent, "430 Flow Failed");
        let sent = only(&left, ACCESS, at(1, 1));
        let left = says(&mut bench, at(1, 1), &sent, second);
        fails_with(&mut bench, &left, told);
        ends_at_rest(&mut bench);
    }
}

#[test]
fn devices_ring_at_once_and_each_by_one_flow_at_a_time() {
    let mut bench = bench(1, &[(1, 1), (2, 1), (1, 2), (2, 2)]);
    let left = bench.caller(0, &call("two"));
    assert_eq!(got(&left, "INVITE "), [at(2, 2), at(1, 2)]);
    let [one, two] = [1, 2].map(|device| only(&left, ACCESS, at(device, 2)));
    says(&mut bench, at(2, 2), &two, "180 Ringing");
    let left = says(&mut bench, at(1, 2), &one, "430 Flow Failed");
    assert_eq!(got(&left, "INVITE "), [at(1, 1)]);
    let one = only(&left, ACCESS, at(1, 1));
    // The one is busy; the other rings on, and picks up.
    let left = says(&mut bench, at(1, 1), &one, "486 Busy Here");
    assert!(all_to_caller(&left).is_empty() && got(&left, "INVITE ").is_empty());
    let left = says(&mut bench, at(2, 2), &two, "200 OK");
    assert_eq!(status(&to_caller(&left)), "200");
    assert_eq!(bench.count(Counter::ContextsNow), 0);
}

/// RFC 3261 §16.7 step 6: what a device says comes before that another is not reached.
#[test]
fn the_answer_of_one_device_comes_before_the_dead_flows_of_another() {
    let mut bench = bench(1, &[(1, 1), (2, 1), (2, 2)]);
    let left = bench.caller(0, &call("before"));
    let one = only(&left, ACCESS, at(1, 1));
    let two = only(&left, ACCESS, at(2, 2));
    let left = says(&mut bench, at(2, 2), &two, "430 Flow Failed");
    let two = only(&left, ACCESS, at(2, 1));
    says(&mut bench, at(2, 1), &two, "430 Flow Failed");
    let left = says(&mut bench, at(1, 1), &one, "486 Busy Here");
    fails_with(&mut bench, &left, "486");
    ends_at_rest(&mut bench);
}

#[test]
fn other_requests_try_the_flows_as_calls_do() {
    let mut bench = bench(1, &[(1, 1), (1, 2)]);
    let left = bench.caller(0, &to_user("MESSAGE", "alice", "text"));
    let sent = only(&left, ACCESS, at(1, 2));
    let left = says(&mut bench, at(1, 2), &sent, "430 Flow Failed");
    let sent = only(&left, ACCESS, at(1, 1));
    let left = says(&mut bench, at(1, 1), &sent, "200 OK");
    assert_eq!(status(&to_caller(&left)), "200");
    ends_at_rest(&mut bench);
}

#[test]
fn after_a_cancel_no_flow_is_tried() {
    let mut bench = bench(1, &[(1, 1), (1, 2)]);
    let left = bench.caller(0, &call("cancel"));
    let sent = only(&left, ACCESS, at(1, 2));
    says(&mut bench, at(1, 2), &sent, "100 Trying");
    let left = bench.caller(0, &to_user("CANCEL", "alice", "cancel"));
    assert_eq!(got(&left, "CANCEL "), [at(1, 2)]);
    let left = says(&mut bench, at(1, 2), &sent, "487 Request Terminated");
    assert_eq!(got(&left, "INVITE "), []);
    fails_with(&mut bench, &left, "487");
    ends_at_rest(&mut bench);
}

/// As many as an address of record has room for.
#[test]
fn sixteen_flows_are_tried_in_their_order() {
    let flows: Vec<_> = (1..=16).map(|reg_id| (1, reg_id)).collect();
    let mut bench = bench(1, &flows);
    let mut left = bench.caller(0, &call("many"));
    for (device, reg_id) in flows.into_iter().rev() {
        let sent = only(&left, ACCESS, at(device, reg_id));
        assert!(sent.starts_with("INVITE "));
        left = says(&mut bench, at(device, reg_id), &sent, "430 Flow Failed");
    }
    fails_with(&mut bench, &left, "430");
    ends_at_rest(&mut bench);
}

#[test]
fn a_worker_calls_the_flows_that_another_keeps() {
    for worker in 0..2 {
        let mut bench = bench(2, &[(1, 1), (1, 2)]);
        let call_id = bench.call_id_of(worker);
        let left = bench.caller(worker, &call(&call_id));
        let sent = only(&left, ACCESS, at(1, 2));
        let left = says(&mut bench, at(1, 2), &sent, "430 Flow Failed");
        let sent = only(&left, ACCESS, at(1, 1));
        let left = says(&mut bench, at(1, 1), &sent, "200 OK");
        assert_eq!(status(&to_caller(&left)), "200");
    }
}

/// The flows of a device may be registered at two boxes, by a path over each of two edges.
#[test]
fn flows_that_a_store_gives_back_are_tried_in_the_order_of_their_registers() {
    let mut bench = stored::bench(1, Location::Shared);
    load(&mut bench);
    bench.caller(0, &call("store"));
    let (worker, of) = sought(&mut bench)[0];
    let texts = [1, 2].map(|reg_id| params(1, reg_id));
    for (params, (reg_id, age_ms)) in texts.iter().zip([(1, 10), (2, 20)]) {
        let plain = stored::stored(&bench, "alice", "sip:alice@192.168.0.2");
        let record = Record {
            params: params.as_bytes(),
            path: b"<sip:token@10.77.1.66;lr;ob>",
            received: at(1, reg_id),
            reg_id: u32::from(reg_id).try_into().ok(),
            taken: plain.taken.plus_ms(100 - age_ms),
            ..plain
        };
        assert!(bench.posts[worker].mail.post_binding(Mail::Bound, &record));
    }
    let answered = true;
    let left = stored::mail(&mut bench, worker, Mail::Sought { of, answered });
    assert_eq!(got(&left, "INVITE "), [at(1, 1)]);
    let sent = only(&left, ACCESS, at(1, 1));
    let left = says(&mut bench, at(1, 1), &sent, "430 Flow Failed");
    let sent = only(&left, ACCESS, at(1, 2));
    assert_eq!(
        bench::header(&sent, "Route"),
        "<sip:token@10.77.1.66;lr;ob>"
    );
    assert_eq!(got(&left, "SIP/2.0 "), []);
}
