#!/bin/bash
# Who tries passwords is banned, is shown, is heard again when the ban ends or the operator says so;
# an address with a phone that is registered is not banned.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

# bans_attempts SCENARIO USER PASSWORD CALLS SECONDS: from the caller's address, ten a second.
bans_attempts() {
    local options
    read -ra options < <(box_sipp_options "uac_$1" "$LAB_CALLER_ADDRESS" "$4" "$5")
    (cd "$BOX_DIR" && lab_exec caller sipp "$LAB_ACCESS_ADDRESS:5060" -s "$BOX_SERVICE" -r 20 "${options[@]}" \
        -key user "$2" -au "$2" -ap "$3" >caller.log 2>&1 </dev/null)
}

# bans_listed: who is banned, on one line.
bans_listed() {
    box_ctl --json bans | jq -r '[.bans[] | .source] | join(" ")'
}

# bans_unheard: no attempt is answered.
bans_unheard() {
    ! bans_attempts auth_wrong alice wrong 1 1
}

e2e_begin_registrar 's|^from = "caller"|from = "example.com"|'
cat >>"$BOX_CONFIG" <<'TOML'

[abuse]
failures = 5
ban_s = 8
TOML
e2e_that "the box starts" box_start
printf 'wonderland\n' | e2e_that "a subscriber" box_ctl subscriber add alice@example.com --password-stdin
e2e_equal "nobody is banned" "$(box_ctl bans)" "Nobody is banned."

e2e_that "four wrong passwords" bans_attempts auth_wrong alice wrong 4 20
e2e_equal "and nobody is banned" "$(bans_listed)" ""
# The answer to the last one is on its way when the ban begins.
e2e_that "a fifth, of nobody" bans_attempts auth_wrong nobody wrong 1 20
e2e_equal "the address is banned" "$(bans_listed)" "$LAB_CALLER_ADDRESS"
e2e_that "it is not heard" bans_unheard
box_ctl bans | grep -Eq "^ *$LAB_CALLER_ADDRESS +[0-9] s +[0-9] s +5 +[1-9]" || e2e_fail "the table: $(box_ctl bans)"
e2e_until "who is banned when the ban has ended" "" bans_listed
e2e_that "it is heard again" bans_attempts auth_wrong alice wrong 1 20

e2e_that "wrong passwords again" bans_attempts auth_wrong alice wrong 4 20
e2e_equal "it is banned again" "$(bans_listed)" "$LAB_CALLER_ADDRESS"
e2e_equal "and lifted" "$(box_ctl bans remove "$LAB_CALLER_ADDRESS")" "$LAB_CALLER_ADDRESS is heard again"
e2e_equal "once" "$(box_ctl bans remove "$LAB_CALLER_ADDRESS" 2>&1)" \
    "trunkctl: $LAB_CALLER_ADDRESS is not banned"

e2e_that "a phone registers" bans_attempts register_auth alice wonderland 1 20
e2e_that "another has a wrong password" bans_attempts auth_wrong mallory wrong 12 20
e2e_equal "nobody is banned" "$(bans_listed)" ""
e2e_that "the box is at rest" box_at_rest 10
e2e_equal "though there was reason to" "$(box_count bans_spared)" 2
e2e_equal "bans in all" "$(box_count bans_added)" 2
e2e_that "the box stops" box_stop
e2e_nothing_left
