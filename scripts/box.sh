# shellcheck shell=bash
# A box in the lab: trunklined, SIPp and captures, for the demo and the end to
# end tests. Source it after lib.sh and lab.
#
# Every process that is started here is recorded in BOX_PIDS, and box_clean ends
# those and no others. BOX_DIR holds all files of one run.

BOX_DIR=""
BOX_PIDS=()
BOX_DAEMON=""
BOX_CALLEE=""
BOX_CONFIG=""
# Where the scenarios are, and the user that is called: a route can choose by it.
BOX_SCENARIOS=$LIB_ROOT/perf/sipp
BOX_SERVICE=2000

box_bin() {
    echo "${CARGO_TARGET_DIR:-$LIB_ROOT/target}/release/$1"
}

# Builds the programs, as the one who called sudo where the tree is theirs.
box_build() {
    lib_build_programs
}

# box_make_dir DIR: everything of this run goes into DIR, which must not be there.
box_make_dir() {
    if ! mkdir -m 0700 "$1" 2>/dev/null; then
        lib_say "$1 is there already: another run is under way, or one was ended by SIGKILL;" \
            "if so, run 'scripts/lab down' and remove $1"
        return 1
    fi
    BOX_DIR=$1
    BOX_CONFIG=$BOX_DIR/trunkline.toml
    "$LIB_ROOT/perf/sipp/tone" "$BOX_DIR/tone.ulaw"
}

# box_configure [SED_SCRIPT]: the demo's configuration for this run's directory.
box_configure() {
    sed -e "s|/run/trunkline-demo|$BOX_DIR|" -e "${1:-}" \
        "$LIB_ROOT/scripts/demo.toml" >"$BOX_CONFIG"
}

# box_run ROLE LOG COMMAND...: starts a command in the background in the
# namespace of ROLE, in BOX_DIR. Its process is BOX_LAST.
box_run() {
    local role=$1 log=$2
    shift 2
    # `ip netns exec` becomes the command, so $! is the command's own process.
    (cd "$BOX_DIR" && exec ip netns exec "$(lab_namespace "$role")" "$@") \
        >"$BOX_DIR/$log" 2>&1 </dev/null &
    BOX_LAST=$!
    BOX_PIDS+=("$BOX_LAST")
}

# box_ctl ARGUMENT...: asks this run's daemon.
box_ctl() {
    "$(box_bin trunkctl)" --socket "$BOX_DIR/control.sock" "$@"
}

# box_end PID [SIGNAL]: ends a process that we started, and gives its exit code.
box_end() {
    local pid=$1 signal=${2:-TERM} left=100 at
    kill -"$signal" "$pid" 2>/dev/null
    while kill -0 "$pid" 2>/dev/null && [ $((left--)) -gt 0 ]; do
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null
    for at in "${!BOX_PIDS[@]}"; do
        if [ "${BOX_PIDS[at]}" = "$pid" ]; then unset "BOX_PIDS[at]"; fi
    done
    wait "$pid" 2>/dev/null
}

# Starts trunklined, and waits until it answers. On failure its log is shown.
box_start() {
    local left=150
    box_run box trunklined.log "$(box_bin trunklined)" --config "$BOX_CONFIG"
    BOX_DAEMON=$BOX_LAST
    while [ $((left--)) -gt 0 ]; do
        if box_ctl status >/dev/null 2>&1; then return 0; fi
        kill -0 "$BOX_DAEMON" 2>/dev/null || break
        sleep 0.1
    done
    lib_say "trunklined did not start; it says:"
    cat "$BOX_DIR/trunklined.log" >&2
    return 1
}

# Stops trunklined by SIGTERM; its exit code says whether its sums held.
box_stop() {
    local pid=$BOX_DAEMON
    BOX_DAEMON=""
    box_end "$pid"
}

# box_listens ROLE PORT: waits until somebody takes UDP at that port, unless BOX_LAST ends before.
box_listens() {
    local left=300
    until lab_exec "$1" ss -Hlun "sport = :$2" | grep -q .; do
        if ! kill -0 "$BOX_LAST" 2>/dev/null || [ $((left--)) -eq 0 ]; then
            lib_say "nobody listens at port $2"
            return 1
        fi
        sleep 0.1
    done
}

# SIPp's arguments that both sides share: scenario, own address, calls, seconds.
box_sipp_options() {
    echo "-sf $BOX_SCENARIOS/$1.xml -i $2 -mi $2 -p 5060 -mp 30000 -t u1 -nostdin" \
        "-buff_size 4000000 -m $3 -timeout ${4}s -timeout_error -trace_err"
}

# box_callee SCENARIO CALLS SECONDS: starts the side that is called, as
# BOX_CALLEE, and waits until it listens.
box_callee() {
    local options
    read -ra options < <(box_sipp_options "uas_$1" "$LAB_CALLEE_ADDRESS" "$2" "$3")
    rm -f "$BOX_DIR/callee.csv"
    box_run callee callee.log sipp "${options[@]}" -trace_stat -stf callee.csv -fd 1
    BOX_CALLEE=$BOX_LAST
    if box_listens callee 5060; then return 0; fi
    lib_say "the called side does not listen; it says:"
    tail -n 20 "$BOX_DIR/callee.log" >&2
    return 1
}

# box_caller SCENARIO CALLS RATE SECONDS: starts the side that calls, as BOX_CALLER.
box_caller() {
    local options
    read -ra options < <(box_sipp_options "uac_$1" "$LAB_CALLER_ADDRESS" "$2" "$4")
    rm -f "$BOX_DIR/caller.csv"
    box_run caller caller.log sipp "$LAB_ACCESS_ADDRESS:5060" -s "$BOX_SERVICE" -r "$3" "${options[@]}" \
        -trace_stat -stf caller.csv -fd 1
    BOX_CALLER=$BOX_LAST
}

# box_wait PID: waits for a process that ends by itself, and gives its exit code.
box_wait() {
    local pid=$1 at code=0
    wait "$pid" || code=$?
    for at in "${!BOX_PIDS[@]}"; do
        if [ "${BOX_PIDS[at]}" = "$pid" ]; then unset "BOX_PIDS[at]"; fi
    done
    return $code
}

# box_calls SCENARIO CALLS RATE SECONDS: both sides, until both have ended.
box_calls() {
    local code=0
    if [ -e "$BOX_SCENARIOS/uas_$1.xml" ]; then
        box_callee "$1" "$2" "$4" || return
    else
        BOX_CALLEE=""
    fi
    box_caller "$@"
    box_wait "$BOX_CALLER" || code=$?
    if [ -n "$BOX_CALLEE" ]; then
        box_wait "$BOX_CALLEE" || code=$?
    fi
    if [ $code -ne 0 ]; then
        lib_say "SIPp's $1 ended with code $code"
        tail -n 15 "$BOX_DIR"/*_errors.log >&2 2>/dev/null
    fi
    return $code
}

# box_at_rest [SECONDS]: waits until no call and no flow is left and all sums
# are exact; leaves the counts in stats.json. Else says what is not.
box_at_rest() {
    local left=$((${1:-10} * 5))
    while [ $((left--)) -gt 0 ]; do
        box_ctl --json stats >"$BOX_DIR/stats.json" || return
        if [ "$(box_count calls_now)" = 0 ] && [ "$(box_count flows_now)" = 0 ] &&
            box_sums_are_exact; then
            return 0
        fi
        sleep 0.2
    done
    lib_say "not at rest: $(box_count calls_now) calls, $(box_count flows_now) flows;" \
        "sums that do not hold:"
    jq -r '.sums[] | select(.difference != 0) | "    \(.name): \(.left) and \(.right)"' \
        "$BOX_DIR/stats.json" >&2
    return 1
}

box_sums_are_exact() {
    jq -e '(.sums | length > 0) and all(.sums[]; .difference == 0)' \
        "$BOX_DIR/stats.json" >/dev/null
}

# box_count NAME: a counter of stats.json, summed over the workers; -1 if there is none.
box_count() {
    jq -r --arg name "$1" '[.counters[] | select(.name == $name) | .total] | add // -1' \
        "$BOX_DIR/stats.json"
}

# box_verdict NAME: a verdict of stats.json, summed over the interfaces; -1 likewise.
box_verdict() {
    jq -r --arg name "$1" '[.xdp[].verdicts[] | select(.name == $name) | .count] | add // -1' \
        "$BOX_DIR/stats.json"
}

# Ends what is still running, removes the lab and the directory. Safe to repeat.
box_clean() {
    local pid
    # The daemon first: nothing is left to lose, and its XDP programs go with it.
    for pid in ${BOX_DAEMON:+"$BOX_DAEMON"} ${BOX_PIDS[@]+"${BOX_PIDS[@]}"}; do
        box_end "$pid"
    done
    BOX_DAEMON=""
    if [ -n "${LAB_IS_OURS:-}" ]; then lab_down; fi
    if [ -n "$BOX_DIR" ]; then rm -rf "$BOX_DIR"; fi
    BOX_DIR=""
}
