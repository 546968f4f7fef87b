//! What somebody without a password tries who wants to have others refused: to fill a table with requests
//! that come to nothing, and to see by what becomes of others whether a user is known.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::net::SocketAddr;

use bench::ACCESS;
use bench::Bench;
use bench::CALLEE;
use bench::Left;
use bench::answer;
use bench::call::only;
use bench::call::status;
use bench::call::to_callee;
use bench::phone;
use bench::phone::Device;
use bench::phone::PHONE;
use bench::phone::PRIVATE;
use bench::phone::credentials;
use bench::phone::granted;
use bench::phone::ha1s;
use bench::phone::register;
use bench::phone::request;
use bench::phone::statuses;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::settings::Settings;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::digest::cache::Known;
use trunkline_dataplane::sip::subscriber::Said;

const ALICE: (&str, &str) = ("alice", "wonderland");
const SHA256: Algorithm = Algorithm::Sha256;

/// Somebody behind the NAT of the phone: since that has registered, its address is never banned, nor
/// heard less often.
const NEIGHBOUR: SocketAddr = SocketAddr::new(PHONE.ip(), 6666);

/// Few transactions, and Alice, who has registered from where the neighbour is.
fn bench(change: impl FnOnce(&mut Settings)) -> (Bench, Device) {
    let mut settings = phone::settings(1);
    settings.capacity.transactions = 512;
    settings.capacity.calls = 16;
    settings.capacity.tickets = 64;
    settings.abuse.failures = 10;
    settings.abuse.requests_per_s = 10;
    settings.abuse.burst = 10;
    change(&mut settings);
    let mut bench = Bench::of(&settings);
    let alice = Device::new(&mut bench, "alice");
    (bench, alice)
}

/// The neighbour's challenge.
fn challenge(bench: &mut Bench) -> String {
    let plain = request("REGISTER", "alice", "lists", 1, "");
    bench.say(0, NEIGHBOUR, ACCESS, &plain)[0].text()
}

/// The store answers: Alice is known, and nobody else. What leaves because of it.
fn store(bench: &mut Bench) -> Vec<Left> {
    let mut left = Vec::new();
    for asked in bench.asked() {
        let said = match asked.who.user.name() {
            b"alice" => ha1s(ALICE.0, ALICE.1),
            _ => Known::Nobody,
        };
        left.extend(bench.said(asked, Said::Known(said)));
    }
    left
}

/// The neighbour tries a password.
fn guess(bench: &mut Bench, challenge: &str, method: &str, (user, n): (&str, u32)) -> Vec<Left> {
    let line = credentials(challenge, SHA256, (user, "wrong"), method, n);
    let text = request(method, user, &format!("guess{n}"), n, &line);
    let text = text.replace("10.77.1.66:5070;rport", "10.77.1.66:6666;rport");
    let mut left = bench.say(0, NEIGHBOUR, ACCESS, &text);
    left.extend(store(bench));
    left
}

/// The status of the answer to a call of Alice.
fn calls(bench: &mut Bench, call_id: &str) -> Vec<String> {
    let plain = request("INVITE", "alice", call_id, 1, "");
    let challenge = bench.phone_gets(0, &plain);
    let line = credentials(&challenge, SHA256, ALICE, "INVITE", 1);
    let left = bench.phone(0, &request("INVITE", "alice", call_id, 2, &line));
    statuses(&left, PHONE)
}

#[test]
fn wrong_passwords_leave_room_for_transactions_and_messages() {
    for method in ["REGISTER", "INVITE", "MESSAGE"] {
        for user in ["alice", "nobody"] {
            let (mut bench, _) = bench(|_| {});
            let asked = challenge(&mut bench);
            for n in 1..=620 {
                guess(&mut bench, &asked, method, (user, n));
                if n % 20 == 0 {
                    bench.pass_ms(510);
                }
            }
            assert!(bench.count(Counter::AuthFailures) >= 600);
            assert_eq!(bench.count(Counter::BansNow), 0);
            let taken = bench.count(Counter::TransactionsNow);
            assert!(taken < 128, "{method} {user}: {taken}");
            assert_eq!(
                calls(&mut bench, "honest"),
                ["SIP/2.0 100 Trying"],
                "{method} {user}"
            );
        }
    }
}

/// Its REGISTERs may say that they come from anywhere.
#[test]
fn strangers_leave_half_of_the_transactions_before_a_registrar_to_who_has_registered() {
    let mut settings = phone::before_a_registrar(1);
    settings.capacity.transactions = 256;
    settings.capacity.calls = 16;
    let mut bench = Bench::of(&settings);
    let sent = to_callee(&bench.phone(0, &register(1, "")));
    let left = bench.callee(0, &granted(&sent, PRIVATE, 3_600));
    assert_eq!(status(&only(&left, ACCESS, PHONE)), "200");
    bench.pass_ms(40_000);
    let asks = "WWW-Authenticate: Digest realm=\"example.com\", nonce=\"abc\"\r\n";
    for n in 0..400_u16 {
        let from = SocketAddr::new(PHONE.ip(), 10_000 + n);
        let text = request("REGISTER", &format!("user{n}"), &format!("r{n}"), 1, "");
        let left = bench.say(0, from, ACCESS, &text);
        if left.iter().any(|left| left.destination == CALLEE) {
            bench.callee(0, &answer(&to_callee(&left), "401 Unauthorized", asks, ""));
        } else {
            assert_eq!(statuses(&left, from), ["SIP/2.0 503 Service Unavailable"]);
        }
    }
    let left = bench.phone(0, &register(2, "Expires: 0\r\n"));
    assert!(
        left.iter().any(|left| left.destination == CALLEE),
        "{left:?}"
    );
    let left = bench.phone(0, &request("INVITE", "alice", "honest", 1, ""));
    assert_eq!(statuses(&left, PHONE), ["SIP/2.0 100 Trying"]);
    bench.pass_ms(200_000);
    bench.assert_at_rest();
}

/// What the neighbour hears of one guess, while so many others wait to be told that theirs was wrong.
fn heard(user: &str, method: &str, flood: u32) -> Vec<String> {
    let (mut bench, _) = bench(|_| {});
    let asked = challenge(&mut bench);
    for n in 1..=flood {
        // Users of whom nobody knows yet, so that the store is asked: it does not answer before.
        let user = if n <= 30 {
            "alice".to_owned()
        } else {
            format!("none{n}")
        };
        let line = credentials(&asked, SHA256, (&user, "wrong"), "MESSAGE", n);
        let text = request("MESSAGE", &user, &format!("guess{n}"), n, &line);
        bench.say(0, NEIGHBOUR, ACCESS, &text);
    }
    bench.left.clear();
    let mut left = guess(&mut bench, &asked, method, (user, 9_999));
    left.extend(bench.pass_ms(3_000));
    let told = left.iter().map(Left::text);
    let told = told.filter(|text| text.contains("guess9999"));
    told.map(|text| status(&text).to_owned()).collect()
}

#[test]
fn a_flood_does_not_tell_users_that_are_known_from_others() {
    for flood in [0, 10, 31, 32, 33, 40, 48, 49, 64, 65, 80] {
        for method in ["REGISTER", "INVITE", "MESSAGE"] {
            let [known, unknown] = ["alice", "mally"].map(|user| heard(user, method, flood));
            assert_eq!(known, unknown, "{method} {flood}");
        }
    }
}
