#!/bin/bash
# A storm of registrations: users come back at 2,000 a second, on one worker, with subscribers and locations in SQLite. Each is
# registered within half a second, none fails, and nobody has to say anything again: neither users whom the worker knows, nor those
# of a box that was ended by SIGKILL in the middle of the storm before, of whom it knows nothing. Of these all are there
# whom it had told so more than a second before, for as long as it had told them.
#
# STORM_USERS=100000 makes it the whole of it. The machine must be alone for that.
# shellcheck disable=SC2034 # scripts/lab reads it.
LAB_ONE_PEER=1
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

STORM_USERS=${STORM_USERS:-10000}
STORM_RATE=2000
STORM_SECONDS=$((STORM_USERS / STORM_RATE))
STORM_EXPIRES=3600
# So many are registered when the box is killed.
STORM_KILLED=$((STORM_USERS < 20000 ? STORM_USERS * 6 / 10 : 12000))
STORM_LATE_MS=500
# KiB that the next storm may take.
STORM_GROWS=65536

# storm_blast NAME OPTION...: the phones, as BOX_LAST; figures are NAME.json, who was registered when is NAME.registered.
storm_blast() {
    local name=$1
    shift
    box_run caller "$name.log" "$(box_bin trunkline-perf)" blast --quiet --no-sdp --core 0 \
        --caller "caller0=$LAB_CALLER_ADDRESS:5060" --callee "callee0=$LAB_CALLEE_ADDRESS:5060" \
        --to "$LAB_ACCESS_ADDRESS:5060" --from "$LAB_CORE_ADDRESS:5060" \
        --rate $STORM_RATE --time "$STORM_SECONDS" --mix register --users "$STORM_USERS" --domain example.com \
        --account "box=$BOX_DAEMON" --registered "$BOX_DIR/$name.registered" --json "$BOX_DIR/$name.json" "$@"
}

storm_figure() {
    jq "$2" "$BOX_DIR/$1.json"
}

storm_ms() {
    storm_figure "$1" ".times_ns.register_to_200.$2 / 10000 | round / 100"
}

# storm_memory: what the daemon takes, in KiB.
storm_memory() {
    awk '/^VmRSS:/ { print $2 }' "/proc/$BOX_DAEMON/status"
}

# storm_behind_ms: how many milliseconds the oldest change has waited that is not written.
storm_behind_ms() {
    box_ctl --json status | jq '.location.oldest_ms'
}

# storm_registered: how often the box has said that somebody is registered.
storm_registered() {
    box_ctl --json stats | jq '[.counters[] | select(.name == "bindings_added" or .name == "bindings_refreshed") | .total] | add'
}

# storm NAME OPTION...: all users, each of whom is registered in time.
storm() {
    local name=$1 phones before behind most=0
    before=$(storm_memory)
    storm_blast "$@"
    phones=$BOX_LAST
    while kill -0 "$phones" 2>/dev/null; do
        behind=$(storm_behind_ms) || e2e_fail "$name: the box says nothing"
        if [ "$behind" -gt "$most" ]; then most=$behind; fi
        sleep 0.5
    done
    box_wait "$phones" || { cat "$BOX_DIR/$name.log"; e2e_fail "$name: not all were registered"; }
    e2e_that "$name: the box is at rest" box_at_rest 10
    echo "$name: $(storm_figure "$name" .calls.completed.register) registered with" \
        "$(storm_figure "$name" .calls.challenged) challenges; in ms: p50 $(storm_ms "$name" p50)," \
        "p99 $(storm_ms "$name" p99), at most $(storm_ms "$name" max), the phones' own lateness" \
        "$(storm_figure "$name" '.times_ns.lateness.max / 10000 | round / 100');" \
        "$(storm_figure "$name" '.window.cpu.box.us_a_call | round') µs of CPU each;" \
        "written after $most ms at most; memory $before KiB, then $(storm_memory) KiB"
    e2e_equal "$name: registered" "$(storm_figure "$name" .calls.completed.register)" "$STORM_USERS"
    e2e_equal "$name: failed" "$(storm_figure "$name" '[.calls.failed[]] | add')" 0
    e2e_equal "$name: said again" "$(storm_figure "$name" .messages.repeated)" 0
    e2e_equal "$name: tickets" "$(box_count tickets_now)" 0
    e2e_equal "$name: contacts" "$(box_count bindings_now)" "$STORM_USERS"
    e2e_equal "$name: changes that control was not told" "$(box_count bindings_untold)" 0
    e2e_equal "$name: changes that were lost" "$(jq .operator.location.lost "$BOX_DIR/stats.json")" 0
    storm_figure "$name" ".times_ns.register_to_200.max <= $STORM_LATE_MS * 1e6" | grep -q true ||
        e2e_fail "$name: somebody was registered later than after $STORM_LATE_MS ms"
    if [ "$most" -gt 1000 ]; then e2e_fail "$name: a change was written $most ms late"; fi
    # The workers have their memory from the start. With the first storm comes what SQLite keeps of its files; after that there
    # is nothing that could grow.
    if [ $(($(storm_memory) - before)) -gt "$STORM_GROWS" ]; then e2e_fail "$name: memory grows"; fi
    STORM_GROWS=8192
}

# storm_killed NAME OPTION...: SIGKILL in the middle of a storm, and then all are there who were told so a second before.
storm_killed() {
    local name=$1 phones killed lost count before
    before=$(storm_registered)
    storm_blast "$@"
    phones=$BOX_LAST
    until [ $(($(storm_registered) - before)) -gt $STORM_KILLED ]; do
        kill -0 "$phones" 2>/dev/null || { cat "$BOX_DIR/$name.log"; e2e_fail "$name: the phones have ended"; }
        sleep 0.1
    done
    # No program between the two: the log is as exact.
    killed=$EPOCHREALTIME
    kill -KILL "$BOX_DAEMON"
    box_end "$BOX_DAEMON"
    BOX_DAEMON=""
    box_end "$phones"
    awk -v killed="$killed" '$1 < killed - 1 { print $2, $1 }' "$BOX_DIR/$name.registered" | sort >"$BOX_DIR/acknowledged"
    count=$(wc -l <"$BOX_DIR/acknowledged")
    [ "$count" -gt $((STORM_KILLED / 3)) ] || e2e_fail "$name: only $count were registered before"
    [ "$(wc -l <"$BOX_DIR/$name.registered")" -lt $((STORM_USERS * 9 / 10)) ] || e2e_fail "$name: it was killed when all was over"

    e2e_that "$name: it starts again" box_start
    STORM_GROWS=65536
    e2e_until "$name: the store has been read" true e2e_status .location.loaded
    box_ctl --json registrations >"$BOX_DIR/registrations.json"
    e2e_equal "$name: all contacts are listed" "$(jq .complete "$BOX_DIR/registrations.json")" true
    # When each ends. What is told in whole seconds may be one more.
    jq -r --arg now "$EPOCHREALTIME" '.registrations[] | "\(.user) \(($now | tonumber) + .expires_s + 1)"' \
        "$BOX_DIR/registrations.json" | sort >"$BOX_DIR/there"
    lost=$(join -a 1 "$BOX_DIR/acknowledged" "$BOX_DIR/there" |
        awk -v granted=$STORM_EXPIRES '$3 < $2 + granted - 1' | wc -l)
    e2e_equal "$name: lost of $count that were acknowledged a second before" "$lost" 0
    echo "$name: $count were acknowledged more than a second before SIGKILL, and are there with all their time;" \
        "$(wc -l <"$BOX_DIR/there") in all"
}

e2e_begin_registrar 's|^workers = .*|workers = 1\ncores = [1]|
    s|^from = "caller"|from = "example.com"|'
cat >>"$BOX_CONFIG" <<TOML

[registrar]
default_expires = $STORM_EXPIRES

# As the manual has it for so many users.
[capacity]
subscribers = $STORM_USERS
bindings = $STORM_USERS
nonces = $((STORM_USERS * 2))

# All users are at one address.
[abuse]
requests_per_s = 0
TOML
seq 0 $((STORM_USERS - 1)) | awk 'BEGIN { print "user,domain,password" }
    { printf "user%06d,example.com,pw%06d\n", $1, $1 }' >"$BOX_DIR/users.csv"
e2e_that "the box starts" box_start
e2e_that "subscribers" box_ctl subscriber import "$BOX_DIR/users.csv" >"$BOX_DIR/import.log"

storm_killed "new users"
storm "all users" --phones "$BOX_DIR/phones"
storm "known nonces" --phones "$BOX_DIR/phones"
e2e_equal "challenges to who knows a nonce" "$(storm_figure "known nonces" .calls.challenged)" 0
storm "no nonces"
storm_killed "refreshes" --phones "$BOX_DIR/phones"
storm "after an outage" --phones "$BOX_DIR/phones"
e2e_equal "nonces of before" "$(storm_figure "after an outage" .calls.challenged)" "$STORM_USERS"
e2e_that "the box stops" box_stop
e2e_nothing_left
