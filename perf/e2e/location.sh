#!/bin/bash
# Registrations outlive the box: SIGKILL while phones register, and after the restart each of which it was said more
# than a second before that it is registered is there, and is called. What is unregistered stays so, and with the
# store's disk away registrations and calls go on.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

PHONES=$E2E_ROOT/perf/e2e/phones
PEER=$E2E_ROOT/perf/e2e/peer

# location_users: who is in the store, one a line.
location_users() {
    box_ctl --json registrations | jq -r '.registrations[].user' | sort -u
}

# location_calls USER: a call from the core reaches the phone of this user, with media on neither side.
location_calls() {
    local answered
    lab_exec caller "$PEER" answer "$LAB_CALLER_ADDRESS:5070" 1 400 >"$BOX_DIR/answered.log" 2>&1 &
    answered=$!
    sleep 0.2
    lab_exec callee "$PEER" call "$LAB_CALLEE_ADDRESS:5060" "$LAB_CORE_ADDRESS:5060" 500 "$1@example.com" \
        >"$BOX_DIR/called.log" 2>&1 || return 1
    wait "$answered" && grep -q '^200 ' "$BOX_DIR/called.log"
}

# location_loaded: waits until the store has been read.
location_loaded() {
    local left=100
    until [ "$(box_ctl --json status | jq .location.loaded)" = true ]; do
        [ $((left--)) -gt 0 ] || return 1
        sleep 0.1
    done
}

# The caller's side is of no trunk: it is the phones.
e2e_begin 's|^sources = \["10.77.1.2"\]|sources = ["10.77.1.200"]|'
cat >>"$BOX_CONFIG" <<'TOML'

[[domain]]
name = "example.com"
listen = "access"
media = "access"
algorithms = ["MD5"]
registrar = true
TOML
e2e_that "the box starts" box_start
{
    echo user,domain,password
    for ((n = 0; n < 5000; n++)); do echo "user$n,example.com,wonderland"; done
} >"$BOX_DIR/users.csv"
e2e_that "subscribers" box_ctl subscriber import "$BOX_DIR/users.csv"

box_run caller phones.log "$PHONES" "$LAB_CALLER_ADDRESS:5070" "$LAB_ACCESS_ADDRESS:5060" 0 5000 500
phones=$BOX_LAST
sleep 4
kill -KILL "$BOX_DAEMON"
killed=$(date +%s.%N)
box_end "$BOX_DAEMON"
BOX_DAEMON=""
box_end "$phones"
awk -v killed="$killed" '$1 < killed - 1 { print $2 }' "$BOX_DIR/phones.log" | sort -u >"$BOX_DIR/acknowledged"
acknowledged=$(wc -l <"$BOX_DIR/acknowledged")
[ "$acknowledged" -gt 500 ] || e2e_fail "only $acknowledged were registered: $(tail -n 3 "$BOX_DIR/phones.log")"
[ "$(tail -n 1 "$BOX_DIR/phones.log" | cut -d' ' -f1 | cut -d. -f1)" -ge $((${killed%.*} - 1)) ] ||
    e2e_fail "it was killed when all was over"

e2e_that "it starts again" box_start
e2e_that "a call finds its user at once" location_calls "$(head -n 1 "$BOX_DIR/acknowledged")"
e2e_that "the store has been read" location_loaded
location_users >"$BOX_DIR/there"
lost=$(comm -23 "$BOX_DIR/acknowledged" "$BOX_DIR/there" | wc -l)
e2e_equal "lost of $acknowledged acknowledged a second before" "$lost" 0
echo "$acknowledged were acknowledged more than a second before SIGKILL, and are there with $(wc -l <"$BOX_DIR/there") in all"
e2e_that "and the last of them is called" location_calls "$(tail -n 1 "$BOX_DIR/acknowledged")"
e2e_that "the box is at rest" box_at_rest 40
e2e_that "and stops" box_stop
e2e_nothing_left
