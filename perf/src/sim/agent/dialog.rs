//! A dialog as one of its parties sees it (RFC 3261 §12).

use std::net::SocketAddr;

use trunkline_dataplane::tick::Tick;

use crate::sim::sip::Sip;
use crate::sim::sip::bracketed;

/// How far a dialog has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Provisional responses only.
    Early,
    /// There was a 2xx.
    Confirmed,
    /// There was a BYE, or a failure.
    Ended,
}

/// A dialog.
#[derive(Clone, Debug)]
pub struct Dialog {
    /// Our tag.
    pub local: String,
    /// Theirs.
    pub remote: String,
    /// The Route set.
    pub routes: Vec<String>,
    /// Where requests go.
    pub target: String,
    /// The number of our last request.
    pub cseq: u32,
    /// How far it has come.
    pub state: State,
    /// Where the other's SDP says its media goes: a relay port of a box.
    pub media_to: Option<SocketAddr>,
    /// Counts our session descriptions.
    pub version: u32,
    /// The session interval in milliseconds, and whether the refreshes are ours
    /// (RFC 4028 §7).
    pub session: Option<(u64, bool)>,
    /// When the session ends without a refresh.
    pub expires: Tick,
    /// True once the answer was given in a reliable provisional response or PRACK.
    pub agreed: bool,
    /// A session description came first from the other.
    pub offered: bool,
}

impl Dialog {
    /// A dialog about to begin.
    #[must_use]
    pub fn new(local: String, remote: &str, cseq: u32) -> Dialog {
        Dialog {
            local,
            remote: remote.to_owned(),
            routes: Vec::new(),
            target: String::new(),
            cseq,
            state: State::Early,
            media_to: None,
            version: 0,
            session: None,
            expires: Tick::NEVER,
            agreed: false,
            offered: false,
        }
    }

    /// Takes Route set and target from the message that makes the dialog: a request as it
    /// came, a response in reverse (RFC 3261 §12.1).
    pub fn learn(&mut self, message: &Sip) {
        self.routes = message.all("Record-Route").map(str::to_owned).collect();
        if message.status().is_some() {
            self.routes.reverse();
        }
        self.retarget(message);
    }

    /// RFC 3261 §12.2: a target refresh.
    pub fn retarget(&mut self, message: &Sip) {
        let target = bracketed(message.get("Contact"));
        if !target.is_empty() {
            target.clone_into(&mut self.target);
        }
    }
}
