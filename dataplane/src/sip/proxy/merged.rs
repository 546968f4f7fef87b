//! Merged requests (RFC 3261 §8.2.2.2): an INVITE that somebody upstream has forked and that
//! comes together again here, the same from the same trunk on another branch. Any request that we
//! fork ourselves is remembered as well: were it to loop back from outside, each round would be
//! forked in its turn (RFC 5393 §4.1).
//!
//! A fixed table remembers their server transactions by what makes such a request the same, and
//! those of BYEs by their dialog: what a BYE has overtaken does not begin a call anew. Nothing is
//! taken out: an entry counts as long as its transaction lives. Where a set of cells is full of
//! living ones the oldest is forgotten, and a request that is merged with it is forwarded like any
//! other.

use super::Proxy;
use crate::sip::identity::What;
use crate::sip::message::Message;
use crate::sip::slab::Id;
use crate::sip::slab::Slab;
use crate::sip::transaction::Server;
use crate::sip::transaction::ServerState;
use crate::sys::memory::table;

/// How many Vias are looked at: no way of ours is longer (RFC 3261 §16.6 step 3).
const VIAS_MAX: usize = 70;

/// How many cells a key may be in.
const WAYS: usize = 4;

/// The server transactions of these requests.
#[derive(Debug)]
pub(super) struct Merged(Box<[Set]>);

/// The cells that a key may be in: keys and transactions, those noted last first. One cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Set([(u64, Option<Id>); WAYS]);

const _: () = assert!(size_of::<Set>() == 64);

impl Merged {
    /// Bytes for each transaction.
    pub const CELL_LEN: usize = size_of::<Set>() / WAYS;

    /// A table for so many transactions.
    pub fn new(transactions: u32) -> Merged {
        let sets = (transactions as usize).div_ceil(WAYS).max(1);
        Merged(table((0..sets).map(|_| Set([(0, None); WAYS]))))
    }

    fn find<'s>(&self, key: u64, servers: &'s Slab<Server>) -> Option<&'s Server> {
        let Set(set) = &self.0[self.set(key)];
        let found = set.iter().find_map(|&(k, id)| id.filter(|_| k == key))?;
        servers.get(found)
    }

    fn note(&mut self, key: u64, id: Id, servers: &Slab<Server>) {
        let at = self.set(key);
        let Set(set) = &mut self.0[at];
        let same = set.iter().position(|&(k, _)| k == key);
        // The oldest are asked first whether they live: mostly one look into the transactions.
        let free = |&(_, id): &(u64, Option<Id>)| id.is_none_or(|id| servers.get(id).is_none());
        let way = same.or_else(|| set.iter().rposition(free));
        let way = way.unwrap_or(WAYS - 1);
        set[..=way].rotate_right(1);
        set[0] = (key, Some(id));
    }

    #[allow(clippy::cast_possible_truncation)] // Reduced to the table.
    fn set(&self, key: u64) -> usize {
        key as usize % self.0.len()
    }
}

impl Proxy {
    /// True for a request that is being served already, on another branch. `way` is the
    /// key of its [`Proxy::marks`]. Once it has failed somebody upstream may try it again.
    pub(super) fn is_served(&self, way: u64) -> bool {
        let ongoing = |server: &Server| {
            matches!(
                server.state,
                ServerState::Proceeding | ServerState::Accepted
            )
        };
        self.merged.find(way, &self.servers).is_some_and(ongoing)
    }

    /// True where a transaction that was noted under this key still lives, answered or not: the
    /// [`Proxy::round`] of a fork, or for a BYE the [`Proxy::dialog_of`].
    pub(super) fn is_known(&self, key: u64) -> bool {
        self.merged.find(key, &self.servers).is_some()
    }

    /// What a request that comes back to us has in common with all that comes back the same way of
    /// the branch by which it left us first; `None` where it has not left us before. A fork that
    /// loops by several of its targets would otherwise be tried in all their orders, one inside the
    /// other.
    pub(super) fn round(&self, message: &Message<'_>, way: u64) -> Option<u64> {
        let vias = message.vias().take(VIAS_MAX);
        let branches = vias.filter_map(|via| Some(message.text(via.branch?)));
        let ours = branches.filter(|branch| self.identity.read_branch(branch).is_ok());
        let first = ours.last()?;
        let hash = self.identity.hash().text(first).word(way);
        Some(hash.finish(What::Round.with(0)))
    }

    /// Takes note of the transaction of a request that begins something, or of a BYE.
    pub(super) fn note_served(&mut self, key: u64, server: Id) {
        self.merged.note(key, server, &self.servers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ListenIndex;
    use crate::tick::Tick;
    use std::net::Ipv4Addr;
    use std::net::SocketAddr;

    #[test]
    fn a_place_is_made_by_the_dead_and_else_by_the_oldest() {
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 5060));
        let mut servers = Slab::new(6);
        let ids = [1, 2, 3, 4, 5, 6].map(|key| {
            let server = Server::new(key, true, peer.into(), ListenIndex(0), Tick(0));
            servers.insert(server).unwrap()
        });
        let mut merged = Merged::new(4);
        let known = |merged: &Merged, servers: &Slab<Server>| {
            (1..=6)
                .filter(|&key| merged.find(key, servers).is_some())
                .collect::<Vec<_>>()
        };
        for (key, id) in (1..=5).zip(ids) {
            merged.note(key, id, &servers);
        }
        assert_eq!(known(&merged, &servers), [2, 3, 4, 5]);
        servers.remove(ids[3]);
        merged.note(6, ids[5], &servers);
        assert_eq!(known(&merged, &servers), [2, 3, 5, 6]);
    }
}
