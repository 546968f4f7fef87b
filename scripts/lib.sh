# shellcheck shell=bash
# What the scripts share: packages, the Rust toolchain, and how to say things.
# Source it. LIB_ROOT is the repository.

LIB_ROOT=${LIB_ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}
LIB_RUST_MIN=1.95

lib_say() {
    echo "$(basename "$0"): $*" >&2
}

lib_need_root() {
    if [ "$(id -u)" -ne 0 ]; then
        lib_say "needs root: namespaces, XDP and AF_XDP do. Run: sudo $0"
        return 1
    fi
}

lib_is_installed() {
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q '^install ok installed$'
}

# lib_need_packages NAME...: installs what is missing, silent unless it fails.
lib_need_packages() {
    local name missing=() log
    if ! command -v dpkg-query apt-get >/dev/null; then
        lib_say "no apt here; install by hand what these Debian packages hold: $*"
        return 1
    fi
    for name in "$@"; do
        lib_is_installed "$name" || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    lib_say "installing ${missing[*]}"
    log=$(mktemp)
    if ! { apt-get -q -o DPkg::Lock::Timeout=120 update &&
        DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends \
            -o DPkg::Lock::Timeout=120 install "${missing[@]}"; } \
        >"$log" 2>&1 </dev/null; then
        cat "$log" >&2
        rm -f "$log"
        lib_say "could not install ${missing[*]}; the messages above say why"
        return 1
    fi
    rm -f "$log"
}

# A compiler for the XDP program, and what libbpf is built from.
lib_need_build_packages() {
    lib_need_packages gcc libc6-dev make pkg-config clang libelf-dev zlib1g-dev ca-certificates
}

# The lab, its peers, and what looks at them.
lib_need_lab_packages() {
    lib_need_packages iproute2 ethtool nftables iputils-ping iputils-arping \
        procps sip-tester tcpdump tshark curl jq netcat-openbsd tmux
}

# lib_need_servers NAME...: as lib_need_packages, for packages whose servers Debian starts when it installs
# them; they must not run here.
lib_need_servers() (
    policy=/usr/sbin/policy-rc.d
    mark="# of Trunkline's scripts/test"
    is_missing=0
    for name in "$@"; do
        lib_is_installed "$name" || is_missing=1
    done
    [ $is_missing -eq 1 ] || exit 0
    # One that was left by a run that was killed is ours; another is the host's.
    if [ ! -e "$policy" ] || grep -qF "$mark" "$policy"; then
        trap 'rm -f "$policy"' EXIT
        trap 'exit 130' INT
        trap 'exit 143' TERM
        trap 'exit 129' HUP
        printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy" && chmod +x "$policy"
    fi
    lib_need_packages "$@"
)

# What the subscriber stores are tried against.
lib_need_stores() {
    lib_need_packages util-linux python3 && lib_need_servers postgresql redis-server
}

# The home of who called sudo, else our own.
lib_home_of_caller() {
    getent passwd "${SUDO_USER:-$(id -un)}" | cut -d: -f6
}

# Puts cargo on the PATH. sudo resets PATH and HOME, and rustup's cargo looks
# for its toolchain under HOME, so both are set again for the caller's own.
lib_find_cargo() {
    local home
    for home in "${CARGO_HOME:+${CARGO_HOME%/.cargo}}" "$(lib_home_of_caller)" /root; do
        if [ -n "$home" ] && [ -x "$home/.cargo/bin/cargo" ]; then
            export PATH="$home/.cargo/bin:$PATH"
            export CARGO_HOME="${CARGO_HOME:-$home/.cargo}"
            if [ -d "$home/.rustup" ]; then
                export RUSTUP_HOME="${RUSTUP_HOME:-$home/.rustup}"
            fi
            break
        fi
    done
    command -v cargo >/dev/null
}

# Ends with the one command that brings a toolchain when there is none, or
# when it is older than the workspace's rust-version (Debian 12's own is).
lib_need_cargo() {
    local found="" min="$LIB_RUST_MIN"
    if lib_find_cargo; then
        found=$(cd "$LIB_ROOT" && cargo --version 2>/dev/null | cut -d' ' -f2)
    fi
    if [ -n "$found" ] &&
        [ "$(printf '%s\n' "$min" "$found" | sort -V | head -n1)" = "$min" ]; then
        return 0
    fi
    # What the command needs that a minimal system lacks.
    if [ "$(id -u)" -eq 0 ]; then lib_need_packages curl ca-certificates || true; fi
    lib_say "${found:+Rust $found is too old; }Rust $min or newer is needed. Bring it with:"
    echo "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y" >&2
    return 1
}

# lib_cargo ARGUMENT...: cargo in the repository, as the one who called sudo
# where the repository is theirs, so that no file in it ends up as root's.
lib_cargo() {
    if [ "$(id -u)" -eq 0 ] && [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ] &&
        [ "$(stat -c %U "$LIB_ROOT")" = "$SUDO_USER" ]; then
        (cd "$LIB_ROOT" && runuser -u "$SUDO_USER" -- \
            env HOME="$(lib_home_of_caller)" PATH="$PATH" cargo "$@")
    else
        (cd "$LIB_ROOT" && cargo "$@")
    fi
}

# lib_cargo_release SUBCOMMAND ARGUMENT...: the programs in release, without the paths of the machine
# that builds them. All scripts build this way, since other flags build everything anew.
lib_cargo_release() {
    local subcommand=$1 home flags
    shift
    home=${CARGO_HOME:-$(lib_home_of_caller)/.cargo}
    flags=--remap-path-prefix=$home=cargo$'\x1f'--remap-path-prefix=$LIB_ROOT=trunkline
    # Divided by a byte that no path has. Flags of the caller's own stay as they are.
    if [ -z "${RUSTFLAGS:-}" ]; then local -x CARGO_ENCODED_RUSTFLAGS=$flags; fi
    lib_cargo "$subcommand" --release --locked "$@"
}

# lib_build_programs: the programs that run on a box; lib_build_perf: what loads and measures them.
# Cargo gives a crate the features that all packages ask for which are built together. So all are, and
# only the programs named are made: else each script would build the same crates in its own way, for
# minutes.
lib_build_programs() {
    lib_cargo_release build --workspace --bin trunklined --bin trunkctl --bin hugepage-setup
}

lib_build_perf() {
    lib_cargo_release build --workspace --bin trunkline-perf
}

# lib_sipp_stat FILE COLUMN: the last value of a column of SIPp's -trace_stat
# file, as lib_sipp_stat caller.csv 'FailedCall(C)'.
lib_sipp_stat() {
    awk -F';' -v name="$2" '
        NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) column = i }
        END { if (column) print $column; else exit 1 }' "$1"
}
