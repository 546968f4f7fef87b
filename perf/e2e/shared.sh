#!/bin/bash
# Registrations in a Redis that boxes share: a phone registers at one box, and another that registers nobody and has never
# heard of it calls it. While Redis is gone registrations and
# calls to who is known go on, and are written when it is back.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

shared_ask() {
    lab_exec box redis-cli "$@" 2>/dev/null
}

# How many users it has.
shared_users() {
    shared_ask --scan --pattern 'location:{*' | wc -l
}

# shared_call USER STATUS: what a call from the core comes to.
shared_call() {
    e2e_equal "a call to $1" "$(e2e_call "$1")" "$2"
}

e2e_begin_registrar ''
cat >>"$BOX_CONFIG" <<'TOML'

[location]
store = "redis"

[location.redis]
servers = ["redis://localhost:6379"]
TOML
e2e_redis box
e2e_that "the box starts" box_start
e2e_that "subscribers" e2e_subscribers 100
e2e_that "phones register" e2e_register 0 50
e2e_until "users in Redis" 50 shared_users

# Redis goes: who is known is called, who registers is registered, and of others it is not said that they are away.
box_end "$E2E_REDIS" KILL
e2e_that "phones register without Redis" e2e_register 50 10
shared_call user3 200
shared_call user55 200
shared_call user99 503
e2e_until "Redis being gone" true e2e_status '.location.gone != null'
e2e_until "changes that wait" 10 e2e_status .location.waiting
e2e_redis box
# It comes back empty: those that waited are written, and those that the box still knows.
e2e_until "users in the new Redis" 60 shared_users
e2e_until "changes that wait" 0 e2e_status .location.waiting
e2e_that "the box stops" box_stop

# Another box, with keys of its own.
rm -r "$BOX_DIR/state"
sed -i 's/^registrar = true/located = true/' "$BOX_CONFIG"
e2e_that "another box starts" box_start
shared_call user7 200
shared_call user99 480
e2e_until "contacts" 60 e2e_status .location.contacts
e2e_equal "contacts of user7" "$(box_ctl --json registrations user7@example.com | jq '.registrations | length')" 1
e2e_that "the box is at rest" box_at_rest 40
e2e_that "and stops" box_stop
e2e_nothing_left
