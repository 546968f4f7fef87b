//! Bindings from a worker to control: what has changed, to be stored, and what the operator asks for.
//!
//! A [`Letter`] in one ring, its texts in a ring of bytes beside it, which are written before it.

use rtrb::Consumer;
use rtrb::Producer;

use crate::mailbox::take_bytes;
use crate::sip::registrar::LETTER_LEN_MAX;
use crate::sip::registrar::Letter;
use crate::sip::registrar::Record;
use crate::sys::memory::ring;

/// Why a binding is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is there, new or changed.
    Bound,
    /// It has been removed, by the REGISTER whose marks it bears; not because its time was over.
    Removed,
    /// It is a row of the answer to this query.
    Row(u32),
}

/// The writing end.
#[derive(Debug)]
pub struct LetterSender {
    letters: Producer<(Told, Letter)>,
    texts: Producer<u8>,
}

/// The reading end.
#[derive(Debug)]
pub struct LetterReceiver {
    letters: Consumer<(Told, Letter)>,
    texts: Consumer<u8>,
}

/// Rings for so many letters, with `bytes` bytes of texts in all.
#[must_use]
pub fn letters(letters: usize, bytes: usize) -> (LetterSender, LetterReceiver) {
    let (letters_in, letters_out) = ring(letters);
    let (texts_in, texts_out) = ring(bytes);
    (
        LetterSender {
            letters: letters_in,
            texts: texts_in,
        },
        LetterReceiver {
            letters: letters_out,
            texts: texts_out,
        },
    )
}

impl LetterSender {
    /// Posts a binding; false where there is no room for all of it.
    #[must_use]
    pub fn post(&mut self, told: Told, record: &Record<'_>) -> bool {
        let Some(letter) = Letter::of(record) else {
            return false;
        };
        if !self.has_room(letter.len()) {
            return false;
        }
        let texts = Letter::texts(record);
        let copied = texts
            .iter()
            .all(|text| self.texts.push_entire_slice(text).is_ok());
        copied && self.letters.push((told, letter)).is_ok()
    }

    /// True where a letter with so many bytes of text finds room.
    #[must_use]
    pub fn has_room(&self, len: usize) -> bool {
        !self.letters.is_full() && self.texts.slots() >= len
    }

    /// True where any letter finds room.
    #[must_use]
    pub fn has_room_for_any(&self) -> bool {
        self.has_room(LETTER_LEN_MAX)
    }

    /// True where fewer places are free than are taken: whoever reads should be woken.
    #[must_use]
    pub fn is_half_full(&self) -> bool {
        self.letters.slots() <= self.letters.buffer().capacity() / 2
            || self.texts.slots() <= self.texts.buffer().capacity() / 2
    }
}

impl LetterReceiver {
    /// How many letters wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.letters.slots()
    }

    /// How many bytes of text the oldest one has; `None` where none waits.
    #[must_use]
    pub fn next_len(&self) -> Option<usize> {
        let (_, letter) = self.letters.peek().ok()?;
        Some(letter.len())
    }

    /// Takes the oldest one, its texts into `room`; `None` where none waits.
    pub fn take<'r>(&mut self, room: &'r mut [u8; LETTER_LEN_MAX]) -> Option<(Told, Record<'r>)> {
        let (told, letter) = self.letters.pop().ok()?;
        let len = take_bytes(&mut self.texts, letter.len(), room);
        Some((told, letter.record(&room[..len])))
    }
}
