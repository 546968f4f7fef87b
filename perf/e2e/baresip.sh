#!/bin/bash
# Two phones as people have them: baresip registers by digest, calls another through the box with audio both ways, and hangs up.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

if ! command -v baresip >/dev/null; then
    e2e_fail "there is no baresip; scripts/test installs it"
fi
# baresip_start USER PORT: a phone without a screen and a sound card, whose voice is a tone, and which waits until it has
# registered. Its process is BOX_LAST; its commands come by TCP at the port before that of its SIP.
baresip_start() {
    local dir=$BOX_DIR/$1 modules
    modules=$(dirname "$(dpkg -L baresip-core | grep -m 1 '/g711\.so$')")
    mkdir "$dir" && : >"$dir/contacts" && cat >"$dir/config" <<CONFIG && cat >"$dir/accounts" <<ACCOUNTS || return
module_path $modules
module g711.so
module ausine.so
module_app account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:$(($2 - 1))
sip_listen $LAB_CALLER_ADDRESS:$2
net_interface $LAB_CALLER_ADDRESS
rtp_ports $(($2 + 1000))-$(($2 + 1100))
audio_source ausine,440
ausrc_srate 48000
ausrc_channels 2
rtp_stats yes
CONFIG
<sip:$1@example.com>;auth_user=$1;auth_pass=$1-secret;outbound="sip:$LAB_ACCESS_ADDRESS";regint=600;answermode=auto;audio_codecs=pcmu
ACCOUNTS
    box_run caller "$1.log" baresip -f "$dir"
    baresip_until "$1 registers" "$1@example.com: .*200 OK" "$1"
}

# baresip_do PORT COMMAND [PARAMETERS]: a command for a phone, a netstring of JSON.
baresip_do() {
    local text
    text=$(jq -cn --arg command "$2" --arg params "${3:-}" '{$command, $params}')
    printf '%d:%s,' ${#text} "$text" | lab_exec caller timeout 2 nc -q 1 127.0.0.1 $(($1 - 1)) >"$BOX_DIR/done"
    grep -q '"ok":true' "$BOX_DIR/done" || cat "$BOX_DIR/done"
}

# baresip_until WHAT PATTERN USER...: waits until each of these phones has said so.
baresip_until() {
    local what=$1 pattern=$2 user left=300
    shift 2
    for user in "$@"; do
        until grep -asq "$pattern" "$BOX_DIR/$user.log"; do
            [ $((left--)) -gt 0 ] || e2e_fail "$what: $(tail -n 20 "$BOX_DIR/$user.log")"
            sleep 0.1
        done
    done
}

# baresip_counts USER: RTP packets that the phone has sent and received.
baresip_counts() {
    awk '/^packets:/ { print $2, $3 }' "$BOX_DIR/$1.log"
}

# baresip_within WHAT IS LEAST MOST
baresip_within() {
    if [ "$2" -lt "$3" ] || [ "$2" -gt "$4" ]; then e2e_fail "$1: is $2, should be $3 to $4"; fi
}

e2e_begin_registrar ''
cat >>"$BOX_CONFIG" <<'TOML'

[subscribers]
store = "sqlite"
TOML
e2e_that "the box starts" box_start
for user in alice bob; do
    printf '%s-secret\n' $user | e2e_that "subscriber $user" box_ctl subscriber add $user@example.com --password-stdin
done
baresip_start alice 5060
phones=("$BOX_LAST")
baresip_start bob 5070
phones+=("$BOX_LAST")
e2e_that "the box is at rest" box_at_rest 5
e2e_equal "contacts" "$(box_count bindings_now)" 2
e2e_equal "registrations let in" "$(box_count auth_granted)" 2

e2e_that "alice calls" baresip_do 5060 dial sip:bob@example.com
baresip_until "a call" 'Call established' alice bob
sleep 5
e2e_that "alice hangs up" baresip_do 5060 hangup
baresip_until "the end of it" '^packets:' alice bob
e2e_that "the box is at rest" box_at_rest 5
e2e_equal "calls started" "$(box_count calls_started)" 1
e2e_equal "calls answered" "$(box_count calls_answered)" 1
e2e_equal "calls ended" "$(box_count calls_ended)" 1
read -r alice_sent alice_heard < <(baresip_counts alice)
read -r bob_sent bob_heard < <(baresip_counts bob)
forwarded=$(box_count rtp_forwarded)
echo "alice: $alice_sent sent, $alice_heard heard; bob: $bob_sent sent, $bob_heard heard; the box: $forwarded forwarded"
baresip_within "what alice has sent" "$alice_sent" 200 400
baresip_within "what bob has sent" "$bob_sent" 200 400
# What is on its way when they hang up finds nobody.
baresip_within "what bob heard" "$bob_heard" $((alice_sent - 5)) "$alice_sent"
baresip_within "what alice heard" "$alice_heard" $((bob_sent - 5)) "$bob_sent"
baresip_within "what the box has forwarded" "$forwarded" $((alice_heard + bob_heard)) $((alice_sent + bob_sent))

# A phone that is switched off takes its contact back.
for phone in "${phones[@]}"; do
    box_end "$phone"
done
e2e_that "the box is at rest" box_at_rest 5
e2e_equal "contacts" "$(box_count bindings_now)" 0
e2e_that "the box stops" box_stop
e2e_nothing_left
