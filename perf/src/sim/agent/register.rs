//! REGISTER of a subscriber (RFC 3261 §10.2): its contact, and once more while that lasts.

use trunkline_dataplane::lab::DOMAIN;
use trunkline_dataplane::tick::Tick;

use super::Agent;
use super::script::Alarm;
use crate::sim::network::Packet;
use crate::sim::phone::Kind;

/// For how long a contact may be asked for, in seconds: not at all, for some time, and for longer than
/// is granted.
const INTERVALS: [u32; 4] = [0, 600, 3_600, 10_000];
/// The same of who is called: some end while others call.
const INTERVALS_OF_CALLED: [u32; 6] = [0, 3, 10, 30, 600, 600];
/// What a contact of who is called may say of how much it is preferred.
const PREFERENCES: [&str; 4] = ["", "", ";q=0.5", ";q=0.2"];
/// The first time.
pub(super) const FIRST_S: u32 = 3_600;

impl Agent {
    /// True where its REGISTER is for its own contact at the box, and not to be passed on.
    pub(super) fn registers(&self, method: &str) -> bool {
        method == "REGISTER" && self.who.plan.subscriber.is_some()
    }

    /// The registrar that it asks.
    pub(super) fn registrar() -> String {
        format!("sip:{DOMAIN}")
    }

    /// Registers its contact for so many seconds; for none, takes it away.
    pub(super) fn register(
        &mut self,
        seconds: u32,
        now: Tick,
        out: &mut Vec<Packet>,
    ) -> Result<(), String> {
        let Some(habits) = self.who.plan.subscriber else {
            return Ok(());
        };
        let cseqs = self.clients.iter().map(|client| client.request.cseq());
        let cseq = cseqs.max().unwrap_or(0) + 1;
        let mut draft = self.draft("REGISTER", cseq, None);
        let (user, at) = (habits.user(), self.who.named());
        let preference = match habits.kind {
            Kind::Called => self.random.pick(&PREFERENCES),
            _ => "",
        };
        draft.push(
            "Contact",
            format_args!("<sip:{user}@{at}>{preference};expires={seconds}"),
        );
        self.begin(draft, "", None, now, out)
    }

    /// The registrar has done it: some do so again, and some leave.
    pub(super) fn hear_registered(&mut self, now: Tick) {
        let habits = self.who.plan.subscriber;
        if habits.is_some_and(|habits| habits.refreshes) && self.random.happens(600) {
            let seconds = match habits.map(|habits| habits.kind) {
                Some(Kind::Called) => self.random.pick(&INTERVALS_OF_CALLED),
                _ => self.random.pick(&INTERVALS),
            };
            self.later(now, 500, 4_000, Alarm::Register(seconds));
        }
    }
}
