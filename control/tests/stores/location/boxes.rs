//! Several boxes at one store.

use super::*;

/// What a box knows of alice's bindings, from what it hears.
#[derive(Debug, Default)]
struct Copy {
    bindings: BTreeMap<Vec<u8>, Record>,
    gaps: u32,
}

impl Copy {
    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Gap => self.gaps += 1,
            Heard::Changed(change) => match *change {
                Change::Put(record) => {
                    self.bindings.insert(record.contact.clone(), record);
                }
                Change::Remove(removal) => {
                    self.bindings.remove(removal.key.bytes());
                }
            },
        }
    }

    /// Hears all that was written before this, which is written last.
    async fn hear_all(&mut self, from: &mut BoxStream<'static, Heard>, last: &Record) {
        let last = Heard::Changed(Box::new(Change::Put(last.clone())));
        loop {
            match next(from).await {
                heard if heard == last => return,
                heard => self.hear(heard),
            }
        }
    }
}

async fn next(from: &mut BoxStream<'static, Heard>) -> Heard {
    let heard = tokio::time::timeout(AT_LAST, from.next()).await;
    heard.expect("nothing is heard").expect("it ended")
}

async fn gap(from: &mut BoxStream<'static, Heard>) {
    assert_eq!(next(from).await, Heard::Gap);
}

/// The next change that is heard.
async fn change(from: &mut BoxStream<'static, Heard>) -> Change {
    match next(from).await {
        Heard::Changed(change) => *change,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn a_box_hears_what_another_has_written_and_not_itself() {
    let server = servers::Redis::new(false);
    let (ours, others) = (store(&server), store(&server));
    let mut heard = ours.watch();
    gap(&mut heard).await;
    let record = registered(1, 0);
    let end = removal(&record);
    write(&ours, [Change::Put(registered(1, 0))]).await;
    write(&others, [Change::Put(registered(2, 0))]).await;
    write(&others, [Change::Put(registered(1, 0))]).await;
    let end = Removal { cseq: 3, ..end };
    write(&others, [Change::Remove(end.clone())]).await;
    assert!(matches!(change(&mut heard).await, Change::Put(record) if record.cseq == 2));
    let next = change(&mut heard).await;
    assert_eq!(next, Change::Remove(end), "the older one was not written");
}

#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn writers_that_race_leave_the_last_of_each_and_all_hear_it() {
    const BOXES: usize = 3;
    const CONTACTS: u32 = 8;
    const REGISTERS: u32 = 300;
    let server = servers::Redis::new(false);
    let boxes = [(); BOXES].map(|()| store(&server));
    let listener = store(&server);
    let mut heard = listener.watch();
    gap(&mut heard).await;
    // Each REGISTER comes to one of the boxes. Each box writes its own backwards, so that all but its
    // first are old.
    let of_box = |which: usize| {
        let cseqs = (1..=REGISTERS)
            .rev()
            .filter(move |&cseq| cseq as usize % BOXES == which);
        cseqs.flat_map(move |cseq| {
            (0..CONTACTS).map(move |contact| {
                let record = binding(&format!("sip:{contact}@b"));
                let granted_ms = *BEGIN + u64::from(cseq);
                let record = Record {
                    cseq,
                    granted_ms,
                    ..record
                };
                // The last of an odd contact ends it.
                let ends = contact % 2 == 1 && cseq == REGISTERS;
                if ends {
                    let cseq = cseq - 1;
                    Change::Remove(removal(&Record { cseq, ..record }))
                } else {
                    Change::Put(record)
                }
            })
        })
    };
    let races = boxes.iter().enumerate().map(async |(which, store)| {
        let mut stale = 0;
        for change in of_box(which) {
            stale += write(store, [change]).await;
        }
        stale
    });
    let stale: usize = join_all(races).await.into_iter().sum();
    let all = (REGISTERS * CONTACTS) as usize;
    assert!(stale > all / 2 && stale < all, "{stale} of {all}");
    let mut left = alice(&listener).await;
    left.sort_by(|one, other| one.contact.cmp(&other.contact));
    let contacts: Vec<_> = left.iter().map(|record| &record.contact[..]).collect();
    assert_eq!(contacts, [b"sip:0@b", b"sip:2@b", b"sip:4@b", b"sip:6@b"]);
    assert!(
        left.iter().all(|record| record.cseq == REGISTERS),
        "{left:?}"
    );
    let last = Record {
        user: b"bob".to_vec(),
        ..binding(CONTACT)
    };
    write(&boxes[0], [Change::Put(last.clone())]).await;
    let mut copy = Copy::default();
    copy.hear_all(&mut heard, &last).await;
    assert_eq!(copy.gaps, 0);
    assert_eq!(copy.bindings.into_values().collect::<Vec<_>>(), left);
}

#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn a_subscription_that_broke_is_made_anew_and_says_that_something_was_missed() {
    let mut server = servers::Redis::new(false);
    let (ours, others) = (store(&server), store(&server));
    let mut heard = ours.watch();
    gap(&mut heard).await;
    server.end();
    server.start();
    gap(&mut heard).await;
    let record = registered(1, 0);
    write(&others, [Change::Put(record.clone())]).await;
    assert_eq!(change(&mut heard).await, Change::Put(record));
}

#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn a_box_that_reads_too_slowly_is_told_that_it_missed_something() {
    let server = servers::Redis::new(false);
    let (ours, others) = (store(&server), store(&server));
    let mut heard = ours.watch();
    gap(&mut heard).await;
    // More than wait for a reader.
    let of_user = |user: u32| Record {
        user: user.to_string().into_bytes(),
        ..binding(CONTACT)
    };
    let changes = (0..10_000).map(|user| Change::Put(of_user(user)));
    assert_eq!(write(&others, changes).await, 0);
    let mut heard_count = 0;
    while let Some(Heard::Changed(_)) = heard.next().await {
        heard_count += 1;
    }
    // That was the gap, and from there on all is heard again.
    assert!((1000..10_000).contains(&heard_count), "{heard_count}");
    let last = registered(7, 0);
    write(&others, [Change::Put(last.clone())]).await;
    Copy::default().hear_all(&mut heard, &last).await;
}

#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn a_cluster_is_one_store() {
    let nodes = servers::redis_cluster();
    let (ours, others) = (open(&nodes[0], true), open(&nodes[2], true));
    let mut heard = ours.watch();
    gap(&mut heard).await;
    let records: Vec<_> = (0..1000u32)
        .map(|number| Record {
            user: number.to_string().into_bytes(),
            ..binding(CONTACT)
        })
        .collect();
    assert_eq!(
        write(&others, records.iter().cloned().map(Change::Put)).await,
        0
    );
    for node in &nodes {
        let keys: usize = node.run(&["DBSIZE"]).trim().parse().unwrap();
        assert!((200..=500).contains(&keys), "each has its share: {keys}");
    }
    let of_seven = ours.find("example.net", b"7").await.unwrap();
    assert_eq!(of_seven, [records[7].clone()]);
    let by_user = |mut records: Vec<Record>| {
        records.sort_by(|one, other| one.user.cmp(&other.user));
        records
    };
    assert_eq!(by_user(super::all(&ours).await), by_user(records.clone()));
    let mut told = Vec::new();
    while told.len() < records.len() {
        match change(&mut heard).await {
            Change::Put(record) => told.push(record),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(by_user(told), by_user(records));
}

/// What a box has missed is among all that there is: what was made, and what was ended.
#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn removals_are_given_with_the_rest() {
    let server = servers::Redis::new(false);
    let (ours, others) = (store(&server), store(&server));
    let gone = binding("sip:gone@b");
    let kept = binding(CONTACT);
    write(&others, [gone.clone(), kept.clone()].map(Change::Put)).await;
    let end = removal(&gone);
    write(&others, [Change::Remove(end.clone())]).await;
    let mut given = super::given(&ours).await;
    given.sort_by_key(|change| matches!(change, Change::Remove(_)));
    assert_eq!(given, [Change::Put(kept.clone()), Change::Remove(end)]);
    assert_eq!(alice(&ours).await, [kept]);
}

/// Boxes that all write what an empty store has lost do not tell one another of it again and again.
#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn what_is_there_already_is_not_published_again() {
    let server = servers::Redis::new(false);
    let (ours, others, listener) = (store(&server), store(&server), store(&server));
    let mut heard = listener.watch();
    gap(&mut heard).await;
    let record = registered(3, 0);
    write(&ours, [Change::Put(record.clone())]).await;
    // As the other box has it: a moment of rounding apart.
    let again = Record {
        granted_ms: record.granted_ms + 1,
        expires_ms: record.expires_ms - 1,
        ..record.clone()
    };
    assert_eq!(write(&others, [Change::Put(again)]).await, 0);
    let end = removal(&record);
    for store in [&ours, &others] {
        assert_eq!(write(store, [Change::Remove(end.clone())]).await, 0);
    }
    let last = registered(9, 9_000);
    write(&ours, [Change::Put(last.clone())]).await;
    let told = [
        change(&mut heard).await,
        change(&mut heard).await,
        change(&mut heard).await,
    ];
    assert_eq!(
        told,
        [Change::Put(record), Change::Remove(end), Change::Put(last)]
    );
}

/// A box whose clock was a day ahead does not keep a binding to itself for that day.
#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn what_was_written_by_a_clock_far_ahead_is_replaced() {
    let server = servers::Redis::new(false);
    let store = store(&server);
    let day = 86_400_000;
    let ahead = Record {
        expires_ms: *BEGIN + day + 600_000,
        ..registered(7, day)
    };
    write(&store, [Change::Put(ahead)]).await;
    let now = Record {
        call_id: 5,
        granted_ms: now_ms(),
        ..registered(1, 0)
    };
    assert_eq!(write(&store, [Change::Put(now.clone())]).await, 0);
    assert_eq!(alice(&store).await, [now]);
}

/// Nothing breaks where a store is emptied: that it was is seen by what is missing.
#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn a_store_that_was_emptied_is_noticed_by_every_box_and_one_that_was_not_is_left_alone() {
    let server = servers::Redis::new(false);
    let boxes = [store(&server), store(&server)];
    let mut heard = boxes.each_ref().map(Redis::watch);
    for heard in &mut heard {
        gap(heard).await;
    }
    let quiet = async |heard: &mut BoxStream<'static, Heard>| {
        let time = Duration::from_secs(5);
        tokio::time::timeout(time, heard.next()).await.is_err()
    };
    let [one, two] = &mut heard;
    assert_eq!(tokio::join!(quiet(one), quiet(two)), (true, true));
    server.run(&["FLUSHALL"]);
    for heard in [one, two] {
        gap(heard).await;
        assert!(quiet(heard).await, "once");
    }
}

#[tokio::test]
#[ignore = "needs Redis: perf/e2e/stores.sh"]
async fn a_node_of_a_cluster_that_comes_back_empty_is_noticed() {
    let mut nodes = servers::redis_cluster();
    let ours = open(&nodes[0], true);
    let mut heard = ours.watch();
    gap(&mut heard).await;
    // So that it has been looked at before: who does so leaves a mark first.
    let began = Instant::now();
    while nodes[0].run(&["EXISTS", "location:mark"]).trim() != "1" {
        assert!(began.elapsed() < AT_LAST, "nobody looks");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    nodes[1].end();
    nodes[1].start();
    gap(&mut heard).await;
}
