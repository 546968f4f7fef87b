//! Challenges (RFC 7616 §3.3, RFC 8760 §2.4): one header field for each algorithm, in the order in
//! which the domain prefers them.

use super::Algorithm;
use super::nonce;
use crate::sip::header::Field;
use crate::sip::header::HeaderName;
use crate::sip::message::Message;
use crate::sip::method::Method;
use crate::text::Text;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A registrar, with 401.
    Registrar,
    /// A proxy, with 407.
    Proxy,
}

impl Asker {
    /// Who asks for the credentials of a request: a registrar those of a REGISTER, else a proxy
    /// (RFC 3261 §22.1).
    #[must_use]
    pub const fn of(method: Method) -> Asker {
        match method {
            Method::Register => Asker::Registrar,
            _ => Asker::Proxy,
        }
    }

    /// The header fields of a request that answer it (RFC 3261 §22.2, §22.3).
    pub fn answers<'m>(self, request: &Message<'m>) -> impl Iterator<Item = Field> + use<'m> {
        request.all_of(match self {
            Asker::Registrar => HeaderName::Authorization,
            Asker::Proxy => HeaderName::ProxyAuthorization,
        })
    }

    /// The status of its challenge.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Asker::Registrar => 401,
            Asker::Proxy => 407,
        }
    }

    /// The header field that it asks in.
    const fn header(self) -> &'static [u8] {
        match self {
            Asker::Registrar => b"WWW-Authenticate",
            Asker::Proxy => b"Proxy-Authenticate",
        }
    }
}

/// Writes the header fields of a challenge. The realm is a domain's name: no quote stands in it.
pub fn write(
    text: &mut Text<'_>,
    asker: Asker,
    realm: &[u8],
    nonce: &nonce::Text,
    algorithms: impl Iterator<Item = Algorithm>,
    stale: bool,
) {
    for algorithm in algorithms {
        text.push(asker.header());
        text.push(b": Digest realm=\"");
        text.push(realm);
        text.push(b"\",nonce=\"");
        text.push(nonce);
        text.push(b"\",algorithm=");
        text.push(algorithm.name().as_bytes());
        text.push(b",qop=\"auth\"");
        if stale {
            text.push(b",stale=true");
        }
        text.push(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_names_each_algorithm_in_a_line_of_its_own() {
        let mut buffer = [0; 512];
        let mut text = Text::new(&mut buffer);
        let algorithms = [Algorithm::Sha256, Algorithm::Md5];
        let nonce = [b'n'; nonce::TEXT_LEN];
        write(
            &mut text,
            Asker::Proxy,
            b"example.com",
            &nonce,
            algorithms.into_iter(),
            true,
        );
        let len = text.finish().unwrap();
        let line = |algorithm| {
            format!(
                "Proxy-Authenticate: Digest realm=\"example.com\",nonce=\"{}\",algorithm={algorithm},\
                 qop=\"auth\",stale=true\r\n",
                "n".repeat(32)
            )
        };
        assert_eq!(
            std::str::from_utf8(&buffer[..len]).unwrap(),
            line("SHA-256") + &line("MD5")
        );
    }
}
