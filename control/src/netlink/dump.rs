//! Asking the kernel for all of its tables.

use std::collections::HashSet;
use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::RouteMessage;
use rtnetlink::Handle;

use super::Changes;
use super::NetlinkError;
use super::message;

/// What the kernel said, of both families.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dump {
    /// Every link.
    pub links: Vec<LinkFacts>,
    /// Every address of the box, but those that another host turned out to have.
    pub addresses: Vec<IpAddr>,
    /// Those of them that may not be used yet: the kernel still asks whether another host has
    /// them (RFC 4862 §5.4).
    pub tentative: Vec<IpAddr>,
    /// Those that another host has.
    pub duplicate: Vec<IpAddr>,
    /// The same by link: the kernel's number, and the address.
    pub addresses_of: Vec<(u32, IpAddr)>,
    /// Every route of the main table.
    pub routes: Vec<RouteFacts>,
    /// Every neighbour that has an address.
    pub neighbours: Vec<NeighbourFacts>,
}

/// A link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkFacts {
    /// The kernel's number for it.
    pub ifindex: u32,
    /// The kernel's name for it.
    pub device: String,
    /// Its link-layer address, where it has one of Ethernet's length.
    pub mac: Option<[u8; 6]>,
    /// The largest packet, without the Ethernet header.
    pub mtu: u32,
    /// True where it is up and has a carrier.
    pub up: bool,
    /// How many receive queues it can have at most.
    pub rx_queues_max: u32,
    /// What it is, where it is no plain device: `veth`, `bond`, `vlan` ..
    pub kind: Option<String>,
    /// The number of the link whose port it is: a bond's, a bridge's ..
    pub master: Option<u32>,
    /// Where it is a VLAN: of which link, and with which tag.
    pub vlan: Option<VlanFacts>,
}

/// A VLAN's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanFacts {
    /// The link that carries it.
    pub parent: u32,
    /// The tag's protocol: 0x8100 or 0x88a8.
    pub tpid: u16,
    /// The tag's identifier.
    pub id: u16,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteFacts {
    /// The first address of the destination.
    pub destination: IpAddr,
    /// How many of its bits count.
    pub prefix_len: u8,
    /// The lower wins among equals.
    pub metric: u32,
    /// Where packets go; `None`: they are refused.
    pub hop: Option<Hop>,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The link.
    pub ifindex: u32,
    /// The router there; `None`: the destination itself is there.
    pub gateway: Option<IpAddr>,
}

/// A neighbour, as the kernel names it: its link's number and its address.
pub type NeighbourKey = (u32, IpAddr);

/// A neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighbourFacts {
    /// The link.
    pub ifindex: u32,
    /// Its address.
    pub address: IpAddr,
    /// Its link-layer address, where one is known that may be used.
    pub mac: Option<[u8; 6]>,
    /// True where an administrator set it: it needs no resolving.
    pub fixed: bool,
}

impl Dump {
    /// Asks the kernel for everything.
    ///
    /// # Errors
    /// The kernel refused one of the questions.
    pub async fn take(handle: &Handle) -> Result<Dump, NetlinkError> {
        let mut dump = Dump::default();
        dump.update(handle, Changes::ALL).await?;
        Ok(dump)
    }

    /// Asks the kernel for the tables that have changed. What changes while it answers is
    /// told by the [`Watch`](super::Watch), and asked for again.
    ///
    /// # Errors
    /// The kernel refused one of the questions; some tables may be new already.
    pub async fn update(&mut self, handle: &Handle, changes: Changes) -> Result<(), NetlinkError> {
        // The kernel's order means nothing, and two dumps are to be compared.
        if changes.links {
            self.links = links(handle).await?;
            self.take_addresses(handle).await?;
        }
        if changes.routes {
            let mut routes = routes(handle, AddressFamily::Inet).await?;
            routes.extend(self::routes(handle, AddressFamily::Inet6).await?);
            routes.sort_by_key(|route| (route.prefix_len, route.destination, route.metric));
            self.routes = routes;
        }
        if changes.neighbours {
            self.neighbours = neighbours(handle).await?;
            self.neighbours
                .sort_by_key(|neighbour| (neighbour.ifindex, neighbour.address));
        }
        Ok(())
    }

    async fn take_addresses(&mut self, handle: &Handle) -> Result<(), NetlinkError> {
        let question = handle.address().get().execute();
        let messages: Vec<_> = question.try_collect().await.map_err(refused("addresses"))?;
        let mut own: Vec<_> = messages.iter().filter_map(message::address).collect();
        own.sort_unstable_by_key(|own| (own.ifindex, own.address));
        let duplicate = |own: &&message::Address| own.is_duplicate;
        let sorted = |found: Vec<IpAddr>| {
            let mut found = found;
            found.sort_unstable();
            found
        };
        self.duplicate = own
            .iter()
            .filter(duplicate)
            .map(|own| own.address)
            .collect();
        own.retain(|own| !own.is_duplicate);
        self.tentative = own
            .iter()
            .filter(|own| own.is_tentative)
            .map(|own| own.address)
            .collect();
        self.addresses_of = own.iter().map(|own| (own.ifindex, own.address)).collect();
        self.addresses = sorted(own.iter().map(|own| own.address).collect());
        Ok(())
    }

    /// The link that the kernel calls `device`.
    #[must_use]
    pub fn link(&self, device: &str) -> Option<&LinkFacts> {
        self.links.iter().find(|link| link.device == device)
    }

    /// The neighbours that an administrator has set: not ours to touch.
    #[must_use]
    pub fn fixed(&self) -> HashSet<NeighbourKey> {
        fixed(&self.neighbours)
    }
}

fn refused(what: &'static str) -> impl Fn(rtnetlink::Error) -> NetlinkError {
    move |error| NetlinkError::Refused { what, error }
}

async fn links(handle: &Handle) -> Result<Vec<LinkFacts>, NetlinkError> {
    let question = handle.link().get().execute();
    let messages: Vec<_> = question.try_collect().await.map_err(refused("links"))?;
    let mut links: Vec<_> = messages.iter().map(message::link).collect();
    links.sort_by_key(|link| link.ifindex);
    Ok(links)
}

async fn routes(handle: &Handle, family: AddressFamily) -> Result<Vec<RouteFacts>, NetlinkError> {
    let mut question = RouteMessage::default();
    question.header.address_family = family;
    let answers = handle.route().get(question).execute();
    // One by one: a full table of the internet has a million.
    let facts = answers.try_filter_map(|route| std::future::ready(Ok(message::route(&route))));
    facts.try_collect().await.map_err(refused("routes"))
}

/// Asks for the neighbours alone.
pub(super) async fn neighbours(handle: &Handle) -> Result<Vec<NeighbourFacts>, NetlinkError> {
    let mut neighbours = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let question = handle.neighbours().get().set_address_family(family);
        let messages: Vec<_> = question
            .execute()
            .try_collect()
            .await
            .map_err(refused("neighbours"))?;
        neighbours.extend(messages.iter().filter_map(message::neighbour));
    }
    Ok(neighbours)
}

/// Those of `neighbours` that an administrator has set.
pub(super) fn fixed(neighbours: &[NeighbourFacts]) -> HashSet<NeighbourKey> {
    neighbours
        .iter()
        .filter(|neighbour| neighbour.fixed)
        .map(|neighbour| (neighbour.ifindex, neighbour.address))
        .collect()
}
