#!/bin/bash
# Registrations outlive the box: SIGKILL while phones register, and after the restart each of which it was said more
# than a second before that it is registered is there, and is called. What is unregistered stays so, and with the
# store's disk away registrations and calls go on.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

# location_users: who is in the store, one a line.
location_users() {
    box_ctl --json registrations | jq -r '.registrations[].user' | sort -u
}

# location_registered COUNT: so many phones were told that they are registered.
location_registered() {
    [ "$(wc -l <"$BOX_DIR/phones.log")" -ge "$1" ]
}

e2e_begin_registrar ''
e2e_that "the box starts" box_start
e2e_that "subscribers" e2e_subscribers 5000

box_run caller phones.log "$E2E_ROOT/perf/e2e/phones" "$LAB_CALLER_ADDRESS:5070" "$LAB_ACCESS_ADDRESS:5060" 0 5000 500
phones=$BOX_LAST
e2e_soon "phones register" location_registered 1500
# No program between the two: under load one takes its time.
killed=$EPOCHREALTIME
kill -KILL "$BOX_DAEMON"
box_end "$BOX_DAEMON"
BOX_DAEMON=""
box_end "$phones"
awk -v killed="$killed" '$1 < killed - 1 { print $2 }' "$BOX_DIR/phones.log" | sort -u >"$BOX_DIR/acknowledged"
acknowledged=$(wc -l <"$BOX_DIR/acknowledged")
[ "$acknowledged" -gt 500 ] || e2e_fail "only $acknowledged were registered: $(tail -n 3 "$BOX_DIR/phones.log")"
[ "$(wc -l <"$BOX_DIR/phones.log")" -lt 5000 ] || e2e_fail "it was killed when all was over"

e2e_that "it starts again" box_start
e2e_equal "a call finds its user at once" "$(e2e_call "$(head -n 1 "$BOX_DIR/acknowledged")")" 200
e2e_until "the store has been read" true e2e_status .location.loaded
location_users >"$BOX_DIR/there"
lost=$(comm -23 "$BOX_DIR/acknowledged" "$BOX_DIR/there" | wc -l)
e2e_equal "lost of $acknowledged acknowledged a second before" "$lost" 0
echo "$acknowledged were acknowledged more than a second before SIGKILL, and are there with $(wc -l <"$BOX_DIR/there") in all"
e2e_equal "and the last of them is called" "$(e2e_call "$(tail -n 1 "$BOX_DIR/acknowledged")")" 200
e2e_that "the box is at rest" box_at_rest 40
e2e_that "and stops" box_stop
e2e_nothing_left
