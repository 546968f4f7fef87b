#!/bin/bash
# A link that goes down for 3 s in the middle of 50 calls loses none of them: SIP is
# sent again, media is dropped by name while it is down and flows on after. First the
# box's own link, then the far end's, which takes the carrier.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

# The callee stays until a BYE that was sent again for 4 s has been answered.
sed 's/milliseconds="2000"/milliseconds="8000"/' "$E2E_ROOT/perf/sipp/uas_basic.xml" \
    >"/run/$LAB_NAME-uas.xml"
# shellcheck disable=SC2317
e2e_restore() {
    rm -f "/run/$LAB_NAME-uas.xml"
}

dropped() {
    jq '[.counters[] | select(.kind == "dropped" and (.name | test("^media_")) and .total > 0)
        | {(.name): .total}] | add // {}' "$BOX_DIR/stats.json"
}

link_of() {
    box_ctl --json status | jq -r ".interfaces[] | select(.device == \"$1\") | .link"
}

# through ROLE LINK BOX_LINK: 50 calls, LINK of ROLE's namespace down in the middle.
through() {
    local role=$1 link=$2 seen=$3 options callee answered ended
    answered=$(box_count calls_answered)
    ended=$(box_count calls_ended)
    lab_count_from_now
    read -ra options < <(box_sipp_options uas_basic "$LAB_CALLEE_ADDRESS" 50 60)
    options[1]=/run/$LAB_NAME-uas.xml
    box_run callee callee.log sipp "${options[@]}"
    callee=$BOX_LAST
    e2e_that "the called side listens" box_listens callee 5060
    box_caller basic 50 10 60
    sleep 3
    e2e_that "$link goes down" ip -n "$LAB_NAME-$role" link set "$link" down
    e2e_until "status says of $seen that it is" down link_of "$seen"
    sleep 2
    e2e_that "$link comes up" ip -n "$LAB_NAME-$role" link set "$link" up
    e2e_that "every call of the caller is good" box_wait "$BOX_CALLER"
    e2e_that "and of the callee" box_wait "$callee"
    e2e_that "the box is at rest" box_at_rest 15
    e2e_equal "calls answered" $(($(box_count calls_answered) - answered)) 50
    e2e_equal "calls ended" $(($(box_count calls_ended) - ended)) 50
    e2e_until "status says of $seen that it is" up link_of "$seen"
    echo "RTP: $(lab_count caller rtp_out) sent by the caller, $(lab_count callee rtp_in) at the callee;" \
        "dropped so far: $(dropped | tr -d '\n ')"
    [ "$(lab_count callee rtp_in)" -gt 4000 ] || e2e_fail "media does not flow on"
}

e2e_begin ''
e2e_that "the box starts" box_start
e2e_that "and is at rest" box_at_rest 10
through box core core
[ "$(dropped)" != "{}" ] || e2e_fail "3 s without a link dropped no media by name"
through box access access
through callee callee0 core
e2e_that "the box stops" box_stop
e2e_nothing_left
