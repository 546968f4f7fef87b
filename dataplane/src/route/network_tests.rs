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
        network.route_to(ip("10.1.1.1")).unwrap().out
    };
    assert_eq!(with(1, 2), Out::Ours(ACCESS));
    assert_eq!(with(2, 1), Out::Ours(CORE));
    assert_eq!(with(5, 5), Out::Ours(ACCESS));
}

#[test]
fn ipv6_is_routed_as_ipv4_is() {
    let network = Network::new(
        1,
        &[link(ACCESS, true), link(CORE, true)],
        &[ip("2001:db8:1::1"), ip("10.77.1.1")],
        &[
            route("2001:db8:1::", 64, None, Out::Ours(ACCESS)),
            route("::", 0, Some("fe80::1"), Out::Ours(CORE)),
            route("2001:db8:2::", 48, None, Out::Nowhere),
            route("10.9.0.0", 16, Some("fe80::1"), Out::Ours(CORE)),
        ],
        &[
            neighbour(ACCESS, "2001:db8:1::2", 2),
            neighbour(CORE, "fe80::1", 1),
            neighbour(ACCESS, "fe80::1", 99),
        ],
    );
    let hop = network.resolve(ip("2001:db8:1::2")).unwrap();
    assert_eq!((hop.interface, hop.dst_mac[5]), (ACCESS, 2));
    // A router's link-local address is one of the route's own interface.
    let hop = network.resolve(ip("2001:db8:9::9")).unwrap();
    assert_eq!((hop.interface, hop.dst_mac[5]), (CORE, 1));
    let hop = network.resolve(ip("10.9.9.9")).unwrap();
    assert_eq!((hop.address, hop.dst_mac[5]), (ip("fe80::1"), 1));
    let why = |address| network.resolve(ip(address)).unwrap_err();
    assert_eq!(why("2001:db8:1::1"), Unresolved::OurOwn);
    assert_eq!(why("2001:db8:2::1"), Unresolved::NoRoute);
    assert_eq!(why("10.1.1.1"), Unresolved::NoRoute);
    for address in ["::", "::1", "ff02::1", "fe80::1", "::ffff:10.77.1.2"] {
        assert_eq!(why(address), Unresolved::NotUnicast, "{address}");
    }
    let address = ip("2001:db8:1::3");
    assert_eq!(
        why("2001:db8:1::3"),
        Unresolved::NoNeighbour {
            interface: ACCESS,
            address
        }
    );
}
