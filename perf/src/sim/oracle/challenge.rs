//! What a challenge of the box looks like (RFC 7616 §3.3, RFC 8760 §2.4).

use trunkline_dataplane::lab::DOMAIN;

use crate::sim::phone::CHALLENGES;
use crate::sim::phone::param;
use crate::sim::sip::Sip;

/// The algorithms of the domain, the preferred one first.
const ALGORITHMS: [&str; 2] = ["SHA-256", "MD5"];
/// Characters of a nonce.
const NONCE_LEN: usize = 32;

/// Checks a challenge, and gives its nonce: a header field for each algorithm, and the same nonce in
/// all of them.
pub(super) fn check(sip: &Sip, stale: bool) -> Result<String, String> {
    let (status, name, other) = match sip.method() {
        "REGISTER" => (401, CHALLENGES[1], CHALLENGES[0]),
        _ => (407, CHALLENGES[0], CHALLENGES[1]),
    };
    let fault = |why: &str| Err(format!("{why} in a challenge:\n{}", sip.text()));
    if sip.status() != Some(status) || sip.all(other).next().is_some() {
        return fault("another asker");
    }
    let all: Vec<_> = sip.all(name).collect();
    let algorithms = all.iter().map(|value| param(value, "algorithm"));
    if !algorithms.eq(ALGORITHMS.map(Some)) {
        return fault("other algorithms");
    }
    let nonce = param(all[0], "nonce").unwrap_or_default();
    let base32 = |c: char| c.is_ascii_digit() || ('a'..='v').contains(&c);
    if nonce.len() != NONCE_LEN || !nonce.chars().all(base32) {
        return fault("no nonce");
    }
    for value in &all {
        let said = ["realm", "nonce", "qop", "stale"].map(|name| param(value, name));
        if said
            != [
                Some(DOMAIN),
                Some(nonce),
                Some("auth"),
                stale.then_some("true"),
            ]
        {
            return fault("other words");
        }
    }
    Ok(nonce.to_owned())
}

/// A challenge without what names its request and its nonce.
pub(super) fn without_names(sip: &Sip) -> String {
    let nonce = sip.all(CHALLENGES[0]).chain(sip.all(CHALLENGES[1])).next();
    let nonce = nonce.and_then(|value| param(value, "nonce")).unwrap_or("-");
    let mut text = sip.start().to_owned();
    for (name, value) in sip.headers() {
        let value = match name {
            "Via" | "From" | "To" | "Call-ID" | "CSeq" => String::new(),
            _ => value.replace(nonce, "NONCE"),
        };
        text.push_str(&format!("\n{name}: {value}"));
    }
    text + "\n\n" + sip.body()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(stale: &str, second: &str) -> Sip {
        let nonce = "0123456789abcdefghijklmnopqrstuv";
        let line = |name, nonce| {
            format!(
                "Proxy-Authenticate: Digest realm=\"example.com\",nonce=\"{nonce}\",\
                 algorithm={name},qop=\"auth\"{stale}\r\n"
            )
        };
        let text = format!(
            "SIP/2.0 407 Proxy Authentication Required\r\nVia: v;branch=b\r\nFrom: <sip:a@b>;tag=t\r\n\
             To: <sip:1@box>;tag=x\r\nCall-ID: 4-c\r\nCSeq: 1 INVITE\r\n{}{}Content-Length: 0\r\n\r\n",
            line("SHA-256", nonce),
            line("MD5", second),
        );
        Sip::read(text).unwrap()
    }

    #[test]
    fn a_challenge_is_one_nonce_in_the_words_of_the_domain() {
        let nonce = "0123456789abcdefghijklmnopqrstuv";
        assert_eq!(check(&challenge("", nonce), false).as_deref(), Ok(nonce));
        assert!(check(&challenge(",stale=true", nonce), true).is_ok());
        assert!(check(&challenge(",stale=true", nonce), false).is_err());
        assert!(check(&challenge("", "0"), false).is_err());
    }
}
