//! What another SIP library reads of a message, in a form that our reading can be held against.

pub mod ezk;
pub mod rsip;

use std::net::Ipv6Addr;

use trunkline_dataplane::sip::header::Address;
use trunkline_dataplane::sip::message::Message;
use trunkline_dataplane::sip::uri::Scheme;
use trunkline_dataplane::sip::uri::Uri;
use trunkline_dataplane::span::Span;

/// A text with its escapes read: one of the libraries reads them.
fn decoded(text: &[u8]) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() {
            &after[2..]
        } else {
            after
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Parameters in order: name and value.
pub type Params = Vec<(String, Option<String>)>;

/// A URI.
#[derive(Clone, Debug)]
pub struct UriView {
    pub sips: bool,
    pub user: Option<String>,
    pub host: String,
    pub port: Option<u16>,
    pub params: Params,
}

/// A value of Via.
#[derive(Clone, Debug)]
pub struct ViaView {
    pub transport: String,
    pub host: String,
    pub port: Option<u16>,
    pub params: Params,
}

/// A party: From or To.
#[derive(Clone, Debug)]
pub struct PartyView {
    pub uri: UriView,
    pub tag: Option<String>,
}

/// A message. What the library refuses or has no word for is `None`.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub method: Option<String>,
    pub uri: Option<UriView>,
    pub status: Option<u16>,
    pub vias: Option<Vec<ViaView>>,
    pub from: Option<PartyView>,
    pub to: Option<PartyView>,
    pub call_id: Option<String>,
    pub cseq: Option<(u32, String)>,
    pub max_forwards: Option<u32>,
    pub routes: Option<Vec<UriView>>,
    pub content_length: Option<usize>,
    pub body: Option<Vec<u8>>,
}

impl View {
    /// Whether the library has read all that a message must have (RFC 3261 §8.1.1).
    pub fn is_whole(&self) -> bool {
        let start = self.status.is_some() || (self.method.is_some() && self.uri.is_some());
        let parties = self.from.is_some() && self.to.is_some();
        let transaction = self.vias.is_some() && self.cseq.is_some();
        start && parties && transaction && self.call_id.is_some()
    }
}

/// Counts what was compared, and panics where we read something else.
pub struct Comparison<'m> {
    message: &'m Message<'m>,
    what: &'m str,
    pub compared: usize,
}

impl<'m> Comparison<'m> {
    pub fn new(message: &'m Message<'m>, what: &'m str) -> Comparison<'m> {
        Comparison {
            message,
            what,
            compared: 0,
        }
    }

    #[allow(
        clippy::needless_pass_by_value,
        reason = "it compares what is made for it"
    )]
    fn same<T: PartialEq + std::fmt::Debug>(&mut self, field: &str, ours: T, theirs: T) {
        let text = String::from_utf8_lossy(self.message.bytes());
        assert_eq!(
            ours, theirs,
            "{field} of {} (left: ours):\n{text}",
            self.what
        );
        self.compared += 1;
    }

    fn text(&self, span: Span) -> String {
        String::from_utf8_lossy(self.message.text(span)).into_owned()
    }

    pub fn with(&mut self, view: &View) {
        let message = self.message;
        let (number, name, _) = message.cseq();
        if let Some(method) = &view.method {
            self.same(
                "the method",
                String::from_utf8_lossy(name).into_owned(),
                method.clone(),
            );
        }
        if let Some(status) = view.status {
            self.same("the status", message.status(), Some(status));
        }
        if let Some(uri) = &view.uri {
            self.uri("the Request-URI", message.request_uri().unwrap(), uri);
        }
        if let Some(vias) = &view.vias {
            self.vias(vias);
        }
        for (field, ours, theirs) in [
            ("From", message.from(), &view.from),
            ("To", message.to(), &view.to),
        ] {
            if let Some(theirs) = theirs {
                self.party(field, ours, theirs);
            }
        }
        if let Some(call_id) = &view.call_id {
            let ours = String::from_utf8_lossy(message.call_id()).into_owned();
            self.same("Call-ID", ours, call_id.clone());
        }
        if let Some(cseq) = &view.cseq {
            let ours = (number, String::from_utf8_lossy(name).into_owned());
            self.same("CSeq", ours, cseq.clone());
        }
        if let Some(hops) = view.max_forwards {
            self.same(
                "Max-Forwards",
                message.max_forwards().map(u32::from),
                Some(hops),
            );
        }
        if let Some(routes) = &view.routes {
            self.routes(routes);
        }
        if let Some(len) = view.content_length {
            self.same("Content-Length", message.body().len(), len);
        }
        if let Some(body) = &view.body {
            // The libraries leave what follows the body to others.
            let ours = message.body();
            self.same("the body", ours, &body[..ours.len().min(body.len())]);
        }
    }

    fn vias(&mut self, theirs: &[ViaView]) {
        let message = self.message;
        let ours: Vec<_> = message.vias().collect();
        // Both libraries lose values of lists in some forms: a test that knows how many there
        // are counts them.
        if ours.len() != theirs.len() {
            return;
        }
        for (ours, theirs) in ours.iter().zip(theirs) {
            self.same(
                "Via's host",
                host(&self.text(ours.host)),
                host(&theirs.host),
            );
            self.same("Via's port", ours.port, theirs.port);
            let value = self.text(ours.value).to_ascii_uppercase();
            let transport = theirs.transport.to_ascii_uppercase();
            assert!(value.contains(&transport), "{transport} in {value}");
            let spans = [
                ("branch", ours.branch),
                ("received", ours.received),
                ("maddr", ours.maddr),
            ];
            for (name, span) in spans {
                let ours = span.map(|span| decoded(message.text(span)));
                let theirs = valued(&theirs.params, name);
                self.same(name, ours, theirs.map(|value| decoded(value.as_bytes())));
            }
            let rport = theirs
                .params
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case("rport"));
            let rport = rport.map(|(_, value)| value.as_ref().and_then(|port| port.parse().ok()));
            self.same("rport", ours.rport, rport);
        }
    }

    fn party(&mut self, field: &str, ours: Address, theirs: &PartyView) {
        let tag = ours.tag.map(|tag| self.text(tag));
        self.same(&format!("{field}'s tag"), tag, theirs.tag.clone());
        self.uri(field, ours.uri, &theirs.uri);
    }

    fn routes(&mut self, theirs: &[UriView]) {
        let ours: Result<Vec<_>, _> = self.message.routes().collect();
        // What we refuse is answered with a 400: nothing follows from it.
        let Ok(ours) = ours else { return };
        if ours.len() != theirs.len() {
            return;
        }
        for (ours, theirs) in ours.iter().zip(theirs) {
            self.uri("Route", ours.address.uri, theirs);
        }
    }

    fn uri(&mut self, field: &str, ours: Span, theirs: &UriView) {
        let bytes = self.message.bytes();
        let uri = Uri::read(bytes, ours).unwrap_or_else(|_| panic!("{field}: {}", self.text(ours)));
        if uri.scheme == Scheme::Other {
            // To us that is opaque.
            return;
        }
        self.same(field, uri.scheme == Scheme::Sips, theirs.sips);
        let user = uri.user.map(|user| decoded(user.of(bytes)));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-%".contains(&byte);
        let odd = user.as_ref().is_some_and(|user| !user.bytes().all(plain));
        if odd && theirs.user.is_none() {
            // One library knows few of the bytes that a user part may hold, and then reads none.
            return;
        }
        let their_user = theirs.user.as_ref();
        self.same(field, user, their_user.map(|user| decoded(user.as_bytes())));
        self.same(field, host(&self.text(uri.host_text)), host(&theirs.host));
        self.same(field, uri.port, theirs.port);
        for (name, value) in &theirs.params {
            let param = uri.param(bytes, name.as_bytes());
            let param = param.unwrap_or_else(|| panic!("{field} has no {name}"));
            let ours = param.value.map(|value| self.text(value));
            // Names of transports and the like come in the library's own spelling.
            let folded = |value: String| decoded(value.as_bytes()).to_ascii_lowercase();
            self.same(field, ours.map(folded), value.clone().map(folded));
        }
    }
}

fn valued(params: &Params, name: &str) -> Option<String> {
    let mut found = params
        .iter()
        .filter(|(known, _)| known.eq_ignore_ascii_case(name));
    found.next().and_then(|(_, value)| value.clone())
}

/// A host in one spelling.
fn host(text: &str) -> String {
    let inside = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    match inside.map(str::parse::<Ipv6Addr>) {
        Some(Ok(address)) => format!("[{address}]"),
        _ => text.to_ascii_lowercase(),
    }
}
