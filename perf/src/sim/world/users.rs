//! The location store, between the workers of the first box and its oracle.

use trunkline_dataplane::settings;

use super::World;
use super::in_box;
use crate::sim::location::Word;
use crate::sim::oracle::Fault;

impl World {
    /// The first box begins: what is written of its users is to be given back to it.
    pub(super) fn begin_location(&mut self) {
        if self.profile.sites[0].kept() == settings::Location::Nowhere {
            return;
        }
        self.location.restarts(self.now);
        for kept in self.location.written() {
            self.oracles[0].has_stored(&kept.record());
        }
    }

    /// Tells the workers what the location store has to say.
    pub(super) fn tell_locations(&mut self) {
        while let Some(word) = self.location.take(self.now) {
            self.trace.word(self.now.0);
            if !self.boxes[0].locate(&word) {
                return self.location.put_back(word);
            }
            match &word {
                Word::Bound(kept) => self.oracles[0].gives_back(self.now, &kept.key()),
                Word::Loaded => self.oracles[0].has_loaded(self.now),
                Word::Sought(_, of, answered) => {
                    let user = String::from_utf8_lossy(of.who.user.name());
                    self.oracles[0].is_sought(&user, *answered);
                }
            }
        }
    }

    /// Takes what the workers of a box have told of contacts, and asked.
    pub(super) fn take_locations(&mut self, at: usize) -> Result<(), Fault> {
        for (worker, of) in std::mem::take(&mut self.boxes[at].sought) {
            let user = String::from_utf8_lossy(of.who.user.name());
            self.oracles[at].seeks(&user);
            self.location.seek(self.now, worker, of);
        }
        for (told, kept) in std::mem::take(&mut self.boxes[at].told) {
            self.oracles[at]
                .is_told(told, &kept.record())
                .map_err(|fault| in_box(at, &fault))?;
            self.location.write(self.now, told, kept);
        }
        Ok(())
    }
}
