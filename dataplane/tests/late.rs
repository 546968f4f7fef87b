//! A target that was left for another: what becomes of its answer (decision 022).
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use bench::Bench;
use bench::branch;
use bench::call::CALLEE_MEDIA;
use bench::call::CALLER_MEDIA;
use bench::call::in_dialog;
use bench::call::status;
use bench::call::to_caller;
use bench::carriers::ack_of_failure;
use bench::carriers::all_to_caller;
use bench::carriers::answer_of;
use bench::carriers::bench;
use bench::carriers::hosts_that_got;
use bench::carriers::one_to;
use bench::carriers::says;
use bench::carriers::to;
use bench::header;
use bench::invite;
use bench::request;
use bench::sdp;
use trunkline_dataplane::counters::Counter;

/// One trunk of two targets.
const TWO: &[(u16, &[u8])] = &[(1000, &[3, 4])];

/// An INVITE that the first target has not answered, so that the second has it now.
fn left_behind(bench: &mut Bench, call_id: &str) -> (String, String) {
    let left = bench.caller(0, &invite(call_id, &sdp(CALLER_MEDIA)));
    let first = one_to(&left, 3);
    let left = bench.pass_ms(2_010);
    (first, to(&left, 4)[0].clone())
}

#[test]
fn one_that_was_left_is_cancelled_when_it_speaks() {
    let mut bench = bench(TWO);
    let (first, second) = left_behind(&mut bench, "speaks");
    let left = says(&mut bench, 3, &answer_of(3, &first, "180 Ringing", "", ""));
    assert_eq!(left.len(), 1, "nobody is told that it rings: {left:#?}");
    let cancel = one_to(&left, 3);
    assert!(cancel.starts_with("CANCEL ") && branch(&cancel) == branch(&first));
    says(&mut bench, 3, &answer_of(3, &cancel, "200 OK", "", ""));
    let left = says(
        &mut bench,
        3,
        &answer_of(3, &first, "487 Request Terminated", "", ""),
    );
    assert_eq!((left.len(), hosts_that_got(&left, "ACK")), (1, vec![3]));
    let ok = answer_of(4, &second, "200 OK", "", &sdp(CALLEE_MEDIA));
    assert_eq!(status(&to_caller(&says(&mut bench, 4, &ok))), "200");
    bench.pass_ms(70_000);
    assert_eq!(bench.count(Counter::TransactionsNow), 0);
    assert_eq!(bench.count(Counter::CallsNow), 1);
}

#[test]
fn nobody_is_told_of_the_487_to_a_cancel_of_our_own() {
    for cancels in [false, true] {
        let mut bench = bench(TWO);
        let (first, second) = left_behind(&mut bench, "quiet");
        says(&mut bench, 4, &answer_of(4, &second, "180 Ringing", "", ""));
        says(&mut bench, 3, &answer_of(3, &first, "180 Ringing", "", ""));
        if cancels {
            bench.caller(0, &request("CANCEL", "quiet", "1", "b1", "", ""));
        }
        let terminated = answer_of(3, &first, "487 Request Terminated", "", "");
        says(&mut bench, 3, &terminated);
        let unavailable = answer_of(4, &second, "503 Service Unavailable", "", "");
        let failed = to_caller(&says(&mut bench, 4, &unavailable));
        assert_eq!(status(&failed), if cancels { "487" } else { "500" });
    }
}

#[test]
fn its_late_2xx_is_the_answer_while_there_is_no_other() {
    let mut bench = bench(TWO);
    let (first, second) = left_behind(&mut bench, "late");
    says(&mut bench, 4, &answer_of(4, &second, "180 Ringing", "", ""));
    let left = says(
        &mut bench,
        3,
        &answer_of(3, &first, "200 OK", "", &sdp(CALLEE_MEDIA)),
    );
    let answered = to_caller(&left);
    assert_eq!(status(&answered), "200");
    assert!(header(&answered, "To").ends_with(";tag=at3"));
    assert_eq!(hosts_that_got(&left, "CANCEL"), [4]);
    assert_eq!(bench.count(Counter::LateAnswersEnded), 0);
}

#[test]
fn its_late_2xx_is_forwarded_after_another_2xx() {
    let mut bench = bench(TWO);
    let (first, second) = left_behind(&mut bench, "two");
    says(
        &mut bench,
        4,
        &answer_of(4, &second, "200 OK", "", &sdp(CALLEE_MEDIA)),
    );
    let left = says(
        &mut bench,
        3,
        &answer_of(3, &first, "200 OK", "", &sdp(CALLEE_MEDIA)),
    );
    let second = to_caller(&left);
    assert!(status(&second) == "200" && header(&second, "To").ends_with(";tag=at3"));
}

#[test]
fn its_late_2xx_after_a_failure_is_acknowledged_and_ended_by_a_bye() {
    let mut bench = bench(TWO);
    let (first, second) = left_behind(&mut bench, "ghost");
    let left = says(
        &mut bench,
        4,
        &answer_of(4, &second, "486 Busy Here", "", ""),
    );
    let failed = to_caller(&left);
    assert_eq!(status(&failed), "486", "it waits for nobody that was left");
    bench.caller(0, &ack_of_failure(&failed));

    let routes = "Record-Route: <sip:10.77.2.9;lr>\r\nRecord-Route: <sip:10.77.2.3:5070;lr>\r\n";
    let ok = answer_of(3, &first, "200 OK", "", &sdp(CALLEE_MEDIA)).replacen(
        "Record-Route: ",
        &format!("{routes}Record-Route: "),
        1,
    );
    let left = says(&mut bench, 3, &ok);
    assert!(all_to_caller(&left).is_empty());
    let said: Vec<String> = left.iter().map(bench::Left::text).collect();
    assert_eq!(said.len(), 2, "{said:#?}");
    for (text, method, cseq) in [(&said[0], "ACK", "1"), (&said[1], "BYE", "2")] {
        let start = format!("{method} sip:callee@10.77.2.3 SIP/2.0\r\nVia: SIP/2.0/UDP 10.77.2.1;");
        assert!(text.starts_with(&start), "{text}");
        assert_eq!(header(text, "CSeq"), format!("{cseq} {method}"));
        assert_eq!(header(text, "To"), "<sip:100@10.77.1.1>;tag=at3");
        assert_eq!(header(text, "From"), "<sip:caller@10.77.1.2>;tag=caller");
        assert_eq!(header(text, "Call-ID"), "ghost");
        let expected = "\r\nRoute: <sip:10.77.2.3:5070;lr>, <sip:10.77.2.9;lr>\r\n";
        assert!(text.contains(expected), "{text}");
    }
    // The first route is an address of the trunk: that is where they went.
    assert!(left.iter().all(|left| left.destination.port() == 5070));
    assert_ne!(branch(&said[0]), branch(&said[1]));
    assert_eq!(bench.count(Counter::LateAnswersEnded), 1);

    // The 2xx comes again: the same ACK once more, and no other BYE.
    let left = says(&mut bench, 3, &ok);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].text(), said[0]);
    // The BYE is repeated until it is answered, and that answer ends here.
    let left = bench.pass_ms(600);
    assert_eq!(
        left.iter().map(bench::Left::text).collect::<Vec<_>>(),
        [said[1].clone()]
    );
    assert!(says(&mut bench, 3, &answer_of(3, &said[1], "200 OK", "", "")).is_empty());
    bench.pass_ms(70_000);
    bench.assert_at_rest();
}

#[test]
fn the_answer_has_the_dialog_though_another_target_rings_with_the_same_tag() {
    let mut bench = bench(TWO);
    let (first, second) = left_behind(&mut bench, "same");
    // Two addresses of one user agent, which makes its tag of the Call-ID.
    let same = |text: String| text.replace(";tag=at3", ";tag=at4");
    says(&mut bench, 4, &answer_of(4, &second, "180 Ringing", "", ""));
    let ok = same(answer_of(3, &first, "200 OK", "", &sdp(CALLEE_MEDIA)));
    let left = says(&mut bench, 3, &ok);
    let answered = all_to_caller(&left)[0].clone();
    let cancel = one_to(&left, 4);
    says(&mut bench, 4, &answer_of(4, &cancel, "200 OK", "", ""));
    says(
        &mut bench,
        4,
        &answer_of(4, &second, "487 Terminated", "", ""),
    );
    assert_eq!(bench.count(Counter::CallsAnswered), 1);
    let bye = in_dialog("BYE", "same", "2", "b2", &answered);
    let passed = bench.caller(0, &bye.replacen("10.77.2.2", "10.77.2.3", 1));
    says(
        &mut bench,
        3,
        &answer_of(3, &one_to(&passed, 3), "200 OK", "", ""),
    );
    assert_eq!(bench.count(Counter::CallsEnded), 1);
    bench.pass_ms(70_000);
    bench.assert_at_rest();
}

#[test]
fn a_second_answer_with_the_same_tag_is_the_same_dialog() {
    let mut bench = bench(TWO);
    let (first, second) = left_behind(&mut bench, "both");
    let same = |text: String| text.replace(";tag=at3", ";tag=at4");
    let ok = answer_of(4, &second, "200 OK", "", &sdp(CALLEE_MEDIA));
    let answered = to_caller(&says(&mut bench, 4, &ok));
    let ok = same(answer_of(3, &first, "200 OK", "", &sdp(CALLEE_MEDIA)));
    to_caller(&says(&mut bench, 3, &ok));
    bench.pass_ms(1_000);
    assert_eq!(bench.count(Counter::CallsNow), 1);
    let bye = in_dialog("BYE", "both", "2", "b2", &answered);
    let passed = bench.caller(0, &bye.replacen("10.77.2.2", "10.77.2.4", 1));
    says(
        &mut bench,
        4,
        &answer_of(4, &one_to(&passed, 4), "200 OK", "", ""),
    );
    bench.pass_ms(70_000);
    bench.assert_at_rest();
}

#[test]
fn where_no_bye_could_have_a_higher_number_the_callee_ends_it() {
    let mut bench = bench(TWO);
    let text = invite("highest", &sdp(CALLER_MEDIA)).replacen("CSeq: 1 ", "CSeq: 2147483647 ", 1);
    let first = one_to(&bench.caller(0, &text), 3);
    let second = one_to(&bench.pass_ms(2_010), 4);
    says(&mut bench, 4, &answer_of(4, &second, "486 Busy", "", ""));
    let ok = answer_of(3, &first, "200 OK", "", &sdp(CALLEE_MEDIA));
    // RFC 3261 §13.3.1.4: a UAS whose 2xx is never acknowledged sends the BYE.
    assert!(says(&mut bench, 3, &ok).is_empty());
    bench.pass_ms(70_000);
    bench.assert_at_rest();
}

#[test]
fn each_callee_behind_one_that_was_left_gets_its_bye() {
    // RFC 3261 §13.2.2.4: another To tag is another dialog.
    let mut bench = bench(TWO);
    let (first, second) = left_behind(&mut bench, "phones");
    let left = says(
        &mut bench,
        4,
        &answer_of(4, &second, "486 Busy Here", "", ""),
    );
    bench.caller(0, &ack_of_failure(&to_caller(&left)));
    let ok = answer_of(3, &first, "200 OK", "", "");
    let mut byes = 0;
    for phone in 0..20 {
        let ok = ok.replace(";tag=at3", &format!(";tag=phone{phone}"));
        let left = says(&mut bench, 3, &ok);
        assert_eq!(hosts_that_got(&left, "ACK"), [3]);
        let bye = left.iter().map(bench::Left::text);
        for bye in bye.filter(|text| text.starts_with("BYE")) {
            assert!(header(&bye, "To").ends_with(&format!(";tag=phone{phone}")));
            byes += 1;
        }
        let again = says(&mut bench, 3, &ok);
        assert_eq!(again.len(), 1, "acknowledged again, ended once: {again:#?}");
    }
    assert_eq!(byes, 8, "whoever invents tags is not heard for ever");
    bench.pass_ms(70_000);
    bench.assert_at_rest();
}

#[test]
fn a_late_2xx_that_cannot_be_ended_leaves_nothing_behind() {
    let mut bench = bench(TWO);
    let (first, second) = left_behind(&mut bench, "mute");
    let left = says(
        &mut bench,
        4,
        &answer_of(4, &second, "486 Busy Here", "", ""),
    );
    bench.caller(0, &ack_of_failure(&to_caller(&left)));
    let ok = answer_of(3, &first, "200 OK", "", &sdp(CALLEE_MEDIA));
    let contact = ok.find("Contact: ").expect("a Contact");
    let end = contact + ok[contact..].find("\r\n").expect("a line") + 2;
    let ok = format!("{}{}", &ok[..contact], &ok[end..]);
    assert!(says(&mut bench, 3, &ok).is_empty(), "whereto?");
    assert!(says(&mut bench, 3, &ok).is_empty());
    bench.pass_ms(70_000);
    bench.assert_at_rest();
}

#[test]
fn a_late_2xx_whose_record_routes_are_not_ours_is_ended_without_them() {
    let mut bench = bench(TWO);
    let (first, second) = left_behind(&mut bench, "switch");
    let left = says(
        &mut bench,
        4,
        &answer_of(4, &second, "486 Busy Here", "", ""),
    );
    bench.caller(0, &ack_of_failure(&to_caller(&left)));
    let theirs = "Record-Route: <sip:10.77.2.9;lr>\r\n";
    let ok = answer_of(3, &first, "200 OK", theirs, "");
    let ours = ok.lines().filter(|line| !line.contains(";tl="));
    let ok = ours.map(|line| format!("{line}\r\n")).collect::<String>();
    assert_eq!(ok.matches("Record-Route").count(), 1);
    let left = says(&mut bench, 3, &ok);
    assert_eq!(hosts_that_got(&left, "ACK"), [3]);
    assert_eq!(hosts_that_got(&left, "BYE"), [3]);
    assert!(left.iter().all(|left| !left.text().contains("Route: ")));
}

#[test]
fn a_late_2xx_of_a_stranger_draws_nothing_to_him() {
    let mut bench = bench(TWO);
    let (first, second) = left_behind(&mut bench, "mirror");
    let left = says(
        &mut bench,
        4,
        &answer_of(4, &second, "486 Busy Here", "", ""),
    );
    bench.caller(0, &ack_of_failure(&to_caller(&left)));
    let ok = answer_of(3, &first, "200 OK", "", &sdp(CALLEE_MEDIA)).replace(
        "Contact: <sip:callee@10.77.2.3>",
        "Contact: <sip:callee@name.invalid>",
    );
    assert!(ok.contains("name.invalid"), "{ok}");
    let left = says(&mut bench, 66, &ok);
    assert_eq!(hosts_that_got(&left, "ACK"), [3], "where the INVITE went");
    assert_eq!(hosts_that_got(&left, "BYE"), [3]);
}

#[test]
fn a_bye_of_ours_that_nobody_answers_ends_by_itself() {
    let mut bench = bench(TWO);
    let (first, second) = left_behind(&mut bench, "gone");
    let left = says(
        &mut bench,
        4,
        &answer_of(4, &second, "404 Not Found", "", ""),
    );
    bench.caller(0, &ack_of_failure(&to_caller(&left)));
    let left = says(&mut bench, 3, &answer_of(3, &first, "200 OK", "", ""));
    assert_eq!(
        hosts_that_got(&left, "BYE"),
        [3],
        "without routes it goes to the Contact"
    );
    let left = bench.pass_ms(31_900);
    assert_eq!(hosts_that_got(&left, "BYE").len(), 10);
    assert!(bench.pass_ms(40_000).is_empty());
    bench.assert_at_rest();
}
