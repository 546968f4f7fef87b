//! The characters of a URI, escaped or not (RFC 3261 §19.1.2, §25.1).

/// A character of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Character {
    /// The byte that it stands for.
    pub(super) byte: u8,
    /// Whether it was spelled `%` and two digits.
    pub(super) is_escaped: bool,
}

impl Character {
    /// RFC 3261 §19.1.4: a character outside of the reserved set is the same as its escape; one of
    /// the set is not.
    pub(super) const fn canonical(self) -> Character {
        Character {
            byte: self.byte,
            is_escaped: self.is_escaped && is_reserved(self.byte),
        }
    }
}

/// The reserved set of RFC 2396, to which RFC 3261 §19.1.4 refers.
const fn is_reserved(byte: u8) -> bool {
    matches!(
        byte,
        b';' | b'/' | b'?' | b':' | b'@' | b'&' | b'=' | b'+' | b'$' | b','
    )
}

/// The characters of a text. What begins like an escape and is none stands for itself.
pub(super) fn characters(text: &[u8]) -> impl Iterator<Item = Character> + '_ {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (character, after) = match *rest {
            [] => return None,
            [b'%', high, low, ref after @ ..] if escaped(high, low).is_some() => {
                let byte = escaped(high, low)?;
                let character = Character {
                    byte,
                    is_escaped: true,
                };
                (character, after)
            }
            [byte, ref after @ ..] => {
                let character = Character {
                    byte,
                    is_escaped: false,
                };
                (character, after)
            }
        };
        rest = after;
        Some(character)
    })
}

fn escaped(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(text: &str) -> Vec<(u8, bool)> {
        let characters = characters(text.as_bytes());
        characters
            .map(|character| (character.byte, character.is_escaped))
            .collect()
    }

    #[test]
    fn escapes_are_two_digits_of_either_case_and_nothing_else() {
        assert_eq!(
            spelled("a%4a%4Jb%"),
            [
                (b'a', false),
                (b'J', true),
                (b'%', false),
                (b'4', false),
                (b'J', false),
                (b'b', false),
                (b'%', false),
            ]
        );
        assert_eq!(spelled("%2"), [(b'%', false), (b'2', false)]);
        assert_eq!(spelled("%Ff"), [(0xff, true)]);
        assert_eq!(
            spelled("%+5"),
            [(b'%', false), (b'+', false), (b'5', false)]
        );
    }

    #[test]
    fn only_what_is_reserved_differs_from_its_escape() {
        let canonical = |byte| {
            Character {
                byte,
                is_escaped: true,
            }
            .canonical()
            .is_escaped
        };
        assert!(canonical(b'@') && canonical(b';') && canonical(b'+'));
        assert!(!canonical(b'a') && !canonical(b'-') && !canonical(b'%') && !canonical(b' '));
    }
}
