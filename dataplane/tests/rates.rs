//! What comes from an address that is no trunk, and from which nobody is registered, is bounded.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::net::SocketAddr;

use bench::ACCESS;
use bench::Bench;
use bench::CALLER;
use bench::call::status;
use bench::invite;
use bench::phone;
use bench::phone::Device;
use bench::phone::PHONE;
use bench::phone::credentials;
use bench::phone::ha1s;
use bench::phone::request;
use bench::stored;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::mailbox::Mail;
use trunkline_dataplane::settings::Abuse;
use trunkline_dataplane::settings::Location;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::subscriber::Said;

fn bench(abuse: Abuse) -> Bench {
    let mut settings = phone::settings(1);
    settings.abuse = abuse;
    Bench::of(&settings)
}

/// A phone behind the NAT.
fn port(n: u16) -> SocketAddr {
    SocketAddr::new(PHONE.ip(), 10_000 + n)
}

/// A phone registers, and sends each request twice, as after a power cut; true where it is let in.
fn registers(bench: &mut Bench, n: u16) -> bool {
    let (user, password) = (format!("user{n}"), "secret");
    let call_id = format!("nat{n}-{}", bench.now.as_ms());
    let plain = request("REGISTER", &user, &call_id, 1, "");
    let Some(challenge) = bench.say(0, port(n), ACCESS, &plain).pop() else {
        return false;
    };
    bench.say(0, port(n), ACCESS, &plain);
    let who = (user.as_str(), password);
    let line = credentials(&challenge.text(), Algorithm::Sha256, who, "REGISTER", 1);
    let text = request("REGISTER", &user, &call_id, 2, &line);
    let mut left = bench.say(0, port(n), ACCESS, &text);
    for asked in bench.asked() {
        left.extend(bench.said(asked, Said::Known(ha1s(who.0, who.1))));
    }
    bench.say(0, port(n), ACCESS, &text);
    left.iter().any(|left| status(&left.text()) == "200")
}

#[test]
fn a_hundred_phones_behind_a_nat_come_back_at_once() {
    let mut bench = bench(Abuse::default());
    for n in 0..100 {
        assert!(registers(&mut bench, n), "phone {n}");
        bench.now = bench.now.plus_ms(5);
    }
    assert_eq!(bench.count(Counter::BindingsNow), 100);
    assert_eq!(bench.count(Counter::SipOverRate), 0);
    // With a contact from there they send what they like, until it ends.
    for n in 0..5_000_u16 {
        let ping = request("OPTIONS", "user1", &format!("ping{n}"), 1, "");
        bench.say(0, port(n % 100), ACCESS, &ping);
    }
    assert_eq!(bench.count(Counter::SipOverRate), 0);
}

#[test]
fn a_flood_is_cut_down_to_the_rate_and_a_trunk_and_others_are_heard() {
    let mut bench = bench(Abuse {
        requests_per_s: 50,
        burst: 100,
        ..Abuse::default()
    });
    // 2,000 in two seconds, of all kinds.
    for n in 0..2_000_u16 {
        let text = match n % 4 {
            0 => request("REGISTER", "alice", &format!("flood{n}"), 1, ""),
            1 => request("OPTIONS", "alice", &format!("flood{n}"), 1, ""),
            2 => "garbage".to_owned(),
            _ => request(
                "INVITE",
                "alice",
                &format!("flood{n}"),
                1,
                "Proxy-Authorization: x\r\n",
            ),
        };
        bench.say(0, port(n), ACCESS, &text);
        bench.now = bench.now.plus_ms(1);
    }
    let over = bench.count(Counter::SipOverRate);
    assert!((1_799..=1_801).contains(&over), "{over}");
    assert!(!bench.caller(0, &invite("trunk", "")).is_empty());
    for _ in 0..500 {
        bench.say(0, CALLER, ACCESS, "garbage");
    }
    assert_eq!(bench.count(Counter::SipOverRate), over);
    let neighbour = SocketAddr::new("10.77.1.67".parse().unwrap(), 5060);
    let challenges = bench.count(Counter::AuthChallenges);
    let said = request("OPTIONS", "alice", "near", 1, "");
    bench.say(0, neighbour, ACCESS, &said);
    assert_eq!(bench.count(Counter::AuthChallenges), challenges + 1);
    // It is heard again as soon as it is silent for a while.
    bench.now = bench.now.plus_ms(2_000);
    assert_eq!(
        status(&bench.phone_gets(0, &request("OPTIONS", "alice", "late", 1, ""))),
        "407"
    );
}

#[test]
fn without_domains_nobody_is_counted() {
    let mut settings = trunkline_dataplane::lab::settings(1);
    settings.abuse = Abuse {
        requests_per_s: 1,
        burst: 1,
        ..Abuse::default()
    };
    let mut bench = Bench::of(&settings);
    for _ in 0..100 {
        bench.say(0, PHONE, ACCESS, "garbage");
    }
    assert_eq!(bench.count(Counter::SipOverRate), 0);
}

/// What is dropped of a flood at each of the workers, to any of which the NIC gives what comes from there.
fn dropped_everywhere(bench: &mut Bench) -> u64 {
    let before = bench.count(Counter::SipOverRate);
    for worker in 0..bench.workers.len() {
        for n in 0..1_500_u16 {
            bench.arrives(worker, port(n), ACCESS, b"garbage");
            if n % 32 == 31 {
                bench.turn();
            }
        }
    }
    bench.turn();
    bench.count(Counter::SipOverRate) - before
}

fn skip_ms(bench: &mut Bench, ms: u64) {
    bench.now = bench.now.plus_ms(ms);
    bench.turn();
}

#[test]
fn every_worker_hears_an_address_from_which_somebody_is_registered() {
    let mut settings = phone::settings(4);
    settings.abuse = Abuse::default();
    let mut bench = Bench::of(&settings);
    let mut phone = Device::new(&mut bench, "alice");
    assert_eq!(dropped_everywhere(&mut bench), 0);
    // For as long again as the contact would have lasted.
    bench.phone_gets(0, &phone.register("Expires: 0\r\n"));
    skip_ms(&mut bench, 1_190_000);
    assert_eq!(dropped_everywhere(&mut bench), 0);
    skip_ms(&mut bench, 20_000);
    assert!(dropped_everywhere(&mut bench) >= 1_500);
}

#[test]
fn who_had_registered_before_a_restart_is_heard_as_before() {
    let mut settings = phone::settings(2);
    settings.abuse = Abuse::default();
    settings.location = Location::Own;
    let mut bench = Bench::of(&settings);
    let record = stored::stored(&bench, "alice", "sip:alice@10.77.1.66:5070");
    let (_, keeper) = stored::aor(&bench, "alice");
    assert!(bench.posts[keeper].mail.post_binding(Mail::Bound, &record));
    stored::load(&mut bench);
    assert_eq!(dropped_everywhere(&mut bench), 0);
}
