//! What is noted of requests that are refused, and told of one subscriber, see [`crate::sip::denials`].

use std::net::SocketAddr;

use super::Proxy;
use super::auth::identity_uri;
use crate::limits::DENIALS;
use crate::settings::Settings;
use crate::sip::denials::Denial;
use crate::sip::denials::Dossier;
use crate::sip::denials::Why;
use crate::sip::message::Message;
use crate::sip::registrar::aor::AddressOfRecord;
use crate::sip::subscriber::Subscriber;
use crate::sip::uri::Uri;
use crate::tick::Tick;

impl Proxy {
    /// Takes note that whoever a request says it is from is refused it.
    pub(super) fn note_denial(
        &mut self,
        message: &Message<'_>,
        source: SocketAddr,
        why: Why,
        now: Tick,
    ) {
        let Some(who) = self.named_sender(message) else {
            return;
        };
        let key = self.subscriber_key(&who);
        self.denials.note(key, who, source, why, now);
    }

    /// The subscriber that a request says it is from.
    fn named_sender(&self, message: &Message<'_>) -> Option<Subscriber> {
        let bytes = message.bytes();
        let uri = Uri::read(bytes, identity_uri(message)).ok()?;
        let domain = self.dial.domain_named(message.text(uri.host_text))?;
        let aor = AddressOfRecord::of(bytes, &uri, self.identity.hash())?;
        Some(Subscriber {
            domain,
            user: aor.user,
        })
    }

    /// All that this worker knows of a subscriber; `aor` is the key of its address of record.
    #[must_use]
    pub fn dossier(&self, who: &Subscriber, aor: u64, now: Tick) -> Dossier {
        let key = self.subscriber_key(who);
        Dossier {
            known: self.subscribers.look(key, now),
            calls: self.places.count_of(aor),
            denial: self.denials.get(key, who),
        }
    }

    /// The denial in a place of their table.
    #[must_use]
    pub fn denial_report(&self, place: u32) -> Option<Denial> {
        self.denials.at(place as usize)
    }

    /// How many places there are for denials.
    #[must_use]
    pub const fn denial_slots(&self) -> usize {
        self.denials.places()
    }
}

/// Denials that a worker keeps: none where there is nobody to deny anything.
pub(super) fn denials(settings: &Settings) -> usize {
    match settings.domains.is_empty() {
        true => 0,
        false => DENIALS,
    }
}
