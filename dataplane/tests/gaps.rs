//! A location store that the workers do not know whole: at a start, and where changes were missed.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use bench::ACCESS;
use bench::Bench;
use bench::call::only;
use bench::call::status;
use bench::call::to_caller;
use bench::header;
use bench::phone::Device;
use bench::phone::PHONE;
use bench::phone::to_user;
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
use trunkline_dataplane::mailbox::Mail;
use trunkline_dataplane::settings::Location;
use trunkline_dataplane::sip::registrar::Record;

const HOME: &str = "sip:carol@10.77.1.66:5070";
const OFFICE: &str = "sip:carol@10.77.1.66:5071";

/// The store has this, which it tells unasked.
fn tell(bench: &mut Bench, record: &Record<'_>) {
    let keeper = aor(bench, std::str::from_utf8(record.user).unwrap()).1;
    let posted = bench.posts[keeper].mail.post_binding(Mail::Bound, record);
    assert!(posted);
    bench.left.clear();
    bench.turn();
}

/// The users whom a call rings, by their contacts.
fn rung(left: &[bench::Left]) -> Vec<String> {
    let invites = left.iter().map(bench::Left::text);
    let mut rung: Vec<_> = invites
        .filter_map(|text| Some(text.strip_prefix("INVITE ")?.split(' ').next()?.to_owned()))
        .collect();
    rung.sort();
    rung
}

/// One of her contacts is back, the other is not: a call rings both.
#[test]
fn who_is_back_in_part_is_asked_for_until_all_is_loaded() {
    for (workers, location) in [
        (1, Location::Own),
        (2, Location::Own),
        (2, Location::Shared),
    ] {
        for at in 0..usize::from(workers) {
            let mut bench = bench(workers, location);
            let home = stored(&bench, "carol", HOME);
            tell(&mut bench, &home);
            let call_id = bench.call_id_of(at);
            let left = bench.caller(at, &to_user("INVITE", "carol", &call_id));
            assert_eq!(rung(&left), [""; 0], "it waits");
            let asked = sought(&mut bench);
            assert_eq!(asked.len(), 1);
            let left = answer(&mut bench, asked[0], Some(OFFICE));
            assert_eq!(rung(&left), [HOME, OFFICE]);
            // The next call does not wait: the store has told all of her.
            let again =
                to_user("INVITE", "carol", &call_id).replace("branch=z9hG4bK", "branch=z9hG4bKx");
            let left = bench.caller(at, &again.replace(&call_id, &format!("{call_id}x")));
            let left = [left, {
                bench.left.clear();
                bench.turn();
                bench.left.drain(..).collect()
            }]
            .concat();
            assert_eq!(rung(&left), [HOME, OFFICE]);
            assert_eq!(sought(&mut bench).len(), 0);
        }
    }
}

/// A store that says nothing does not keep calls from who is known, and holds up one of them.
#[test]
fn who_is_known_is_called_though_the_store_that_is_read_gives_no_answer() {
    let mut bench = bench(1, Location::Shared);
    let home = stored(&bench, "carol", HOME);
    tell(&mut bench, &home);
    bench.caller(0, &to_user("INVITE", "carol", "a"));
    let (worker, of) = sought(&mut bench)[0];
    let answered = false;
    let left = mail(&mut bench, worker, Mail::Sought { of, answered });
    assert_eq!(rung(&left), [HOME]);
    let left = bench.caller(0, &to_user("INVITE", "carol", "b"));
    assert_eq!(rung(&left), [HOME]);
    assert_eq!(sought(&mut bench).len(), 0);
    assert_eq!(bench.count(Counter::LocationUnavailable), 0);
    // Somebody else is asked for all the same, and is not said to be away.
    bench.caller(0, &to_user("OPTIONS", "dave", "c"));
    let (worker, of) = sought(&mut bench)[0];
    let left = mail(&mut bench, worker, Mail::Sought { of, answered });
    assert_eq!(status(&to_caller(&left)), "503");
}

/// Who removes all of her contacts removes those that are not back yet.
#[test]
fn who_registers_while_she_is_back_in_part_is_told_of_all() {
    let mut bench = bench(1, Location::Own);
    let mut alice = Device::asking(&mut bench, "alice");
    let (one, other) = ("sip:alice@10.77.1.98", "sip:alice@10.77.1.99");
    let record = stored(&bench, "alice", one);
    tell(&mut bench, &record);
    let removal = alice
        .register("Contact: *\r\nExpires: 0\r\n")
        .replace("Contact: <sip:alice@10.77.1.66:5070>\r\n", "");
    assert!(bench.phone(0, &removal).is_empty(), "it waits");
    let asked = sought(&mut bench);
    let left = answer(&mut bench, asked[0], Some(other));
    let ok = only(&left, ACCESS, PHONE);
    assert_eq!((status(&ok), header(&ok, "Contact").as_str()), ("200", ""));
    let mut removed: Vec<_> = letters(&mut bench)
        .into_iter()
        .map(|heard| (heard.told, heard.uri))
        .collect();
    removed.sort_by(|one, other| one.1.cmp(&other.1));
    let gone = |uri: &str| (Told::Removed, uri.to_owned());
    // The store may have more than it has told.
    assert_eq!(removed, [gone("*"), gone(one), gone(other)]);
}

fn told(bench: &mut Bench) -> Vec<String> {
    // As many turns as it takes to look at all slots.
    for _ in 0..200 {
        bench.turn();
    }
    let heard = letters(bench).into_iter();
    let mut told: Vec<_> = heard
        .map(|heard| {
            assert_eq!(heard.told, Told::Bound);
            format!("{} {}", heard.uri, heard.cseq)
        })
        .collect();
    told.sort();
    told
}

fn pass(bench: &mut Bench, has: &[Record<'_>]) {
    mail(bench, 0, Mail::Loading);
    for record in has {
        tell(bench, record);
    }
    mail(bench, 0, Mail::Loaded);
}

/// A store that has lost some is told them again, whoever had registered them, and nothing else.
#[test]
fn what_a_shared_store_has_lost_is_told_again() {
    let mut bench = bench(1, Location::Shared);
    load(&mut bench);
    let mut alice = Device::new(&mut bench, "alice");
    let (home, office) = (
        stored(&bench, "carol", HOME),
        stored(&bench, "carol", OFFICE),
    );
    let older = Record { cseq: 4, ..home };
    let home = Record { cseq: 5, ..home };
    for record in [&home, &office] {
        tell(&mut bench, record);
    }
    letters(&mut bench);
    bench.pass_ms(8);
    let (own, at_home) = (
        format!("sip:alice@10.77.1.66:5070 {}", alice.cseq),
        format!("{HOME} 5"),
    );
    let at_office = format!("{OFFICE} 1");
    // Emptied, and so it was twice.
    for _ in 0..2 {
        pass(&mut bench, &[]);
        assert_eq!(told(&mut bench), [&*own, &*at_home, &*at_office]);
    }
    // It has one of them, and one as it was before: it was set back.
    pass(&mut bench, &[older, office]);
    assert_eq!(told(&mut bench), [&*own, &*at_home]);
    // What is registered while it tells is on its way there.
    mail(&mut bench, 0, Mail::Loading);
    tell(&mut bench, &home);
    tell(&mut bench, &office);
    bench.pass_ms(10);
    assert_eq!(
        status(&bench.phone_gets(0, &alice.register("Expires: 600\r\n"))),
        "200"
    );
    assert_eq!(told(&mut bench).len(), 1);
    mail(&mut bench, 0, Mail::Loaded);
    assert_eq!(told(&mut bench), [""; 0]);
    // One that has all is told nothing, and so is one that nobody but this box writes to.
    let by_alice = Record {
        cseq: alice.cseq,
        ..stored(&bench, "alice", "sip:alice@10.77.1.66:5070")
    };
    assert_eq!(told(&mut bench), [""; 0]);
    let mut own = self::bench(1, Location::Own);
    load(&mut own);
    Device::new(&mut own, "alice");
    letters(&mut own);
    own.pass_ms(8);
    pass(&mut own, &[by_alice]);
    assert_eq!(told(&mut own), [""; 0]);
}

/// Another is looked for from its beginning, wherever the one before was.
#[test]
fn a_pass_that_is_begun_anew_forgets_what_the_one_before_has_found() {
    let mut bench = bench(1, Location::Shared);
    load(&mut bench);
    let home = stored(&bench, "carol", HOME);
    tell(&mut bench, &home);
    bench.pass_ms(8);
    mail(&mut bench, 0, Mail::Loading);
    tell(&mut bench, &home);
    pass(&mut bench, &[]);
    assert_eq!(told(&mut bench), [format!("{HOME} 1")]);
}
