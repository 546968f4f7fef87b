//! Offer and answer in the early dialogs of a fork beyond the box.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod bench;

use bench::call::CALLER_MEDIA;
use bench::call::media_in;
use bench::sdp;
use bench::talk::CALLEES;
use bench::talk::CALLERS;
use bench::talk::RELIABLE;
use bench::talk::Talk;
use bench::talk::Who::Caller;
use trunkline_dataplane::counters::Counter;
use trunkline_dataplane::sip::call::EARLY_DIALOGS_MAX;

#[test]
fn of_the_early_dialogs_of_a_fork_the_last_one_plays_and_the_200_decides() {
    for says_again in [true, false] {
        let mut talk = Talk::begin(&sdp(CALLER_MEDIA));
        talk.tag = "first";
        talk.respond("183 Session Progress", RELIABLE, &sdp(CALLEES[0]));
        assert_eq!(talk.plays(), [Some(CALLERS[0]), Some(CALLEES[0])]);
        talk.tag = "second";
        talk.respond("180 Ringing", "", "");
        assert_eq!(
            talk.plays()[1],
            Some(CALLEES[0]),
            "it has said nothing of media"
        );
        talk.respond("183 Session Progress", "", &sdp(CALLEES[1]));
        assert_eq!(talk.plays(), [Some(CALLERS[0]), Some(CALLEES[1])]);
        // It was answered there: this is a repetition.
        talk.tag = "first";
        talk.respond("183 Session Progress", RELIABLE, &sdp(CALLEES[0]));
        assert_eq!(talk.plays()[1], Some(CALLEES[1]));
        let body = if says_again {
            sdp(CALLEES[0])
        } else {
            String::new()
        };
        talk.respond("200 OK", "", &body);
        assert_eq!(talk.plays(), [Some(CALLERS[0]), Some(CALLEES[0])]);
        // The other one answers too late: its media is not the call's.
        talk.tag = "second";
        talk.says_of_fork("200 OK", &sdp(CALLEES[1]));
        assert_eq!(talk.plays(), [Some(CALLERS[0]), Some(CALLEES[0])]);
    }
}

/// An INVITE without an offer is answered by as many early dialogs as there may be, each with one.
fn with_four_offers() -> (Talk, Vec<String>) {
    let mut talk = Talk::begin("");
    let heard = TAGS.map(|tag| {
        talk.tag = tag;
        talk.respond("183 Session Progress", RELIABLE, &sdp(CALLEES[0]))
    });
    (talk, heard.to_vec())
}

const TAGS: [&str; EARLY_DIALOGS_MAX] = ["one", "two", "three", "four"];

#[test]
fn an_offer_that_is_said_again_takes_its_own_place() {
    let (mut talk, first) = with_four_offers();
    for (tag, first) in TAGS.into_iter().zip(first) {
        talk.tag = tag;
        let again = talk.respond("183 Session Progress", RELIABLE, &sdp(CALLEES[0]));
        assert_eq!(again, first, "{tag}");
        assert_ne!(media_in(&again), CALLEES[0], "{tag}");
    }
    // The 2xx of one of them, and the answer in its ACK.
    talk.tag = "three";
    talk.respond("200 OK", "", &sdp(CALLEES[0]));
    talk.ask(Caller, "ACK", 1, "", &sdp(CALLERS[0]));
    assert_eq!(talk.plays(), [Some(CALLERS[0]), Some(CALLEES[0])]);
    assert_eq!(talk.bench.count(Counter::OffersRefused), 0);
}

#[test]
fn one_more_early_dialog_than_there_may_be_makes_no_offer() {
    let (mut talk, _) = with_four_offers();
    talk.tag = "five";
    let passed = talk.respond("183 Session Progress", RELIABLE, &sdp(CALLEES[1]));
    assert_eq!(
        media_in(&passed),
        CALLEES[1],
        "it goes on, and plays nothing"
    );
    assert_eq!(talk.bench.count(Counter::OffersRefused), 1);
    talk.tag = "one";
    talk.respond("183 Session Progress", RELIABLE, &sdp(CALLEES[0]));
    assert_eq!(talk.bench.count(Counter::OffersRefused), 1);
}
