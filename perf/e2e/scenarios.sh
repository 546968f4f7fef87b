#!/bin/bash
# Cancel, busy, no answer, hold and OPTIONS through the box: every SIPp call as
# scripted, the box's counts as they must be, both sums exact after each.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

# scenario NAME CALLS STARTED FAILED ENDED: what each scenario adds.
scenario() {
    local started failed ended
    started=$(box_count calls_started)
    failed=$(box_count calls_failed)
    ended=$(box_count calls_ended)
    e2e_that "$1" box_calls "$1" "$2" 10 60
    e2e_that "$1 leaves the box at rest" box_at_rest 10
    e2e_equal "$1: calls started" $(($(box_count calls_started) - started)) "$3"
    e2e_equal "$1: calls failed" $(($(box_count calls_failed) - failed)) "$4"
    e2e_equal "$1: calls ended" $(($(box_count calls_ended) - ended)) "$5"
    e2e_equal "$1: drops by a worker" "$(dropped)" 0
    echo "$1: $2 calls"
}

dropped() {
    jq '[.counters[] | select(.kind == "dropped") | .total] | add' "$BOX_DIR/stats.json"
}

e2e_begin ''
e2e_that "the box starts" box_start
e2e_that "and is at rest" box_at_rest 10
scenario busy 20 20 20 0
scenario cancel 20 20 20 0
scenario no_answer 20 20 20 0
scenario options 20 0 0 0
lab_count_from_now
scenario hold 20 20 0 20
# While held the callee is silent, and the caller's packets end in the box.
e2e_equal "hold: RTP that the callee sent, and the caller got" \
    "$(lab_count caller rtp_in)" "$(lab_count callee rtp_out)"
e2e_that "the box stops" box_stop
e2e_nothing_left
