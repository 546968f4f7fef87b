//! What the oracle must not take for a fault, and what it must: a subscriber's MESSAGE at a box of
//! two workers.

use std::net::SocketAddr;
use std::rc::Rc;

use trunkline_dataplane::settings::Authentication;
use trunkline_dataplane::sip::Id;
use trunkline_dataplane::sip::digest::cache::Lifetimes;
use trunkline_dataplane::tick::Tick;

use super::Oracle;
use super::choice::NO_ANSWER_MS;
use super::ledger::Ledger;
use super::requests::sent;
use crate::sim::network::Body;
use crate::sim::network::Packet;
use crate::sim::phone::CHALLENGES;
use crate::sim::phone::Kind;
use crate::sim::phone::Phone;
use crate::sim::phone::answer_name;
use crate::sim::sip::Draft;
use crate::sim::sip::Sip;
use crate::sim::sip::host;
use crate::sim::site::PHONES;
use crate::sim::site::Site;

const WORKERS: u8 = 2;
const USER: &str = "known1";
/// How long a worker believes the store.
const KNOWN_MS: u64 = 4_000;
const URI: &str = "sip:1@box";

struct Scene {
    oracle: Oracle,
    site: Site,
    phone: Phone,
    source: SocketAddr,
    nonces: u32,
}

impl Scene {
    fn new() -> Scene {
        let rules = Authentication::default();
        let lifetimes = Lifetimes {
            known_ms: KNOWN_MS,
            ..rules.lifetimes
        };
        let domain = Some(Authentication { lifetimes, ..rules });
        let site = Site {
            domain,
            ..Site::PLAIN
        };
        Scene {
            oracle: Oracle::new(site, WORKERS, false),
            site,
            phone: Phone::new(Kind::Known, 1, "SHA-256"),
            source: (site.nets[0].host(PHONES.start), 5060).into(),
            nonces: 0,
        }
    }

    /// A call from `first` on that this worker owns.
    fn call_of(&self, worker: usize, first: usize) -> usize {
        let owner = |call: &usize| {
            let text = format!(
                "OPTIONS sip:box SIP/2.0\r\nVia: v\r\nFrom: f\r\nTo: t\r\nCall-ID: {}\r\n\
                 CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
                call_id(*call)
            );
            let request = Sip::read(text).unwrap();
            self.site.worker_of(&request, WORKERS) == worker
        };
        (first..first + 64).find(owner).unwrap()
    }

    fn message(&mut self, call: usize, branch: &str) -> Rc<Sip> {
        self.request("MESSAGE", call, branch)
    }

    /// A request by this branch, with credentials where the phone has a nonce.
    fn request(&mut self, method: &str, call: usize, branch: &str) -> Rc<Sip> {
        let mut draft = Draft::new(format_args!("{method} {URI} SIP/2.0"));
        let via = format!("SIP/2.0/UDP {};rport;branch=z9hG4bK-{branch}", self.source);
        draft.push("Via", via);
        draft.push("From", format_args!("<sip:{USER}@example.com>;tag=a"));
        draft.push("To", "<sip:1@box>");
        draft.push("Call-ID", call_id(call));
        draft.push("CSeq", format_args!("1 {method}"));
        if let Some(value) = self.phone.prove(method, URI) {
            draft.push(answer_name(method), value);
        }
        draft.finish("").unwrap()
    }

    /// The box's challenge to a request, with a nonce that it has not given yet.
    fn challenge(&mut self, request: &Sip, stale: &str) -> Rc<Sip> {
        self.nonces += 1;
        let (status, name) = match request.method() {
            "REGISTER" => ("401 Unauthorized", CHALLENGES[1]),
            _ => ("407 Proxy Authentication Required", CHALLENGES[0]),
        };
        let mut draft = Draft::new(format_args!("SIP/2.0 {status}"));
        let (ip, port) = (self.source.ip(), self.source.port());
        let stamp = format!(";rport={port};received={ip};");
        draft.push("Via", request.get("Via").replace(";rport;", &stamp));
        for name in ["From", "Call-ID", "CSeq"] {
            draft.push(name, request.get(name));
        }
        let tag = format!("<sip:1@box>;tag=box{}", request.branch());
        draft.push("To", tag);
        for algorithm in ["SHA-256", "MD5"] {
            let value = format!(
                "Digest realm=\"example.com\",nonce=\"{:032}\",algorithm={algorithm},qop=\"auth\"{stale}",
                self.nonces
            );
            draft.push(name, value);
        }
        draft.finish("").unwrap()
    }

    fn enters(&mut self, now_ms: u64, request: &Rc<Sip>) {
        let packet = self.packet(request, self.source, self.site.listen(0));
        self.oracle.enters(Tick::ms(now_ms), &packet);
    }

    fn leaves(&mut self, now_ms: u64, response: &Rc<Sip>) -> Result<(), String> {
        let packet = self.packet(response, self.site.listen(0), self.source);
        let seen = self.oracle.leaves(Tick::ms(now_ms), 0, &packet);
        seen.map_err(|fault| fault.why)
    }

    fn packet(&self, sip: &Rc<Sip>, source: SocketAddr, destination: SocketAddr) -> Packet {
        Packet {
            source,
            destination,
            body: Body::Sip(sip.clone()),
            damage: None,
        }
    }

    fn settle(&mut self) -> Result<(), String> {
        self.oracle.settle().map_err(|fault| fault.why)
    }

    /// The phone asks without credentials in a call of this worker, and has a nonce of it then.
    fn learn(&mut self, call: usize) {
        let request = self.message(call, "learns");
        self.enters(1_000, &request);
        let challenge = self.challenge(&request, "");
        self.leaves(1_000, &challenge).unwrap();
        assert!(self.phone.learn(&challenge));
    }
}

fn call_id(call: usize) -> String {
    format!("{call}-of-the-scene")
}

/// What was asked of another worker has waited in its transaction, which says again what it said.
#[test]
fn a_challenge_is_repeated_where_its_request_has_waited_for_who_made_the_nonce() {
    for waits in [true, false] {
        let mut scene = Scene::new();
        let (first, own) = (scene.call_of(0, 0), scene.call_of(0, 100));
        let elsewhere = scene.call_of(1, 200);
        scene.learn(first);
        for worker in 0..2 {
            let now = Tick::ms(1_000);
            scene.oracle.hears(now, (worker, USER), None, Some(true));
        }
        // Another request uses the count before: the nonce is stale.
        let phone = scene.phone.clone();
        let before = scene.message(first, "before");
        scene.phone = phone;
        scene.enters(1_090, &before);
        let call = if waits { elsewhere } else { own };
        let request = scene.message(call, "once");
        scene.enters(1_100, &request);
        let challenge = scene.challenge(&request, ",stale=true");
        scene.leaves(1_100, &challenge).unwrap();

        scene.enters(1_600, &request);
        let again = scene.leaves(1_600, &challenge);
        assert_eq!(again.is_ok(), waits, "{again:?}");
        scene.enters(2_600, &request);
        let anew = scene.challenge(&request, ",stale=true");
        let anew = scene.leaves(2_600, &anew);
        assert_eq!(anew.is_ok(), !waits, "{anew:?}");
    }
}

/// Which of a step's mail a worker reads first is not said: what joins those who wait before they are
/// served has a transaction, though nobody asks for it.
#[test]
fn a_challenge_is_repeated_where_its_request_came_with_the_word_of_its_user() {
    for comes_ms in [1_100, 1_150] {
        for is_same in [true, false] {
            let mut scene = Scene::new();
            let call = scene.call_of(0, 0);
            scene.learn(call);
            let now = Tick::ms(1_100);
            scene.oracle.hears(now, (0, USER), None, Some(true));
            let phone = scene.phone.clone();
            let before = scene.message(call, "before");
            scene.phone = phone;
            scene.enters(1_050, &before);
            let replayed = scene.message(call, "replayed");
            scene.enters(comes_ms, &replayed);
            let challenge = scene.challenge(&replayed, ",stale=true");
            scene.leaves(comes_ms, &challenge).unwrap();

            let anew = scene.challenge(&replayed, ",stale=true");
            let (first, other) = match is_same {
                true => (&challenge, &anew),
                false => (&anew, &challenge),
            };
            scene.enters(1_600, &replayed);
            let again = scene.leaves(1_600, first);
            let may_be = comes_ms == 1_100 || !is_same;
            assert_eq!(again.is_ok(), may_be, "{again:?}");
            if may_be {
                // Once it is known which, it stays so.
                scene.enters(2_600, &replayed);
                assert!(scene.leaves(2_600, other).is_err());
            }
        }
    }
}

/// The second question is another request's; the copy of what was sent on ends in its transaction.
#[test]
fn nothing_need_come_of_a_copy_of_what_was_sent_on() {
    let mut scene = Scene::new();
    let call = scene.call_of(0, 0);
    scene.learn(call);
    let who = (0, USER);
    scene.oracle.hears(Tick::ms(1_000), who, None, Some(true));
    let request = scene.message(call, "forks");
    scene.enters(1_100, &request);
    assert!(
        scene.settle().is_err(),
        "it was neither answered nor sent on"
    );

    let epoch = scene.oracle.epoch;
    let ledger = scene.oracle.calls.get_mut(&call).unwrap();
    let callee = (scene.site.nets[1].host(2), 5060).into();
    let packet = Packet {
        source: scene.site.listen(1),
        destination: callee,
        body: Body::Sip(request.clone()),
        damage: None,
    };
    let at = ledger.asked.len() - 1;
    let mut branch = sent(epoch, Tick::ms(1_100), &packet, &request, Some(at), 1);
    branch.unreachable = Some(Tick::ms(1_200));
    ledger.sent.push(branch);

    // What was known is forgotten, and somebody else asks.
    let later = Tick::ms(1_000 + KNOWN_MS + 1);
    scene.enters(later.as_ms(), &request);
    let question = Some(Id::new(1, 1));
    scene.oracle.asks(later, who, question).unwrap();
    let answered = later.plus_ms(50);
    scene.oracle.hears(answered, who, question, Some(true));
    scene.settle().unwrap();

    // Who had asked has given up, and one more asks: the copy has never waited.
    let later = answered.plus_ms(KNOWN_MS + 1);
    scene.enters(later.as_ms(), &request);
    scene.oracle.asks(later, who, question).unwrap();
    let other = scene.message(call, "other");
    scene.enters(later.as_ms(), &other);
    let another = Some(Id::new(2, 1));
    scene.oracle.asks(later, who, another).unwrap();
    scene
        .oracle
        .hears(later.plus_ms(50), who, another, Some(true));
    assert!(scene.settle().is_err(), "the other one has waited");
}

/// Of a nonce the box knows the request with the highest count alone.
#[test]
fn a_repetition_may_be_challenged_once_a_later_request_has_come() {
    let mut scene = Scene::new();
    let call = scene.call_of(0, 0);
    scene.learn(call);
    let now = Tick::ms(1_100);
    scene.oracle.hears(now, (0, USER), None, Some(true));
    let request = scene.message(call, "first");
    scene.enters(1_100, &request);
    let at = scene.oracle.calls[&call].asked.len() - 1;
    let stale = scene.challenge(&request, ",stale=true");
    let refuses = |scene: &mut Scene| {
        let asked = &scene.oracle.calls[&call].asked[at];
        let (guard, claim) = (scene.oracle.guard.as_mut(), asked.claim.as_ref());
        let (guard, claim) = (guard.unwrap(), claim.unwrap());
        guard.passes(claim, (call, at)).unwrap();
        guard.answers(now, 0, (call, at), asked, claim, &stale)
    };
    assert!(refuses(&mut scene).is_err(), "its count was new");
    let later = scene.message(call, "later");
    scene.enters(1_100, &later);
    assert_eq!(refuses(&mut scene), Ok(true));
}

/// The contact of a REGISTER may be gone when it comes again, which is for the registrar to say.
#[test]
fn a_register_that_comes_again_may_be_challenged() {
    for (method, may_be) in [("MESSAGE", false), ("REGISTER", true)] {
        let mut scene = Scene::new();
        let call = scene.call_of(0, 0);
        scene.learn(call);
        let now = Tick::ms(1_100);
        scene.oracle.hears(now, (0, USER), None, Some(true));
        let request = scene.request(method, call, "again");
        scene.enters(1_100, &request);
        let stale = scene.challenge(&request, ",stale=true");
        let asked = scene.oracle.calls[&call].asked.last().unwrap();
        let at = scene.oracle.calls[&call].asked.len() - 1;
        let (guard, claim) = (scene.oracle.guard.as_mut(), asked.claim.as_ref());
        let (guard, claim) = (guard.unwrap(), claim.unwrap());
        guard.passes(claim, (call, at)).unwrap();
        let answer = guard.answers(now, 0, (call, at), asked, claim, &stale);
        assert_eq!(answer.is_ok(), may_be, "{method}");
    }
}

/// Which of a step's mail a worker reads first is not said.
#[test]
fn a_worker_may_ask_for_whom_it_is_told_of_in_the_same_step() {
    let mut scene = Scene::new();
    let call = scene.call_of(0, 0);
    scene.learn(call);
    let (who, question) = ((0, USER), Some(Id::new(1, 1)));
    let now = Tick::ms(1_100);
    scene.oracle.hears(now, who, None, Some(true));
    let request = scene.message(call, "meets");
    scene.enters(1_100, &request);
    scene.oracle.asks(now, who, question).unwrap();
    scene.oracle.asks(now, who, None).unwrap();
    scene.oracle.check_waiting(now).unwrap();
    assert!(scene.settle().is_err(), "it is served in this step");
    let later = Tick::ms(1_200);
    for question in [question, None] {
        assert!(scene.oracle.asks(later, who, question).is_err());
    }
}

/// What is said of a user is for all who wait for that; that nobody knows is not.
#[test]
fn an_answer_to_an_earlier_question_serves_who_waits_now() {
    let mut scene = Scene::new();
    let call = scene.call_of(0, 0);
    scene.learn(call);
    let request = scene.message(call, "waits");
    scene.enters(1_100, &request);
    let (who, now) = ((0, USER), Tick::ms(1_100));
    let (before, question) = (Some(Id::new(0, 1)), Some(Id::new(1, 1)));
    scene.oracle.asks(now, who, question).unwrap();
    scene.oracle.hears(now.plus_ms(10), who, before, None);
    scene.settle().unwrap();
    scene.oracle.hears(now.plus_ms(20), who, before, Some(true));
    assert!(scene.settle().is_err(), "nothing came of it");
}

/// A request in the dialog of a call, by the box's own Route.
fn within(method: &str, cseq: u32) -> Rc<Sip> {
    let mut draft = Draft::new(format_args!("{method} {URI} SIP/2.0"));
    draft.push("Via", format_args!("SIP/2.0/UDP v;branch=z9hG4bK-{cseq}"));
    draft.push("Route", ROUTE);
    draft.push("From", format_args!("<sip:{USER}@example.com>;tag=a"));
    draft.push("To", "<sip:1@box>;tag=b");
    draft.push("Call-ID", call_id(0));
    draft.push("CSeq", format_args!("{cseq} {method}"));
    draft.finish("").unwrap()
}

const ROUTE: &str = "<sip:box;lr>";

/// After a restart an ACK goes on by the cookie, and a PRACK by a proof: the box knows no more of the call than before.
#[test]
fn nobody_is_at_home_where_only_what_takes_no_call_up_has_passed() {
    for (method, is_known) in [("ACK", false), ("PRACK", false), ("UPDATE", true)] {
        let mut scene = Scene::new();
        let (now, epoch) = (Tick::ms(1_000), scene.oracle.epoch);
        let mut ledger = Ledger::default();
        ledger.recorded.push(ROUTE.to_owned());
        let passed = within(method, 1);
        let packet = scene.packet(&passed, scene.source, scene.site.listen(0));
        let at = ledger.ask(now, epoch, &packet, 0, &passed, false);
        let branch = sent(epoch, now, &packet, &passed, Some(at), 1);
        ledger.sent.push(branch);
        let invite = within("INVITE", 2);
        let packet = scene.packet(&invite, scene.source, scene.site.listen(0));
        let at = ledger.ask(now, epoch, &packet, 0, &invite, false);
        let is_claim = scene.oracle.is_claim(now, 0, &mut ledger, at);
        assert_eq!(is_claim, !is_known, "{method}");
    }
}

/// A phone whose NAT gives it another port is told there, also what was said before.
#[test]
fn a_copy_of_an_ack_goes_to_where_its_party_has_spoken_from_since() {
    for has_spoken in [false, true] {
        let scene = Scene::new();
        let (now, epoch) = (Tick::ms(1_000), scene.oracle.epoch);
        let callee = (scene.site.nets[1].host(2), 5060).into();
        let mut ledger = Ledger::default();
        let begins = within("INVITE", 1).text().replace(";tag=b", "");
        let begins = Rc::new(Sip::read(begins).unwrap());
        let packet = scene.packet(&begins, scene.source, scene.site.listen(0));
        ledger.ask(now, epoch, &packet, 0, &begins, false);
        let ack = within("ACK", 1);
        let packet = scene.packet(&ack, callee, scene.site.listen(1));
        let at = ledger.ask(now, epoch, &packet, 1, &ack, false);
        let to_phone = scene.packet(&ack, scene.site.listen(0), scene.source);
        let branch = sent(epoch, now, &to_phone, &ack, Some(at), 1);
        ledger.sent.push(branch);
        let moved = SocketAddr::new(scene.source.ip(), 5_061);
        if has_spoken {
            let update = within("UPDATE", 2);
            let packet = scene.packet(&update, moved, scene.site.listen(0));
            ledger.ask(now, epoch, &packet, 0, &update, false);
        }
        let again = scene.packet(&ack, scene.site.listen(0), moved);
        let seen = scene.oracle.repeated(now, &mut ledger, 0, &again, &ack);
        assert_eq!(seen.is_ok(), has_spoken, "{seen:?}");
    }
}

/// What belongs to one branch of an INVITE.
fn in_branch(start: &str, method: &str, sent_by: SocketAddr) -> Rc<Sip> {
    let mut draft = Draft::new(format_args!("{start}"));
    let branch = "a".repeat(32);
    let via = format!("SIP/2.0/UDP {};branch=z9hG4bK{branch}", host(sent_by.ip()));
    draft.push("Via", via);
    draft.push("From", format_args!("<sip:{USER}@example.com>;tag=a"));
    draft.push("To", "<sip:1@box>");
    draft.push("Call-ID", call_id(0));
    draft.push("CSeq", format_args!("1 {method}"));
    draft.finish("").unwrap()
}

/// Which of a step's answers the box looks at first is not said: that another target has failed,
/// or that this one rings after all.
#[test]
fn a_silent_target_may_be_passed_over_in_the_step_in_which_it_rings() {
    for (silent_ms, may_be) in [(NO_ANSWER_MS - 1, false), (NO_ANSWER_MS, true)] {
        let mut scene = Scene::new();
        let (began, epoch) = (Tick::ms(1_000), scene.oracle.epoch);
        let now = began.plus_ms(silent_ms);
        let listen = scene.site.listen(1);
        let callee = (scene.site.nets[1].host(2), 5060).into();
        let [invite, cancel] = ["INVITE", "CANCEL"]
            .map(|method| in_branch(&format!("{method} {URI} SIP/2.0"), method, listen));
        let rings = in_branch("SIP/2.0 180 Ringing", "INVITE", listen);
        let branch = scene.packet(&invite, listen, callee);
        let mut ledger = Ledger::default();
        let at = ledger.ask(began, epoch, &branch, 0, &invite, false);
        let first = sent(epoch, began, &branch, &invite, Some(at), 1);
        ledger.sent.push(first);
        scene.oracle.calls.insert(0, ledger);

        let packet = scene.packet(&rings, callee, listen);
        scene.oracle.enters(now, &packet);
        let next = sent(epoch, now, &branch, &invite, Some(at), 1);
        scene.oracle.calls.get_mut(&0).unwrap().sent.push(next);
        let packet = scene.packet(&cancel, listen, callee);
        scene.oracle.leaves(now, 1, &packet).unwrap();
        let settled = scene.settle();
        assert_eq!(settled.is_ok(), may_be, "{settled:?}");
    }
}
