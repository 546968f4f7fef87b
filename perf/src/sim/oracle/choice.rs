//! Which final response may go upstream (RFC 3261 §16.7 step 6), and which the box may give
//! of its own.

use trunkline_dataplane::tick::Tick;

use super::LATE_MS;
use super::TIMER_C_MS;
use super::ledger::Ledger;
use super::ledger::Sent;
use super::ledger::is_to;
use crate::sim::media;
use crate::sim::plan::Route;
use crate::sim::sip::Sip;
use crate::sim::sip::host;
use crate::sim::site::Site;

/// How long a target of a trunk may stay silent before the next is tried.
pub(super) const NO_ANSWER_MS: u64 = 2_000;

/// The first final response to a request that is no 2xx: all branches have ended, and no
/// better one is there.
pub(super) fn best(ledger: &Ledger, asked: usize, sip: &Sip, now: Tick) -> Result<(), String> {
    let status = sip.status().unwrap_or_default();
    let request = &ledger.asked[asked];
    let branches: Vec<_> = ledger.branches(asked).map(|(_, sent)| sent).collect();
    if branches.is_empty() || !request.is_invite() {
        return Ok(());
    }
    let soon = now.plus_ms(LATE_MS);
    let given_up = |sent: &Sent| {
        let waited = sent.at.plus_ms(NO_ANSWER_MS);
        let was_silent = |heard: Tick| heard.plus_ms(LATE_MS) >= waited;
        soon >= waited && sent.first_heard.is_none_or(was_silent)
    };
    for sent in &branches {
        let rang_out = sent.heard.is_some_and(|heard| {
            soon >= heard.plus_ms(180_000) && soon < heard.plus_ms(TIMER_C_MS + 40_000)
        });
        if !sent.is_over(soon) && !given_up(sent) && !rang_out && sent.cancelled.is_none() {
            return Err(format!("while {} has not ended", sent.to));
        }
    }
    // A 2xx of the same moment may have been looked at after this.
    let just_accepted = |sent: &Sent| sent.is_accepted() && sent.answered_at() == Some(now);
    // What the box itself has cancelled, given up or after Timer C, may count as 408, as the 487
    // that it says, or not at all.
    let own_cancel = |sent: &Sent| {
        let ended = matches!(sent.status(), None | Some(487));
        ended && sent.cancelled.is_some() && request.cancelled.is_none()
    };
    if branches.iter().any(|sent| own_cancel(sent)) && matches!(status, 408 | 487) {
        return Ok(());
    }
    // What comes after Timer B is of no transaction any more; at its edge it may still be taken up.
    let class = |status: u16| if status == 503 { 5 } else { status / 100 };
    let is_of_its_class = |sent: &Sent| sent.status().map(class) == Some(class(status));
    if branches
        .iter()
        .any(|sent| sent.late && is_of_its_class(sent))
    {
        return Ok(());
    }
    let counts = |sent: &&&Sent| !just_accepted(sent) && !own_cancel(sent) && !sent.late;
    let ended = branches.iter().filter(counts);
    let said: Vec<u16> = ended
        .filter_map(|sent| sent.status().or(sent.unreachable.map(|_| 500)))
        .collect();
    if said.iter().any(|status| *status >= 600) && status < 600 {
        return Err(format!("though one said 6xx: {said:?}"));
    }
    let timed_out = branches
        .iter()
        .any(|sent| (!sent.has_ended() || sent.late) && !own_cancel(sent));
    let mut classes: Vec<u16> = said.iter().map(|&status| class(status)).collect();
    if timed_out {
        classes.push(4);
    }
    // Whether a target that never spoke has said 408 is for the box to judge.
    let unheard = |sent: &Sent| !sent.has_ended() && (sent.heard.is_none() || given_up(sent));
    let judged = branches.iter().any(|sent| unheard(sent));
    if judged && said.iter().any(|&said| class(said) == class(status)) {
        return Ok(());
    }
    let lowest = classes.iter().copied().min().unwrap_or(4);
    let declined = said.iter().any(|status| *status >= 600);
    if !declined && class(status) != lowest && request.cancelled.is_none() {
        return Err(format!("{status} is of no lowest class among {said:?}"));
    }
    Ok(())
}

/// The answers that the box may give itself when nobody else gave them.
pub(super) fn own_response(
    ledger: &Ledger,
    asked: usize,
    sip: &Sip,
    site: &Site,
    crowded: bool,
    now: Tick,
) -> Result<(), String> {
    let status = sip.status().unwrap_or_default();
    let asked_at = asked;
    let asked = &ledger.asked[asked];
    let branches = || ledger.branches(asked_at).map(|(_, sent)| sent);
    // What comes after Timer B is of no transaction any more.
    let silent = || branches().any(|sent| !sent.has_ended() || sent.late);
    let unreachable = || branches().any(|sent| sent.unreachable.is_some());
    let said = |status: u16| branches().any(|sent| sent.status() == Some(status));
    let in_dialog = !asked.request.to_tag().is_empty();
    let allowed = match (sip.method(), status) {
        ("INVITE", 100) => true,
        ("INVITE", 408) => silent(),
        ("INVITE", 487) => asked.cancelled.is_some() || silent(),
        (_, 482) => {
            let vias = asked.request.all("Via");
            is_to(&asked.request, Route::Loop)
                || ledger.is_merged(asked_at)
                || vias
                    .filter(|via| via.contains(&format!(" {};", host(site.address(1)))))
                    .count()
                    > 0
        }
        (_, 483) => asked.request.get("Max-Forwards") == "0",
        (_, 481) => sip.method() == "CANCEL" || in_dialog && !ledger.is_ours(&asked.request),
        ("CANCEL" | "OPTIONS", 200) => true,
        // RFC 4320 §4.1: not before Timer E has reached T2, and once.
        (_, 100) => now.plus_ms(LATE_MS) >= asked.at.plus_ms(3_500),
        // RFC 3264: media of the other family, which a box before has let pass.
        (_, 488) => media::address_in(asked.request.body()).is_ok_and(|at| {
            let side = site.side_of(asked.source.ip()).unwrap_or(0);
            at.is_ipv4() != site.address(side).is_ipv4()
        }),
        // An offer in a dialog that is no call's: there is nobody to relay for.
        ("INVITE" | "UPDATE" | "PRACK", 503) if in_dialog && !asked.request.body().is_empty() => {
            let request = &asked.request;
            ledger.is_over(asked.epoch) || ledger.is_second(request) || ledger.has_failed(request)
        }
        // What refuses may be a further pass, by way of the box itself.
        (_, 500 | 503) if crowded => true,
        // RFC 3261 §16.7 step 6: in the place of a 503 of its own.
        (_, 500) => said(503) || unreachable(),
        _ => false,
    };
    if allowed {
        return Ok(());
    }
    Err("nobody gave this answer".to_owned())
}
