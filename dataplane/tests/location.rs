//! Contacts that a location store keeps as well: what the workers tell of them, what they take back, and
//! when they ask.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use std::collections::HashSet;

use bench::ACCESS;
use bench::Bench;
use bench::call::only;
use bench::call::status;
use bench::call::to_callee;
use bench::call::to_caller;
use bench::header;
use bench::phone;
use bench::phone::Device;
use bench::phone::PHONE;
use bench::phone::to_user;
use bench::stored::Heard;
use bench::stored::answer;
use bench::stored::aor;
use bench::stored::bench;
use bench::stored::letters;
use bench::stored::load;
use bench::stored::mail;
use bench::stored::sought;
use bench::stored::stored;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::letters::Told;
use trunkline_dataplane::limits::LETTERS;
use trunkline_dataplane::limits::MAILBOX_MAILS;
use trunkline_dataplane::mailbox::Ask;
use trunkline_dataplane::mailbox::Mail;
use trunkline_dataplane::mailbox::Query;
use trunkline_dataplane::mailbox::Report;
use trunkline_dataplane::settings::Location;
use trunkline_dataplane::sip::registrar::LETTER_LEN_MAX;
use trunkline_dataplane::sip::registrar::Record;
use trunkline_dataplane::tick::Tick;

#[test]
fn each_change_of_a_contact_is_told_and_its_end_is_not() {
    let mut bench = bench(1, Location::Own);
    load(&mut bench);
    let mut alice = Device::new(&mut bench, "alice");
    let uri = "sip:alice@10.77.1.66:5070";
    let (now, heard) = (bench.now, letters(&mut bench));
    assert_eq!(heard.len(), 1);
    let Heard {
        told,
        cseq,
        expires,
        taken,
        ..
    } = heard[0];
    assert_eq!(
        (told, cseq, expires, taken),
        (Told::Bound, 2, now.plus_ms(600_000), now)
    );
    assert_eq!(
        (heard[0].user.as_str(), heard[0].uri.as_str()),
        ("alice", uri)
    );
    bench.pass_ms(8);
    bench.phone_gets(0, &alice.register("Expires: 900\r\n"));
    let (now, heard) = (bench.now, letters(&mut bench));
    let Heard {
        told,
        cseq,
        expires,
        taken,
        ..
    } = heard[0];
    assert_eq!(
        (told, cseq, expires, taken),
        (Told::Bound, 3, now.plus_ms(900_000), now)
    );
    // The removal says which REGISTER it was and when, not what the binding was.
    bench.pass_ms(8);
    bench.phone_gets(0, &alice.register("Expires: 0\r\n"));
    let (now, heard) = (bench.now, letters(&mut bench));
    let Heard {
        told, cseq, taken, ..
    } = heard[0];
    assert_eq!((told, cseq, taken), (Told::Removed, 4, now));
    bench.phone_gets(0, &alice.register("Expires: 60\r\n"));
    assert_eq!(letters(&mut bench).len(), 1);
    bench.pass_ms(61_000);
    assert_eq!(bench.count(Counter::BindingsExpired), 1);
    assert_eq!(letters(&mut bench), []);
    assert_eq!(bench.count(Counter::BindingsTold), 4);
}

#[test]
fn where_nothing_keeps_them_nothing_is_told_or_asked() {
    let mut bench = bench(1, Location::Nowhere);
    Device::new(&mut bench, "alice");
    let left = bench.caller(0, &to_user("INVITE", "bob", "a"));
    assert_eq!(status(&to_caller(&left)), "480");
    assert_eq!((letters(&mut bench), sought(&mut bench).len()), (vec![], 0));
    assert_eq!(bench.count(Counter::BindingsToTell), 0);
}

/// Nothing waits for a reader that does not read: what it has missed it is told once, as it is by then.
#[test]
fn what_a_full_ring_has_no_room_for_is_told_later_as_it_is_then() {
    let mut bench = bench(1, Location::Own);
    load(&mut bench);
    let mut alice = Device::new(&mut bench, "alice");
    let mut refreshed = 1;
    while bench.count(Counter::BindingsToTell) == 0 {
        assert_eq!(
            status(&bench.phone_gets(0, &alice.register("Expires: 600\r\n"))),
            "200"
        );
        refreshed += 1;
        assert!(refreshed <= LETTERS + 1);
    }
    for _ in 0..3 {
        assert_eq!(
            status(&bench.phone_gets(0, &alice.register("Expires: 600\r\n"))),
            "200"
        );
    }
    assert_eq!(bench.count(Counter::BindingsToTell), 1);
    let waited = letters(&mut bench);
    assert_eq!(waited.len(), refreshed - 1);
    bench.turn();
    let last = letters(&mut bench);
    assert_eq!(last.len(), 1, "three changes, once");
    assert_eq!(last[0].cseq, alice.cseq);
    assert_eq!(bench.count(Counter::BindingsToTell), 0);
}

/// Removed while there was no room, and bound anew: the removal is told first.
#[test]
fn a_removal_that_waits_is_told_before_what_follows_it() {
    let mut bench = bench(1, Location::Own);
    load(&mut bench);
    let mut alice = Device::new(&mut bench, "alice");
    while bench.count(Counter::BindingsToTell) == 0 {
        bench.phone_gets(0, &alice.register("Expires: 600\r\n"));
    }
    bench.phone_gets(0, &alice.register("Expires: 0\r\n"));
    bench.phone_gets(0, &alice.register("Expires: 600\r\n"));
    bench.phone_gets(0, &alice.register("Expires: 0\r\n"));
    bench.phone_gets(0, &alice.register("Expires: 700\r\n"));
    letters(&mut bench);
    bench.turn();
    let told = letters(&mut bench);
    let cseq = alice.cseq;
    let told: Vec<_> = told.iter().map(|heard| (heard.told, heard.cseq)).collect();
    let removed = |cseq| (Told::Removed, cseq);
    assert_eq!(
        told,
        [removed(cseq - 3), removed(cseq - 1), (Told::Bound, cseq)]
    );
    assert_eq!(bench.count(Counter::BindingsUntold), 0);
}

/// Only a reader that is stuck for long makes the worker give removals up, which is counted; and the
/// worker goes on.
#[test]
fn removals_beyond_all_room_are_counted() {
    let mut bench = bench(1, Location::Own);
    load(&mut bench);
    let mut alice = Device::new(&mut bench, "alice");
    let mut rounds = 0;
    while bench.count(Counter::BindingsUntold) == 0 {
        for expires in ["0", "600"] {
            let ok = bench.phone_gets(0, &alice.register(&format!("Expires: {expires}\r\n")));
            assert_eq!(status(&ok), "200");
        }
        rounds += 1;
        assert!(rounds < LETTERS, "it is bounded");
    }
    let told = letters(&mut bench).len() as u64;
    assert_eq!(told, bench.count(Counter::BindingsTold));
}

#[test]
fn what_a_store_gives_back_is_called_and_ends_in_its_time() {
    for workers in [1, 2] {
        let mut bench = bench(workers, Location::Own);
        let (_, keeper) = aor(&bench, "carol");
        let record = stored(&bench, "carol", "sip:carol@10.77.1.66:5070");
        assert!(bench.posts[keeper].mail.post_binding(Mail::Bound, &record));
        load(&mut bench);
        assert_eq!(bench.count(Counter::BindingsRestored), 1);
        assert_eq!(letters(&mut bench), [], "the store knows it");
        for worker in 0..usize::from(workers) {
            let call_id = bench.call_id_of(worker);
            let left = bench.caller(worker, &to_user("INVITE", "carol", &call_id));
            let invite = only(&left, ACCESS, PHONE);
            assert!(
                invite.starts_with("INVITE sip:carol@10.77.1.66:5070 "),
                "{invite}"
            );
        }
        // An older record of it changes nothing, and one whose time is over comes to nothing.
        let older = Record { q: 1, ..record };
        assert!(bench.posts[keeper].mail.post_binding(Mail::Bound, &older));
        let ended = Record {
            expires: bench.now,
            ..stored(&bench, "dave", "sip:d@d")
        };
        assert!(bench.posts[keeper].mail.post_binding(Mail::Bound, &ended));
        bench.turn();
        assert_eq!(bench.count(Counter::BindingsRestored), 1);
        bench.pass_ms(20_100);
        assert_eq!(bench.count(Counter::BindingsNow), 0);
    }
}

#[test]
fn what_finds_no_room_is_counted() {
    let mut settings = phone::settings(1);
    settings.location = Location::Own;
    settings.capacity.bindings = 4;
    let mut bench = Bench::of(&settings);
    for n in 0..5 {
        let (user, uri) = (format!("user{n}"), format!("sip:{n}@10.77.1.66"));
        let record = stored(&bench, &user, &uri);
        assert!(bench.posts[0].mail.post_binding(Mail::Bound, &record));
    }
    bench.turn();
    assert_eq!(bench.count(Counter::BindingsRestored), 4);
    assert_eq!(bench.count(Counter::BindingsUnrestored), 1);
}

/// A million bindings leave half of the mailbox to everything else.
#[test]
fn what_is_given_back_leaves_room_for_other_mail() {
    let mut bench = bench(1, Location::Own);
    let record = stored(&bench, "carol", "sip:carol@10.77.1.66");
    let posted = std::iter::from_fn(|| {
        bench.posts[0]
            .mail
            .post_binding(Mail::Bound, &record)
            .then_some(())
    });
    assert_eq!(posted.count(), MAILBOX_MAILS / 2);
    assert!(bench.posts[0].mail.post(Mail::Doubt).is_ok());
}

/// Until all has been given back nobody is told that somebody is not there.
#[test]
fn before_all_is_loaded_the_store_is_asked_for_whom_a_worker_does_not_know() {
    for workers in [1, 2] {
        for at in 0..usize::from(workers) {
            let mut bench = bench(workers, Location::Own);
            let (_, keeper) = aor(&bench, "carol");
            let call_id = bench.call_id_of(at);
            let left = bench.caller(at, &to_user("INVITE", "carol", &call_id));
            assert_eq!(status(&to_caller(&left)), "100", "it waits");
            let asked = sought(&mut bench);
            assert_eq!(asked.len(), 1);
            assert_eq!(asked[0].0, keeper);
            let left = answer(&mut bench, asked[0], Some("sip:carol@10.77.1.66:5070"));
            assert!(only(&left, ACCESS, PHONE).starts_with("INVITE sip:carol@"));
            // Whom the store does not know either is not there, and not asked for again at once.
            let left = bench.caller(at, &to_user("MESSAGE", "nobody", &call_id));
            assert!(left.is_empty(), "RFC 4320: no 100 yet");
            let asked = sought(&mut bench);
            let left = answer(&mut bench, asked[0], None);
            assert_eq!(status(&to_caller(&left)), "480");
            let again =
                to_user("MESSAGE", "nobody", &call_id).replace("branch=z9hG4bK", "branch=z9hG4bKx");
            let left = bench.caller(at, &again);
            assert_eq!(status(&to_caller(&left)), "480");
            // Once all is there, nobody is asked.
            load(&mut bench);
            let left = bench.caller(
                at,
                &to_user("OPTIONS", "nobody2", &call_id).replace("z9hG4bK", "z9hG4bKy"),
            );
            assert_eq!(status(&to_caller(&left)), "480");
            assert_eq!(sought(&mut bench).len(), 0);
            assert_eq!(bench.count(Counter::LocationQuestions), 2);
        }
    }
}

#[test]
fn a_store_that_others_write_to_is_asked_after_that_too() {
    let mut bench = bench(1, Location::Shared);
    load(&mut bench);
    bench.caller(0, &to_user("INVITE", "carol", "a"));
    let asked = sought(&mut bench);
    let left = answer(&mut bench, asked[0], Some("sip:carol@10.77.1.66:5070"));
    assert!(only(&left, ACCESS, PHONE).starts_with("INVITE sip:carol@"));
    // What has been asked for in vain is asked for again after a while.
    for (call_id, is_asked) in [("b", true), ("c", false)] {
        let left = bench.caller(0, &to_user("OPTIONS", "nobody", call_id));
        let asked = sought(&mut bench);
        assert_eq!(asked.len(), usize::from(is_asked));
        let left = match asked.first() {
            Some(asked) => answer(&mut bench, *asked, None),
            None => left,
        };
        assert_eq!(status(&to_caller(&left)), "480");
    }
    bench.pass_ms(32_100);
    bench.caller(0, &to_user("OPTIONS", "nobody", "d"));
    assert_eq!(sought(&mut bench).len(), 1);
}

/// A store that gives no answer: who is known is called, for others it is not said that they are not
/// there.
#[test]
fn who_cannot_be_located_now_is_not_said_to_be_away() {
    for workers in [1, 2] {
        for at in 0..usize::from(workers) {
            let mut bench = bench(workers, Location::Shared);
            let call_id = bench.call_id_of(at);
            bench.caller(at, &to_user("INVITE", "carol", &call_id));
            let (worker, of) = sought(&mut bench)[0];
            let answered = false;
            let left = mail(&mut bench, worker, Mail::Sought { of, answered });
            assert_eq!(status(&to_caller(&left)), "503");
            assert_eq!(bench.count(Counter::LocationUnavailable), 1);
            // And where nothing is heard at all, in time.
            let other = to_user("OPTIONS", "carol", &call_id);
            bench.caller(at, &other);
            assert_eq!(sought(&mut bench).len(), 1);
            let left = bench.pass_ms(5_100);
            assert_eq!(status(&left.last().unwrap().text()), "504");
        }
    }
}

/// A REGISTER while the store is being read waits for what it has of the user, so that it can remove
/// that; one that gets no answer is done all the same.
#[test]
fn who_registers_before_all_is_loaded_finds_what_the_store_has() {
    let mut bench = bench(1, Location::Own);
    let mut alice = Device::asking(&mut bench, "alice");
    let left = bench.phone(
        0,
        &alice
            .register("Contact: *\r\nExpires: 0\r\n")
            .replace("Contact: <sip:alice@10.77.1.66:5070>\r\n", ""),
    );
    assert!(left.is_empty(), "it waits");
    let asked = sought(&mut bench);
    let left = answer(&mut bench, asked[0], Some("sip:alice@10.77.1.99"));
    let ok = only(&left, ACCESS, PHONE);
    assert_eq!((status(&ok), header(&ok, "Contact").as_str()), ("200", ""));
    let heard = letters(&mut bench);
    assert_eq!(
        (heard[0].told, heard[0].uri.as_str()),
        (Told::Removed, "sip:alice@10.77.1.99")
    );
    // What was read of it before comes too late.
    let record = stored(&bench, "alice", "sip:alice@10.77.1.99");
    assert!(bench.posts[0].mail.post_binding(Mail::Bound, &record));
    bench.turn();
    for silent in [false, true] {
        let mut bench = self::bench(1, Location::Own);
        let mut alice = Device::asking(&mut bench, "alice");
        assert!(
            bench
                .phone(0, &alice.register("Expires: 600\r\n"))
                .is_empty()
        );
        let (worker, of) = sought(&mut bench)[0];
        let left = match silent {
            true => bench.pass_ms(5_100),
            false => mail(
                &mut bench,
                worker,
                Mail::Sought {
                    of,
                    answered: false,
                },
            ),
        };
        assert_eq!(status(&left.last().unwrap().text()), "200");
        assert_eq!(letters(&mut bench).len(), 1);
    }
}

/// The letters of a turn are bounded, and all come in the end.
#[test]
fn a_storm_is_told_over_several_turns() {
    let mut bench = bench(1, Location::Own);
    load(&mut bench);
    let users: HashSet<_> = (0..200).map(|n| format!("user{n}")).collect();
    for user in &users {
        Device::new(&mut bench, user);
    }
    let told: HashSet<_> = letters(&mut bench)
        .into_iter()
        .map(|heard| heard.user)
        .collect();
    assert_eq!(told, users);
}

/// Who looks gets every row, or those of one user; and what has changed is told in between.
#[test]
fn an_operator_who_looks_sees_every_contact() {
    let mut bench = bench(1, Location::Own);
    load(&mut bench);
    for n in 0..100 {
        let (user, uri) = (format!("user{n}"), format!("sip:{n}@10.77.1.66"));
        let record = stored(&bench, &user, &uri);
        assert!(bench.posts[0].mail.post_binding(Mail::Bound, &record));
    }
    let one = aor(&bench, "user7").0.key;
    for (of, rows) in [(None, 100), (Some(one), 1)] {
        let what = Ask::Bindings(of);
        mail(&mut bench, 0, Mail::Query(Query { id: 9, what }));
        let heard = letters(&mut bench);
        assert_eq!(heard.len(), rows);
        assert!(heard.iter().all(|heard| heard.told == Told::Row(9)));
        let ended = |report: &Report| matches!(report, Report::End { id: 9 });
        assert_eq!(
            bench
                .reports()
                .iter()
                .filter(|report| ended(report))
                .count(),
            1
        );
    }
}

#[test]
fn what_another_box_has_removed_is_gone_unless_it_was_registered_since() {
    let mut bench = bench(1, Location::Shared);
    load(&mut bench);
    let record = stored(&bench, "carol", "sip:carol@10.77.1.66:5070");
    let by = |cseq, call_id, taken| Record {
        cseq,
        call_id,
        taken,
        ..record
    };
    assert!(
        bench.posts[0]
            .mail
            .post_binding(Mail::Bound, &by(5, 7, bench.now))
    );
    for (removal, is_gone) in [
        // Within a Call-ID the CSeq decides, between two the time.
        (by(5, 7, bench.now.plus_ms(9)), false),
        (by(6, 8, bench.now), false),
        (by(6, 7, Tick(0)), true),
    ] {
        assert!(bench.posts[0].mail.post_binding(Mail::Unbound, &removal));
        bench.turn();
        let now = bench.count(Counter::BindingsNow);
        assert_eq!(now == 0, is_gone, "{removal:?}");
    }
    assert_eq!(bench.count(Counter::BindingsWithdrawn), 1);
    assert_eq!(letters(&mut bench), [], "the store knows it");
    // One that was not there comes to nothing.
    assert!(bench.posts[0].mail.post_binding(Mail::Unbound, &record));
    bench.turn();
    assert_eq!(bench.count(Counter::BindingsWithdrawn), 1);
}

/// A box that registers nobody calls users whom another one has registered.
#[test]
fn users_whom_another_box_registers_are_called() {
    let mut settings = phone::settings(1);
    settings.location = Location::Shared;
    settings.domains[0].registrar = false;
    settings.domains[0].located = true;
    let mut bench = Bench::of(&settings);
    bench.caller(0, &to_user("INVITE", "carol", "a"));
    let asked = sought(&mut bench);
    let left = answer(&mut bench, asked[0], Some("sip:carol@10.77.1.66:5070"));
    assert!(only(&left, ACCESS, PHONE).starts_with("INVITE sip:carol@"));
}

#[test]
fn a_nat_is_kept_open_after_a_restart_and_by_one_box_of_several() {
    for (location, keepalives) in [(Location::Own, 2), (Location::Shared, 0)] {
        let mut settings = phone::settings(1);
        settings.location = location;
        settings.registrar.keepalive_s = 8;
        let mut bench = Bench::of(&settings);
        let record = stored(&bench, "bob", "sip:bob@192.168.0.2");
        assert!(bench.posts[0].mail.post_binding(Mail::Bound, &record));
        load(&mut bench);
        assert_eq!(bench.count(Counter::BindingsNow), 1);
        bench.pass_ms(16_000);
        assert_eq!(bench.count(Counter::KeepalivesSent), keepalives);
        // Its own keepalives are answered at each.
        bench.left.clear();
        let request = b"\0\x01\0\0\x21\x12\xa4\x42transaction!";
        bench.arrives(0, PHONE, ACCESS, request);
        bench.turn();
        assert_eq!(bench.left.len(), 1);
        bench.pass_ms(6_000);
        assert_eq!(bench.count(Counter::BindingsExpired), 1);
    }
}

/// What a registrar elsewhere has granted outlives a restart, and is of interest to this box alone: the path
/// that the registrar has leads here.
#[test]
fn who_has_registered_elsewhere_is_known_after_a_restart() {
    let of = |location| {
        let mut settings = phone::before_a_registrar(1);
        settings.location = location;
        Bench::of(&settings)
    };
    let registered = |location| {
        let mut bench = of(location);
        let sent = to_callee(&bench.phone(0, &phone::register(1, "")));
        bench.callee(0, &phone::granted(&sent, phone::PRIVATE, 3_600));
        assert_eq!(bench.count(Counter::BindingsNow), 1);
        bench
    };
    let mut shared = registered(Location::Shared);
    assert_eq!(letters(&mut shared), []);

    let mut before = registered(Location::Own);
    let mut room = [0; LETTER_LEN_MAX];
    let (_, record) = before.posts[0].letters.take(&mut room).unwrap();
    let mut bench = of(Location::Own);
    assert!(bench.posts[0].mail.post_binding(Mail::Bound, &record));
    load(&mut bench);
    // It calls, and its refresh is answered here.
    let invite = phone::request("INVITE", "alice", "after", 1, "");
    assert!(to_callee(&bench.phone(0, &invite)).starts_with("INVITE "));
    let left = bench.phone(0, &phone::register(2, ""));
    assert_eq!(status(&only(&left, ACCESS, PHONE)), "200");
    assert_eq!(bench.count(Counter::RegistersSpared), 1);
}
