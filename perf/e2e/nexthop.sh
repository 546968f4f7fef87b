#!/bin/bash
# Routes by nexthop objects are followed: that one comes, leads elsewhere, and goes, of which
# the kernel says nothing but that the object has gone.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

THERE=198.51.100.9
ELSEWHERE=${LAB_CALLEE_ADDRESS%.*}.99

# leads SHOULD: where a worker would send a packet to THERE, within 3 s.
leads() {
    local left=30 is
    while [ $((left--)) -gt 0 ]; do
        is=$(box_ctl --json routes get $THERE | jq -r 'if .reason == "no_route" then .reason else .next_hop end')
        [ "$is" != "$1" ] || return 0
        sleep 0.1
    done
    echo "$THERE: $is"
    return 1
}

box_ip() {
    ip -n "$LAB_NAME-box" "$@"
}

e2e_begin ''
e2e_that "the box starts" box_start
e2e_that "there is no route" leads no_route
e2e_that "an object" box_ip nexthop add id 5 via "$LAB_CALLEE_ADDRESS" dev core
e2e_that "a route by it" box_ip route add 198.51.100.0/24 nhid 5
e2e_that "is followed" leads "$LAB_CALLEE_ADDRESS"
e2e_that "it leads elsewhere" box_ip nexthop replace id 5 via "$ELSEWHERE" dev core
e2e_that "which is followed" leads "$ELSEWHERE"
e2e_that "the object goes" box_ip nexthop del id 5
e2e_that "and the route with it" leads no_route
e2e_that "the box stops" box_stop
e2e_nothing_left
