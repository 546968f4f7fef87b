#!/bin/bash
# Routes by nexthop objects are followed: that one comes, leads elsewhere, and goes, of which
# the kernel says nothing but that the object has gone.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

THERE=198.51.100.9
ELSEWHERE=${LAB_CALLEE_ADDRESS%.*}.99

# Where a worker would send a packet to THERE.
leads() {
    # It ends with 1 where there is no way.
    { box_ctl --json routes get $THERE || true; } | jq -r 'if .reason == "no_route" then .reason else .next_hop end'
}

box_ip() {
    ip -n "$LAB_NAME-box" "$@"
}

e2e_begin ''
e2e_that "the box starts" box_start
e2e_until "no route leads" no_route leads
e2e_that "an object" box_ip nexthop add id 5 via "$LAB_CALLEE_ADDRESS" dev core
e2e_that "a route by it" box_ip route add 198.51.100.0/24 nhid 5
e2e_until "which leads" "$LAB_CALLEE_ADDRESS" leads
e2e_that "it leads elsewhere" box_ip nexthop replace id 5 via "$ELSEWHERE" dev core
e2e_until "and it leads" "$ELSEWHERE" leads
e2e_that "the object goes" box_ip nexthop del id 5
e2e_until "and no route leads" no_route leads
e2e_that "the box stops" box_stop
e2e_nothing_left
