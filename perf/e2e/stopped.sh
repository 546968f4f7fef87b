#!/bin/bash
# SIGTERM with calls up: exit code 0, both sums exact, nothing left.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

e2e_begin ''
e2e_that "the box starts" box_start
e2e_that "it is attached" \
    sh -c "ip -n $LAB_NAME-box -d link show access | grep -q 'prog/xdp'"
e2e_that "a called side" box_callee basic 10 30
box_caller basic 10 20 30
sleep 2
e2e_that "SIGTERM ends it with exit code 0" box_stop
e2e_nothing_left
# The mode of the state file is what keeps its keys secret.
e2e_equal "the state's mode" "$(find "$BOX_DIR/state" -type f ! -perm 0600 | wc -l)" 0
