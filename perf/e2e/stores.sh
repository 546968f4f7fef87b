#!/bin/bash
# The stores of subscribers and of bindings against PostgreSQL, Redis and Python's HTTP server, on the loopback
# of a network namespace. They run in a process namespace as well, so that none outlives the test, and keep
# their data in memory.
set -uo pipefail
E2E_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=scripts/lib.sh
. "$E2E_ROOT/scripts/lib.sh"

if ! command -v redis-server >/dev/null || ! [ -d /usr/lib/postgresql ]; then
    echo "FAILED: there is no PostgreSQL or no Redis; scripts/test installs them"
    exit 1
fi
lib_need_cargo || exit 1
tests=$(lib_cargo test --locked --no-run --quiet --message-format=json --workspace --test stores |
    jq -r 'select(.executable != null and .target.name == "stores").executable')
[ -x "$tests" ] || { echo "FAILED: the tests cannot be built"; exit 1; }

pid=""
room=$(mktemp -d)
# Called by the trap. With unshare all that it started is killed.
# shellcheck disable=SC2317
clean() {
    [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null
    rmdir "$room"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Bash stays, as the process that takes those in whose parents have ended.
# shellcheck disable=SC2016
TMPDIR=$room unshare --net --mount --pid --fork --kill-child --mount-proc bash -c '
    ip link set lo up && mount -t tmpfs tmpfs "$TMPDIR" && chmod 755 "$TMPDIR" &&
        "$0" --ignored --test-threads 4
    exit $?' "$tests" &
pid=$!
wait "$pid"
code=$?
pid=""
exit $code
