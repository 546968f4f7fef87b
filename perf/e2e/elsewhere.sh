#!/bin/bash
# Subscribers in Redis, on a host that the confined box knows by its name: it hears of changes, also once Redis was
# gone and has come back.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

command -v redis-server >/dev/null || e2e_fail "there is no Redis; scripts/test installs it"

start_redis() {
    box_run box redis.log redis-server --bind 127.0.0.1 --port 6379 --save ''
    redis=$BOX_LAST
}

# tell WHOM: tells the channel's listeners, of whom there must be one.
tell() {
    local left=100
    until [ "$(lab_exec box redis-cli PUBLISH trunkline:forget "$1" 2>/dev/null)" = 1 ]; do
        [ $((left--)) -gt 0 ] || e2e_fail "nobody listens to Redis"
        sleep 0.1
    done
}

# until_count NAME COUNT: of control's own counts of its store.
until_count() {
    local left=100 is
    until is=$(box_ctl --json stats | jq ".operator.store.$1") && [ "$is" = "$2" ]; do
        [ $((left--)) -gt 0 ] || e2e_fail "$1 is $is, should be $2"
        sleep 0.1
    done
}

e2e_begin ''
cat >>"$BOX_CONFIG" <<'END'
[[domain]]
name = "example.org"
listen = "access"
media = "access"

[subscribers]
store = "redis"

[subscribers.redis]
servers = ["redis://localhost:6379"]
END
start_redis
e2e_that "the box starts" box_start
until_count doubted 1
tell bob@elsewhere.example
tell bob@Example.org
until_count forgotten 1
box_end "$redis" KILL
start_redis
until_count doubted 2
tell '*'
until_count doubted 3
tell bob@example.org
until_count forgotten 2
e2e_serves 2
e2e_that "and stops" box_stop
e2e_nothing_left
