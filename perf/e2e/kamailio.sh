#!/bin/bash
# Kamailio between the box and the callee: two proxies that record a route each
# understand one another: calls, re-INVITEs, failures.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

if ! command -v kamailio >/dev/null; then
    e2e_fail "there is no kamailio; scripts/test installs it"
fi
e2e_begin 's/^target = .*/target = "10.77.2.2:5070"/'
e2e_that "the box starts" box_start
mkdir "$BOX_DIR/kamailio"
box_run callee kamailio.log kamailio -f "$E2E_ROOT/perf/e2e/kamailio.cfg" -DD -E \
    -m 32 -M 4 -Y "$BOX_DIR/kamailio"
kamailio=$BOX_LAST
e2e_that "Kamailio listens" box_listens callee 5070
lab_count_from_now
e2e_that "calls pass" box_calls basic 20 10 40
e2e_that "and leave the box at rest" box_at_rest 10
e2e_equal "calls answered" "$(box_count calls_answered)" 20
e2e_equal "RTP at the caller" "$(lab_count caller rtp_in)" 4000
# Kamailio's port is not 5060: its SIP is counted with RTP there.
e2e_equal "calls ended" "$(box_count calls_ended)" 20
# Not cancel: its callee keeps one Via only for the 487, and here there are two.
e2e_that "re-INVITEs along both routes" box_calls hold 10 10 40
e2e_that "leave the box at rest" box_at_rest 10
e2e_equal "calls ended" "$(box_count calls_ended)" 30
e2e_that "failures" box_calls busy 10 10 40
e2e_that "leave the box at rest" box_at_rest 10
e2e_equal "calls failed" "$(box_count calls_failed)" 10
grep -E 'ERROR|CRITICAL' "$BOX_DIR/kamailio.log" && e2e_fail "Kamailio complains"
box_end "$kamailio"
e2e_that "and stops" box_stop
