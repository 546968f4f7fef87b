//! What the tables of a worker's SIP core cost, all of them allocated at its start.

use super::context::Context;
use super::contexts;
use super::denied::denials;
use super::merged::Merged;
use super::parked::Parked;
use super::places;
use super::refusal::Refusals;
use super::resumed::Answer;
use crate::frame::KeptSlab;
use crate::ids::WorkerId;
use crate::limits::ASKED;
use crate::limits::SIP_LEN_MAX;
use crate::media::Ports;
use crate::media::ports;
use crate::settings::Settings;
use crate::sip::anchors::Anchors;
use crate::sip::call::Call;
use crate::sip::denials::Denials;
use crate::sip::digest::cache::Cache;
use crate::sip::digest::window::Windows;
use crate::sip::edit::Splices;
use crate::sip::guard::Guard;
use crate::sip::live::Live;
use crate::sip::places::Places;
use crate::sip::recent::Recent;
use crate::sip::registrar::Journal;
use crate::sip::registrar::Registrar;
use crate::sip::slab::Slab;
use crate::sip::ticket::Tickets;
use crate::sip::transaction::CLIENT_LEN;
use crate::sip::transaction::SERVER_LEN;
use crate::timer::Wheel;

/// What there is once: messages being made and taken up again, the refusals, the wheel.
const BUFFERS_LEN: usize = size_of::<Splices>()
    + 4 * SIP_LEN_MAX
    + Refusals::LEN
    + Registrar::ONCE_LEN
    + Recent::<()>::CELL_LEN * ASKED
    + Wheel::BUCKETS_LEN;

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name in every output.
    pub name: &'static str,
    /// Entries in all.
    pub entries: u64,
    /// Bytes that one costs, with its timer and its places in indices.
    pub entry_bytes: u64,
    /// What a person should know about it, in one sentence.
    pub help: &'static str,
}

impl Table {
    /// Bytes of all of it.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.entries * self.entry_bytes
    }
}

/// The tables of one worker.
#[must_use]
pub fn tables(settings: &Settings) -> [Table; 15] {
    let capacity = settings.capacity;
    let ranges = settings.media.iter();
    // The first worker's slice; the others' differ by a pair.
    let slices = ranges.map(|range| ports::slice(&range.ports, WorkerId(0), settings.workers));
    let pairs = slices.map(|slice| u32::from(slice.pair_count)).sum();
    let table = |name, entries: u32, entry_bytes: usize, help| Table {
        name,
        entries: entries.into(),
        entry_bytes: entry_bytes as u64,
        help,
    };
    [
        table(
            "server transactions",
            capacity.transactions,
            SERVER_LEN + Merged::CELL_LEN,
            "Requests received, until 64·T1 after their answer.",
        ),
        table(
            "client transactions",
            capacity.transactions,
            CLIENT_LEN,
            "Requests sent on.",
        ),
        table(
            "contexts",
            contexts(capacity.calls),
            Slab::<Context>::SLOT_LEN,
            "Requests with several targets.",
        ),
        table(
            "calls",
            capacity.calls,
            Call::LEN,
            "Calls, each with the text of its dialog.",
        ),
        table(
            "media of calls",
            capacity.calls,
            Anchors::bytes_per_call(capacity.calls),
            "Streams, and offers that are not settled; several may be a call's.",
        ),
        table(
            "media ports",
            pairs,
            Ports::PAIR_LEN,
            "Pairs of relay ports, of all media ranges.",
        ),
        table(
            "subscribers",
            capacity.subscribers,
            Cache::ENTRY_LEN,
            "What the store said of subscribers, so that few requests wait for it.",
        ),
        table(
            "nonces",
            capacity.nonces,
            Windows::WINDOW_LEN,
            "Which counts of a nonce have been used.",
        ),
        table(
            "tickets",
            capacity.tickets,
            Tickets::<Parked>::TICKET_LEN + Wheel::TIMER_LEN + size_of::<Answer>(),
            "Requests that wait for something outside.",
        ),
        table(
            "bindings",
            capacity.bindings,
            Registrar::BINDING_LEN + Live::SOURCE_LEN + Journal::BINDING_LEN,
            "Contacts that users have registered, each with its texts.",
        ),
        table(
            "places",
            places(settings),
            Places::PLACE_LEN,
            "Calls of subscribers whose number is limited.",
        ),
        table(
            "sources",
            u32::from(!settings.domains.is_empty()),
            Guard::LEN,
            "Bans, and the failures that lead to them, in tables of a fixed size.",
        ),
        table(
            "denials",
            u32::try_from(denials(settings)).unwrap_or(u32::MAX),
            Denials::ENTRY_LEN,
            "What subscribers were last denied, and why, one entry each.",
        ),
        table(
            "kept messages",
            1,
            KeptSlab::bytes_of(capacity.kept),
            "Messages that may have to be sent again; a message takes the smallest piece it fits.",
        ),
        table(
            "buffers",
            1,
            BUFFERS_LEN,
            "What there is once, whatever the capacity: messages being made, refusals, the wheel of timers.",
        ),
    ]
}
