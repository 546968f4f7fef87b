use proptest::prelude::*;

use super::*;

const ACCESS: InterfaceIndex = InterfaceIndex(0);
const CORE: InterfaceIndex = InterfaceIndex(1);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn link(index: InterfaceIndex, up: bool) -> Link {
    Link {
        index,
        mac: [2, 0, 0, 0, 0, index.0],
        mtu: 1500,
        up,
    }
}

fn route(prefix: &str, length: u8, gateway: Option<&str>, out: Out) -> Route {
    Route {
        prefix: ip(prefix),
        length,
        gateway: gateway.map(ip),
        out,
        metric: 0,
    }
}

fn neighbour(interface: InterfaceIndex, address: &str, last: u8) -> Neighbour {
    Neighbour {
        interface,
        address: ip(address),
        mac: [4, 0, 0, 0, 0, last],
    }
}

fn lab() -> Network {
    Network::new(
        1,
        &[
            link(ACCESS, true),
            link(CORE, true),
            link(InterfaceIndex(2), false),
        ],
        &[ip("10.77.2.1"), ip("10.77.1.1"), ip("127.0.0.1")],
        &[
            route("10.77.1.0", 24, None, Out::Ours(ACCESS)),
            route("10.77.2.0", 24, None, Out::Ours(CORE)),
            route("0.0.0.0", 0, Some("10.77.2.254"), Out::Ours(CORE)),
            route("10.77.2.128", 25, Some("10.77.1.9"), Out::Ours(ACCESS)),
            route("192.168.0.0", 16, None, Out::Other),
            route("192.168.7.0", 24, None, Out::Nowhere),
            route("172.16.0.0", 12, None, Out::Ours(InterfaceIndex(2))),
            route("172.16.0.0", 16, None, Out::Ours(InterfaceIndex(3))),
        ],
        &[
            neighbour(CORE, "10.77.2.2", 2),
            neighbour(CORE, "10.77.2.254", 254),
            neighbour(ACCESS, "10.77.1.9", 9),
            neighbour(ACCESS, "10.77.2.2", 99),
        ],
    )
}

#[test]
fn reaches_a_neighbour_on_the_link() {
    let hop = lab().resolve(ip("10.77.2.2")).unwrap();
    assert_eq!(hop.interface, CORE);
    assert_eq!(
        (hop.src_mac, hop.dst_mac),
        ([2, 0, 0, 0, 0, 1], [4, 0, 0, 0, 0, 2])
    );
    assert_eq!((hop.address, hop.mtu), (ip("10.77.2.2"), 1500));
}

#[test]
fn reaches_the_rest_through_the_gateway() {
    let hop = lab().resolve(ip("8.8.8.8")).unwrap();
    assert_eq!((hop.address, hop.dst_mac[5]), (ip("10.77.2.254"), 254));
}

#[test]
fn prefers_the_longer_prefix() {
    let hop = lab().resolve(ip("10.77.2.200")).unwrap();
    assert_eq!((hop.interface, hop.address), (ACCESS, ip("10.77.1.9")));
}

#[test]
fn says_why_there_is_no_way() {
    let network = lab();
    let why = |address| network.resolve(ip(address)).unwrap_err();
    assert_eq!(why("10.77.1.1"), Unresolved::OurOwn);
    assert_eq!(why("127.0.0.1"), Unresolved::OurOwn);
    assert_eq!(why("127.0.0.2"), Unresolved::NotUnicast);
    assert_eq!(why("239.1.1.1"), Unresolved::NotUnicast);
    assert_eq!(why("255.255.255.255"), Unresolved::NotUnicast);
    assert_eq!(why("192.168.1.1"), Unresolved::OtherInterface);
    assert_eq!(why("192.168.7.1"), Unresolved::NoRoute);
    assert_eq!(
        why("172.17.0.1"),
        Unresolved::LinkDown {
            interface: InterfaceIndex(2)
        }
    );
    assert_eq!(
        why("172.16.0.1"),
        Unresolved::LinkDown {
            interface: InterfaceIndex(3)
        }
    );
    let address = ip("10.77.1.2");
    assert_eq!(
        why("10.77.1.2"),
        Unresolved::NoNeighbour {
            interface: ACCESS,
            address
        }
    );
}

#[test]
fn an_empty_snapshot_has_no_route() {
    let network = Network::new(7, &[], &[], &[], &[]);
    assert_eq!(network.resolve(ip("10.0.0.1")), Err(Unresolved::NoRoute));
    assert_eq!(network.epoch(), 7);
}

#[test]
fn the_lower_metric_wins_and_the_first_of_equals() {
    let with = |first: u32, second: u32| {
        let mut routes = [
            route("10.0.0.0", 8, Some("10.77.1.9"), Out::Ours(ACCESS)),
            route("10.9.9.9", 8, Some("10.77.2.254"), Out::Ours(CORE)),
        ];
        routes[0].metric = first;
        routes[1].metric = second;
        let network = Network::new(1, &[], &[], &routes, &[]);
        network.route_to(Ipv4Addr::new(10, 1, 1, 1)).unwrap().out
    };
    assert_eq!(with(1, 2), Out::Ours(ACCESS));
    assert_eq!(with(2, 1), Out::Ours(CORE));
    assert_eq!(with(5, 5), Out::Ours(ACCESS));
}

/// The rule as it is told: of all that hold the address the longest, then the
/// lowest metric, then the first.
fn naive(routes: &[Route], address: u32) -> Option<&Route> {
    routes
        .iter()
        .filter(|route| {
            let shift = 32 - u32::from(route.length);
            let network = |address: u32| u64::from(address) >> shift;
            network(address) == network(bounds(route).0)
        })
        .min_by_key(|route| (32 - route.length, route.metric))
}

/// Prefixes drawn from few bits nest, meet and repeat.
fn routes() -> impl Strategy<Value = Vec<Route>> {
    let one =
        (0u32..64, 0u8..=32, 0u32..3, any::<bool>()).prop_map(|(bits, length, metric, low)| {
            let bits = if low { bits | bits << 29 } else { bits << 26 };
            Route {
                prefix: Ipv4Addr::from(bits).into(),
                length,
                gateway: None,
                out: Out::Other,
                metric,
            }
        });
    proptest::collection::vec(one, 0..40)
}

proptest! {
    #[test]
    fn finds_what_the_naive_match_finds(
        mut routes in routes(),
        random in proptest::collection::vec(any::<u32>(), 20),
    ) {
        for (id, route) in (1u32..).zip(&mut routes) {
            route.gateway = Some(Ipv4Addr::from(id).into()); // tells routes apart
        }
        let network = Network::new(1, &[], &[], &routes, &[]);
        let edges = routes.iter().flat_map(|route| {
            let (first, last) = bounds(route);
            [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
        });
        for address in edges.chain(random) {
            let expected = naive(&routes, address).map(|route| route.gateway);
            let found = network.route_to(address.into()).map(|route| route.gateway);
            prop_assert_eq!(found, expected, "to {}", Ipv4Addr::from(address));
        }
        prop_assert!(network.ranges.len() <= 2 * routes.len() + 1);
        prop_assert!(network.ranges.is_sorted_by(|a, b| a.first < b.first));
    }
}
