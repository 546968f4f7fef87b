# shellcheck shell=bash
# What every end to end test begins with: a lab and a directory of its own, and
# their end, whatever happens. A test is a script that exits 0 where it passes.
set -uo pipefail

E2E_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
LAB_NAME=tl-e2e-$$

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
