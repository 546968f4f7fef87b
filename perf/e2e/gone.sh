#!/bin/bash
# A device that is deleted while calls are up: the box says so, is not ready, does not
# spin, and goes on with the other. When the device is back it ends with an error, to be
# started anew, and then calls pass again.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

# Clock ticks that the daemon has spent.
ticks() {
    awk '{ print $14 + $15 }' "/proc/$BOX_DAEMON/stat"
}

e2e_begin ''
e2e_that "the box starts" box_start
e2e_that "a called side" box_callee basic 20 30
callee=$BOX_CALLEE
box_caller basic 20 20 30
caller=$BOX_CALLER
sleep 2
e2e_that "core is deleted" ip -n "$LAB_NAME-box" link del core
box_end "$caller"
box_end "$callee"
e2e_until "status says of core that it is" '"gone"' e2e_status '.interfaces[1].link'
box_ctl --json status >"$BOX_DIR/status.json"
e2e_that "and warns of it" grep -q 'the device core of interface .*core.* is gone' "$BOX_DIR/status.json"
e2e_equal "ready" "$(curl -s -o /dev/null -w '%{http_code}' \
    --unix-socket "$BOX_DIR/control.sock" http://localhost/readyz)" 503
before=$(ticks)
sleep 3
spent=$(($(ticks) - before))
echo "in 3 s without its device it spent $spent ticks of $(getconf CLK_TCK) a second"
[ "$spent" -lt $(($(getconf CLK_TCK) * 3 / 10)) ] || e2e_fail "it spins"
e2e_that "access still answers" lab_exec caller ping -c 1 -W 1 -q "$LAB_ACCESS_ADDRESS"
kill -0 "$BOX_DAEMON" || e2e_fail "it has ended too early"

# A device comes before its addresses, and a start without them is refused.
e2e_that "core is back without its address" ip -n "$LAB_NAME-box" link add core \
    numtxqueues 2 numrxqueues 2 type veth peer name callee0 netns "$LAB_NAME-callee" numtxqueues 2 numrxqueues 2
e2e_that "and up" ip -n "$LAB_NAME-box" link set core up
e2e_that "as its far side" ip -n "$LAB_NAME-callee" link set callee0 up
sleep 7
kill -0 "$BOX_DAEMON" || e2e_fail "it has ended before its addresses were there"
e2e_that "core goes again" ip -n "$LAB_NAME-box" link del core
e2e_that "core is back" lab_join callee callee0 "$LAB_CALLEE_ADDRESS" core "$LAB_CORE_ADDRESS"
code=0
box_wait "$BOX_DAEMON" || code=$?
BOX_DAEMON=""
e2e_equal "it ends with" $code 1
e2e_that "and says why" grep -q 'core was gone and is there again' "$BOX_DIR/trunklined.log"
grep -q 'OFF BY' "$BOX_DIR/trunklined.log" && e2e_fail "the sums do not hold"
e2e_nothing_left
e2e_that "it starts anew" box_start
lab_count_from_now
e2e_serves 5
e2e_that "and stops" box_stop
e2e_nothing_left
