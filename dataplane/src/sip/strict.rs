//! Strict routers, as RFC 2543 had them: they expect themselves in the Request-URI and the
//! message's own target last in Route. A proxy of RFC 3261 moves the two to and fro.

use super::edit;
use super::edit::Refused;
use super::edit::Splices;
use super::message::Message;
use super::uri::Uri;
use crate::span::Span;

/// True where the Route value below the topmost `ours`, to which the request would go next, is
/// a strict router's: its URI has no `lr`.
#[must_use]
pub fn is_next(message: &Message<'_>, ours: usize) -> bool {
    let next = message.routes().nth(ours).and_then(Result::ok);
    let uri = next.and_then(|next| Uri::read(message.bytes(), next.address.uri).ok());
    uri.is_some_and(|uri| !uri.has_lr(message.bytes()))
}

/// Makes the request one for a strict router (RFC 3261 §16.6 step 6): the first Route value
/// below the topmost `ours`, which are taken away, becomes the Request-URI, and the Request-URI
/// the last Route value.
///
/// # Errors
/// As [`Splices::splice`].
pub fn wind(message: &Message<'_>, splices: &mut Splices, ours: usize) -> Result<(), Refused> {
    let mut last_line = None;
    let mut next = None;
    for (number, route) in message.routes().enumerate() {
        let route = route?;
        if number == ours {
            next = Some(route.address.uri);
        }
        last_line = Some(route.field.line);
    }
    let (Some(next), Some(last_line), Some(uri)) = (next, last_line, message.request_uri()) else {
        return Ok(());
    };
    edit::remove_routes(message, splices, ours + 1)?;
    splices.replace(uri, message.text(next))?;
    splices.splice(Span::empty(last_line.end), |out| {
        for part in [b"Route: <", message.text(uri), b">\r\n"] {
            out.push(part);
        }
    })
}

/// Undoes what a strict router did that sent to a Record-Route value of ours (RFC 3261 §16.4):
/// the last Route value becomes the Request-URI. Ours goes to the top of Route, where a loose
/// router would have left it, so that it proves there what it has to. False where there is
/// no Route: the request is as good as it can be.
///
/// # Errors
/// As [`Splices::splice`].
pub fn unwind(message: &Message<'_>, splices: &mut Splices) -> Result<bool, Refused> {
    let mut top_line = None;
    let mut before = Span::default();
    let mut last = None;
    for route in message.routes() {
        let route = route?;
        top_line.get_or_insert(route.field.line);
        if let Some(last) = last.replace(route) {
            before = last.address.value;
        }
    }
    let (Some(top_line), Some(last), Some(uri)) = (top_line, last, message.request_uri()) else {
        return Ok(false);
    };
    splices.replace(uri, message.text(last.address.uri))?;
    splices.splice(Span::empty(top_line.start), |out| {
        for part in [b"Route: <", message.text(uri), b">\r\n"] {
            out.push(part);
        }
    })?;
    let removed = if last.is_first() {
        last.field.line
    } else {
        Span {
            start: before.end,
            end: last.address.value.end,
        }
    };
    splices.remove(removed)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bye(uri: &str, routes: &str) -> String {
        format!(
            "BYE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKa\r\n{routes}\
             From: <sip:a@a>;tag=1\r\nTo: <sip:b@b>;tag=2\r\nCall-ID: i\r\nCSeq: 2 BYE\r\n\r\n"
        )
    }

    fn edited(
        text: &str,
        edit: impl FnOnce(&Message<'_>, &mut Splices) -> Result<bool, Refused>,
    ) -> Option<String> {
        let message = Message::scan(text.as_bytes()).unwrap();
        let mut splices = Splices::new();
        if !edit(&message, &mut splices).unwrap() {
            return None;
        }
        let mut out = [0; 2_048];
        let len = splices.write(message.bytes(), &mut out).unwrap();
        Message::scan(&out[..len]).unwrap();
        Some(String::from_utf8(out[..len].to_vec()).unwrap())
    }

    fn wound(text: &str, ours: usize) -> String {
        edited(text, |message, splices| {
            assert!(is_next(message, ours));
            wind(message, splices, ours).map(|()| true)
        })
        .unwrap()
    }

    #[test]
    fn a_strict_router_gets_itself_in_the_request_uri_and_the_target_last() {
        // RFC 3261 §16.12.1.2: P4 to P3.
        let routes = "Route: <sip:p4.domain.com;lr>\r\nRoute: <sip:p3.middle.com>\r\n\
                      Route: <sip:p2.example.com;lr>\r\nRoute: <sip:p1.example.com;lr>\r\n";
        let after = "Route: <sip:p2.example.com;lr>\r\nRoute: <sip:p1.example.com;lr>\r\n\
                     Route: <sip:caller@u1.example.com>\r\n";
        assert_eq!(
            wound(&bye("sip:caller@u1.example.com", routes), 1),
            bye("sip:p3.middle.com", after)
        );
        // All of them in one line, and the strict one the last.
        let routes = "Route: <sip:us;lr>, \"3\" <sip:p3>;x=1\r\n";
        assert_eq!(
            wound(&bye("sip:c", routes), 1),
            bye("sip:p3", "Route: <sip:c>\r\n")
        );
        let loose = bye("sip:c", "Route: <sip:us;lr>, <sip:p3;lr>\r\n");
        let loose = Message::scan(loose.as_bytes()).unwrap();
        assert!(!is_next(&loose, 1) && !is_next(&loose, 2));
    }

    #[test]
    fn what_a_strict_router_sent_is_as_a_loose_one_would_have_sent_it() {
        // RFC 3261 §16.12.1.2: P3 to P2.
        let routes = "Route: <sip:p1.example.com;lr>\r\nRoute: <sip:caller@u1.example.com>\r\n";
        let after = "Route: <sip:p2.example.com;lr>\r\nRoute: <sip:p1.example.com;lr>\r\n";
        assert_eq!(
            edited(&bye("sip:p2.example.com;lr", routes), unwind).unwrap(),
            bye("sip:caller@u1.example.com", after)
        );
        for (routes, after) in [
            ("Route: <sip:c>\r\n", "Route: <sip:us;lr>\r\n"),
            (
                "Route: <sip:p1;lr> , <sip:c>\r\n",
                "Route: <sip:us;lr>\r\nRoute: <sip:p1;lr>\r\n",
            ),
        ] {
            assert_eq!(
                edited(&bye("sip:us;lr", routes), unwind).unwrap(),
                bye("sip:c", after)
            );
        }
        assert_eq!(edited(&bye("sip:us;lr", ""), unwind), None);
    }
}
