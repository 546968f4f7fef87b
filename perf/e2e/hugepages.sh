#!/bin/bash
# Without hugepages a warning, with them they are used; "on" without them is
# refused. The number of hugepages is put back.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

PAGES=/sys/kernel/mm/hugepages/hugepages-2048kB
# Two workers with 8,192 frames of 2,048 bytes take 16 each.
WANTED=32

before=$(cat $PAGES/nr_hugepages)
# shellcheck disable=SC2317
e2e_restore() {
    box_stop >/dev/null 2>&1
    echo "$before" >$PAGES/nr_hugepages
}

memory() {
    box_ctl --json status | jq -r '[.workers[].memory] | unique | join(",")'
}

e2e_begin ''
if [ "$(cat $PAGES/free_hugepages)" -lt 8 ]; then
    e2e_that "it starts without hugepages" box_start
    e2e_equal "frames lie in" "$(memory)" "ordinary pages"
    e2e_that "and warns" sh -c \
        "'$(box_bin trunkctl)' --socket '$BOX_DIR/control.sock' --json status |
            jq -e '[.warnings[] | select(test(\"hugepage\"))] | length > 0' >/dev/null"
    e2e_that "and stops" box_stop
    box_configure 's/^workers = 2/&\n[umem]\nhugepages = "on"/; /^poll/d; /^socket/d; /^state/d'
    sed -i "1i poll = \"adaptive\"\nsocket = \"$BOX_DIR/control.sock\"\nstate = \"$BOX_DIR/state\"" \
        "$BOX_CONFIG"
    e2e_refused "hugepages = \"on\" without any" "hugepage"
    e2e_nothing_left
fi

echo $((before + WANTED)) >$PAGES/nr_hugepages
if [ "$(cat $PAGES/free_hugepages)" -lt "$WANTED" ]; then
    echo "this machine gives no hugepages now; the other half is not tested"
    exit 0
fi
free=$(cat $PAGES/free_hugepages)
box_configure ''
e2e_that "it starts with hugepages" box_start
e2e_equal "frames lie in" "$(memory)" "hugepages"
e2e_serves 5
e2e_that "and stops" box_stop
# The kernel unpins a closed socket's UMEM in a work item of its own (xp_put_pool),
# which on a busy machine comes some time after the process has ended.
for _ in $(seq 30); do
    [ "$(cat $PAGES/free_hugepages)" -lt "$free" ] || break
    sleep 0.1
done
e2e_equal "all hugepages are free again" "$(cat $PAGES/free_hugepages)" "$free"
