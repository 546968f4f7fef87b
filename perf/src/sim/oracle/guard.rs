//! Who may pass as a subscriber (RFC 3261 §22, RFC 7616), said once more: what each request of
//! one claims, what the box can know of that, and when it must have said so.
//!
//! ```text
//!   no credentials, or a nonce that is no good ─► challenged at once
//!   nothing known of the user ──────────────────► waits, 5 s at most ─┐
//!   wrong, or nobody ───────────────────────────► fails on the grid  ◄┤
//!   right, and its count is new ────────────────► goes on at once    ◄┘
//! ```
//!
//! - `challenge`: what a challenge looks like

use std::collections::HashMap;
use std::net::IpAddr;

use trunkline_dataplane::settings::Authentication;
use trunkline_dataplane::sip::Id;
use trunkline_dataplane::tick::Tick;

use super::LATE_MS;
use super::ledger::Asked;
use crate::sim::phone;
use crate::sim::sip::Sip;
use crate::sim::sip::bracketed;

/// Counts below the highest that are told apart (RFC 7616 §3.4.5).
const WINDOW: u32 = 64;

/// What must become of a request that claims to be a subscriber's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is challenged, in the step in which it came.
    Challenged {
        /// Its nonce was the box's once.
        stale: bool,
    },
    /// It waits for the store.
    Waits,
    /// It is challenged at this moment.
    Fails(Tick),
    /// Its sender knows the password: it goes on, if its nonce count is new.
    Right,
    /// It is answered so at once.
    Refused(u16),
}

/// Whether a request has waited in a transaction, which says again what it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    No,
    /// Its worker was told of its user in the step in which it came, and may have looked at it before.
    Perhaps,
    Yes,
}

/// What a request claims.
#[derive(Debug)]
pub(super) struct Claim {
    /// The worker that owns it.
    worker: usize,
    user: String,
    nonce: String,
    nc: u32,
    /// The password is the user's.
    is_right: bool,
    /// Another worker made the nonce: where the password is right, that one is asked whether the
    /// count is new, and the request waits for it in its transaction.
    pub is_elsewhere: bool,
    /// When it came.
    came: Tick,
    /// When it is answered without the store.
    until: Tick,
    /// The question whose answer it waits for.
    pub question: Option<Id>,
    /// What must become of it.
    pub standing: Standing,
    /// It may as well go on: nobody can say from outside whether the box still knows its dialog.
    pub may_pass: bool,
    /// It has waited, though the store was not asked for it.
    pub held: Held,
}

impl Claim {
    /// True while nothing has come of it, nor need have.
    pub const fn is_waiting(&self) -> bool {
        matches!(self.standing, Standing::Waits | Standing::Fails(_))
    }

    /// True where its sender is who it says it is.
    pub fn is_right(&self) -> bool {
        self.standing == Standing::Right
    }

    /// True where it came in this step, and what the worker knows of its user has decided it.
    pub fn came_now(&self, now: Tick, key: &(usize, String)) -> bool {
        let is_decided = matches!(self.standing, Standing::Right | Standing::Fails(_));
        is_decided && self.came == now && self.key() == *key
    }

    /// True where it waits for this question of this worker, or for one that is to come.
    pub fn waits_for(&self, worker: usize, user: &str, question: Option<Id>) -> bool {
        self.standing == Standing::Waits
            && (self.worker, self.user.as_str(), self.question) == (worker, user, question)
    }

    /// When something must have come of it.
    pub const fn due(&self) -> Tick {
        match self.standing {
            Standing::Waits => self.until,
            Standing::Fails(at) => at,
            _ => Tick::NEVER,
        }
    }

    /// The question that it waits for, and whose it is.
    pub fn key(&self) -> (usize, String) {
        (self.worker, self.user.clone())
    }
}

/// A nonce that the box has given.
#[derive(Debug)]
struct Nonce {
    epoch: u16,
    /// The worker that made it.
    maker: usize,
    to: IpAddr,
    at: Tick,
    /// The highest count with which something went on.
    highest: u32,
    /// The highest with which something came that was right: what is at home goes on with it or without.
    came: u32,
}

/// What has become of a nonce count.
#[derive(Debug, Default)]
struct Use {
    /// The requests that came with it: call and place.
    by: Vec<(usize, usize)>,
    /// The one that went on.
    granted: Option<(usize, usize)>,
}

/// What a worker has been told of a user.
#[derive(Debug)]
struct Heard {
    at: Tick,
    exists: bool,
    /// It has been asked for again since.
    asked_again: bool,
}

/// What the oracle of a box with a domain remembers of its subscribers.
#[derive(Debug)]
pub(super) struct Guard {
    rules: Authentication,
    nonces: HashMap<String, Nonce>,
    uses: HashMap<(String, u32), Use>,
    heard: HashMap<(usize, String), Heard>,
    /// When a worker was told last that nobody knows.
    failed: HashMap<(usize, String), Tick>,
    /// The questions that the workers wait for.
    pub open: HashMap<(usize, String), Id>,
    /// The requests that wait: call and place.
    pub waiting: Vec<(usize, usize)>,
    /// Counts that were refused as used before their use was seen.
    doubts: Vec<(String, u32)>,
    /// How the failure of a REGISTER reads, and that of any other.
    failures: [Option<String>; 2],
}

impl Guard {
    pub fn new(rules: Authentication) -> Guard {
        Guard {
            rules,
            nonces: HashMap::new(),
            uses: HashMap::new(),
            heard: HashMap::new(),
            failed: HashMap::new(),
            open: HashMap::new(),
            waiting: Vec::new(),
            doubts: Vec::new(),
            failures: [None, None],
        }
    }

    /// The box has forgotten all but its keys.
    pub fn restarts(&mut self) {
        self.uses.clear();
        self.heard.clear();
        self.open.clear();
        self.waiting.clear();
        self.doubts.clear();
    }

    /// Until when something waits that begins to: each wait has a deadline of its own.
    pub fn patience(&self, now: Tick) -> Tick {
        now.plus_ms(self.rules.deadline_ms)
    }

    // --- What comes -----------------------------------------------------------------

    /// What a new request claims.
    pub fn claim(
        &mut self,
        now: Tick,
        epoch: u16,
        (call, at): (usize, usize),
        asked: &Asked,
        worker: usize,
    ) -> Claim {
        let request = &asked.request;
        let value = phone::credentials_in(request);
        let get = |name| value.and_then(|value| phone::param(value, name));
        let user = get("username").unwrap_or_default().to_owned();
        let proves = |password: String| {
            value.is_some_and(|value| digest_proves(value, &password, request.method()))
        };
        let mut claim = Claim {
            worker,
            nonce: get("nonce").unwrap_or_default().to_owned(),
            nc: u32::from_str_radix(get("nc").unwrap_or_default(), 16).unwrap_or(0),
            is_right: phone::password_of(&user).is_some_and(proves),
            is_elsewhere: false,
            user,
            came: now,
            until: now.plus_ms(self.rules.deadline_ms),
            question: None,
            standing: Standing::Challenged { stale: false },
            may_pass: false,
            held: Held::No,
        };
        if self.hears_now(now, &claim.key()) {
            claim.held = Held::Perhaps;
        }
        if value.is_some() {
            claim.standing = self.stand(now, epoch, asked, &claim);
            let nonce = self.nonces.get(&claim.nonce);
            claim.is_elsewhere = nonce.is_some_and(|nonce| nonce.maker != worker);
            if claim.is_right {
                if let Some(nonce) = self.nonces.get_mut(&claim.nonce) {
                    nonce.came = nonce.came.max(claim.nc);
                }
                let key = (claim.nonce.clone(), claim.nc);
                let by = &mut self.uses.entry(key).or_default().by;
                if !by.contains(&(call, at)) {
                    by.push((call, at));
                }
            }
        }
        claim
    }

    fn stand(&self, now: Tick, epoch: u16, asked: &Asked, claim: &Claim) -> Standing {
        let Some(nonce) = self.nonces.get(&claim.nonce) else {
            return Standing::Challenged { stale: false };
        };
        let seconds = |tick: Tick| tick.as_ms() / 1_000;
        let is_old = seconds(now) - seconds(nonce.at) > u64::from(self.rules.nonce_s);
        if nonce.epoch != epoch || nonce.to != asked.source.ip() || is_old {
            return Standing::Challenged { stale: true };
        }
        let from = bracketed(asked.request.get("From"));
        if !from.starts_with(&format!("sip:{}@", claim.user)) {
            return Standing::Refused(403);
        }
        self.judge(now, claim)
    }

    /// What can be known of a claim whose nonce is good.
    fn judge(&self, now: Tick, claim: &Claim) -> Standing {
        let heard = self.heard.get(&claim.key());
        let Some(heard) = heard.filter(|heard| now < heard.at.plus_ms(self.lifetime_ms(heard)))
        else {
            return Standing::Waits;
        };
        if heard.exists && claim.is_right {
            return Standing::Right;
        }
        // Whole steps after it came.
        let step_ns = self.rules.failure_grid_ms * 1_000_000;
        let steps = now.since(claim.came) / step_ns + 1;
        Standing::Fails(Tick(claim.came.0 + steps * step_ns))
    }

    const fn lifetime_ms(&self, heard: &Heard) -> u64 {
        match heard.exists {
            true => self.rules.lifetimes.known_ms,
            false => self.rules.lifetimes.unknown_ms,
        }
    }

    /// A worker is told of a user; `None`: that nobody knows.
    pub fn hears(&mut self, now: Tick, key: (usize, String), exists: Option<bool>) {
        let Some(exists) = exists else {
            self.failed.insert(key, now);
            return;
        };
        let heard = Heard {
            at: now,
            exists,
            asked_again: false,
        };
        self.heard.insert(key, heard);
    }

    /// True where a worker has been told of a user in this step: a request that came in it may have been
    /// looked at before.
    pub fn hears_now(&self, now: Tick, key: &(usize, String)) -> bool {
        self.heard.get(key).is_some_and(|heard| heard.at == now)
    }

    /// The answer to the question that a claim has waited for.
    pub fn resume(&self, now: Tick, claim: &mut Claim, exists: Option<bool>) {
        claim.standing = match exists {
            Some(_) => self.judge(now, claim),
            None => Standing::Refused(503),
        };
    }

    /// A worker asks for a user again whom it knows: late enough, and once.
    pub fn refreshes(&mut self, now: Tick, key: &(usize, String)) -> Result<(), String> {
        let known_ms = self.rules.lifetimes.known_ms;
        let heard = self.heard.get_mut(key).ok_or("it asks again for nobody")?;
        if now < heard.at.plus_ms(known_ms / 4 * 3) || !heard.exists {
            return Err("it asks again too early".to_owned());
        }
        if std::mem::replace(&mut heard.asked_again, true) {
            return Err("it asks again twice".to_owned());
        }
        Ok(())
    }

    // --- What leaves ------------------------------------------------------------------

    /// A request with a claim is sent on.
    pub fn passes(&mut self, claim: &Claim, who: (usize, usize)) -> Result<(), String> {
        if claim.may_pass {
            return Ok(());
        }
        if claim.standing != Standing::Right {
            return Err(format!("sent on without proof: {:?}", claim.standing));
        }
        self.grant(claim, who)
    }

    fn grant(&mut self, claim: &Claim, who: (usize, usize)) -> Result<(), String> {
        let key = (claim.nonce.clone(), claim.nc);
        let granted = self.uses.entry(key).or_default().granted.get_or_insert(who);
        if *granted != who {
            return Err(format!(
                "sent on with the credentials of call {}",
                granted.0
            ));
        }
        if let Some(nonce) = self.nonces.get_mut(&claim.nonce) {
            nonce.highest = nonce.highest.max(claim.nc);
        }
        Ok(())
    }

    /// The first final answer of the box's own to a request with a claim; true where it needs no other
    /// reason.
    pub fn answers(
        &mut self,
        now: Tick,
        epoch: u16,
        who: (usize, usize),
        asked: &Asked,
        claim: &Claim,
        sip: &Sip,
    ) -> Result<bool, String> {
        let status = sip.status().unwrap_or_default();
        let is_challenge = matches!(status, 401 | 407);
        match claim.standing {
            _ if status == 487 && asked.cancelled.is_some() => Ok(true),
            _ if status == 504 && claim.until <= now => Ok(true),
            Standing::Refused(expected) if status == expected => Ok(true),
            // It came in the step of the answer that it has joined the others for.
            Standing::Waits if status == 503 && self.failed.get(&claim.key()) == Some(&now) => {
                Ok(true)
            }
            Standing::Challenged { stale } if is_challenge => {
                self.challenges(now, (epoch, claim.worker), asked, sip, stale)?;
                Ok(true)
            }
            Standing::Fails(due) if is_challenge => {
                if now < due || now > due.plus_ms(LATE_MS) {
                    let off_ms = now.as_ms().abs_diff(due.as_ms());
                    return Err(format!("{off_ms} ms off the moment for failures"));
                }
                self.challenges(now, (epoch, claim.worker), asked, sip, false)?;
                self.reads_alike(sip)?;
                Ok(true)
            }
            Standing::Right if is_challenge => {
                self.was_used(claim, who, asked)?;
                self.challenges(now, (epoch, claim.worker), asked, sip, true)?;
                Ok(true)
            }
            Standing::Right if !claim.may_pass => {
                // It was let in, and found no way.
                self.grant(claim, who)?;
                Ok(false)
            }
            _ if claim.may_pass && !is_challenge => Ok(false),
            standing => Err(format!("though its sender {standing:?}")),
        }
    }

    /// The box says that a nonce count is not new: another request has come with it, or it is too far
    /// behind to know.
    fn was_used(
        &mut self,
        claim: &Claim,
        who: (usize, usize),
        asked: &Asked,
    ) -> Result<(), String> {
        let key = (claim.nonce.clone(), claim.nc);
        let known = self.uses.entry(key.clone()).or_default();
        // A REGISTER has used it itself, and by now its contact may be gone: the registrar knows.
        let may_be_undone = asked.request.method() == "REGISTER";
        if known
            .granted
            .is_some_and(|other| other != who || may_be_undone)
        {
            return Ok(());
        }
        let nonce = self.nonces.get(&claim.nonce);
        let (highest, came) = nonce.map_or((0, 0), |nonce| (nonce.highest, nonce.came));
        if claim.nc.saturating_add(WINDOW) <= highest {
            return Ok(());
        }
        // A repetition is known by the highest count alone.
        if known.granted == Some(who) && claim.nc < came {
            return Ok(());
        }
        if known.by.len() > 1 {
            // The other one may be looked at in this step, and leave by another device.
            self.doubts.push(key);
            return Ok(());
        }
        Err(format!(
            "count {} of its nonce is new, and refused",
            claim.nc
        ))
    }

    /// The step ends: of two that came with one count, one went on.
    pub fn settle(&mut self) -> Result<(), String> {
        let uses = &self.uses;
        let is_lost = |key: &(String, u32)| {
            let known = uses.get(key);
            known.is_none_or(|known| known.granted.is_none())
        };
        let lost = self.doubts.iter().any(is_lost);
        self.doubts.clear();
        match lost {
            true => Err("a count was refused as used, and nothing has used it".to_owned()),
            false => Ok(()),
        }
    }

    /// A challenge, which must be one (RFC 7616 §3.3, RFC 8760 §2.4), with a nonce that nobody has
    /// seen.
    pub fn challenges(
        &mut self,
        now: Tick,
        (epoch, maker): (u16, usize),
        asked: &Asked,
        sip: &Sip,
        stale: bool,
    ) -> Result<(), String> {
        let nonce = super::challenge::check(sip, stale)?;
        let given = Nonce {
            epoch,
            maker,
            to: asked.source.ip(),
            at: now,
            highest: 0,
            came: 0,
        };
        match self.nonces.insert(nonce, given) {
            None => Ok(()),
            Some(_) => Err("with a nonce that was given before".to_owned()),
        }
    }

    /// Nobody can tell from a failure why it is one.
    fn reads_alike(&mut self, sip: &Sip) -> Result<(), String> {
        let text = super::challenge::without_names(sip);
        let before = &mut self.failures[usize::from(sip.method() == "REGISTER")];
        match before.get_or_insert_with(|| text.clone()) {
            before if *before == text => Ok(()),
            before => Err(format!("failures differ:\n{before}\n-- now --\n{text}")),
        }
    }
}

fn digest_proves(value: &str, password: &str, method: &str) -> bool {
    crate::blast::digest::proves(value, password, method)
}
