use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream;
use futures_util::stream::BoxStream;
use trunkline_dataplane::ids::DomainIndex;
use trunkline_dataplane::ids::ListenIndex;
use trunkline_dataplane::mailbox::Receiver;
use trunkline_dataplane::post;
use trunkline_dataplane::post::WorkerPost;
use trunkline_dataplane::sip::Id;
use trunkline_dataplane::sip::subscriber::User;
use trunkline_dataplane::sys::wake::Wake;

use super::*;
use crate::location::Heard;
use crate::location::record::tests::binding;
use crate::location::record::tests::removal;
use crate::location::store::Batch;
use crate::location::store::Written;

/// A store that a test plays.
#[derive(Debug, Default)]
struct Played {
    has: Mutex<Vec<Record>>,
    written: Mutex<Vec<Change>>,
    finds: AtomicUsize,
    is_silent: AtomicBool,
    /// It takes nothing, and can be read.
    is_full: AtomicBool,
    heard: Mutex<Vec<Heard>>,
    /// What is heard later than that.
    later: Mutex<Option<mpsc::UnboundedReceiver<Heard>>>,
}

impl Store for Played {
    fn write(&self, batch: Batch) -> BoxFuture<'_, Result<Written, Unavailable>> {
        if self.is_full.load(Ordering::Relaxed) {
            let (store, reason) = ("played".to_owned(), "full".to_owned());
            return std::future::ready(Err(Unavailable { store, reason })).boxed();
        }
        let changes = batch.iter().map(|change| Change::clone(change));
        self.written.lock().unwrap().extend(changes);
        async { Ok(Written::default()) }.boxed()
    }

    fn load(&self) -> BoxStream<'_, Result<Vec<Change>, Unavailable>> {
        let all = self.has.lock().unwrap().clone();
        let all: Vec<_> = all.into_iter().map(Change::Put).collect();
        let pages: Vec<_> = all.chunks(256).map(|page| Ok(page.to_vec())).collect();
        stream::iter(pages).boxed()
    }

    fn find<'s>(
        &'s self,
        domain: &'s str,
        user: &'s [u8],
    ) -> BoxFuture<'s, Result<Vec<Record>, Unavailable>> {
        async move {
            self.finds.fetch_add(1, Ordering::Relaxed);
            if self.is_silent.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            // So that others may ask meanwhile.
            tokio::task::yield_now().await;
            let has = self.has.lock().unwrap();
            let of = |record: &&Record| record.domain == domain && record.user == user;
            Ok(has.iter().filter(of).cloned().collect())
        }
        .boxed()
    }

    fn watch(&self) -> BoxStream<'static, Heard> {
        let heard = std::mem::take(&mut *self.heard.lock().unwrap());
        let later = self.later.lock().unwrap().take();
        let later = stream::unfold(later, async |later| {
            let mut later = later?;
            Some((later.recv().await?, Some(later)))
        });
        stream::iter([Heard::Gap].into_iter().chain(heard))
            .chain(later)
            .boxed()
    }
}

/// Two workers that a test plays, and the store.
struct Stage {
    locating: Locating,
    store: Arc<Played>,
    posts: Vec<ControlPost>,
    workers: Vec<WorkerPost>,
}

/// What a worker has heard, as far as these tests look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mailed {
    Bound(String),
    Unbound(String),
    Sought(Id, bool),
    Loading,
    Loaded,
}

impl Stage {
    /// A stage whose store is read from now on.
    fn new(store: Played) -> Stage {
        let wake = Arc::new(Wake::new().unwrap());
        let (workers, posts) = post::connect(2, 0, &wake).unwrap();
        let store = Arc::new(store);
        let names = Names {
            domains: vec![("example.net".to_owned(), ListenIndex(0))],
            listens: vec!["access".to_owned()],
            hash_key: [7; 16],
            workers: 2,
        };
        let locating = Locating::new(2).named(names).with(Location {
            name: "played".to_owned(),
            store: Arc::<Played>::clone(&store),
            bindings: 1000,
            patience: Duration::from_millis(50),
        });
        Stage {
            locating,
            store,
            posts,
            workers,
        }
    }

    /// Does what is to be done, until nothing is for a while; the workers read meanwhile.
    async fn run(&mut self) -> [Vec<Mailed>; 2] {
        let mut told = [Vec::new(), Vec::new()];
        while let Ok(event) =
            tokio::time::timeout(Duration::from_millis(100), self.locating.next()).await
        {
            self.locating.act(event, &mut self.posts);
            for (worker, told) in self.workers.iter_mut().zip(&mut told) {
                worker
                    .inboxes
                    .iter_mut()
                    .for_each(|inbox| read(inbox, told));
            }
        }
        told
    }

    fn keeper(&self, user: &str) -> WorkerId {
        self.locating.names.keeper(&who(user)).unwrap()
    }
}

fn read(inbox: &mut Receiver, told: &mut Vec<Mailed>) {
    let mut room = [0; LETTER_LEN_MAX];
    while let Some(mail) = inbox.take() {
        let mut user = |letter: trunkline_dataplane::sip::registrar::Letter| {
            let len = inbox.take_bytes(u16::try_from(letter.len()).unwrap(), &mut room);
            let record = letter.record(&room[..len]);
            String::from_utf8(record.user.to_vec()).unwrap()
        };
        told.push(match mail {
            Mail::Bound(letter) => Mailed::Bound(user(letter)),
            Mail::Unbound(letter) => Mailed::Unbound(user(letter)),
            Mail::Sought { of, answered } => Mailed::Sought(of.ticket, answered),
            Mail::Loading => Mailed::Loading,
            Mail::Loaded => Mailed::Loaded,
            other => panic!("{other:?}"),
        });
    }
}

fn who(user: &str) -> Subscriber {
    Subscriber {
        domain: DomainIndex(0),
        user: User::new(user.as_bytes()).unwrap(),
    }
}

fn locate(user: &str, ticket: u32) -> Locate {
    Locate {
        asker: WorkerId(1),
        ticket: Id::new(ticket, 0),
        aor: 0,
        who: who(user),
    }
}

fn record(user: &str) -> Record {
    Record {
        user: user.as_bytes().to_vec(),
        ..binding(&format!("sip:{user}@192.0.2.1"))
    }
}

/// More than there is room for at once: each to the worker that keeps it, and the end after all.
#[tokio::test]
async fn all_that_a_store_has_is_given_to_the_workers_that_keep_it() {
    let users: Vec<_> = (0..20_000).map(|n| format!("user{n}")).collect();
    let mut has: Vec<_> = users.iter().map(|user| record(user)).collect();
    has[7].domain = "elsewhere.example".to_owned();
    let mut stage = Stage::new(Played {
        has: Mutex::new(has),
        ..Played::default()
    });
    assert!(!stage.locating.status().unwrap().loaded);
    let told = stage.run().await;
    let mut heard = HashSet::new();
    for (worker, told) in (0..).zip(&told) {
        assert_eq!(told.first(), Some(&Mailed::Loading));
        assert_eq!(told.last(), Some(&Mailed::Loaded));
        for what in &told[1..told.len() - 1] {
            let Mailed::Bound(user) = what else {
                panic!("{what:?}");
            };
            assert_eq!(stage.keeper(user), WorkerId(worker));
            assert!(heard.insert(user.clone()));
        }
    }
    assert_eq!(heard.len(), 19_999);
    let counts = stage.locating.counts();
    assert_eq!((counts.given_back, counts.not_ours), (19_999, 1));
    assert!(stage.locating.status().unwrap().loaded);
}

/// Memory does not grow with what a worker that is stuck does not take.
#[tokio::test]
async fn a_worker_that_takes_nothing_holds_the_loading_up() {
    let has = (0..40_000).map(|n| record(&format!("user{n}"))).collect();
    let mut stage = Stage::new(Played {
        has: Mutex::new(has),
        ..Played::default()
    });
    let waiting = |stage: &Stage| stage.locating.untold.iter().map(VecDeque::len).max();
    while waiting(&stage) != Some(BACKLOG) {
        let event = stage.locating.next().await;
        stage.locating.act(event, &mut stage.posts);
    }
    let quiet = Duration::from_millis(300);
    let _ = tokio::time::timeout(quiet, async {
        loop {
            let event = stage.locating.next().await;
            stage.locating.act(event, &mut stage.posts);
        }
    })
    .await;
    assert_eq!(waiting(&stage), Some(BACKLOG));
    // Answers go on, and what was loaded comes when it is read.
    let told = stage.run().await;
    assert_eq!(told.iter().map(Vec::len).sum::<usize>(), 40_004);
}

#[tokio::test]
async fn what_workers_tell_is_written_and_the_rest_when_it_ends() {
    let mut stage = Stage::new(Played::default());
    stage.run().await;
    let (alice, bob) = (record("alice"), record("bob"));
    let names = stage.locating.names.clone();
    for (told, record) in [
        (Told::Bound, &alice),
        (Told::Bound, &bob),
        (Told::Removed, &alice),
    ] {
        let (keeper, bound) = names.bound(record, Moment::now()).unwrap();
        let letters = &mut stage.workers[usize::from(keeper.0)].letters;
        assert!(letters.post(told, &bound));
    }
    for post in &mut stage.posts {
        let rows = |_, _| panic!("nobody has asked");
        stage.locating.read_letters(post, rows);
    }
    assert_eq!(stage.locating.status().unwrap().waiting, 2);
    assert_eq!(stage.locating.counts().overtaken, 1);
    stage.locating.stop().await;
    let written = stage.store.written.lock().unwrap();
    assert_eq!(written.len(), 2);
    let of = |user: &str| {
        let change = written
            .iter()
            .find(|change| change.user() == user.as_bytes());
        change.unwrap().clone()
    };
    assert!(matches!(of("alice"), Change::Remove(_)));
    let Change::Put(put) = of("bob") else {
        panic!("a record")
    };
    assert_eq!(
        (put.key, put.listen, put.cseq),
        (bob.key, bob.listen, bob.cseq)
    );
}

#[tokio::test]
async fn a_user_is_looked_for_once_and_all_who_ask_are_told_after_its_contacts() {
    let mut stage = Stage::new(Played::default());
    stage.run().await;
    stage.store.has.lock().unwrap().push(record("alice"));
    let keeper = stage.keeper("alice");
    for ticket in 0..3 {
        stage
            .locating
            .seek(keeper, locate("alice", ticket), &mut stage.posts);
    }
    let told = stage.run().await;
    let sought = |ticket| Mailed::Sought(Id::new(ticket, 0), true);
    let expected = [
        Mailed::Bound("alice".to_owned()),
        sought(0),
        sought(1),
        sought(2),
    ];
    assert_eq!(told[usize::from(keeper.0)], expected);
    assert_eq!(told[1 - usize::from(keeper.0)], []);
    assert_eq!(stage.store.finds.load(Ordering::Relaxed), 1);
    // Nobody, and then a store that says nothing.
    stage
        .locating
        .seek(keeper, locate("nobody", 4), &mut stage.posts);
    assert_eq!(stage.run().await.concat().len(), 1);
    stage.store.is_silent.store(true, Ordering::Relaxed);
    stage
        .locating
        .seek(keeper, locate("alice", 5), &mut stage.posts);
    let told = stage.run().await.concat();
    assert_eq!(told, [Mailed::Sought(Id::new(5, 0), false)]);
    let counts = stage.locating.counts();
    assert_eq!((counts.sought, counts.found, counts.failed), (5, 1, 1));
}

#[tokio::test]
async fn questions_beyond_all_room_are_answered_at_once() {
    let mut stage = Stage::new(Played {
        is_silent: AtomicBool::new(true),
        ..Played::default()
    });
    for n in 0..UNDER_WAY_MAX {
        let of = locate(&format!("user{n}"), 0);
        stage.locating.seek(WorkerId(0), of, &mut stage.posts);
    }
    for _ in 1..ASKERS_MAX {
        stage
            .locating
            .seek(WorkerId(0), locate("user0", 1), &mut stage.posts);
    }
    assert_eq!(stage.locating.counts().not_sought, 0);
    for user in ["user0", "one more"] {
        stage
            .locating
            .seek(WorkerId(0), locate(user, 2), &mut stage.posts);
    }
    assert_eq!(stage.locating.counts().not_sought, 2);
    let mut told = Vec::new();
    let inboxes = stage.workers[0].inboxes.iter_mut();
    inboxes.for_each(|inbox| read(inbox, &mut told));
    assert_eq!(
        told,
        [
            Mailed::Sought(Id::new(2, 0), false),
            Mailed::Sought(Id::new(2, 0), false)
        ]
    );
}

#[tokio::test]
async fn what_other_boxes_write_is_told() {
    let (alice, bob) = (record("alice"), record("bob"));
    let heard = [Change::Put(alice.clone()), Change::Remove(removal(&bob))];
    let heard = heard.map(|change| Heard::Changed(Box::new(change)));
    let mut stage = Stage::new(Played {
        heard: Mutex::new(heard.to_vec()),
        ..Played::default()
    });
    let told = stage.run().await.concat();
    assert!(
        told.contains(&Mailed::Bound("alice".to_owned())),
        "{told:?}"
    );
    assert!(
        told.contains(&Mailed::Unbound("bob".to_owned())),
        "{told:?}"
    );
}

fn place(told: &[Mailed], what: &Mailed) -> usize {
    let place = told.iter().position(|mailed| mailed == what);
    place.unwrap_or_else(|| panic!("{what:?} is not among {told:?}"))
}

/// It may have been read before it was removed, and is told after: so the removal is told once more.
#[tokio::test]
async fn what_is_removed_while_all_is_told_is_removed_at_the_end() {
    let users: Vec<_> = (0..2_000).map(|n| record(&format!("user{n}"))).collect();
    let (elsewhere, here) = (&users[1_990], &users[1_991]);
    let (heard_in, heard_out) = mpsc::unbounded_channel();
    let mut stage = Stage::new(Played {
        has: Mutex::new(users.clone()),
        later: Mutex::new(Some(heard_out)),
        ..Played::default()
    });
    // The reading has begun when these are heard of.
    for _ in 0..3 {
        let event = stage.locating.next().await;
        stage.locating.act(event, &mut stage.posts);
    }
    let removed = Change::Remove(removal(elsewhere));
    heard_in.send(Heard::Changed(Box::new(removed))).unwrap();
    let names = stage.locating.names.clone();
    let (keeper, bound) = names.bound(here, Moment::now()).unwrap();
    let keeper = usize::from(keeper.0);
    assert!(stage.workers[keeper].letters.post(Told::Removed, &bound));
    let rows = |_, _| panic!("nobody has asked");
    stage.locating.read_letters(&mut stage.posts[keeper], rows);
    let told = stage.run().await;
    for record in [elsewhere, here] {
        let user = String::from_utf8(record.user.clone()).unwrap();
        let told = &told[usize::from(stage.keeper(&user).0)];
        let bound = told
            .iter()
            .rposition(|what| *what == Mailed::Bound(user.clone()));
        let unbound = told
            .iter()
            .rposition(|what| *what == Mailed::Unbound(user.clone()));
        // What waits to be written is not told at all, unless it was written in between.
        assert!(unbound > bound, "{user}");
        assert!(unbound.unwrap() < place(told, &Mailed::Loaded));
    }
    // After that it is told once.
    let removed = Change::Remove(removal(&users[7]));
    heard_in.send(Heard::Changed(Box::new(removed))).unwrap();
    assert_eq!(stage.run().await.concat().len(), 1);
}

/// A store that takes nothing and can be read has those who have gone for as long as their removal waits: for
/// longer than a worker remembers it.
#[tokio::test]
async fn who_was_removed_does_not_come_back_from_a_store_that_takes_nothing() {
    let (alice, bob) = (record("alice"), record("bob"));
    let (heard_in, heard_out) = mpsc::unbounded_channel();
    let mut stage = Stage::new(Played {
        is_full: AtomicBool::new(true),
        has: Mutex::new(vec![alice.clone(), bob.clone()]),
        later: Mutex::new(Some(heard_out)),
        ..Played::default()
    });
    stage.run().await;
    let keeper = stage.keeper("alice");
    let (_, bound) = stage
        .locating
        .names
        .bound(&alice, Moment::now())
        .expect("of a domain of ours");
    let worker = usize::from(keeper.0);
    assert!(stage.workers[worker].letters.post(Told::Removed, &bound));
    let rows = |_, _| panic!("nobody has asked");
    stage.locating.read_letters(&mut stage.posts[worker], rows);
    // Before it was tried, while it is, and when it has failed.
    for ticket in 0..5 {
        let locate = locate("alice", ticket);
        stage.locating.seek(keeper, locate, &mut stage.posts);
        let told = stage.run().await.concat();
        assert_eq!(told, [Mailed::Sought(Id::new(ticket, 0), true)]);
    }
    // Neither another box that has not heard of it brings it back, nor a pass over the store.
    let old = Heard::Changed(Box::new(Change::Put(alice.clone())));
    heard_in.send(old).unwrap();
    assert_eq!(stage.run().await.concat(), []);
    heard_in.send(Heard::Gap).unwrap();
    let mut told = Vec::new();
    while !told.contains(&Mailed::Loaded) {
        told.extend(stage.run().await.concat());
    }
    assert!(told.contains(&Mailed::Bound("bob".to_owned())), "{told:?}");
    assert!(!told.contains(&Mailed::Bound("alice".to_owned())));
    assert!(told.contains(&Mailed::Unbound("alice".to_owned())));
    // Who has registered since is there.
    let anew = Record { cseq: 3, ..alice };
    let anew = Heard::Changed(Box::new(Change::Put(anew)));
    heard_in.send(anew).unwrap();
    assert_eq!(
        stage.run().await.concat(),
        [Mailed::Bound("alice".to_owned())]
    );
}

/// The removal is written while the store is being asked, behind what was read.
#[tokio::test]
async fn what_was_read_before_its_removal_was_written_is_not_told() {
    let alice = record("alice");
    let mut stage = Stage::new(Played {
        is_full: AtomicBool::new(true),
        ..Played::default()
    });
    stage.run().await;
    stage.store.has.lock().unwrap().push(alice.clone());
    let keeper = stage.keeper("alice");
    let write_behind = &stage.locating.kept.as_ref().unwrap().write_behind;
    write_behind.put(Change::Remove(removal(&alice)));
    stage
        .locating
        .seek(keeper, locate("alice", 1), &mut stage.posts);
    stage.store.is_full.store(false, Ordering::Relaxed);
    while stage.locating.status().unwrap().waiting > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let told = stage.run().await.concat();
    assert_eq!(told, [Mailed::Sought(Id::new(1, 0), true)]);
}

/// However often something is missed, each pass comes to its end, and one follows.
#[tokio::test]
async fn gaps_without_end_leave_each_pass_its_end() {
    let (heard_in, heard_out) = mpsc::unbounded_channel();
    let mut stage = Stage::new(Played {
        has: Mutex::new((0..500).map(|n| record(&format!("user{n}"))).collect()),
        later: Mutex::new(Some(heard_out)),
        ..Played::default()
    });
    let mut told = Vec::new();
    let end = tokio::time::Instant::now() + Duration::from_millis(1_500);
    while let Ok(event) = tokio::time::timeout_at(end, stage.locating.next()).await {
        heard_in.send(Heard::Gap).unwrap();
        stage.locating.act(event, &mut stage.posts);
        let inboxes = &mut stage.workers[0].inboxes;
        inboxes.iter_mut().for_each(|inbox| read(inbox, &mut told));
        let inboxes = &mut stage.workers[1].inboxes;
        inboxes
            .iter_mut()
            .for_each(|inbox| read(inbox, &mut Vec::new()));
    }
    told.retain(|what| matches!(what, Mailed::Loading | Mailed::Loaded));
    let passes = [
        Mailed::Loading,
        Mailed::Loaded,
        Mailed::Loading,
        Mailed::Loaded,
    ];
    assert_eq!(told, passes, "the next after a second");
}

#[tokio::test]
async fn without_a_store_nobody_waits_for_one() {
    let wake = Arc::new(Wake::new().unwrap());
    let (mut workers, mut posts) = post::connect(1, 0, &wake).unwrap();
    let mut locating = Locating::new(1);
    assert_eq!(locating.status(), None);
    locating.seek(WorkerId(0), locate("alice", 1), &mut posts);
    let mut told = Vec::new();
    let inboxes = workers[0].inboxes.iter_mut();
    inboxes.for_each(|inbox| read(inbox, &mut told));
    assert_eq!(told, [Mailed::Sought(Id::new(1, 0), false)]);
    let idle = tokio::time::timeout(Duration::from_millis(20), locating.next()).await;
    assert!(idle.is_err());
    locating.stop().await;
}
