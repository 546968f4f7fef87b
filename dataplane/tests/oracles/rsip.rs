//! rsip.

use rsip::Header;
use rsip::HostWithPort;
use rsip::Param;
use rsip::Scheme;
use rsip::SipMessage;
use rsip::Uri;
use rsip::headers::ToTypedHeader as _;
use rsip::headers::UntypedHeader as _;
use rsip::message::HasHeaders as _;
use rsip::message::HeadersExt as _;

use super::Params;
use super::PartyView;
use super::UriView;
use super::ViaView;
use super::View;

/// What it reads; `None` where it finds no message.
pub fn view(bytes: &[u8]) -> Option<View> {
    let head = bytes.len() - body(bytes).len();
    // It lets the headers of a URI begin at a `?` in the user part.
    if bytes[..head].contains(&b'?') {
        return None;
    }
    let message = SipMessage::try_from(bytes).ok()?;
    let mut view = View {
        body: Some(message.body().clone()),
        ..View::default()
    };
    match &message {
        SipMessage::Request(request) => {
            view.method = Some(request.method.to_string());
            view.uri = Some(uri(&request.uri));
        }
        SipMessage::Response(response) => {
            view.status = Some(response.status_code.code());
        }
    }
    let vias = message.headers().iter().filter_map(|header| match header {
        Header::Via(via) => Some(via.typed().ok()),
        _ => None,
    });
    let vias: Option<Vec<_>> = vias.collect();
    // It reads one value a line, and takes a second one for part of the first.
    view.vias = vias.filter(|_| !bytes.contains(&b',')).map(|vias| {
        let via = |via: &rsip::typed::Via| {
            let at = &via.uri.host_with_port;
            ViaView {
                transport: via.transport.to_string(),
                host: at.host.to_string(),
                port: at.port.as_ref().map(|port| *port.value()),
                params: params(&via.params),
            }
        };
        vias.iter().map(via).collect()
    });
    // Most display names are part of the URI to it, and without brackets the tag is.
    let readable = |value: &str| value.starts_with('<');
    let from = message.from_header().ok();
    let from = from.filter(|from| readable(from.value()));
    let from = from.and_then(|from| from.typed().ok());
    view.from = from.map(|from| party(&from.uri, from.tag().map(ToString::to_string)));
    let to = message.to_header().ok();
    let to = to.filter(|to| readable(to.value()));
    let to = to.and_then(|to| to.typed().ok());
    view.to = to.map(|to| party(&to.uri, to.tag().map(ToString::to_string)));
    view.call_id = message
        .call_id_header()
        .ok()
        .map(|id| id.value().to_owned());
    let cseq = message
        .cseq_header()
        .ok()
        .and_then(|cseq| cseq.typed().ok());
    view.cseq = cseq.map(|cseq| (cseq.seq, cseq.method.to_string()));
    let hops = message.max_forwards_header().ok();
    view.max_forwards = hops.and_then(|hops| hops.num().ok());
    view.routes = routes(&message);
    Some(view)
}

/// What follows the first empty line.
fn body(bytes: &[u8]) -> &[u8] {
    let end = bytes.windows(4).position(|end| end == b"\r\n\r\n");
    end.map_or(&[], |end| &bytes[end + 4..])
}

fn routes(message: &SipMessage) -> Option<Vec<UriView>> {
    let lines = message.headers().iter().filter_map(|header| match header {
        Header::Route(route) => Some(route.typed().ok()),
        _ => None,
    });
    let lines: Option<Vec<_>> = lines.collect();
    let values = lines?.into_iter().flat_map(|line| line.uris().to_vec());
    let values: Vec<_> = values.map(|value| uri(&value.uri)).collect();
    (!values.is_empty()).then_some(values)
}

fn party(of: &Uri, tag: Option<String>) -> PartyView {
    PartyView { uri: uri(of), tag }
}

fn uri(uri: &Uri) -> UriView {
    let HostWithPort { host, port } = &uri.host_with_port;
    UriView {
        sips: uri.scheme == Some(Scheme::Sips),
        user: uri.auth.as_ref().map(|auth| auth.user.clone()),
        host: host.to_string(),
        port: port.as_ref().map(|port| *port.value()),
        params: params(&uri.params),
    }
}

fn params(params: &[Param]) -> Params {
    let pair = |param: &Param| {
        let text = param.to_string();
        let text = text.trim_start_matches(';');
        match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (text.to_owned(), None),
        }
    };
    params.iter().map(pair).collect()
}
