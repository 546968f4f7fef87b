//! Trunks and routes: who is calling, and who is to be called.

use std::collections::HashSet;
use std::net::IpAddr;
use std::net::SocketAddr;

use crate::ids::DomainIndex;
use crate::ids::TrunkIndex;
use crate::ids::TrunkTag;
use crate::settings::DialRoute;
use crate::settings::Domain;
use crate::settings::Trunk;

/// The trunks and the routes between them.
#[derive(Debug)]
pub struct Dial {
    trunks: Vec<Trunk>,
    routes: Vec<DialRoute>,
    has_stateless_routes: bool,
    /// By [`TrunkIndex`].
    tags: Vec<TrunkTag>,
    /// Every source network, the longest prefix first, and last the targets, which may call
    /// as well.
    sources: Vec<Source>,
    /// By [`DomainIndex`]: their names and trunks.
    domains: Vec<(String, TrunkIndex)>,
    /// By [`TrunkIndex`]: whose subscribers it stands for.
    domain_of: Vec<Option<DomainIndex>>,
}

/// A network that a trunk calls from.
#[derive(Clone, Copy, Debug)]
struct Source {
    /// Any address of it; its family tells whose bits are compared.
    network: IpAddr,
    /// The bits that count.
    mask: u128,
    trunk: TrunkIndex,
    tag: TrunkTag,
}

impl Source {
    fn holds(&self, address: IpAddr) -> bool {
        self.network.is_ipv4() == address.is_ipv4()
            && (bits(self.network) ^ bits(address)) & self.mask == 0
    }
}

/// An address as a number, its first bit the highest.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
        IpAddr::V6(address) => address.into(),
    }
}

impl Dial {
    /// Takes the trunks and routes as configured.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // Control refuses more trunks than an index counts.
    pub fn new(trunks: Vec<Trunk>, routes: Vec<DialRoute>, domains: &[Domain]) -> Dial {
        let tags = tags(&trunks);
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
        let targets = trunks.iter().enumerate().flat_map(|(index, trunk)| {
            trunk
                .targets
                .iter()
                .map(move |target| (target.ip(), 128, index as u16))
        });
        sources.extend(targets);
        let sources = sources
            .into_iter()
            .map(|(network, len, index)| Source {
                network,
                mask: !u128::MAX.checked_shr(len.into()).unwrap_or(0),
                trunk: TrunkIndex(index),
                tag: tags[usize::from(index)],
            })
            .collect();
        let mut domain_of = vec![None; trunks.len()];
        for (domain, at) in domains.iter().zip(0..) {
            domain_of[usize::from(domain.trunk.0)] = Some(DomainIndex(at));
        }
        let domains = domains.iter();
        Dial {
            trunks,
            has_stateless_routes: routes.iter().any(|route| route.stateless),
            routes,
            tags,
            sources,
            domains: domains
                .map(|domain| (domain.name.clone(), domain.trunk))
                .collect(),
            domain_of,
        }
    }

    /// Whether requests on some route go on without state.
    #[must_use]
    pub const fn has_stateless_routes(&self) -> bool {
        self.has_stateless_routes
    }

    /// The domain of this name, in any case.
    #[must_use]
    pub fn domain_named(&self, name: &[u8]) -> Option<DomainIndex> {
        // Nearly all write it as it is configured.
        let is = |(known, _): &&(String, TrunkIndex)| {
            let known = known.as_bytes();
            known == name || known.eq_ignore_ascii_case(name)
        };
        let at = self.domains.iter().position(|domain| is(&domain))?;
        u8::try_from(at).ok().map(DomainIndex)
    }

    /// The trunk that stands for the subscribers of a domain.
    #[must_use]
    pub fn trunk_of_domain(&self, domain: DomainIndex) -> Option<TrunkIndex> {
        let (_, trunk) = self.domains.get(usize::from(domain.0))?;
        Some(*trunk)
    }

    /// The domain whose subscribers a trunk stands for, if it does.
    #[must_use]
    pub fn domain_of(&self, trunk: TrunkIndex) -> Option<DomainIndex> {
        *self.domain_of.get(usize::from(trunk.0))?
    }

    /// The trunk of this tag, if it stands for the subscribers of a domain.
    #[must_use]
    pub fn domain_with(&self, tag: TrunkTag) -> Option<TrunkIndex> {
        let mut trunks = self.domains.iter().map(|&(_, trunk)| trunk);
        trunks.find(|&trunk| self.tag(trunk) == tag)
    }

    /// The trunk that `source` belongs to: the one that names it most exactly.
    #[must_use]
    pub fn trunk_of(&self, source: IpAddr) -> Option<TrunkIndex> {
        let found = self.sources.iter().find(|network| network.holds(source));
        found.map(|source| source.trunk)
    }

    /// The trunk of this tag, if `address` is one of its own, though another may name it more
    /// exactly.
    #[must_use]
    pub fn trunk_with(&self, tag: TrunkTag, address: IpAddr) -> Option<TrunkIndex> {
        let mut sources = self.sources.iter();
        let found = sources.find(|source| source.tag == tag && source.holds(address));
        found.map(|source| source.trunk)
    }

    /// Where the trunk of this tag takes requests first.
    #[must_use]
    pub fn first_target(&self, tag: TrunkTag) -> Option<SocketAddr> {
        let at = self.tags.iter().position(|&known| known == tag)?;
        self.trunks[at].targets.first().copied()
    }

    /// The tag of a trunk.
    #[must_use]
    pub fn tag(&self, index: TrunkIndex) -> TrunkTag {
        let tag = self.tags.get(usize::from(index.0));
        tag.copied().unwrap_or_default()
    }

    /// The first route that fits a request from `from` for `called`, which is the Request-URI
    /// without its scheme.
    #[must_use]
    pub fn route(&self, from: TrunkIndex, called: &[u8]) -> Option<&DialRoute> {
        let fits = |route: &&DialRoute| {
            route.from.is_none_or(|trunk| trunk == from)
                && route
                    .prefix
                    .as_ref()
                    .is_none_or(|prefix| called.starts_with(prefix.as_bytes()))
        };
        self.routes.iter().find(fits)
    }

    /// A trunk.
    #[must_use]
    pub fn trunk(&self, index: TrunkIndex) -> Option<&Trunk> {
        self.trunks.get(usize::from(index.0))
    }
}

/// The tags of the trunks. Of several whose names come to the same the later ones in the
/// configuration take the next that are free, so that who is added at its end disturbs nobody.
fn tags(trunks: &[Trunk]) -> Vec<TrunkTag> {
    let mut taken = HashSet::new();
    let tag = |trunk: &Trunk| {
        let TrunkTag(first) = TrunkTag::of(&trunk.name);
        let mut free = (0..=u16::MAX).map(|step| TrunkTag(first.wrapping_add(step)));
        free.find(|tag| taken.insert(*tag)).unwrap_or_default()
    };
    trunks.iter().map(tag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ListenIndex;
    use crate::ids::MediaIndex;
    use crate::settings::Choice;
    use crate::settings::Failover;

    fn trunk(sources: &[([u8; 4], u8)]) -> Trunk {
        Trunk {
            name: String::new(),
            sources: sources
                .iter()
                .map(|&(ip, len)| (IpAddr::from(ip), len))
                .collect(),
            targets: Vec::new(),
            failover: Failover::default(),
            listen: ListenIndex(0),
            media: MediaIndex(0),
        }
    }

    fn route(from: Option<u16>, prefix: Option<&str>, to: u16) -> DialRoute {
        DialRoute {
            from: from.map(TrunkIndex),
            prefix: prefix.map(str::to_owned),
            to: vec![Choice {
                trunk: TrunkIndex(to),
                q: 1000,
            }],
            stateless: false,
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
            &[],
        );
        let of = |ip: [u8; 4]| dial.trunk_of(IpAddr::from(ip)).map(|trunk| trunk.0);
        assert_eq!(of([10, 2, 0, 1]), Some(0));
        assert_eq!(of([10, 1, 0, 1]), Some(1));
        assert_eq!(of([192, 0, 2, 1]), Some(1));
        let closed = Dial::new(vec![trunk(&[([10, 0, 0, 1], 32)])], vec![], &[]);
        assert_eq!(closed.trunk_of(IpAddr::from([10, 0, 0, 2])), None);
    }

    #[test]
    fn trunks_whose_names_come_to_the_same_have_tags_of_their_own() {
        let named = |name: &str| Trunk {
            name: name.to_owned(),
            ..trunk(&[])
        };
        let names = ["carrier-111", "other", "carrier-185"];
        let [first, other, second] = names.map(TrunkTag::of);
        assert_eq!(first, second);
        let dial = Dial::new(names.map(named).to_vec(), vec![], &[]);
        let tags = [0, 1, 2].map(|index| dial.tag(TrunkIndex(index)));
        assert_eq!(tags, [first, other, TrunkTag(second.0 + 1)]);
    }

    #[test]
    fn a_target_belongs_to_its_trunk_though_another_names_it_as_source() {
        let carrier = IpAddr::from([10, 0, 0, 1]);
        let mut second = trunk(&[]);
        second.name = "second".to_owned();
        second.targets = vec![SocketAddr::new(carrier, 5070)];
        let dial = Dial::new(
            vec![trunk(&[([10, 0, 0, 1], 32)]), second.clone()],
            vec![],
            &[],
        );
        assert_eq!(dial.trunk_of(carrier), Some(TrunkIndex(0)));
        let [first, tag] = [0, 1].map(|index| dial.tag(TrunkIndex(index)));
        assert_eq!(dial.trunk_with(tag, carrier), Some(TrunkIndex(1)));
        assert_eq!(dial.trunk_with(first, carrier), Some(TrunkIndex(0)));
        assert_eq!(dial.first_target(first), None);
        assert_eq!(dial.first_target(tag), Some(SocketAddr::new(carrier, 5070)));
        // A tag outlives a change of the configuration.
        let alone = Dial::new(vec![second], vec![], &[]);
        assert_eq!(alone.trunk_of(carrier), Some(TrunkIndex(0)));
        assert_eq!(alone.trunk_with(tag, carrier), Some(TrunkIndex(0)));
        assert_eq!(alone.trunk_with(tag, IpAddr::from([10, 0, 0, 2])), None);
        assert_eq!(alone.trunk_with(first, carrier), None);
    }

    #[test]
    fn the_first_route_that_fits_wins() {
        let routes = vec![
            route(Some(0), Some("+44"), 1),
            route(None, Some("+4"), 2),
            route(Some(0), None, 3),
        ];
        let dial = Dial::new(vec![], routes, &[]);
        let to = |from, called: &str| {
            dial.route(TrunkIndex(from), called.as_bytes())
                .map(|route| route.to[0].trunk.0)
        };
        assert_eq!(to(0, "+4420@box"), Some(1));
        assert_eq!(to(1, "+4420@box"), Some(2));
        assert_eq!(to(0, "100@box"), Some(3));
        assert_eq!(to(1, "100@box"), None);
    }
}
