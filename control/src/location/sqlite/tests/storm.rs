//! What a storm costs the store: to be run alone, in release, with `--run-ignored only`.

use std::time::Duration;
use std::time::Instant;

use super::*;
use crate::location::write_behind::Options;
use crate::location::write_behind::WriteBehind;

const USERS: u32 = 100_000;
const A_SECOND: u32 = 2000;

fn register(user: u32, cseq: u32) -> Change {
    Change::Put(Record {
        user: format!("user{user}").into_bytes(),
        cseq,
        ..binding(&format!("sip:user{user}@192.0.2.1:5060;transport=udp"))
    })
}

/// Seconds of CPU that the threads of this process with that name have taken.
fn busy_s(name: &str) -> f64 {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let ticks = threads.map(|thread| {
        let stat = fs::read_to_string(thread.unwrap().path().join("stat")).unwrap();
        let (front, rest) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<_> = rest.split(' ').collect();
        let time = |field: usize| fields[field].parse::<f64>().unwrap();
        let is_it = front.ends_with(&format!("({name}"));
        if is_it { time(11) + time(12) } else { 0.0 }
    });
    // USER_HZ is 100.
    ticks.sum::<f64>() / 100.0
}

#[ignore = "takes a minute, and wants a quiet machine"]
#[tokio::test]
async fn a_storm_of_100_000_users_within_50_seconds() {
    // On the disk: the directory of temporary files may be memory.
    let program = std::env::current_exe().unwrap();
    let room = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
    let path = room.path().join(FILE);
    let store = Arc::new(open(&path));
    for first in (0..USERS).step_by(2000) {
        let users = first..first + 2000;
        write(&store, users.map(|user| register(user, 1))).await;
    }
    let before = busy_s("location");
    let waiting_max = USERS as usize;
    let write_behind = WriteBehind::start(store, Options { waiting_max });
    let begin = Instant::now();
    let mut oldest = Duration::ZERO;
    for number in 0..USERS {
        // Devices come back in no order.
        let user = u64::from(number) * 61_681 % u64::from(USERS);
        write_behind.put(register(u32::try_from(user).unwrap(), 2));
        if number.is_multiple_of(A_SECOND / 100) {
            oldest = oldest.max(write_behind.figures().oldest);
            let due_ms = u64::from(number) * 1000 / u64::from(A_SECOND);
            tokio::time::sleep_until((begin + Duration::from_millis(due_ms)).into()).await;
        }
    }
    let figures = write_behind.stop(Duration::from_secs(10)).await;
    let took = begin.elapsed();
    let busy = busy_s("location") - before;
    let share = busy / took.as_secs_f64() * 100.0;
    let mb = fs::metadata(&path).unwrap().len() / 1_000_000;
    println!("{USERS} bindings in {took:.1?}, none waited longer than {oldest:.0?}");
    println!("the store's thread took {busy:.2} s, {share:.1}% of a core; its file has {mb} MB");
    assert_eq!((figures.written, figures.waiting), (u64::from(USERS), 0));
    assert!(oldest < Duration::from_secs(1), "{oldest:?}");
    assert!(share < 50.0, "{share}");
}
