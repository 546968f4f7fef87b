//! A location store that a test plays: what the workers tell it and ask of it, and what it gives back.

use trunkline_dataplane::ids::DomainIndex;
use trunkline_dataplane::ids::ListenIndex;
use trunkline_dataplane::lab::DOMAIN;
use trunkline_dataplane::letters::Told;
use trunkline_dataplane::mailbox::Mail;
use trunkline_dataplane::mailbox::Report;
use trunkline_dataplane::settings::Location;
use trunkline_dataplane::sip::effects::Locate;
use trunkline_dataplane::sip::registrar::LETTER_LEN_MAX;
use trunkline_dataplane::sip::registrar::Record;
use trunkline_dataplane::sip::registrar::aor::AddressOfRecord;
use trunkline_dataplane::tick::Tick;

use super::Bench;
use super::Left;
use super::phone;
use super::phone::PHONE;

/// A letter of a worker, as far as these tests look at it.
#[derive(Debug, PartialEq, Eq)]
pub struct Heard {
    pub told: Told,
    pub user: String,
    pub uri: String,
    pub cseq: u32,
    pub expires: Tick,
    pub taken: Tick,
}

pub fn bench(workers: u8, location: Location) -> Bench {
    let mut settings = phone::settings(workers);
    settings.location = location;
    Bench::of(&settings)
}

/// The key and the keeper of a user of the domain.
pub fn aor(bench: &Bench, user: &str) -> (AddressOfRecord, usize) {
    let hash = phone::settings(1).secrets.hash;
    let aor = AddressOfRecord::keyed(user.as_bytes(), DOMAIN.as_bytes(), &hash).unwrap();
    let workers = u8::try_from(bench.workers.len()).unwrap();
    (aor, usize::from(aor.owner(workers).0))
}

/// Takes a letter off a worker's ring.
pub fn letter(bench: &mut Bench, worker: usize) -> Option<Heard> {
    let mut room = [0; LETTER_LEN_MAX];
    let (told, record) = bench.posts[worker].letters.take(&mut room)?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Some(Heard {
        told,
        user: text(record.user),
        uri: text(record.uri),
        cseq: record.cseq,
        expires: record.expires,
        taken: record.taken,
    })
}

pub fn letters(bench: &mut Bench) -> Vec<Heard> {
    let workers = 0..bench.workers.len();
    let all =
        workers.flat_map(|worker| std::iter::from_fn(|| letter(bench, worker)).collect::<Vec<_>>());
    all.collect()
}

/// What the workers have asked of the location store.
pub fn sought(bench: &mut Bench) -> Vec<(usize, Locate)> {
    let mut all = Vec::new();
    for (worker, post) in bench.posts.iter_mut().enumerate() {
        while let Ok(report) = post.reports.pop() {
            if let Report::Seek(of) = report {
                all.push((worker, of));
            }
        }
    }
    all
}

/// A contact of a user, as a store has it.
pub fn stored<'t>(bench: &Bench, user: &'t str, uri: &'t str) -> Record<'t> {
    Record {
        aor: aor(bench, user).0.key,
        domain: DomainIndex(0),
        user: user.as_bytes(),
        uri: uri.as_bytes(),
        params: b"",
        path: b"",
        received: PHONE,
        listen: ListenIndex(0),
        expires: bench.now.plus_ms(20_000),
        taken: bench.now,
        q: 1000,
        call_id: 7,
        cseq: 1,
        transaction: 9,
        reg_id: None,
    }
}

pub fn mail(bench: &mut Bench, worker: usize, mail: Mail) -> Vec<Left> {
    assert!(bench.posts[worker].mail.post(mail).is_ok());
    bench.left.clear();
    bench.turn();
    bench.left.drain(..).collect()
}

/// The store answers a question: it has this contact, or none.
pub fn answer(bench: &mut Bench, (worker, of): (usize, Locate), uri: Option<&str>) -> Vec<Left> {
    if let Some(uri) = uri {
        let user = String::from_utf8(of.who.user.name().to_vec()).unwrap();
        let record = stored(bench, &user, uri);
        assert_eq!(record.aor, of.aor);
        assert!(bench.posts[worker].mail.post_binding(Mail::Bound, &record));
    }
    let answered = true;
    mail(bench, worker, Mail::Sought { of, answered })
}

pub fn load(bench: &mut Bench) {
    for worker in 0..bench.workers.len() {
        mail(bench, worker, Mail::Loaded);
    }
}
