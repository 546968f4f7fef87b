//! A ladder diagram of captured packets: who said what to whom, and when.
//!
//! ```text
//!  time s   10.77.1.2:5060    10.77.1.1:5060    10.77.2.1:5060    10.77.2.2:5060
//!    0.000   │──── INVITE sdp ──>│                 │                 │
//!    0.000   │<─ 100 Trying ─────│                 │                 │
//!    0.000   │                   │──── INVITE sdp ────────────────── ...
//! ```
//!
//! Packets are given in batches: all parties of a batch have their columns before its
//! first line is drawn, so that a ladder drawn while the call goes on has few headings.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::hash::BuildHasher as _;
use std::hash::RandomState;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

use etherparse::LaxNetSlice;
use etherparse::LaxSlicedPacket;
use etherparse::TransportSlice;
use trunkline_dataplane::sip::message::Message;
use trunkline_dataplane::sip::scan::Start;

use super::media::Media;

/// Columns of the time and its blank.
const TIME: usize = 11;
/// What stands right of the last column: " again", and the number of the call.
const MARGIN: usize = 12;
/// The longest IPv4 address and port. Of what is wider a letter stands for it.
const NAME_MAX: usize = 21;
/// The least that an arrow needs for a method's name.
const STEP_MIN: usize = 14;
/// Where a longer one would be hard to follow.
const STEP_MAX: usize = 34;

/// A captured packet: when it passed, since 1970, and its Ethernet frame.
pub type Frame = (Duration, Vec<u8>);

/// The diagram so far.
#[derive(Debug)]
pub struct Ladder {
    width: usize,
    parties: Vec<SocketAddr>,
    /// Parties at the last heading.
    headed: usize,
    began: Option<Duration>,
    /// By their order, the Call-IDs.
    calls: Vec<Vec<u8>>,
    hasher: RandomState,
    /// Hashes of what was said, by whom to whom.
    said: HashSet<u64>,
    media: Media,
}

/// A UDP datagram in a frame.
struct Datagram<'a> {
    source: SocketAddr,
    destination: SocketAddr,
    payload: &'a [u8],
}

impl Ladder {
    /// An empty one, for a terminal that is `width` characters wide.
    #[must_use]
    pub fn new(width: usize) -> Ladder {
        Ladder {
            width,
            parties: Vec::new(),
            headed: 0,
            began: None,
            calls: Vec::new(),
            hasher: RandomState::new(),
            said: HashSet::new(),
            media: Media::default(),
        }
    }

    /// The lines of what was captured next.
    pub fn draw(&mut self, batch: &[Frame]) -> String {
        let mut arrows = Vec::new();
        for (at, frame) in batch {
            let Some(datagram) = read(frame) else {
                continue;
            };
            let Ok(message) = Message::scan(datagram.payload) else {
                self.media
                    .packet(*at, datagram.source, datagram.destination, datagram.payload);
                continue;
            };
            let from = self.party(datagram.source);
            let to = self.party(datagram.destination);
            let again = !self
                .said
                .insert(self.hasher.hash_one((from, to, datagram.payload)));
            let call = self.call(message.call_id());
            arrows.push((*at, from, to, labels(&message), again, call));
        }
        let mut text = String::new();
        if arrows.is_empty() {
            return text;
        }
        if self.headed != self.parties.len() {
            self.headed = self.parties.len();
            text += &self.heading();
        }
        for (at, from, to, labels, again, call) in arrows {
            let began = *self.began.get_or_insert(at);
            let after = at.saturating_sub(began).as_secs_f64();
            let mut margin = String::new();
            if again {
                margin.push_str(" again");
            }
            if self.calls.len() > 1 {
                let _ = write!(margin, " #{}", call + 1);
            }
            let line = format!("{after:>9.3}  {}{margin}", self.arrow(from, to, &labels));
            text += line.trim_end();
            text.push('\n');
        }
        text
    }

    /// What is to be said at the end: the calls where there were several, and the media.
    #[must_use]
    pub fn end(&self) -> String {
        let mut text = String::new();
        if self.parties.is_empty() && self.media.is_empty() {
            return "Nothing was captured.\n".to_owned();
        }
        if self.calls.len() > 1 {
            text += "\nCalls\n";
            for (number, id) in (1..).zip(&self.calls) {
                let id = String::from_utf8_lossy(id).replace(char::is_control, "\u{fffd}");
                let _ = writeln!(text, "#{number}  {id}");
            }
        }
        text + &self.media.table()
    }

    fn party(&mut self, address: SocketAddr) -> usize {
        let known = self.parties.iter().position(|party| *party == address);
        known.unwrap_or_else(|| {
            self.parties.push(address);
            self.parties.len() - 1
        })
    }

    fn call(&mut self, id: &[u8]) -> usize {
        let known = self.calls.iter().position(|call| call == id);
        known.unwrap_or_else(|| {
            self.calls.push(id.to_vec());
            self.calls.len() - 1
        })
    }

    /// From one column to the next.
    fn step(&self) -> usize {
        let gaps = self.parties.len().saturating_sub(1).max(1);
        // The last heading stands right of the last column, or a letter there.
        let names = self.parties.iter().map(|party| party.to_string().len());
        let margin = names
            .max()
            .filter(|len| *len <= NAME_MAX)
            .map_or(MARGIN, |len| len.max(MARGIN));
        let room = self.width.saturating_sub(TIME + margin);
        (room / gaps).clamp(STEP_MIN, STEP_MAX)
    }

    /// The parties over their columns; where an address is too wide, a letter that is
    /// explained above.
    fn heading(&self) -> String {
        let step = self.step();
        let names: Vec<_> = self.parties.iter().map(SocketAddr::to_string).collect();
        let fits = names.iter().all(|name| name.len() < step);
        let mut text = "\n".to_owned();
        let mut line = format!("{:>9}  ", "time (s)");
        for (letter, name) in ('A'..).zip(&names) {
            if fits {
                let _ = write!(line, "{name:<step$}");
            } else {
                let _ = writeln!(text, "{letter}  {name}");
                let _ = write!(line, "{letter:<step$}");
            }
        }
        text += line.trim_end();
        text.push('\n');
        text
    }

    /// All columns, and an arrow from one to another.
    fn arrow(&self, from: usize, to: usize, labels: &[String]) -> String {
        let step = self.step();
        let (left, right) = (from.min(to), from.max(to));
        let mut line = String::new();
        let mut column = 0;
        while column < self.parties.len() {
            line.push('│');
            let last = column + 1 == self.parties.len();
            if column == left && left < right {
                let room = (right - left) * step - 1;
                line += &shaft(room, from < to, labels);
                column = right;
                continue;
            }
            if column == left && left == right {
                // To itself: there is no shaft to write on.
                line.push(' ');
                line += labels.last().map_or("", String::as_str);
                return line;
            }
            if !last {
                line += &" ".repeat(step - 1);
            }
            column += 1;
        }
        line
    }
}

/// An arrow of `room` characters with the longest label that fits.
fn shaft(room: usize, rightwards: bool, labels: &[String]) -> String {
    let width = |label: &String| label.chars().count();
    let fitting = labels.iter().find(|label| width(label) + 5 <= room);
    let label = match fitting.or(labels.last()) {
        Some(label) => label
            .chars()
            .take(room.saturating_sub(5))
            .collect::<String>(),
        None => String::new(),
    };
    let rest = room.saturating_sub(width(&label) + 3);
    let (before, after) = ("─".repeat(rest / 2), "─".repeat(rest - rest / 2));
    if rightwards {
        format!("{before} {label} {after}>")
    } else {
        format!("<{before} {label} {after}")
    }
}

/// What may be written on a message's arrow, the longest first.
fn labels(message: &Message<'_>) -> Vec<String> {
    let text =
        |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(|c: char| c.is_control(), "\u{fffd}");
    let kind = message.content_type().unwrap_or_default();
    let is_sdp = kind.len() >= 15 && kind[..15].eq_ignore_ascii_case(b"application/sdp");
    let sdp = if is_sdp && !message.body().is_empty() {
        " sdp"
    } else {
        ""
    };
    let (_, method, _) = message.cseq();
    let method = text(method);
    match message.start() {
        Start::Request { .. } => vec![format!("{method}{sdp}"), method],
        Start::Response { status, .. } => {
            let line = text(
                message
                    .bytes()
                    .split(|byte| *byte == b'\r')
                    .next()
                    .unwrap_or(&[]),
            );
            let reason = line.splitn(3, ' ').nth(2).unwrap_or_default().to_owned();
            vec![
                format!("{status} {reason} ({method}){sdp}"),
                format!("{status} {reason}{sdp}"),
                format!("{status} {method}{sdp}"),
                format!("{status}{sdp}"),
                status.to_string(),
            ]
        }
    }
}

/// The UDP datagram in an Ethernet frame, tagged or not, cut short or not.
fn read(frame: &[u8]) -> Option<Datagram<'_>> {
    let packet = LaxSlicedPacket::from_ethernet(frame).ok()?;
    let (source, destination): (IpAddr, IpAddr) = match packet.net? {
        LaxNetSlice::Ipv4(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        LaxNetSlice::Ipv6(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        _ => return None,
    };
    let TransportSlice::Udp(udp) = packet.transport? else {
        return None;
    };
    Some(Datagram {
        source: SocketAddr::new(source, udp.source_port()),
        destination: SocketAddr::new(destination, udp.destination_port()),
        payload: udp.payload(),
    })
}

#[cfg(test)]
#[path = "ladder_tests.rs"]
mod tests;
