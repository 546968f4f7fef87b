#!/bin/bash
# A capture by user of two calls with media: the file is one that tshark reads, with each
# message and each RTP packet once a side, headers only of the media; the ladder
# shows them; nothing is lost, and the calls notice nothing. A place taken is
# free again; latency and talkers speak of the same calls.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

# read_capture: what tshark sees in the file, a packet a line. Once, since tshark takes seconds to start.
read_capture() {
    local field fields=()
    for field in frame.protocols sip.Method sip.Status-Code ip.checksum.status frame.cap_len; do
        fields+=(-e "$field")
    done
    tshark -r "$BOX_DIR/calls.pcap" -d udp.port==5060,sip -T fields -E separator='|' "${fields[@]}" \
        2>/dev/null >"$BOX_DIR/packets"
}

# count CONDITION: packets of which that is true, in awk's words.
count() {
    awk -F'|' '{ is_sip = $1 ~ /:sip/; is_media = $1 ~ /:udp/ && !is_sip; method = $2; status = $3; checksum = $4; len = $5 }
        '"$1"' { n++ }
        END { print n + 0 }' "$BOX_DIR/packets"
}

e2e_begin ''
# A function in the background is a shell, and a signal to that does not reach what it runs.
ctl=("$(box_bin trunkctl)" --socket "$BOX_DIR/control.sock")
e2e_that "the box starts" box_start
"${ctl[@]}" capture --user 2000 --seconds 30 --write "$BOX_DIR/calls.pcap" >"$BOX_DIR/ladder" 2>"$BOX_DIR/capture.log" &
capture=$!
e2e_soon "the capture begins" grep -q 'capturing for' "$BOX_DIR/capture.log"
e2e_serves 2
kill -INT $capture
wait $capture
e2e_equal "the capture's exit code" $? 0

read_capture
e2e_equal "INVITEs: two calls, in and out" "$(count 'method == "INVITE"')" 4
e2e_equal "100 Trying" "$(count 'status == 100')" 2
e2e_equal "200 OK to INVITE and BYE, in and out" "$(count 'status == 200')" 8
e2e_equal "BYEs" "$(count 'method == "BYE"')" 4
e2e_equal "wrong checksums" "$(count 'checksum == "0"')" 0
lab_rtp=$(($(lab_count caller rtp_out) + $(lab_count callee rtp_out)))
e2e_equal "RTP, in and out" "$(count is_media)" $((2 * lab_rtp))
e2e_equal "packets with speech in them" "$(count 'is_media && len > 96')" 0
e2e_equal "the file's mode" "$(stat -c %a "$BOX_DIR/calls.pcap")" 600

grep -q 'INVITE sdp' "$BOX_DIR/ladder" || e2e_fail "no INVITE on the ladder"
grep -q '#2' "$BOX_DIR/ladder" || e2e_fail "the ladder tells no two calls apart"
e2e_equal "arrows" "$(grep -c '│' "$BOX_DIR/ladder")" "$(count is_sip)"
e2e_that "the file has the same ladder" box_ctl ladder "$BOX_DIR/calls.pcap" >"$BOX_DIR/again"
e2e_equal "arrows of the file" "$(grep -c '│' "$BOX_DIR/again")" "$(count is_sip)"
e2e_equal "copies lost" "$(box_count captures_lost)" 0

# Four at once, no more; and when they have ended there is room again.
held=()
for n in 1 2 3 4; do
    "${ctl[@]}" capture --user nobody --seconds 60 >/dev/null 2>"$BOX_DIR/held.$n" &
    held+=($!)
    e2e_soon "capture $n begins" grep -q 'capturing for' "$BOX_DIR/held.$n"
done
code=0
box_ctl capture --user nobody --seconds 1 >"$BOX_DIR/refused" 2>&1 || code=$?
e2e_equal "a fifth capture" $code 1
grep -q '4 captures are under way' "$BOX_DIR/refused" || e2e_fail "it does not say why: $(cat "$BOX_DIR/refused")"
kill -INT "${held[@]}"
wait "${held[@]}"
e2e_soon "there is room again" box_ctl capture --user nobody --seconds 1

box_ctl --json latency >"$BOX_DIR/latency.json"
for stage in sip_scan sip_proxy sip_send media_relay sip_added media_added; do
    n=$(jq --arg stage $stage '.stages[] | select(.stage == $stage).since_start.samples' "$BOX_DIR/latency.json")
    [ "$n" -gt 0 ] || e2e_fail "no samples of $stage"
done
e2e_that "latency is told" box_ctl latency
e2e_that "talkers are told" box_ctl talkers
e2e_that "the box stops" box_stop
e2e_nothing_left
