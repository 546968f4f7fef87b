use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use trunkline_dataplane::sip::digest::ha1::Ha1s;

use super::*;
use crate::privileges::Wish;
use crate::privileges::WorkerConfinement;
use crate::privileges::confine_control;
use crate::subscribers::Entry;
use crate::subscribers::Page;
use crate::subscribers::Writable as _;
use crate::subscribers::name::Address;
use crate::subscribers::sqlite::Opened;

#[test]
fn every_call_stands_once_in_its_table_with_a_reason() {
    let tables: [Vec<&Call>; 3] = [
        worker::ALLOWED.iter().chain(worker::REFUSED).collect(),
        control::allowed().collect(),
        intruder::calls().collect(),
    ];
    for table in tables {
        let numbers: BTreeSet<_> = table.iter().map(|call| call.number).collect();
        assert_eq!(numbers.len(), table.len());
        for call in table {
            assert!(!call.reason.is_empty() && !call.name.is_empty());
            assert_eq!(name(call.number), Some(call.name), "one name a number");
        }
    }
    assert_eq!(name(-1), None);
}

#[test]
fn what_an_intruder_wants_is_open_to_nobody() {
    for call in intruder::calls() {
        let listed = worker::ALLOWED.iter().chain(control::allowed());
        for other in listed.filter(|other| other.number == call.number) {
            // Told apart by the arguments: of a thread, of a map, of a device.
            assert!(!call.only.is_empty(), "{} is in two tables", other.name);
        }
    }
}

#[test]
fn the_filters_compile_and_logging_refuses_nothing() {
    for refusal in [Refusal::Enforce, Refusal::Log] {
        Filters::worker(refusal).unwrap();
        Filters::control(refusal).unwrap();
    }
    // On a thread of its own, which then may still do everything.
    let free = std::thread::spawn(|| {
        WorkerConfinement::new(Wish::Log).unwrap().apply().unwrap();
        std::fs::read_to_string("/proc/self/comm").is_ok()
    });
    assert!(free.join().unwrap());
}

/// In the child: what it is to try.
const TRY: &str = "TRUNKLINE_TEST_TRY";

/// What the child does where [`TRY`] names it, on a thread that is confined as a worker's
/// is, or as control's is.
fn attempt(what: &str) {
    let (kind, what) = what.split_once(' ').unwrap();
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("file");
    let what = what.to_owned();
    let is_worker = kind == "worker";
    let name = if is_worker { "worker-7" } else { "control" };
    let confined = std::thread::Builder::new().name(name.to_owned());
    let room = room.path().to_owned();
    let run = move || {
        // Both need it: it sets up the sentence.
        let worker = WorkerConfinement::new(Wish::On).unwrap();
        if is_worker {
            worker.apply().unwrap();
        } else {
            confine_control(Wish::On, &[&room], &room.join("control.sock")).unwrap();
        }
        let said = match what.as_str() {
            "nothing" => "fine".to_owned(),
            "socket" => format!("{:?}", std::net::UdpSocket::bind("127.0.0.1:0").is_ok()),
            "open" => format!("{:?}", std::fs::read(&path).is_ok()),
            "exec" => format!("{:?}", Command::new("/bin/true").status().is_ok()),
            "thread" => format!("{}", std::thread::spawn(|| 7).join().unwrap()),
            "panic" => panic!("on purpose"),
            "unshare" => format!(
                "{:?}",
                nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS)
            ),
            "raw" => format!(
                "{:?}",
                nix::sys::socket::socket(
                    nix::sys::socket::AddressFamily::Packet,
                    nix::sys::socket::SockType::Raw,
                    nix::sys::socket::SockFlag::empty(),
                    None,
                )
                .map(drop)
            ),
            "sqlite" => subscribers(&room).to_string(),
            other => panic!("what is {other}?"),
        };
        eprintln!("said {said}");
    };
    let _ = confined.spawn(run).unwrap().join();
}

/// How many subscribers a store says it has that was opened and filled under confinement: its file,
/// its log and the log's index are made, grown and removed.
fn subscribers(room: &std::path::Path) -> usize {
    let path = room.join("subscribers.db");
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(async {
        for batch in 0..20 {
            let store = Opened::open(&path).unwrap().serve().unwrap();
            let entry = |n| Entry {
                who: Address::new(&format!("user{batch}-{n}"), "example.org").unwrap(),
                ha1s: Ha1s::default(),
            };
            store.put((0..1000).map(entry).collect()).await.unwrap();
        }
        let store = Opened::open(&path).unwrap().serve().unwrap();
        let page = Page {
            limit: u32::MAX,
            ..Page::default()
        };
        store.list(page).await.unwrap().len()
    })
}

/// The child's end: its signal, and what it said on standard error.
fn child(what: &str) -> (Option<i32>, String) {
    let name = "privileges::seccomp::tests::a_confined_thread";
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(TRY, what)
        .env("RUST_BACKTRACE", "1")
        .output()
        .unwrap();
    (
        output.status.signal(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn a_confined_thread() {
    if let Ok(what) = std::env::var(TRY) {
        return attempt(&what);
    }
    // What it must be able to do.
    for (what, said) in [
        ("worker nothing", "said fine"),
        // Asked for by a backtrace only: refused, and it lives.
        ("worker open", "said false"),
        ("control nothing", "said fine"),
        ("control thread", "said 7"),
        ("control socket", "said true"),
        ("control sqlite", "said 20000"),
        ("control raw", "said Err(ENOSYS)"),
    ] {
        let (signal, error) = child(what);
        assert!(signal.is_none() && error.contains(said), "{what}: {error}");
    }
    // What ends the process, by name.
    for (what, thread, call) in [
        ("worker socket", "worker-7", "socket, number"),
        ("worker unshare", "worker-7", "unshare, number"),
        ("control unshare", "control", "unshare, number"),
    ] {
        let (signal, error) = child(what);
        assert_eq!(signal, Some(libc::SIGABRT), "{what}: {error}");
        let sentence = format!("thread \"{thread}\" asked for the system call {call}");
        assert!(error.contains(&sentence), "{what}: {error}");
    }
    // libc blocks every signal while it makes a thread or a process: no handler runs, and
    // the kernel ends the process at once.
    for what in ["worker exec", "worker thread", "control exec"] {
        let (signal, error) = child(what);
        assert_eq!(signal, Some(libc::SIGSYS), "{what}: {error}");
    }
}

#[test]
fn a_panic_is_told_in_full_under_the_filter() {
    let (signal, error) = child("worker panic");
    assert_eq!(signal, None, "the thread ends by its own: {error}");
    assert!(
        error.contains("on purpose") && error.contains("stack backtrace"),
        "{error}"
    );
    assert!(!error.contains("seccomp filter"), "{error}");
}
