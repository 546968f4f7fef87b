//! Longest prefix match over one family: prefixes cut into disjoint ranges of addresses in
//! ascending order, each with the route that wins in it.
//!
//! n prefixes make 2n + 1 ranges at most, and the longest match is one binary search: 18
//! steps for 100,000 routes. Building sorts the routes: n·log n. An address of IPv4 is
//! compared as 32 bits, so that it costs no more than before there was IPv6.

use std::net::IpAddr;
use std::ops::BitAnd;
use std::ops::BitOr;
use std::ops::Not;

use super::Route;

/// An address of one family as a number.
pub(super) trait Key:
    Copy + Ord + Default + BitAnd<Output = Self> + BitOr<Output = Self> + Not<Output = Self>
{
    /// Bits of an address.
    const LEN: u8;

    /// The number of an address; `None` for one of the other family.
    fn of(address: IpAddr) -> Option<Self>;

    /// Ones in the bits that a prefix of `length` leaves free.
    fn free_bits(length: u8) -> Self;

    /// One more; `None` beyond the last address.
    fn next(self) -> Option<Self>;
}

impl Key for u32 {
    const LEN: u8 = 32;

    fn of(address: IpAddr) -> Option<u32> {
        match address {
            IpAddr::V4(address) => Some(address.into()),
            IpAddr::V6(_) => None,
        }
    }

    fn free_bits(length: u8) -> u32 {
        u32::MAX.checked_shr(length.into()).unwrap_or(0)
    }

    fn next(self) -> Option<u32> {
        self.checked_add(1)
    }
}

impl Key for u128 {
    const LEN: u8 = 128;

    fn of(address: IpAddr) -> Option<u128> {
        match address {
            IpAddr::V6(address) => Some(address.into()),
            IpAddr::V4(_) => None,
        }
    }

    fn free_bits(length: u8) -> u128 {
        u128::MAX.checked_shr(length.into()).unwrap_or(0)
    }

    fn next(self) -> Option<u128> {
        self.checked_add(1)
    }
}

/// The routes of one family.
#[derive(Clone, Debug)]
pub(super) struct Prefixes<K> {
    /// Disjoint ranges that cover all addresses, ascending by first.
    ranges: Vec<Range<K>>,
    /// The routes that the ranges point to.
    routes: Vec<Route>,
}

#[derive(Clone, Copy, Debug)]
struct Range<K> {
    first: K,
    /// Index into the routes, or `NO_ROUTE`.
    route: u32,
}

const NO_ROUTE: u32 = u32::MAX;

/// A prefix, outer ones before those inside them.
#[derive(Clone, Copy)]
struct Prefix<K> {
    first: K,
    last: K,
    route: Route,
}

impl<K: Key> Prefixes<K> {
    /// Takes those of `routes` that are of this family.
    pub fn new(routes: &[Route]) -> Prefixes<K> {
        let prefixes = best(routes);
        Prefixes {
            ranges: flatten(&prefixes),
            routes: prefixes.iter().map(|prefix| prefix.route).collect(),
        }
    }

    /// The route of the longest prefix that holds `address`.
    pub fn find(&self, address: K) -> Option<&Route> {
        let after = self.ranges.partition_point(|range| range.first <= address);
        let range = self.ranges.get(after.checked_sub(1)?)?;
        self.routes.get(usize::try_from(range.route).ok()?)
    }
}

/// One route a prefix.
fn best<K: Key>(routes: &[Route]) -> Vec<Prefix<K>> {
    let mut best: Vec<Prefix<K>> = routes
        .iter()
        .filter(|route| route.length <= K::LEN)
        .filter_map(|&route| {
            let free = K::free_bits(route.length);
            let first = K::of(route.prefix)? & !free;
            Some(Prefix {
                first,
                last: first | free,
                route,
            })
        })
        .collect();
    // A stable sort, so that of equal metrics the first given stays first.
    best.sort_by_key(|prefix| (prefix.first, prefix.route.length, prefix.route.metric));
    best.dedup_by_key(|prefix| (prefix.first, prefix.route.length));
    best
}

/// Cuts nested prefixes into disjoint ranges.
fn flatten<K: Key>(prefixes: &[Prefix<K>]) -> Vec<Range<K>> {
    let mut ranges = vec![Range {
        first: K::default(),
        route: NO_ROUTE,
    }];
    // The prefixes that hold the present address, outermost first.
    let mut open: Vec<(K, u32)> = Vec::new();
    for (index, prefix) in (0u32..).zip(prefixes) {
        close_before(prefix.first, &mut open, &mut ranges);
        begin(&mut ranges, prefix.first, index);
        open.push((prefix.last, index));
    }
    while let Some((last, _)) = open.pop() {
        // Beyond the last address there is nothing to begin.
        if let Some(next) = last.next() {
            begin(&mut ranges, next, innermost(&open));
        }
    }
    ranges
}

/// Ends every open prefix whose last address lies before `first`.
fn close_before<K: Key>(first: K, open: &mut Vec<(K, u32)>, ranges: &mut Vec<Range<K>>) {
    while let Some(&(last, _)) = open.last() {
        if last >= first {
            return;
        }
        open.pop();
        if let Some(next) = last.next() {
            begin(ranges, next, innermost(open));
        }
    }
}

fn innermost<K>(open: &[(K, u32)]) -> u32 {
    open.last().map_or(NO_ROUTE, |&(_, route)| route)
}

/// Begins a range; one that began at the same address is replaced.
fn begin<K: Key>(ranges: &mut Vec<Range<K>>, first: K, route: u32) {
    match ranges.last_mut() {
        Some(last) if last.first == first => last.route = route,
        Some(last) if last.route == route => {}
        _ => ranges.push(Range { first, route }),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::net::Ipv6Addr;

    use proptest::prelude::*;

    use super::super::Out;
    use super::*;

    /// The rule as it is told: of all that hold the address the longest, then the
    /// lowest metric, then the first. Compared bit by bit.
    fn naive(routes: &[Route], address: IpAddr) -> Option<&Route> {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => format!("{:032b}", u32::from(address)),
            IpAddr::V6(address) => format!("{:0128b}", u128::from(address)),
        };
        routes
            .iter()
            .filter(|route| {
                let length = usize::from(route.length);
                route.prefix.is_ipv4() == address.is_ipv4()
                    && bits(route.prefix)[..length] == bits(address)[..length]
            })
            .min_by_key(|route| (128 - route.length, route.metric))
    }

    fn route(prefix: IpAddr, length: u8, metric: u32) -> Route {
        Route {
            prefix,
            length,
            gateway: None,
            out: Out::Other,
            metric,
        }
    }

    /// Prefixes drawn from few bits nest, meet and repeat.
    fn routes() -> impl Strategy<Value = Vec<Route>> {
        let four =
            (0u32..64, 0u8..=32, 0u32..3, any::<bool>()).prop_map(|(bits, length, metric, low)| {
                let bits = if low { bits | bits << 29 } else { bits << 26 };
                route(Ipv4Addr::from(bits).into(), length, metric)
            });
        let six = (0u128..64, 0u8..=128, 0u32..3, any::<bool>()).prop_map(
            |(bits, length, metric, low)| {
                let bits = if low { bits | bits << 125 } else { bits << 122 };
                route(Ipv6Addr::from(bits).into(), length, metric)
            },
        );
        proptest::collection::vec(prop_oneof![four, six], 0..60)
    }

    fn edges<K: Key + Into<A>, A: Into<IpAddr>>(routes: &[Route]) -> Vec<IpAddr> {
        let edge = |prefix: Prefix<K>| [Some(prefix.first), Some(prefix.last), prefix.last.next()];
        best::<K>(routes)
            .into_iter()
            .flat_map(edge)
            .flatten()
            .map(|key| key.into().into())
            .collect()
    }

    proptest! {
        #[test]
        fn finds_what_the_naive_match_finds(
            mut routes in routes(),
            four in proptest::collection::vec(any::<u32>(), 20),
            six in proptest::collection::vec(any::<u128>(), 20),
        ) {
            for (id, route) in (1u32..).zip(&mut routes) {
                route.gateway = Some(Ipv4Addr::from(id).into()); // tells routes apart
            }
            let (v4, v6) = (Prefixes::<u32>::new(&routes), Prefixes::<u128>::new(&routes));
            let random4 = four.iter().map(|&bits| Ipv4Addr::from(bits).into());
            let random6 = six.iter().map(|&bits| Ipv6Addr::from(bits).into());
            let edges = edges::<u32, Ipv4Addr>(&routes)
                .into_iter()
                .chain(edges::<u128, Ipv6Addr>(&routes));
            for address in edges.chain(random4).chain(random6) {
                let found = match address {
                    IpAddr::V4(address) => v4.find(address.into()),
                    IpAddr::V6(address) => v6.find(address.into()),
                };
                let expected = naive(&routes, address).map(|route| route.gateway);
                prop_assert_eq!(found.map(|route| route.gateway), expected, "to {}", address);
            }
            prop_assert!(v4.ranges.len() + v6.ranges.len() <= 2 * routes.len() + 2);
            prop_assert!(v4.ranges.is_sorted_by(|a, b| a.first < b.first));
            prop_assert!(v6.ranges.is_sorted_by(|a, b| a.first < b.first));
        }
    }
}
