#!/bin/bash
# The slow paths: messages over the MTU and of 64 KiB in both directions, a neighbour that is
# not resolved, a callee that is not there, and ICMP errors that are not what they say.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

peer() {
    local role=$1
    shift
    lab_exec "$role" "$E2E_ROOT/perf/e2e/peer" "$@"
}

CALLER=$LAB_CALLER_ADDRESS:5060 CALLEE=$LAB_CALLEE_ADDRESS:5060
ACCESS=$LAB_ACCESS_ADDRESS:5060 CORE=$LAB_CORE_ADDRESS:5060

# slow_callee CALLS LENGTH [MTU]: the side that is called, and waits until it listens.
slow_callee() {
    box_run callee callee.log "$E2E_ROOT/perf/e2e/peer" answer "$CALLEE" "$@"
    BOX_CALLEE=$BOX_LAST
    e2e_that "the called side listens" box_listens callee 5060
}

# slow_call LENGTH: a call; its final status, milliseconds and length in STATUS, MS, LENGTH.
slow_call() {
    read -r STATUS MS LENGTH < <(peer caller call "$CALLER" "$ACCESS" "$1")
    echo "INVITE of $1 bytes: ${STATUS:-nothing} after ${MS:-?} ms, ${LENGTH:-?} bytes"
}

# slow_count NAME: what control counts at the kernel's sockets.
slow_count() {
    jq -r --arg name "$1" '.operator[$name] // -1' "$BOX_DIR/stats.json"
}

slow_at_least() {
    [ "$2" -ge "$3" ] || e2e_fail "$1: is $2, should be at least $3"
}

e2e_begin ''
e2e_that "the box starts" box_start

# Over the MTU and the largest, both directions, in and out in fragments.
for length in 4000 65000; do
    slow_callee 1 $length
    slow_call $length
    e2e_equal "an INVITE of $length bytes" "$STATUS" 200
    e2e_that "its callee ends" box_wait "$BOX_CALLEE"
    slow_at_least "the INVITE at the callee" "$(cat "$BOX_DIR/callee.log")" $length
    # Our Via is gone from it.
    slow_at_least "the 200 at the caller" "$LENGTH" $((length - 200))
    e2e_that "and is at rest" box_at_rest 10
done
# An INVITE and a 200 of each length came in by the kernel and left by it.
e2e_equal "kernel in" "$(box_count kernel_in)" 4
e2e_equal "datagrams" "$(slow_count kernel_datagrams)" 4
e2e_equal "over the MTU" "$(box_count sip_over_mtu)" 4
e2e_equal "sent by the kernel" "$(slow_count kernel_sent)" 4

# What cannot grow is refused, and not lost.
slow_call 65507
e2e_equal "an INVITE that fills a datagram" "$STATUS" 513

# Nobody takes the INVITE: the caller hears of it at once, not after 32 s. The frame left by
# AF_XDP, and the kernel finds the listen's socket all the same.
slow_call 900
e2e_equal "a callee that is not there" "$STATUS" 500
[ "$MS" -lt 1000 ] || e2e_fail "the 500 took $MS ms"
e2e_that "and is at rest" box_at_rest 10
e2e_equal "transport errors" "$(box_count transport_errors)" 1
e2e_equal "ICMP errors told" "$(slow_count icmp_told)" 1
# The same for one that the kernel sent.
sleep 1
slow_call 4000
e2e_equal "a large INVITE to a callee that is not there" "$STATUS" 500
[ "$MS" -lt 1000 ] || e2e_fail "the 500 took $MS ms"

# ICMP that proves nothing does nothing.
slow_callee 1 500
e2e_that "a forged error" peer callee icmp "$CALLEE" "$CORE" 3 3 400
e2e_that "one that quotes eight bytes" peer callee icmp "$CALLEE" "$CORE" 3 3 0
e2e_that "one of another kind" peer callee icmp "$CALLEE" "$CORE" 11 0 400
slow_call 900
e2e_equal "a call meanwhile" "$STATUS" 200
e2e_that "its callee ends" box_wait "$BOX_CALLEE"
e2e_that "and is at rest" box_at_rest 10
e2e_equal "forged" "$(slow_count icmp_forged)" 1
e2e_equal "unidentified" "$(slow_count icmp_unidentified)" 1
e2e_equal "ignored" "$(slow_count icmp_ignored)" 1
e2e_equal "all ICMP errors" "$(slow_count icmp_errors)" 5

# A router on the way takes no more than 600 bytes: the INVITE is sent again in fragments.
slow_callee 1 500 600
slow_call 1300
e2e_equal "a call over a narrow way" "$STATUS" 200
e2e_that "its callee ends" box_wait "$BOX_CALLEE"
[ "$MS" -lt 400 ] || e2e_fail "the 200 took $MS ms: only Timer A repeated the INVITE"
e2e_that "and is at rest" box_at_rest 10
e2e_equal "sent again in fragments" "$(box_count sip_path_mtu)" 1

# A neighbour that does not answer ARP for a while: the INVITE waits in the kernel.
slow_callee 2 500
lab_exec callee nft 'add table arp slow; add chain arp slow input { type filter hook input priority 0; drop; }'
ip -n "$LAB_NAME-box" neigh flush dev core nud all
sleep 0.3
before=$(box_ctl --json stats | jq '[.counters[] | select(.name == "sip_no_neighbour") | .total] | add')
(sleep 0.4; lab_exec callee nft delete table arp slow) &
opener=$!
slow_call 900
wait "$opener"
e2e_equal "a call to a neighbour that is being resolved" "$STATUS" 200
slow_call 900
e2e_equal "and the next" "$STATUS" 200
[ "$MS" -lt 400 ] || e2e_fail "the 200 took $MS ms"
e2e_that "its callee ends" box_wait "$BOX_CALLEE"
e2e_that "and is at rest" box_at_rest 10
slow_at_least "messages that waited for the neighbour" "$(box_count sip_no_neighbour)" $((before + 1))
e2e_equal "refused by the kernel" \
    $(($(slow_count kernel_refused_busy) + $(slow_count kernel_refused_too_large) + $(slow_count kernel_refused_unreachable) + $(slow_count kernel_refused_other))) 0

e2e_serves 10
e2e_that "and stops with exact sums" box_stop
e2e_nothing_left
