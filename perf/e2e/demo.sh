#!/bin/bash
# The demo itself, short; and that it leaves nothing behind, also when it is
# interrupted. Its lab has a name of its own.
set -uo pipefail

E2E_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export LAB_NAME=tl-demo-$$
LOG=$(mktemp)
demo=""

# shellcheck disable=SC2317
finish() {
    local code=$?
    trap - EXIT
    if [ -n "$demo" ]; then
        kill -TERM "$demo" 2>/dev/null
        wait "$demo"
    fi
    if [ $code -ne 0 ]; then cat "$LOG"; fi
    rm -f "$LOG"
    exit "$code"
}
trap finish EXIT
trap 'exit 143' INT TERM HUP

nothing_left() {
    local what
    for what in caller box callee; do
        if ip netns list | grep -q "^$LAB_NAME-$what"; then
            echo "FAILED: namespace $LAB_NAME-$what is left"
            exit 1
        fi
    done
    if [ -e "/run/$LAB_NAME-demo" ]; then
        echo "FAILED: /run/$LAB_NAME-demo is left"
        exit 1
    fi
    # What it started names its directory or its lab.
    if pgrep -a -f "/run/$LAB_NAME-demo" | grep -v "^$$ "; then
        echo "FAILED: a process is left"
        exit 1
    fi
}

"$E2E_ROOT/scripts/demo" --quick >"$LOG" 2>&1 </dev/null &
demo=$!
wait "$demo" || { echo "FAILED: the demo"; exit 1; }
demo=""
# The limit of this test is for demos, not for a compiler: see lib_build_programs.
if grep -q '^ *Compiling' "$LOG"; then echo "FAILED: it built what was built before"; exit 1; fi
grep -q 'All of it holds' "$LOG" || { echo "FAILED: no verdict"; exit 1; }
nothing_left
echo "the demo holds, and leaves nothing"

for signal in INT TERM; do
    : >"$LOG"
    # A shell has its background jobs ignore SIGINT; one at a terminal does not.
    # shellcheck disable=SC2016 # It is perl.
    perl -e '$SIG{INT} = "DEFAULT"; exec @ARGV' "$E2E_ROOT/scripts/demo" --quick >"$LOG" 2>&1 </dev/null &
    demo=$!
    left=600
    until grep -q 'calls up' "$LOG" || [ $((left--)) -eq 0 ]; do sleep 0.1; done
    sleep 2
    kill -"$signal" "$demo"
    if wait "$demo"; then
        echo "FAILED: SIG$signal and exit code 0"
        exit 1
    fi
    demo=""
    nothing_left
    echo "SIG$signal in the middle leaves nothing"
done
