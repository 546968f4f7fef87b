//! Digest authentication of a caller (RFC 7616, RFC 8760): the answer to a challenge.

use md5::Md5;
use sha2::Sha256;
use sha2::Sha512_256;
use trunkline_dataplane::sip::header::HeaderName;
use trunkline_dataplane::sip::message::Message;

/// Who authenticates.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl Credentials {
    /// Those of the user of that number.
    pub(super) fn of(user: u32) -> Credentials {
        Credentials {
            user: format!("user{user:06}"),
            password: format!("pw{user:06}"),
        }
    }
}

/// Hash functions, as a challenge names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Md5,
    Sha256,
    Sha512T256,
}

impl Algorithm {
    fn of(name: &str) -> Option<Algorithm> {
        [
            ("MD5", Algorithm::Md5),
            ("SHA-256", Algorithm::Sha256),
            ("SHA-512-256", Algorithm::Sha512T256),
        ]
        .into_iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, algorithm)| algorithm)
    }

    fn hash(self, parts: &[&str]) -> String {
        fn of<D: md5::Digest>(parts: &[&str]) -> String {
            let mut hash = D::new();
            for (at, part) in parts.iter().enumerate() {
                if at > 0 {
                    hash.update(b":");
                }
                hash.update(part.as_bytes());
            }
            let bytes = hash.finalize();
            let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
            digits
                .filter_map(|digit| char::from_digit(digit.into(), 16))
                .collect()
        }
        match self {
            Algorithm::Md5 => of::<Md5>(parts),
            Algorithm::Sha256 => of::<Sha256>(parts),
            Algorithm::Sha512T256 => of::<Sha512_256>(parts),
        }
    }
}

/// The header line that answers a 401 or 407: to the first of its challenges that can be answered
/// (RFC 8760 §2.4). `None` where there is none.
#[must_use]
pub fn answer(
    message: &Message<'_>,
    credentials: &Credentials,
    (method, uri): (&str, &str),
    cnonce: u32,
) -> Option<String> {
    let (_, line) = answered(message, credentials, (method, uri), cnonce)?;
    Some(line)
}

/// The same, with the value of the challenge.
pub(super) fn answered<'m>(
    message: &'m Message<'_>,
    credentials: &Credentials,
    (method, uri): (&str, &str),
    cnonce: u32,
) -> Option<(&'m str, String)> {
    let headers = message.headers();
    headers
        .filter(|header| header.kind == HeaderName::Other)
        .find_map(|header| {
            let name = std::str::from_utf8(message.text(header.name(message.bytes()))).ok()?;
            let answer_name = match () {
                () if name.eq_ignore_ascii_case("WWW-Authenticate") => "Authorization",
                () if name.eq_ignore_ascii_case("Proxy-Authenticate") => "Proxy-Authorization",
                () => return None,
            };
            let challenge = std::str::from_utf8(message.text(header.value)).ok()?;
            let value = answer_to(challenge, credentials, (method, uri), (1, cnonce))?;
            Some((challenge, format!("{answer_name}: {value}\r\n")))
        })
}

/// The value that answers one challenge, whose nonce is used for the `count`th time. `None` where it
/// is of another scheme or algorithm.
#[must_use]
pub fn answer_to(
    challenge: &str,
    Credentials { user, password }: &Credentials,
    (method, uri): (&str, &str),
    (count, cnonce): (u32, u32),
) -> Option<String> {
    let (scheme, params) = challenge.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Digest") {
        return None;
    }
    let (realm, nonce) = (param(params, "realm")?, param(params, "nonce")?);
    let name = param(params, "algorithm");
    let algorithm = Algorithm::of(name.unwrap_or("MD5"))?;
    let ha1 = algorithm.hash(&[user, realm, password]);
    let ha2 = algorithm.hash(&[method, uri]);
    let mut value =
        format!("Digest username=\"{user}\",realm=\"{realm}\",nonce=\"{nonce}\",uri=\"{uri}\"");
    if let Some(name) = name {
        value += &format!(",algorithm={name}");
    }
    if let Some(opaque) = param(params, "opaque") {
        value += &format!(",opaque=\"{opaque}\"");
    }
    let qops = param(params, "qop").unwrap_or_default();
    let response = if qops.split(',').any(|qop| qop.trim() == "auth") {
        let (nc, cnonce) = (format!("{count:08x}"), format!("{cnonce:08x}"));
        value += &format!(",qop=auth,nc={nc},cnonce=\"{cnonce}\"");
        algorithm.hash(&[&ha1, nonce, &nc, &cnonce, "auth", &ha2])
    } else {
        algorithm.hash(&[&ha1, nonce, &ha2])
    };
    Some(format!("{value},response=\"{response}\""))
}

/// True where the value of an Authorization or Proxy-Authorization proves that its sender knows the
/// password.
#[must_use]
pub fn proves(value: &str, password: &str, method: &str) -> bool {
    let get = |name| param(value.strip_prefix("Digest ")?, name);
    let expected = || {
        let algorithm = Algorithm::of(get("algorithm")?)?;
        let ha1 = algorithm.hash(&[get("username")?, get("realm")?, password]);
        let ha2 = algorithm.hash(&[method, get("uri")?]);
        let (nonce, nc, cnonce) = (get("nonce")?, get("nc")?, get("cnonce")?);
        Some(algorithm.hash(&[&ha1, nonce, nc, cnonce, get("qop")?, &ha2]))
    };
    expected().is_some_and(|expected| get("response") == Some(&expected))
}

/// A parameter's value, without its quotes.
#[must_use]
pub fn param<'c>(mut params: &'c str, wanted: &str) -> Option<&'c str> {
    loop {
        let (name, rest) = params.split_once('=')?;
        let rest = rest.trim_start();
        let (value, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_at(rest.find(',').unwrap_or(rest.len())),
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value.trim());
        }
        params = after.trim_start().strip_prefix(',')?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 7616 §3.9.1.
    #[test]
    fn the_answers_are_those_of_the_rfc() {
        let credentials = Credentials {
            user: "Mufasa".to_owned(),
            password: "Circle of Life".to_owned(),
        };
        let ha2 = |algorithm: Algorithm| algorithm.hash(&["GET", "/dir/index.html"]);
        let ha1 = |algorithm: Algorithm| {
            algorithm.hash(&[
                &credentials.user,
                "http-auth@example.org",
                &credentials.password,
            ])
        };
        let response = |algorithm: Algorithm| {
            algorithm.hash(&[
                &ha1(algorithm),
                "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
                "00000001",
                "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
                "auth",
                &ha2(algorithm),
            ])
        };
        assert_eq!(response(Algorithm::Md5), "8ca523f5e9506fed4657c9700eebdbec");
        assert_eq!(
            response(Algorithm::Sha256),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
    }

    #[test]
    fn a_challenge_is_answered_with_what_it_asks_for() {
        let credentials = Credentials {
            user: "u".to_owned(),
            password: "p".to_owned(),
        };
        let answer = |challenge| answer_to(challenge, &credentials, ("REGISTER", "sip:d"), (1, 7));
        let full =
            answer("Digest realm=\"r, s\", nonce=\"n\" ,qop=\"auth,auth-int\",algorithm=SHA-256");
        let full = full.unwrap();
        assert!(full.starts_with(
            "Digest username=\"u\",realm=\"r, s\",nonce=\"n\",uri=\"sip:d\",algorithm=SHA-256,\
             qop=auth,nc=00000001,cnonce=\"00000007\",response=\""
        ));
        assert!(proves(&full, "p", "REGISTER"));
        assert!(!proves(&full, "q", "REGISTER") && !proves(&full, "p", "INVITE"));
        assert!(
            !answer("Digest realm=\"r\", nonce=\"n\"")
                .unwrap()
                .contains("qop")
        );
        assert_eq!(
            answer("Digest realm=\"r\", nonce=\"n\", algorithm=SHA-3"),
            None
        );
        assert_eq!(answer("Basic realm=\"r\""), None);
        assert_eq!(answer("Digest realm"), None);
    }
}
