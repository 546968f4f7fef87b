//! Questions to a store that the test plays.

use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Instant;

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use trunkline_dataplane::ids::DomainIndex;
use trunkline_dataplane::ids::TrunkIndex;
use trunkline_dataplane::limits::MAILBOX_MAILS;
use trunkline_dataplane::post;
use trunkline_dataplane::post::WorkerPost;
use trunkline_dataplane::settings::Domain;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::digest::Hash;
use trunkline_dataplane::sip::digest::ha1::Ha1s;
use trunkline_dataplane::sip::subscriber::User;
use trunkline_dataplane::sys::wake::Wake;

use super::*;
use crate::subscribers::Store;

/// A store that answers when it is let, with the HA1 that it has when it is asked.
#[derive(Debug)]
struct Played {
    ha1: Mutex<[u8; 16]>,
    asked: AtomicUsize,
    let_go: Semaphore,
}

impl Store for Played {
    fn find<'s>(
        &'s self,
        domain: &'s str,
        user: &'s [u8],
    ) -> BoxFuture<'s, Result<Known, Unavailable>> {
        assert_eq!(domain, "example.org");
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut ha1s = Ha1s::default();
        ha1s.set(Algorithm::Md5, &*self.ha1.lock().unwrap());
        async move {
            self.let_go.acquire().await.unwrap().forget();
            match user {
                b"broken" => Err(no_answer("it is broken")),
                b"bug" => panic!("on purpose"),
                b"nobody" => Ok(Known::Nobody),
                _ => Ok(Known::Subscriber(ha1s)),
            }
        }
        .boxed()
    }
}

struct Stage {
    asking: Asking,
    store: Arc<Played>,
    posts: Vec<ControlPost>,
    workers: Vec<WorkerPost>,
}

/// What a worker was told.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Ha1(u32, u8),
    Nobody(u32),
    Unavailable(u32),
    Forget,
    Doubt,
}

impl Stage {
    fn new(deadline_ms: u64) -> Stage {
        let wake = Arc::new(Wake::new().unwrap());
        let (workers, posts) = post::connect(2, 0, &wake).unwrap();
        let store = Arc::new(Played {
            ha1: Mutex::new([1; 16]),
            asked: AtomicUsize::new(0),
            let_go: Semaphore::new(0),
        });
        let directory = Directory {
            domains: vec![Domain {
                name: "example.org".to_owned(),
                trunk: TrunkIndex(0),
                algorithms: vec![Algorithm::Md5],
                registrar: false,
                upstream: None,
                calls: 0,
                located: false,
            }],
            store: Some(Arc::clone(&store) as Arc<dyn Store>),
        };
        let deadline = Duration::from_millis(deadline_ms);
        Stage {
            asking: Asking::new(2).with(Arc::new(directory), deadline),
            store,
            posts,
            workers,
        }
    }

    fn ask(&mut self, worker: u8, question: u32, user: &str) {
        let id = Id::new(question, 0);
        self.asking
            .ask((WorkerId(worker), Some(id)), who(user), &mut self.posts);
    }

    /// Takes in the next answer of the store.
    async fn hear(&mut self) {
        let answer = self.asking.next().await.unwrap();
        self.asking.answered(answer, &mut self.posts);
    }

    fn told(&mut self, worker: usize) -> Vec<Told> {
        let inbox = self.workers[worker].inboxes.last_mut().unwrap();
        let mails = std::iter::from_fn(|| inbox.take());
        let told = mails.map(|mail| match mail {
            Mail::Forget(_) => Told::Forget,
            Mail::Doubt => Told::Doubt,
            Mail::Said { question, said, .. } => {
                let question = question.map_or(0, |question| question.slot);
                match said {
                    Said::Known(Known::Subscriber(ha1s)) => {
                        let ha1 = ha1s.get(Algorithm::Md5).unwrap();
                        let byte = ha1.bytes()[0];
                        assert!(ha1.is(&Hash::new(&[byte; 16])));
                        Told::Ha1(question, byte)
                    }
                    Said::Known(Known::Nobody) => Told::Nobody(question),
                    Said::Unavailable => Told::Unavailable(question),
                }
            }
            other => panic!("{other:?}"),
        });
        told.collect()
    }
}

fn who(user: &str) -> Subscriber {
    Subscriber {
        domain: DomainIndex(0),
        user: User::new(user.as_bytes()).unwrap(),
    }
}

#[tokio::test]
async fn each_is_told_what_it_asked_and_the_store_is_asked_once_for_all() {
    let mut stage = Stage::new(10_000);
    stage.ask(0, 1, "bob");
    stage.ask(1, 2, "bob");
    stage.ask(0, 3, "nobody");
    stage.store.let_go.add_permits(2);
    stage.hear().await;
    stage.hear().await;
    let mut told = stage.told(0);
    told.sort_by_key(|told| matches!(told, Told::Nobody(_)));
    assert_eq!(told, [Told::Ha1(1, 1), Told::Nobody(3)]);
    assert_eq!(stage.told(1), [Told::Ha1(2, 1)]);
    assert_eq!(stage.store.asked.load(Ordering::Relaxed), 2);
    assert!(stage.asking.next().await.is_none(), "nothing is left");
    let counts = stage.asking.counts();
    assert_eq!((counts.asked, counts.looked_up, counts.answered), (3, 2, 3));
}

#[tokio::test]
async fn a_store_that_hangs_is_given_up_at_the_deadline_and_its_place_is_free() {
    let mut stage = Stage::new(50);
    let before = Instant::now();
    for question in 0..100 {
        stage.ask(1, question, &format!("user{question}"));
    }
    assert!(
        before.elapsed() < Duration::from_millis(50),
        "asking waits for nothing"
    );
    for _ in 0..100 {
        stage.hear().await;
    }
    assert!(before.elapsed() >= Duration::from_millis(50));
    assert_eq!(stage.told(1).len(), 100);
    assert!(stage.asking.under_way.is_empty());
    assert_eq!(stage.asking.counts().failed, 100);
    // It works again.
    stage.store.let_go.add_permits(1);
    stage.ask(1, 7, "user7");
    stage.hear().await;
    assert_eq!(stage.told(1), [Told::Ha1(7, 1)]);
}

#[tokio::test]
async fn a_store_that_breaks_or_panics_is_unavailable_and_takes_nothing_along() {
    let mut stage = Stage::new(10_000);
    stage.store.let_go.add_permits(2);
    stage.ask(0, 1, "broken");
    stage.ask(1, 2, "bug");
    stage.hear().await;
    stage.hear().await;
    assert_eq!(stage.told(0), [Told::Unavailable(1)]);
    assert_eq!(stage.told(1), [Told::Unavailable(2)]);
    assert!(stage.asking.under_way.is_empty());
}

#[tokio::test]
async fn more_than_there_is_room_for_are_refused_at_once() {
    let mut stage = Stage::new(10_000);
    let max = u32::try_from(UNDER_WAY_MAX).unwrap();
    for question in 0..max {
        stage.ask(0, question, &format!("user{question}"));
    }
    assert_eq!(stage.told(0), []);
    stage.ask(0, max, "one too many");
    assert_eq!(stage.told(0), [Told::Unavailable(max)]);
    // Who is asked about already takes no room, and not without end.
    for question in 0..u32::try_from(ASKERS_MAX).unwrap() {
        stage.ask(1, question, "user0");
    }
    assert_eq!(stage.told(1).len(), 1);
    assert_eq!(stage.asking.counts().refused, 2);
}

#[tokio::test]
async fn what_was_read_before_a_change_is_told_to_nobody() {
    let mut stage = Stage::new(10_000);
    stage.ask(0, 1, "bob");
    // It has been read, and has not arrived.
    tokio::task::yield_now().await;
    assert_eq!(stage.store.asked.load(Ordering::Relaxed), 1);
    *stage.store.ha1.lock().unwrap() = [2; 16];
    stage.asking.forget(who("bob"), &mut stage.posts);
    stage.store.let_go.add_permits(2);
    stage.hear().await;
    stage.hear().await;
    assert_eq!(stage.told(0), [Told::Forget, Told::Ha1(1, 2)]);
    assert_eq!(stage.told(1), [Told::Forget]);
    let counts = stage.asking.counts();
    assert_eq!(
        (counts.looked_up, counts.answered, counts.forgotten),
        (2, 1, 1)
    );
}

#[tokio::test]
async fn what_was_read_before_all_is_doubted_is_read_again() {
    let mut stage = Stage::new(10_000);
    // A worker that refreshes what it knows has no name for its question.
    stage
        .asking
        .ask((WorkerId(1), None), who("bob"), &mut stage.posts);
    tokio::task::yield_now().await;
    *stage.store.ha1.lock().unwrap() = [2; 16];
    stage.asking.doubt(&mut stage.posts);
    stage.store.let_go.add_permits(2);
    stage.hear().await;
    stage.hear().await;
    assert_eq!(stage.told(0), [Told::Doubt]);
    assert_eq!(stage.told(1), [Told::Doubt, Told::Ha1(0, 2)]);
}

#[tokio::test]
async fn what_a_full_mailbox_has_no_room_for_follows_in_its_order() {
    let mut stage = Stage::new(10_000);
    stage.store.let_go.add_permits(1);
    while stage.posts[0].mail.post(Mail::Forget(who("x"))).is_ok() {}
    stage.asking.forget(who("bob"), &mut stage.posts);
    stage.ask(0, 1, "bob");
    stage.hear().await;
    assert_eq!(stage.told(1), [Told::Forget]);
    assert_eq!(stage.told(0).len(), MAILBOX_MAILS);
    assert_eq!(stage.told(0), []);
    stage.asking.tick(&mut stage.posts);
    assert_eq!(stage.told(0), [Told::Forget, Told::Ha1(1, 1)]);
    assert_eq!(stage.asking.counts().untold, 0);
}

#[tokio::test]
async fn without_a_store_nobody_is_known_or_unknown() {
    let mut stage = Stage::new(10_000);
    stage.asking = Asking::new(2).with(Arc::default(), Duration::from_secs(1));
    stage.ask(1, 5, "bob");
    stage.hear().await;
    assert_eq!(stage.told(1), [Told::Unavailable(5)]);
}

#[tokio::test]
async fn each_store_that_fails_is_logged_once_a_minute() {
    let mut asking = Stage::new(1_000).asking;
    let start = Instant::now();
    let at = |s| start + Duration::from_secs(s);
    let failed = |store: &str, reason: &str| Unavailable {
        store: store.to_owned(),
        reason: reason.to_owned(),
    };
    let first = failed("first", "refused");
    assert_eq!(asking.complaint(&first, at(0)), Some(0));
    for s in 1..60 {
        assert_eq!(asking.complaint(&first, at(s)), None);
    }
    let second = failed("second", "silent");
    assert_eq!(asking.complaint(&second, at(30)), Some(0), "it is another");
    assert_eq!(asking.complaint(&first, at(60)), Some(59));
    assert_eq!(asking.complaint(&first, at(200)), Some(0));
    // The operator is told of both for a while.
    let status = asking.status().unwrap();
    let troubles = status.troubles.iter();
    let troubles: Vec<_> = troubles
        .map(|it| (it.store.as_str(), it.reason.as_str()))
        .collect();
    assert_eq!(troubles, [("first", "refused"), ("second", "silent")]);
    assert_eq!((status.waiting, status.oldest_ms), (0, 0));
    let long_ago = start.checked_sub(TROUBLE_MAX);
    if let (Some(complaint), Some(long_ago)) = (asking.complaints.get_mut("first"), long_ago) {
        complaint.last = long_ago;
        let troubles = asking.status().unwrap().troubles;
        assert_eq!(troubles.len(), 1, "not for ever");
    }
}

#[tokio::test]
async fn a_server_that_is_unwell_since_the_start_is_told_of_until_it_has_answered() {
    let mut stage = Stage::new(5_000);
    let began = Instant::now();
    let unwell = |store: &str, reason: &str| Unavailable {
        store: store.to_owned(),
        reason: reason.to_owned(),
    };
    let told = |stage: &Stage| {
        let status = stage.asking.status().unwrap();
        let told = status.troubles.into_iter();
        told.map(|trouble| (trouble.store, trouble.reason, trouble.never))
            .collect::<Vec<_>>()
    };
    let told_of = |store: &str, reason: &str, never| (store.to_owned(), reason.to_owned(), never);
    let both = vec![unwell("db1", "no table"), unwell("db2", "no route")];
    stage.asking.unwell(both, began);
    assert_eq!(
        told(&stage),
        [
            told_of("db1", "no table", true),
            told_of("db2", "no route", true)
        ]
    );
    // A question that fails there as well is the same trouble, and ends with it.
    stage.asking.complain(&unwell("db2", "no route"), began);
    let other = vec![unwell("db1", "no column"), unwell("db2", "no route")];
    stage.asking.unwell(other, began + COMPLAINT_PAUSE);
    assert_eq!(
        told(&stage),
        [
            told_of("db1", "no column", true),
            told_of("db2", "no route", true)
        ]
    );
    stage.asking.unwell(vec![unwell("db1", "no column")], began);
    assert_eq!(told(&stage), [told_of("db1", "no column", true)]);
    stage.asking.unwell(Vec::new(), began);
    assert_eq!(told(&stage), []);
    // What goes wrong later is no trouble of the start.
    stage.asking.complain(&unwell("db1", "no route"), began);
    assert_eq!(told(&stage), [told_of("db1", "no route", false)]);
}
