use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use trunkline_dataplane::sip::digest::ha1::Ha1s;

use super::*;

const PATIENCE: Duration = Duration::from_millis(50);

/// What a scripted server does with questions and with pings.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Answer,
    Fail,
    Hang,
}

impl Does {
    async fn so<T>(self, answer: T) -> Result<T, String> {
        match self {
            Does::Answer => Ok(answer),
            Does::Fail => Err("it is ill".to_owned()),
            Does::Hang => std::future::pending().await,
        }
    }
}

#[derive(Clone, Debug)]
struct Scripted(Arc<Script>);

#[derive(Debug)]
struct Script {
    asked: Mutex<Does>,
    pinged: Mutex<Does>,
    questions: AtomicU32,
    pings: AtomicU32,
}

impl Scripted {
    fn new() -> Scripted {
        Scripted(Arc::new(Script {
            asked: Mutex::new(Does::Answer),
            pinged: Mutex::new(Does::Answer),
            questions: AtomicU32::new(0),
            pings: AtomicU32::new(0),
        }))
    }

    fn does(&self, asked: Does, pinged: Does) {
        *self.0.asked.lock().unwrap() = asked;
        *self.0.pinged.lock().unwrap() = pinged;
    }

    fn questions(&self) -> u32 {
        self.0.questions.load(Relaxed)
    }

    fn pings(&self) -> u32 {
        self.0.pings.load(Relaxed)
    }
}

impl Server for Scripted {
    fn name(&self) -> &str {
        "script"
    }

    fn ask<'s>(&'s self, _: &'s str, user: &'s str) -> BoxFuture<'s, Result<Known, String>> {
        self.0.questions.fetch_add(1, Relaxed);
        let does = *self.0.asked.lock().unwrap();
        // One about whom it never says anything.
        let does = if user == "tar pit" { Does::Hang } else { does };
        Box::pin(does.so(Known::Subscriber(Ha1s::default())))
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), String>> {
        self.0.pings.fetch_add(1, Relaxed);
        Box::pin(self.0.pinged.lock().unwrap().so(()))
    }
}

fn guarded() -> (Scripted, Guarded<Scripted>) {
    let server = Scripted::new();
    (server.clone(), Guarded::new(server, PATIENCE))
}

/// The answer, or the reason why there is none, and how long it took.
async fn find(store: &Guarded<Scripted>, user: &str) -> (Result<Known, String>, Duration) {
    let began = Instant::now();
    let found = store.find("example.com", user.as_bytes()).await;
    (found.map_err(|error| error.reason), began.elapsed())
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(5), "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_name_that_no_server_takes_is_nobodys_and_nobody_is_asked() {
    let (server, store) = guarded();
    let long = [b'a'; 63];
    let names: [&[u8]; 8] = [
        b"",
        b"\xff",
        b"bob\0",
        b"bob\r\nDEL x",
        b"\x1b[2J",
        b"bob\x7f",
        "bob\u{85}".as_bytes(),
        &long,
    ];
    for name in names {
        let found = store.find("example.com", name).await.unwrap();
        assert!(matches!(found, Known::Nobody), "{}", name.escape_ascii());
    }
    assert_eq!(server.questions(), 0);
    let strange = ["o'brien", "%", "../../x", "a:b", "ü".repeat(31).leak()];
    for name in strange {
        let found = store.find("example.com", name.as_bytes()).await.unwrap();
        assert!(matches!(found, Known::Subscriber(_)), "{name}");
    }
    assert_eq!(server.questions(), 5);
}

#[tokio::test]
async fn a_server_that_hangs_costs_one_patience_and_then_nothing() {
    let (server, store) = guarded();
    server.does(Does::Hang, Does::Hang);
    let (found, took) = find(&store, "alice").await;
    assert_eq!(found.unwrap_err(), "nothing within 50 ms");
    assert!(took >= PATIENCE);
    until("it is known to be dead", || {
        store.inner.state().dead.is_some()
    })
    .await;
    let questions = server.questions();
    for _ in 0..100 {
        let (found, took) = find(&store, "bob").await;
        assert_eq!(found.unwrap_err(), "nothing within 50 ms");
        assert!(took < PATIENCE / 2, "{took:?}");
    }
    assert_eq!(server.questions(), questions, "none of them was asked");
}

#[tokio::test]
async fn it_is_asked_again_once_it_answers_a_ping() {
    let (server, store) = guarded();
    server.does(Does::Fail, Does::Fail);
    let (found, _) = find(&store, "alice").await;
    assert_eq!(found.unwrap_err(), "it is ill");
    until("it is pinged again", || server.pings() >= 3).await;
    assert!(find(&store, "alice").await.0.is_err());
    server.does(Does::Answer, Does::Answer);
    until("it is alive", || store.inner.state().dead.is_none()).await;
    assert!(find(&store, "alice").await.0.is_ok());
    // And it can die again.
    until("it is trusted", || !store.inner.state().is_suspected).await;
    server.does(Does::Fail, Does::Fail);
    assert!(find(&store, "alice").await.0.is_err());
    until("it is dead again", || store.inner.state().dead.is_some()).await;
}

#[tokio::test]
async fn a_user_about_whom_it_cannot_answer_takes_it_away_from_nobody() {
    let (server, store) = guarded();
    for _ in 0..3 {
        assert!(find(&store, "tar pit").await.0.is_err());
        assert!(find(&store, "alice").await.0.is_ok());
    }
    // Three failures within the tenth of a second in which one ping is enough.
    assert!(server.pings() <= 2, "{}", server.pings());
    assert!(store.inner.state().dead.is_none());
}

#[tokio::test]
async fn nothing_pings_on_behalf_of_a_store_that_has_gone() {
    let (server, store) = guarded();
    server.does(Does::Fail, Does::Fail);
    assert!(find(&store, "alice").await.0.is_err());
    until("it is pinged", || server.pings() > 0).await;
    drop(store);
    until("nobody holds it", || Arc::strong_count(&server.0) == 1).await;
}

#[test]
fn a_reason_has_all_that_stands_behind_it() {
    let io = std::io::Error::other("no route");
    let outer = anyhow::Error::from(io).context("cannot connect");
    let outer: Box<dyn std::error::Error> = outer.into();
    assert_eq!(reason(&*outer), "cannot connect: no route");
}

#[tokio::test]
async fn a_check_tells_what_a_user_would_meet_and_takes_the_server_from_nobody() {
    let (server, store) = guarded();
    assert_eq!(store.check("example.com").await, []);
    for (does, reason) in [
        (Does::Fail, "it is ill"),
        (Does::Hang, "nothing within 50 ms"),
    ] {
        server.does(does, Does::Fail);
        let wrong = store.check("example.com").await;
        let [wrong] = &wrong[..] else {
            panic!("{wrong:?}")
        };
        assert_eq!(
            (wrong.store.as_str(), wrong.reason.as_str()),
            ("script", reason)
        );
    }
    assert_eq!((server.questions(), server.pings()), (3, 0));
    server.does(Does::Answer, Does::Answer);
    assert!(find(&store, "alice").await.0.is_ok());
}
