//! Offer and answer through a whole worker: where media goes after each message, what a
//! rejection takes back, and that saying the same again changes nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

use bench::Bench;
use bench::answer;
use bench::call::CALLEE_MEDIA;
use bench::call::CALLER_MEDIA;
use bench::call::CONTACT;
use bench::call::media_in;
use bench::call::rtp;
use bench::header;
use bench::invite;
use bench::sdp;
use bench::with_sdp;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::limits::STREAMS_MAX;

const fn access(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 1, 2)), port)
}

const fn core(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 2, 2)), port)
}

/// Where the caller may receive, and the callee.
const CALLERS: [SocketAddr; 3] = [CALLER_MEDIA, access(6100), access(6200)];
const CALLEES: [SocketAddr; 3] = [CALLEE_MEDIA, core(7100), core(7200)];

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Caller,
    Callee,
}
use Who::Callee;
use Who::Caller;

/// A call on the bench, and all that was said in it.
struct Talk {
    bench: Bench,
    /// What was said, and what the other one heard of it.
    said: Vec<(Who, String, Vec<String>)>,
    /// The INVITE as the callee got it.
    invite: String,
    /// The first response that made the dialog, as the caller got it.
    dialog: String,
    /// The callee's tag.
    tag: &'static str,
    at_core: Option<SocketAddr>,
    at_access: Option<SocketAddr>,
}

impl Talk {
    fn new() -> Talk {
        Talk {
            bench: Bench::new(1),
            said: Vec::new(),
            invite: String::new(),
            dialog: String::new(),
            tag: "callee",
            at_core: None,
            at_access: None,
        }
    }

    /// The caller's INVITE, with this session description or with none.
    fn begin(body: &str) -> Talk {
        let mut talk = Talk::new();
        talk.invite = talk.heard(Caller, &invite("talk", body));
        talk
    }

    /// A call that was answered at once.
    fn established() -> Talk {
        let mut talk = Talk::begin(&sdp(CALLER_MEDIA));
        talk.respond("200 OK", "", &sdp(CALLEE_MEDIA));
        talk.ask(Caller, "ACK", 1, "", "");
        assert_eq!(talk.plays(), [Some(CALLER_MEDIA), Some(CALLEE_MEDIA)]);
        talk
    }

    /// All that reached the other one because `who` said this.
    fn says(&mut self, who: Who, message: &str) -> Vec<String> {
        let (left, there) = match who {
            Caller => (self.bench.caller(0, message), bench::CALLEE),
            Callee => (self.bench.callee(0, message), bench::CALLER),
        };
        let heard = left.iter().filter(|left| left.destination == there);
        heard.map(bench::Left::text).collect()
    }

    /// The one message that reached the other one because `who` said this.
    fn heard(&mut self, who: Who, message: &str) -> String {
        let heard = self.says(who, message);
        assert_eq!(heard.len(), 1, "{message}{heard:#?}");
        let text = heard[0].clone();
        let port = text.contains("m=audio ").then(|| media_in(&text));
        let relay = if who == Caller {
            &mut self.at_core
        } else {
            &mut self.at_access
        };
        *relay = port.filter(|port| port.port() != 0).or(*relay);
        self.said.push((who, message.to_owned(), heard));
        text
    }

    /// The callee answers the INVITE; what the caller hears.
    fn respond(&mut self, status: &str, lines: &str, body: &str) -> String {
        let response = answer(&self.invite, status, &format!("{CONTACT}{lines}"), body);
        let response = response.replace(";tag=callee", &format!(";tag={}", self.tag));
        let heard = self.heard(Callee, &response);
        if self.dialog.is_empty() || status.starts_with('2') {
            self.dialog.clone_from(&heard);
        }
        heard
    }

    /// A response of another dialog to the INVITE, whatever becomes of it.
    fn says_of_fork(&mut self, status: &str, body: &str) {
        let response = answer(&self.invite, status, CONTACT, body);
        let response = response.replace(";tag=callee", &format!(";tag={}", self.tag));
        self.says(Callee, &response);
    }

    /// A request in the dialog; what the other one hears.
    fn ask(&mut self, who: Who, method: &str, cseq: u32, lines: &str, body: &str) -> String {
        let message = self.request(who, method, cseq, lines, body);
        self.heard(who, &message)
    }

    fn request(&self, who: Who, method: &str, cseq: u32, lines: &str, body: &str) -> String {
        let caller = "<sip:caller@10.77.1.2>;tag=caller".to_owned();
        let callee = header(&self.dialog, "To");
        let (from, to, uri, host, routes): (_, _, _, _, Vec<_>) = match who {
            Caller => (caller, callee, "sip:callee@10.77.2.2", "10.77.1.2", {
                routes(&self.dialog).into_iter().rev().collect()
            }),
            Callee => (
                callee,
                caller,
                "sip:caller@10.77.1.2",
                "10.77.2.2",
                routes(&self.invite),
            ),
        };
        let routes: String = routes
            .iter()
            .map(|uri| format!("Route: {uri}\r\n"))
            .collect();
        let message = format!(
            "{method} {uri} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {host};rport;branch=z9hG4bK-{who:?}-{method}-{cseq}\r\n\
             Max-Forwards: 70\r\n{routes}From: {from}\r\nTo: {to}\r\nCall-ID: talk\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:party@{host}>\r\n{lines}\
             Content-Length: 0\r\n\r\n"
        );
        if body.is_empty() {
            message
        } else {
            with_sdp(&message, body)
        }
    }

    /// The other one answers a request; what its sender hears.
    fn reply(&mut self, who: Who, heard: &str, status: &str, body: &str) -> String {
        let response = answer(heard, status, "", body);
        self.heard(who, &response)
    }

    /// Where the caller and the callee receive what the other one says.
    fn plays(&mut self) -> [Option<SocketAddr>; 2] {
        let (at_core, at_access) = (self.at_core, self.at_access);
        let caller = at_core.and_then(|port| self.relayed(&CALLEES, port));
        let callee = at_access.and_then(|port| self.relayed(&CALLERS, port));
        [caller, callee]
    }

    /// Where media of any of `sources` leaves to, that arrives at `port`.
    fn relayed(&mut self, sources: &[SocketAddr], port: SocketAddr) -> Option<SocketAddr> {
        let bench = &mut self.bench;
        bench.left.clear();
        for source in sources {
            bench.arrives(0, *source, port, &rtp(8));
        }
        bench.turn();
        assert!(bench.left.len() <= 1, "one may send, not {:?}", bench.left);
        bench.left.pop_front().map(|left| left.destination)
    }

    /// Pairs of relay ports that calls hold.
    fn ports(&self) -> usize {
        self.bench.workers[0].ports_in_use()
    }
}

/// The Record-Route values, topmost first.
fn routes(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("Record-Route: "))
        .collect()
}

const RELIABLE: &str = "Require: 100rel\r\nRSeq: 7\r\n";
const RACK: &str = "RAck: 7 1 INVITE\r\n";

/// The six ways of RFC 6337 table 1 in which an offer can meet its answer, each as a whole
/// call with a second exchange where the first makes room for it.
fn pattern(number: usize) -> Talk {
    let [caller, _, caller_then] = CALLERS.map(sdp);
    let [callee, callee_then, _] = CALLEES.map(sdp);
    let agreed = [Some(CALLERS[0]), Some(CALLEES[0])];
    let moved = [Some(CALLERS[2]), Some(CALLEES[1])];
    let mut talk;
    match number {
        // 1: offer in the INVITE, answer in the 2xx.
        1 => {
            talk = Talk::begin(&caller);
            talk.respond("180 Ringing", "", "");
            assert_eq!(talk.plays(), [None, None]);
            talk.respond("200 OK", "", &callee);
            assert_eq!(talk.plays(), agreed);
            talk.ask(Caller, "ACK", 1, "", "");
        }
        // 2: offer in the 2xx, answer in the ACK.
        2 => {
            talk = Talk::begin("");
            talk.respond("180 Ringing", "", "");
            talk.respond("200 OK", "", &callee);
            assert_eq!(talk.plays(), [None, None]);
            talk.ask(Caller, "ACK", 1, "", &caller);
        }
        // 3: offer in the INVITE, answer in a reliable 183.
        3 => {
            talk = Talk::begin(&caller);
            talk.respond("183 Session Progress", RELIABLE, &callee);
            assert_eq!(talk.plays(), agreed);
            let prack = talk.ask(Caller, "PRACK", 2, RACK, "");
            talk.reply(Callee, &prack, "200 OK", "");
            talk.respond("200 OK", "", "");
            talk.ask(Caller, "ACK", 1, "", "");
        }
        // 4: offer in a reliable 183, answer in the PRACK.
        4 => {
            talk = Talk::begin("");
            talk.respond("183 Session Progress", RELIABLE, &callee);
            assert_eq!(talk.plays(), [None, None]);
            let prack = talk.ask(Caller, "PRACK", 2, RACK, &caller);
            assert_eq!(talk.plays(), agreed);
            talk.reply(Callee, &prack, "200 OK", "");
            talk.respond("200 OK", "", "");
            talk.ask(Caller, "ACK", 1, "", "");
        }
        // 5: after 3, one more offer in the PRACK, answered by its 200.
        5 => {
            talk = Talk::begin(&caller);
            talk.respond("183 Session Progress", RELIABLE, &callee);
            let prack = talk.ask(Caller, "PRACK", 2, RACK, &caller_then);
            assert_eq!(talk.plays(), agreed);
            talk.reply(Callee, &prack, "200 OK", &callee_then);
            assert_eq!(talk.plays(), moved);
            talk.respond("200 OK", "", "");
            talk.ask(Caller, "ACK", 1, "", "");
            assert_eq!(talk.plays(), moved);
            return talk;
        }
        // 6: after 3, an UPDATE of each side in the early dialog.
        _ => {
            talk = Talk::begin(&caller);
            talk.respond("183 Session Progress", RELIABLE, &callee);
            let prack = talk.ask(Caller, "PRACK", 2, RACK, "");
            talk.reply(Callee, &prack, "200 OK", "");
            let update = talk.ask(Callee, "UPDATE", 1, "", &callee_then);
            assert_eq!(talk.plays(), agreed);
            talk.reply(Caller, &update, "200 OK", &caller);
            assert_eq!(talk.plays(), [Some(CALLERS[0]), Some(CALLEES[1])]);
            let update = talk.ask(Caller, "UPDATE", 3, "", &caller_then);
            talk.reply(Callee, &update, "200 OK", &callee_then);
            assert_eq!(talk.plays(), moved);
            talk.respond("200 OK", "", "");
            talk.ask(Caller, "ACK", 1, "", "");
            assert_eq!(talk.plays(), moved);
            return talk;
        }
    }
    assert_eq!(talk.plays(), agreed);
    talk
}

#[test]
fn an_offer_meets_its_answer_in_each_of_the_six_ways() {
    for number in 1..=6 {
        let mut talk = pattern(number);
        assert_eq!(talk.ports(), 2);
        let cseq = 9;
        let bye = talk.ask(Caller, "BYE", cseq, "", "");
        talk.reply(Callee, &bye, "200 OK", "");
        talk.bench.pass_ms(70_000);
        talk.bench.assert_at_rest();
    }
}

/// A call that changes its streams again and again.
fn changing() -> Talk {
    let mut talk = Talk::established();
    let update = talk.ask(Callee, "UPDATE", 1, "", &sdp2(CALLEES[1], 7400));
    talk.reply(Caller, &update, "200 OK", &sdp2(CALLERS[1], 6400));
    let invite = talk.ask(Caller, "INVITE", 5, "", "");
    talk.reply(Callee, &invite, "200 OK", &sdp2(CALLEES[2], 7400));
    talk.ask(Caller, "ACK", 5, "", &sdp2(CALLERS[2], 0));
    let invite = talk.ask(Caller, "INVITE", 6, "", &sdp2(CALLERS[0], 0));
    talk.reply(Callee, &invite, "183 On", &sdp2(CALLEES[0], 0));
    talk.reply(Callee, &invite, "200 OK", &sdp2(CALLEES[1], 0));
    talk.ask(Caller, "ACK", 6, "", "");
    let invite = talk.ask(Callee, "INVITE", 2, "", &sdp(CALLEES[2]));
    talk.reply(Caller, &invite, "200 OK", &sdp(CALLERS[2]));
    talk.ask(Callee, "ACK", 2, "", "");
    talk
}

/// Every message said so far again, in order, after each message of the call: what goes on
/// is to the byte what went on before, and no media moves.
#[test]
fn saying_the_same_again_says_the_same_and_moves_nothing() {
    let calls = (1..=6).map(pattern).chain([changing()]);
    for (number, whole) in (1..).zip(calls.map(|talk| talk.said)) {
        for until in 1..=whole.len() {
            let mut talk = Talk::new();
            for (who, message, heard) in &whole[..until] {
                assert_eq!(talk.says(*who, message), *heard, "the same call again");
                let last = &heard[0];
                if last.contains("m=audio ") {
                    let port = Some(media_in(last));
                    let relay = if *who == Caller {
                        &mut talk.at_core
                    } else {
                        &mut talk.at_access
                    };
                    *relay = port;
                }
            }
            let plays = talk.plays();
            for (who, message, heard) in &whole[..until] {
                let again = talk.says(*who, message);
                let first_line = message.lines().next().unwrap();
                assert!(
                    again.is_empty() || again == *heard,
                    "{number}: {first_line}"
                );
                assert_eq!(talk.plays(), plays, "{number}: {first_line}");
            }
        }
    }
}

/// A session of an audio and a video stream.
fn sdp2(audio: SocketAddr, video: u16) -> String {
    format!("{}m=video {video} RTP/AVP 8\r\n", sdp(audio))
}

/// The ports of the m= lines.
fn lines(text: &str) -> Vec<u16> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("m="));
    lines
        .map(|line| line.split(' ').nth(1).unwrap().parse().unwrap())
        .collect()
}

const BOTH: [Option<SocketAddr>; 2] = [Some(CALLER_MEDIA), Some(CALLEE_MEDIA)];

#[test]
fn a_rejected_offer_changes_nothing_whoever_made_it_and_however_far_it_had_come() {
    let early = [
        "",
        "SIP/2.0 183 Session Progress",
        "SIP/2.0 183 Session Progress\r\nRequire: 100rel\r\nRSeq: 7",
    ];
    for (who, other, at, back) in [
        (Caller, Callee, CALLERS[1], CALLEES[1]),
        (Callee, Caller, CALLEES[1], CALLERS[1]),
    ] {
        for method in ["INVITE", "UPDATE"] {
            for status in [
                "300 Multiple",
                "408 Late",
                "487 Gone",
                "488 No",
                "491 Pending",
                "500 No",
                "603 No",
            ] {
                for early in &early[..if method == "INVITE" { 3 } else { 1 }] {
                    let mut talk = Talk::established();
                    // An m= line that is new, and one that has moved.
                    let heard = talk.ask(who, method, 5, "", &sdp2(at, 6400));
                    assert_eq!(talk.ports(), 4);
                    assert_eq!(talk.plays(), BOTH, "until the answer nothing moves");
                    if let Some(early) = early.strip_prefix("SIP/2.0 ") {
                        talk.reply(other, &heard, early, &sdp2(back, 7400));
                        assert_ne!(talk.plays(), BOTH, "{early}");
                    }
                    if method == "UPDATE" && status.starts_with("408") {
                        // RFC 4320 §4.2: it ends here, and takes back the offer all the same.
                        let late = bench::answer(&heard, status, "", "");
                        assert!(talk.says(other, &late).is_empty());
                    } else {
                        talk.reply(other, &heard, status, "");
                    }
                    assert_eq!(talk.plays(), BOTH, "{who:?} {method} {status} {early}");
                    assert_eq!(talk.ports(), 2);
                }
            }
        }
    }
}

#[test]
fn an_offer_that_nobody_answers_in_time_is_taken_back() {
    let mut talk = Talk::established();
    talk.ask(Caller, "UPDATE", 5, "", &sdp2(CALLERS[1], 6400));
    assert_eq!(talk.ports(), 4);
    talk.bench.pass_ms(40_000);
    assert_eq!(talk.ports(), 2);
    assert_eq!(talk.plays(), BOTH);
}

#[test]
fn what_was_agreed_inside_a_re_invite_is_taken_back_with_it() {
    let mut talk = Talk::established();
    let invite = talk.ask(Caller, "INVITE", 5, "", &sdp(CALLERS[1]));
    talk.reply(
        Callee,
        &invite,
        &format!("183 On\r\n{}", RELIABLE.trim_end()),
        &sdp(CALLEES[1]),
    );
    let prack = talk.ask(Caller, "PRACK", 6, "RAck: 7 5 INVITE\r\n", "");
    talk.reply(Callee, &prack, "200 OK", "");
    let update = talk.ask(Callee, "UPDATE", 1, "", &sdp(CALLEES[2]));
    talk.reply(Caller, &update, "200 OK", &sdp(CALLERS[2]));
    assert_eq!(talk.plays(), [Some(CALLERS[2]), Some(CALLEES[2])]);
    talk.reply(Callee, &invite, "486 Busy Here", "");
    assert_eq!(talk.plays(), BOTH);
}

#[test]
fn a_prack_that_fails_takes_back_its_offer_or_its_answer() {
    // An offer.
    let mut talk = Talk::begin(&sdp(CALLER_MEDIA));
    talk.respond("183 Session Progress", RELIABLE, &sdp(CALLEE_MEDIA));
    let prack = talk.ask(Caller, "PRACK", 2, RACK, &sdp2(CALLERS[1], 6400));
    assert_eq!(talk.ports(), 4);
    talk.reply(Callee, &prack, "488 Not Acceptable Here", "");
    assert_eq!((talk.plays(), talk.ports()), (BOTH, 2));

    // An answer, which the PRACK with credentials says again.
    let mut talk = Talk::begin("");
    talk.respond("183 Session Progress", RELIABLE, &sdp(CALLEE_MEDIA));
    let prack = talk.ask(Caller, "PRACK", 2, RACK, &sdp(CALLER_MEDIA));
    assert_eq!(talk.plays(), BOTH);
    talk.reply(Callee, &prack, "407 Who Are You", "");
    assert_eq!(talk.plays(), [None, None]);
    let prack = talk.ask(Caller, "PRACK", 3, RACK, &sdp(CALLER_MEDIA));
    assert_eq!(talk.plays(), BOTH);
    talk.reply(Callee, &prack, "200 OK", "");
    talk.respond("200 OK", "", "");
    assert_eq!(talk.plays(), BOTH);
}

#[test]
fn after_a_restart_the_next_offer_anchors_the_media_again() {
    for method in ["UPDATE", "INVITE"] {
        let mut talk = Talk::established();
        talk.bench = Bench::restarted(1);
        assert_eq!(talk.plays(), [None, None]);
        let request = talk.ask(Callee, method, 1, "", &sdp(CALLEE_MEDIA));
        talk.reply(Caller, &request, "200 OK", &sdp(CALLER_MEDIA));
        assert_eq!((talk.plays(), talk.ports()), (BOTH, 2));
        let invite = talk.ask(Caller, "INVITE", 5, "", &sdp2(CALLERS[1], 6400));
        talk.reply(Callee, &invite, "183 On", &sdp2(CALLEES[1], 7400));
        assert_eq!(talk.plays(), [Some(CALLERS[1]), Some(CALLEES[1])]);
        talk.reply(Callee, &invite, "488 No", "");
        assert_eq!((talk.plays(), talk.ports()), (BOTH, 2), "{method}");
    }
}

#[test]
fn offers_that_cross_are_each_rejected_and_change_nothing() {
    let mut talk = Talk::established();
    let of_caller = talk.ask(Caller, "INVITE", 5, "", &sdp(CALLERS[1]));
    let of_callee = talk.ask(Callee, "INVITE", 1, "", &sdp(CALLEES[1]));
    talk.reply(Callee, &of_caller, "491 Request Pending", "");
    talk.reply(Caller, &of_callee, "491 Request Pending", "");
    assert_eq!(talk.plays(), BOTH);
    let again = talk.ask(Callee, "INVITE", 2, "", &sdp(CALLEES[1]));
    talk.reply(Caller, &again, "200 OK", &sdp(CALLERS[1]));
    assert_eq!(talk.plays(), [Some(CALLERS[1]), Some(CALLEES[1])]);
}

#[test]
fn an_offer_in_a_200_counts_once_the_ack_has_answered_it() {
    let mut talk = Talk::established();
    // The caller asks for an offer, and then does not answer it.
    let invite = talk.ask(Caller, "INVITE", 5, "", "");
    let ok = talk.reply(Callee, &invite, "200 OK", &sdp2(CALLEES[1], 7400));
    assert_eq!((talk.plays(), talk.ports()), (BOTH, 4));
    talk.ask(Caller, "ACK", 5, "", "");
    assert_eq!(talk.plays(), BOTH);
    // The 200 may come again, and says the same.
    assert_eq!(
        talk.reply(Callee, &invite, "200 OK", &sdp2(CALLEES[1], 7400)),
        ok
    );
    assert_eq!(talk.plays(), BOTH);
    // Another one that it does answer.
    let invite = talk.ask(Caller, "INVITE", 6, "", "");
    talk.reply(Callee, &invite, "200 OK", &sdp2(CALLEES[1], 7400));
    talk.ask(Caller, "ACK", 6, "", &sdp2(CALLERS[1], 0));
    assert_eq!(talk.plays(), [Some(CALLERS[1]), Some(CALLEES[1])]);
}

#[test]
fn acks_that_never_come_keep_no_offer_from_being_made() {
    let mut talk = Talk::established();
    for cseq in 5..15 {
        let invite = talk.ask(Caller, "INVITE", cseq, "", "");
        talk.reply(Callee, &invite, "200 OK", &sdp2(CALLEES[1], 7400));
        if cseq % 2 == 0 {
            talk.ask(Caller, "ACK", cseq, "", "");
        }
    }
    assert_eq!(talk.bench.count(Counter::OffersRefused), 0);
    assert_eq!((talk.plays(), talk.ports()), (BOTH, 4));
    talk.ask(Caller, "ACK", 14, "", &sdp2(CALLERS[1], 0));
    assert_eq!(talk.plays(), BOTH, "an ACK that declined stays so");
}

#[test]
fn a_stream_comes_and_goes() {
    // Rejected from the start: its ports are free again.
    let mut talk = Talk::begin(&sdp2(CALLER_MEDIA, 6400));
    assert_eq!(talk.ports(), 4);
    let heard = talk.respond("200 OK", "", &sdp2(CALLEE_MEDIA, 0));
    talk.ask(Caller, "ACK", 1, "", "");
    assert_eq!((lines(&heard)[1], talk.ports(), talk.plays()), (0, 2, BOTH));

    // RFC 3264 §8.1: its line may be taken up again.
    let invite = talk.ask(Callee, "INVITE", 1, "", &sdp2(CALLEE_MEDIA, 7400));
    let asked = lines(&invite)[1];
    let ok = talk.reply(Caller, &invite, "200 OK", &sdp2(CALLER_MEDIA, 6400));
    talk.ask(Callee, "ACK", 1, "", "");
    let (at_access, at_core) = (
        relay(bench::ACCESS, asked),
        relay(bench::CORE, lines(&ok)[1]),
    );
    assert_eq!(talk.relayed(&[access(6400)], at_access), Some(core(7400)));
    assert_eq!(talk.relayed(&[core(7400)], at_core), Some(access(6400)));

    // RFC 3264 §8.2: and ended again, while the other stream goes on.
    let invite = talk.ask(Caller, "INVITE", 5, "", &sdp2(CALLER_MEDIA, 0));
    assert_eq!(talk.relayed(&[access(6400)], at_access), Some(core(7400)));
    talk.reply(Callee, &invite, "200 OK", &sdp2(CALLEE_MEDIA, 0));
    talk.ask(Caller, "ACK", 5, "", "");
    assert_eq!(talk.relayed(&[access(6400)], at_access), None);
    assert_eq!(talk.relayed(&[core(7400)], at_core), None);
    assert_eq!(talk.plays(), BOTH);

    // And once more by the other one.
    let update = talk.ask(Caller, "UPDATE", 6, "", &sdp2(CALLER_MEDIA, 6500));
    assert_eq!(lines(&update)[1], at_core.port());
    talk.reply(Callee, &update, "200 OK", &sdp2(CALLEE_MEDIA, 7500));
    assert_eq!(talk.relayed(&[access(6500)], at_access), Some(core(7500)));
    let bye = talk.ask(Caller, "BYE", 7, "", "");
    talk.reply(Callee, &bye, "200 OK", "");
    talk.bench.pass_ms(70_000);
    talk.bench.assert_at_rest();
}

fn relay(listen: SocketAddr, port: u16) -> SocketAddr {
    SocketAddr::new(listen.ip(), port)
}

#[test]
fn more_streams_than_a_call_can_have_are_rejected_and_the_others_pass() {
    let many = |port: u16| {
        let more: Vec<_> = (1..=4)
            .map(|n| format!("m=video {} RTP/AVP 31\r\n", port + 2 * n))
            .collect();
        sdp(access(port)) + &more.concat()
    };
    let mut talk = Talk::begin(&many(6000));
    let ports = lines(&talk.invite);
    assert_eq!(ports.len(), STREAMS_MAX + 1);
    assert!(ports[..STREAMS_MAX].iter().all(|port| *port != 0));
    assert_eq!(ports[STREAMS_MAX], 0);
    assert_eq!(talk.ports(), 2 * STREAMS_MAX);
    let rejected = format!(
        "{}{}",
        sdp(CALLEE_MEDIA),
        "m=video 0 RTP/AVP 31\r\n".repeat(4)
    );
    talk.respond("200 OK", "", &rejected);
    assert_eq!((talk.plays(), talk.ports()), (BOTH, 2));
}

#[test]
fn a_hold_passes_in_either_way_of_saying_it() {
    let mut talk = Talk::established();
    // RFC 3264 §8.4: by a direction. What is sent all the same passes.
    for (cseq, direction, back) in [
        (5, "sendonly", "recvonly"),
        (6, "inactive", "inactive"),
        (7, "sendrecv", "sendrecv"),
    ] {
        let held = format!("{}a={direction}\r\n", sdp(CALLER_MEDIA));
        let invite = talk.ask(Caller, "INVITE", cseq, "", &held);
        assert!(invite.ends_with(&format!("a={direction}\r\n")));
        talk.reply(
            Callee,
            &invite,
            "200 OK",
            &format!("{}a={back}\r\n", sdp(CALLEE_MEDIA)),
        );
        talk.ask(Caller, "ACK", cseq, "", "");
        assert_eq!(talk.plays(), BOTH);
    }
    // By 0.0.0.0, and back.
    let held = sdp(CALLER_MEDIA).replace("c=IN IP4 10.77.1.2", "c=IN IP4 0.0.0.0");
    let at_core = talk.at_core;
    let invite = talk.ask(Caller, "INVITE", 8, "", &held);
    talk.at_core = at_core;
    talk.reply(Callee, &invite, "200 OK", &sdp(CALLEE_MEDIA));
    assert_eq!(talk.plays(), [None, Some(CALLEE_MEDIA)]);
    // Rejected while it holds: it goes on holding.
    let invite = talk.ask(Caller, "INVITE", 9, "", &sdp(CALLERS[1]));
    talk.reply(Callee, &invite, "488 No", "");
    assert_eq!(talk.plays(), [None, Some(CALLEE_MEDIA)]);
    let invite = talk.ask(Caller, "INVITE", 10, "", &sdp(CALLER_MEDIA));
    talk.reply(Callee, &invite, "200 OK", &sdp(CALLEE_MEDIA));
    assert_eq!(talk.plays(), BOTH);
}

#[test]
fn of_the_early_dialogs_of_a_fork_the_last_one_plays_and_the_200_decides() {
    for says_again in [true, false] {
        let mut talk = Talk::begin(&sdp(CALLER_MEDIA));
        talk.tag = "first";
        talk.respond("183 Session Progress", RELIABLE, &sdp(CALLEES[0]));
        assert_eq!(talk.plays(), [Some(CALLERS[0]), Some(CALLEES[0])]);
        talk.tag = "second";
        talk.respond("180 Ringing", "", "");
        assert_eq!(
            talk.plays()[1],
            Some(CALLEES[0]),
            "it has said nothing of media"
        );
        talk.respond("183 Session Progress", "", &sdp(CALLEES[1]));
        assert_eq!(talk.plays(), [Some(CALLERS[0]), Some(CALLEES[1])]);
        // It was answered there: this is a repetition.
        talk.tag = "first";
        talk.respond("183 Session Progress", RELIABLE, &sdp(CALLEES[0]));
        assert_eq!(talk.plays()[1], Some(CALLEES[1]));
        let body = if says_again {
            sdp(CALLEES[0])
        } else {
            String::new()
        };
        talk.respond("200 OK", "", &body);
        assert_eq!(talk.plays(), [Some(CALLERS[0]), Some(CALLEES[0])]);
        // The other one answers too late: its media is not the call's.
        talk.tag = "second";
        talk.says_of_fork("200 OK", &sdp(CALLEES[1]));
        assert_eq!(talk.plays(), [Some(CALLERS[0]), Some(CALLEES[0])]);
    }
}

#[test]
fn sdp_that_describes_no_session_passes_as_it_is() {
    let mut talk = Talk::established();
    let other = with_disposition(
        &talk.request(Caller, "INVITE", 5, "", &sdp(CALLERS[1])),
        "early-session",
    );
    let heard = talk.heard(Caller, &other);
    assert!(heard.contains("m=audio 6100 "), "{heard}");
    let content = "Content-Type: multipart/mixed;boundary=b\r\n";
    let body = format!(
        "--b\r\nContent-Type: application/isup\r\nContent-Disposition: signal;handling=optional\r\n\r\n\u{1}\r\n\
         --b\r\nContent-Type: application/sdp\r\nContent-Disposition: session;handling=optional\r\n\r\n{}\r\n--b--\r\n",
        sdp(CALLERS[1])
    );
    let message = with_sdp(&talk.request(Caller, "UPDATE", 6, "", ""), &body);
    let message = message.replacen("Content-Type: application/sdp\r\n", content, 1);
    let heard = talk.heard(Caller, &message);
    assert_eq!(Some(media_in(&heard)), talk.at_core);
    assert!(heard.contains("\r\n\u{1}\r\n--b\r\n"), "{heard}");
    talk.reply(Callee, &heard, "200 OK", &sdp(CALLEES[1]));
    assert_eq!(talk.plays(), [Some(CALLERS[1]), Some(CALLEES[1])]);
}

fn with_disposition(message: &str, disposition: &str) -> String {
    let line = format!("Content-Disposition: {disposition}\r\nContent-Type: ");
    message.replacen("Content-Type: ", &line, 1)
}

#[test]
fn an_answer_that_cannot_be_anchored_passes_with_its_media_closed() {
    let mut talk = Talk::begin(&sdp(CALLER_MEDIA));
    let nowhere = sdp(CALLEE_MEDIA).replace("IP4 10.77.2.2\r\nt", "IP4 phone.example.com\r\nt");
    let response = answer(&talk.invite, "200 OK", CONTACT, &nowhere);
    talk.dialog = talk.says(Callee, &response).remove(0);
    assert!(talk.dialog.contains("c=IN IP4 phone.example.com"));
    assert_eq!(talk.bench.count(Counter::SdpUnusable), 1);
    talk.ask(Caller, "ACK", 1, "", "");
    assert_eq!(talk.plays(), [None, None]);
    // The next exchange opens it.
    let update = talk.ask(Caller, "UPDATE", 2, "", &sdp(CALLER_MEDIA));
    talk.reply(Callee, &update, "200 OK", &sdp(CALLEE_MEDIA));
    assert_eq!(talk.plays(), BOTH);
    let bye = talk.ask(Caller, "BYE", 3, "", "");
    talk.reply(Callee, &bye, "200 OK", "");
    talk.bench.pass_ms(70_000);
    talk.bench.assert_at_rest();
}

#[test]
fn speech_turns_into_fax_and_back() {
    let mut talk = Talk::established();
    let fax = |at: SocketAddr| {
        sdp(at)
            .replace("RTP/AVP 8", "udptl t38")
            .replace("m=audio", "m=image")
    };
    let invite = talk.ask(Callee, "INVITE", 1, "", &fax(CALLEES[1]));
    assert!(invite.contains("m=image 7100 udptl t38"), "it goes past us");
    assert_eq!(talk.plays(), BOTH);
    talk.reply(Caller, &invite, "200 OK", &fax(CALLERS[1]));
    talk.ask(Callee, "ACK", 1, "", "");
    assert_eq!(talk.plays(), [None, None]);
    let invite = talk.ask(Callee, "INVITE", 2, "", &sdp(CALLEE_MEDIA));
    talk.reply(Caller, &invite, "200 OK", &sdp(CALLER_MEDIA));
    assert_eq!((talk.plays(), talk.ports()), (BOTH, 2));
}

/// A random number of a seed's, below `bound` (xorshift64).
fn below(seed: &mut u64, bound: usize) -> usize {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    usize::try_from(*seed % bound as u64).unwrap()
}

/// A session description of either side's, or none.
fn any_sdp(who: Who, seed: &mut u64) -> String {
    let at = match who {
        Caller => CALLERS[below(seed, 3)],
        Callee => CALLEES[below(seed, 3)],
    };
    match below(seed, 8) {
        0 => String::new(),
        1 => sdp2(at, 0),
        2 | 3 => sdp2(at, 6400 + 100 * u16::try_from(below(seed, 3)).unwrap()),
        4 => sdp(at)
            .replace("RTP/AVP 8", "udptl t38")
            .replace("m=audio", "m=image"),
        5 => sdp(at).replace(&format!("c=IN IP4 {}", at.ip()), "c=IN IP4 0.0.0.0"),
        6 => sdp(at) + &"m=video 9000 RTP/AVP 31\r\n".repeat(4),
        _ => sdp(at),
    }
}

impl Talk {
    /// Something happens: a request, a response to any request so far, or a repetition.
    fn anything(&mut self, asked: &mut Vec<(Who, String)>, cseq: u32, seed: &mut u64) {
        let who = if below(seed, 2) == 0 { Caller } else { Callee };
        match below(seed, 8) {
            0 | 1 if !self.dialog.is_empty() => {
                let method = ["INVITE", "UPDATE", "PRACK", "ACK"][below(seed, 4)];
                let of = if method == "ACK" {
                    cseq - u32::try_from(below(seed, 4)).unwrap()
                } else {
                    cseq
                };
                let rack = format!("RAck: 7 {} INVITE\r\n", below(seed, 3));
                let rack = if method == "PRACK" { &rack } else { "" };
                let message = self.request(who, method, of.max(1), rack, &any_sdp(who, seed));
                for heard in self.says(who, &message) {
                    asked.push((who, heard));
                }
                self.said.push((who, message, Vec::new()));
            }
            2 if !self.said.is_empty() => {
                let (who, message, _) = self.said[below(seed, self.said.len())].clone();
                self.says(who, &message);
            }
            _ => {
                let (asker, request) = &asked[below(seed, asked.len())];
                let who = if *asker == Caller { Callee } else { Caller };
                let status = [
                    "180 Ringing",
                    "183 On",
                    "183 Sure",
                    "200 OK",
                    "200 OK",
                    "491 No",
                ][below(seed, 6)];
                let lines = if status == "183 Sure" { RELIABLE } else { "" };
                let body = any_sdp(who, seed);
                let response = answer(request, status, &format!("{CONTACT}{lines}"), &body);
                // The first INVITE may have been forked.
                let forked = below(seed, 3) == 0 && response.contains("CSeq: 1 INVITE");
                let tag = if forked { ";tag=fork" } else { ";tag=callee" };
                let response = response.replace(";tag=callee", tag);
                let heard = self.says(who, &response);
                // The dialog of the call is that of the first 2xx, once there is one.
                let accepts =
                    |text: &str| text.starts_with("SIP/2.0 200") && text.contains("CSeq: 1 INVITE");
                let heard = heard.first().filter(|heard| {
                    self.dialog.is_empty() || accepts(heard) && !accepts(&self.dialog)
                });
                if let Some(heard) = heard {
                    self.dialog.clone_from(heard);
                }
                self.said.push((who, response, Vec::new()));
            }
        }
    }
}

/// Whatever is said in whatever order, no port serves two sources, the tables agree after each
/// message (which the bench audits), and nothing is left of it in the end.
#[test]
fn no_order_of_offers_and_answers_leaves_anything_behind() {
    for first in 1..=SEEDS {
        let mut seed = first * 0x9e37_79b9;
        let mut talk = Talk::new();
        let body = any_sdp(Caller, &mut seed);
        talk.invite = talk.heard(Caller, &invite("talk", &body));
        let mut asked = vec![(Caller, talk.invite.clone())];
        for cseq in 2..40 {
            talk.anything(&mut asked, cseq, &mut seed);
            talk.plays();
        }
        for (asker, request) in &asked {
            let who = if *asker == Caller { Callee } else { Caller };
            talk.says(who, &answer(request, "500 Over", "", ""));
        }
        if !talk.dialog.is_empty() {
            let bye = talk.request(Caller, "BYE", 99, "", "");
            for heard in talk.says(Caller, &bye) {
                talk.says(Callee, &answer(&heard, "200 OK", "", ""));
            }
        }
        talk.bench.pass_ms(70_000);
        talk.bench.assert_at_rest();
    }
}

/// How many random calls are tried.
const SEEDS: u64 = 12;
