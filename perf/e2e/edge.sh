#!/bin/bash
# The box as the edge before a registrar of somebody else's, which is Kamailio: phones behind a NAT
# register through it, their refreshes are answered by the box, their calls are challenged there,
# and its calls reach them by their flows, with media.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

if ! command -v kamailio >/dev/null; then
    e2e_fail "there is no kamailio; scripts/test installs it"
fi
PHONES=10

e2e_begin_phones 's/^target = .*/target = "10.77.2.2:5070"/'
e2e_domain 'registrar = "callee"'
e2e_that "the box starts" box_start
mkdir "$BOX_DIR/kamailio"
box_run callee kamailio.log kamailio -f "$E2E_ROOT/perf/e2e/registrar.cfg" -DD -E \
    -m 32 -M 4 -Y "$BOX_DIR/kamailio"
kamailio=$BOX_LAST
e2e_that "Kamailio listens" box_listens callee 5070

# edge_phones: the phones register, refresh, register again and call.
edge_phones() {
    local options
    read -ra options < <(box_sipp_options uac_edge "$LAB_CALLER_ADDRESS" $PHONES 20)
    (cd "$BOX_DIR" && lab_exec caller sipp "$LAB_ACCESS_ADDRESS:5060" -s 100 -r 20 "${options[@]}" \
        -au alice -ap wonderland >phones.log 2>&1 </dev/null)
}

# edge_calls COUNT: somebody behind the registrar calls the first phone.
edge_calls() {
    local options phone code=0
    read -ra options < <(box_sipp_options uas_basic "$LAB_CALLER_ADDRESS" "$1" 20)
    box_run caller phone.log sipp "${options[@]}"
    phone=$BOX_LAST
    box_listens caller 5060 || return
    read -ra options < <(box_sipp_options uac_basic "$LAB_CALLEE_ADDRESS" "$1" 20)
    (cd "$BOX_DIR" && lab_exec callee sipp "$LAB_CALLEE_ADDRESS:5070" -s u1 -r 10 "${options[@]}" \
        >calls.log 2>&1 </dev/null) || code=$?
    box_wait "$phone" || code=$?
    return $code
}

e2e_that "phones register, refresh and call" edge_phones
e2e_that "calls of the registrar reach a phone by its flow" edge_calls 5
e2e_that "the box is at rest" box_at_rest 10
seen=$(grep -c 'registrar: sip:u[0-9]*@example.com from 10.77.2.1:5060' "$BOX_DIR/kamailio.log")
e2e_equal "REGISTERs that the registrar has seen, of 7 a phone" "$seen" $((PHONES * 4))
e2e_equal "REGISTERs sent on" "$(box_count registers_forwarded)" $((PHONES * 4))
e2e_equal "REGISTERs answered here" "$(box_count registers_spared)" $((PHONES * 3))
e2e_equal "answers without our path" "$(box_count paths_ignored)" 0
e2e_equal "calls challenged by the box" "$(box_count auth_challenges)" 0
e2e_equal "calls of who is not registered" "$(box_count unregistered_refused)" 0
e2e_equal "calls started" "$(box_count calls_started)" $((PHONES * 2 + 5))
e2e_equal "calls answered" "$(box_count calls_answered)" 5
e2e_equal "RTP at the phone" "$(lab_count caller rtp_in)" 1000
by=$(grep -c 'registrar: call to sip:u1@192.168.9.9:5070 by sip:.*@10.77.2.1' "$BOX_DIR/kamailio.log")
e2e_equal "calls by a path" "$by" 5
grep -E 'ERROR|CRITICAL' "$BOX_DIR/kamailio.log" && e2e_fail "Kamailio complains"

# Nobody is a subscriber here, so that nothing is made for them.
[ ! -e "$BOX_DIR/state/subscribers.db" ] || e2e_fail "a file for nobody"
said=$(box_ctl subscriber list 2>&1)
case $said in
*'the registrar of every [[domain]] is elsewhere'*) ;;
*) e2e_fail "it is not said where subscribers are kept: $said" ;;
esac
box_end "$kamailio"
e2e_that "and stops" box_stop
e2e_nothing_left
