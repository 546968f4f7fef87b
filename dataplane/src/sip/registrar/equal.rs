//! Whether two URIs are the same (RFC 3261 §19.1.4).

use super::escape::Character;
use super::escape::characters;
use crate::sip::header::Params;
use crate::sip::uri::Host;
use crate::sip::uri::Scheme;
use crate::sip::uri::Uri;
use crate::span::Span;

/// Parameters, or headers, that a URI may have to be compared one by one: each is looked for among
/// the other's. A URI with more of them is the same only as one that is spelled alike.
const PARTS_MAX: usize = 16;

/// Parameters that are never ignored: what has one of them differs from what has not. Of `transport`
/// RFC 3261 §19.1.4 says so by its examples.
const WEIGHTY: [&[u8]; 5] = [b"user", b"ttl", b"method", b"maddr", b"transport"];

/// Whether two URIs are the same. Of other schemes than SIP and SIPS only those that are spelled
/// alike are.
pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one == other {
        return true;
    }
    match (Parts::read(one), Parts::read(other)) {
        (Some(one), Some(other)) => one.is_same(&other),
        _ => false,
    }
}

/// A SIP or SIPS URI to be compared.
struct Parts<'u> {
    bytes: &'u [u8],
    uri: Uri,
    /// User and password. The colon between them is reserved, so that they need not be told apart.
    userinfo: Option<&'u [u8]>,
}

impl<'u> Parts<'u> {
    fn read(bytes: &'u [u8]) -> Option<Parts<'u>> {
        let uri = Uri::read(bytes, Span::new(0, bytes.len())).ok()?;
        if !matches!(uri.scheme, Scheme::Sip | Scheme::Sips) {
            return None;
        }
        let userinfo = uri.user.map(|user| Span {
            start: user.start,
            // Before the `@`.
            end: uri.host_text.start.saturating_sub(1),
        });
        let parts = Parts {
            bytes,
            uri,
            userinfo: userinfo.map(|span| span.of(bytes)),
        };
        // Up to the end: of what cannot be read nothing can be said.
        let (mut params, mut count) = (parts.read_params(), 0);
        for param in params.by_ref() {
            param.ok()?;
            count += 1;
        }
        let is_whole = params.at() == usize::from(parts.uri.params.end);
        let is_few = count <= PARTS_MAX && parts.headers().count() <= PARTS_MAX;
        (is_whole && is_few).then_some(parts)
    }

    fn read_params(&self) -> Params<'u> {
        let span = self.uri.params;
        Params::new(self.bytes, span.start.into(), span.end.into())
    }

    fn is_same(&self, other: &Parts<'_>) -> bool {
        let userinfo = match (self.userinfo, other.userinfo) {
            (Some(one), Some(other)) => spells(one, other, Case::Matters),
            (one, other) => one.is_none() && other.is_none(),
        };
        self.uri.scheme == other.uri.scheme
            && userinfo
            && self.has_host_of(other)
            && self.uri.port == other.uri.port
            && self.agrees_with(other)
            && other.agrees_with(self)
            && self.has_headers_of(other)
    }

    fn has_host_of(&self, other: &Parts<'_>) -> bool {
        match (self.uri.host, other.uri.host) {
            (Some(Host::Name(one)), Some(Host::Name(two))) => {
                let (one, two) = (one.of(self.bytes), two.of(other.bytes));
                one.eq_ignore_ascii_case(two)
            }
            (Some(Host::Name(_)), _) | (_, Some(Host::Name(_))) => false,
            (one, two) => one == two,
        }
    }

    fn params(&self) -> impl Iterator<Item = (&'u [u8], Option<&'u [u8]>)> {
        let bytes = self.bytes;
        self.read_params().flatten().map(|param| {
            let value = param.value.map(|value| value.of(bytes));
            (param.name.of(bytes), value)
        })
    }

    /// Whether each parameter is the same in the other, or there may be none of it.
    fn agrees_with(&self, other: &Parts<'_>) -> bool {
        self.params().all(|(name, value)| {
            let found = other
                .params()
                .find(|(also, _)| spells(name, also, Case::Ignored));
            match (found.map(|(_, value)| value), value) {
                (Some(Some(other)), Some(value)) => spells(value, other, Case::Ignored),
                (Some(other), value) => other.is_none() && value.is_none(),
                (None, _) => !WEIGHTY
                    .iter()
                    .any(|known| spells(name, known, Case::Ignored)),
            }
        })
    }

    fn headers(&self) -> impl Iterator<Item = (&'u [u8], &'u [u8])> {
        let headers = self.uri.headers.map_or(&[][..], |span| span.of(self.bytes));
        let headers = headers.split(|byte| *byte == b'&');
        headers.filter(|header| !header.is_empty()).map(|header| {
            let len = header.iter().position(|byte| *byte == b'=');
            let (name, value) = header.split_at(len.unwrap_or(header.len()));
            (name, value.strip_prefix(b"=").unwrap_or(value))
        })
    }

    /// RFC 3261 §19.1.4: header components are never ignored, and their order says nothing.
    fn has_headers_of(&self, other: &Parts<'_>) -> bool {
        let among = |one: &Parts<'_>, two: &Parts<'_>| {
            one.headers().all(|(name, value)| {
                two.headers().any(|(also, other)| {
                    spells(name, also, Case::Ignored) && spells(value, other, Case::Ignored)
                })
            })
        };
        self.headers().count() == other.headers().count()
            && among(self, other)
            && among(other, self)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Matters,
    Ignored,
}

/// Whether two texts are the same but for escapes that say nothing, and perhaps for case.
fn spells(one: &[u8], other: &[u8], case: Case) -> bool {
    let canonical = |character: Character| {
        let Character { byte, is_escaped } = character.canonical();
        match case {
            Case::Matters => (byte, is_escaped),
            Case::Ignored => (byte.to_ascii_lowercase(), is_escaped),
        }
    };
    one == other
        || characters(one)
            .map(canonical)
            .eq(characters(other).map(canonical))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn same(one: &str, other: &str) -> bool {
        let is = is_same(one.as_bytes(), other.as_bytes());
        assert_eq!(
            is,
            is_same(other.as_bytes(), one.as_bytes()),
            "{one} {other}"
        );
        is
    }

    /// RFC 3261 §19.1.4: its own examples.
    #[test]
    fn the_examples_of_the_rfc_are_the_same() {
        for (one, other) in [
            (
                "sip:%61lice@atlanta.com;transport=TCP",
                "sip:alice@AtLanTa.CoM;Transport=tcp",
            ),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
            (
                "sip:carol@chicago.com;newparam=5",
                "sip:carol@chicago.com;security=on",
            ),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
        ] {
            assert!(same(one, other), "{one} {other}");
        }
    }

    /// RFC 3261 §19.1.4: the other ones.
    #[test]
    fn the_counter_examples_of_the_rfc_are_not() {
        for (one, other) in [
            (
                "SIP:ALICE@AtLanTa.CoM;Transport=udp",
                "sip:alice@AtLanTa.CoM;Transport=UDP",
            ),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            (
                "sip:bob@biloxi.com",
                "sip:bob@biloxi.com:6000;transport=tcp",
            ),
            (
                "sip:carol@chicago.com",
                "sip:carol@chicago.com?Subject=next%20meeting",
            ),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            (
                "sip:carol@chicago.com;security=on",
                "sip:carol@chicago.com;security=off",
            ),
        ] {
            assert!(!same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn each_component_counts() {
        for (one, other) in [
            ("sip:a@h", "sips:a@h"),
            ("sip:a@h", "sip:h"),
            ("sip:a@h", "sip:a:@h"),
            ("sip:a:b@h", "sip:a:B@h"),
            ("sip:a%3ab@h", "sip:a:b@h"),
            ("sip:a%40@h", "sip:a@h"),
            ("sip:a@h;user=phone", "sip:a@h"),
            ("sip:a@h;ttl=1", "sip:a@h"),
            ("sip:a@h;method=INVITE", "sip:a@h"),
            ("sip:a@h;maddr=10.0.0.1", "sip:a@h"),
            ("sip:a@h;x", "sip:a@h;x=1"),
            ("sip:a@h?x=1", "sip:a@h?x=1&y=2"),
            ("sip:a@h?x=1&x=1", "sip:a@h?x=1&x=2"),
            ("sip:a@[::1]", "sip:a@[::2]"),
            ("sip:a@[::ffff:10.0.0.1]", "sip:a@10.0.0.1"),
            ("tel:+1", "tel:+2"),
            ("tel:+1", "sip:+1@h"),
            ("sip:a@", "sip:a@h"),
            ("sip:a@h;;x=1", "sip:a@h;;x=2"),
            ("sip:a@h;x=1,2", "sip:a@h;x=1,3"),
        ] {
            assert!(!same(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("sip:a@[2001:DB8::1]", "sip:a@[2001:db8:0::1]"),
            ("sip:a@h;x=%3B", "sip:a@h;x=%3b"),
            ("sip:%7Ea%2d@h:5061;LR", "SIP:~a-@H:05061;lr;ob"),
            ("sip:a%3ab@h", "sip:a%3Ab@h"),
            ("sip:a@", "sip:a@"),
        ] {
            assert!(same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn of_very_many_parts_only_the_spelling_is_compared() {
        let many = |first: &str| format!("sip:a@h;{first}{}", ";x".repeat(PARTS_MAX));
        assert!(!same(&many("y"), &many("z")));
        assert!(same(&many("y"), &many("y")));
    }

    proptest! {
        /// Another order of the parameters, another case and other escapes change nothing; another
        /// user does.
        #[test]
        fn spelling_does_not_matter(
            user in "[a-z]{1,8}",
            mut params in prop::collection::vec(("[a-m]{3}", "[a-z0-9]{1,4}"), 0..5),
        ) {
            params.sort();
            params.dedup_by(|one, other| one.0 == other.0);
            let uri = |user: &str, params: &[(String, String)]| {
                let params = params.iter().map(|(name, value)| format!(";{name}={value}"));
                format!("sip:{user}@example.com{}", params.collect::<String>())
            };
            let one = uri(&user, &params);
            let escaped: String = user.bytes().map(|byte| format!("%{byte:02x}")).collect();
            params.reverse();
            let upper: Vec<_> = params
                .iter()
                .map(|(name, value)| (name.to_uppercase(), value.to_uppercase()))
                .collect();
            prop_assert!(same(&one, &uri(&escaped, &upper)));
            let other = uri(&(user + "x"), &params);
            prop_assert!(!same(&one, &other));
        }
    }
}
