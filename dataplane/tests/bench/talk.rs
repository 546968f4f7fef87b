//! A call as talk between its two parties: what each says, what the other one hears of it, and where
//! their media goes.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;

use super::Bench;
use super::Left;
use super::answer;
use super::call::CALLEE_MEDIA;
use super::call::CALLER_MEDIA;
use super::call::CONTACT;
use super::call::media_in;
use super::call::rtp;
use super::header;
use super::invite;
use super::sdp;
use super::with_sdp;

pub const fn access(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 1, 2)), port)
}

pub const fn core(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 2, 2)), port)
}

/// Where the caller may receive, and the callee.
pub const CALLERS: [SocketAddr; 3] = [CALLER_MEDIA, access(6100), access(6200)];
pub const CALLEES: [SocketAddr; 3] = [CALLEE_MEDIA, core(7100), core(7200)];

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Caller,
    Callee,
}
pub use Who::Callee;
pub use Who::Caller;

/// A call on the bench, and all that was said in it.
pub struct Talk {
    pub bench: Bench,
    /// What was said, and what the other one heard of it.
    pub said: Vec<(Who, String, Vec<String>)>,
    /// The INVITE as the callee got it.
    pub invite: String,
    /// The first response that made the dialog, as the caller got it.
    pub dialog: String,
    /// The callee's tag.
    pub tag: &'static str,
    pub at_core: Option<SocketAddr>,
    pub at_access: Option<SocketAddr>,
}

impl Talk {
    pub fn new() -> Talk {
        Talk {
            bench: Bench::new(1),
            said: Vec::new(),
            invite: String::new(),
            dialog: String::new(),
            tag: "callee",
            at_core: None,
            at_access: None,
        }
    }

    /// The caller's INVITE, with this session description or with none.
    pub fn begin(body: &str) -> Talk {
        let mut talk = Talk::new();
        talk.invite = talk.heard(Caller, &invite("talk", body));
        talk
    }

    /// A call that was answered at once.
    pub fn established() -> Talk {
        let mut talk = Talk::begin(&sdp(CALLER_MEDIA));
        talk.respond("200 OK", "", &sdp(CALLEE_MEDIA));
        talk.ask(Caller, "ACK", 1, "", "");
        assert_eq!(talk.plays(), [Some(CALLER_MEDIA), Some(CALLEE_MEDIA)]);
        talk
    }

    /// All that reached the other one because `who` said this.
    pub fn says(&mut self, who: Who, message: &str) -> Vec<String> {
        let (left, there) = match who {
            Caller => (self.bench.caller(0, message), super::CALLEE),
            Callee => (self.bench.callee(0, message), super::CALLER),
        };
        let heard = left.iter().filter(|left| left.destination == there);
        heard.map(Left::text).collect()
    }

    /// The one message that reached the other one because `who` said this.
    pub fn heard(&mut self, who: Who, message: &str) -> String {
        let heard = self.says(who, message);
        assert_eq!(heard.len(), 1, "{message}{heard:#?}");
        let text = heard[0].clone();
        let port = text.contains("m=audio ").then(|| media_in(&text));
        let relay = if who == Caller {
            &mut self.at_core
        } else {
            &mut self.at_access
        };
        *relay = port.filter(|port| port.port() != 0).or(*relay);
        self.said.push((who, message.to_owned(), heard));
        text
    }

    /// The callee answers the INVITE; what the caller hears.
    pub fn respond(&mut self, status: &str, lines: &str, body: &str) -> String {
        let response = answer(&self.invite, status, &format!("{CONTACT}{lines}"), body);
        let response = response.replace(";tag=callee", &format!(";tag={}", self.tag));
        let heard = self.heard(Callee, &response);
        if self.dialog.is_empty() || status.starts_with('2') {
            self.dialog.clone_from(&heard);
        }
        heard
    }

    /// A response of another dialog to the INVITE, whatever becomes of it.
    pub fn says_of_fork(&mut self, status: &str, body: &str) {
        let response = answer(&self.invite, status, CONTACT, body);
        let response = response.replace(";tag=callee", &format!(";tag={}", self.tag));
        self.says(Callee, &response);
    }

    /// A request in the dialog; what the other one hears.
    pub fn ask(&mut self, who: Who, method: &str, cseq: u32, lines: &str, body: &str) -> String {
        let message = self.request(who, method, cseq, lines, body);
        self.heard(who, &message)
    }

    pub fn request(&self, who: Who, method: &str, cseq: u32, lines: &str, body: &str) -> String {
        let caller = "<sip:caller@10.77.1.2>;tag=caller".to_owned();
        let callee = header(&self.dialog, "To");
        let (from, to, uri, host, routes): (_, _, _, _, Vec<_>) = match who {
            Caller => (caller, callee, "sip:callee@10.77.2.2", "10.77.1.2", {
                routes(&self.dialog).into_iter().rev().collect()
            }),
            Callee => (
                callee,
                caller,
                "sip:caller@10.77.1.2",
                "10.77.2.2",
                routes(&self.invite),
            ),
        };
        let routes: String = routes
            .iter()
            .map(|uri| format!("Route: {uri}\r\n"))
            .collect();
        let message = format!(
            "{method} {uri} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {host};rport;branch=z9hG4bK-{who:?}-{method}-{cseq}\r\n\
             Max-Forwards: 70\r\n{routes}From: {from}\r\nTo: {to}\r\nCall-ID: talk\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:party@{host}>\r\n{lines}\
             Content-Length: 0\r\n\r\n"
        );
        if body.is_empty() {
            message
        } else {
            with_sdp(&message, body)
        }
    }

    /// The other one answers a request; what its sender hears.
    pub fn reply(&mut self, who: Who, heard: &str, status: &str, body: &str) -> String {
        let response = answer(heard, status, "", body);
        self.heard(who, &response)
    }

    /// Where the caller and the callee receive what the other one says.
    pub fn plays(&mut self) -> [Option<SocketAddr>; 2] {
        let (at_core, at_access) = (self.at_core, self.at_access);
        let caller = at_core.and_then(|port| self.relayed(&CALLEES, port));
        let callee = at_access.and_then(|port| self.relayed(&CALLERS, port));
        [caller, callee]
    }

    /// Where media of any of `sources` leaves to, that arrives at `port`.
    pub fn relayed(&mut self, sources: &[SocketAddr], port: SocketAddr) -> Option<SocketAddr> {
        let bench = &mut self.bench;
        bench.left.clear();
        for source in sources {
            bench.arrives(0, *source, port, &rtp(8));
        }
        bench.turn();
        assert!(bench.left.len() <= 1, "one may send, not {:?}", bench.left);
        bench.left.pop_front().map(|left| left.destination)
    }

    /// Pairs of relay ports that calls hold.
    pub fn ports(&self) -> usize {
        self.bench.workers[0].ports_in_use()
    }
}

/// The Record-Route values, topmost first.
pub fn routes(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("Record-Route: "))
        .collect()
}

pub const RELIABLE: &str = "Require: 100rel\r\nRSeq: 7\r\n";
pub const RACK: &str = "RAck: 7 1 INVITE\r\n";

/// A session of an audio and a video stream.
pub fn sdp2(audio: SocketAddr, video: u16) -> String {
    format!("{}m=video {video} RTP/AVP 8\r\n", sdp(audio))
}

/// The ports of the m= lines.
pub fn lines(text: &str) -> Vec<u16> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("m="));
    lines
        .map(|line| line.split(' ').nth(1).unwrap().parse().unwrap())
        .collect()
}

pub const BOTH: [Option<SocketAddr>; 2] = [Some(CALLER_MEDIA), Some(CALLEE_MEDIA)];
