//! A text with places for a user and a domain: the path of a URL, a key.

/// The text, cut at its places once, so that a user called `{domain}` is just a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Domain,
    User,
}

impl Pattern {
    /// Reads `text`, in which `{user}` stands for the user and `{domain}` for the domain.
    ///
    /// # Errors
    /// It has no place for the user, so all users would be one.
    pub fn new(text: &str) -> Result<Pattern, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((at, place, piece)) = next_place(rest) {
            pieces.push(Piece::Text(rest[..at].to_owned()));
            pieces.push(piece);
            rest = &rest[at + place.len()..];
        }
        pieces.push(Piece::Text(rest.to_owned()));
        if !pieces.contains(&Piece::User) {
            return Err(format!("\"{text}\" has no {{user}}"));
        }
        Ok(Pattern { pieces })
    }

    /// The text for a user of a domain, both as `encode` writes them.
    pub fn fill(&self, domain: &str, user: &str, encode: impl Fn(&str) -> String) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Domain => encode(domain),
            Piece::User => encode(user),
        };
        self.pieces.iter().map(piece).collect()
    }
}

fn next_place(text: &str) -> Option<(usize, &'static str, Piece)> {
    let places = [("{domain}", Piece::Domain), ("{user}", Piece::User)];
    let found = places
        .into_iter()
        .filter_map(|(place, piece)| Some((text.find(place)?, place, piece)));
    found.min_by_key(|&(at, ..)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(pattern: &str, domain: &str, user: &str) -> String {
        let pattern = Pattern::new(pattern).unwrap();
        pattern.fill(domain, user, str::to_owned)
    }

    #[test]
    fn both_places_are_filled_wherever_they_stand() {
        assert_eq!(fill("sub:{domain}:{user}", "a.b", "bob"), "sub:a.b:bob");
        assert_eq!(
            fill("{user}@{domain}/{user}.", "a.b", "bob"),
            "bob@a.b/bob."
        );
        assert_eq!(fill("{x}{user}}", "a.b", "bob"), "{x}bob}");
        assert_eq!(fill("é{user}é", "", "ü"), "éüé");
    }

    #[test]
    fn a_user_called_like_a_place_is_just_a_user() {
        assert_eq!(
            fill("{user}:{domain}", "{user}", "{domain}"),
            "{domain}:{user}"
        );
    }

    #[test]
    fn a_text_without_the_user_is_refused() {
        let error = Pattern::new("sub:{domain}").unwrap_err();
        assert_eq!(error, "\"sub:{domain}\" has no {user}");
    }
}
