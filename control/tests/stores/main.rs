//! The stores of subscribers and of bindings against real servers, which these tests start, stop and kill on
//! loopback.
//!
//! `perf/e2e/stores.sh` runs them, where the servers' packages are and nothing outlives a test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by it"
)]

mod checks;
mod http;
mod location;
mod notices;
mod postgres;
mod redis;
mod servers;

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use std::time::Instant;

use trunkline_control::subscribers::Store;
use trunkline_control::subscribers::Unavailable;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::digest::cache::Known;

/// The longest wait for an answer, in these tests: a server that is well gives one within this on a busy machine too.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// How long that which is to come may take on a busy machine.
const AT_LAST: Duration = Duration::from_secs(60);

/// The reason where there was no answer.
fn nothing_in_time() -> String {
    format!("nothing within {} ms", PATIENCE.as_millis())
}

const MD5: &str = "939e7578ed9e3c518a452acee763bce9";
const SHA256: &str = "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232";
const SHA512T256: &str = "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5";

/// Names that mean something to one server or another, and nothing here.
fn strange_names() -> Vec<String> {
    let plain = [
        "o'brien",
        "'; DROP TABLE subscriber; --",
        "\"bob\"",
        "%",
        "al_ce",
        "a\\b",
        "$1",
        "../../etc/passwd",
        "a:b",
        "{user}",
        "*",
        "+49 30 1234567",
    ];
    let longest = "ü".repeat(31);
    assert_eq!(longest.len(), 62);
    plain
        .map(str::to_owned)
        .into_iter()
        .chain([longest])
        .collect()
}

/// Names that nobody has; no server is to see them.
const NOBODYS: [&[u8]; 5] = [
    b"alice\0",
    b"alice\nbob",
    b"alice\r\nDEL sub:example.com:bob\r\n",
    b"\xc3",
    b"\x1b",
];

async fn find(store: &impl Store, user: &str) -> Result<Known, Unavailable> {
    store.find("example.com", user.as_bytes()).await
}

/// The HA1s, as digits, in the order of [`Algorithm::ALL`]; `None` where there is no such user.
async fn ha1s(store: &impl Store, user: &str) -> Option<[Option<String>; 3]> {
    match find(store, user).await.unwrap() {
        Known::Nobody => None,
        Known::Subscriber(ha1s) => Some(Algorithm::ALL.map(|algorithm| {
            let hash = ha1s.get(algorithm)?;
            let mut digits = [0; trunkline_dataplane::sip::digest::HEX_LEN_MAX];
            Some(String::from_utf8(hash.hex(&mut digits).to_vec()).unwrap())
        })),
    }
}

fn only_md5() -> Option<[Option<String>; 3]> {
    Some([Some(MD5.to_owned()), None, None])
}

fn all() -> Option<[Option<String>; 3]> {
    Some([MD5, SHA256, SHA512T256].map(|digits| Some(digits.to_owned())))
}

/// The reason why there is no answer, and whether it was known at once: who asked has waited for nobody, however
/// busy the machine is.
async fn failure(store: &impl Store, user: &str) -> (String, bool) {
    let mut found = pin!(find(store, user));
    let (found, at_once) = match futures_util::poll!(found.as_mut()) {
        Poll::Ready(found) => (found, true),
        Poll::Pending => (found.await, false),
    };
    (found.unwrap_err().reason, at_once)
}

/// Waits until there is no answer at once: the server is known to be dead.
async fn until_known_to_be_dead(store: &impl Store, user: &str) {
    let began = Instant::now();
    while !failure(store, user).await.1 {
        assert!(began.elapsed() < AT_LAST, "users still wait");
    }
    // And it stays so.
    for _ in 0..20 {
        let (reason, at_once) = failure(store, user).await;
        assert!(at_once, "{reason}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until there is an answer again.
async fn until_back(store: &impl Store, user: &str) {
    let began = Instant::now();
    while let Err(error) = find(store, user).await {
        assert!(began.elapsed() < AT_LAST, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
