//! What a subscriber was last denied, and what a worker knows of one, as the operator is told.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use bench::Bench;
use bench::call::status;
use bench::phone;
use bench::phone::PHONE;
use bench::phone::credentials;
use bench::phone::ha1s;
use bench::phone::request;
use trunkline_dataplane::ids::DomainIndex;
use trunkline_dataplane::lab;
use trunkline_dataplane::mailbox::Ask;
use trunkline_dataplane::mailbox::Mail;
use trunkline_dataplane::mailbox::Query;
use trunkline_dataplane::mailbox::Report;
use trunkline_dataplane::sip::denials::Denial;
use trunkline_dataplane::sip::denials::Dossier;
use trunkline_dataplane::sip::denials::Why;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::digest::cache::Known;
use trunkline_dataplane::sip::digest::ha1::Ha1s;
use trunkline_dataplane::sip::registrar::Refusal;
use trunkline_dataplane::sip::registrar::aor::AddressOfRecord;
use trunkline_dataplane::sip::subscriber::Said;
use trunkline_dataplane::sip::subscriber::Subscriber;
use trunkline_dataplane::sip::subscriber::User;

const SHA256: Algorithm = Algorithm::Sha256;

fn who(name: &str) -> Subscriber {
    Subscriber {
        domain: DomainIndex(0),
        user: User::new(name.as_bytes()).unwrap(),
    }
}

/// All that the worker answers to a question of the operator.
fn ask(bench: &mut Bench, what: Ask) -> Vec<Report> {
    let query = Mail::Query(Query { id: 1, what });
    bench.posts[0].mail.post(query).unwrap();
    let mut all = Vec::new();
    while !matches!(all.last(), Some(Report::End { id: 1 })) {
        bench.turn();
        all.extend(bench.reports());
    }
    all.pop();
    // What it asks the store is another matter.
    all.retain(|report| !matches!(report, Report::Ask { .. }));
    all
}

fn dossier(bench: &mut Bench, name: &str) -> Dossier {
    let key = lab::settings(1).secrets.hash;
    let aor = AddressOfRecord::keyed(name.as_bytes(), lab::DOMAIN.as_bytes(), &key).unwrap();
    let (who, aor) = (who(name), aor.key);
    match ask(bench, Ask::Subscriber { who, aor })[..] {
        [Report::Dossier { dossier, .. }] => dossier,
        ref other => panic!("{other:?}"),
    }
}

fn denials(bench: &mut Bench) -> Vec<Denial> {
    let rows = ask(bench, Ask::Denials).into_iter().map(|row| match row {
        Report::Denial { denial, .. } => denial,
        other => panic!("{other:?}"),
    });
    rows.collect()
}

/// A REGISTER of `user` with a password of `name`, and what the store says of it.
fn register(
    bench: &mut Bench,
    n: u32,
    user: &str,
    (name, password): (&str, &str),
    more: &str,
    said: Said,
) {
    let call_id = format!("call-{n}");
    let challenge = bench.phone_gets(0, &request("REGISTER", user, &call_id, 1, ""));
    assert_eq!(status(&challenge), "401");
    let line = credentials(&challenge, SHA256, (name, password), "REGISTER", 1);
    bench.phone(
        0,
        &request("REGISTER", user, &call_id, 2, &format!("{line}{more}")),
    );
    for asked in bench.asked() {
        bench.said(asked, said);
    }
}

#[test]
fn each_reason_for_which_a_subscriber_is_refused_is_told() {
    let mut bench = Bench::of(&phone::settings(1));
    let alice = Said::Known(ha1s("alice", "wonderland"));
    let mut md5 = Ha1s::default();
    md5.set(Algorithm::Md5, &[7; 16]);
    let right = ("alice", "wonderland");
    register(&mut bench, 0, "alice", right, "", Said::Unavailable);
    assert_eq!(dossier(&mut bench, "alice").denial.unwrap().why, Why::Store);
    bench.pass_ms(2_000);
    register(
        &mut bench,
        1,
        "alice",
        ("alice", "looking-glass"),
        "",
        alice,
    );
    let denial = dossier(&mut bench, "alice").denial.unwrap();
    assert_eq!(
        (denial.why, denial.count, denial.source),
        (Why::Password, 2, PHONE)
    );
    assert!(denial.first < denial.last);
    register(&mut bench, 2, "alice", right, "Expires: 5\r\n", alice);
    let why = dossier(&mut bench, "alice").denial.unwrap().why;
    assert!(
        matches!(why, Why::Register(Refusal::TooBrief { .. })),
        "{why:?}"
    );
    register(
        &mut bench,
        3,
        "bob",
        ("bob", "b"),
        "",
        Said::Known(Known::Nobody),
    );
    register(&mut bench, 4, "carol", right, "", alice);
    register(
        &mut bench,
        5,
        "dave",
        ("dave", "d"),
        "",
        Said::Known(Known::Subscriber(md5)),
    );
    // In time the store has said nothing.
    register(&mut bench, 6, "erin", ("erin", "e"), "", alice);
    let mut told: Vec<_> = denials(&mut bench)
        .iter()
        .map(|denial| (denial.who, denial.why))
        .collect();
    told.retain(|(_, why)| !matches!(why, Why::Register(_)));
    told.sort_by_key(|(who, _)| who.user.name().to_vec());
    assert_eq!(
        told,
        [
            (who("bob"), Why::Nobody),
            (who("carol"), Why::Another),
            (who("dave"), Why::NoHa1),
            (who("erin"), Why::Password),
        ]
    );
    // Who is let in keeps what was denied before, for a while.
    register(&mut bench, 7, "alice", right, "", alice);
    assert_eq!(dossier(&mut bench, "alice").denial.unwrap().count, 3);
    bench.pass_ms(40_000);
}

#[test]
fn a_worker_tells_what_it_knows_of_a_subscriber() {
    let mut bench = Bench::of(&phone::settings(1));
    let nothing = dossier(&mut bench, "alice");
    assert!(nothing.known.is_none() && nothing.denial.is_none() && nothing.calls == 0);
    let alice = Said::Known(ha1s("alice", "wonderland"));
    register(&mut bench, 1, "alice", ("alice", "wonderland"), "", alice);
    let known = dossier(&mut bench, "alice").known.unwrap();
    assert!(matches!(known.known, Known::Subscriber(_)));
    assert!(known.proved.is_some() && known.kept < known.expires);
    register(
        &mut bench,
        2,
        "bob",
        ("bob", "b"),
        "",
        Said::Known(Known::Nobody),
    );
    let known = dossier(&mut bench, "bob").known.unwrap();
    assert!(matches!(known.known, Known::Nobody) && known.proved.is_none());
    bench.pass_ms(40_000);
}

#[test]
fn a_request_that_the_store_left_without_an_answer_is_told() {
    let mut bench = Bench::of(&phone::settings(1));
    let challenge = bench.phone_gets(0, &request("REGISTER", "alice", "late", 1, ""));
    let line = credentials(&challenge, SHA256, ("alice", "wonderland"), "REGISTER", 1);
    bench.phone(0, &request("REGISTER", "alice", "late", 2, &line));
    assert!(dossier(&mut bench, "alice").denial.is_none());
    bench.pass_ms(6_000);
    assert_eq!(dossier(&mut bench, "alice").denial.unwrap().why, Why::Store);
    bench.pass_ms(40_000);
}
