# shellcheck shell=bash
# What every end to end test begins with: a lab and a directory of its own, and
# their end, whatever happens. A test is a script that exits 0 where it passes.
set -uo pipefail

E2E_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
LAB_NAME=tl-e2e-$$
E2E_REDIS=""

# shellcheck source=scripts/lib.sh
. "$E2E_ROOT/scripts/lib.sh"
# shellcheck source=scripts/lab
. "$E2E_ROOT/scripts/lab"
# shellcheck source=scripts/box.sh
. "$E2E_ROOT/scripts/box.sh"

# Called by the trap.
# shellcheck disable=SC2317
e2e_clean() {
    local code=$?
    trap - EXIT
    trap '' INT TERM HUP
    if [ $code -ne 0 ] && [ -s "$BOX_DIR/trunklined.log" ]; then
        sed 's/^/trunklined: /' "$BOX_DIR/trunklined.log"
        [ -z "$BOX_DAEMON" ] || box_ctl stats 2>&1 | sed 's/^/stats: /'
    fi
    e2e_restore
    box_clean || code=1
    exit "$code"
}

# A test that changes something else puts it back here.
# shellcheck disable=SC2317
e2e_restore() {
    :
}

# e2e_begin SED_SCRIPT: the lab, and the demo's configuration as edited.
e2e_begin() {
    trap e2e_clean EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    e2e_that "a directory" box_make_dir "/run/$LAB_NAME"
    box_configure "$1"
    e2e_that "a lab" lab_up
    e2e_that "counters at the peers" lab_count_from_now
}

# e2e_begin_phones SED_SCRIPT: likewise, and the caller's side is of no trunk: it is phones.
e2e_begin_phones() {
    e2e_begin 's|^sources = \["10.77.1.2"\]|sources = ["10.77.1.200"]|
        '"$1"
}

# e2e_domain [LINE...]: the phones' domain.
e2e_domain() {
    printf '%s\n' '' '[[domain]]' 'name = "example.com"' 'listen = "access"' 'media = "access"' "$@" >>"$BOX_CONFIG"
}

# e2e_begin_registrar SED_SCRIPT: phones, and the box is their registrar. MD5 comes first: SIPp 3.6 reads the first challenge alone,
# and where that is of another algorithm it ends with "authentication must use MD5 or AKAv1-MD5", for all of its calls. RFC 8760
# §2.4 has clients pass over what they do not know.
e2e_begin_registrar() {
    e2e_begin_phones "$1"
    e2e_domain 'algorithms = ["MD5"]' 'registrar = true'
}

# e2e_subscribers COUNT: user0 and so on, who have the password of `phones`.
e2e_subscribers() {
    seq 0 $(($1 - 1)) | awk 'BEGIN { print "user,domain,password" }
        { print "user" $1 ",example.com,wonderland" }' >"$BOX_DIR/users.csv"
    box_ctl subscriber import "$BOX_DIR/users.csv"
}

# e2e_register FIRST COUNT [EXPIRES]: phones register, until all are told so.
e2e_register() {
    lab_exec caller "$E2E_ROOT/perf/e2e/phones" "$LAB_CALLER_ADDRESS:5070" "$LAB_ACCESS_ADDRESS:5060" \
        "$1" "$2" 200 wonderland "${3:-600}" >"$BOX_DIR/phones.log" 2>&1
}

# e2e_call USER: a call from the core to a user of the domain, whom the phones answer; prints what it comes to.
e2e_call() {
    local answering peer=$E2E_ROOT/perf/e2e/peer
    box_run caller answered.log "$peer" answer "$LAB_CALLER_ADDRESS:5070" 1 400
    answering=$BOX_LAST
    box_listens caller 5070 || return
    lab_exec callee "$peer" call "$LAB_CALLEE_ADDRESS:5060" "$LAB_CORE_ADDRESS:5060" 500 "$1@example.com" \
        >"$BOX_DIR/called.log" 2>&1
    box_end "$answering"
    cut -d' ' -f1 "$BOX_DIR/called.log"
}

# e2e_redis ROLE: a Redis in the namespace of this role, as E2E_REDIS.
e2e_redis() {
    command -v redis-server >/dev/null || e2e_fail "there is no Redis; scripts/test installs it"
    box_run "$1" redis.log redis-server --bind '*' --protected-mode no --save ''
    # shellcheck disable=SC2034 # The tests read it.
    E2E_REDIS=$BOX_LAST
}

# e2e_status FILTER: what the box says of itself, as jq has it.
e2e_status() {
    box_ctl --json status | jq "$1"
}

e2e_fail() {
    echo "FAILED: $*"
    exit 1
}

# e2e_that WHAT COMMAND...: fails the test where the command fails.
e2e_that() {
    local what=$1
    shift
    "$@" || e2e_fail "$what ($*)"
}

# e2e_equal WHAT IS SHOULD
e2e_equal() {
    [ "$2" = "$3" ] || e2e_fail "$1: is $2, should be $3"
}

# e2e_until WHAT SHOULD COMMAND...: waits until the command prints so. The machine may have much else to do: what takes
# long is no failure.
e2e_until() {
    local what=$1 should=$2 left=300 is
    shift 2
    until is=$("$@") && [ "$is" = "$should" ]; do
        [ $((left--)) -gt 0 ] || e2e_fail "$what: is $is, should be $should"
        sleep 0.1
    done
}

# e2e_soon WHAT COMMAND...: waits until the command succeeds.
e2e_soon() {
    local what=$1 left=300
    shift
    until "$@"; do
        [ $((left--)) -gt 0 ] || e2e_fail "$what ($*)"
        sleep 0.1
    done
}

# The box carries calls, and is at rest after them.
e2e_serves() {
    e2e_that "the box serves calls" box_calls basic "${1:-5}" 10 30
    e2e_that "and is at rest" box_at_rest 10
}

# What a daemon that has gone must not leave.
e2e_nothing_left() {
    local link
    for link in access core; do
        if ip -n "$LAB_NAME-box" -d link show "$link" | grep -q 'xdp'; then
            e2e_fail "an XDP program is left on $link"
        fi
    done
    [ ! -e "$BOX_DIR/control.sock" ] || e2e_fail "the operator's socket is left"
}

# e2e_refused WHAT PATTERN [COMMAND...]: trunklined (or the command that runs it)
# ends with 1, says what the pattern says, and leaves nothing.
e2e_refused() {
    local what=$1 pattern=$2 code=0
    shift 2
    if [ $# -eq 0 ]; then
        set -- ip netns exec "$LAB_NAME-box" "$(box_bin trunklined)" --config "$BOX_CONFIG"
    fi
    timeout --foreground --kill-after=5 10 "$@" >"$BOX_DIR/refused.log" 2>&1 </dev/null || code=$?
    sed 's/^/    /' "$BOX_DIR/refused.log"
    e2e_equal "$what: exit code" $code 1
    grep -Eiq "$pattern" "$BOX_DIR/refused.log" || e2e_fail "$what: no word of /$pattern/"
    if grep -q 'panicked' "$BOX_DIR/refused.log"; then e2e_fail "$what: a panic"; fi
}
