#!/bin/bash
# Registrations of a subscriber, as SIPp sees them: challenged, let in, refused for a wrong password, for credentials that were
# used and for a nonce of an earlier start, and taken back. The scenarios check what they are answered.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

# register_begin SCENARIO USER PASSWORD [OPTION...]: one registration, as BOX_LAST; what was said is in said.log.
register_begin() {
    local options scenario=$1 user=$2 password=$3
    shift 3
    read -ra options < <(box_sipp_options "uac_$scenario" "$LAB_CALLER_ADDRESS" 1 60)
    rm -f "$BOX_DIR/said.log"
    box_run caller caller.log sipp "$LAB_ACCESS_ADDRESS:5060" "${options[@]}" \
        -trace_msg -message_file said.log -key user "$user" -au "$user" -ap "$password" "$@"
}

# register_ends PID: whether it has ended well.
register_ends() {
    box_wait "$1" && return
    tail -n 30 "$BOX_DIR"/*_errors.log
    return 1
}

register_as() {
    register_begin "$@"
    register_ends "$BOX_LAST"
}

# register_leaves WHAT BINDINGS: the box is at rest, and so many contacts are there.
register_leaves() {
    e2e_that "$1: the box is at rest" box_at_rest 10
    e2e_equal "$1: contacts" "$(box_count bindings_now)" "$2"
    e2e_equal "$1: tickets" "$(box_count tickets_now)" 0
}

# register_challenges COUNT: that many requests have been challenged.
register_challenges() {
    box_ctl --json stats >"$BOX_DIR/stats.json" && [ "$(box_count auth_challenges)" -ge "$1" ]
}

e2e_begin_registrar 's|^from = "caller"|from = "example.com"|'
cat >>"$BOX_CONFIG" <<'TOML'

[subscribers]
store = "sqlite"
TOML
e2e_that "the box starts" box_start
printf 'wonderland\n' | e2e_that "a subscriber" box_ctl subscriber add alice@example.com --password-stdin

e2e_that "without credentials" register_as register alice wonderland
register_leaves "without credentials" 0
e2e_that "with credentials" register_as register_auth alice wonderland
used=$(sed -n 's/\r$//; s/^Authorization: //p' "$BOX_DIR/said.log")
register_leaves "with credentials" 1
e2e_equal "contacts added" "$(box_count bindings_added)" 1

e2e_that "with a wrong password" register_as register_wrong alice wrong
e2e_that "a user who is not there" register_as register_wrong nobody wonderland
register_leaves "with a wrong password" 1
e2e_equal "failures" "$(box_count auth_failures)" 2
e2e_equal "nothing is refreshed" "$(box_count bindings_refreshed)" 0

# Somebody has seen the request, and says it again as one of its own.
e2e_that "with credentials that were used" register_as register_replayed alice wonderland -key authorization "$used"
register_leaves "with credentials that were used" 1
e2e_equal "replays" "$(box_count auth_replays)" 1
e2e_equal "stale" "$(box_count auth_stale)" 1
e2e_equal "failures" "$(box_count auth_failures)" 2

e2e_that "taken back" register_as unregister alice wonderland
register_leaves "taken back" 0
e2e_equal "contacts removed" "$(box_count bindings_removed)" 1

# A challenge of one start is answered in the next.
challenges=$(box_count auth_challenges)
register_begin register_stale alice wonderland
e2e_soon "a challenge" register_challenges $((challenges + 1))
# The phone stands still meanwhile. What it says again would be challenged again, and SIPp cannot tell these apart.
phone=$BOX_LAST
kill -STOP "$phone"
e2e_that "the box stops" box_stop
e2e_that "and starts" box_start
kill -CONT "$phone"
e2e_that "with a nonce of an earlier start" register_ends "$phone"
register_leaves "with a nonce of an earlier start" 1
e2e_equal "stale" "$(box_count auth_stale)" 1
e2e_equal "failures" "$(box_count auth_failures)" 0

e2e_that "the box stops" box_stop
e2e_nothing_left
