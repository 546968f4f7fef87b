//! The registrar against one that is written as the RFCs are, without a thought for its cost.

use proptest::prelude::*;
use std::collections::HashMap;

use super::*;

const USERS: [&str; 3] = ["alice", "bob", "carol"];
const CALL_IDS: [&str; 3] = ["one", "two", "three"];
const SOURCES: [&str; 2] = ["198.51.100.7:5062", "203.0.113.9:40000"];

/// Contacts by class: those of one are the same binding, each spelled its own way.
const CONTACTS: [[&str; 2]; 5] = [
    ["<sip:a@h.example>", "<sip:%61@H.example;x=1>"],
    ["<sip:a@h.example:5060>", "<SIP:a@h.EXAMPLE:5060>;y=2"],
    [
        "<sip:b@[2001:db8::1];transport=udp>",
        "<sip:b@[2001:DB8:0::1];Transport=UDP>",
    ],
    [
        "<sip:c@h>;+sip.instance=\"<urn:1>\";reg-id=1",
        "<sip:d@h>;reg-id=1;+sip.instance=\"<urn:1>\"",
    ],
    [
        "<sip:c@h>;+sip.instance=\"<urn:1>\";reg-id=2",
        "<sip:a@h.example>;+sip.instance=\"<urn:1>\";reg-id=02",
    ],
];

const CAPACITY: u32 = 6;
const RULES: (u32, u32, u32, usize) = (20, 100, 50, 3);

#[derive(Clone, Debug)]
enum Step {
    Send(Request),
    /// The one that was sent so many before.
    Again(usize),
    PassMs(u64),
}

#[derive(Clone, Debug)]
struct Request {
    user: usize,
    call_id: usize,
    cseq: u32,
    /// Its own.
    branch: u32,
    source: usize,
    expires: Option<u32>,
    star: bool,
    /// Class, spelling, interval, q.
    contacts: Vec<(usize, usize, Option<u32>, u16)>,
}

impl Request {
    fn sent(&self) -> Sent {
        let mut lines = Vec::new();
        if let Some(expires) = self.expires {
            lines.push(format!("Expires: {expires}"));
        }
        if self.star {
            lines.push("Contact: *".to_owned());
        }
        for (class, spelling, expires, q) in &self.contacts {
            let expires = expires.map_or_else(String::new, |s| format!(";expires={s}"));
            let contact = CONTACTS[*class][*spelling];
            lines.push(format!("Contact: {contact}{expires};q=0.{q:03}"));
        }
        Sent {
            user: USERS[self.user].to_owned(),
            call_id: CALL_IDS[self.call_id],
            cseq: self.cseq,
            branch: format!("{}-{}", self.cseq, self.branch),
            source: SOURCES[self.source],
            lines: lines.join("\r\n"),
        }
    }

    fn mark(&self) -> (u32, u32) {
        (self.cseq, self.branch)
    }
}

fn request() -> impl Strategy<Value = Request> {
    let seconds = prop::sample::select(vec![0, 0, 10, 20, 30, 60, 200]);
    let contact = (
        0..CONTACTS.len(),
        0..2_usize,
        prop::option::of(seconds.clone()),
        prop::sample::select(vec![0_u16, 500, 999]),
    );
    let who = (
        0..USERS.len(),
        0..CALL_IDS.len(),
        1_u32..8,
        0..SOURCES.len(),
    );
    let what = (
        prop::option::of(seconds),
        prop::bool::weighted(0.1),
        prop::collection::vec(contact, 0..4),
    );
    (who, what).prop_map(
        |((user, call_id, cseq, source), (expires, star, contacts))| {
            let contacts = if star { Vec::new() } else { contacts };
            Request {
                user,
                call_id,
                cseq,
                branch: 0,
                source,
                expires,
                star,
                contacts,
            }
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => request().prop_map(Step::Send),
        3 => (0..6_usize).prop_map(Step::Again),
        2 => (1..25_000_u64).prop_map(Step::PassMs),
    ]
}

#[derive(Clone, Debug, PartialEq)]
struct Bound {
    class: usize,
    spelling: usize,
    expires: Tick,
    taken: Tick,
    q: u16,
    call_id: usize,
    mark: (u32, u32),
    source: usize,
}

#[derive(Default)]
struct Model {
    users: HashMap<usize, Vec<Bound>>,
    /// One more takes the place of the oldest.
    replaces_oldest: bool,
    /// By user and Call-ID.
    undone: HashMap<(usize, usize), Undone>,
}

/// The last REGISTER of a Call-ID that no binding tells of.
#[derive(Clone, Debug)]
struct Undone {
    cseq: u32,
    /// Of several with this CSeq that were put here at one moment any may be the one that is remembered.
    branches: Vec<u32>,
    since: Tick,
    /// When none of them comes again.
    until: Tick,
}

impl Model {
    fn remember(&mut self, user: usize, call_id: usize, mark: (u32, u32), now: Tick) {
        let (cseq, branch) = mark;
        let known = self.undone.remove(&(user, call_id));
        let mut undone = Undone {
            cseq,
            branches: vec![branch],
            since: now,
            until: now.plus_ms(32_000),
        };
        if let Some(known) = known.filter(|it| it.until > now && it.cseq >= cseq) {
            if known.cseq > cseq {
                (undone.cseq, undone.since) = (known.cseq, known.since);
                undone.branches = known.branches;
            } else if known.since == now {
                undone.branches.extend(known.branches);
            }
        }
        self.undone.insert((user, call_id), undone);
    }

    /// Whether it may be taken for a repetition, or for one that is out of order: it changes nothing.
    fn is_either(&self, r: &Request, now: Tick) -> bool {
        let undone = self.undone.get(&(r.user, r.call_id));
        undone.is_some_and(|it| {
            let is_one = it.until > now && it.cseq == r.cseq && it.branches.contains(&r.branch);
            is_one && it.branches.iter().any(|&other| other != r.branch)
        })
    }

    fn forget(&mut self, user: usize, bound: &Bound, now: Tick) {
        if now.since(bound.taken) < 32_000_000_000 {
            self.remember(user, bound.call_id, bound.mark, now);
        }
    }

    fn expire(&mut self, user: usize, now: Tick) {
        let all = self.users.remove(&user).unwrap_or_default();
        let (live, ended) = all.into_iter().partition(|it| it.expires > now);
        self.users.insert(user, live);
        let ended: Vec<Bound> = ended;
        for bound in ended {
            self.forget(user, &bound, now);
        }
    }

    fn count(&self) -> usize {
        self.users.values().map(Vec::len).sum()
    }

    /// `Ok(false)`: it was there before.
    fn in_order(&self, r: &Request, bound: Option<&Bound>, now: Tick) -> Result<bool, Refusal> {
        if let Some(bound) = bound
            && bound.call_id == r.call_id
        {
            return if r.cseq > bound.mark.0 {
                Ok(true)
            } else {
                Err(Refusal::OutOfOrder)
            };
        }
        match self.undone.get(&(r.user, r.call_id)) {
            Some(it) if it.until > now && it.cseq >= r.cseq => {
                match it.cseq == r.cseq && it.branches.contains(&r.branch) {
                    true => Ok(false),
                    false => Err(Refusal::OutOfOrder),
                }
            }
            _ => Ok(true),
        }
    }

    fn take(&mut self, r: &Request, now: Tick) -> Result<(), Refusal> {
        let (min_s, max_s, default_s, most) = RULES;
        let asked = |own: Option<u32>| own.or(r.expires).unwrap_or(default_s);
        if r.star && r.expires != Some(0) {
            return Err(Refusal::Star);
        }
        if r.contacts
            .iter()
            .any(|it| (1..min_s).contains(&asked(it.2)))
        {
            return Err(Refusal::TooBrief { min_s });
        }
        let lasting: Vec<_> = r.contacts.iter().filter(|it| asked(it.2) > 0).collect();
        if lasting.len() > 1 && lasting.iter().any(|it| it.0 >= 3) {
            return Err(Refusal::SeveralFlows);
        }
        // Of a class that is named twice the one that lasts.
        let mut named: Vec<(usize, usize, Option<u32>, u16)> = Vec::new();
        for &contact in &r.contacts {
            match named.iter_mut().find(|other| other.0 == contact.0) {
                None => named.push(contact),
                Some(_) if asked(contact.2) == 0 => {}
                Some(other) if asked(other.2) == 0 => *other = contact,
                Some(_) => return Err(Refusal::Twice),
            }
        }
        self.expire(r.user, now);
        let mut bound = self.users.get(&r.user).cloned().unwrap_or_default();
        let is_own = |it: &Bound| it.call_id == r.call_id && it.mark == r.mark();
        if (r.contacts.is_empty() && !r.star) || bound.iter().any(is_own) {
            return Ok(());
        }
        let before = bound.clone();
        let mut changed = Vec::new();
        if r.star {
            for it in &bound {
                if !self.in_order(r, Some(it), now)? {
                    return Ok(());
                }
            }
            changed.append(&mut bound);
        }
        let mut added = Vec::new();
        for &(class, spelling, own, q) in &named {
            let found = before.iter().find(|it| it.class == class);
            if found.is_none() && asked(own) == 0 {
                continue;
            }
            if !self.in_order(r, found, now)? {
                return Ok(());
            }
            let new = Bound {
                class,
                spelling,
                expires: now.plus_ms(u64::from(asked(own).min(max_s)) * 1_000),
                taken: now,
                q,
                call_id: r.call_id,
                mark: r.mark(),
                source: r.source,
            };
            if asked(own) == 0 {
                changed.extend(found.cloned());
                bound.retain(|it| it.class != class);
            } else if let Some(there) = bound.iter_mut().find(|it| it.class == class) {
                changed.push(std::mem::replace(there, new));
            } else {
                added.insert(0, new);
            }
        }
        let mut surplus = (bound.len() + added.len()).saturating_sub(most);
        if added.is_empty() {
            surplus = 0;
        }
        let is_old = |it: &&Bound| it.mark != r.mark() || it.call_id != r.call_id;
        if surplus > 0 && (!self.replaces_oldest || surplus > bound.iter().filter(is_old).count()) {
            return Err(Refusal::TooManyContacts);
        }
        for _ in 0..surplus {
            let oldest = bound
                .iter()
                .filter(is_old)
                .min_by_key(|it| it.taken)
                .cloned();
            bound.retain(|it| Some(it) != oldest.as_ref());
            changed.extend(oldest);
        }
        let others = self.count() - before.len();
        if !added.is_empty() && others + bound.len() + added.len() > CAPACITY as usize {
            return Err(Refusal::Full);
        }
        added.append(&mut bound);
        added.sort_by_key(|it| std::cmp::Reverse(it.q));
        self.users.insert(r.user, added);
        let is_not_before = |it: &&Bound| it.call_id != r.call_id || it.mark.0 > r.cseq;
        for was in changed.iter().filter(is_not_before) {
            self.forget(r.user, was, now);
        }
        if r.star || surplus > 0 || named.iter().any(|it| asked(it.2) == 0) {
            self.remember(r.user, r.call_id, r.mark(), now);
        }
        Ok(())
    }
}

/// What a user has: the URI, when it ends, q, CSeq, and where it came from.
type Held = Vec<(String, Tick, u16, u32, SocketAddr)>;

fn held(bench: &mut Bench, user: &str) -> Held {
    let (now, registrar) = (bench.now, &mut bench.registrar);
    let ids: Vec<_> = registrar.bindings.of(key(user)).all().collect();
    let records = ids.into_iter().filter_map(|id| {
        let it = registrar.record(id)?;
        let uri = String::from_utf8(it.uri.to_vec()).unwrap();
        let alive = it.expires > now;
        alive.then_some((uri, it.expires, it.q, it.cseq, it.received))
    });
    records.collect()
}

fn uri_of(bound: &Bound) -> String {
    let contact = CONTACTS[bound.class][bound.spelling];
    contact[1..].split('>').next().unwrap().to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn it_does_as_the_model_does(steps in prop::collection::vec(step(), 1..60), replaces_oldest: bool) {
        let (min_s, max_s, default_s, most) = RULES;
        let contacts_max = u8::try_from(most).unwrap();
        let rules = Rules { min_s, max_s, default_s, contacts_max, replaces_oldest, ..rules() };
        let mut bench = Bench::with(CAPACITY, rules);
        let mut model = Model { replaces_oldest, ..Model::default() };
        let mut sent: Vec<(Request, Tick, bool)> = Vec::new();
        for step in steps {
            let (request, first) = match step {
                Step::PassMs(ms) => {
                    bench.now = bench.now.plus_ms(ms);
                    for user in 0..USERS.len() {
                        model.expire(user, bench.now);
                    }
                    for slot in 0..CAPACITY {
                        bench.registrar.expire(slot, bench.now, |_| ());
                    }
                    continue;
                }
                Step::Send(request) => {
                    let branch = u32::try_from(sent.len()).unwrap();
                    (Request { branch, ..request }, None)
                }
                Step::Again(before) => {
                    let at = sent.len().checked_sub(before + 1);
                    let Some(at) = at else { continue };
                    let request = sent[at].0.clone();
                    let is_done = |(it, _, was_done): &&(Request, Tick, bool)| {
                        *was_done && it.branch == request.branch
                    };
                    let first = sent.iter().find(is_done).map(|(_, when, _)| *when);
                    (request, first)
                }
            };
            let before: Vec<_> = USERS.iter().map(|user| held(&mut bench, user)).collect();
            let done = bench.take(&request.sent());
            let expected = model.take(&request, bench.now);
            let errors = (done.as_ref().err(), expected.as_ref().err());
            let is_either = errors == (Some(&Refusal::OutOfOrder), None)
                && model.is_either(&request, bench.now);
            prop_assert!(errors.0 == errors.1 || is_either, "{:?} {:?}", errors, &request);
            let after: Vec<_> = USERS.iter().map(|user| held(&mut bench, user)).collect();
            for (at, held) in after.iter().enumerate() {
                let bound = model.users.get(&at).map_or(&[][..], |bound| bound);
                let known: Held = bound
                    .iter()
                    .map(|it| {
                        let source = SOURCES[it.source].parse().unwrap();
                        (uri_of(it), it.expires, it.q, it.mark.0, source)
                    })
                    .collect();
                prop_assert_eq!(held, &known, "{:?}", &request);
            }
            // What fails, and what comes again while it may, changes nothing.
            let again = first.is_some_and(|when| bench.now.since(when) < 32_000_000_000);
            if done.is_err() || again {
                prop_assert_eq!(&before, &after, "{:?}", &request);
            }
            if let Ok(lines) = &done {
                prop_assert_eq!(lines.len(), after[request.user].len());
            }
            // A text a binding, each of one block.
            let count: usize = model.count();
            prop_assert_eq!(bench.registrar.count(), count);
            prop_assert_eq!(bench.registrar.blocks().0 as usize, count);
            if first.is_none() {
                sent.push((request, bench.now, done.is_ok()));
            }
        }
    }
}
