//! RFC 5626: contacts that are known by their instance and their flow.

use super::*;

const PHONE: &str = "<sip:a@192.168.1.7>;+sip.instance=\"<urn:uuid:1>\"";

fn contact(reg_id: &str, more: &str) -> String {
    format!("Contact: {PHONE};reg-id={reg_id}{more}|Supported: path, outbound")
}

/// RFC 5626 §6.
#[test]
fn a_flow_is_known_by_instance_and_reg_id_whatever_its_uri() {
    let mut bench = Bench::new();
    let answer = bench.send(1, &contact("1", "")).unwrap();
    assert_eq!(
        answer,
        [
            format!("Contact: {PHONE};reg-id=1;expires=600"),
            "Require: outbound".to_owned(),
        ]
    );
    // After a reboot: another address, another Call-ID, the same flow.
    let moved = contact("1", "").replace("192.168.1.7", "10.9.9.9");
    let moved = Sent::new(1, &moved).of("reboot").from("203.0.113.9:7777");
    assert_eq!(bench.take(&moved).unwrap().len(), 2);
    assert_eq!(
        bench.changes,
        [(Happened::Moved, "sip:a@10.9.9.9".to_owned())]
    );
    assert_eq!(
        bench.targets("alice"),
        [(
            1_000,
            "sip:a@10.9.9.9".to_owned(),
            "203.0.113.9:7777".parse().unwrap()
        )]
    );
    bench
        .take(&Sent::new(1, &contact("2", "")).of("second"))
        .unwrap();
    assert_eq!(bench.registrar.count(), 2);
    let other = contact("1", "").replace("uuid:1", "uuid:2");
    bench.take(&Sent::new(1, &other).of("other")).unwrap();
    assert_eq!(bench.registrar.count(), 3);
    let gone = bench.take(&Sent::new(2, &contact("2", ";expires=0")).of("second"));
    assert_eq!(gone.unwrap().len(), 3);
    assert_eq!(bench.registrar.count(), 2);
}

/// RFC 5626 §7: one of an instance at a time.
#[test]
fn of_an_instances_flows_the_last_one_registered_is_the_first_target() {
    let mut bench = Bench::new();
    bench
        .take(&Sent::new(1, &contact("1", "")).of("one"))
        .unwrap();
    bench.pass_s(1);
    let second = contact("2", "").replace("a@192", "b@192");
    bench.take(&Sent::new(1, &second).of("two")).unwrap();
    bench
        .send(1, "Contact: <sip:c@h>;q=0.1, <sip:d@h>;q=0.1")
        .unwrap();
    let all = |uris: [&str; 4]| -> Vec<_> {
        let lanes = [0, 1, 2, 0].into_iter();
        lanes.zip(uris.map(str::to_owned)).collect()
    };
    let [a, b] = ["sip:a@192.168.1.7", "sip:b@192.168.1.7"];
    assert_eq!(bench.lanes("alice"), all([b, "sip:d@h", "sip:c@h", a]));
    bench.pass_s(1);
    bench
        .take(&Sent::new(2, &contact("1", "")).of("one"))
        .unwrap();
    assert_eq!(bench.lanes("alice"), all([a, "sip:d@h", "sip:c@h", b]));
    // When that has ended the other one is left.
    bench.pass_s(1);
    bench
        .take(&Sent::new(3, &contact("1", ";expires=0")).of("one"))
        .unwrap();
    assert_eq!(bench.uris("alice"), [b, "sip:d@h", "sip:c@h"]);
    assert_eq!(bench.registrar.count(), 3);
}

/// The flows of several devices: of each the last is a target, and the others follow in their order.
#[test]
fn each_instance_is_a_lane_with_its_flows_in_the_order_they_were_registered() {
    let mut bench = Bench::with(
        64,
        Rules {
            contacts_max: 16,
            ..rules()
        },
    );
    let flows = [(1, 1, 9), (2, 1, 8), (1, 2, 7), (1, 3, 5), (2, 2, 3)];
    for (nth, (device, reg_id, q)) in (1..).zip(flows) {
        bench.pass_s(1);
        let uri = format!("sip:d{device}-{reg_id}@h");
        let line = contact(&reg_id.to_string(), &format!(";q=0.{q}"));
        let line = line.replace("uuid:1", &format!("uuid:{device}"));
        let line = line.replace("sip:a@192.168.1.7", &uri);
        bench.take(&Sent::new(nth, &line).of("some")).unwrap();
    }
    let lane = |lane: u8, text: &str| (lane, format!("sip:{text}@h"));
    // The first of each by q, though another flow has more.
    assert_eq!(
        bench.lanes("alice"),
        [
            lane(0, "d1-3"),
            lane(1, "d2-2"),
            lane(0, "d1-2"),
            lane(0, "d1-1"),
            lane(1, "d2-1"),
        ]
    );
    bench.pass_s(596);
    assert_eq!(bench.lanes("alice").len(), 4, "what has ended is none");
}

/// RFC 5626 §7: what follows has another reg-id. What has none may be where the device was before.
#[test]
fn what_is_known_by_its_uri_follows_no_flow_and_no_flow_follows_it() {
    let mut bench = Bench::new();
    bench
        .take(&Sent::new(1, &contact("1", "")).of("one"))
        .unwrap();
    bench.pass_s(1);
    let by_uri = format!("Contact: {}", PHONE.replace("a@", "b@"));
    bench.take(&Sent::new(1, &by_uri).of("two")).unwrap();
    assert_eq!(bench.uris("alice"), ["sip:b@192.168.1.7"]);
    bench.pass_s(1);
    bench
        .take(&Sent::new(2, &contact("1", "")).of("one"))
        .unwrap();
    assert_eq!(bench.uris("alice"), ["sip:a@192.168.1.7"]);
    assert_eq!(bench.registrar.count(), 2);
}

/// RFC 5626 §6: registered together in one REGISTER, the first that stands there.
#[test]
fn of_an_instances_uris_registered_at_once_one_is_a_target() {
    let mut bench = Bench::new();
    let both = format!("Contact: {PHONE}|Contact: {}", PHONE.replace("a@", "b@"));
    bench.send(1, &both).unwrap();
    assert_eq!((bench.registrar.count(), bench.uris("alice").len()), (2, 1));
}

/// RFC 5626 §6.
#[test]
fn a_reg_id_without_an_instance_is_ignored_and_so_is_one_that_is_none() {
    let mut bench = Bench::new();
    let lines = "Contact: <sip:a@h>;reg-id=1|Supported: outbound";
    let answer = bench.send(1, lines).unwrap();
    assert_eq!(answer, ["Contact: <sip:a@h>;reg-id=1;expires=600"]);
    bench
        .send(2, &lines.replace("reg-id=1", "reg-id=2"))
        .unwrap();
    assert_eq!(bench.registrar.count(), 1);
    let answer = bench.send(3, &contact("0", "")).unwrap();
    assert!(!answer.contains(&"Require: outbound".to_owned()));
    bench.send(4, &contact("2147483648", "")).unwrap();
    assert_eq!(bench.registrar.count(), 2);
}

/// RFC 5626 §6: two flows of a device may have one URI; by that neither is found.
#[test]
fn a_contact_without_a_flow_is_none_of_the_flows() {
    let mut bench = Bench::new();
    bench.send(1, &contact("1", "")).unwrap();
    bench
        .take(&Sent::new(1, &contact("2", "")).of("two"))
        .unwrap();
    bench.send(2, "Contact: <sip:a@192.168.1.7>").unwrap();
    assert_eq!(bench.registrar.count(), 3);
    bench
        .send(3, "Contact: <sip:a@192.168.1.7>;expires=0")
        .unwrap();
    assert_eq!(bench.registrar.count(), 2);
}

/// RFC 5626 §6.
#[test]
fn one_flow_is_registered_at_a_time() {
    let mut bench = Bench::new();
    let two = format!("Contact: {PHONE};reg-id=1|Contact: <sip:b@h>");
    assert_eq!(bench.send(1, &two), Err(Refusal::SeveralFlows));
    let old = format!("Contact: {PHONE};reg-id=1|Contact: {PHONE};reg-id=2;expires=0");
    assert_eq!(bench.send(2, &old).unwrap().len(), 1);
}

/// RFC 5626 §6: what does not last may be taken off as well, its own old address among it. pjsip
/// names that last.
#[test]
fn a_flow_moves_and_its_old_address_goes_in_one_register() {
    let new = format!(
        "Contact: {};reg-id=1",
        PHONE.replace("192.168.1.7", "10.9.9.9")
    );
    let old = format!("Contact: {PHONE};reg-id=1;expires=0");
    for (first, second) in [(&new, &old), (&old, &new)] {
        let mut bench = Bench::new();
        bench.send(1, &contact("1", "")).unwrap();
        let both = format!("{first}|{second}|Supported: path, outbound");
        let told = bench.send(2, &both).unwrap();
        assert_eq!(
            told,
            [format!("{new};expires=600"), "Require: outbound".to_owned()]
        );
        assert_eq!(bench.uris("alice"), ["sip:a@10.9.9.9"]);
        assert_eq!(bench.registrar.count(), 1);
    }
    // By a proxy that does not keep flows they are two.
    let mut bench = Bench::new();
    bench.send(1, "Contact: <sip:a@192.168.1.7>").unwrap();
    let text = Sent::new(2, &format!("{new}|{old}")).text();
    let text = text.replacen(
        "Via: ",
        "Via: SIP/2.0/UDP p.example;branch=z9hG4bKp\r\nVia: ",
        1,
    );
    bench.take_text(&text, "203.0.113.1:5060").unwrap();
    assert_eq!(bench.uris("alice"), ["sip:a@10.9.9.9"]);
    assert_eq!(bench.registrar.count(), 1);
}

/// RFC 5626 §6: by the first hop, which must keep the flow.
#[test]
fn a_flow_by_a_proxy_that_does_not_keep_it_is_none() {
    let mut bench = Bench::new();
    let by_proxy = |cseq, lines: &str| {
        let text = Sent::new(cseq, lines).text();
        let via = "Via: SIP/2.0/UDP p.example;branch=z9hG4bKproxy";
        text.replacen("Via: ", &format!("{via}{cseq}\r\nVia: "), 1)
    };
    let source = "203.0.113.1:5060";
    let refused = bench.take_text(&by_proxy(1, &contact("1", "")), source);
    assert_eq!(refused, Err(Refusal::FirstHop));
    let path = format!("{}|Path: <sip:p.example;lr>", contact("1", ""));
    assert_eq!(
        bench.take_text(&by_proxy(2, &path), source),
        Err(Refusal::FirstHop)
    );
    // Not asked for by the option tag, the reg-id is ignored.
    let unasked = contact("1", "").replace(", outbound", "");
    bench.take_text(&by_proxy(3, &unasked), source).unwrap();
    bench
        .take_text(
            &by_proxy(4, &unasked.replace("reg-id=1", "reg-id=2")),
            source,
        )
        .unwrap();
    assert_eq!(bench.registrar.count(), 1);
    let kept = format!("{}|Path: <sip:token@p.example;lr;ob>", contact("1", ""));
    let answer = bench.take_text(&by_proxy(5, &kept), source).unwrap();
    assert_eq!(answer.last().unwrap(), "Require: outbound");
    assert_eq!(bench.registrar.count(), 2);
}
