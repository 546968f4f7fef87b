//! Bindings as the workers know them, and as the store keeps them: by numbers of this process, and by
//! names that mean the same after a restart and on another box.

use std::net::Ipv4Addr;
use std::net::SocketAddr;

use trunkline_dataplane::ids::DomainIndex;
use trunkline_dataplane::ids::ListenIndex;
use trunkline_dataplane::ids::WorkerId;
use trunkline_dataplane::letters::Told;
use trunkline_dataplane::sip::registrar::Record as Bound;
use trunkline_dataplane::sip::registrar::aor::AddressOfRecord;
use trunkline_dataplane::sip::subscriber::Subscriber;
use trunkline_dataplane::sys::clock;
use trunkline_dataplane::tick::Tick;

use crate::api::types::Registration;
use crate::config::Config;
use crate::location::Change;
use crate::location::Key;
use crate::location::Record;
use crate::location::Removal;
use crate::location::record::UnixMs;
use crate::location::record::now_ms;

/// What is called how.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// By [`DomainIndex`]: its name in lower case, and the listen of its users.
    pub domains: Vec<(String, ListenIndex)>,
    /// By [`ListenIndex`].
    pub listens: Vec<String>,
    /// By which users are spread over the workers.
    pub hash_key: [u8; 16],
    /// How many workers there are.
    pub workers: u8,
}

/// The same moment by the workers' clock and by the calendar.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    tick: Tick,
    unix_ms: UnixMs,
}

impl Moment {
    pub fn now() -> Moment {
        Moment {
            tick: clock::now(),
            unix_ms: now_ms(),
        }
    }

    fn unix_ms(self, tick: Tick) -> UnixMs {
        let (ahead_ns, ago_ns) = (tick.since(self.tick), self.tick.since(tick));
        (self.unix_ms + ahead_ns / 1_000_000).saturating_sub(ago_ns / 1_000_000)
    }

    fn tick(self, unix_ms: UnixMs) -> Tick {
        let ns = |ms: u64| ms.saturating_mul(1_000_000);
        let ahead_ns = ns(unix_ms.saturating_sub(self.unix_ms));
        let ago_ns = ns(self.unix_ms.saturating_sub(unix_ms));
        Tick(self.tick.0.saturating_add(ahead_ns).saturating_sub(ago_ns))
    }
}

impl Names {
    /// Those of a configuration.
    #[must_use]
    pub fn new(config: &Config, hash_key: [u8; 16]) -> Names {
        let domains = config.domains.iter().map(|domain| {
            let trunk = config.trunks.get(usize::from(domain.trunk.0));
            let listen = trunk.map_or(ListenIndex(0), |trunk| trunk.listen);
            (domain.name.clone(), listen)
        });
        Names {
            domains: domains.collect(),
            listens: config
                .listens
                .iter()
                .map(|listen| listen.name.clone())
                .collect(),
            hash_key,
            workers: config.workers,
        }
    }

    pub(in crate::engine) fn domain(&self, domain: DomainIndex) -> Option<&str> {
        let domain = self.domains.get(usize::from(domain.0));
        domain.map(|(name, _)| name.as_str())
    }

    /// The worker that keeps the contacts of a user.
    pub(super) fn keeper(&self, who: &Subscriber) -> Option<WorkerId> {
        let domain = self.domain(who.domain)?.as_bytes();
        let aor = AddressOfRecord::keyed(who.user.name(), domain, &self.hash_key)?;
        Some(aor.owner(self.workers))
    }

    /// By which the workers know a subscriber.
    pub(super) fn aor_of(&self, who: &Subscriber) -> Option<u64> {
        let domain = self.domain(who.domain)?.as_bytes();
        let aor = AddressOfRecord::keyed(who.user.name(), domain, &self.hash_key)?;
        Some(aor.key)
    }

    /// By which the workers know a user of a domain of ours.
    pub(super) fn aor(&self, user: &str, domain: &str) -> Option<u64> {
        let is = |(name, _): &&(String, ListenIndex)| name.eq_ignore_ascii_case(domain);
        let (domain, _) = self.domains.iter().find(is)?;
        let aor = AddressOfRecord::keyed(user.as_bytes(), domain.as_bytes(), &self.hash_key)?;
        Some(aor.key)
    }

    /// What a worker has told, for the operator.
    pub(super) fn registration(&self, bound: &Bound<'_>, now: Moment) -> Registration {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let listen = self.listens.get(usize::from(bound.listen.0));
        Registration {
            user: text(bound.user),
            domain: self.domain(bound.domain).unwrap_or_default().to_owned(),
            contact: text(bound.uri),
            parameters: text(bound.params),
            path: text(bound.path),
            received: bound.received,
            listen: listen.cloned().unwrap_or_default(),
            expires_s: bound.expires.since(now.tick) / 1_000_000_000,
            q: f64::from(bound.q) / 1000.0,
            worker: 0,
        }
    }

    /// What a worker has told, as the store keeps it.
    pub(super) fn change(&self, told: Told, bound: &Bound<'_>, now: Moment) -> Option<Change> {
        let domain = self.domain(bound.domain)?.to_owned();
        let key = Key::of(bound.uri, bound.instance(), bound.reg_id);
        let granted_ms = now.unix_ms(bound.taken);
        match told {
            Told::Removed => Some(Change::Remove(Removal {
                domain,
                user: bound.user.to_vec(),
                key,
                cseq: bound.cseq,
                call_id: bound.call_id,
                granted_ms,
            })),
            Told::Bound => Some(Change::Put(Record {
                domain,
                user: bound.user.to_vec(),
                key,
                contact: bound.uri.to_vec(),
                parameters: bound.params.to_vec(),
                path: bound.path.to_vec(),
                received: bound.received,
                listen: self.listens.get(usize::from(bound.listen.0))?.clone(),
                expires_ms: now.unix_ms(bound.expires),
                q: bound.q,
                cseq: bound.cseq,
                call_id: bound.call_id,
                transaction: bound.transaction,
                reg_id: bound.reg_id,
                granted_ms,
            })),
            Told::Row(_) => None,
        }
    }

    /// What another box has removed, as a binding of the REGISTER that did so.
    pub(super) fn removed(removal: Removal) -> Record {
        let Removal {
            domain,
            user,
            key,
            cseq,
            call_id,
            granted_ms,
        } = removal;
        let (contact, parameters, reg_id) = match key.flow() {
            Some((instance, reg_id)) => {
                let parameters = [b";+sip.instance=", instance].concat();
                (Vec::new(), parameters, Some(reg_id))
            }
            None => (key.bytes().to_vec(), Vec::new(), None),
        };
        Record {
            domain,
            user,
            key,
            contact,
            parameters,
            path: Vec::new(),
            received: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
            listen: String::new(),
            expires_ms: 0,
            q: 0,
            cseq,
            call_id,
            transaction: 0,
            reg_id,
            granted_ms,
        }
    }

    /// What the store has, as a worker keeps it, and which worker that is; `None` where no user of ours can
    /// have it. What came to a listen that is not there any more leaves by the one of its domain.
    pub(super) fn bound<'r>(
        &self,
        record: &'r Record,
        now: Moment,
    ) -> Option<(WorkerId, Bound<'r>)> {
        let is = |(name, _): &(String, ListenIndex)| *name == record.domain;
        let domain = self.domains.iter().position(is)?;
        let (name, default) = &self.domains[domain];
        let aor = AddressOfRecord::keyed(&record.user, name.as_bytes(), &self.hash_key)?;
        let listen = self.listens.iter().position(|name| *name == record.listen);
        let listen = listen.and_then(|at| u8::try_from(at).ok());
        // A clock that was set back since must not make it live longer than it was granted for.
        let lifetime = record.expires_ms.saturating_sub(record.granted_ms);
        let expires_ms = record.expires_ms.min(now.unix_ms.saturating_add(lifetime));
        let bound = Bound {
            aor: aor.key,
            domain: DomainIndex(u8::try_from(domain).ok()?),
            user: &record.user,
            uri: &record.contact,
            params: &record.parameters,
            path: &record.path,
            received: canonical(record.received),
            listen: listen.map_or(*default, ListenIndex),
            expires: now.tick(expires_ms),
            taken: now.tick(record.granted_ms.min(now.unix_ms)),
            q: record.q,
            call_id: record.call_id,
            cseq: record.cseq,
            transaction: record.transaction,
            reg_id: record.reg_id,
        };
        Some((aor.owner(self.workers), bound))
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::location::record::tests::binding;

    fn names() -> Names {
        Names {
            domains: vec![
                ("example.org".to_owned(), ListenIndex(0)),
                ("example.net".to_owned(), ListenIndex(1)),
            ],
            listens: vec!["core".to_owned(), "access".to_owned()],
            hash_key: [7; 16],
            workers: 4,
        }
    }

    #[test]
    fn what_a_store_gives_back_is_told_it_as_it_was() {
        let (names, now) = (names(), Moment::now());
        let mut record = binding("sip:alice@192.0.2.1");
        record.granted_ms -= 70_000;
        let flow = Record {
            parameters: b";+sip.instance=\"<urn:uuid:1>\";reg-id=2".to_vec(),
            key: Key::of(
                b"sip:alice@192.0.2.1",
                Some(b"\"<urn:uuid:1>\""),
                NonZeroU32::new(2),
            ),
            reg_id: NonZeroU32::new(2),
            ..record.clone()
        };
        for record in [record, flow] {
            let (keeper, bound) = names.bound(&record, now).unwrap();
            assert!(keeper.0 < 4);
            assert_eq!(
                (bound.domain, bound.listen),
                (DomainIndex(1), ListenIndex(1))
            );
            assert_eq!(bound.expires.since(now.tick) / 1_000_000_000, 3_599 + 1);
            let told = names.change(Told::Bound, &bound, now);
            assert_eq!(told, Some(Change::Put(record.clone())));
            let Some(Change::Remove(removal)) = names.change(Told::Removed, &bound, now) else {
                panic!("a removal");
            };
            assert_eq!(
                (&removal.key, removal.granted_ms),
                (&record.key, record.granted_ms)
            );
            let gone = Names::removed(removal);
            let (same, gone) = names.bound(&gone, now).unwrap();
            assert_eq!(
                (same, gone.aor, gone.reg_id),
                (keeper, bound.aor, bound.reg_id)
            );
            assert_eq!(gone.instance(), bound.instance());
            assert_eq!(
                (gone.call_id, gone.cseq, gone.taken),
                (bound.call_id, bound.cseq, bound.taken)
            );
        }
    }

    #[test]
    fn what_is_nobodys_here_is_left_and_an_unknown_listen_is_the_domains() {
        let now = Moment::now();
        let bound = |change: &dyn Fn(&mut Record)| {
            let mut record = binding("sip:alice@192.0.2.1");
            change(&mut record);
            names()
                .bound(&record, now)
                .map(|(_, bound)| (bound.listen, bound.received))
        };
        assert_eq!(
            bound(&|record| record.domain = "example.com".to_owned()),
            None
        );
        assert_eq!(bound(&|record| record.user = Vec::new()), None);
        assert_eq!(bound(&|record| record.user = vec![b'a'; 100]), None);
        let gone = bound(&|record| record.listen = "gone".to_owned()).unwrap();
        assert_eq!(gone.0, ListenIndex(1));
        let mapped = bound(&|record| record.received = "[::ffff:192.0.2.7]:5060".parse().unwrap());
        assert_eq!(mapped.unwrap().1, "192.0.2.7:5060".parse().unwrap());
    }

    /// The clock was an hour, or years, ahead when it was written.
    #[test]
    fn a_clock_that_was_set_back_makes_no_binding_live_longer_than_it_was_granted_for() {
        let now = Moment::now();
        let left_s = |ahead_ms: u64, gone_ms: u64| {
            let mut record = binding("sip:alice@192.0.2.1");
            record.granted_ms = now.unix_ms + ahead_ms - gone_ms;
            record.expires_ms = record.granted_ms + 600_000;
            let (_, bound) = names().bound(&record, now).unwrap();
            assert!(bound.taken <= now.tick);
            bound.expires.since(now.tick) / 1_000_000_000
        };
        assert_eq!(left_s(0, 0), 600);
        assert_eq!(left_s(0, 100_000), 500);
        assert_eq!(left_s(3_600_000, 0), 600);
        assert_eq!(left_s(300_000_000_000, 0), 600);
        let never = Record {
            granted_ms: u64::MAX - 1,
            expires_ms: u64::MAX,
            ..binding("sip:alice@192.0.2.1")
        };
        let (_, bound) = names().bound(&never, now).map(|(_, it)| ((), it)).unwrap();
        assert!(bound.expires.since(now.tick) <= 1_000_000);
    }

    /// Clocks that were set, and a box that has just been started.
    #[test]
    fn no_time_is_out_of_range() {
        let now = Moment {
            tick: Tick(5_000_000_000),
            unix_ms: 1_000_000,
        };
        assert_eq!(now.tick(0), Tick(0));
        assert_eq!(now.tick(u64::MAX), Tick(u64::MAX));
        assert_eq!(now.tick(1_000_001), Tick(5_001_000_000));
        assert_eq!(now.unix_ms(Tick(0)), 995_000);
        assert_eq!(now.unix_ms(Tick(6_000_000_000)), 1_001_000);
    }
}
