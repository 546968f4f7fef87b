//! SIGKILL in the middle of a storm: what was acknowledged more than a second before is there.
//!
//! The test starts itself anew as the box, which acknowledges REGISTERs, writes them behind, and
//! tells on its standard output what it has acknowledged and when.

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Write as _;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use super::*;
use crate::location::write_behind::Options;
use crate::location::write_behind::WriteBehind;

const NAME: &str = "location::sqlite::tests::killed::what_was_acknowledged_outlives_a_kill";
const FILE_OF_THE_BOX: &str = "TRUNKLINE_TEST_LOCATION";
const ROUNDS: u32 = 4;
const USERS: u32 = 20_000;
const ACKNOWLEDGED_BEFORE_MS: UnixMs = 1000;

#[test]
fn what_was_acknowledged_outlives_a_kill() {
    if let Ok(path) = std::env::var(FILE_OF_THE_BOX) {
        be_the_box(Path::new(&path));
    }
    let (_room, path) = room();
    // By user: what was acknowledged long enough ago, and nothing since.
    let mut settled = BTreeMap::new();
    for round in 0..ROUNDS {
        let time = Duration::from_millis(1600 + u64::from(round) * 370);
        let told = kill_after(time, &path);
        let killed = told.last().map_or(0, |last| last.when);
        let mut sure = settled;
        let mut since: BTreeMap<u32, bool> = BTreeMap::new();
        for told in told {
            if told.when + ACKNOWLEDGED_BEFORE_MS < killed {
                sure.insert(told.user, told);
            } else {
                *since.entry(told.user).or_default() |= told.ends;
            }
        }
        assert!(
            sure.len() > 200,
            "{} are more than a second old",
            sure.len()
        );
        check(&path, &sure, &since);
        sure.retain(|user, _| !since.contains_key(user));
        settled = sure;
    }
    assert!(settled.len() > 200, "{}", settled.len());
}

/// Each user has what was surely acknowledged, or what came later (true: its end among it).
fn check(path: &Path, sure: &BTreeMap<u32, Told>, since: &BTreeMap<u32, bool>) {
    let database = Database::open(path).unwrap();
    for (&user, told) in sure {
        let name = format!("user{user}");
        let found = database.find("example.net", name.as_bytes(), 0).unwrap();
        let later = since.get(&user);
        match &found[..] {
            [] => assert!(
                told.ends || later == Some(&true),
                "{name}: {told:?} is lost"
            ),
            [record] => {
                let is_that = record.cseq == told.cseq && !told.ends;
                let is_later = record.cseq > told.cseq && later.is_some();
                assert!(
                    is_that || is_later,
                    "{name}: {} and not {told:?}",
                    record.cseq
                );
                assert_eq!(*record, register(user, record.cseq), "it is whole");
            }
            _ => panic!("{name} has {found:?}"),
        }
    }
}

/// What the box tells: it has answered a REGISTER.
#[derive(Debug)]
struct Told {
    when: UnixMs,
    user: u32,
    /// Counted over all users and rounds.
    cseq: u32,
    /// It ended the binding.
    ends: bool,
}

/// Runs the box for `time`, kills it, and gives what it had told.
fn kill_after(time: Duration, path: &Path) -> Vec<Told> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(FILE_OF_THE_BOX, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let lines = output.lines().map_while(Result::ok);
        lines.filter_map(|line| told(&line)).collect::<Vec<_>>()
    });
    std::thread::sleep(time);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

fn told(line: &str) -> Option<Told> {
    let mut words = line.strip_prefix("told ")?.split(' ');
    Some(Told {
        when: words.next()?.parse().ok()?,
        user: words.next()?.parse().ok()?,
        cseq: words.next()?.parse().ok()?,
        // A line that the kill has cut off says nothing.
        ends: match words.next()? {
            "ends." => true,
            "stays." => false,
            _ => return None,
        },
    })
}

/// What a user's REGISTER makes of its binding; the same in both processes.
fn register(user: u32, cseq: u32) -> Record {
    Record {
        user: format!("user{user}").into_bytes(),
        cseq,
        expires_ms: 4_000_000_000_000,
        granted_ms: 1_700_000_000_000 + u64::from(cseq),
        ..binding(&format!("sip:user{user}@192.0.2.1"))
    }
}

/// Some 1,000 REGISTERs a second until it is killed, too few to fill a batch in that second; a tenth of
/// them end the binding.
fn be_the_box(path: &Path) -> ! {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Arc::new(open(path));
        let last = all(&store).await.iter().map(|record| record.cseq).max();
        // Those of the round before that were told and not written had CSeqs too.
        let mut cseq = last.map_or(0, |last| last + 1_000_000);
        let waiting_max = 2 * USERS as usize;
        let write_behind = WriteBehind::start(store, Options { waiting_max });
        let mut output = std::io::stdout().lock();
        loop {
            for _ in 0..10 {
                cseq += 1;
                let user = cseq.wrapping_mul(2_654_435_761) % USERS;
                let ends = cseq.is_multiple_of(10);
                write_behind.put(if ends {
                    Change::Remove(removal(&register(user, cseq - 1)))
                } else {
                    Change::Put(register(user, cseq))
                });
                let what = if ends { "ends." } else { "stays." };
                writeln!(output, "told {} {user} {cseq} {what}", now_ms()).unwrap();
            }
            output.flush().unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
}
