#!/bin/bash
# Two boxes at one Redis, at the same time: what one registers, refreshes and removes the other knows a moment later.
# One box's link to Redis is cut and comes back, Redis stands still, is flushed, and dies and comes back empty: in the
# end both know what the phones have said last, and so does Redis.
#
#   one-box ── 10.77.8.0/24 ── redis ── 10.77.9.0/24 ── two-box
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

ONE=$LAB_NAME TWO=$LAB_NAME-b STORE=$LAB_NAME-redis
DAEMONS=("" "")

# at one|two COMMAND...: with that box, its lab and its directory in the place of the only one.
at() {
    local which=$1 code=0
    shift
    if [ "$which" = two ]; then
        local LAB_NAME=$TWO BOX_DIR=$BOX_DIR/two BOX_DAEMON=${DAEMONS[1]}
        local BOX_CONFIG=$BOX_DIR/trunkline.toml
        "$@" || code=$?
        DAEMONS[1]=$BOX_DAEMON
    else
        local BOX_DAEMON=${DAEMONS[0]}
        "$@" || code=$?
        DAEMONS[0]=$BOX_DAEMON
    fi
    return $code
}

# shellcheck disable=SC2317 # Called by the trap.
e2e_restore() {
    local daemon
    for daemon in "${DAEMONS[@]}"; do [ -z "$daemon" ] || box_end "$daemon"; done
    # Redis is in there, and it may stand still.
    [ -z "$E2E_REDIS" ] || box_end "$E2E_REDIS" KILL
    LAB_NAME=$TWO lab_down
    ip netns del "$STORE" 2>/dev/null
}

# boxes_join BOX NETWORK: a way from a box to Redis.
boxes_join() {
    ip -n "$STORE" link add "to-$2" type veth peer name store netns "$1-box" &&
        ip -n "$STORE" address add "10.77.$2.1/24" dev "to-$2" && ip -n "$STORE" link set "to-$2" up &&
        ip -n "$1-box" address add "10.77.$2.2/24" dev store && ip -n "$1-box" link set store up
}

boxes_ask() {
    lab_exec redis redis-cli "$@" 2>/dev/null
}

# Nothing passes between Redis and box two.
boxes_cut() {
    ip netns exec "$STORE" nft -f - <<'RULES'
table inet cut {
    chain input { type filter hook input priority 0; iifname "to-9" drop; }
    chain output { type filter hook output priority 0; oifname "to-9" drop; }
}
RULES
}

# boxes_register BOX FIRST COUNT [EXPIRES]: phones register there; each time with higher numbers than before.
boxes_register() {
    local since=${registered:-0}
    while [ "$(date +%s)" -le "$since" ]; do sleep 0.1; done
    e2e_that "phones $2 and on register at $1" at "$1" e2e_register "${@:2}"
    # A phone takes two numbers from the time on.
    registered=$(date +%s)
}

# boxes_calls BOX USER STATUS
boxes_calls() {
    e2e_equal "a call to $2 by $1" "$(at "$1" e2e_call "$2")" "$3"
}

# boxes_know COUNT: both boxes, and Redis.
boxes_know() {
    e2e_until "contacts at one" "$1" at one e2e_status .location.contacts
    e2e_until "contacts at two" "$1" at two e2e_status .location.contacts
    e2e_until "contacts in Redis" "$1" boxes_stored
}

# Contacts in Redis: the fields that are no removals.
boxes_stored() {
    boxes_ask EVAL "local all = 0
        for _, key in ipairs(redis.call('KEYS', 'location:{*')) do
            for _, value in ipairs(redis.call('HVALS', key)) do
                if value:sub(1, 1) == 'P' then all = all + 1 end
            end
        end
        return all" 0
}

# boxes_stat BOX NAME: a count of control's own of its location store.
boxes_stat() {
    at "$1" box_ctl --json stats | jq ".operator.location.$2"
}

e2e_begin_registrar ''
cat >>"$BOX_CONFIG" <<'TOML'

[location]
store = "redis"

[location.redis]
servers = ["redis://10.77.8.1:6379"]
TOML
mkdir -m 0700 "$BOX_DIR/two"
sed -e "s|$BOX_DIR|$BOX_DIR/two|" -e 's|10\.77\.8\.1|10.77.9.1|' "$BOX_CONFIG" >"$BOX_DIR/two/trunkline.toml"
e2e_that "another lab" at two lab_up
e2e_that "a place for Redis" ip netns add "$STORE"
e2e_that "its loopback" ip -n "$STORE" link set lo up
e2e_that "a way from one to Redis" boxes_join "$ONE" 8
e2e_that "a way from two to Redis" boxes_join "$TWO" 9
e2e_redis redis
e2e_that "one starts" at one box_start
e2e_that "two starts" at two box_start
for box in one two; do
    e2e_that "subscribers of $box" at $box e2e_subscribers 100
    e2e_until "$box has looked through Redis" true at $box e2e_status .location.loaded
done

# A phone registers at one, is called by two, refreshes there, and leaves at one.
boxes_register one 0 20
boxes_know 20
boxes_calls two user3 200
boxes_register two 0 20
e2e_until "refreshed at two, known at one" 20 boxes_stat one given_back
boxes_register one 0 5 0
boxes_know 15
boxes_calls two user3 480
boxes_calls one user7 200

# Two is cut off. Meanwhile phones register at two, and some of these at one after that; others leave one and come to it.
boxes_cut
boxes_register two 5 3
boxes_register two 40 2
boxes_register one 5 2
boxes_register one 7 3 0
boxes_register one 30 4
e2e_until "two notices that its changes wait" 5 at two e2e_status .location.waiting
boxes_calls two user8 200
# Whoever listened there is gone, and does not know it.
boxes_ask CLIENT KILL TYPE pubsub >"$BOX_DIR/killed"
ip netns exec "$STORE" nft delete table inet cut
boxes_know 18
e2e_until "of two's changes those that one has overtaken" 3 boxes_stat two stale
boxes_calls one user41 200
boxes_calls two user31 200
boxes_calls two user8 480

# Redis stands still: phones register, who is known is called.
kill -STOP "$E2E_REDIS"
boxes_register one 50 2
boxes_calls two user41 200
kill -CONT "$E2E_REDIS"
boxes_know 20

# It is flushed, and dies and comes back empty: what the boxes know is written again, also what the other has registered.
boxes_ask FLUSHALL >"$BOX_DIR/flushed"
boxes_know 20
box_end "$E2E_REDIS" KILL
e2e_redis redis
boxes_know 20
e2e_equal "changes that found no room" "$(boxes_stat one lost) $(boxes_stat two lost)" "0 0"
for box in one two; do
    e2e_that "$box is at rest" at $box box_at_rest 40
    e2e_that "$box stops" at $box box_stop
done

# Who has never heard of any of them has them of Redis.
e2e_that "one starts again" at one box_start
e2e_until "contacts at one" 20 at one e2e_status .location.contacts
boxes_calls one user41 200
e2e_that "one is at rest" at one box_at_rest 40
e2e_that "one stops" at one box_stop
e2e_nothing_left
