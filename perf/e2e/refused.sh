#!/bin/bash
# What trunklined refuses to start with: one sentence that says what to do, exit
# code 1, and nothing half configured.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

e2e_begin ''

echo "a second daemon on the same interfaces"
e2e_that "the first starts" box_start
sed "s|$BOX_DIR/control.sock|$BOX_DIR/second.sock|; s|$BOX_DIR/state|$BOX_DIR/second|" \
    "$BOX_CONFIG" >"$BOX_DIR/second.toml"
e2e_refused "a second daemon" "another trunklined|already" \
    ip netns exec "$LAB_NAME-box" "$(box_bin trunklined)" --config "$BOX_DIR/second.toml"
e2e_serves 3
e2e_that "the first stops" box_stop
e2e_nothing_left

echo "more workers than queues"
box_configure 's/^workers = 2/workers = 3/'
e2e_refused "three workers on two queues" "2 (receive )?queues|queue"
e2e_nothing_left

echo "an interface that is not there"
box_configure 's/^device = "core"/device = "nosuch0"/'
e2e_refused "an unknown interface" "nosuch0"
e2e_nothing_left

echo "a port in use"
box_configure ''
box_run box nc.log nc -l -u "$LAB_ACCESS_ADDRESS" 5060
holder=$BOX_LAST
e2e_that "the port is taken" box_listens box 5060
e2e_refused "a port in use" "10\.77\.1\.1:5060.*in use|in use.*10\.77\.1\.1:5060"
box_end "$holder"
e2e_nothing_left

echo "media ports that the kernel gives to its own sockets"
box_configure 's/20000-24999/40000-44999/'
e2e_refused "ephemeral media ports" "ip_local_reserved_ports"
e2e_nothing_left

echo "not root"
open=$(mktemp -d)
e2e_restore() {
    rm -rf "$open"
}
chmod 755 "$open"
cp "$(box_bin trunklined)" "$open/"
sed "s|$BOX_DIR|$open|" "$BOX_CONFIG" >"$open/trunkline.toml"
e2e_refused "not root" "root|CAP_" ip netns exec "$LAB_NAME-box" \
    setpriv --reuid 65534 --regid 65534 --clear-groups \
    "$open/trunklined" --config "$open/trunkline.toml"
e2e_nothing_left

echo "another XDP program"
box_configure ''
printf '%s\n' '__attribute__((section("xdp"), used)) int other(void *ctx) { return 2; }' \
    'char LICENSE[] __attribute__((section("license"), used)) = "MIT";' >"$BOX_DIR/other.c"
e2e_that "a program of somebody else's" \
    clang -O2 -target bpf -c "$BOX_DIR/other.c" -o "$BOX_DIR/other.o"
e2e_that "is attached" ip -n "$LAB_NAME-box" link set dev core xdpgeneric \
    obj "$BOX_DIR/other.o" sec xdp
e2e_refused "another XDP program" "core.*XDP program|XDP program.*core"
if ip -n "$LAB_NAME-box" -d link show access | grep -q xdp; then
    e2e_fail "access is left half configured"
fi
e2e_that "the other's program is still there" \
    sh -c "ip -n $LAB_NAME-box -d link show core | grep -q xdp"
ip -n "$LAB_NAME-box" link set dev core xdpgeneric off

echo "and with all that gone it starts"
e2e_that "it starts" box_start
e2e_that "and stops" box_stop
