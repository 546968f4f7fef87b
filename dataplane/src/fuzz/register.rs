//! A REGISTER, applied to a registrar in which something is bound already.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::ids::DomainIndex;
use crate::ids::ListenIndex;
use crate::sip::build;
use crate::sip::build::Response;
use crate::sip::message::Message;
use crate::sip::registrar::Change;
use crate::sip::registrar::Refusal;
use crate::sip::registrar::Register;
use crate::sip::registrar::Registered;
use crate::sip::registrar::Registrar;
use crate::sip::registrar::Rules;
use crate::sip::registrar::aor::AddressOfRecord;
use crate::sip::siphash::SipHash;
use crate::sip::uri::Uri;
use crate::text::Text;
use crate::tick::Tick;

const HASH: SipHash = SipHash::new(&[1; 16]);

/// Room for the answer: sixteen contacts and a path of a message's length.
const ANSWER_LEN_MAX: usize = 100_000;

/// Scans a datagram and applies it as a REGISTER, whatever its method. What it binds must be told in
/// an answer that can be read, a repetition must change nothing, what is refused neither, and all
/// must be free again when all has ended.
pub fn register(datagram: &[u8]) {
    let Ok(message) = Message::scan(datagram) else {
        return;
    };
    let uri = Uri::read(message.bytes(), message.to().uri);
    let aor = uri
        .ok()
        .and_then(|uri| AddressOfRecord::of(message.bytes(), &uri, HASH));
    let Some(aor) = aor.filter(|_| message.is_request()) else {
        return;
    };
    let rules = Rules {
        min_s: 60,
        max_s: 3_600,
        default_s: 600,
        contacts_max: 10,
        replaces_oldest: true,
        service_route: "<sip:box.example;lr>".to_owned(),
        keepalive_s: 0,
        flow_timer_s: 0,
    };
    let mut bench = Bench {
        registrar: Registrar::new(12, rules, HASH),
        aor,
    };
    let before = Message::scan(BEFORE).map(|before| bench.take(&before, 1));
    assert!(before.is_ok_and(|done| done.is_ok()));
    let done = bench.take(&message, 2);
    match done {
        Ok(registered) => bench.told(&message, registered),
        Err(refusal) => bench.refused(&message, refusal),
    }
    let all = bench.all();
    let again = bench.take(&message, 2);
    assert_eq!((again, bench.all()), (done, all));
    bench.ended();
}

/// What is bound before.
const BEFORE: &[u8] = b"REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\
    From: <sip:x@y>;tag=1\r\nTo: <sip:x@y>\r\nCall-ID: before\r\nCSeq: 1 REGISTER\r\n\
    Contact: <sip:a@h>;q=0.5, <sip:a@[::1]:5060;x=y>\r\n\r\n";

const NOW: Tick = Tick::ms(1_000_000);
/// When all that was bound has ended.
const LATER: Tick = NOW.plus_ms(3_600_000);

fn request<'r, 'm>(
    message: &'r Message<'m>,
    aor: &'r AddressOfRecord,
    transaction: u64,
) -> Register<'r, 'm> {
    Register {
        message,
        aor,
        domain: DomainIndex(0),
        received: SocketAddr::from(([198, 51, 100, 7], 4_321)),
        listen: ListenIndex(0),
        transaction,
    }
}

struct Bench {
    registrar: Registrar,
    aor: AddressOfRecord,
}

impl Bench {
    fn take(&mut self, message: &Message<'_>, transaction: u64) -> Result<Registered, Refusal> {
        let aor = self.aor;
        let request = request(message, &aor, transaction);
        let before = self.all();
        let mut count = 0;
        let done = self
            .registrar
            .register(&request, NOW, |change: Change<'_>| {
                assert_eq!(change.record.aor, aor.key);
                assert_eq!(change.record.user, aor.user.name());
                count += 1;
            });
        if done.is_err() {
            assert_eq!((count, self.all()), (0, before));
        }
        done
    }

    /// All bindings, as text.
    fn all(&mut self) -> Vec<String> {
        let slots = 0..self.registrar.capacity();
        let records =
            slots.filter_map(|slot| self.registrar.tenant(slot).map(|it| format!("{it:?}")));
        records.collect()
    }

    fn told(&mut self, message: &Message<'_>, registered: Registered) {
        let aor = self.aor;
        let request = request(message, &aor, 2);
        let mut room = vec![0; ANSWER_LEN_MAX];
        let mut text = Text::new(&mut room);
        self.registrar.answer(&request, registered, NOW, &mut text);
        let Ok(len) = text.finish() else {
            panic!("an answer of more than {ANSWER_LEN_MAX} bytes");
        };
        let lines = &room[..len];
        let answer = Response {
            to_tag: Some(b"ours"),
            lines,
            ..Response::new(200)
        };
        let mut out = vec![0; ANSWER_LEN_MAX + 2 * message.bytes().len()];
        let Ok(len) = build::response(message, &answer, &mut out) else {
            panic!("no response");
        };
        if len > crate::limits::SIP_LEN_MAX {
            return;
        }
        let answer = Message::scan(&out[..len]);
        let Ok(answer) = answer else {
            panic!("{:?}: {}", answer.err(), out[..len].escape_ascii());
        };
        let mut count = 0;
        for contact in answer.contacts() {
            let Ok(contact) = contact else {
                panic!("{}", out[..len].escape_ascii());
            };
            assert!(Uri::read(answer.bytes(), contact.address.uri).is_ok());
            let expires = contact.address.params(answer.bytes()).find(b"expires");
            let expires = expires.and_then(|expires| expires.value);
            assert!(expires.is_some_and(|expires| answer.text(expires) != b"0"));
            count += 1;
        }
        assert_eq!(count, self.registrar.count());
        // Each is a target once at most, those of an instance in a lane.
        let (mut target_count, mut instances) = (0, HashMap::new());
        self.registrar.targets(aor.key, NOW, |lane, record| {
            target_count += 1;
            let instance = record.instance().map(<[u8]>::to_vec);
            let other = instances.insert(lane, instance.clone());
            assert!(other.is_none_or(|other| other == instance && instance.is_some()));
        });
        assert!(target_count <= count && (target_count > 0) == (count > 0));
    }

    fn refused(&self, message: &Message<'_>, refusal: Refusal) {
        let mut room = vec![0; 4 * message.bytes().len() + 100];
        let mut text = Text::new(&mut room);
        refusal.write(message, &mut text);
        assert!(text.finish().is_ok());
        assert!((400..600).contains(&refusal.status()));
    }

    fn ended(&mut self) {
        for slot in 0..self.registrar.capacity() {
            assert_eq!(self.registrar.expire(slot, LATER, |_| ()), None);
        }
        assert_eq!((self.registrar.count(), self.registrar.blocks().0), (0, 0));
    }
}
