//! What the ends say: messages written from the parts that never change and those of the call.

use std::net::SocketAddr;

use trunkline_dataplane::sip::header::HeaderName;
use trunkline_dataplane::sip::message::Message;

use super::call::Call;
use super::call::Id;
use super::load::Plan;
use super::pen::Pen;

/// The parts that never change, made once.
#[derive(Debug)]
pub(super) struct Speech {
    /// The Request-URI of a new call, and of To.
    target: String,
    /// The Request-URI of a registration.
    registrar: String,
    /// The domain of the users.
    domain: String,
    /// Callers are users of the domain, and not nobody.
    has_users: bool,
    /// Via of the caller up to the branch, of which no two runs have the same (RFC 3261 §8.1.1.7): a box may still know the
    /// transactions of the run before.
    via: Box<[u8]>,
    /// From of the caller up to the tag.
    from: Box<[u8]>,
    /// The end of each Call-ID: tells the runs apart.
    run: Box<[u8]>,
    /// Contact and the rest of the caller's INVITE.
    caller_contact: Box<[u8]>,
    /// Contact of the callee.
    callee_contact: Box<[u8]>,
    /// What the caller offers; none for calls without a body.
    caller_sdp: Option<Sdp>,
    /// What the callee answers.
    callee_sdp: Option<Sdp>,
}

/// A request of the caller.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask<'m> {
    Invite,
    /// To a 2xx of the INVITE with that CSeq: a transaction of its own (RFC 3261 §13.2.2.4).
    Ack(u32),
    /// To another final response, whose To it repeats (RFC 3261 §17.1.1.3).
    AckRefusal(&'m [u8]),
    Cancel,
    Bye,
    Register,
}

impl Ask<'_> {
    const fn name(self) -> &'static str {
        match self {
            Ask::Invite => "INVITE",
            Ask::Ack(_) | Ask::AckRefusal(_) => "ACK",
            Ask::Cancel => "CANCEL",
            Ask::Bye => "BYE",
            Ask::Register => "REGISTER",
        }
    }
}

impl Speech {
    pub(super) fn new(plan: &Plan) -> Speech {
        let Plan {
            caller,
            callee,
            number,
            run,
            sdp,
            users,
            domain,
            ..
        } = plan;
        let text = |text: String| text.into_bytes().into_boxed_slice();
        Speech {
            target: format!("sip:{number}@{callee}"),
            registrar: format!("sip:{domain}"),
            domain: domain.clone(),
            has_users: *users > 0,
            via: text(format!(
                " SIP/2.0\r\nVia: SIP/2.0/UDP {caller};rport;branch=z9hG4bK{run:08x}"
            )),
            from: text(format!("From: \"Blast\" <sip:blast@{caller}>;tag=c")),
            run: text(format!("@{run:08x}.blast\r\nCSeq: ")),
            caller_contact: text(format!("Contact: <sip:blast@{caller}>\r\n{CAPABILITIES}")),
            callee_contact: text(format!(
                "Contact: <sip:{number}@{callee}>\r\n{CAPABILITIES}"
            )),
            caller_sdp: sdp.then(|| Sdp::new(*caller)),
            callee_sdp: sdp.then(|| Sdp::new(*callee)),
        }
    }

    /// Writes a request of the caller.
    pub(super) fn request(&self, pen: &mut Pen<'_>, ask: Ask<'_>, id: Id, call: &Call) {
        let caller = &call.caller;
        let within = caller.confirmed;
        let cseq = match ask {
            Ask::Ack(cseq) => cseq,
            _ => caller.cseq,
        };
        let registers = matches!(ask, Ask::Register);
        let target = match (registers, within) {
            (true, _) => self.registrar.as_bytes(),
            (false, true) => &caller.target,
            (false, false) => self.target.as_bytes(),
        };
        pen.put(ask.name()).put(" ").put(target);
        pen.put(&self.via).hex(id.seat).hex(id.generation);
        pen.number(cseq.into()).put(match ask {
            Ask::Bye => "b",
            Ask::Ack(_) => "a",
            Ask::Register => "r",
            // A CANCEL has the branch of its INVITE (RFC 3261 §9.1).
            Ask::Invite | Ask::AckRefusal(_) | Ask::Cancel => "i",
        });
        pen.put("\r\nMax-Forwards: 70\r\n");
        if within {
            pen.put(&caller.routes);
        }
        if self.has_users {
            pen.put("From: <sip:");
            put_user(pen, call);
            pen.put("@").put(&self.domain).put(">;tag=c");
        } else {
            pen.put(&self.from);
        }
        pen.hex(id.seat).hex(id.generation);
        pen.put("\r\nTo: ");
        if let Ask::AckRefusal(to) = ask {
            pen.put(to);
        } else if registers {
            pen.put("<sip:");
            put_user(pen, call);
            pen.put("@").put(&self.domain).put(">");
        } else {
            pen.put("<").put(&self.target).put(">");
            if within {
                pen.put(";tag=d").hex(id.seat).hex(id.generation);
            }
        }
        pen.put("\r\nCall-ID: ").hex(id.seat).hex(id.generation);
        pen.put(&self.run).number(cseq.into()).put(" ");
        pen.put(ask.name()).put("\r\n");
        let sdp = self.caller_sdp.as_ref();
        if let Ask::Invite | Ask::Register = ask {
            pen.put(&caller.authorization);
            pen.put(&self.caller_contact);
        }
        if registers {
            pen.put("Expires: 3600\r\n");
        }
        match (ask, sdp) {
            (Ask::Invite, Some(sdp)) => sdp.write(pen, id, within && caller.held == 0),
            _ => {
                pen.put(NO_BODY);
            }
        }
    }

    /// The Request-URI of a request that opens something.
    pub(super) fn uri(&self, method: &str) -> &str {
        match method {
            "REGISTER" => &self.registrar,
            _ => &self.target,
        }
    }

    /// Writes a response of the callee to the INVITE that it has kept.
    pub(super) fn response(&self, pen: &mut Pen<'_>, status: u16, id: Id, call: &Call) {
        let callee = &call.callee;
        status_line(pen, status);
        pen.put(&callee.echo);
        if !callee.tagged {
            pen.put(";tag=d").hex(id.seat).hex(id.generation);
        }
        pen.put("\r\n");
        if status < 300 {
            pen.put(&self.callee_contact);
        }
        match (status, &self.callee_sdp) {
            (200, Some(sdp)) => sdp.write(pen, id, callee.holding),
            _ => {
                pen.put(NO_BODY);
            }
        }
    }
}

/// Writes the name of the call's user.
fn put_user(pen: &mut Pen<'_>, call: &Call) {
    let mut room = [0; 8];
    let mut digits = Pen::new(&mut room);
    // Always six digits: the seventh is left out.
    digits.number(1_000_000 + u64::from(call.user) % 1_000_000);
    pen.put("user").put(&room[1..7]);
}

/// Writes a response that is made of its request alone; a To without tag gets that of `id`.
pub(super) fn response_to(pen: &mut Pen<'_>, status: u16, request: &Message<'_>, id: Id) {
    status_line(pen, status);
    echo(request, |line| {
        pen.put(line);
    });
    if request.to_tag().is_none() {
        pen.put(";tag=d").hex(id.seat).hex(id.generation);
    }
    pen.put("\r\n").put(NO_BODY);
}

/// Gives the header lines that every response repeats (RFC 3261 §8.2.6.2), Record-Route among them
/// (§12.1.1); To comes last, without its line end, so that a tag can follow.
pub(super) fn echo(request: &Message<'_>, mut put: impl FnMut(&[u8])) {
    let mut to: &[u8] = b"";
    for header in request.headers() {
        let line = request.text(header.line);
        match header.kind {
            HeaderName::Via
            | HeaderName::RecordRoute
            | HeaderName::From
            | HeaderName::CallId
            | HeaderName::Cseq => put(line),
            HeaderName::To => to = line,
            _ => {}
        }
    }
    put(to.trim_ascii_end());
}

fn status_line(pen: &mut Pen<'_>, status: u16) {
    pen.put(match status {
        180 => "SIP/2.0 180 Ringing\r\n",
        200 => "SIP/2.0 200 OK\r\n",
        481 => "SIP/2.0 481 Call/Transaction Does Not Exist\r\n",
        486 => "SIP/2.0 486 Busy Here\r\n",
        487 => "SIP/2.0 487 Request Terminated\r\n",
        _ => "SIP/2.0 405 Method Not Allowed\r\n",
    });
}

/// What a telephone says of itself in an INVITE and its answers.
const CAPABILITIES: &str = "User-Agent: trunkline-perf\r\n\
    Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK\r\n\
    Supported: 100rel, timer, replaces\r\n";

const NO_BODY: &str = "Content-Length: 0\r\n\r\n";

/// A body that describes one G.711 stream.
#[derive(Debug)]
struct Sdp {
    head: Box<[u8]>,
    tail: [Box<[u8]>; 2],
}

/// Ports of media: from here on, an even one for each seat, as far as they go.
pub(super) const MEDIA_PORT_FIRST: u16 = 20_000;
/// Pairs of media ports.
const MEDIA_PAIRS: u32 = 20_000;

/// The RTP port of a seat.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the remainder is below MEDIA_PAIRS"
)]
pub(super) const fn media_port(seat: u32) -> u16 {
    MEDIA_PORT_FIRST + (seat % MEDIA_PAIRS * 2) as u16
}

impl Sdp {
    fn new(address: SocketAddr) -> Sdp {
        let (ip, family) = match address.ip() {
            std::net::IpAddr::V4(ip) => (ip.to_string(), "IP4"),
            std::net::IpAddr::V6(ip) => (ip.to_string(), "IP6"),
        };
        let head = format!(
            "v=0\r\no=blast 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio "
        );
        let tail = |direction: &str| {
            format!(
                " RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
                 a=ptime:20\r\na={direction}\r\n"
            )
        };
        let bytes = |text: String| text.into_bytes().into_boxed_slice();
        Sdp {
            head: bytes(head),
            tail: ["sendrecv", "inactive"].map(|direction| bytes(tail(direction))),
        }
    }

    fn write(&self, pen: &mut Pen<'_>, id: Id, held: bool) {
        let tail = &self.tail[usize::from(held)];
        // All ports have five digits.
        let len = self.head.len() + 5 + tail.len();
        pen.put("Content-Type: application/sdp\r\nContent-Length: ");
        pen.number(len as u64).put("\r\n\r\n");
        pen.put(&self.head).number(media_port(id.seat).into());
        pen.put(tail);
    }
}

const _: () = assert!(media_port(0) >= 10_000 && media_port(MEDIA_PAIRS - 1) < 65_535);
