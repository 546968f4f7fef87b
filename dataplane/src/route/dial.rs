//! Trunks and routes: who is calling, and who is to be called.

use std::net::Ipv4Addr;

use crate::ids::TrunkIndex;
use crate::settings::DialRoute;
use crate::settings::Trunk;

/// The trunks and the routes between them.
#[derive(Debug)]
pub struct Dial {
    trunks: Vec<Trunk>,
    routes: Vec<DialRoute>,
    /// Every source network, the longest prefix first, and last the targets, which may call
    /// as well: mask, network, whose.
    sources: Vec<(u32, u32, TrunkIndex)>,
}

impl Dial {
    /// Takes the trunks and routes as configured.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // Control refuses more trunks than an index counts.
    pub fn new(trunks: Vec<Trunk>, routes: Vec<DialRoute>) -> Dial {
        let mut sources: Vec<_> = trunks
            .iter()
            .enumerate()
            .flat_map(|(index, trunk)| {
                trunk
                    .sources
                    .iter()
                    .map(move |&(network, len)| (network, len, index as u16))
            })
            .collect();
        sources.sort_by_key(|&(_, len, _)| std::cmp::Reverse(len));
        let targets = trunks.iter().enumerate().filter_map(|(index, trunk)| {
            let target = *trunk.target?.ip();
            Some((target, 32, index as u16))
        });
        sources.extend(targets);
        let sources = sources
            .into_iter()
            .map(|(network, len, index)| {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(len.min(32)))
                    .unwrap_or(0);
                (mask, u32::from(network) & mask, TrunkIndex(index))
            })
            .collect();
        Dial {
            trunks,
            routes,
            sources,
        }
    }

    /// The trunk that `source` belongs to: the one that names it most exactly.
    #[must_use]
    pub fn trunk_of(&self, source: Ipv4Addr) -> Option<TrunkIndex> {
        let source = u32::from(source);
        let found = self
            .sources
            .iter()
            .find(|&&(mask, network, _)| source & mask == network);
        found.map(|&(.., trunk)| trunk)
    }

    /// True where `address` is one of this trunk's, though another may name it more exactly.
    #[must_use]
    pub fn belongs(&self, trunk: TrunkIndex, address: Ipv4Addr) -> bool {
        let address = u32::from(address);
        let fits = |&&(mask, network, whose): &&(u32, u32, TrunkIndex)| {
            whose == trunk && address & mask == network
        };
        self.sources.iter().any(|source| fits(&source))
    }

    /// The trunk that a request from `from` for `called` goes to: that of the first route
    /// that fits. `called` is the Request-URI without its scheme.
    #[must_use]
    pub fn route(&self, from: TrunkIndex, called: &[u8]) -> Option<TrunkIndex> {
        let fits = |route: &&DialRoute| {
            route.from.is_none_or(|trunk| trunk == from)
                && route
                    .prefix
                    .as_ref()
                    .is_none_or(|prefix| called.starts_with(prefix.as_bytes()))
        };
        self.routes.iter().find(fits).map(|route| route.to)
    }

    /// A trunk.
    #[must_use]
    pub fn trunk(&self, index: TrunkIndex) -> Option<&Trunk> {
        self.trunks.get(usize::from(index.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ListenIndex;
    use crate::ids::MediaIndex;

    fn trunk(sources: &[([u8; 4], u8)]) -> Trunk {
        Trunk {
            name: String::new(),
            sources: sources
                .iter()
                .map(|&(ip, len)| (Ipv4Addr::from(ip), len))
                .collect(),
            target: None,
            listen: ListenIndex(0),
            media: MediaIndex(0),
        }
    }

    fn route(from: Option<u16>, prefix: Option<&str>, to: u16) -> DialRoute {
        DialRoute {
            from: from.map(TrunkIndex),
            prefix: prefix.map(str::to_owned),
            to: TrunkIndex(to),
        }
    }

    #[test]
    fn the_most_exact_source_wins() {
        let dial = Dial::new(
            vec![
                trunk(&[([10, 0, 0, 0], 8)]),
                trunk(&[([10, 1, 0, 0], 16), ([0, 0, 0, 0], 0)]),
            ],
            vec![],
        );
        let of = |ip: [u8; 4]| dial.trunk_of(Ipv4Addr::from(ip)).map(|trunk| trunk.0);
        assert_eq!(of([10, 2, 0, 1]), Some(0));
        assert_eq!(of([10, 1, 0, 1]), Some(1));
        assert_eq!(of([192, 0, 2, 1]), Some(1));
        let closed = Dial::new(vec![trunk(&[([10, 0, 0, 1], 32)])], vec![]);
        assert_eq!(closed.trunk_of(Ipv4Addr::new(10, 0, 0, 2)), None);
    }

    #[test]
    fn a_target_belongs_to_its_trunk_though_another_names_it_as_source() {
        let carrier = Ipv4Addr::new(10, 0, 0, 1);
        let mut second = trunk(&[]);
        second.target = Some(std::net::SocketAddrV4::new(carrier, 5070));
        let dial = Dial::new(vec![trunk(&[([10, 0, 0, 1], 32)]), second.clone()], vec![]);
        assert_eq!(dial.trunk_of(carrier), Some(TrunkIndex(0)));
        assert!(dial.belongs(TrunkIndex(1), carrier) && dial.belongs(TrunkIndex(0), carrier));
        let alone = Dial::new(vec![second], vec![]);
        assert_eq!(alone.trunk_of(carrier), Some(TrunkIndex(0)));
        assert!(!alone.belongs(TrunkIndex(0), Ipv4Addr::new(10, 0, 0, 2)));
    }

    #[test]
    fn the_first_route_that_fits_wins() {
        let routes = vec![
            route(Some(0), Some("+44"), 1),
            route(None, Some("+4"), 2),
            route(Some(0), None, 3),
        ];
        let dial = Dial::new(vec![], routes);
        let to = |from, called: &str| {
            dial.route(TrunkIndex(from), called.as_bytes())
                .map(|trunk| trunk.0)
        };
        assert_eq!(to(0, "+4420@box"), Some(1));
        assert_eq!(to(1, "+4420@box"), Some(2));
        assert_eq!(to(0, "100@box"), Some(3));
        assert_eq!(to(1, "100@box"), None);
    }
}
