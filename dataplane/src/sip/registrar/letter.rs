//! A binding on its way to another thread: all but its texts, which travel beside it in a ring of
//! bytes.

use super::binding::Lens;
use super::binding::Record;
use super::bindings;

/// The longest texts of a binding.
pub const LETTER_LEN_MAX: usize = bindings::TEXTS_LEN_MAX;

/// A binding without its texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Its texts are empty.
    record: Record<'static>,
    lens: Lens,
}

impl Letter {
    /// The letter of a binding; `None` where its texts are longer than any binding's.
    #[must_use]
    pub fn of(record: &Record<'_>) -> Option<Letter> {
        let lens = Lens {
            user: u8::try_from(record.user.len()).ok()?,
            uri: u16::try_from(record.uri.len()).ok()?,
            params: u16::try_from(record.params.len()).ok()?,
            path: u16::try_from(record.path.len()).ok()?,
        };
        let letter = Letter {
            record: Record {
                user: &[],
                uri: &[],
                params: &[],
                path: &[],
                ..*record
            },
            lens,
        };
        (letter.len() <= LETTER_LEN_MAX).then_some(letter)
    }

    /// The texts that belong to it, in their order.
    #[must_use]
    pub const fn texts<'t>(record: &Record<'t>) -> [&'t [u8]; 4] {
        [record.user, record.uri, record.params, record.path]
    }

    /// Bytes of its texts.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // A binding has a user and a contact.
    pub fn len(&self) -> usize {
        let Lens {
            user,
            uri,
            params,
            path,
        } = self.lens;
        usize::from(user) + usize::from(uri) + usize::from(params) + usize::from(path)
    }

    /// The binding, whose texts are `texts`.
    #[must_use]
    pub fn record<'t>(&self, texts: &'t [u8]) -> Record<'t> {
        let [user, uri, params, path] = self.lens.split(texts);
        Record {
            user,
            uri,
            params,
            path,
            ..self.record
        }
    }
}
