#!/bin/bash
# Subscribers in Redis, on a host that the confined box knows by its name: it hears of changes, also once Redis was
# gone and has come back.
# shellcheck source=perf/e2e/common.sh
. "$(dirname "$0")/common.sh"

# tell WHOM: tells the channel's listeners, of whom there must be one.
tell() {
    e2e_until "listeners to Redis" 1 lab_exec box redis-cli PUBLISH trunkline:forget "$1"
}

# until_count NAME COUNT: of control's own counts of its store.
until_count() {
    e2e_until "$1" "$2" stat_of "$1"
}

stat_of() {
    box_ctl --json stats | jq ".operator.store.$1"
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
e2e_redis box
e2e_that "the box starts" box_start
until_count doubted 1
tell bob@elsewhere.example
tell bob@Example.org
until_count forgotten 1
box_end "$E2E_REDIS" KILL
e2e_redis box
until_count doubted 2
tell '*'
until_count doubted 3
tell bob@example.org
until_count forgotten 2
e2e_serves 2
e2e_that "and stops" box_stop
e2e_nothing_left
