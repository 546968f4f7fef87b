#!/bin/bash
# More queues than workers (4 on 2, then 8 on 3), a third interface, and a number of queues
# that changes while calls are up: what comes by a queue without a worker is passed or
# dropped by name, and it is said.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

PEERS=("caller caller0" "callee callee0")
OURS=("box access" "box core")

# queues COUNT END...: COUNT at each end. A side with XDP must never receive on fewer than
# its peer sends on: to have more, begin with ours.
queues() {
    local count=$1 role link
    shift
    for link in "$@"; do
        read -r role link <<<"$link"
        lab_exec "$role" ethtool -L "$link" rx "$count" tx "$count" || return
    done
}

ready() {
    curl -s -o /dev/null -w '%{http_code}' --unix-socket "$BOX_DIR/control.sock" \
        http://localhost/readyz
}

said() {
    box_ctl --json status | grep -q 'has 8 receive queues by now and workers on 4'
}

# UDP packets that the box's kernel had no port for.
no_ports() {
    # shellcheck disable=SC2016 # They are awk's.
    lab_exec box awk '$1 == "Udp:" && $3 ~ /^[0-9]/ { print $3 }' /proc/net/snmp
}

e2e_begin 's/^workers = 2/workers = 3/'
# Wider pairs than the lab's, and a third interface that no call takes.
ip -n "$LAB_NAME-box" link del access
ip -n "$LAB_NAME-box" link del core
for pair in "caller caller0 $LAB_CALLER_ADDRESS access $LAB_ACCESS_ADDRESS" \
    "callee callee0 $LAB_CALLEE_ADDRESS core $LAB_CORE_ADDRESS" \
    "callee other0 10.77.3.2 other 10.77.3.1"; do
    read -r role peer peer_address link address <<<"$pair"
    e2e_that "a pair with 8 queues" ip -n "$LAB_NAME-box" link add "$link" numtxqueues 8 \
        numrxqueues 8 type veth peer name "$peer" netns "$LAB_NAME-$role" numtxqueues 8 numrxqueues 8
    ip -n "$LAB_NAME-box" address add "$address/24" dev "$link"
    ip -n "$LAB_NAME-$role" address add "$peer_address/24" dev "$peer"
    ip -n "$LAB_NAME-box" link set "$link" up
    ip -n "$LAB_NAME-$role" link set "$peer" up
    lab_exec "$role" ethtool -K "$peer" tx off gro on >/dev/null
done
cat >>"$BOX_CONFIG" <<'TOML'
[[interface]]
name = "other"
device = "other"
TOML
lab_wait_for_links
lab_count_from_now

echo "8 queues and 3 workers, 3 interfaces"
e2e_that "the box starts" box_start
e2e_equal "sockets" "$(box_ctl --json stats | jq '.sockets | length')" 24
e2e_serves 20
e2e_equal "RTP at the caller" "$(lab_count caller rtp_in)" 4000
e2e_equal "RTP at the callee" "$(lab_count callee rtp_in)" 4000
e2e_equal "media without a worker" "$(box_verdict drop_no_worker_media)" 0
e2e_that "it stops" box_stop

echo "4 queues and 2 workers"
sed -i 's/^workers = 3/workers = 2/' "$BOX_CONFIG"
e2e_that "4 queues" queues 4 "${PEERS[@]}" "${OURS[@]}"
lab_count_from_now
e2e_that "the box starts" box_start
e2e_serves 20
e2e_equal "RTP at the caller" "$(lab_count caller rtp_in)" 4000
e2e_equal "RTP at the callee" "$(lab_count callee rtp_in)" 4000

echo "8 queues, while it runs"
e2e_that "8 queues" queues 8 "${OURS[@]}" "${PEERS[@]}"
e2e_soon "it is said" said
e2e_soon "and logged" grep -q 'has 8 receive queues by now' "$BOX_DIR/trunklined.log"
e2e_equal "ready" "$(ready)" 503
no_ports=$(no_ports)
e2e_that "calls pass all the same" box_calls basic 10 10 40
e2e_that "and leave the box at rest" box_at_rest 10
# On a NIC the XDP program runs on the new queues and drops media by name. veth gives a
# queue that is added later no program (veth_enable_range_safe): there it is the kernel
# that has no port for it.
without=$(($(box_verdict drop_no_worker_media) + $(no_ports) - no_ports))
unseen=$((12000 - $(lab_count caller rtp_in) - $(lab_count callee rtp_in)))
echo "media without a worker: $without; RTP that did not arrive: $unseen"
e2e_equal "what did not arrive has its name" "$unseen" "$without"
e2e_that "fewer queues than sockets are refused by the kernel" \
    sh -c "! ip netns exec $LAB_NAME-box ethtool -L core rx 1 tx 1"
e2e_that "4 queues again" queues 4 "${PEERS[@]}" "${OURS[@]}"
e2e_until "ready" 200 ready
e2e_that "it stops" box_stop
e2e_nothing_left
