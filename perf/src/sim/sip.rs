//! A naive reader and writer of SIP messages, strict where the box must be: nothing of the
//! code under test is used.

use std::fmt::Write as _;
use std::net::IpAddr;

/// An address as a URI or a Via names it: IPv6 in brackets.
#[must_use]
pub fn host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// A message: start line, header lines in order, body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sip {
    /// The first line.
    pub start: String,
    /// Names and values, without Content-Length.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Sip {
    /// A message without headers.
    #[must_use]
    pub fn new(start: impl Into<String>) -> Sip {
        Sip {
            start: start.into(),
            headers: Vec::new(),
            body: String::new(),
        }
    }

    /// Adds a header line at the end.
    pub fn push(&mut self, name: &str, value: impl Into<String>) {
        self.headers.push((name.to_owned(), value.into()));
    }

    /// Reads a message.
    ///
    /// # Errors
    /// What a careful receiver would refuse: a line that is none, a Content-Length that is
    /// missing, repeated or wrong.
    pub fn read(bytes: &[u8]) -> Result<Sip, String> {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let (head, body) = text.split_once("\r\n\r\n").ok_or("no empty line")?;
        let mut lines = head.split("\r\n");
        let mut sip = Sip::new(lines.next().unwrap_or_default());
        let mut length = None;
        for line in lines {
            let (name, value) = line
                .split_once(": ")
                .ok_or(format!("no header: {line:?}"))?;
            if name == "Content-Length" {
                let said: usize = value
                    .parse()
                    .map_err(|_| format!("Content-Length {value:?}"))?;
                if length.replace(said).is_some() {
                    return Err("two Content-Lengths".to_owned());
                }
            } else {
                sip.push(name, value);
            }
        }
        if length != Some(body.len()) {
            return Err(format!(
                "Content-Length {length:?}, but a body of {}",
                body.len()
            ));
        }
        body.clone_into(&mut sip.body);
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            sip.one(name)?;
        }
        sip.cseq()?;
        Ok(sip)
    }

    /// The bytes.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.start);
        for (name, value) in &self.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        let _ = write!(
            text,
            "Content-Length: {}\r\n\r\n{}",
            self.body.len(),
            self.body
        );
        text.into_bytes()
    }

    /// All values of a header, in order. Each stands on a line of its own.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s str> {
        self.headers
            .iter()
            .filter(move |(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first value of a header.
    ///
    /// # Errors
    /// Where there is none.
    pub fn one(&self, name: &str) -> Result<&str, String> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found
            .map(|(_, value)| value.as_str())
            .ok_or(format!("no {name}"))
    }

    /// The first value of a header, empty where there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.one(name).unwrap_or_default()
    }

    /// The status of a response.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// The Request-URI.
    #[must_use]
    pub fn uri(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// Number and method of CSeq.
    ///
    /// # Errors
    /// Where it is none, or a request's own method is another.
    pub fn cseq(&self) -> Result<(u32, &str), String> {
        let value = self.one("CSeq")?;
        let (number, method) = value.split_once(' ').ok_or("half a CSeq")?;
        let own = self.start.split(' ').next().unwrap_or_default();
        if self.status().is_none() && own != method {
            return Err(format!("CSeq {value} in {own}"));
        }
        Ok((number.parse().map_err(|_| "CSeq is no number")?, method))
    }

    /// The method: a request's own, or the one that a response answers.
    #[must_use]
    pub fn method(&self) -> &str {
        self.cseq().map_or("", |(_, method)| method)
    }

    /// The number of the call, which the simulator's Call-IDs begin with.
    #[must_use]
    pub fn call(&self) -> Option<usize> {
        self.get("Call-ID").split('-').next()?.parse().ok()
    }

    /// What a person calls it: the method, or the status and the method.
    #[must_use]
    pub fn name(&self) -> String {
        match self.status() {
            Some(status) => format!("{status} {}", self.method()),
            None if self.get("To").contains(";tag=") && self.method() == "INVITE" => {
                "re-INVITE".to_owned()
            }
            None => self.method().to_owned(),
        }
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
        let mut sip = Sip::new("INVITE sip:1@box SIP/2.0");
        for (name, value) in [
            ("Via", "v;branch=b"),
            ("From", "<sip:a@b;x=1>;tag=t"),
            ("To", "<sip:1@box>"),
            ("Call-ID", "4-c"),
        ] {
            sip.push(name, value);
        }
        sip.push("CSeq", "1 INVITE");
        sip.body = "v=0\r\n".to_owned();
        let read = Sip::read(&sip.write()).unwrap();
        assert_eq!(read, sip);
        assert_eq!(
            (read.call(), read.method(), tag(read.get("From"))),
            (Some(4), "INVITE", Some("t"))
        );
        let lying = String::from_utf8(sip.write())
            .unwrap()
            .replace("Length: 5", "Length: 4");
        assert!(Sip::read(lying.as_bytes()).is_err());
    }
}
