#!/bin/bash
# The host is prepared by hugepage-setup alone, trunklined starts on it and serves, and
# undo puts back what was found. Under a running daemon nothing is asked for again, and
# nothing takes its link down. irq and memlock are the machine's own affair.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

PAGES=/sys/kernel/mm/hugepages/hugepages-2048kB
STAGES=(driver queues hugepages ports rings offloads rss steering busy-poll)

before=$(cat $PAGES/nr_hugepages)
# shellcheck disable=SC2317
e2e_restore() {
    sed 's/^/hugepage-setup: /' "$BOX_DIR/host.log"
    box_stop >/dev/null 2>&1
    echo "$before" >$PAGES/nr_hugepages
}

# host VERB ARGUMENT...: in the box; its output is host.log.
host() {
    local verb=$1
    shift
    ip netns exec "$LAB_NAME-box" "$(box_bin hugepage-setup)" "$verb" "$@" >"$BOX_DIR/host.log" 2>&1
}

host_apply() {
    host apply "${STAGES[@]}" --config "$BOX_CONFIG" --state "$BOX_DIR/host.json"
}

host_undo() {
    host undo "$@" --state "$BOX_DIR/host.json"
}

# host_ran N: so many commands were run.
host_ran() {
    e2e_equal "commands run ($(xargs <"$BOX_DIR/host.log"))" "$(grep -c '^RUN:' "$BOX_DIR/host.log")" "$1"
}

# All that may be changed in the box and in the machine.
host_settings() {
    local device
    for device in access core; do
        ip netns exec "$LAB_NAME-box" ethtool -l $device
        ip netns exec "$LAB_NAME-box" ethtool -k $device
    done
    ip netns exec "$LAB_NAME-box" cat /proc/sys/net/ipv4/ip_local_reserved_ports
    cat $PAGES/nr_hugepages
}

# shellcheck disable=SC2016 # sed's own.
e2e_begin '$ a [umem]\nhugepages = "on"'
for device in access core; do
    e2e_that "one queue" ip netns exec "$LAB_NAME-box" ethtool -L $device rx 2 tx 1
done
# The lab has reserved the media ports.
e2e_that "some other port reserved" lab_sysctl box net.ipv4.ip_local_reserved_ports 8080
found=$(host_settings)
free=$(cat $PAGES/free_hugepages)
echo $((before + 32)) >$PAGES/nr_hugepages
given=$(($(cat $PAGES/free_hugepages) - free))
echo "$before" >$PAGES/nr_hugepages
if [ "$given" -lt 32 ]; then
    echo "this machine gives no hugepages now: nothing is tested"
    exit 0
fi

e2e_that "apply" host_apply
host_ran 4
e2e_that "apply again" host_apply
host_ran 0
e2e_that "check" host check "${STAGES[@]}" --config "$BOX_CONFIG"
e2e_that "it starts, with all its frames in hugepages" box_start
e2e_serves 5

e2e_that "apply while it runs" host_apply
host_ran 0
if host_undo queues; then e2e_fail "undo took a queue away from a running daemon"; fi
e2e_equal "what it says" "$(grep -c 'stop trunklined first' "$BOX_DIR/host.log")" 2
e2e_serves 5

e2e_that "and stops" box_stop
for _ in $(seq 30); do
    # The kernel gives the pages of a closed socket back a little later.
    [ "$(cat $PAGES/free_hugepages)" -lt $((free + 32)) ] || break
    sleep 0.1
done
e2e_that "undo" host_undo
e2e_equal "what there is after undo" "$(host_settings)" "$found"
[ ! -e "$BOX_DIR/host.json" ] || e2e_fail "the state file is left"
