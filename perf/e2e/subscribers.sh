#!/bin/bash
# The operator's subscribers: added with a password and with HA1s, listed, imported
# from files good and bad, removed, and still there after a restart, with the daemon
# held to what it needs.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

# subscribers_refused WHAT CODE PATTERN COMMAND...: the command ends so and says so.
subscribers_refused() {
    local what=$1 code=$2 pattern=$3 is=0
    shift 3
    "$@" >"$BOX_DIR/out" 2>&1 </dev/null || is=$?
    e2e_equal "$what: exit code" $is "$code"
    grep -Eq "$pattern" "$BOX_DIR/out" || e2e_fail "$what: no word of /$pattern/: $(cat "$BOX_DIR/out")"
}

# subscribers_names: who is there, on one line.
subscribers_names() {
    box_ctl --json subscriber list | jq -r '[.subscribers[] | .user + "@" + .domain] | join(" ")'
}

# subscribers_ha1 USER ALGORITHM: what the file has.
subscribers_ha1() {
    sqlite3 "$BOX_DIR/state/subscribers.db" "SELECT lower(hex($2)) FROM subscribers WHERE user = '$1'"
}

# Without a domain there is nobody, and nothing is made.
e2e_begin ''
e2e_that "a box without a domain starts" box_start
subscribers_refused "no domain" 1 'no \[\[domain\]\] is configured' box_ctl subscriber list
e2e_that "and stops" box_stop
[ ! -e "$BOX_DIR/state/subscribers.db" ] || e2e_fail "a file for nobody"

# shellcheck disable=SC2016 # A sed script.
box_configure '$a [[domain]]\nname = "example.org"\nlisten = "access"\nmedia = "access"\nalgorithms = ["SHA-256", "MD5"]'
e2e_that "a box with one starts" box_start
e2e_equal "nobody is there" "$(box_ctl subscriber list)" "There is no subscriber."
e2e_equal "the file's mode" "$(stat -c %a "$BOX_DIR/state/subscribers.db")" 600

# By password: printf '%s' makes what the RFC hashes.
e2e_equal "bob is added" "$(echo "s3cret, or not" | box_ctl subscriber add bob@Example.ORG --password-stdin)" \
    "bob@example.org is added"
md5=$(printf '%s' "bob:example.org:s3cret, or not" | md5sum | cut -d' ' -f1)
sha256=$(printf '%s' "bob:example.org:s3cret, or not" | sha256sum | cut -d' ' -f1)
if command -v sqlite3 >/dev/null; then
    e2e_equal "bob's MD5" "$(subscribers_ha1 bob md5)" "$md5"
    e2e_equal "bob's SHA-256" "$(subscribers_ha1 bob sha256)" "$sha256"
    e2e_equal "no password in the file" "$(grep -c s3cret "$BOX_DIR"/state/subscribers.db* | grep -vc ':0$')" 0
fi
subscribers_refused "al without SHA-256" 1 'al@example.org has no HA1 for SHA-256' \
    box_ctl subscriber add al@example.org --ha1 "MD5=$md5"
e2e_equal "al with both" "$(printf 'MD5=%s\nSHA-256=%s\n' "$md5" "$sha256" | box_ctl subscriber add al@example.org --ha1 -)" \
    "al@example.org is added"
e2e_equal "bob's new password" "$(echo other | box_ctl subscriber add bob@example.org --password-stdin)" \
    "bob@example.org was there, and is changed"
subscribers_refused "another domain" 1 'no \[\[domain\]\] is called "example.com"; there are: example.org' \
    box_ctl subscriber add bob@example.com --ha1 "MD5=$md5"
subscribers_refused "no name" 2 'USER@DOMAIN' box_ctl subscriber add bob --password-stdin
subscribers_refused "no terminal" 2 'password-stdin' box_ctl subscriber add cy@example.org
e2e_equal "who is there" "$(subscribers_names)" "al@example.org bob@example.org"

# A file with a wrong line, and all but that line.
printf 'user,domain,password\ncy,example.org,"a, b"\ndi,example.com,x\ned,example.org,y\n' >"$BOX_DIR/bad.csv"
subscribers_refused "a bad file" 1 'bad.csv:3: no \[\[domain\]\] is called' box_ctl subscriber import "$BOX_DIR/bad.csv"
e2e_equal "nothing of it is there" "$(subscribers_names)" "al@example.org bob@example.org"
e2e_equal "the rest of it" "$(box_ctl --json subscriber import "$BOX_DIR/bad.csv" --skip-bad | jq -c '[.added, .changed, .bad[].line]')" '[2,0,3]'
subscribers_refused "no file" 1 'cannot read' box_ctl subscriber import "$BOX_DIR/none.csv"

# A large one.
{
    echo user,domain,password
    for ((n = 0; n < 20000; n++)); do echo "user$n,example.org,secret$n"; done
} >"$BOX_DIR/large.csv"
began=$(date +%s%N)
e2e_equal "20,000 are imported" "$(box_ctl subscriber import "$BOX_DIR/large.csv")" "20,000 added, 0 changed"
echo "20,000 subscribers were imported in $((($(date +%s%N) - began) / 1000000)) ms"
e2e_equal "and again" "$(box_ctl subscriber import "$BOX_DIR/large.csv")" "0 added, 20,000 changed"
e2e_equal "all of them are listed" "$(box_ctl subscriber list --domain example.org | tail -n 1)" "20,004 subscribers"
e2e_serves 5

# What goes.
e2e_equal "al is removed" "$(box_ctl subscriber remove al@example.org)" "al@example.org is removed"
subscribers_refused "and not there" 1 'there is no subscriber al@example.org' box_ctl subscriber remove al@example.org
e2e_that "bob is forgotten" box_ctl auth forget bob@example.org
e2e_that "all are doubted" box_ctl auth forget --all
subscribers_refused "nobody is to be forgotten" 2 'required' box_ctl auth forget
subscribers_refused "nobody of another domain" 1 'no \[\[domain\]\] is called' box_ctl auth forget bob@example.com
[ "$(box_ctl --json stats | jq .operator.store.forgotten)" -ge 40000 ] || e2e_fail "the workers were not told"

# What stays, over a restart and over a crash.
e2e_that "the box stops" box_stop
e2e_that "and starts" box_start
e2e_equal "they are there" "$(box_ctl --json subscriber list | jq '.subscribers | length')" 20003
e2e_that "one more" box_ctl subscriber add zoe@example.org --ha1 "MD5=$md5" --ha1 "SHA-256=$sha256"
box_end "$BOX_DAEMON" KILL
BOX_DAEMON=""
e2e_that "it starts after SIGKILL" box_start
e2e_equal "with the last one" "$(subscribers_names | tr ' ' '\n' | tail -n 1)" zoe@example.org
e2e_that "and stops" box_stop

# A file that others can read.
chmod 0644 "$BOX_DIR/state/subscribers.db"
e2e_refused "an open file" 'has mode 0644: others may read'
e2e_nothing_left
