//! Why a datagram is not a message.

/// Why the scanner refused a message. One counter each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{}: {}", self.name(), self.help())]
pub enum Malformed {
    /// Nothing but line ends and NULs. See [`crate::sip::scan::is_keepalive`].
    Empty,
    /// Longer than [`crate::span::MESSAGE_LEN_MAX`].
    TooLong,
    /// Neither a request line nor a status line.
    StartLine,
    /// The start line is well-formed but for its version.
    Version,
    /// A CR or an LF that stands alone, or a NUL without a backslash, before the body.
    LineEnd,
    /// A header line without a name or a colon.
    HeaderLine,
    /// No empty line ends the headers.
    Unended,
    /// No Via header field.
    MissingVia,
    /// No From header field.
    MissingFrom,
    /// No To header field.
    MissingTo,
    /// No Call-ID header field.
    MissingCallId,
    /// No CSeq header field.
    MissingCseq,
    /// A header field that may stand once stands twice.
    Duplicate,
    /// The top Via cannot be read.
    Via,
    /// From cannot be read.
    From,
    /// To cannot be read.
    To,
    /// Call-ID is empty or holds white space.
    CallId,
    /// CSeq is no number below 2^31 with a method.
    Cseq,
    /// CSeq names another method than the request line.
    CseqMethod,
    /// The same, and the request line's method is one that we do not know.
    CseqUnknownMethod,
    /// Max-Forwards is no number up to 255.
    MaxForwards,
    /// Content-Length is no number, or promises more than came.
    ContentLength,
    /// A Route or Record-Route value cannot be read.
    Route,
}

impl Malformed {
    /// Every reason, in the order of [`Malformed::index`].
    pub const ALL: [Malformed; 23] = [
        Malformed::Empty,
        Malformed::TooLong,
        Malformed::StartLine,
        Malformed::Version,
        Malformed::LineEnd,
        Malformed::HeaderLine,
        Malformed::Unended,
        Malformed::MissingVia,
        Malformed::MissingFrom,
        Malformed::MissingTo,
        Malformed::MissingCallId,
        Malformed::MissingCseq,
        Malformed::Duplicate,
        Malformed::Via,
        Malformed::From,
        Malformed::To,
        Malformed::CallId,
        Malformed::Cseq,
        Malformed::CseqMethod,
        Malformed::CseqUnknownMethod,
        Malformed::MaxForwards,
        Malformed::ContentLength,
        Malformed::Route,
    ];

    /// Its place in [`Malformed::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its name in counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Malformed::Empty => "empty",
            Malformed::TooLong => "too_long",
            Malformed::StartLine => "start_line",
            Malformed::Version => "version",
            Malformed::LineEnd => "line_end",
            Malformed::HeaderLine => "header_line",
            Malformed::Unended => "unended",
            Malformed::MissingVia => "missing_via",
            Malformed::MissingFrom => "missing_from",
            Malformed::MissingTo => "missing_to",
            Malformed::MissingCallId => "missing_call_id",
            Malformed::MissingCseq => "missing_cseq",
            Malformed::Duplicate => "duplicate",
            Malformed::Via => "via",
            Malformed::From => "from",
            Malformed::To => "to",
            Malformed::CallId => "call_id",
            Malformed::Cseq => "cseq",
            Malformed::CseqMethod => "cseq_method",
            Malformed::CseqUnknownMethod => "cseq_unknown_method",
            Malformed::MaxForwards => "max_forwards",
            Malformed::ContentLength => "content_length",
            Malformed::Route => "route",
        }
    }

    /// A sentence for the operator.
    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            Malformed::Empty => "The datagram holds nothing but line ends.",
            Malformed::TooLong => "The message is longer than a UDP datagram over IPv4 can be.",
            Malformed::StartLine => "The first line is neither a request line nor a status line.",
            Malformed::Version => "The message is of another SIP version than 2.0.",
            Malformed::LineEnd => {
                "A header line holds a lone CR or LF, or a NUL: others would read other headers."
            }
            Malformed::HeaderLine => "A header line has no name or no colon.",
            Malformed::Unended => "No empty line ends the headers: the message may be cut short.",
            Malformed::MissingVia => "The message has no Via.",
            Malformed::MissingFrom => "The message has no From.",
            Malformed::MissingTo => "The message has no To.",
            Malformed::MissingCallId => "The message has no Call-ID.",
            Malformed::MissingCseq => "The message has no CSeq.",
            Malformed::Duplicate => "A header field that may stand once stands twice.",
            Malformed::Via => "A Via that decides where messages go cannot be read.",
            Malformed::From => "The From header field cannot be read.",
            Malformed::To => "The To header field cannot be read.",
            Malformed::CallId => "The Call-ID is empty or holds white space.",
            Malformed::Cseq => "The CSeq is no number below 2^31 followed by a method.",
            Malformed::CseqMethod => "The CSeq names another method than the request line.",
            Malformed::CseqUnknownMethod => {
                "The request line's method is unknown, and the CSeq names another."
            }
            Malformed::MaxForwards => "The Max-Forwards is no number from 0 to 255.",
            Malformed::ContentLength => {
                "The Content-Length is no number, or it promises more bytes than came."
            }
            Malformed::Route => "A Route or Record-Route value cannot be read.",
        }
    }

    /// The status that a server answers a request with, if it answers at all (RFC 3261
    /// §21.4.1, §21.5.2, §21.5.6, §21.5.7). See [`crate::sip::build::refusal`].
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            // RFC 4475 §3.1.2.18: what is to come may mean something by it.
            Malformed::CseqUnknownMethod => 501,
            Malformed::Version => 505,
            Malformed::TooLong => 513,
            _ => 400,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stands_at_its_index_under_a_name_of_its_own() {
        for (index, reason) in Malformed::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
            let same = Malformed::ALL
                .iter()
                .filter(|other| other.name() == reason.name())
                .count();
            assert_eq!(same, 1, "{}", reason.name());
        }
    }
}
