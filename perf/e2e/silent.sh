#!/bin/bash
# A database that says nothing: 200 calls a second of users whom the workers know beside 200 registrations a second of users
# whom they do not, while PostgreSQL is stopped (SIGSTOP). No call notices: none fails, and nothing of one is said again.
# Every registration is answered, and nothing is left of those that waited. When PostgreSQL goes on, calls do as well.
#
# SILENT_SECONDS=30 makes it the whole of it, and holds the time that calls take beside the same load with PostgreSQL at work.
# The machine must be alone for that.
# shellcheck disable=SC2034 # scripts/lab reads it.
LAB_ONE_PEER=1
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

SILENT_SECONDS=${SILENT_SECONDS:-4}
SILENT_BEFORE=2
# Figures of that time stand alone: PostgreSQL shares its core with the generator, which then waits for it to take up all that
# has been queued for it.
SILENT_AFTER=4
SILENT_CALLERS=20
SILENT_USERS=40000
SILENT_ROOM=""
SILENT_POSTGRES=""
SILENT_SHELL=""

# The worker's core is its own, as on a box of its own.
silent_as_postgres() {
    local program=$1 bin
    shift
    bin=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin | sort -V | tail -n 1)
    lab_exec box taskset -c 0 setpriv --reuid=postgres --regid=postgres --clear-groups env -C "$SILENT_ROOM" "$bin/$program" "$@"
}

silent_sql() {
    silent_as_postgres psql -h 127.0.0.1 -U postgres -qAt -c "$1"
}

# The server, in the box's namespace, and its table.
silent_start_postgres() {
    local left=300
    # Not in BOX_DIR, which is root's alone.
    SILENT_ROOM=$(mktemp -d /run/tl-e2e-postgres-XXXXXX) && chown postgres: "$SILENT_ROOM" || return
    silent_as_postgres initdb --username=postgres --auth=trust --no-sync --encoding=UTF8 --locale=C \
        --pgdata "$SILENT_ROOM/data" >"$BOX_DIR/initdb.log" 2>&1 || return
    silent_as_postgres postgres -D "$SILENT_ROOM/data" -k "$SILENT_ROOM" -h 127.0.0.1 -c fsync=off \
        >"$BOX_DIR/postgres.log" 2>&1 </dev/null &
    SILENT_SHELL=$!
    until silent_sql 'SELECT 1' >/dev/null 2>&1; do
        [ $((left--)) -gt 0 ] || return
        sleep 0.1
    done
    SILENT_POSTGRES=$(head -n 1 "$SILENT_ROOM/data/postmaster.pid")
    silent_sql "CREATE TABLE subscriber (username text, domain text, ha1_md5 text, ha1_sha256 text, ha1_sha512_256 text,
            PRIMARY KEY (username, domain));
        INSERT INTO subscriber SELECT 'user' || n, 'example.com', md5('user' || n || ':example.com:pw' || n)
            FROM (SELECT lpad(generate_series(0, $SILENT_USERS - 1)::text, 6, '0') AS n) AS numbers"
}

# silent_signal SIGNAL: to the server and all that it has started.
silent_signal() {
    # shellcheck disable=SC2046 # Several.
    kill -"$1" "$SILENT_POSTGRES" $(pgrep -P "$SILENT_POSTGRES") 2>/dev/null
}

# Called by the trap.
# shellcheck disable=SC2317
e2e_restore() {
    if [ -n "$SILENT_POSTGRES" ]; then
        silent_signal CONT
        # An immediate shutdown: it takes its children with it.
        kill -QUIT "$SILENT_POSTGRES" 2>/dev/null
        wait "$SILENT_SHELL"
    fi
    [ -z "$SILENT_ROOM" ] || rm -rf "$SILENT_ROOM"
}

# silent_blast NAME RATE SECONDS MIX: the generator; its figures are NAME.json.
silent_blast() {
    lab_exec caller "$(box_bin trunkline-perf)" blast --quiet --no-sdp --core 0 \
        --caller "caller0=$LAB_CALLER_ADDRESS:5060" --callee "callee0=$LAB_CALLEE_ADDRESS:5060" \
        --to "$LAB_ACCESS_ADDRESS:5060" --from "$LAB_CORE_ADDRESS:5060" --rate "$2" --time "$3" --mix "$4" \
        --users "$SILENT_USERS" --callers "$SILENT_CALLERS" --domain example.com \
        --json "$BOX_DIR/$1.json" >"$BOX_DIR/$1.log" 2>&1 </dev/null
    [ -s "$BOX_DIR/$1.json" ] || { cat "$BOX_DIR/$1.log"; return 1; }
}

silent_figure() {
    jq "$2" "$BOX_DIR/$1.json"
}

# silent_memory: what the daemon takes, in KiB.
silent_memory() {
    awk '/^VmRSS:/ { print $2 }' "/proc/$BOX_DAEMON/status"
}

# silent_load NAME SECONDS: calls, of which none fails and none is late by so much that something is said again, beside
# registrations, each of which is answered.
silent_load() {
    silent_blast "$1" 400 "$2" basic=1,register=1 || return
    e2e_equal "$1: calls carried, of half of all" "$(silent_figure "$1" .calls.completed.basic)" \
        "$(silent_figure "$1" '.calls.begun / 2')"
    e2e_equal "$1: said again in calls" "$(silent_figure "$1" .messages.repeated_in_calls)" 0
    e2e_equal "$1: not answered" "$(silent_figure "$1" '([.calls.failed[]] | add) - .calls.refused["5xx"] + .calls.open_at_end')" 0
    echo "$1: $(silent_figure "$1" .calls.completed.register) registered," \
        "$(silent_figure "$1" '.calls.refused["5xx"]') refused, $(silent_figure "$1" .messages.repeated) said again;" \
        "INVITE to 180 in ms: p50 $(silent_ms "$1" p50), p99 $(silent_ms "$1" p99), at most $(silent_ms "$1" max)"
}

# silent_run NAME: the load, with PostgreSQL stopped soon after its beginning where it is called silent.
silent_run() {
    local stopper="" before after
    e2e_that "$1: the box starts" box_start
    e2e_that "$1: the callers become known" silent_blast warm 200 2 basic
    e2e_equal "$1: calls that failed at first" "$(silent_figure warm '[.calls.failed[]] | add')" 0
    before=$(silent_memory)
    if [ "$1" = silent ]; then
        (sleep $SILENT_BEFORE && silent_signal STOP) &
        stopper=$!
    fi
    e2e_that "$1: the load" silent_load "$1" $((SILENT_BEFORE + SILENT_SECONDS))
    if [ -n "$stopper" ]; then
        e2e_that "PostgreSQL stops" wait "$stopper"
        silent_signal CONT
        e2e_that "$1: the load, when PostgreSQL goes on" silent_load back $SILENT_AFTER
    fi
    after=$(silent_memory)
    e2e_that "$1: the box is at rest" box_at_rest 10
    e2e_equal "$1: tickets" "$(box_count tickets_now)" 0
    echo "$1: memory $before KiB, then $after KiB"
    # What control keeps of questions under way is bounded, and workers have their memory from the start.
    if [ $((after - before)) -gt 16384 ]; then e2e_fail "$1: $((after - before)) KiB more"; fi
}

silent_ms() {
    silent_figure "$1" ".times_ns.invite_to_180.$2 / 10000 | round / 100"
}

if ! [ -d /usr/lib/postgresql ]; then
    e2e_fail "there is no PostgreSQL; scripts/test installs it"
fi
e2e_begin_registrar 's|^workers = .*|workers = 1\ncores = [1]|
    s|^from = "caller"|from = "example.com"|'
cat >>"$BOX_CONFIG" <<'TOML'

# All users are at one address, and many of them are not registered.
[abuse]
requests_per_s = 0

[subscribers]
store = "postgres"

[subscribers.postgres]
servers = ["postgres://postgres@127.0.0.1:5432/postgres"]
TOML
e2e_that "PostgreSQL" silent_start_postgres
if [ "$SILENT_SECONDS" -ge 30 ]; then
    silent_run calm
    e2e_equal "refused by a box whose database answers" "$(silent_figure calm '.calls.refused["5xx"]')" 0
    e2e_that "the box stops" box_stop
fi
silent_run silent
[ "$(silent_figure silent '.calls.refused["5xx"]')" -gt 0 ] || e2e_fail "the database did not keep silent"
[ "$(silent_figure silent .calls.completed.register)" -gt 0 ] || e2e_fail "nobody has registered"
if [ "$SILENT_SECONDS" -ge 30 ]; then
    jq -en --slurpfile calm "$BOX_DIR/calm.json" --slurpfile silent "$BOX_DIR/silent.json" '
        [$calm, $silent | .[0].times_ns.invite_to_180.p99] | .[1] <= 5e6 and .[1] <= 1.5 * .[0]' >/dev/null ||
        e2e_fail "calls take longer"
fi
e2e_that "the box stops" box_stop
