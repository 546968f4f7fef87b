//! Bans: who tries passwords is not heard any more, and nobody else suffers for it.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::net::IpAddr;
use std::net::SocketAddr;

use bench::ACCESS;
use bench::Bench;
use bench::CALLER;
use bench::answer;
use bench::call::CALLEE_MEDIA;
use bench::call::CONTACT;
use bench::call::media_in;
use bench::call::relayed;
use bench::call::status;
use bench::call::to_callee;
use bench::invite;
use bench::phone;
use bench::phone::PHONE;
use bench::phone::credentials;
use bench::phone::ha1s;
use bench::phone::request;
use bench::sdp;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::mailbox::Ask;
use trunkline_dataplane::mailbox::Mail;
use trunkline_dataplane::mailbox::Query;
use trunkline_dataplane::mailbox::Report;
use trunkline_dataplane::settings::Abuse;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::digest::cache::Known;
use trunkline_dataplane::sip::guard::BanReport;
use trunkline_dataplane::sip::guard::Source;
use trunkline_dataplane::sip::guard::Word;
use trunkline_dataplane::sip::subscriber::Said;

const RULES: Abuse = Abuse {
    failures: 5,
    within_s: 60,
    ban_s: 600,
    requests_per_s: 0,
    burst: 0,
};
const SHA256: Algorithm = Algorithm::Sha256;

fn bench(workers: u8) -> Bench {
    let mut settings = phone::settings(workers);
    settings.abuse = RULES;
    Bench::of(&settings)
}

fn source() -> Source {
    Source::of(PHONE.ip())
}

/// Another phone behind the same address.
fn other_port() -> SocketAddr {
    SocketAddr::new(PHONE.ip(), 6060)
}

/// Answers what the workers ask: Alice is known, and nobody else.
fn ask_store(bench: &mut Bench) {
    for asked in bench.asked() {
        let said = match asked.who.user.name() {
            b"alice" => ha1s("alice", "wonderland"),
            _ => Known::Nobody,
        };
        bench.said(asked, Said::Known(said));
    }
}

/// One attempt of `who` with a password, from `from`; a REGISTER as `method` says.
fn attempt(bench: &mut Bench, n: u32, from: SocketAddr, who: (&str, &str), method: &str) {
    let call_id = format!("attempt-{n}-{}", from.port());
    let (user, _) = who;
    let plain = request(method, user, &call_id, 1, "");
    let left = bench.say(0, from, ACCESS, &plain);
    let Some(challenge) = left.first() else {
        return;
    };
    let challenge = challenge.text();
    assert!(matches!(status(&challenge), "401" | "407"), "{challenge}");
    let line = credentials(&challenge, SHA256, who, method, 1);
    bench.say(0, from, ACCESS, &request(method, user, &call_id, 2, &line));
    ask_store(bench);
}

/// What the workers say of their bans.
fn reports(bench: &mut Bench) -> Vec<BanReport> {
    let what = Ask::Bans;
    for post in &mut bench.posts {
        post.mail.post(Mail::Query(Query { id: 1, what })).unwrap();
    }
    let mut bans = Vec::new();
    // A worker looks at 64 places a turn.
    for _ in 0..200 {
        bench.turn();
        bans.extend(
            bench
                .reports()
                .into_iter()
                .filter_map(|report| match report {
                    Report::Ban { ban, .. } => Some(ban),
                    _ => None,
                }),
        );
    }
    bans
}

#[test]
fn who_tries_passwords_is_not_heard_at_any_worker_until_the_ban_ends() {
    for workers in [1, 4] {
        let mut bench = bench(workers);
        // A wrong password and a user who does not exist count alike.
        let who = [("alice", "wrong"), ("nobody", "x")];
        for n in 0..4 {
            attempt(&mut bench, n, PHONE, who[n as usize % 2], "REGISTER");
        }
        assert_eq!(bench.count(Counter::BansNow), 0);
        attempt(&mut bench, 4, other_port(), who[0], "INVITE");
        assert_eq!(bench.count(Counter::AuthFailures), 5);
        assert_eq!(bench.count(Counter::BansAdded), 1);
        assert_eq!(bench.count(Counter::BansNow), 1);
        for worker in 0..workers {
            let from = SocketAddr::new(PHONE.ip(), 7000 + u16::from(worker));
            let worker = usize::from(worker);
            let said = request("OPTIONS", "alice", "banned", 1, "");
            assert!(bench.say(worker, from, ACCESS, &said).is_empty());
            assert!(bench.say(worker, from, ACCESS, "garbage").is_empty());
        }
        assert_eq!(bench.count(Counter::SipBanned), 2 * u64::from(workers));
        let neighbour = SocketAddr::new("10.77.1.67".parse().unwrap(), 5060);
        let said = request("OPTIONS", "alice", "near", 1, "");
        let challenges = bench.count(Counter::AuthChallenges);
        bench.say(0, neighbour, ACCESS, &said);
        assert_eq!(bench.count(Counter::AuthChallenges), challenges + 1);
        let bans = reports(&mut bench);
        assert_eq!(bans.len(), usize::from(workers));
        assert!(
            bans.iter()
                .all(|ban| ban.source == source() && ban.dropped == 2)
        );
        assert!(
            bans.iter()
                .all(|ban| ban.failures == 5 && ban.until_s == 601)
        );
        // What waited for the grid is told, and the ban ends.
        bench.pass_ms(5_000);
        bench.now = bench.now.plus_ms(594_000);
        let still = request("OPTIONS", "alice", "still", 1, "");
        assert!(bench.phone(0, &still).is_empty());
        bench.now = bench.now.plus_ms(1_000);
        let heard = request("OPTIONS", "alice", "heard", 1, "");
        assert_eq!(status(&bench.phone_gets(0, &heard)), "407");
        bench.pass_ms(3_000);
        assert_eq!(bench.count(Counter::BansNow), 0);
        assert_eq!(bench.count(Counter::BansExpired), 1);
        bench.pass_ms(40_000);
        bench.assert_at_rest();
    }
}

#[test]
fn only_answers_to_our_nonces_count() {
    let mut bench = bench(2);
    let plain = request("REGISTER", "alice", "plain", 1, "");
    let challenge = bench.phone_gets(0, &plain);
    let nonce = |text: &str| text.split("nonce=\"").nth(1).unwrap()[..32].to_owned();
    let ours = nonce(&challenge);
    let line = credentials(&challenge, SHA256, ("alice", "wrong"), "REGISTER", 1);
    let forged = line.replace(&ours, &"a".repeat(32));
    let elsewhere = SocketAddr::new("10.77.1.67".parse().unwrap(), 5060);
    for n in 0..50 {
        let of = |line: &str| request("REGISTER", "alice", &format!("n{n}"), n + 2, line);
        bench.phone(0, &of(""));
        bench.phone(0, &of(&forged));
        bench.phone(0, &of("Authorization: Digest nonsense\r\n"));
        // Somebody else's nonce: whoever sends with a false address hears none.
        bench.say(1, elsewhere, ACCESS, &of(&line));
    }
    assert_eq!(bench.count(Counter::AuthFailures), 0);
    bench.pass_ms(301_000);
    for n in 0..20 {
        let said = request("REGISTER", "alice", &format!("old{n}"), n + 2, &line);
        assert!(bench.phone_gets(0, &said).contains("stale=true"));
    }
    assert_eq!(bench.count(Counter::BansAdded), 0);
    assert!(reports(&mut bench).is_empty());
}

#[test]
fn failures_that_are_far_apart_are_forgotten() {
    let mut bench = bench(1);
    for n in 0..12 {
        attempt(&mut bench, n, PHONE, ("alice", "wrong"), "REGISTER");
        bench.pass_ms(16_000);
    }
    assert_eq!(bench.count(Counter::AuthFailures), 12);
    assert_eq!(bench.count(Counter::BansAdded), 0, "four in a minute");
}

#[test]
fn an_address_from_which_somebody_is_registered_is_spared_whichever_worker_keeps_the_contact() {
    for workers in [1, 2, 3, 4] {
        let mut bench = bench(workers);
        attempt(&mut bench, 0, PHONE, ("alice", "wonderland"), "REGISTER");
        assert_eq!(bench.count(Counter::BindingsNow), 1);
        for n in 0..20 {
            attempt(
                &mut bench,
                100 + n,
                other_port(),
                ("mallory", "x"),
                "REGISTER",
            );
        }
        assert_eq!(bench.count(Counter::AuthFailures), 20);
        assert_eq!(bench.count(Counter::BansAdded), 0);
        assert_eq!(bench.count(Counter::BansSpared), 4, "each five of them");
        // Once the contact is gone it is an address as any other.
        let gone = "Contact: *\r\nExpires: 0\r\n";
        let challenge = bench.phone_gets(0, &request("REGISTER", "alice", "off", 1, ""));
        let line = credentials(&challenge, SHA256, ("alice", "wonderland"), "REGISTER", 1);
        let off = request("REGISTER", "alice", "off", 2, &format!("{line}{gone}"));
        let off = off.replace("Contact: <sip:alice@10.77.1.66:5070>\r\n", "");
        assert_eq!(status(&bench.phone_gets(0, &off)), "200");
        assert_eq!(bench.count(Counter::BindingsNow), 0);
        bench.pass_ms(61_000);
        for n in 0..5 {
            attempt(
                &mut bench,
                200 + n,
                other_port(),
                ("mallory", "x"),
                "REGISTER",
            );
        }
        assert_eq!(bench.count(Counter::BansAdded), 1);
    }
}

#[test]
fn a_trunk_is_never_banned() {
    let mut bench = bench(2);
    for n in 0..30 {
        attempt(&mut bench, n, CALLER, ("mallory", "x"), "REGISTER");
    }
    assert_eq!(bench.count(Counter::AuthFailures), 30);
    assert_eq!(bench.count(Counter::BansAdded), 0);
    // Not even where the ban is of a source that it is among.
    let keeper = Word::Ban {
        source: Source::of(CALLER.ip()),
        until_s: 1_000,
        failures: 9,
    };
    bench.posts[0].mail.post(Mail::Guard(keeper)).unwrap();
    bench.turn();
    assert!(!bench.caller(0, &invite("trunk", "")).is_empty());
    assert_eq!(bench.count(Counter::SipBanned), 0);
}

#[test]
fn media_of_a_call_goes_on_though_its_address_is_banned() {
    let mut bench = bench(1);
    let media = SocketAddr::new(PHONE.ip(), 40_000);
    let sent = to_callee(&bench.caller(0, &invite("media", &sdp(media))));
    let ok = answer(&sent, "200 OK", CONTACT, &sdp(CALLEE_MEDIA));
    let ok = bench.callee(0, &ok);
    let near = media_in(&ok[0].text());
    for n in 0..5 {
        attempt(&mut bench, n, PHONE, ("alice", "wrong"), "REGISTER");
    }
    assert_eq!(bench.count(Counter::BansNow), 1);
    assert_eq!(relayed(&mut bench, media, near), Some(CALLEE_MEDIA));
}

#[test]
fn the_operator_can_lift_a_ban_and_the_count_begins_anew() {
    let mut bench = bench(3);
    for n in 0..5 {
        attempt(&mut bench, n, PHONE, ("alice", "wrong"), "REGISTER");
    }
    assert_eq!(bench.count(Counter::BansNow), 1);
    for post in &mut bench.posts {
        post.mail.post(Mail::Guard(Word::Pardon(source()))).unwrap();
    }
    bench.turn();
    assert_eq!(bench.count(Counter::BansRemoved), 1);
    assert_eq!(bench.count(Counter::BansNow), 0);
    for n in 0..4 {
        attempt(&mut bench, 50 + n, PHONE, ("alice", "wrong"), "REGISTER");
    }
    assert_eq!(bench.count(Counter::AuthFailures), 9);
    assert_eq!(bench.count(Counter::BansAdded), 1);
    attempt(&mut bench, 60, PHONE, ("alice", "wrong"), "REGISTER");
    assert_eq!(bench.count(Counter::BansAdded), 2);
}

#[test]
fn a_contact_that_comes_while_the_workers_look_spares_its_address() {
    // Whatever comes first: the words of the workers cross each other in every order of their turns.
    for order in 0..24 {
        let mut bench = bench(4);
        attempt(&mut bench, 0, PHONE, ("alice", "wonderland"), "OPTIONS");
        let challenge = bench.phone_gets(0, &request("REGISTER", "alice", "late", 1, ""));
        let line = credentials(&challenge, SHA256, ("alice", "wonderland"), "REGISTER", 1);
        let late = request("REGISTER", "alice", "late", 2, &line);
        for n in 0..4 {
            attempt(
                &mut bench,
                10 + n,
                other_port(),
                ("mallory", "x"),
                "REGISTER",
            );
        }
        let challenge = bench.phone_gets(0, &request("REGISTER", "mallory", "last", 1, ""));
        let line = credentials(&challenge, SHA256, ("mallory", "x"), "REGISTER", 1);
        let last = request("REGISTER", "mallory", "last", 2, &line);
        bench.arrives(0, PHONE, ACCESS, last.as_bytes());
        for step in 0..6 {
            if step == order % 6 {
                bench.arrives(order / 6, PHONE, ACCESS, late.as_bytes());
            }
            for turn in 0..4 {
                let worker = (turn * (1 + 2 * (order % 2)) + order) % 4;
                bench.workers[worker].turn(bench.now);
                bench.workers[worker].rings_mut().take_sent(&mut |_, _| {});
            }
        }
        bench.turn();
        ask_store(&mut bench);
        bench.turn();
        let bindings = bench.count(Counter::BindingsNow);
        let bans = bench.count(Counter::BansNow);
        assert!(
            bindings == 0 || bans == 0,
            "order {order}: {bindings} {bans}"
        );
    }
}

#[test]
fn a_flood_of_sources_is_bounded_and_whose_ban_ends_first_gives_way() {
    let mut bench = bench(2);
    for n in 0..20_000_u32 {
        let address = IpAddr::from((0x0a00_0000_u32 + n).to_be_bytes());
        let word = Word::Ban {
            source: Source::of(address),
            until_s: 1_000 + n,
            failures: 1,
        };
        for post in &mut bench.posts {
            post.mail.post(Mail::Guard(word)).unwrap();
        }
        if n % 1_000 == 999 {
            bench.turn();
        }
    }
    let now = bench.count(Counter::BansNow);
    assert!((8_000..=8_192).contains(&now), "{now}");
    assert_eq!(bench.count(Counter::BansDisplaced), 20_000 - now);
    let bans = reports(&mut bench);
    assert_eq!(bans.len() as u64, 2 * now);
    let last = |n: u32| bans.iter().filter(|ban| ban.until_s >= 21_000 - n).count();
    assert_eq!(last(100), 200, "the last ones are all there");
}
