//! What a message must look like behind the box, and that every other byte is as it came.

use std::net::SocketAddr;

use super::ledger::Asked;
use super::located::user_called;
use crate::sim::media;
use crate::sim::phone;
use crate::sim::sip::Sip;
use crate::sim::sip::bracketed;
use crate::sim::sip::host;
use crate::sim::sip::param;
use crate::sim::site::Site;

/// What may happen to a session description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// It names relay ports of the box.
    Relayed,
    /// As before, or it goes on as it came, to relays that are closed.
    MayPass,
    /// It goes on as it came.
    Same,
}

impl Body {
    /// That of a call with state, which may be over.
    pub const fn relayed(is_over: bool) -> Body {
        if is_over {
            Body::MayPass
        } else {
            Body::Relayed
        }
    }
}

/// RFC 3261 §18.2.1, RFC 3581 §4: `received` and `rport` in the Via of who asked, all else
/// as it was. A proxy before us asks for neither, and its address is what its Via says.
pub(super) fn stamped(source: SocketAddr, came: &str, left: &str) -> Result<(), String> {
    if came == left && param(came, "rport").is_none() {
        return Ok(());
    }
    let (received, rport) = (source.ip().to_string(), source.port().to_string());
    let asks = param(came, "rport").is_some();
    if asks && (param(left, "received") != Some(&received) || param(left, "rport") != Some(&rport))
    {
        return Err(format!("no source in {left}"));
    }
    let bare = left
        .replace(&format!(";received={received}"), "")
        .replace(&format!("rport={rport}"), "rport");
    if bare == came {
        Ok(())
    } else {
        Err(format!("Via was {came} and is {left}"))
    }
}

/// RFC 3261 §16.6: what a request must look like behind the box, which it has passed `passes`
/// times.
pub(super) fn forwarded(
    site: &Site,
    asked: &Asked,
    left: &Sip,
    side: usize,
    passes: usize,
    body: Body,
) -> Result<(), String> {
    let came = &asked.request;
    let mut vias = left.all("Via").skip(passes);
    stamped(
        asked.source,
        came.get("Via"),
        vias.next().unwrap_or_default(),
    )?;
    if !vias.eq(came.all("Via").skip(1)) {
        return Err("the Vias below are not as they came".to_owned());
    }
    let hops: usize = came.get("Max-Forwards").parse().unwrap_or(70);
    if left.get("Max-Forwards") != (hops - passes).to_string() {
        return Err(format!(
            "Max-Forwards {} behind {hops}",
            left.get("Max-Forwards")
        ));
    }
    // RFC 5393 §5.3.3: no more than it came with, and 60 where it says nothing.
    let breadth = |sip: &Sip, none: u32| sip.get("Max-Breadth").parse().unwrap_or(none);
    let (came_with, goes_with) = (breadth(came, 60), breadth(left, 60));
    if goes_with > came_with || goes_with == 0 {
        return Err(format!("Max-Breadth {goes_with} behind {came_with}"));
    }
    routes(site, asked, left)?;
    record_routes(site, asked, left, side, passes)?;
    let new = left.to_tag().is_empty() || asked.stateless;
    let theirs = host(site.address(asked.side));
    let next = left.uri().split_once('@').map_or("", |(_, at)| at);
    // RFC 3261 §16.6 step 2: a contact of the user, which is looked at when the step ends.
    let is_contact = site.domain.is_some() && user_called(came).is_some();
    let uri = if is_contact {
        left.uri().to_owned()
    } else if new {
        came.uri().replace(&theirs, next)
    } else {
        came.uri().to_owned()
    };
    if left.uri() != uri {
        return Err(format!("Request-URI {}, not {uri}", left.uri()));
    }
    untouched(
        site,
        came,
        left,
        side,
        &[
            "Via",
            "Max-Forwards",
            "Record-Route",
            "Route",
            "Max-Breadth",
        ],
        body,
    )
}

/// The box takes its own values off the front, and no other.
fn routes(site: &Site, asked: &Asked, left: &Sip) -> Result<(), String> {
    let ours = |route: &&str| {
        let uri = bracketed(route);
        [0, 1].iter().any(|&side| {
            let at = host(site.address(side));
            uri.strip_prefix("sip:").is_some_and(|uri| {
                uri.strip_prefix(&at)
                    .is_some_and(|rest| rest.starts_with(";lr;tl="))
            })
        })
    };
    let rest = asked.request.values("Route").skip_while(ours);
    if left.values("Route").eq(rest) {
        Ok(())
    } else {
        let routes: Vec<_> = left.all("Route").collect();
        Err(format!("Route: {routes:?} is left"))
    }
}

/// RFC 3261 §16.6 step 4, RFC 5658: two values where the sides differ, the callee's on top and
/// the same cookie in both; one more for each further pass by way of the box itself.
fn record_routes(
    site: &Site,
    asked: &Asked,
    left: &Sip,
    side: usize,
    passes: usize,
) -> Result<(), String> {
    let begins = left.method() == "INVITE" && left.to_tag().is_empty() && !asked.stateless;
    let all: Vec<&str> = left.all("Record-Route").collect();
    let below = asked.request.all("Record-Route").count();
    let fault = || Err(format!("Record-Route: {all:?}"));
    let added = match begins {
        true => passes + usize::from(asked.side != side),
        false => 0,
    };
    if all.len() != below + added
        || !asked
            .request
            .all("Record-Route")
            .eq(all[added..].iter().copied())
    {
        return fault();
    }
    for (number, route) in all[..added].iter().enumerate() {
        let last = number + 1 == added;
        let listen = site.listen(if last { asked.side } else { side });
        let cookie = param(bracketed(route), "tl").unwrap_or_default();
        // With the address of the subscriber who calls, or is called, of either family; what comes back from
        // the box itself is a trunk's.
        let is_of_caller =
            all[..added].last().map(|last| param(bracketed(last), "tl")) == Some(Some(cookie));
        let is_of_phone = site.is_phone(asked.source.ip()) || user_called(&asked.request).is_some();
        let lens = match is_of_caller && is_of_phone && site.domain.is_some() {
            true => [48, 88],
            false => [24; 2],
        };
        let is_cookie = lens.contains(&cookie.len());
        if *route != format!("<sip:{};lr;tl={cookie}>", host(listen.ip())) || !is_cookie {
            return fault();
        }
    }
    if let [.., a, b] = all[..added]
        && param(bracketed(a), "tl") != param(bracketed(b), "tl")
    {
        return fault();
    }
    Ok(())
}

/// RFC 3261 §16.7: what a response must look like in front of the box.
pub(super) fn passed_back(
    site: &Site,
    came: &Sip,
    left: &Sip,
    side: usize,
    passes: usize,
    body: Body,
) -> Result<(), String> {
    if !came.all("Via").skip(passes).eq(left.all("Via")) {
        return Err("the Vias below ours are not as they came".to_owned());
    }
    // RFC 3261 §16.7 step 7: the challenges of all branches go up together.
    let challenged = matches!(left.status(), Some(401 | 407));
    let challenges: &[&str] = &["Via", "WWW-Authenticate", "Proxy-Authenticate"];
    let changes = if challenged { challenges } else { &["Via"] };
    if challenged {
        for name in ["WWW-Authenticate", "Proxy-Authenticate"] {
            if !came
                .all(name)
                .all(|value| left.all(name).any(|other| other == value))
            {
                return Err(format!("a challenge is gone: {name}"));
            }
        }
    }
    // The 2xx of a second phone may come when the call of the first is over.
    untouched(site, came, left, side, changes, body)
}

/// All headers but those in `changes` are as they came, in their order; so is the body, but
/// for the addresses of its media, which are ours.
fn untouched(
    site: &Site,
    came: &Sip,
    left: &Sip,
    side: usize,
    changes: &[&str],
    body: Body,
) -> Result<(), String> {
    // RFC 4028 §8: what a proxy puts in where nobody has asked for a session timer.
    let timers: &[&str] = match (site.session_s, left.method()) {
        (1.., "INVITE" | "UPDATE") if body != Body::Same => {
            &["Session-Expires", "Min-SE", "Require", "Supported"]
        }
        _ => &[],
    };
    let changes = &[changes, timers].concat();
    fn rest<'s>(sip: &'s Sip, changes: &'s [&str]) -> impl Iterator<Item = (&'s str, &'s str)> {
        let kept = |name: &str| name != "Content-Length" && !changes.contains(&name);
        sip.headers().filter(move |(name, _)| kept(name))
    }
    // What proves something to the box is nobody else's business.
    let is_for_the_box = |(name, value): &(&str, &str)| {
        site.domain.is_some() && name.ends_with("uthorization") && phone::is_ours(value)
    };
    let came_rest = rest(came, changes).filter(|line| !is_for_the_box(line));
    if !came_rest.eq(rest(left, changes)) {
        return Err(format!(
            "headers have changed:\n{}\n-- now --\n{}",
            came.text(),
            left.text()
        ));
    }
    let may_pass = body != Body::Relayed;
    if came.body() == left.body() && (may_pass || !came.body().contains("m=audio")) {
        return Ok(());
    }
    if body == Body::Same {
        return Err("without state the body is not the box's".to_owned());
    }
    // An answer in ACK of the other family, which a box before has let pass, cannot be refused.
    let is_foreign =
        |at: std::net::SocketAddr| [0, 1].map(|s| site.address(s).is_ipv4()) != [at.is_ipv4(); 2];
    let foreign = media::address_in(came.body()).is_ok_and(is_foreign);
    if foreign && came.method() == "ACK" && came.body() == left.body() {
        return Ok(());
    }
    let relay = media::address_in(left.body())?;
    // Of the calls of a spiral one may be over a moment before the other.
    let is_relay = site.is_relay(side, relay) || may_pass && site.is_relay(side ^ 1, relay);
    if !is_relay || relay.port() % 2 != 0 {
        return Err(format!("the SDP names {relay}"));
    }
    if !media::is_rewritten(came.body(), left.body()) {
        return Err(format!("SDP was\n{}\nand is\n{}", came.body(), left.body()));
    }
    Ok(())
}
