#!/bin/bash
# The operator's view of a box with calls: every command in 80 columns and as
# JSON, exit codes, metrics and probes under a hostile scraper, the log's level,
# and top in a terminal of 80 by 24, with the daemon gone in the middle.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

OPERATOR_TMUX=(tmux -L "$LAB_NAME" -f /dev/null)
OPERATOR_METRICS=127.0.0.1:9470

# shellcheck disable=SC2317
e2e_restore() {
    "${OPERATOR_TMUX[@]}" kill-server 2>/dev/null || true
}

# The exit code of a command.
operator_code() {
    "$@" >/dev/null 2>&1
    echo $?
}

operator_get() {
    lab_exec box curl -s -m 5 -o "${3:-/dev/null}" -w '%{http_code}' "http://$OPERATOR_METRICS$1" "${@:4}" -H "Accept: ${2:-*/*}"
}

# The screen of top.
operator_screen() {
    "${OPERATOR_TMUX[@]}" capture-pane -p
}

operator_has() {
    operator_screen >"$BOX_DIR/screen" && grep -q -- "$1" "$BOX_DIR/screen"
}

# operator_shows WHAT TEXT: waits until top shows the text.
operator_shows() {
    local left=300
    until operator_has "$2"; do
        [ $((left--)) -gt 0 ] || { cat "$BOX_DIR/screen"; e2e_fail "$1: no word of /$2/"; }
        sleep 0.1
    done
}

# shellcheck disable=SC2016 # A sed script.
e2e_begin '$a [metrics]\naddress = "127.0.0.1:9470"'

e2e_equal "exit code without a daemon" "$(operator_code box_ctl status)" 3
e2e_equal "exit code of a wrong command line" "$(operator_code box_ctl statsu)" 2
e2e_that "the box starts" box_start
chmod 0711 "$BOX_DIR"
e2e_equal "exit code of one who may not ask" \
    "$(operator_code setpriv --reuid 65534 --regid 65534 --clear-groups "$(box_bin trunkctl)" --socket "$BOX_DIR/control.sock" status)" 4

e2e_that "a called side" box_callee basic 100 60
box_caller basic 100 20 60
sleep 2
for command in status stats "stats --rate" calls flows interfaces workers frames trunks routes neighbours \
    latency talkers "routes get 10.77.2.2"; do
    # shellcheck disable=SC2086
    COLUMNS=80 box_ctl $command >"$BOX_DIR/out" 2>&1 || e2e_fail "$command: $(cat "$BOX_DIR/out")"
    # shellcheck disable=SC2086
    box_ctl --json $command | jq -e . >/dev/null || e2e_fail "$command --json"
done
for command in calls flows interfaces workers frames trunks routes neighbours; do
    # How long a Call-ID is is its caller's affair: SIPp's holds the numbers of the call and of the process.
    box_ctl "$command" | sed -E 's/^ [0-9]+-[0-9]+@[0-9.]+ +/ 1-2345@10.77.1.2  /' >"$BOX_DIR/out"
    wide=$(LC_ALL=C.UTF-8 grep -E '^.{81}' "$BOX_DIR/out" | head -n 2)
    e2e_equal "lines of $command over 80 columns" "$wide" ""
done
e2e_equal "exit code where there is no way" "$(operator_code box_ctl routes get 203.0.113.9)" 1
e2e_equal "exit code of an unknown call" "$(operator_code box_ctl call nobody)" 1
e2e_equal "the box is ready" "$(box_ctl status --check)" ready
e2e_that "top prints a look" sh -c "'$(box_bin trunkctl)' --socket '$BOX_DIR/control.sock' top --once | grep -q 'RTP out'"

# Metrics, with a thousand connections that say nothing.
e2e_equal "healthz" "$(operator_get /healthz)" 200
e2e_equal "readyz" "$(operator_get /readyz)" 200
e2e_equal "metrics" "$(operator_get /metrics application/openmetrics-text "$BOX_DIR/metrics")" 200
# The first calls' media may all be one worker's, and figures are kept for half a second.
operator_counts() {
    operator_get /metrics application/openmetrics-text "$BOX_DIR/metrics" >/dev/null
    grep -q '^trunkline_rtp_forwarded_total{worker="[01]"} [1-9]' "$BOX_DIR/metrics"
}
e2e_soon "a counter" operator_counts
e2e_equal "the end of OpenMetrics" "$(tail -n 1 "$BOX_DIR/metrics")" "# EOF"
box_run box loris.log python3 -c '
import socket, time
held = []
for _ in range(1000):
    s = socket.socket()
    s.connect(("127.0.0.1", 9470))
    s.send(b"GET /metrics HTTP/1.1\r\n")
    held.append(s)
print("held", flush=True)
time.sleep(100)'
loris=$BOX_LAST
e2e_soon "a thousand connections" grep -q held "$BOX_DIR/loris.log"
e2e_equal "another source is served" "$(operator_get /readyz '' /dev/null --interface 127.0.0.2)" 200
e2e_that "and so is the operator" box_ctl status >/dev/null
# A place is lost after two seconds, and until all that wait have been let in the next of them takes it.
e2e_until "who hangs has lost its place" 200 operator_get /readyz
box_end "$loris"

# The log's level, and that the box says so.
e2e_equal "the level" "$(box_ctl log level)" "info, as configured"
e2e_that "another" box_ctl log level debug >/dev/null
e2e_that "is told" grep -q 'info before, debug from now on' "$BOX_DIR/trunklined.log"
e2e_equal "nonsense" "$(operator_code box_ctl log level inof)" 1
e2e_that "back" box_ctl log level default >/dev/null

# Top, in a terminal.
e2e_that "a terminal" "${OPERATOR_TMUX[@]}" new-session -d -x 80 -y 24 "exec bash --norc"
"${OPERATOR_TMUX[@]}" send-keys "stty -a | tail -n +2 >$BOX_DIR/tty.before; $(box_bin trunkctl) --socket $BOX_DIR/control.sock top; stty -a | tail -n +2 >$BOX_DIR/tty.after; echo ended \$?" Enter
operator_shows "top shows the workers" 'core'
operator_shows "and rates" 'RTP out .*[0-9] /s'
[ -z "${OPERATOR_SHOW:-}" ] || operator_screen
"${OPERATOR_TMUX[@]}" send-keys Tab
operator_shows "a page is turned" 'p99'
"${OPERATOR_TMUX[@]}" resize-window -x 120 -y 42
operator_shows "a large terminal shows all pages" 'Talkers'
[ -z "${OPERATOR_SHOW:-}" ] || operator_screen

e2e_that "the callers end well" box_wait "$BOX_CALLER"
e2e_that "and the called" box_wait "$BOX_CALLEE"
e2e_that "the box is at rest" box_at_rest 10
e2e_equal "trunks: calls answered" "$(box_ctl --json trunks | jq '[.trunks[].counts[] | select(.name == "calls_in_answered" or .name == "calls_out_answered") | .total] | add')" 200
e2e_that "SIGTERM ends it well" box_stop
operator_shows "top says that it is gone" 'asking again every second'
e2e_that "it starts again" box_start
operator_shows "and top has it" 'ready'
"${OPERATOR_TMUX[@]}" send-keys q
operator_shows "top ends" 'ended 0'
e2e_that "and leaves the terminal as it was" cmp "$BOX_DIR/tty.before" "$BOX_DIR/tty.after"
"${OPERATOR_TMUX[@]}" send-keys "clear; $(box_bin trunkctl) --socket $BOX_DIR/control.sock top; stty -a | tail -n +2 >$BOX_DIR/tty.after; echo over" Enter
operator_shows "top is there again" 'Workers'
kill -TERM "$(ps -o pid= --ppid "$("${OPERATOR_TMUX[@]}" display-message -p '#{pane_pid}')" | tr -d ' ')"
operator_shows "SIGTERM ends top" '^over'
e2e_that "and it leaves the terminal as well" cmp "$BOX_DIR/tty.before" "$BOX_DIR/tty.after"
e2e_that "the daemon ends well" box_stop
e2e_nothing_left
