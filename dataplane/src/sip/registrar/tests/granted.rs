//! What a registrar elsewhere has granted, and which REGISTERs need not go on to it.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

const CONTACTS: [&str; 2] = ["sip:alice@192.168.1.7", "sip:alice@198.51.100.7:5062"];
const SOURCES: [&str; 2] = ["198.51.100.7:5062", "198.51.100.7:6001"];
const CALLS: [&str; 2] = ["phone", "desk"];
const NAT_S: u32 = 45;

/// A REGISTER of alice for a contact, by a way and within a Call-ID.
#[derive(Clone, Copy, Debug)]
struct Asked {
    contact: usize,
    source: usize,
    call: usize,
    expires_s: u32,
}

impl Asked {
    fn sent(self, cseq: u32) -> Sent {
        let lines = format!(
            "Contact: <{}>|Expires: {}",
            CONTACTS[self.contact], self.expires_s
        );
        let sent = Sent::new(cseq, &lines);
        sent.of(CALLS[self.call]).from(SOURCES[self.source])
    }
}

impl Bench {
    /// The registrar elsewhere has bound the contact for so long, or not at all.
    fn granted(&mut self, asked: Asked, cseq: u32, granted_s: Option<u32>) {
        let contact = CONTACTS[asked.contact];
        let bound = granted_s.map_or(String::new(), |granted_s| {
            format!("Contact: <sip:c@d>, <{contact}>;expires={granted_s}\r\n")
        });
        let text = asked.sent(cseq).text();
        let rest = text.split_once("\r\n").unwrap().1;
        let rest = rest.split("Contact: ").next().unwrap();
        let text_of_200 = format!("SIP/2.0 200 OK\r\n{rest}{bound}Content-Length: 0\r\n\r\n");
        let response = Message::scan(text_of_200.as_bytes()).unwrap();
        let now = self.now;
        self.as_edge(&asked.sent(cseq), |registrar, request| {
            registrar.note_granted(request, &response, (now, now), |_| {})
        })
        .unwrap();
    }

    /// For how long the phone is told that it is bound; `None` where its REGISTER goes on.
    fn renewed(&mut self, asked: Asked, cseq: u32) -> Option<u32> {
        let now = self.now;
        let mut room = [0; 1_000];
        let mut text = Text::new(&mut room);
        let is_fresh = self.as_edge(&asked.sent(cseq), |registrar, request| {
            registrar.renew(request, NAT_S, now, &mut text)
        });
        let len = text.finish().unwrap();
        is_fresh.then(|| {
            let lines = std::str::from_utf8(&room[..len]).unwrap();
            let contact = CONTACTS[asked.contact];
            let told = lines.strip_prefix(&format!("Contact: <{contact}>;expires="));
            told.unwrap().trim_end().parse().unwrap()
        })
    }

    fn as_edge<R>(
        &mut self,
        sent: &Sent,
        act: impl FnOnce(&mut Registrar, &Register<'_, '_>) -> R,
    ) -> R {
        let text = sent.text();
        let message = Message::scan(text.as_bytes()).unwrap();
        let uri = Uri::read(message.bytes(), message.to().uri).unwrap();
        let aor = AddressOfRecord::of(message.bytes(), &uri, HASH).unwrap();
        let branch = message.text(message.via().branch.unwrap());
        let request = Register {
            message: &message,
            aor: &aor,
            domain: DomainIndex(0),
            received: sent.source.parse().unwrap(),
            listen: ListenIndex(1),
            transaction: HASH.text(branch).finish(What::Transaction.with(0)),
        };
        act(&mut self.registrar, &request)
    }
}

/// What has been granted for a contact: to whom, when, for how long, and the last CSeq.
#[derive(Clone, Copy, Debug)]
struct Grant {
    asked: Asked,
    at: Tick,
    for_s: u32,
    cseq: u32,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Granted(Asked, Option<u32>),
    Renews(Asked),
    Passes(u64),
}

fn asked() -> impl Strategy<Value = Asked> {
    let expires_s = prop_oneof![1 => Just(0), 6 => 1_u32..5_000];
    let parts = (
        0..CONTACTS.len(),
        0..SOURCES.len(),
        0..CALLS.len(),
        expires_s,
    );
    parts.prop_map(|(contact, source, call, expires_s)| Asked {
        contact,
        source,
        call,
        expires_s,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let granted_s = prop_oneof![1 => Just(None), 8 => (1_u32..4_000).prop_map(Some)];
    prop_oneof![
        2 => (asked(), granted_s).prop_map(|(asked, granted_s)| Step::Granted(asked, granted_s)),
        4 => asked().prop_map(Step::Renews),
        2 => (1_u64..1_500).prop_map(Step::Passes),
    ]
}

proptest! {
    /// A REGISTER is answered where, and only where, its contact has been granted to the same phone on
    /// the same way, and more than half of that time is left; nobody is told more than is left.
    #[test]
    fn only_what_was_granted_is_renewed(steps in prop::collection::vec(step(), 1..60)) {
        let mut bench = Bench::new();
        let mut grants: HashMap<usize, Grant> = HashMap::new();
        for (step, cseq) in steps.into_iter().zip(1..) {
            match step {
                Step::Passes(seconds) => bench.pass_s(seconds),
                Step::Granted(asked, granted_s) => {
                    bench.granted(asked, cseq, granted_s);
                    let grant = granted_s.map(|for_s| Grant { asked, at: bench.now, for_s, cseq });
                    match grant {
                        Some(grant) => grants.insert(asked.contact, grant),
                        None => grants.remove(&asked.contact),
                    };
                }
                Step::Renews(asked) => {
                    let told = bench.renewed(asked, cseq);
                    let grant = grants.get_mut(&asked.contact).filter(|grant| {
                        let left_s = u64::from(grant.for_s).saturating_sub(bench.now.since(grant.at) / 1_000_000_000);
                        let is_same = (grant.asked.source, grant.asked.call) == (asked.source, asked.call);
                        is_same && asked.expires_s > 0 && left_s * 2 > u64::from(grant.for_s) && left_s > 1
                    });
                    let expected = grant.map(|grant| {
                        prop_assert!(grant.cseq < cseq);
                        let passed_s = u32::try_from(bench.now.since(grant.at) / 1_000_000_000).unwrap();
                        let left_s = grant.for_s - passed_s;
                        let is_behind_nat = (asked.contact, asked.source) != (1, 0);
                        Ok(if is_behind_nat { left_s.min(NAT_S) } else { left_s })
                    });
                    prop_assert_eq!(told, expected.transpose()?);
                }
            }
        }
    }
}

#[test]
fn a_renewal_makes_no_binding_last_longer() {
    let asked = Asked {
        contact: 0,
        source: 0,
        call: 0,
        expires_s: 3_600,
    };
    let mut bench = Bench::new();
    bench.granted(asked, 1, Some(600));
    let due = bench.registrar.due(0);
    for cseq in 2..10 {
        bench.pass_s(30);
        assert_eq!(bench.renewed(asked, cseq), Some(NAT_S));
        assert_eq!(bench.registrar.due(0), due);
    }
    // The same once more, and one that was sent before it.
    assert_eq!(bench.renewed(asked, 9), Some(NAT_S));
    assert_eq!(bench.renewed(asked, 8), None);
}

/// An answer that has been under way for long says nothing of what came after it.
#[test]
fn a_late_answer_changes_nothing() {
    let asked = Asked {
        contact: 0,
        source: 0,
        call: 0,
        expires_s: 3_600,
    };
    let mut bench = Bench::new();
    bench.granted(asked, 7, Some(600));
    bench.granted(asked, 6, None);
    assert_eq!(bench.registrar.count(), 1);
    assert_eq!(bench.renewed(asked, 8), Some(NAT_S));
}
