#!/bin/bash
# Floods of garbage to the SIP port, to media ports and to the address as such:
# each packet has a named end, the sums are exact, and calls pass afterwards.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

flood() {
    lab_exec caller "$E2E_ROOT/perf/e2e/garbage" "$@"
}

# The flood's own INVITEs, where they are whole, have no route: 404.
e2e_begin 's/^from = "caller"/&\nprefix = "2000"/'
e2e_that "the box starts" box_start
e2e_that "and is at rest" box_at_rest 10
before=$(($(box_verdict redirect_sip) + $(box_verdict redirect_media)))

sent=0
for flood in "bytes 1500 $LAB_ACCESS_ADDRESS 5060 5060" "sip 1500 $LAB_ACCESS_ADDRESS 5060 5060" \
    "bytes 800 $LAB_ACCESS_ADDRESS 20000 24999" "rtp 1200 $LAB_ACCESS_ADDRESS 20000 24999"; do
    # shellcheck disable=SC2086 # Words, on purpose.
    count=$(flood $flood)
    echo "$flood: $count sent"
    sent=$((sent + count))
done
echo "raw IP: $(flood ip 500 "$LAB_ACCESS_ADDRESS" 5060 5060) sent"
box_ctl --json stats >"$BOX_DIR/stats.json"
[ $(($(box_verdict redirect_sip) + $(box_verdict redirect_media))) -ge $((before + sent)) ] ||
    e2e_fail "not all of the $sent datagrams reached the workers"
# What was no SIP at all is dropped, what could be answered is, media is closed.
for name in sip_malformed sip_answered media_port_closed; do
    [ "$(box_count $name)" -gt 0 ] || e2e_fail "$name counts nothing"
done
jq -r '.counters[] | select(.kind == "dropped" and .total > 0) | "\(.total)\t\(.name)"' \
    "$BOX_DIR/stats.json"

e2e_that "the box is at rest" box_at_rest 10
e2e_equal "calls begun by the flood" "$(box_count calls_started)" 0
e2e_serves 10
e2e_equal "calls answered" "$(box_count calls_answered)" 10
e2e_that "and stops" box_stop
e2e_nothing_left
