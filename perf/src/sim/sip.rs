//! A naive reader and writer of SIP messages, strict where the box must be: nothing of the
//! code under test is used.
//!
//! A message is one text and where its lines are in it, since a run reads millions.

use std::fmt;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::ops::Range;
use std::rc::Rc;

/// A piece of the text.
type Piece = Range<u32>;

/// An address as a URI or a Via names it: IPv6 in brackets.
#[must_use]
pub fn host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// A message: start line, header lines in order, body.
#[derive(Debug)]
pub struct Sip {
    text: String,
    start: Piece,
    /// Names and values, Content-Length among them.
    lines: Vec<(Piece, Piece)>,
    body: u32,
    status: Option<u16>,
    cseq: u32,
    method: Piece,
    call: Option<usize>,
}

impl Sip {
    /// Reads a message.
    ///
    /// # Errors
    /// What a careful receiver would refuse: a line that is none, a Content-Length that is
    /// missing, repeated or wrong, a CSeq that is none.
    pub fn read(text: String) -> Result<Sip, String> {
        let blank = text.find("\r\n\r\n").ok_or("no empty line")?;
        let mut lines = Vec::with_capacity(16);
        let start_end = text.find("\r\n").unwrap_or(blank);
        let mut at = start_end + 2;
        while at < blank + 2 {
            let line_end = at
                + text
                    .get(at..)
                    .and_then(|rest| rest.find("\r\n"))
                    .ok_or("no end of line")?;
            let line = text.get(at..line_end).unwrap_or_default();
            let colon = line
                .find(": ")
                .ok_or_else(|| format!("no header: {line:?}"))?;
            lines.push((piece(at, at + colon), piece(at + colon + 2, line_end)));
            at = line_end + 2;
        }
        Sip::with_lines(text, piece(0, start_end), lines, blank + 4)
    }

    fn with_lines(
        text: String,
        start: Piece,
        lines: Vec<(Piece, Piece)>,
        body: usize,
    ) -> Result<Sip, String> {
        let mut sip = Sip {
            status: None,
            cseq: 0,
            method: 0..0,
            call: None,
            text,
            start,
            lines,
            body: piece(body, body).start,
        };
        let mut lengths = sip.all("Content-Length");
        let length = lengths.next().and_then(|value| value.parse().ok());
        if length != Some(sip.body().len()) || lengths.next().is_some() {
            return Err(format!(
                "Content-Length {length:?}, but a body of {}",
                sip.body().len()
            ));
        }
        drop(lengths);
        for name in ["Via", "From", "To", "Call-ID"] {
            sip.one(name)?;
        }
        sip.status = sip
            .start()
            .strip_prefix("SIP/2.0 ")
            .and_then(|rest| rest.get(..3)?.parse().ok());
        let at = sip.line("CSeq").ok_or("no CSeq")?.1.clone();
        let (number, method) = sip.cut(&at).split_once(' ').ok_or("half a CSeq")?;
        let cseq = number.parse().map_err(|_| "CSeq is no number")?;
        let own = sip.start().split(' ').next().unwrap_or_default();
        if sip.status.is_none() && own != method {
            return Err(format!("CSeq of {method} in {own}"));
        }
        let method = at.end - piece(0, method.len()).end..at.end;
        (sip.cseq, sip.method) = (cseq, method);
        sip.call = sip
            .get("Call-ID")
            .split('-')
            .next()
            .and_then(|number| number.parse().ok());
        Ok(sip)
    }

    fn cut(&self, piece: &Piece) -> &str {
        self.text
            .get(piece.start as usize..piece.end as usize)
            .unwrap_or_default()
    }

    fn line(&self, name: &str) -> Option<&(Piece, Piece)> {
        self.lines.iter().find(|(n, _)| self.cut(n) == name)
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// All of it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first line.
    #[must_use]
    pub fn start(&self) -> &str {
        self.cut(&self.start)
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &str {
        self.text.get(self.body as usize..).unwrap_or_default()
    }

    /// Names and values of all headers, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines
            .iter()
            .map(|(name, value)| (self.cut(name), self.cut(value)))
    }

    /// All values of a header, in order. Each stands on a line of its own.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s str> {
        self.headers()
            .filter(move |(n, _)| *n == name)
            .map(|(_, value)| value)
    }

    /// All values of a header that takes several on a line, without commas of their own.
    pub fn values<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s str> {
        self.all(name)
            .flat_map(|line| line.split(',').map(str::trim))
    }

    /// The first value of a header.
    ///
    /// # Errors
    /// Where there is none.
    pub fn one(&self, name: &str) -> Result<&str, String> {
        let found = self.line(name);
        found
            .map(|(_, value)| self.cut(value))
            .ok_or_else(|| format!("no {name}"))
    }

    /// The first value of a header, empty where there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.line(name).map_or("", |(_, value)| self.cut(value))
    }

    /// The status of a response.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        self.status
    }

    /// The Request-URI.
    #[must_use]
    pub fn uri(&self) -> &str {
        self.start().split(' ').nth(1).unwrap_or_default()
    }

    /// The number of CSeq.
    #[must_use]
    pub const fn cseq(&self) -> u32 {
        self.cseq
    }

    /// The method: a request's own, or the one that a response answers.
    #[must_use]
    pub fn method(&self) -> &str {
        self.cut(&self.method)
    }

    /// The number of the call, which the simulator's Call-IDs begin with.
    #[must_use]
    pub const fn call(&self) -> Option<usize> {
        self.call
    }

    /// The branch of the top Via.
    #[must_use]
    pub fn branch(&self) -> &str {
        param(self.get("Via"), "branch").unwrap_or_default()
    }

    /// The tag of To, empty where there is none.
    #[must_use]
    pub fn to_tag(&self) -> &str {
        tag(self.get("To")).unwrap_or_default()
    }

    /// The tag of From.
    #[must_use]
    pub fn from_tag(&self) -> &str {
        tag(self.get("From")).unwrap_or_default()
    }

    /// What a person calls it: the method, or the status and the method.
    #[must_use]
    pub fn name(&self) -> String {
        match self.status {
            Some(status) => format!("{status} {}", self.method()),
            None if !self.to_tag().is_empty() && self.method() == "INVITE" => {
                "re-INVITE".to_owned()
            }
            None => self.method().to_owned(),
        }
    }
}

fn piece(start: usize, end: usize) -> Piece {
    // No message here is longer than a datagram.
    u32::try_from(start).unwrap_or(u32::MAX)..u32::try_from(end).unwrap_or(u32::MAX)
}

/// A message being written.
#[derive(Debug)]
pub struct Draft {
    text: String,
    start: Piece,
    lines: Vec<(Piece, Piece)>,
}

impl Draft {
    /// A message that begins with this line.
    #[must_use]
    pub fn new(start: fmt::Arguments<'_>) -> Draft {
        let mut text = String::with_capacity(1_024);
        let _ = text.write_fmt(start);
        let start = piece(0, text.len());
        text.push_str("\r\n");
        Draft {
            text,
            start,
            lines: Vec::with_capacity(16),
        }
    }

    /// The first line.
    #[must_use]
    pub fn start(&self) -> &str {
        self.text.get(..self.start.end as usize).unwrap_or_default()
    }

    /// Adds a header line at the end.
    pub fn push(&mut self, name: &str, value: impl fmt::Display) {
        let begin = self.text.len();
        self.text.push_str(name);
        let colon = self.text.len();
        let _ = write!(self.text, ": {value}");
        self.lines
            .push((piece(begin, colon), piece(colon + 2, self.text.len())));
        self.text.push_str("\r\n");
    }

    /// The message with this body.
    ///
    /// # Errors
    /// Where it lacks what every message has.
    pub fn finish(mut self, body: &str) -> Result<Rc<Sip>, String> {
        self.push("Content-Length", body.len());
        self.text.push_str("\r\n");
        let at = self.text.len();
        self.text.push_str(body);
        Sip::with_lines(self.text, self.start, self.lines, at).map(Rc::new)
    }
}

/// A parameter of a header value: `Some("")` where it has no value.
#[must_use]
pub fn param<'v>(value: &'v str, name: &str) -> Option<&'v str> {
    value.split(';').skip(1).find_map(|param| {
        let (key, value) = param.split_once('=').unwrap_or((param, ""));
        (key == name).then_some(value)
    })
}

/// The tag of a From or To.
#[must_use]
pub fn tag(value: &str) -> Option<&str> {
    param(
        value.split_once('>').map_or(value, |(_, params)| params),
        "tag",
    )
}

/// The URI between the brackets of a name-addr.
#[must_use]
pub fn bracketed(value: &str) -> &str {
    value
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'))
        .map_or("", |(uri, _)| uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_as_it_was_written() {
        let mut draft = Draft::new(format_args!("INVITE sip:1@box SIP/2.0"));
        for (name, value) in [
            ("Via", "v;branch=b"),
            ("From", "<sip:a@b;x=1>;tag=t"),
            ("To", "<sip:1@box>"),
            ("Call-ID", "4-c"),
            ("CSeq", "1 INVITE"),
        ] {
            draft.push(name, value);
        }
        let sip = draft.finish("v=0\r\n").unwrap();
        let read = Sip::read(sip.text().to_owned()).unwrap();
        assert!(read.headers().eq(sip.headers()) && read.body() == "v=0\r\n");
        assert_eq!(
            (read.call(), read.method(), read.from_tag(), read.cseq()),
            (Some(4), "INVITE", "t", 1)
        );
        let lying = sip.text().replace("Length: 5", "Length: 4");
        assert!(Sip::read(lying).is_err());
    }
}
