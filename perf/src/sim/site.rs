//! Where a box stands: the two networks it joins, its addresses there, whom it knows as
//! trunks and how it routes.
//!
//! ```text
//! alone   caller .2 ──net 0── .1 A .1 ──net 1── .2 .. .7 callees
//! chain   caller .2 ──net 0── .1 A .1 ──net 1── .2 B .1 ──net 2── .2 .. .7 callees
//! ```
//!
//! Subscribers sit at .100 and above on the callers' network, and are known to no box by their
//! addresses; the phones of those who are called at .140 and above. On the callees' network nobody answers at .9. The first digit of the number called names
//! the route, see [`Route`].

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::ops::Range;

use trunkline_dataplane::ids::TrunkIndex;
use trunkline_dataplane::ids::WorkerId;
use trunkline_dataplane::lab;
use trunkline_dataplane::lab::Lab;
use trunkline_dataplane::lab::Place;
use trunkline_dataplane::route::Network;
use trunkline_dataplane::settings::Authentication;
use trunkline_dataplane::settings::Capacity;
use trunkline_dataplane::settings::DialRoute;
use trunkline_dataplane::settings::Location;
use trunkline_dataplane::settings::Settings;
use trunkline_dataplane::settings::Trunk;
use trunkline_dataplane::settings::Upstream;
use trunkline_dataplane::sip::identity;
use trunkline_dataplane::sip::identity::Identity;
use trunkline_dataplane::sip::registrar::Rules;
use trunkline_dataplane::sip::registrar::aor::AddressOfRecord;
use trunkline_dataplane::sip::uri::Uri;
use trunkline_dataplane::span::Span;
use trunkline_dataplane::wire::VlanStack;

use super::plan::Route;
use super::sip::Sip;
use super::sip::bracketed;

/// The caller's host on its network.
pub const CALLER: u8 = 2;
/// The first of the callees' hosts; the others follow.
pub const CALLEE: u8 = 2;
/// How many callees' hosts there are.
pub const CALLEES: u8 = 6;
/// Nobody answers here.
pub const DEAD: u8 = 9;
/// Somebody whom no trunk names.
pub const STRANGER: u8 = 66;
/// The hosts of subscribers.
pub const PHONES: Range<u8> = 100..132;
/// Those of the phones of users who are called.
pub const CALLED: Range<u8> = 140..144;
/// The first of these that is behind a NAT.
pub const BEHIND_NAT: u8 = 142;

/// The trunks to whom a route leads, by index: several targets, the box itself, and the one that
/// stands for the subscribers.
const SEVERAL: u16 = 5;
const SELF: u16 = 6;
const SUBSCRIBERS: u16 = 7;

/// A network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Net {
    /// Which: the callers' is 0.
    pub number: u8,
    /// Its addresses are of IPv6.
    pub ipv6: bool,
}

impl Net {
    /// A host on it.
    #[must_use]
    pub const fn host(self, last: u8) -> IpAddr {
        let number = self.number + 1;
        if self.ipv6 {
            IpAddr::V6(Ipv6Addr::new(
                0x2001,
                0xdb8,
                0x77,
                number as u16,
                0,
                0,
                0,
                last as u16,
            ))
        } else {
            IpAddr::V4(Ipv4Addr::new(10, 77, number, last))
        }
    }

    /// True for an address of it.
    #[must_use]
    pub const fn holds(self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => !self.ipv6 && address.octets()[2] == self.number + 1,
            IpAddr::V6(address) => self.ipv6 && address.segments()[3] == self.number as u16 + 1,
        }
    }
}

/// Where a box stands.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// The networks of its two sides.
    pub nets: [Net; 2],
    /// What its own address ends with, by side.
    pub own: [u8; 2],
    /// The tags of its interfaces.
    pub vlans: [VlanStack; 2],
    /// Both sides are of one device, and differ in their tags.
    pub shared: bool,
    /// Another box stands between it and the callees.
    pub is_followed: bool,
    /// The Session-Expires that it asks for where nobody does, in seconds; 0: none.
    pub session_s: u32,
    /// Its listens keep no state (RFC 3261 §16.11).
    pub stateless: bool,
    /// First and last port of its relay, by side.
    pub relay: [(u16, u16); 2],
    /// It has a domain, and authenticates its subscribers so.
    pub domain: Option<Authentication>,
    /// Where its users' contacts are kept.
    pub location: Location,
    /// The registrar of its domain is the first callee: seconds for which it tells a phone behind a NAT
    /// that it is registered.
    pub nat_expires_s: Option<u32>,
}

impl Site {
    /// One box, IPv4 without tags: where loads are counted.
    pub const PLAIN: Site = Site {
        nets: [
            Net {
                number: 0,
                ipv6: false,
            },
            Net {
                number: 1,
                ipv6: false,
            },
        ],
        own: [1, 1],
        vlans: [VlanStack::NONE; 2],
        shared: false,
        is_followed: false,
        session_s: 0,
        stateless: false,
        relay: lab::MEDIA_PORTS,
        domain: None,
        location: Location::Nowhere,
        nat_expires_s: None,
    };

    /// Its address on a side.
    #[must_use]
    pub const fn address(&self, side: usize) -> IpAddr {
        self.nets[side].host(self.own[side])
    }

    /// Its SIP listen on a side.
    #[must_use]
    pub const fn listen(&self, side: usize) -> SocketAddr {
        SocketAddr::new(self.address(side), 5060)
    }

    /// The side whose network holds `address`.
    #[must_use]
    pub fn side_of(&self, address: IpAddr) -> Option<usize> {
        self.nets.iter().position(|net| net.holds(address))
    }

    /// The same as a lab knows it.
    #[must_use]
    pub const fn place(&self) -> Place {
        Place {
            addresses: [self.address(0), self.address(1)],
            vlans: self.vlans,
            shared: self.shared,
        }
    }

    /// The tags of a side's frames.
    #[must_use]
    pub fn tags(&self, side: usize) -> Vec<u8> {
        let vlan = self.vlans[side];
        vlan.bytes().into_iter().take(vlan.len()).collect()
    }

    /// True for one of its relay ports on a side.
    #[must_use]
    pub fn is_relay(&self, side: usize, at: SocketAddr) -> bool {
        let (first, last) = self.relay[side];
        at.ip() == self.address(side) && (first..=last).contains(&at.port())
    }

    fn peer(&self, side: usize, last: u8) -> SocketAddr {
        SocketAddr::new(self.nets[side].host(last), 5060)
    }

    fn trunk(&self, name: &str, side: u8, sources: &[u8], targets: &[u8]) -> Trunk {
        let peer = |&last: &u8| self.peer(side.into(), last);
        let whole = |peer: SocketAddr| (peer.ip(), if peer.is_ipv4() { 32 } else { 128 });
        let sources = sources.iter().map(peer).map(whole).collect();
        lab::trunk(name, side, sources, targets.iter().map(peer).collect())
    }

    /// The caller's side, four callees, several targets of which the first is dead, and the
    /// box itself.
    fn trunks(&self) -> Vec<Trunk> {
        let before = if self.own[0] == 1 { CALLER } else { 1 };
        let mut trunks = vec![self.trunk("caller", 0, &[before], &[before])];
        for number in 0..4 {
            let last = if self.is_followed {
                CALLEE
            } else {
                CALLEE + number
            };
            let sources: &[u8] = if number > 0 && self.is_followed {
                &[]
            } else {
                &[last]
            };
            trunks.push(self.trunk(&format!("callee{number}"), 1, sources, &[last]));
        }
        let several: &[u8] = if self.is_followed {
            &[DEAD, CALLEE]
        } else {
            &[DEAD, CALLEE + 4, CALLEE + 5]
        };
        trunks.push(self.trunk("several", 1, several, several));
        trunks.push(self.trunk("self", 1, &[self.own[1]], &[self.own[1]]));
        trunks
    }

    fn routes(&self) -> Vec<DialRoute> {
        let route = |from, name: Option<Route>, to: &[(u16, u16)]| {
            let digit = name.map(|route| route.digit().to_string());
            DialRoute {
                stateless: name == Some(Route::Stateless),
                ..lab::route(from, digit.as_deref(), to)
            }
        };
        let mut routes = vec![
            route(0, Some(Route::Spiral), &[(SELF, 1000)]),
            route(0, Some(Route::Loop), &[(SELF, 1000)]),
            route(SELF, Some(Route::Loop), &[(SELF, 1000)]),
            route(SELF, None, &[(1, 1000)]),
            route(0, Some(Route::Failover), &[(SEVERAL, 1000)]),
            route(0, Some(Route::Stateless), &[(1, 1000)]),
        ];
        if self.is_followed {
            routes.push(route(0, Some(Route::Last), &[(SEVERAL, 1000)]));
        } else {
            routes.extend([
                route(0, Some(Route::Parallel), &[(1, 1000), (2, 1000)]),
                route(0, Some(Route::Serial), &[(1, 1000), (2, 500)]),
                route(0, Some(Route::Mixed), &[(1, 1000), (2, 1000), (3, 500)]),
                route(0, Some(Route::Last), &[(SEVERAL, 1000), (4, 500)]),
            ]);
        }
        if !self.is_followed {
            // From one callee to another and back to itself; and what a switch behind them sends
            // back.
            routes.push(route(1, Some(Route::Across), &[(2, 1000)]));
            routes.push(route(2, Some(Route::Across), &[(2, 1000)]));
            for from in [1, 2] {
                routes.push(route(from, Some(Route::Parallel), &[(1, 1000), (2, 1000)]));
                routes.push(route(from, Some(Route::Serial), &[(1, 1000), (2, 500)]));
            }
        }
        routes.push(route(0, None, &[(1, 1000)]));
        routes.extend((1..=SEVERAL).map(|trunk| route(trunk, None, &[(0, 1000)])));
        // A subscriber may call whom the caller's trunk may.
        let of_caller = routes
            .iter()
            .filter(|route| route.from == Some(TrunkIndex(0)));
        let of_domain = of_caller.cloned().map(|route| DialRoute {
            from: Some(TrunkIndex(SUBSCRIBERS)),
            ..route
        });
        let of_domain: Vec<_> = of_domain.collect();
        routes.extend(of_domain.into_iter().filter(|_| self.domain.is_some()));
        routes
    }

    /// True for the address of a subscriber's phone.
    #[must_use]
    pub fn is_phone(&self, address: IpAddr) -> bool {
        let phones = PHONES.chain(CALLED);
        let mut phones = phones.map(|last| self.nets[0].host(last));
        self.domain.is_some() && phones.any(|phone| phone == address)
    }

    /// Where the contacts of its users are kept, if it has any.
    #[must_use]
    pub const fn kept(&self) -> Location {
        match self.domain {
            Some(_) => self.location,
            None => Location::Nowhere,
        }
    }

    /// The worker that owns a request of a subscriber, of so many: that of the call, or that which keeps
    /// the contacts of whom it registers.
    #[must_use]
    pub fn worker_of(&self, request: &Sip, workers: u8) -> usize {
        let secrets = self.place().settings(workers).secrets;
        let worker = match request.method() {
            "REGISTER" => {
                let uri = bracketed(request.get("To")).as_bytes();
                let hash = Identity::new(WorkerId(0), 0, &secrets, &[]).hash();
                let read = Uri::read(uri, Span::new(0, uri.len())).ok();
                let aor = read.and_then(|read| AddressOfRecord::of(uri, &read, hash));
                aor.map_or(WorkerId(0), |aor| aor.owner(workers))
            }
            _ => identity::owner(&secrets.hash, request.get("Call-ID").as_bytes(), workers),
        };
        worker.0.into()
    }

    /// The settings of start number `boot`.
    #[must_use]
    pub fn settings(&self, workers: u8, boot: u16, capacity: Capacity) -> Settings {
        let mut settings = self.place().settings(workers);
        settings.boot = boot;
        // New at each start; the others outlive it.
        settings.secrets.branch = [boot.to_be_bytes()[1]; 16];
        settings.secrets.cookie[0] = [self.own[0]; 16];
        for listen in &mut settings.listens {
            listen.stateless = self.stateless;
        }
        settings.trunks = self.trunks();
        for (range, (first, last)) in settings.media.iter_mut().zip(self.relay) {
            range.ports = first..=last;
        }
        if let Some(authentication) = self.domain {
            lab::add_domain(&mut settings);
            settings.authentication = authentication;
            settings.location = self.location;
            settings.registrar = rules();
        }
        if let Some(nat_expires_s) = self.nat_expires_s {
            settings.domains.iter_mut().for_each(|domain| {
                domain.registrar = false;
                domain.upstream = Some(Upstream {
                    route: lab::route(SUBSCRIBERS, None, &[(1, 1000)]),
                    nat_expires_s,
                    passes_unregistered: false,
                });
            });
        }
        settings.routes = self.routes();
        settings.session.expires_s = self.session_s;
        settings.capacity = capacity;
        settings
    }

    /// The links and routes, and everybody as a neighbour.
    #[must_use]
    pub fn network(&self, mtu: u16) -> Network {
        let phones = PHONES.chain(CALLED).filter(|_| self.domain.is_some());
        let hosts = (1..=DEAD).chain([STRANGER]).chain(phones);
        let addresses =
            hosts.flat_map(|last| [0, 1].map(|side| (side, self.nets[side].host(last))));
        let others = addresses.filter(|(_, address)| !self.place().addresses.contains(address));
        self.place().network(1, mtu, others)
    }
}

/// What its registrar grants: some contacts end while the calls go on.
#[must_use]
pub fn rules() -> Rules {
    Rules {
        min_s: 1,
        ..Rules::default()
    }
}

/// The sites of so many boxes in a row, in `labs` that say what each is like: neighbours
/// share a network, and so its family. The first has the domain.
#[must_use]
pub fn sites(
    labs: &[Lab],
    session_s: u32,
    stateless: bool,
    domain: Option<Authentication>,
) -> Vec<Site> {
    let net = |number: usize| {
        let ipv6 = match labs.get(number) {
            Some(lab) => lab.sides[0].ipv6,
            None => labs.last().is_some_and(|lab| lab.sides[1].ipv6),
        };
        Net {
            number: u8::try_from(number).unwrap_or(0),
            ipv6,
        }
    };
    let site = |(number, lab): (usize, &Lab)| Site {
        nets: [net(number), net(number + 1)],
        own: [if number == 0 { 1 } else { CALLEE }, 1],
        vlans: lab.sides.map(|side| side.vlan),
        shared: lab.shared,
        is_followed: number + 1 < labs.len(),
        session_s,
        stateless,
        relay: lab::MEDIA_PORTS,
        domain: domain.filter(|_| number == 0 && !stateless),
        location: Location::Nowhere,
        nat_expires_s: None,
    };
    labs.iter().enumerate().map(site).collect()
}
