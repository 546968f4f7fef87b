//! What a client answers a challenge with: an Authorization or Proxy-Authorization header field
//! (RFC 7616 §3.4, RFC 3261 §22.4).

use super::Algorithm;
use super::Hash;
use crate::sip::header::BadValue;
use crate::sip::scan::PLAIN;
use crate::sip::scan::TOKEN;
use crate::sip::scan::byte_at;
use crate::sip::scan::class_end;
use crate::sip::scan::quote_or_backslash;
use crate::sip::scan::skip_space;
use crate::span::Span;

/// The scheme, and the space after it.
const SCHEME: &[u8] = b"Digest";

/// Digest credentials, quotes taken off.
///
/// A quoted value with a backslash in it is refused: what is hashed of it differs from client to
/// client, and no name that a phone has needs one.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'m> {
    /// Who it says it is.
    pub username: &'m [u8],
    /// For which domain.
    pub realm: &'m [u8],
    /// The challenge that it answers.
    pub nonce: &'m [u8],
    /// The Request-URI, as the client sent it. A proxy on the way may have changed the request's
    /// own (RFC 3261 §22.4 item 4), so nothing compares them.
    pub uri: &'m [u8],
    /// The algorithm of the challenge; MD5 where it is not named.
    pub algorithm: Algorithm,
    /// What proves it.
    pub response: Hash,
    /// Which use of the nonce it is; `None` by a client of RFC 2069, which knows nothing of that.
    pub count: Option<Count<'m>>,
}

/// What `qop=auth` puts into a response.
#[derive(Clone, Copy, Debug)]
pub struct Count<'m> {
    /// How often the client has used the nonce, from 1 on.
    pub nc: u32,
    /// The same as it is hashed.
    pub text: &'m [u8],
    /// The client's own nonce.
    pub cnonce: &'m [u8],
}

impl<'m> Credentials<'m> {
    /// Which use of its nonce this is. Who does not count may use a nonce once.
    #[must_use]
    pub fn nc(&self) -> u32 {
        self.count.map_or(1, |count| count.nc)
    }

    /// Reads the value of a header field. `None` where nothing of ours was answered: it is for another
    /// realm, and then another's to judge, of another scheme, of an algorithm or a quality of protection that is not offered, or without a nonce, as
    /// from who has seen no challenge yet (RFC 8760 §2.7).
    ///
    /// # Errors
    /// A value that does not follow the grammar, with a parameter twice, or without one that must be.
    pub fn read(
        bytes: &'m [u8],
        value: Span,
        realm: &[u8],
    ) -> Result<Option<Credentials<'m>>, BadValue> {
        let (from, end) = (usize::from(value.start), usize::from(value.end));
        let scheme_end = class_end(bytes, from, end, TOKEN);
        let scheme = bytes.get(from..scheme_end).unwrap_or_default();
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Ok(None);
        }
        let mut found = Found::default();
        let mut at = skip_space(bytes, scheme_end, end);
        loop {
            let (name, value, after) = parameter(bytes, at, end)?;
            found.take(name, value)?;
            at = skip_space(bytes, after, end);
            if at < end && byte_at(bytes, at) != b',' {
                return Err(BadValue);
            }
            // RFC 7230 §7: an element of a list may be empty, and some end with a comma.
            while at < end && byte_at(bytes, at) == b',' {
                at = skip_space(bytes, at + 1, end);
            }
            if at >= end {
                break;
            }
        }
        match found.realm {
            Some(other) if other != realm => Ok(None),
            _ => found.finish(),
        }
    }
}

/// `name = value` at `at`: the name, the value without its quotes, and where it ends.
fn parameter(bytes: &[u8], at: usize, end: usize) -> Result<(&[u8], &[u8], usize), BadValue> {
    let name_end = class_end(bytes, at, end, TOKEN);
    let name = bytes.get(at..name_end).ok_or(BadValue)?;
    let equals = skip_space(bytes, name_end, end);
    if name.is_empty() || equals >= end || byte_at(bytes, equals) != b'=' {
        return Err(BadValue);
    }
    let value_at = skip_space(bytes, equals + 1, end);
    if value_at < end && byte_at(bytes, value_at) == b'"' {
        let close = quote_or_backslash(bytes, value_at + 1, end);
        let value = bytes.get(value_at + 1..close).ok_or(BadValue)?;
        return match close < end && byte_at(bytes, close) == b'"' {
            true => Ok((name, value, close + 1)),
            false => Err(BadValue),
        };
    }
    // Tokens, and what some send without the quotes that it needs, such as a URI.
    let value_end = class_end(bytes, value_at, end, PLAIN);
    match bytes.get(value_at..value_end) {
        Some(value) if !value.is_empty() => Ok((name, value, value_end)),
        _ => Err(BadValue),
    }
}

/// The parameters that were found so far.
#[derive(Default)]
struct Found<'m> {
    username: Option<&'m [u8]>,
    realm: Option<&'m [u8]>,
    nonce: Option<&'m [u8]>,
    uri: Option<&'m [u8]>,
    response: Option<&'m [u8]>,
    algorithm: Option<&'m [u8]>,
    cnonce: Option<&'m [u8]>,
    qop: Option<&'m [u8]>,
    nc: Option<&'m [u8]>,
}

impl<'m> Found<'m> {
    fn take(&mut self, name: &[u8], value: &'m [u8]) -> Result<(), BadValue> {
        // Nearly everybody spells them so, and comparing words is cheaper than walking through them.
        let is = |known: &[u8]| name == known || name.eq_ignore_ascii_case(known);
        let place = match name.len() {
            2 if is(b"nc") => &mut self.nc,
            3 if is(b"uri") => &mut self.uri,
            3 if is(b"qop") => &mut self.qop,
            5 if is(b"realm") => &mut self.realm,
            5 if is(b"nonce") => &mut self.nonce,
            6 if is(b"cnonce") => &mut self.cnonce,
            8 if is(b"username") => &mut self.username,
            8 if is(b"response") => &mut self.response,
            9 if is(b"algorithm") => &mut self.algorithm,
            // RFC 7616 §3.4: not beside the plain one, and alone it names nobody that we know.
            9 if is(b"username*") => return Err(BadValue),
            // RFC 7616 §3.4: what is not known is ignored.
            _ => return Ok(()),
        };
        match place.replace(value) {
            Some(_) => Err(BadValue),
            None => Ok(()),
        }
    }

    fn finish(self) -> Result<Option<Credentials<'m>>, BadValue> {
        let must = |value: Option<&'m [u8]>| value.ok_or(BadValue);
        let Some(algorithm) = Algorithm::of(self.algorithm.unwrap_or(b"MD5")) else {
            return Ok(None);
        };
        if self.nonce == Some(b"") {
            return Ok(None);
        }
        // RFC 3261 §22.4 item 8: a client may leave it out, though we say it.
        let count = match self.qop {
            None => None,
            Some(qop) if !qop.eq_ignore_ascii_case(b"auth") => return Ok(None),
            Some(_) => Some(Count::read(must(self.nc)?, must(self.cnonce)?)?),
        };
        Ok(Some(Credentials {
            username: must(self.username)?,
            realm: must(self.realm)?,
            nonce: must(self.nonce)?,
            uri: must(self.uri)?,
            algorithm,
            response: Hash::read(algorithm, must(self.response)?).ok_or(BadValue)?,
            count,
        }))
    }
}

impl<'m> Count<'m> {
    /// RFC 7616 §3.4: nc is eight hexadecimal digits.
    fn read(text: &'m [u8], cnonce: &'m [u8]) -> Result<Count<'m>, BadValue> {
        let is_count = text.len() == 8 && text.iter().all(u8::is_ascii_hexdigit);
        let digits = std::str::from_utf8(text).ok().filter(|_| is_count);
        let nc = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        Ok(Count {
            nc: nc.ok_or(BadValue)?,
            text,
            cnonce,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Credentials<'_>>, BadValue> {
        Credentials::read(text.as_bytes(), Span::new(0, text.len()), b"biloxi.com")
    }

    const GOOD: &str = "Digest username=\"bob\",realm=\"biloxi.com\",nonce=\"n\",uri=\"sip:bob@biloxi.com\",\
        qop=auth,nc=0000000a,cnonce=\"0a4f113b\",response=\"6629fae49393a05397450978507c4ef1\"";

    #[test]
    fn credentials_are_read_as_phones_write_them() {
        let credentials = read(GOOD).unwrap().unwrap();
        assert_eq!(credentials.username, b"bob");
        assert_eq!(credentials.uri, b"sip:bob@biloxi.com");
        assert_eq!(credentials.algorithm, Algorithm::Md5);
        let count = credentials.count.unwrap();
        assert_eq!((count.nc, count.text), (10, &b"0000000a"[..]));
        assert_eq!(count.cnonce, b"0a4f113b");
        // Spaces, line ends, another case, quotes where a token would do, none where they should be.
        let odd = GOOD
            .replace(",realm=", " ,\r\n Realm = ")
            .replace("qop=auth", "QOP=\"auth\"")
            .replace("nc=0000000a", "nc=\"0000000A\"")
            .replace("6629fae4", "6629FAE4")
            .replace("uri=\"sip:bob@biloxi.com\"", "uri=sip:bob@biloxi.com")
            + ", algorithm=\"md5\", opaque=\"\", , more=1,";
        let credentials = read(&odd).unwrap().unwrap();
        assert_eq!(credentials.realm, b"biloxi.com");
        assert_eq!(credentials.uri, b"sip:bob@biloxi.com");
        assert_eq!(credentials.nc(), 10);
        assert!(
            credentials
                .response
                .is(&read(GOOD).unwrap().unwrap().response)
        );
    }

    /// RFC 3261 §22.4 item 8.
    #[test]
    fn who_knows_no_quality_of_protection_counts_no_uses() {
        let old = GOOD.replace("qop=auth,nc=0000000a,cnonce=\"0a4f113b\",", "");
        for text in [&old, &GOOD.replace("qop=auth,", "")] {
            let credentials = read(text).unwrap().unwrap();
            assert!(credentials.count.is_none(), "{text}");
            assert_eq!(credentials.nc(), 1);
        }
    }

    #[test]
    fn what_answers_no_challenge_of_ours_is_none() {
        for text in [
            "Basic QWxhZGRpbg==",
            "",
            // RFC 8760 §2.7: before any challenge.
            "Digest username=\"bob\",realm=\"biloxi.com\",nonce=\"\",uri=\"sip:h\",response=\"\"",
            &GOOD.replace("\"n\"", "\"\""),
            &GOOD.replace("qop=auth", "qop=auth-int"),
            &(GOOD.to_owned() + ",algorithm=MD5-sess"),
            &GOOD.replace("biloxi", "atlanta"),
            "Digest username=\"u\",realm=\"elsewhere\",nonce=\"n\",uri=\"sip:e\",response=\"0\"",
        ] {
            assert!(read(text).unwrap().is_none(), "{text}");
        }
    }

    #[test]
    fn what_two_readers_would_read_differently_is_refused() {
        for text in [
            "Digest",
            "Digest username",
            "Digest username=\"bob",
            &GOOD.replace("\"bob\"", "\"b\\\"ob\""),
            &GOOD.replace("username=\"bob\",", ""),
            &GOOD.replace(",qop", " qop"),
            &GOOD.replace("0000000a", "a"),
            &GOOD.replace("0000000a", "0000000g"),
            &GOOD.replace("6629", "66"),
            &(GOOD.to_owned() + ",username=\"alice\""),
            &(GOOD.to_owned() + ",username*=UTF-8''alice"),
            &GOOD.replace("nc=0000000a,", ""),
            &GOOD.replace("cnonce=\"0a4f113b\",", ""),
            &(GOOD.to_owned() + ",more"),
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
