# shellcheck shell=bash
# What the demo must have shown: each row one statement, its figures, and
# whether it holds. Reads what scripts/demo has left in BOX_DIR and DEMO_*.

VERDICT_BAD=0

# verdict_row OK WHAT FIGURES [WIDTH]: OK is 0 where it holds.
verdict_row() {
    local mark=✓
    if [ "$1" -ne 0 ]; then
        mark=✗
        VERDICT_BAD=$((VERDICT_BAD + 1))
    fi
    printf '  %s  %-*s %s\n' "$mark" "${4:-37}" "$2" "$3"
}

# verdict_that WHAT FIGURES CONDITION [WIDTH]: a row that holds if the arithmetic does.
verdict_that() {
    local bad=1
    # A count that is missing is no number, and holds nothing.
    if (($3)) 2>/dev/null; then bad=0; fi
    verdict_row $bad "$1" "$2" "${4:-}"
}

# verdict_stat SIDE COLUMN: what SIPp counted; -1 where it did not.
verdict_stat() {
    local count
    count=$(lib_sipp_stat "$BOX_DIR/$1.csv" "$2" 2>/dev/null)
    if [[ $count =~ ^[0-9]+$ ]]; then echo "$count"; else echo -1; fi
}

verdict_permille() {
    awk -v part="$1" -v all="$2" 'BEGIN { printf "%.2f", (all + 0 == 0) ? 0 : part * 1000 / all }'
}

# Milliseconds of CPU that a process has used, user and system.
verdict_cpu() {
    awk -v hz="$(getconf CLK_TCK)" '{ print int(($14 + $15) * 1000 / hz) }' "/proc/$1/stat" \
        2>/dev/null || echo 0
}

verdict_calls() {
    local placed failed answered again messages
    placed=$(verdict_stat caller 'TotalCallCreated')
    answered=$(verdict_stat callee 'SuccessfulCall(C)')
    failed=$(($(verdict_stat caller 'FailedCall(C)') + \
        $(verdict_stat callee 'FailedCall(C)')))
    verdict_that "calls placed, answered, failed" "$placed, $answered, $failed" \
        "$placed == DEMO_CALLS && $answered == DEMO_CALLS && $failed == 0"
    verdict_that "the box: started, answered, ended" \
        "$(box_count calls_started), $(box_count calls_answered), $(box_count calls_ended)" \
        "$(box_count calls_started) == DEMO_CALLS && $(box_count calls_answered) == DEMO_CALLS &&
        $(box_count calls_ended) == DEMO_CALLS"
    verdict_that "SIPp's exit codes" "caller $DEMO_CALLER_CODE, callee $DEMO_CALLEE_CODE" \
        "DEMO_CALLER_CODE == 0 && DEMO_CALLEE_CODE == 0"
    again=$(($(verdict_stat caller 'Retransmissions(C)') + \
        $(verdict_stat callee 'Retransmissions(C)') + \
        $(box_count retransmissions)))
    messages=$(($(lab_count caller sip_out) + $(lab_count callee sip_out) + $(box_count sip_sent)))
    verdict_that "retransmissions, box and peers" \
        "$again of $messages messages ($(verdict_permille "$again" "$messages") ‰)" \
        "$messages > 0 && $again * 1000 <= $messages"
}

# Each packet that a peer sent reached the other, but the stranger's.
verdict_media() {
    local rtp=$((DEMO_CALLS * DEMO_RTP_A_CALL)) in out stranger dropped
    stranger=$(box_count media_source_unknown)
    verdict_that "caller: RTP sent, received" \
        "$(lab_count caller rtp_out) ($DEMO_STRANGERS a stranger's), $(lab_count caller rtp_in)" \
        "$(lab_count caller rtp_out) == $rtp + DEMO_STRANGERS && $(lab_count caller rtp_in) == $rtp"
    verdict_that "callee: RTP sent, received" \
        "$(lab_count callee rtp_out), $(lab_count callee rtp_in)" \
        "$(lab_count callee rtp_out) == $rtp && $(lab_count callee rtp_in) == $rtp"
    in=$(box_verdict redirect_media)
    out=$(($(box_count rtp_forwarded) + $(box_count rtcp_forwarded)))
    dropped=$(jq '[.counters[] | select(.kind == "dropped" and (.name | startswith("media_")))
        | .total] | add' "$BOX_DIR/stats.json")
    verdict_that "the box: RTP in = forwarded + dropped" "$in = $out + $dropped" \
        "$in == 2 * $rtp + DEMO_STRANGERS && $out == 2 * $rtp && $dropped == DEMO_STRANGERS"
    verdict_that "the stranger's RTP dropped by name" "media_source_unknown $stranger" \
        "$stranger == DEMO_STRANGERS"
    # Every worker has every flow; only one of them had a packet of the stranger.
    verdict_that "flows closed; of these with drops" \
        "$(box_count flows_closed); $(box_count flows_closed_with_drops) (the stranger's)" \
        "$(box_count flows_closed) == $(box_count flows_opened) &&
        $(box_count flows_closed) > 0 && $(box_count flows_closed_with_drops) == 1"
}

verdict_workers() {
    local shares least
    shares=$(jq -r '.counters[] | select(.name == "calls_started") | .workers | join(" + ")' \
        "$BOX_DIR/stats.json")
    least=$(jq '.counters[] | select(.name == "calls_started") | .workers | min' \
        "$BOX_DIR/stats.json")
    verdict_that "each worker's calls" "$shares" "$least * 4 >= DEMO_CALLS"
}

# Rule 6: every frame has one named end.
verdict_sums() {
    local name left right difference count
    count=$(jq '.sums | length' "$BOX_DIR/stats.json")
    verdict_that "nothing left: calls, flows" "$(box_count calls_now), $(box_count flows_now)" \
        "$(box_count calls_now) == 0 && $(box_count flows_now) == 0"
    verdict_that "sums that every frame is in" "$count, at rest:" "${count:-0} > 3"
    # printf counts bytes, and Σ has two.
    while IFS=$'\t' read -r name left right difference; do
        verdict_that "${name/Σ/the sum of}" "$left = $right" "$difference == 0" 58
    done < <(jq -r '.sums[] | [.name, .left, .right, .difference] | @tsv' "$BOX_DIR/stats.json")
}

# tcpdump says "sum ok" of each right UDP checksum, and "bad" of each wrong one.
verdict_capture() {
    local link=$1 all good bad
    tcpdump -vv -n -r "$BOX_DIR/$link.pcap" 2>/dev/null >"$BOX_DIR/$link.txt"
    all=$(tcpdump -n -t -r "$BOX_DIR/$link.pcap" 2>/dev/null --count | grep -o '^[0-9]*')
    good=$(grep -c '\[udp sum ok\]' "$BOX_DIR/$link.txt")
    bad=$(grep -c 'bad udp cksum\|bad cksum\|\[no cksum\]' "$BOX_DIR/$link.txt")
    rm -f "$BOX_DIR/$link.txt"
    verdict_that "$link: captured, right checksums" "$all, $good; wrong $bad" \
        "${all:-0} > 0 && ${all:-0} == $good && $bad == 0"
}

verdict_kernel() {
    verdict_that "ping, ARP, TCP through the kernel" \
        "${DEMO_PING:-no}, ${DEMO_ARP:-no}, ${DEMO_TCP:-no}" \
        "$([ "${DEMO_PING:-}${DEMO_ARP:-}${DEMO_TCP:-}" = yesyesyes ] && echo 1 || echo 0)"
}

verdict_show() {
    verdict_calls
    verdict_media
    verdict_workers
    verdict_sums
    verdict_capture caller0
    verdict_capture callee0
    verdict_kernel
    case $DEMO_STOPPED in
        kept) ;;
        *) verdict_that "trunklined stopped cleanly" "exit code $DEMO_STOPPED" "DEMO_STOPPED == 0" ;;
    esac
    printf '     %-37s %s\n' "CPU of trunklined" \
        "$((DEMO_CPU / 1000)).$(printf '%02d' $((DEMO_CPU % 1000 / 10))) s in $((DEMO_ELAPSED / 1000)) s"
    echo
    if [ $VERDICT_BAD -eq 0 ]; then
        echo "All of it holds."
    else
        echo "$VERDICT_BAD of these do not hold."
        sed 's/^/    trunklined: /' "$BOX_DIR/trunklined.log" 2>/dev/null
        return 1
    fi
}
