#!/bin/bash
# The generator against the box: every script, in calls that all end well and leave nothing; and
# against the bare forwarders, which carry the same calls.
LAB_ONE_PEER=1
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

PERF=$(box_bin trunkline-perf)

# blast ARGUMENT...: a run; its figures in run.json.
blast() {
    lab_exec caller "$PERF" blast --quiet --json "$BOX_DIR/run.json" \
        --caller "caller0=$LAB_CALLER_ADDRESS:5060" --callee "callee0=$LAB_CALLEE_ADDRESS:5060" \
        --to "$LAB_ACCESS_ADDRESS:5060" --from "$LAB_CORE_ADDRESS:5060" "$@"
}

figure() {
    jq -r "$1" "$BOX_DIR/run.json"
}

e2e_begin 's/^workers = .*/workers = 1/'
e2e_that "the box starts" box_start
e2e_that "calls of every script" blast --rate 100 --time 4 --ring 30 --talk 200 \
    --mix basic=4,busy=2,cancel=2,hold=2 --account "box=$BOX_DAEMON"
e2e_equal "begun" "$(figure .calls.begun)" 400
e2e_equal "completed" "$(figure '.calls.completed | "\(.basic) \(.busy) \(.cancel) \(.hold)"')" "160 80 80 80"
e2e_equal "failed" "$(figure '[.calls.failed[]] | add')" 0
e2e_equal "strays" "$(figure '.messages | .stray + .unreadable')" 0
e2e_that "the box's CPU is told" test "$(figure '.window.cpu.box.us_a_call > 1')" = true
e2e_that "times are told" test "$(figure '.times_ns.request_transit | .count > 400 and .p50 > 1000')" = true
e2e_that "the box is at rest" box_at_rest 10
e2e_equal "calls started" "$(box_count calls_started)" 400
e2e_equal "calls answered" "$(box_count calls_answered)" 240
e2e_equal "calls ended" "$(box_count calls_ended)" 240

# A flood of INVITEs without a caller: each is counted, and no frame is lost in silence.
before=$(box_verdict redirect_sip)
e2e_that "a flood" lab_exec caller "$PERF" flood invite --interface caller0 --rate 500 --time 1 \
    --from 10.77.1.9:5060 --to "$LAB_ACCESS_ADDRESS:5060"
e2e_that "stats" box_at_rest 10
e2e_equal "INVITEs of the flood" $(($(box_verdict redirect_sip) - before)) 500
e2e_that "and stops" box_stop

for kind in rings xdp sockets; do
    box_run box "floor-$kind.log" "$PERF" floor "$kind" --time 30 --sleep \
        --a "access=$LAB_ACCESS_ADDRESS,$LAB_CALLER_ADDRESS" \
        --b "core=$LAB_CORE_ADDRESS,$LAB_CALLEE_ADDRESS"
    floor=$BOX_LAST
    e2e_soon "the floor of $kind" grep -q forwarding "$BOX_DIR/floor-$kind.log"
    e2e_that "calls over the floor of $kind" blast --outbound --rate 100 --time 2
    e2e_equal "completed over $kind" "$(figure .calls.completed.basic)" 200
    # The sockets have the port of SIP alone.
    if [ "$kind" != sockets ]; then
        e2e_that "media over it" blast --outbound --rate 20 --time 2 --talk 500 --media
        e2e_equal "RTP lost over $kind" "$(figure .rtp.lost)" 0
    fi
    box_end "$floor"
    cat "$BOX_DIR/floor-$kind.log"
done
