//! Subscribers: challenges, credentials, and requests that wait for the store.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use bench::ACCESS;
use bench::Bench;
use bench::CALLEE;
use bench::answer;
use bench::call::CONTACT;
use bench::call::status;
use bench::call::to_callee;
use bench::header;
use bench::phone;
use bench::phone::PHONE;
use bench::phone::credentials;
use bench::phone::ha1s;
use bench::phone::request;
use bench::phone::statuses;
use std::net::SocketAddr;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::lab;
use trunkline_dataplane::mailbox::Mail;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::digest::cache::Known;
use trunkline_dataplane::sip::subscriber::Said;

const ALICE: (&str, &str) = ("alice", "wonderland");
const SHA256: Algorithm = Algorithm::Sha256;

fn known() -> Said {
    Said::Known(ha1s(ALICE.0, ALICE.1))
}

/// A request of Alice with the answer to `challenge`.
fn authorized(method: &str, call_id: &str, cseq: u32, challenge: &str, nc: u32) -> String {
    let line = credentials(challenge, SHA256, ALICE, method, nc);
    request(method, ALICE.0, call_id, cseq, &line)
}

/// A bench on which Alice is known, and a challenge that she has used once.
fn with_alice(workers: u8) -> (Bench, String) {
    let mut bench = Bench::of(&phone::settings(workers));
    let call_id = bench.call_id_of(0);
    let challenge = bench.phone_gets(0, &request("OPTIONS", "alice", &call_id, 1, ""));
    assert_eq!(status(&challenge), "407");
    bench.phone(0, &authorized("OPTIONS", &call_id, 2, &challenge, 1));
    let asked = bench.asked();
    assert_eq!(asked.len(), 1);
    let sent = to_callee(&bench.said(asked[0], known()));
    assert!(sent.starts_with("OPTIONS "));
    bench.callee(0, &answer(&sent, "200 OK", "", ""));
    bench.pass_ms(33_000);
    (bench, challenge)
}

#[test]
fn who_shows_no_credentials_is_challenged_and_nothing_is_kept() {
    let mut bench = Bench::of(&phone::settings(1));
    for (method, expected, field) in [
        ("INVITE", "407", "Proxy-Authenticate"),
        ("MESSAGE", "407", "Proxy-Authenticate"),
        ("REGISTER", "401", "WWW-Authenticate"),
    ] {
        let challenge = bench.phone_gets(0, &request(method, "alice", "new", 1, ""));
        assert_eq!(status(&challenge), expected);
        let lines: Vec<_> = challenge
            .lines()
            .filter(|line| line.starts_with(field))
            .collect();
        assert_eq!(lines.len(), 2, "{challenge}");
        assert!(lines[0].contains("algorithm=SHA-256") && lines[1].contains("algorithm=MD5"));
        assert!(
            lines
                .iter()
                .all(|line| line.contains("realm=\"example.com\""))
        );
        assert!(!challenge.contains("stale"));
    }
    assert!(bench.asked().is_empty(), "nobody is looked up");
    assert_eq!(bench.count(Counter::AuthChallenges), 3);
    // The ACK to the challenge ends here.
    let challenge = bench.phone_gets(0, &request("INVITE", "alice", "acked", 1, ""));
    let to = format!("To: {}\r\n", header(&challenge, "To"));
    assert!(
        bench
            .phone(0, &request("ACK", "alice", "acked", 1, &to))
            .is_empty()
    );
    assert_eq!(bench.count(Counter::SipAbsorbed), 1);
    bench.assert_at_rest();
}

/// RFC 3261 §8.2.2.3: with what is not supported, also where the answer was lost.
#[test]
fn who_is_refused_is_told_the_same_again() {
    let mut bench = Bench::of(&phone::settings(1));
    let asking = request("MESSAGE", "alice", "m", 1, "Proxy-Require: foo\r\n");
    let refused = bench.phone_gets(0, &asking);
    assert_eq!(
        (status(&refused), header(&refused, "Unsupported").as_str()),
        ("420", "foo")
    );
    assert_eq!(bench.phone_gets(0, &asking), refused);
}

#[test]
fn who_is_of_no_domain_and_no_trunk_is_dropped() {
    let mut bench = Bench::of(&phone::settings(1));
    let stranger = request("INVITE", "alice", "new", 1, "").replace(lab::DOMAIN, "example.org");
    assert!(bench.phone(0, &stranger).is_empty());
    assert_eq!(bench.count(Counter::SipSourceUnknown), 1);
    let shouted = request("INVITE", "alice", "new", 1, "").replace(lab::DOMAIN, "EXAMPLE.com");
    assert_eq!(status(&bench.phone_gets(0, &shouted)), "407");
}

#[test]
fn a_call_of_a_subscriber_goes_on_once_the_store_has_answered() {
    let mut bench = Bench::of(&phone::settings(1));
    let challenge = bench.phone_gets(0, &request("INVITE", "alice", "call", 1, ""));
    let said = authorized("INVITE", "call", 2, &challenge, 1);
    assert_eq!(
        statuses(&bench.phone(0, &said), PHONE),
        ["SIP/2.0 100 Trying"]
    );
    let asked = bench.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].who.user.name(), b"alice");
    // A repetition gets the 100 again and asks nothing.
    assert_eq!(
        statuses(&bench.phone(0, &said), PHONE),
        ["SIP/2.0 100 Trying"]
    );
    assert!(bench.asked().is_empty());
    assert_eq!(bench.count(Counter::TicketsNow), 1);
    assert_eq!(bench.count(Counter::SipParked), 1);
    let left = bench.said(asked[0], known());
    let sent = to_callee(&left);
    assert!(statuses(&left, PHONE).is_empty(), "no second 100");
    assert!(
        sent.starts_with("INVITE ") && !sent.contains("Authorization"),
        "{sent}"
    );
    assert_eq!(bench.count(Counter::TicketsNow), 0);
    let ok = bench.callee(0, &answer(&sent, "200 OK", CONTACT, ""));
    let ok = ok
        .iter()
        .find(|left| left.destination == PHONE)
        .unwrap()
        .text();
    assert_eq!(status(&ok), "200");
    // Who is where the call began is not asked again, by ACK nor by BYE.
    let within = within(&ok);
    assert!(
        to_callee(&bench.phone(0, &request("ACK", "alice", "call", 2, &within))).starts_with("ACK")
    );
    let bye = to_callee(&bench.phone(0, &request("BYE", "alice", "call", 3, &within)));
    let ended = bench.callee(0, &answer(&bye, "200 OK", "", ""));
    assert_eq!(statuses(&ended, PHONE), ["SIP/2.0 200 OK"]);
    assert_eq!(bench.count(Counter::AuthGranted), 1);
    bench.pass_ms(70_000);
    bench.assert_at_rest();
}

/// Route and To of a request within the dialog that `ok` made.
fn within(ok: &str) -> String {
    let mut routes: Vec<_> = ok
        .lines()
        .filter_map(|line| line.strip_prefix("Record-Route: "))
        .map(|route| format!("Route: {route}\r\n"))
        .collect();
    routes.reverse();
    format!("{}To: {}\r\n", routes.concat(), header(ok, "To"))
}

#[test]
fn who_is_known_waits_for_nobody() {
    let (mut bench, challenge) = with_alice(1);
    let left = bench.phone(0, &authorized("INVITE", "second", 1, &challenge, 2));
    assert!(to_callee(&left).starts_with("INVITE "));
    let md5 = credentials(&challenge, Algorithm::Md5, ALICE, "MESSAGE", 3);
    let left = bench.phone(0, &request("MESSAGE", "alice", "third", 1, &md5));
    assert!(to_callee(&left).starts_with("MESSAGE "));
    assert!(bench.asked().is_empty());
}

#[test]
fn a_call_from_elsewhere_must_authenticate_within_its_dialog_too() {
    let (mut bench, challenge) = with_alice(1);
    let sent = to_callee(&bench.phone(0, &authorized("INVITE", "moved", 1, &challenge, 2)));
    let ok = bench.callee(0, &answer(&sent, "200 OK", CONTACT, ""));
    let ok = ok
        .iter()
        .find(|left| left.destination == PHONE)
        .unwrap()
        .text();
    let within = within(&ok);
    bench.phone(0, &request("ACK", "alice", "moved", 1, &within));
    let elsewhere: SocketAddr = "10.77.1.2:5060".parse().unwrap();
    let elsewhere = SocketAddr::new("10.77.1.67".parse().unwrap(), elsewhere.port());
    let bye = request("BYE", "alice", "moved", 2, &within);
    let left = bench.say(0, elsewhere, ACCESS, &bye);
    assert!(
        left.iter().all(|left| left.destination != CALLEE),
        "not without proof"
    );
    assert_eq!(bench.count(Counter::AuthChallenges), 2);
    // An ACK cannot be challenged.
    let ack = request("ACK", "alice", "moved", 1, &within);
    assert!(bench.say(0, elsewhere, ACCESS, &ack).is_empty());
    assert_eq!(bench.count(Counter::SipStrayAck), 1);
}

#[test]
fn credentials_end_here_though_nobody_has_asked_for_them() {
    let (mut bench, challenge) = with_alice(1);
    let of = |method, cseq, nc, more: &str| {
        let line = credentials(&challenge, SHA256, ALICE, method, nc);
        request(method, "alice", "within", cseq, &format!("{line}{more}"))
    };
    let sent = to_callee(&bench.phone(0, &of("INVITE", 1, 2, "")));
    let ok = bench.callee(0, &answer(&sent, "200 OK", CONTACT, ""));
    let ok = ok.iter().find(|left| left.destination == PHONE).unwrap();
    let within = within(&ok.text());
    // RFC 3261 §22.1: an ACK repeats those of its INVITE. Those of others go on.
    let others = "Proxy-Authorization: Digest username=\"u\", realm=\"elsewhere\", nonce=\"n\"\r\n";
    for (method, cseq) in [("ACK", 1), ("BYE", 2)] {
        let said = of(method, cseq, cseq + 2, &format!("{others}{within}"));
        let left = to_callee(&bench.phone(0, &said));
        assert!(left.starts_with(method), "{left}");
        assert!(!left.contains("alice\","), "{left}");
        assert!(left.contains(others), "{left}");
    }
}

#[test]
fn the_ack_to_a_challenge_within_a_dialog_ends_here() {
    let (mut bench, challenge) = with_alice(1);
    let sent = to_callee(&bench.phone(0, &authorized("INVITE", "again", 1, &challenge, 2)));
    let ok = bench.callee(0, &answer(&sent, "200 OK", CONTACT, ""));
    let ok = ok.iter().find(|left| left.destination == PHONE).unwrap();
    let within = within(&ok.text());
    bench.phone(0, &request("ACK", "alice", "again", 1, &within));
    let elsewhere = SocketAddr::new("10.77.1.67".parse().unwrap(), 5060);
    let invite = request("INVITE", "alice", "again", 2, &within);
    let challenges = bench.count(Counter::AuthChallenges);
    for repetition in 1..=2 {
        bench.say(0, elsewhere, ACCESS, &invite);
        let count = bench.count(Counter::AuthChallenges);
        assert_eq!(count, challenges + repetition, "each is challenged anew");
    }
    let absorbed = bench.count(Counter::SipAbsorbed);
    let ack = request("ACK", "alice", "again", 2, &within).replace("againACK2", "againINVITE2");
    assert!(bench.say(0, elsewhere, ACCESS, &ack).is_empty());
    assert_eq!(bench.count(Counter::SipAbsorbed), absorbed + 1);
}

#[test]
fn a_wrong_password_and_nobody_read_alike_and_are_told_later() {
    let (mut bench, challenge) = with_alice(1);
    let mut told = Vec::new();
    for (user, nc) in [("alice", 2), ("nobody", 1)] {
        let first = match user {
            "alice" => challenge.clone(),
            _ => bench.phone_gets(0, &request("REGISTER", user, "probe", 1, "")),
        };
        let line = credentials(&first, SHA256, (user, "wrong"), "REGISTER", nc);
        let line = line.replace("Proxy-", "");
        let left = bench.phone(0, &request("REGISTER", user, "probe", 2, &line));
        assert!(left.is_empty(), "not at once");
        for asked in bench.asked() {
            assert!(bench.said(asked, Said::Known(Known::Nobody)).is_empty());
        }
        let began = bench.now;
        let left = bench.pass_ms(600);
        assert_eq!(statuses(&left, PHONE), ["SIP/2.0 401 Unauthorized"]);
        assert!(bench.now > began);
        let text = left[0].text();
        let nonce = header(&text, "WWW-Authenticate");
        let nonce = nonce.split('"').nth(3).unwrap();
        told.push(text.replace(user, "USER").replace(nonce, "NONCE"));
        bench.pass_ms(40_000);
    }
    let plain = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with("To:"));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(plain(&told[0]), plain(&told[1]));
    assert_eq!(bench.count(Counter::AuthFailures), 2);
    bench.assert_at_rest();
}

#[test]
fn a_failure_is_told_a_whole_number_of_steps_after_it_came() {
    let (mut bench, challenge) = with_alice(1);
    for moment_ms in [0, 1, 250, 499] {
        bench.now = bench.now.plus_ms(moment_ms);
        let wrong = credentials(&challenge, SHA256, ("alice", "wrong"), "MESSAGE", 2);
        let call_id = format!("grid{moment_ms}");
        bench.phone(0, &request("MESSAGE", "alice", &call_id, 1, &wrong));
        let left = bench.pass_ms(499);
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(bench.pass_ms(8).len(), 1);
    }
    // Who waited for the store for longer than a step is told after the second.
    let challenge = bench.phone_gets(0, &request("MESSAGE", "nobody", "slow", 1, ""));
    let line = credentials(&challenge, SHA256, ("nobody", "x"), "MESSAGE", 1);
    bench.phone(0, &request("MESSAGE", "nobody", "slow", 2, &line));
    let asked = bench.asked();
    bench.pass_ms(700);
    assert!(bench.said(asked[0], Said::Known(Known::Nobody)).is_empty());
    assert!(bench.pass_ms(299).is_empty());
    assert_eq!(bench.pass_ms(8).len(), 1);
}

#[test]
fn a_nonce_count_is_good_once_and_a_nonce_for_its_address() {
    let (mut bench, challenge) = with_alice(1);
    let first = authorized("MESSAGE", "replay", 1, &challenge, 2);
    assert!(to_callee(&bench.phone(0, &first)).starts_with("MESSAGE"));
    let replayed = first
        .replace("MESSAGE1", "MESSAGEx")
        .replace("1 MESSAGE", "2 MESSAGE");
    let told = bench.phone_gets(0, &replayed);
    assert_eq!(status(&told), "407");
    assert!(told.contains("stale=true"));
    assert_eq!(bench.count(Counter::AuthReplays), 1);
    let stolen = authorized("MESSAGE", "stolen", 1, &challenge, 3);
    let thief = SocketAddr::new("10.77.1.67".parse().unwrap(), 5070);
    bench.say(0, thief, ACCESS, &stolen);
    assert_eq!(bench.count(Counter::AuthStale), 2);
    assert_eq!(bench.count(Counter::AuthGranted), 2);
    // Nobody has made this one.
    let nonce = header(&challenge, "Proxy-Authenticate");
    let nonce = nonce.split('"').nth(3).unwrap();
    let forged = stolen.replace(nonce, &"a".repeat(nonce.len()));
    assert!(!bench.phone_gets(0, &forged).contains("stale"));
}

#[test]
fn a_thousand_who_wait_for_one_user_ask_once() {
    let mut settings = phone::settings(1);
    // A quarter is for those who do not wait for the store.
    settings.capacity.tickets = 133;
    let mut bench = Bench::of(&settings);
    let challenge = bench.phone_gets(0, &request("MESSAGE", "alice", "first", 1, ""));
    for n in 0..100 {
        let said = authorized("MESSAGE", &format!("many{n}"), 1, &challenge, n + 1);
        assert!(bench.phone(0, &said).is_empty());
    }
    let late = authorized("MESSAGE", "late", 1, &challenge, 200);
    assert_eq!(status(&bench.phone_gets(0, &late)), "503");
    assert_eq!(bench.count(Counter::TicketsRefused), 1);
    let asked = bench.asked();
    assert_eq!(asked.len(), 1);
    let left = bench.said(asked[0], known());
    let sent = left.iter().filter(|left| left.destination == CALLEE);
    assert_eq!(sent.count(), 100);
    assert_eq!(bench.count(Counter::TicketsNow), 0);
}

#[test]
fn who_waits_in_vain_is_told_in_time_and_the_late_answer_is_kept() {
    let mut bench = Bench::of(&phone::settings(1));
    let challenge = bench.phone_gets(0, &request("INVITE", "alice", "slow", 1, ""));
    bench.phone(0, &authorized("INVITE", "slow", 2, &challenge, 1));
    let asked = bench.asked();
    assert!(bench.pass_ms(4_990).is_empty());
    let left = bench.pass_ms(20);
    assert_eq!(statuses(&left, PHONE), ["SIP/2.0 504 Server Time-out"]);
    // RFC 3261 §17.2.1: until the ACK comes.
    assert_eq!(bench.pass_ms(510).len(), 1);
    let to = format!("To: {}\r\n", header(&left[0].text(), "To"));
    let ack = request("ACK", "alice", "slow", 2, &to).replace("slowACK2", "slowINVITE2");
    assert!(bench.phone(0, &ack).is_empty());
    assert!(bench.pass_ms(2_000).is_empty());
    assert_eq!(bench.count(Counter::TicketsLate), 1);
    assert!(
        bench.said(asked[0], known()).is_empty(),
        "nobody waits any more"
    );
    let again = authorized("INVITE", "again", 1, &challenge, 2);
    assert!(to_callee(&bench.phone(0, &again)).starts_with("INVITE"));
    assert!(bench.asked().is_empty());
}

/// A store that takes longer than anybody waits serves those who have asked since.
#[test]
fn a_late_answer_serves_who_waits_for_the_same_user_now() {
    let mut bench = Bench::of(&phone::settings(1));
    let challenge = bench.phone_gets(0, &request("MESSAGE", "alice", "early", 1, ""));
    bench.phone(0, &authorized("MESSAGE", "early", 2, &challenge, 1));
    let early = bench.asked();
    bench.pass_ms(5_100);
    assert_eq!(bench.count(Counter::TicketsLate), 1);
    bench.phone(0, &authorized("MESSAGE", "now", 1, &challenge, 2));
    let now = bench.asked();
    assert_eq!(now.len(), 1);
    // That nobody could be asked then says nothing of now.
    assert!(bench.said(early[0], Said::Unavailable).is_empty());
    let sent = to_callee(&bench.said(early[0], known()));
    assert!(sent.contains("\r\nCall-ID: now"), "{sent}");
    assert_eq!(bench.count(Counter::TicketsNow), 0);
    assert!(bench.said(now[0], known()).is_empty());
}

#[test]
fn a_store_that_cannot_be_asked_is_no_failure_of_the_user() {
    let mut bench = Bench::of(&phone::settings(1));
    let challenge = bench.phone_gets(0, &request("MESSAGE", "alice", "down", 1, ""));
    bench.phone(0, &authorized("MESSAGE", "down", 2, &challenge, 1));
    let asked = bench.asked();
    let left = bench.said(asked[0], Said::Unavailable);
    assert_eq!(statuses(&left, PHONE), ["SIP/2.0 503 Service Unavailable"]);
    assert_eq!(bench.count(Counter::AuthUnavailable), 1);
    assert_eq!(bench.count(Counter::AuthFailures), 0);
    // Nothing was learned: the next one asks again.
    bench.phone(0, &authorized("MESSAGE", "down2", 1, &challenge, 2));
    assert_eq!(bench.asked().len(), 1);
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}

#[test]
fn a_request_that_waits_can_be_cancelled() {
    let mut bench = Bench::of(&phone::settings(1));
    let challenge = bench.phone_gets(0, &request("INVITE", "alice", "off", 1, ""));
    bench.phone(0, &authorized("INVITE", "off", 2, &challenge, 1));
    let cancel = request("CANCEL", "alice", "off", 2, "").replace("offCANCEL2", "offINVITE2");
    let left = bench.phone(0, &cancel);
    let mut told = statuses(&left, PHONE);
    told.sort();
    assert_eq!(told, ["SIP/2.0 200 OK", "SIP/2.0 487 Request Terminated"]);
    assert_eq!(bench.count(Counter::TicketsNow), 0);
    let asked = bench.asked();
    assert!(bench.said(asked[0], known()).is_empty());
    bench.pass_ms(40_000);
    bench.assert_at_rest();
}

#[test]
fn another_worker_asks_the_maker_of_the_nonce_how_often_it_was_used() {
    let (mut bench, challenge) = with_alice(2);
    let other = bench.call_id_of(1);
    let said = authorized("MESSAGE", &other, 1, &challenge, 2);
    // Worker 1 knows nothing of Alice yet.
    bench.phone(0, &said);
    let asked = bench.asked();
    assert_eq!((asked.len(), asked[0].worker), (1, 1));
    assert!(to_callee(&bench.said(asked[0], known())).starts_with("MESSAGE"));
    let replayed = said
        .replace("MESSAGE1", "MESSAGEx")
        .replace("1 MESSAGE", "2 MESSAGE");
    let told = bench.phone_gets(0, &replayed);
    assert!(told.contains("stale=true"), "{told}");
    assert_eq!(bench.count(Counter::AuthReplays), 1);
    assert_eq!(bench.count(Counter::TicketsNow), 0);
}

#[test]
fn wrong_passwords_leave_half_of_the_tickets_to_others() {
    let mut settings = phone::settings(1);
    settings.capacity.tickets = 8;
    let mut bench = Bench::of(&settings);
    let challenge = bench.phone_gets(0, &request("MESSAGE", "alice", "first", 1, ""));
    bench.phone(0, &authorized("MESSAGE", "first", 2, &challenge, 1));
    let asked = bench.asked();
    bench.said(asked[0], known());
    for n in 0..6 {
        let line = credentials(&challenge, SHA256, ("alice", "wrong"), "MESSAGE", n + 2);
        let said = request("MESSAGE", "alice", &format!("guess{n}"), 1, &line);
        assert!(bench.phone(0, &said).is_empty());
    }
    assert_eq!(bench.count(Counter::TicketsNow), 4);
    assert_eq!(bench.count(Counter::SipAuthFlood), 2);
    let challenge = bench.phone_gets(0, &request("MESSAGE", "bob", "bob", 1, ""));
    let line = credentials(&challenge, SHA256, ("bob", "builder"), "MESSAGE", 1);
    bench.phone(0, &request("MESSAGE", "bob", "bob", 2, &line));
    assert_eq!(bench.asked().len(), 1, "others still get a ticket");
}

#[test]
fn who_speaks_for_another_is_refused() {
    let (mut bench, challenge) = with_alice(1);
    let line = credentials(&challenge, SHA256, ALICE, "MESSAGE", 2);
    let told = bench.phone_gets(0, &request("MESSAGE", "bob", "spoof", 1, &line));
    assert_eq!(status(&told), "403");
    let broken = line.replace("nc=", "nc==");
    let told = bench.phone_gets(0, &request("MESSAGE", "alice", "broken", 1, &broken));
    assert_eq!(status(&told), "400");
}

#[test]
fn what_is_known_is_asked_for_again_before_it_is_too_old_and_forgotten_when_told() {
    let (mut bench, challenge) = with_alice(1);
    bench.posts[0].mail.post(Mail::Doubt).unwrap();
    bench.turn();
    bench.now = bench.now.plus_ms(1);
    let passes = |bench: &mut Bench, call_id, nc| {
        let left = bench.phone(0, &authorized("MESSAGE", call_id, 1, &challenge, nc));
        assert!(
            to_callee(&left).starts_with("MESSAGE"),
            "it waits for nobody"
        );
    };
    passes(&mut bench, "doubted", 2);
    let asked = bench.asked();
    assert_eq!(asked.len(), 1, "once, in the background");
    assert_eq!(asked[0].question, None);
    passes(&mut bench, "meanwhile", 3);
    assert!(bench.asked().is_empty());
    assert!(bench.said(asked[0], known()).is_empty());
    passes(&mut bench, "confirmed", 4);
    assert!(bench.asked().is_empty());
    bench.posts[0]
        .mail
        .post(Mail::Forget(asked[0].who))
        .unwrap();
    bench.turn();
    let left = bench.phone(0, &authorized("MESSAGE", "forgotten", 1, &challenge, 5));
    assert!(left.is_empty(), "it waits for the store");
    assert_eq!(bench.asked().len(), 1);
}

#[test]
fn a_question_that_finds_the_mailbox_full_costs_its_asker_the_deadline() {
    let (mut bench, challenge) = with_alice(2);
    let (own, other) = (bench.call_id_of(1), bench.call_id_of(0));
    bench.phone(1, &authorized("MESSAGE", &own, 1, &challenge, 2));
    let asked = bench.asked();
    assert!(to_callee(&bench.said(asked[0], known())).starts_with("MESSAGE"));
    // Worker 0, who made the nonce, does not turn; its mailbox fills.
    let stranger = request("MESSAGE", "alice", &other, 9, "");
    for _ in 0..10_000 {
        bench.arrives(1, PHONE, ACCESS, stranger.as_bytes());
        bench.workers[1].turn(bench.now);
        bench.workers[1].rings_mut().take_sent(&mut |_, _| {});
    }
    let said = authorized("MESSAGE", &own, 2, &challenge, 3);
    bench.arrives(1, PHONE, ACCESS, said.as_bytes());
    bench.workers[1].turn(bench.now);
    let lost = bench.workers[1].counters().get(Counter::QuestionMailsLost);
    assert_eq!(lost, 1);
    bench.turn();
    let told = statuses(&bench.pass_ms(5_010), PHONE);
    assert_eq!(told.last().unwrap(), "SIP/2.0 504 Server Time-out");
}
