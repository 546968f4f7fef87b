#!/bin/bash
# Targets that are not there, that cannot serve and that say nothing: the call goes to the next
# one. And a route that forks: who answers has the call, the other is cancelled.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

CALLS=10
# Nobody; a 503; an open socket that says nothing; and who answers.
NOBODY=5071 UNAVAILABLE=5072 SILENT=5073 RINGING=5074

# failover_callee SCENARIO PORT: one more called side.
failover_callee() {
    box_run callee "$1.log" sipp -sf "$BOX_SCENARIOS/uas_$1.xml" -i "$LAB_CALLEE_ADDRESS" -p "$2" \
        -mp 31000 -t u1 -nostdin -m $CALLS -timeout 60s -timeout_error -trace_err
    e2e_that "$1 listens" box_listens callee "$2"
}

# failover_targets PORT...: the callee's targets.
failover_targets() {
    local port list=""
    for port in "$@"; do list="$list${list:+, }\"$LAB_CALLEE_ADDRESS:$port\""; done
    printf 's|^target = "%s:5060"|target = [%s]\\nno_answer_ms = 500|' "$LAB_CALLEE_ADDRESS" "$list"
}

failover_count() {
    box_ctl --json trunks | jq -r '.trunks[] | select(.name == "callee") | .counts[] | select(.name == "failovers") | .total'
}

e2e_begin "$(failover_targets $NOBODY $UNAVAILABLE $SILENT 5060)"
failover_callee unavailable $UNAVAILABLE
unavailable=$BOX_LAST
box_run callee silent.log nc -lu "$LAB_CALLEE_ADDRESS" $SILENT
silent=$BOX_LAST
e2e_that "the box starts" box_start
e2e_that "calls that find the fourth target" box_calls basic $CALLS 5 60
e2e_that "each was tried at the second" box_wait "$unavailable"
e2e_that "and is at rest" box_at_rest 45
e2e_equal "calls started" "$(box_count calls_started)" $CALLS
e2e_equal "calls answered" "$(box_count calls_answered)" $CALLS
e2e_equal "calls failed" "$(box_count calls_failed)" 0
e2e_equal "failovers" "$(failover_count)" $((3 * CALLS))
e2e_that "the box stops" box_stop
box_end "$silent"

# The last target is a 503: that is the box's to hide. A host sends six ICMP errors at once, and
# no more: a branch of which nothing is heard would live for 32 s.
CALLS=5
box_configure "$(failover_targets $NOBODY $UNAVAILABLE)"
failover_callee unavailable $UNAVAILABLE
unavailable=$BOX_LAST
e2e_that "the box starts" box_start
box_caller busy $CALLS 10 60
box_wait "$BOX_CALLER" && e2e_fail "a call without any target was answered as one with a busy callee"
grep -q 'SIP/2.0 500' "$BOX_DIR"/*_errors.log || e2e_fail "the caller was not told 500"
e2e_that "its callee ends" box_wait "$unavailable"
e2e_that "and is at rest" box_at_rest 10
e2e_equal "calls failed" "$(box_count calls_failed)" $CALLS
e2e_that "the box stops" box_stop

CALLS=10
# A fork: one rings until it is cancelled, the other answers.
box_configure ''
cat >>"$BOX_CONFIG" <<END

[[trunk]]
name = "mobile"
sources = ["10.77.2.99"]
listen = "core"
media = "core"
target = "$LAB_CALLEE_ADDRESS:$RINGING"
END
sed -i 's|^to = "callee"|to = ["callee", "mobile"]|' "$BOX_CONFIG"
failover_callee cancel $RINGING
ringing=$BOX_LAST
e2e_that "the box starts" box_start
e2e_that "calls to two at once" box_calls basic $CALLS 5 60
e2e_that "the other was cancelled each time" box_wait "$ringing"
e2e_that "and is at rest" box_at_rest 10
e2e_equal "calls started" "$(box_count calls_started)" $CALLS
e2e_equal "calls answered" "$(box_count calls_answered)" $CALLS
e2e_equal "calls ended" "$(box_count calls_ended)" $CALLS
e2e_that "the box stops" box_stop
e2e_nothing_left
