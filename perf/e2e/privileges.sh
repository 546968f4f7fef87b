#!/bin/bash
# Everything that the daemon does, with its threads held to what they need: calls with
# media, the operator's questions, neighbours, a link that goes and comes, the end. That
# what they do not need is refused is the unit tests' matter.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

# status_of THREAD KEY: one line of a thread's status.
status_of() {
    local task
    for task in "/proc/$BOX_DAEMON/task"/*; do
        if [ "$(cat "$task/comm")" = "$1" ]; then
            awk -v key="$2:" '$1 == key { print $2 }' "$task/status"
            return
        fi
    done
}

held() {
    local thread
    for thread in worker-0 worker-1; do
        e2e_equal "$thread's capabilities" "$(status_of $thread CapPrm)" 0000000000000000
        e2e_equal "$thread's filter" "$(status_of $thread Seccomp)" 2
    done
    # CAP_NET_ADMIN alone.
    e2e_equal "control's capabilities" "$(status_of trunklined CapPrm)" 0000000000001000
    e2e_equal "control's filter" "$(status_of trunklined Seccomp)" 2
    e2e_equal "control's no_new_privs" "$(status_of trunklined NoNewPrivs)" 1
}

# Every command that asks the daemon, so that no answer of its needs what was given up.
asked() {
    local command
    for command in status "stats --all" calls flows version; do
        # shellcheck disable=SC2086 # A command and its options.
        e2e_that "trunkctl $command" box_ctl $command >/dev/null
    done
}

e2e_begin ''
e2e_that "the box starts" box_start
held
e2e_serves 20
asked

# A neighbour that the kernel has forgotten is asked for again.
ip -n "$LAB_NAME-box" neigh flush all
e2e_serves 5

# A link that goes and comes.
ip -n "$LAB_NAME-box" link set core down
sleep 0.5
ip -n "$LAB_NAME-box" link set core up
e2e_that "the links are back" lab_wait_for_links
e2e_serves 5
held

e2e_that "and stops" box_stop
e2e_nothing_left
