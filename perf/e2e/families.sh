#!/bin/bash
# Calls with media between every pair of {IPv4, IPv6} x {plain, VLAN}, caller to
# callee: each call as scripted, each RTP packet through, both sums exact after
# each pair. In a VLAN the caller's side has one tag and the callee's has two.
#
# The kernel needs no 802.1Q: tags.bpf.c puts the tags on and takes them off, at
# the peer and for the box's own kernel alike, so that ARP and neighbour discovery
# go on. The box's workers see tagged frames and send tagged frames.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

CALLS=3
# A quarter of the basic scenario's, to have 16 pairs within a minute.
SECONDS_OF_TONE=1
PACKETS=$((CALLS * 50 * SECONDS_OF_TONE))

declare -A ADDRESS=(
    [caller4]=10.77.1.2 [access4]=10.77.1.1 [core4]=10.77.2.1 [callee4]=10.77.2.2
    [caller6]=fd77:1::2 [access6]=fd77:1::1 [core6]=fd77:2::1 [callee6]=fd77:2::2
)

# families_shorten: the basic scenario with a shorter tone, in this run's directory.
# The called side stays a shorter time for a repeated BYE, too: a T1.
families_shorten() {
    local side
    mkdir "$BOX_DIR/sipp" || return
    for side in uac uas; do
        sed -e "s/milliseconds=\"4400\"/milliseconds=\"$((SECONDS_OF_TONE * 1000 + 400))\"/" \
            -e 's/timewait milliseconds="2000"/timewait milliseconds="500"/' \
            "$E2E_ROOT/perf/sipp/${side}_basic.xml" >"$BOX_DIR/sipp/${side}_short.xml" || return
    done
    truncate -s $((SECONDS_OF_TONE * 8000)) "$BOX_DIR/tone.ulaw"
    BOX_SCENARIOS=$BOX_DIR/sipp
}

# families_ipv6 ROLE LINK ADDRESS: the lab has none of its own.
families_ipv6() {
    lab_sysctl "$1" "net.ipv6.conf.$2.accept_ra" 0 &&
        lab_sysctl "$1" "net.ipv6.conf.$2.disable_ipv6" 0 &&
        ip -n "$LAB_NAME-$1" address add "$3/64" dev "$2" nodad
}

# families_tag ROLE LINK [OUTER [INNER]]: from now on all frames have these tags.
families_tag() {
    local role=$1 link=$2 outer=${3:-} inner=${4:-0} tpid=0x8100
    local object=$BOX_DIR/tags-$outer-$inner.o
    lab_exec "$role" tc qdisc del dev "$link" clsact 2>/dev/null
    [ -n "$outer" ] || return 0
    [ "$inner" = 0 ] || tpid=0x88a8
    [ -e "$object" ] || clang -O2 -Wall -Werror -target bpf -I"/usr/include/$(uname -m)-linux-gnu" \
        -D TPID="$tpid" -D OUTER="$outer" -D INNER="$inner" \
        -c "$E2E_ROOT/perf/e2e/tags.bpf.c" -o "$object" || return
    # A tag that the device is to insert stays beside the frame, and XDP cannot see it.
    lab_exec "$role" ethtool -K "$link" tx-vlan-hw-insert off tx-vlan-stag-hw-insert off \
        rx-vlan-hw-parse off rx-vlan-stag-hw-parse off >/dev/null &&
        lab_exec "$role" tc qdisc add dev "$link" clsact &&
        lab_exec "$role" tc filter add dev "$link" egress bpf da obj "$object" sec push &&
        lab_exec "$role" tc filter add dev "$link" ingress bpf da obj "$object" sec pop
}

# families_configure ACCESS_VLAN CORE_VLAN: both families on both sides, and the
# first digit of the called user is the callee's family.
families_configure() {
    local side trunk family vlan
    cat <<EOF
workers = 2
poll = "adaptive"
socket = "$BOX_DIR/control.sock"
state = "$BOX_DIR/state"
EOF
    for side in "access caller $1" "core callee $2"; do
        read -r side trunk vlan <<<"$side"
        printf '[[interface]]\nname = "%s"\ndevice = "%s"\n' "$side" "$side"
        [ -z "$vlan" ] || echo "vlan = [${vlan/ /, }]"
        for family in 4 6; do
            cat <<EOF
[[listen]]
name = "$side$family"
address = "$(families_host "$side$family"):5060"
[[media]]
name = "$side$family"
address = "${ADDRESS[$side$family]}"
ports = "20000-24999"
[[trunk]]
name = "$trunk$family"
sources = ["${ADDRESS[$trunk$family]}"]
listen = "$side$family"
media = "$side$family"
target = "$(families_host "$trunk$family"):5060"
EOF
        done
    done
    for family in 4 6; do
        printf '[[route]]\nprefix = "%s"\nto = "callee%s"\n' $family $family
    done
}

# An address as it stands before a port.
families_host() {
    if [[ $1 == *6 ]]; then echo "[${ADDRESS[$1]}]"; else echo "${ADDRESS[$1]}"; fi
}

# families_pair CALLER_FAMILY CALLEE_FAMILY: calls from one to the other.
families_pair() {
    local ended side what="$WHAT, IPv$1 to IPv$2"
    LAB_CALLER_ADDRESS=$(families_host "caller$1")
    LAB_ACCESS_ADDRESS=$(families_host "access$1")
    LAB_CALLEE_ADDRESS=$(families_host "callee$2")
    BOX_SERVICE=${2}000
    ended=$(box_count calls_ended)
    lab_count_from_now
    e2e_that "$what" box_calls short $CALLS 20 20
    e2e_that "$what: at rest" box_at_rest 10
    e2e_equal "$what: calls ended" $(($(box_count calls_ended) - ended)) $CALLS
    for side in "caller rtp_out" "callee rtp_in" "callee rtp_out" "caller rtp_in"; do
        # shellcheck disable=SC2086 # Two words.
        e2e_equal "$what: RTP, $side" "$(lab_count $side)" $PACKETS
    done
    e2e_equal "$what: drops by a worker" "$(jq \
        '[.counters[] | select(.kind == "dropped") | .total] | add' "$BOX_DIR/stats.json")" 0
}

# A datagram to our SIP port that lacks the tags is nothing to the workers.
families_untagged_is_not_ours() {
    local mac passed redirected
    passed=$(box_verdict pass_other_address)
    redirected=$(box_verdict redirect_sip)
    mac=$(lab_exec box cat /sys/class/net/access/address)
    e2e_that "tags off" families_tag caller caller0
    e2e_that "a neighbour" ip -n "$LAB_NAME-caller" neigh replace "${ADDRESS[access4]}" \
        lladdr "$mac" nud permanent dev caller0
    # shellcheck disable=SC2016 # The inner shell expands it.
    e2e_that "datagrams without a tag" lab_exec caller bash -c \
        'for _ in 1 2 3 4 5; do echo hello >/dev/udp/$0/5060; done' "${ADDRESS[access4]}"
    e2e_that "at rest" box_at_rest 10
    e2e_equal "redirected without a tag" $(($(box_verdict redirect_sip) - redirected)) 0
    [ $(($(box_verdict pass_other_address) - passed)) -ge 5 ] || e2e_fail "they were not seen"
}

e2e_begin ''
e2e_that "a short call" families_shorten
for end in "caller caller0 caller6" "box access access6" "box core core6" "callee callee0 callee6"; do
    read -r role link address <<<"$end"
    e2e_that "IPv6 at $link" families_ipv6 "$role" "$link" "${ADDRESS[$address]}"
done

for vlans in "|" "100|" "|200 300" "100|200 300"; do
    IFS='|' read -r access core <<<"$vlans"
    read -ra access_tags <<<"$access"
    read -ra core_tags <<<"$core"
    WHAT="${access:+VLAN }${access:-plain} to ${core:+VLAN }${core:-plain}"
    e2e_that "tags at the caller" families_tag caller caller0 "${access_tags[@]}"
    e2e_that "tags at access" families_tag box access "${access_tags[@]}"
    e2e_that "tags at core" families_tag box core "${core_tags[@]}"
    e2e_that "tags at the callee" families_tag callee callee0 "${core_tags[@]}"
    families_configure "$access" "$core" >"$BOX_CONFIG"
    e2e_that "the box starts: $WHAT" box_start
    e2e_that "and is at rest" box_at_rest 10
    for caller in 4 6; do
        for callee in 4 6; do
            families_pair $caller $callee
        done
    done
    e2e_equal "$WHAT: frames with other tags" "$(box_verdict pass_vlan)" 0
    echo "$WHAT: $CALLS calls of each of 4 pairs"
    if [ -n "$access" ] && [ -n "$core" ]; then families_untagged_is_not_ours; fi
    e2e_that "the box stops" box_stop
    e2e_nothing_left
done
