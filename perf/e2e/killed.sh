#!/bin/bash
# SIGKILL in the middle of calls: the box still answers ping, trunklined starts
# again at once, and calls pass again.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

e2e_begin ''
e2e_that "the box starts" box_start
e2e_that "a called side" box_callee basic 20 30
callee=$BOX_CALLEE
box_caller basic 20 20 30
caller=$BOX_CALLER
sleep 2
box_ctl --json stats >"$BOX_DIR/stats.json"
[ "$(box_count calls_now)" -gt 0 ] || e2e_fail "no call is up"
box_end "$BOX_DAEMON" KILL
BOX_DAEMON=""
e2e_that "ping goes on without the daemon" \
    lab_exec caller ping -c 2 -i 0.2 -W 1 -q "$LAB_ACCESS_ADDRESS"
box_end "$caller"
box_end "$callee"
e2e_that "it starts again" box_start
e2e_serves 10
e2e_that "and stops" box_stop
e2e_nothing_left
