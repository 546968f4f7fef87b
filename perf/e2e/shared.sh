#!/bin/bash
# Registrations in a Redis that boxes share: a phone registers at one box, and another that registers nobody and has never
# heard of it calls it. While Redis is gone registrations and
# calls to who is known go on, and are written when it is back.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

PHONES=$E2E_ROOT/perf/e2e/phones
PEER=$E2E_ROOT/perf/e2e/peer

command -v redis-server >/dev/null || e2e_fail "there is no Redis; scripts/test installs it"

shared_redis() {
    box_run box redis.log redis-server --bind 127.0.0.1 --port 6379 --dir "$BOX_DIR" --save ''
    redis=$BOX_LAST
}

shared_ask() {
    lab_exec box redis-cli "$@" 2>/dev/null
}

# How many users it has.
shared_users() {
    shared_ask --scan --pattern 'location:{*' | wc -l
}

# shared_registers FIRST COUNT: phones register.
shared_registers() {
    lab_exec caller "$PHONES" "$LAB_CALLER_ADDRESS:5070" "$LAB_ACCESS_ADDRESS:5060" "$1" "$2" 200 >"$BOX_DIR/phones.log" 2>&1
}

# shared_call USER STATUS: what a call from the core comes to; a phone is there to answer.
shared_call() {
    local answering
    box_run caller answered.log "$PEER" answer "$LAB_CALLER_ADDRESS:5070" 1 400
    answering=$BOX_LAST
    sleep 0.2
    lab_exec callee "$PEER" call "$LAB_CALLEE_ADDRESS:5060" "$LAB_CORE_ADDRESS:5060" 500 "$1@example.com" \
        >"$BOX_DIR/called.log" 2>&1
    box_end "$answering"
    e2e_equal "a call to $1" "$(cut -d' ' -f1 "$BOX_DIR/called.log")" "$2"
}

# shared_until WHAT SHOULD COMMAND...: until the command says so.
shared_until() {
    local what=$1 should=$2 left=100 is
    shift 2
    until is=$("$@") && [ "$is" = "$should" ]; do
        [ $((left--)) -gt 0 ] || e2e_fail "$what is $is, should be $should"
        sleep 0.1
    done
}

shared_status() {
    box_ctl --json status | jq "$1"
}

e2e_begin 's|^sources = \["10.77.1.2"\]|sources = ["10.77.1.200"]|'
cat >>"$BOX_CONFIG" <<'TOML'

[[domain]]
name = "example.com"
listen = "access"
media = "access"
algorithms = ["MD5"]
registrar = true

[location]
store = "redis"

[location.redis]
servers = ["redis://localhost:6379"]
TOML
shared_redis
e2e_that "the box starts" box_start
{
    echo user,domain,password
    for ((n = 0; n < 100; n++)); do echo "user$n,example.com,wonderland"; done
} >"$BOX_DIR/users.csv"
e2e_that "subscribers" box_ctl subscriber import "$BOX_DIR/users.csv"
e2e_that "phones register" shared_registers 0 50
shared_until "users in Redis" 50 shared_users

# Redis goes: who is known is called, who registers is registered, and of others it is not said that they are away.
box_end "$redis" KILL
e2e_that "phones register without Redis" shared_registers 50 10
shared_call user3 200
shared_call user55 200
shared_call user99 503
shared_until "Redis being gone" true shared_status '.location.gone != null'
shared_until "changes that wait" 10 shared_status .location.waiting
shared_redis
# It comes back empty: those that waited are written, and those that the box still knows.
shared_until "users in the new Redis" 60 shared_users
shared_until "changes that wait" 0 shared_status .location.waiting
e2e_that "the box stops" box_stop

# Another box, with keys of its own.
rm -r "$BOX_DIR/state"
sed -i 's/^registrar = true/located = true/' "$BOX_CONFIG"
e2e_that "another box starts" box_start
shared_call user7 200
shared_call user99 480
shared_until "contacts" 60 shared_status .location.contacts
e2e_equal "contacts of user7" "$(box_ctl --json registrations user7@example.com | jq '.registrations | length')" 1
e2e_that "the box is at rest" box_at_rest 40
e2e_that "and stops" box_stop
e2e_nothing_left
