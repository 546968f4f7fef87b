//! The keys that say who is known by a password, and where that is kept.

use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

use toml::Spanned;
use trunkline_dataplane::limits::CONTACTS_MAX;
use trunkline_dataplane::settings::Abuse;
use trunkline_dataplane::settings::Authentication;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::digest::cache::Lifetimes;
use trunkline_dataplane::sip::registrar::Rules;

use super::File;
use super::Name;
use super::remote;
use super::remote::Elsewhere;
use crate::config::section::Section;

/// `[[domain]]`
#[derive(Debug)]
pub(in crate::config) struct Domain {
    pub name: Spanned<Host>,
    pub listen: Option<Spanned<Name>>,
    pub media: Option<Spanned<Name>>,
    /// In the order of preference.
    pub algorithms: Vec<Spanned<Offered>>,
    pub registrar: bool,
    /// The trunk of the registrar, where that is elsewhere.
    pub upstream: Option<Spanned<Name>>,
    pub nat_expires_s: u32,
    /// Keys that mean something only with a registrar elsewhere, and where they stand.
    pub of_edge: Vec<(&'static str, Range<usize>)>,
    pub passes_unregistered: bool,
    pub calls: u16,
    pub located: bool,
}

/// `[subscribers]`
#[derive(Debug, Default)]
pub(in crate::config) struct Subscribers {
    pub store: StoreKind,
    /// Where that stands.
    pub store_at: Range<usize>,
    /// Whether it does, and is not what is taken without it.
    pub store_is_said: bool,
    pub path: Option<Spanned<PathBuf>>,
    pub postgres: Option<Elsewhere>,
    pub redis: Option<Elsewhere>,
    pub http: Option<Elsewhere>,
}

impl Subscribers {
    /// The table of the store that is asked, where it has one.
    pub const fn elsewhere(&self) -> Option<&Elsewhere> {
        match self.store {
            StoreKind::Sqlite => None,
            StoreKind::Postgres => self.postgres.as_ref(),
            StoreKind::Redis => self.redis.as_ref(),
            StoreKind::Http => self.http.as_ref(),
        }
    }
}

/// Where subscribers are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::config) enum StoreKind {
    /// In a file of this box.
    #[default]
    Sqlite,
    /// On the servers of the table of its name.
    Postgres,
    Redis,
    Http,
}

/// The words for them.
pub(in crate::config) const STORES: [(&str, StoreKind); 4] = [
    ("sqlite", StoreKind::Sqlite),
    ("postgres", StoreKind::Postgres),
    ("redis", StoreKind::Redis),
    ("http", StoreKind::Http),
];

/// What becomes of requests of who has not registered by here: whether they pass.
const UNREGISTERED: [(&str, bool); 2] = [("refuse", false), ("pass", true)];

/// The host of its users' addresses, in lower case. Like a trunk it is a party to calls, and its name
/// is no longer than a trunk's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct Host(pub String);

impl Host {
    /// Whether `name` means this host: case does not count (RFC 3261 §19.1.4).
    pub fn is(&self, name: &str) -> bool {
        self.0.eq_ignore_ascii_case(name)
    }
}

impl FromStr for Host {
    type Err = ();

    fn from_str(text: &str) -> Result<Host, ()> {
        // RFC 3261 §25.1: hostname, or an IPv4 address, which is made of the same.
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.chars().all(plain)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let fits = text.len() <= 64 && text.split('.').all(label);
        fits.then(|| Host(text.to_ascii_lowercase())).ok_or(())
    }
}

/// An algorithm that is offered in a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) struct Offered(pub Algorithm);

impl FromStr for Offered {
    type Err = ();

    fn from_str(text: &str) -> Result<Offered, ()> {
        Algorithm::of(text.as_bytes()).map(Offered).ok_or(())
    }
}

impl File {
    pub(super) fn read_subscribers(&mut self, top: &mut Section<'_>) {
        top.tables("domain", "[[domain]]", |s| self.domains.extend(domain(s)));
        if let Some(mut section) = top.table("authentication", "[authentication]") {
            self.authentication = authentication(&mut section);
            section.finish();
        }
        if let Some(mut section) = top.table("abuse", "[abuse]") {
            self.abuse = abuse(&mut section);
            section.finish();
        }
        if let Some(mut section) = top.table("registrar", "[registrar]") {
            self.registrar_at = section.span();
            self.registrar = registrar(&mut section);
            section.finish();
        }
        if let Some(mut section) = top.table("subscribers", "[subscribers]") {
            let store = section.choice("store", &STORES, StoreKind::Sqlite);
            self.subscribers = Subscribers {
                store_is_said: section.says("store"),
                store_at: store.span(),
                store: store.into_inner(),
                path: section.parsed("path", "the path of a file"),
                postgres: section
                    .table("postgres", "[subscribers.postgres]")
                    .map(remote::postgres),
                redis: section
                    .table("redis", "[subscribers.redis]")
                    .map(remote::redis),
                http: section
                    .table("http", "[subscribers.http]")
                    .map(remote::http),
            };
            section.finish();
        }
    }
}

/// What a phone behind a NAT is told, in seconds.
const NAT_EXPIRES_S: u32 = 60;

fn domain(section: &mut Section<'_>) -> Option<Domain> {
    let name = section.required(
        "name",
        "the host in its users' addresses: letters, digits, - and ., 64 at most, as in \"example.org\"",
    );
    let listen = section.required("listen", "the name of a [[listen]]");
    let media = section.required("media", "the name of a [[media]] range");
    let algorithms = section.one_or_list("algorithms", "\"SHA-512-256\", \"SHA-256\" or \"MD5\"");
    let expected = "true, false, or the name of the [[trunk]] that is its registrar";
    let (registrar, upstream) = section.flag_or("registrar", expected);
    let nat_expires = section.integer("nat_expires", 20..=3_600, NAT_EXPIRES_S);
    let unregistered = section.choice("unregistered", &UNREGISTERED, false);
    // What is said to be as it is anyway misleads nobody.
    let edge = [
        (
            "nat_expires",
            *nat_expires.get_ref() != NAT_EXPIRES_S,
            nat_expires.span(),
        ),
        ("unregistered", *unregistered.get_ref(), unregistered.span()),
    ];
    let said = edge.into_iter().filter(|(_, is_other, _)| *is_other);
    let of_edge = said.map(|(key, _, at)| (key, at)).collect();
    let calls = section.integer("calls", 0..=10_000, 50);
    let located = section.flag("located");
    Some(Domain {
        name: name?,
        of_edge,
        listen,
        media,
        algorithms,
        registrar,
        upstream,
        nat_expires_s: nat_expires.into_inner(),
        passes_unregistered: unregistered.into_inner(),
        calls: u16::try_from(calls.into_inner()).unwrap_or(u16::MAX),
        located,
    })
}

fn registrar(section: &mut Section<'_>) -> Spanned<Rules> {
    let default = Rules::default();
    let contacts_max = u32::try_from(CONTACTS_MAX).unwrap_or(u32::MAX);
    let min = section.integer("min_expires", 10..=86_400, default.min_s);
    let max = section.integer("max_expires", 60..=604_800, default.max_s);
    let unnamed = section.integer("default_expires", 10..=604_800, default.default_s);
    let contacts = section.integer("contacts", 1..=contacts_max, default.contacts_max.into());
    let replaces_oldest = section.flag("replace_oldest");
    let keepalive = section.integer("keepalive_s", 0..=600, default.keepalive_s);
    let flow_timer = section.integer("flow_timer_s", 0..=3_600, default.flow_timer_s);
    let route: Option<Spanned<ServiceRoute>> = section.parsed(
        "service_route",
        "a URI in brackets, as in \"<sip:edge.example.org;lr>\"",
    );
    let rules = Rules {
        min_s: min.into_inner(),
        max_s: max.into_inner(),
        default_s: *unnamed.get_ref(),
        contacts_max: u8::try_from(contacts.into_inner()).unwrap_or(u8::MAX),
        replaces_oldest,
        service_route: route.map_or_else(String::new, |route| route.into_inner().0),
        keepalive_s: keepalive.into_inner(),
        flow_timer_s: flow_timer.into_inner(),
    };
    Spanned::new(unnamed.span(), rules)
}

/// What is told in Service-Route (RFC 3608).
#[derive(Clone, Debug)]
struct ServiceRoute(String);

impl FromStr for ServiceRoute {
    type Err = ();

    fn from_str(text: &str) -> Result<ServiceRoute, ()> {
        let uri = text
            .strip_prefix("<sip:")
            .and_then(|rest| rest.strip_suffix('>'));
        let odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | '"');
        let fits = uri.is_some_and(|uri| (1..=200).contains(&uri.len()) && !uri.contains(odd));
        fits.then(|| ServiceRoute(text.to_owned())).ok_or(())
    }
}

fn authentication(section: &mut Section<'_>) -> Spanned<Authentication> {
    let default = Authentication::default();
    let seconds = |ms: u64| u32::try_from(ms / 1000).unwrap_or(u32::MAX);
    let milliseconds = |ms: u64| u32::try_from(ms).unwrap_or(u32::MAX);
    let Lifetimes {
        known_ms,
        unknown_ms,
    } = default.lifetimes;
    let nonce_s = section.integer("nonce_s", 30..=86_400, default.nonce_s);
    let known_s = section.integer("known_s", 1..=86_400, seconds(known_ms));
    let unknown_s = section.integer("unknown_s", 1..=86_400, seconds(unknown_ms));
    let deadline_ms = section.integer(
        "deadline_ms",
        100..=31_000,
        milliseconds(default.deadline_ms),
    );
    let grid_ms = section.integer(
        "failure_grid_ms",
        10..=5_000,
        milliseconds(default.failure_grid_ms),
    );
    let read = Authentication {
        nonce_s: nonce_s.into_inner(),
        lifetimes: Lifetimes {
            known_ms: u64::from(known_s.into_inner()) * 1000,
            unknown_ms: u64::from(unknown_s.into_inner()) * 1000,
        },
        deadline_ms: u64::from(*deadline_ms.get_ref()),
        failure_grid_ms: u64::from(grid_ms.into_inner()),
    };
    Spanned::new(deadline_ms.span(), read)
}

fn abuse(section: &mut Section<'_>) -> Abuse {
    let default = Abuse::default();
    let failures = section.integer("failures", 0..=10_000, default.failures.into());
    let within_s = section.integer("within_s", 1..=86_400, default.within_s);
    let ban_s = section.integer("ban_s", 1..=604_800, default.ban_s);
    let requests_per_s = section.integer("requests_per_s", 0..=1_000_000, default.requests_per_s);
    let burst = section.integer("burst", 1..=1_000_000, default.burst);
    Abuse {
        requests_per_s: requests_per_s.into_inner(),
        burst: burst.into_inner(),
        failures: u16::try_from(failures.into_inner()).unwrap_or(u16::MAX),
        within_s: within_s.into_inner(),
        ban_s: ban_s.into_inner(),
    }
}
