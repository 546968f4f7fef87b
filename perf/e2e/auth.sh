#!/bin/bash
# Calls of a subscriber: challenged, looked up in the embedded store, carried with media; a wrong
# password, a user who does not exist, and a password that was changed meanwhile.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

# auth_calls SCENARIO USER PASSWORD CALLS RATE: the caller's side as a subscriber.
auth_calls() {
    local options
    read -ra options < <(box_sipp_options "uac_$1" "$LAB_CALLER_ADDRESS" "$4" 60)
    (cd "$BOX_DIR" && lab_exec caller sipp "$LAB_ACCESS_ADDRESS:5060" -s "$BOX_SERVICE" -r "$5" "${options[@]}" \
        -key user "$2" -au "$2" -ap "$3" >caller.log 2>&1 </dev/null)
}

auth_add() {
    printf '%s\n' "$2" | box_ctl subscriber add "$1" --password-stdin
}

e2e_begin_phones 's|^from = "caller"|from = "example.com"|'
e2e_domain 'algorithms = ["MD5"]'
cat >>"$BOX_CONFIG" <<'TOML'

[abuse]
failures = 0

[subscribers]
store = "sqlite"
TOML
e2e_that "the box starts" box_start
e2e_that "a subscriber" auth_add alice@example.com wonderland

e2e_that "the called side" box_callee basic 20 60
e2e_that "calls of a subscriber" auth_calls auth alice wonderland 20 10
e2e_that "and of who is called" box_wait "$BOX_CALLEE"
e2e_that "the box is at rest" box_at_rest 10
e2e_equal "calls started" "$(box_count calls_started)" 20
e2e_equal "requests let in" "$(box_count auth_granted)" 20
e2e_equal "requests challenged" "$(box_count auth_challenges)" 20
asked=$(box_count auth_questions)
# Each worker asks once, however many wait for the answer.
if [ "$asked" -lt 1 ] || [ "$asked" -gt 2 ]; then e2e_fail "the store was asked $asked times"; fi

for user in alice nobody; do
    e2e_that "a wrong password of $user" auth_calls auth_wrong $user wrong 5 5
done
e2e_that "the box is at rest" box_at_rest 10
e2e_equal "failures" "$(box_count auth_failures)" 10
e2e_equal "calls started" "$(box_count calls_started)" 20

# What the operator changes is known at once.
e2e_that "without her" box_ctl subscriber remove alice@example.com
e2e_that "she is refused" auth_calls auth_wrong alice wonderland 2 5
e2e_that "the box is at rest" box_at_rest 10
e2e_equal "failures" "$(box_count auth_failures)" 12
e2e_equal "requests that waited in vain" "$(box_count tickets_late)" 0
e2e_that "the box stops" box_stop
e2e_nothing_left
