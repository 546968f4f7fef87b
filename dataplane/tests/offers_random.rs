//! Offer and answer in whatever order.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use bench::answer;
use bench::call::CONTACT;
use bench::invite;
use bench::sdp;
use bench::talk::CALLEES;
use bench::talk::CALLERS;
use bench::talk::RELIABLE;
use bench::talk::Talk;
use bench::talk::Who;
use bench::talk::Who::Callee;
use bench::talk::Who::Caller;
use bench::talk::sdp2;

/// A random number of a seed's, below `bound` (xorshift64).
fn below(seed: &mut u64, bound: usize) -> usize {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    usize::try_from(*seed % bound as u64).unwrap()
}

/// A session description of either side's, or none.
fn any_sdp(who: Who, seed: &mut u64) -> String {
    let at = match who {
        Caller => CALLERS[below(seed, 3)],
        Callee => CALLEES[below(seed, 3)],
    };
    match below(seed, 8) {
        0 => String::new(),
        1 => sdp2(at, 0),
        2 | 3 => sdp2(at, 6400 + 100 * u16::try_from(below(seed, 3)).unwrap()),
        4 => sdp(at)
            .replace("RTP/AVP 8", "udptl t38")
            .replace("m=audio", "m=image"),
        5 => sdp(at).replace(&format!("c=IN IP4 {}", at.ip()), "c=IN IP4 0.0.0.0"),
        6 => sdp(at) + &"m=video 9000 RTP/AVP 31\r\n".repeat(4),
        _ => sdp(at),
    }
}

impl Talk {
    /// Something happens: a request, a response to any request so far, or a repetition.
    fn anything(&mut self, asked: &mut Vec<(Who, String)>, cseq: u32, seed: &mut u64) {
        let who = if below(seed, 2) == 0 { Caller } else { Callee };
        match below(seed, 8) {
            0 | 1 if !self.dialog.is_empty() => {
                let method = ["INVITE", "UPDATE", "PRACK", "ACK"][below(seed, 4)];
                let of = if method == "ACK" {
                    cseq - u32::try_from(below(seed, 4)).unwrap()
                } else {
                    cseq
                };
                let rack = format!("RAck: 7 {} INVITE\r\n", below(seed, 3));
                let rack = if method == "PRACK" { &rack } else { "" };
                let message = self.request(who, method, of.max(1), rack, &any_sdp(who, seed));
                for heard in self.says(who, &message) {
                    asked.push((who, heard));
                }
                self.said.push((who, message, Vec::new()));
            }
            2 if !self.said.is_empty() => {
                let (who, message, _) = self.said[below(seed, self.said.len())].clone();
                self.says(who, &message);
            }
            _ => {
                let (asker, request) = &asked[below(seed, asked.len())];
                let who = if *asker == Caller { Callee } else { Caller };
                let status = [
                    "180 Ringing",
                    "183 On",
                    "183 Sure",
                    "200 OK",
                    "200 OK",
                    "491 No",
                ][below(seed, 6)];
                let lines = if status == "183 Sure" { RELIABLE } else { "" };
                let body = any_sdp(who, seed);
                let response = answer(request, status, &format!("{CONTACT}{lines}"), &body);
                // The first INVITE may have been forked.
                let forked = below(seed, 3) == 0 && response.contains("CSeq: 1 INVITE");
                let tag = if forked { ";tag=fork" } else { ";tag=callee" };
                let response = response.replace(";tag=callee", tag);
                let heard = self.says(who, &response);
                // The dialog of the call is that of the first 2xx, once there is one.
                let accepts =
                    |text: &str| text.starts_with("SIP/2.0 200") && text.contains("CSeq: 1 INVITE");
                let heard = heard.first().filter(|heard| {
                    self.dialog.is_empty() || accepts(heard) && !accepts(&self.dialog)
                });
                if let Some(heard) = heard {
                    self.dialog.clone_from(heard);
                }
                self.said.push((who, response, Vec::new()));
            }
        }
    }
}

/// Whatever is said in whatever order, no port serves two sources, the tables agree after each
/// message (which the bench audits), and nothing is left of it in the end.
#[test]
fn no_order_of_offers_and_answers_leaves_anything_behind() {
    for first in 1..=SEEDS {
        let mut seed = first * 0x9e37_79b9;
        let mut talk = Talk::new();
        let body = any_sdp(Caller, &mut seed);
        talk.invite = talk.heard(Caller, &invite("talk", &body));
        let mut asked = vec![(Caller, talk.invite.clone())];
        for cseq in 2..40 {
            talk.anything(&mut asked, cseq, &mut seed);
            talk.plays();
        }
        for (asker, request) in &asked {
            let who = if *asker == Caller { Callee } else { Caller };
            talk.says(who, &answer(request, "500 Over", "", ""));
        }
        if !talk.dialog.is_empty() {
            let bye = talk.request(Caller, "BYE", 99, "", "");
            for heard in talk.says(Caller, &bye) {
                talk.says(Callee, &answer(&heard, "200 OK", "", ""));
            }
        }
        talk.bench.pass_ms(70_000);
        talk.bench.assert_at_rest();
    }
}

/// How many random calls are tried.
const SEEDS: u64 = 12;
