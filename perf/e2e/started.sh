#!/bin/bash
# SIGTERM in the middle of the start: it is given up at the next step, with exit code 0, and
# nothing is left. A start after it succeeds.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

e2e_begin ''
early=0
for _ in $(seq 10); do
    box_run box trunklined.log "$(box_bin trunklined)" --config "$BOX_CONFIG"
    BOX_DAEMON=$BOX_LAST
    left=500
    # All that comes from here on is done without a pause.
    until ip -n "$LAB_NAME-box" link show access | grep -q xdp || [ $((left--)) -eq 0 ]; do :; done
    kill -TERM "$BOX_DAEMON"
    e2e_that "SIGTERM ends it with exit code 0" box_wait "$BOX_DAEMON"
    BOX_DAEMON=""
    grep -q 'stopped before the start was complete' "$BOX_DIR/trunklined.log" && early=$((early + 1))
    e2e_nothing_left
done
echo "of 10 starts $early were given up before they were complete"
[ $early -gt 0 ] || e2e_fail "no start was given up: each went on to its end"
e2e_that "the box starts" box_start
e2e_serves 5
e2e_that "and stops" box_stop
e2e_nothing_left
