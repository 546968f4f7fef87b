//! ezk-sip-types.

use bytes::Bytes;
use ezk_sip_types::Headers;
use ezk_sip_types::Name;
use ezk_sip_types::header::typed::CSeq;
use ezk_sip_types::header::typed::CallID;
use ezk_sip_types::header::typed::ContentLength;
use ezk_sip_types::header::typed::FromTo;
use ezk_sip_types::header::typed::MaxForwards;
use ezk_sip_types::header::typed::Routing;
use ezk_sip_types::header::typed::Via;
use ezk_sip_types::host::HostPort;
use ezk_sip_types::msg::Line;
use ezk_sip_types::msg::MessageLine;
use ezk_sip_types::msg::PullParser;
use ezk_sip_types::parse::Parse as _;
use ezk_sip_types::uri::SipUri;
use ezk_sip_types::uri::SipUriUserPart;
use ezk_sip_types::uri::params::Params as EzkParams;

use super::Params;
use super::PartyView;
use super::UriView;
use super::ViaView;
use super::View;

/// What it reads; `None` where it finds no message.
pub fn view(bytes: &[u8]) -> Option<View> {
    let source = Bytes::copy_from_slice(bytes);
    let mut lines = PullParser::new(&source, 0);
    let first = std::str::from_utf8(lines.next()?.ok()?).ok()?;
    let start = MessageLine::parse_str(first).ok()?;
    let mut headers = Headers::new();
    for line in lines.by_ref() {
        let line = std::str::from_utf8(line.ok()?).ok()?;
        let (_, line) = Line::parse(&source, line).ok()?;
        headers.insert(line.name, line.value);
    }
    let body = bytes.get(lines.head_end()..)?;
    let mut view = View {
        vias: headers
            .get_named()
            .ok()
            .map(|vias: Vec<Via>| vias.iter().map(via).collect()),
        from: headers.get(Name::FROM).ok().map(|from| party(&from)),
        to: headers.get(Name::TO).ok().map(|to| party(&to)),
        call_id: headers.get_named().ok().map(|id: CallID| id.0.to_string()),
        cseq: headers
            .get_named()
            .ok()
            .map(|cseq: CSeq| (cseq.cseq, cseq.method.to_string())),
        max_forwards: headers
            .get_named()
            .ok()
            .map(|hops: MaxForwards| hops.0.into()),
        routes: headers
            .get(Name::ROUTE)
            .ok()
            .map(|routes: Vec<Routing>| routes.iter().map(|route| uri(&route.uri.uri)).collect()),
        content_length: headers.get_named().ok().map(|len: ContentLength| len.0),
        body: Some(body.to_vec()),
        ..View::default()
    };
    match &start {
        MessageLine::Request(line) => {
            view.method = Some(line.method.to_string());
            view.uri = Some(uri(&line.uri));
        }
        MessageLine::Response(line) => view.status = Some(line.code.into_u16()),
    }
    Some(view)
}

fn via(via: &Via) -> ViaView {
    let (host, port) = host(&via.sent_by);
    ViaView {
        transport: via.transport.to_string(),
        host,
        port,
        params: params(&via.params),
    }
}

fn party(party: &FromTo) -> PartyView {
    PartyView {
        uri: uri(&party.uri.uri),
        tag: party.tag.as_ref().map(ToString::to_string),
    }
}

fn uri(uri: &SipUri) -> UriView {
    let (host, port) = host(&uri.host_port);
    let user = match &uri.user_part {
        SipUriUserPart::Empty => None,
        SipUriUserPart::User(user) => Some(user.to_string()),
        SipUriUserPart::UserPw(both) => Some(both.user.to_string()),
    };
    UriView {
        sips: uri.sips,
        user,
        host,
        port,
        params: params(&uri.uri_params),
    }
}

fn host(at: &HostPort) -> (String, Option<u16>) {
    (at.host.to_string(), at.port)
}

/// Its parameters come out by being written: it has no list of them.
fn params<S>(params: &EzkParams<S>) -> Params
where
    EzkParams<S>: std::fmt::Display,
{
    let text = params.to_string();
    let params = text.split(';').filter(|param| !param.is_empty());
    let pair = |param: &str| match param.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (param.to_owned(), None),
    };
    params.map(pair).collect()
}
