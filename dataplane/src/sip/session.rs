//! Session timers as a proxy sees them (RFC 4028 §8): what a session refresh request and its 2xx
//! say, and what is changed in them.

use super::edit::Refused;
use super::edit::Splices;
use super::header;
use super::header::Field;
use super::header::HeaderName;
use super::message::Message;
use super::scan;
use crate::limits::SESSION_MIN_S;
use crate::settings::SessionTimer;
use crate::span::Span;

/// The option tag.
const TIMER: &[u8] = b"timer";

/// A header field that says a number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seconds {
    /// Where its digits stand.
    digits: Span,
    /// What they say; `None` where that is no number.
    value: Option<u32>,
}

impl Seconds {
    fn read(bytes: &[u8], field: Field) -> Seconds {
        let digits = Span::new(
            field.value.start.into(),
            scan::token_end(bytes, field.value.start.into()).min(field.value.end.into()),
        );
        Seconds {
            digits,
            value: scan::number(digits.of(bytes), u32::MAX),
        }
    }
}

/// What a message says of session timers.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    expires: Option<Seconds>,
    min: Option<Seconds>,
    require: Option<Field>,
    supports: bool,
}

impl Said {
    fn read(message: &Message<'_>) -> Said {
        let bytes = message.bytes();
        let seconds = |kind| message.field(kind).map(|field| Seconds::read(bytes, field));
        Said {
            expires: seconds(HeaderName::SessionExpires),
            min: seconds(HeaderName::MinSe),
            require: message.field(HeaderName::Require),
            supports: message.supports(TIMER),
        }
    }
}

/// What the proxy must remember of a session refresh request for the duration of its
/// transaction (RFC 4028 §8.1): the interval of the request as it went on, and whether the UAC
/// supports session timers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked(u32);

const UAC_SUPPORTS: u32 = 1 << 31;

impl Asked {
    fn new(interval_s: u32, uac_supports: bool) -> Asked {
        let supports = if uac_supports { UAC_SUPPORTS } else { 0 };
        Asked(interval_s.min(UAC_SUPPORTS - 1) | supports)
    }

    const fn interval_s(self) -> u32 {
        self.0 & !UAC_SUPPORTS
    }

    const fn uac_supports(self) -> bool {
        self.0 & UAC_SUPPORTS != 0
    }
}

/// Why a session refresh request does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unasked {
    /// Its interval is below the least: 422 with Min-SE.
    TooSmall,
    /// It could not be edited.
    Unedited(Refused),
}

impl From<Refused> for Unasked {
    fn from(refused: Refused) -> Unasked {
        Unasked::Unedited(refused)
    }
}

/// Has an INVITE or UPDATE ask for a session timer as `timer` wants it.
///
/// # Errors
/// [`Unasked`].
pub fn ask(
    message: &Message<'_>,
    timer: SessionTimer,
    splices: &mut Splices,
) -> Result<Asked, Unasked> {
    let said = Said::read(message);
    let min_s = said.min.and_then(|min| min.value).unwrap_or(SESSION_MIN_S);
    let Some(expires) = said.expires else {
        if timer.expires_s == 0 {
            return Ok(Asked::new(0, said.supports));
        }
        // RFC 4028 §8.1: a proxy may insert it, not lower than Min-SE and without a refresher.
        let interval_s = timer.expires_s.max(min_s);
        splices.splice(Span::empty(message.header_block().end), |out| {
            out.push(b"Session-Expires: ");
            out.decimal(interval_s);
            out.push(b"\r\n");
        })?;
        return Ok(Asked::new(interval_s, said.supports));
    };
    let Some(asked_s) = expires.value else {
        // No number: the user agents may make of it what they will.
        return Ok(Asked::new(0, said.supports));
    };
    if said.supports && asked_s < timer.min_s {
        // RFC 4028 §8.1: a UAC that supports the timer is told the least interval by a 422.
        return Err(Unasked::TooSmall);
    }
    let mut least_s = min_s;
    if !said.supports && asked_s < timer.min_s && min_s < timer.min_s {
        // RFC 4028 §8.1: one that does not would only lose the call. Min-SE is raised for it,
        // and must not be touched for one that does.
        least_s = timer.min_s;
        match said.min {
            Some(min) => splices.splice(min.digits, |out| out.decimal(least_s))?,
            None => splices.splice(Span::empty(message.header_block().end), |out| {
                out.push(b"Min-SE: ");
                out.decimal(least_s);
                out.push(b"\r\n");
            })?,
        }
    }
    // RFC 4028 §8.1: it may be reduced, not below Min-SE; below Min-SE it must be increased.
    let limit_s = match timer.expires_s {
        0 => asked_s,
        limit_s => limit_s,
    };
    let interval_s = asked_s.min(limit_s).max(least_s);
    if interval_s != asked_s {
        splices.splice(expires.digits, |out| out.decimal(interval_s))?;
    }
    Ok(Asked::new(interval_s, said.supports))
}

/// What the 2xx to a session refresh request means: the session interval in seconds, if there is
/// one. Where the UAS knows no session timers and the UAC does, the response is completed
/// (RFC 4028 §8.2).
///
/// # Errors
/// As [`Splices::splice`].
pub fn agree(
    message: &Message<'_>,
    asked: Asked,
    splices: &mut Splices,
) -> Result<Option<u32>, Refused> {
    let said = Said::read(message);
    if let Some(expires) = said.expires {
        // RFC 4028 §8.2: what the UAS says is not modified.
        return Ok(expires.value.filter(|&interval_s| interval_s > 0));
    }
    if asked.interval_s() == 0 || !asked.uac_supports() {
        return Ok(None);
    }
    // RFC 4028 §8.2: we are the first proxy to see the response that knows of session timers.
    let end = Span::empty(message.header_block().end);
    splices.splice(end, |out| {
        out.push(b"Session-Expires: ");
        out.decimal(asked.interval_s());
        out.push(b";refresher=uac\r\n");
    })?;
    match said.require {
        Some(require) if header::lists(message.text(require.value), TIMER) => {}
        Some(require) => splices.insert(require.value.end, b", timer")?,
        None => splices.insert(end.start, b"Require: timer\r\n")?,
    }
    Ok(Some(asked.interval_s()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMERS: SessionTimer = SessionTimer {
        expires_s: 1800,
        min_s: 120,
    };

    fn message(start: &str, lines: &str) -> String {
        format!(
            "{start}\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1\r\nFrom: <sip:a@x>;tag=1\r\n\
             To: <sip:b@x>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n{lines}Content-Length: 0\r\n\r\n"
        )
    }

    /// The lines that an INVITE with `lines` has in their place when it goes on.
    fn asked(lines: &str, timer: SessionTimer) -> Result<(String, Asked), Unasked> {
        let invite = message("INVITE sip:b@x SIP/2.0", lines);
        let message = Message::scan(invite.as_bytes()).unwrap();
        let mut splices = Box::<Splices>::default();
        let asked = ask(&message, timer, &mut splices)?;
        Ok((lines_of(&message, &splices), asked))
    }

    fn agreed(lines: &str, asked: Asked) -> (String, Option<u32>) {
        let ok = message("SIP/2.0 200 OK", lines);
        let message = Message::scan(ok.as_bytes()).unwrap();
        let mut splices = Box::<Splices>::default();
        let interval = agree(&message, asked, &mut splices).unwrap();
        (lines_of(&message, &splices), interval)
    }

    fn lines_of(message: &Message<'_>, splices: &Splices) -> String {
        let mut out = [0; 1000];
        let len = splices.write(message.bytes(), &mut out).unwrap();
        let text = std::str::from_utf8(&out[..len]).unwrap();
        let lines = text.split("1 INVITE\r\n").nth(1).unwrap();
        lines
            .replace("Content-Length: 0\r\n", "")
            .replace("\r\n", "|")
    }

    #[test]
    fn a_request_without_a_timer_gets_one_not_below_its_min_se() {
        assert_eq!(
            asked("", TIMERS),
            Ok((
                "Session-Expires: 1800||".to_owned(),
                Asked::new(1800, false)
            ))
        );
        assert_eq!(
            asked("Min-SE: 3600\r\nk: 100rel , Timer\r\n", TIMERS),
            Ok((
                "Min-SE: 3600|k: 100rel , Timer|Session-Expires: 3600||".to_owned(),
                Asked::new(3600, true)
            ))
        );
        let off = SessionTimer {
            expires_s: 0,
            ..TIMERS
        };
        assert_eq!(asked("", off), Ok(("|".to_owned(), Asked::default())));
    }

    #[test]
    fn an_interval_is_reduced_to_ours_but_not_below_min_se() {
        for (lines, goes_on) in [
            ("x: 7200;refresher=uac\r\n", "x: 1800;refresher=uac||"),
            ("x: 7200\r\nMin-SE: 3600\r\n", "x: 3600|Min-SE: 3600||"),
            ("x: 1200\r\nMin-SE: 90\r\n", "x: 1200|Min-SE: 90||"),
            // It was lower than its own Min-SE.
            ("x: 1200\r\nMin-SE: 1300\r\n", "x: 1300|Min-SE: 1300||"),
            ("x: soon\r\n", "x: soon||"),
        ] {
            assert_eq!(asked(lines, TIMERS).unwrap().0, goes_on, "{lines}");
        }
    }

    #[test]
    fn too_small_an_interval_is_refused_or_raised_where_that_would_lose_the_call() {
        let small = "Session-Expires: 100\r\nSupported: timer\r\n";
        assert_eq!(asked(small, TIMERS), Err(Unasked::TooSmall));
        for (lines, goes_on) in [
            (
                "Session-Expires: 100\r\n",
                "Session-Expires: 120|Min-SE: 120||",
            ),
            ("x: 100\r\nMin-SE: 95\r\n", "x: 120|Min-SE: 120||"),
            ("x: 100\r\nMin-SE: 300\r\n", "x: 300|Min-SE: 300||"),
        ] {
            assert_eq!(asked(lines, TIMERS).unwrap().0, goes_on, "{lines}");
        }
    }

    #[test]
    fn the_answer_of_a_uas_stands_and_a_missing_one_is_completed_for_a_uac_that_knows_timers() {
        let stands = agreed("x: 600;refresher=uas\r\n", Asked::new(1800, true));
        assert_eq!(stands, ("x: 600;refresher=uas||".to_owned(), Some(600)));
        let neither = agreed("", Asked::new(1800, false));
        assert_eq!(neither, ("|".to_owned(), None));
        let (lines, interval) = agreed("Require: 100rel\r\n", Asked::new(1800, true));
        assert_eq!(
            lines,
            "Require: 100rel, timer|Session-Expires: 1800;refresher=uac||"
        );
        assert_eq!(interval, Some(1800));
        let (lines, _) = agreed("", Asked::new(1800, true));
        assert_eq!(
            lines,
            "Session-Expires: 1800;refresher=uac|Require: timer||"
        );
        assert_eq!(agreed("", Asked::default()), ("|".to_owned(), None));
    }
}
