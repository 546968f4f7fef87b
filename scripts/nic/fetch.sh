# shellcheck shell=bash
# What the NIC lab boots: QEMU with an emulated igb (8.0 or newer), a kernel with
# zero-copy in igb and virtio_net (6.14 or newer), busybox. All of it comes from
# Debian's backports, by the mirror that this host's own apt uses, and is unpacked
# into NIC_CACHE: nothing is installed, and the host's apt is not changed.
#
# Source it after lib.sh. nic_fetch sets NIC_QEMU, NIC_QEMU_LIBS, NIC_QEMU_DATA,
# NIC_BUSYBOX, NIC_KERNEL and NIC_MODULES.

NIC_CACHE=${CARGO_TARGET_DIR:-$LIB_ROOT/target}/nic-lab

# The suite whose kernel is taken. QEMU comes from the backports of the host's
# own release, since it is linked with the host's libraries.
NIC_KERNEL_SUITE=stable-backports

# nic_mirror CODENAME: the address from which this host's apt takes that release.
nic_mirror() {
    # $(..) is apt's own notation.
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
        awk -v release="$1" '$2 == release { print $1; exit }'
}

# nic_apt_sources NAME STATUS SUITE...: a private apt named NAME, with these suites
# of the mirror and STATUS as the list of what is installed. nic_apt uses it.
nic_apt_sources() {
    local status=$2 dir=$NIC_CACHE/apt/$1 suite
    shift 2
    mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial" || return
    for suite in "$@"; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $NIC_MIRROR $suite main"
    done >"$dir/sources.list"
    if [ "$status" = none ]; then
        : >"$dir/status"
        status=$dir/status
    fi
    NIC_APT=(-q -o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null -o "Dir::State::status=$status" -o "Dir::State::lists=$dir/lists"
        -o "Dir::Cache=$dir/cache" -o APT::Sandbox::User=root -o Acquire::Languages=none)
    nic_quietly "fetch Debian's lists of $*" apt-get "${NIC_APT[@]}" update
}

# nic_quietly WHAT COMMAND...: silent unless it fails.
nic_quietly() {
    local what=$1 log=$NIC_CACHE/fetch.log
    shift
    if ! "$@" >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        lib_say "could not $what; the messages above say why"
        return 1
    fi
}

# nic_unpack INTO DEB...
nic_unpack() {
    local into=$1 deb
    shift
    rm -rf "$into.new"
    mkdir -p "$into.new" || return
    for deb in "$@"; do
        nic_quietly "unpack $deb" dpkg-deb -x "$deb" "$into.new" || return
    done
    # Whole or not at all: a run that was interrupted begins anew.
    rm -rf "$into" && mv "$into.new" "$into"
}

# QEMU, busybox, and the libraries of theirs that this host lacks.
nic_fetch_programs() {
    local release=$1 dir=$NIC_CACHE/apt/programs
    nic_apt_sources programs /var/lib/dpkg/status "$release" "$release-backports" || return
    # The simulator of an installation finds what is missing; nothing is installed.
    nic_quietly "fetch QEMU" apt-get "${NIC_APT[@]}" -y --no-install-recommends --download-only --reinstall \
        install "qemu-system-x86/$release-backports" "qemu-system-common/$release-backports" \
        "qemu-system-data/$release-backports" "seabios/$release-backports" busybox-static || return
    nic_unpack "$NIC_CACHE/programs" "$dir"/cache/archives/*.deb || return
    rm -rf "$dir"
}

nic_fetch_kernel() {
    local dir=$NIC_CACHE/apt/kernel image packages
    nic_apt_sources kernel none "$NIC_KERNEL_SUITE" || return
    image=$(apt-cache "${NIC_APT[@]}" depends linux-image-amd64 | awk '$2 ~ /^linux-image-[0-9]/ { print $2; exit }')
    if [ -z "$image" ]; then
        lib_say "no kernel in $NIC_KERNEL_SUITE of $NIC_MIRROR"
        return 1
    fi
    # The image, its modules: one package or several, all of one version in the name.
    packages=$(apt-cache "${NIC_APT[@]}" depends "$image" |
        awk -v end="-${image#linux-image-}" '
            /Depends:/ && substr($2, length($2) - length(end) + 1) == end { print $2 }')
    # shellcheck disable=SC2086 # A list of names.
    (cd "$dir/cache" && nic_quietly "fetch $image" apt-get "${NIC_APT[@]}" download "$image" $packages) || return
    nic_unpack "$NIC_CACHE/kernel" "$dir"/cache/*.deb || return
    rm -rf "$dir"
}

# Fetches what is not there yet. --fresh in $1 fetches all anew.
nic_fetch() {
    local release
    if [ "${1:-}" = --fresh ]; then rm -rf "$NIC_CACHE"; fi
    mkdir -p "$NIC_CACHE" || return
    if [ ! -d "$NIC_CACHE/programs" ] || [ ! -d "$NIC_CACHE/kernel" ]; then
        # shellcheck source=/dev/null
        release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
        NIC_MIRROR=$(nic_mirror "$release")
        if [ -z "$NIC_MIRROR" ]; then
            lib_say "this host's apt has no source of Debian's ${release:-(unknown release)}:" \
                "add one to /etc/apt, from which the lab takes the mirror's address"
            return 1
        fi
        echo "fetching QEMU and a kernel into $NIC_CACHE (140 MB, once)"
    fi
    [ -d "$NIC_CACHE/programs" ] || nic_fetch_programs "$release" || return
    [ -d "$NIC_CACHE/kernel" ] || nic_fetch_kernel || return
    NIC_QEMU=$NIC_CACHE/programs/usr/bin/qemu-system-x86_64
    # shellcheck disable=SC2034 # guest.sh reads them.
    {
        NIC_QEMU_LIBS=$NIC_CACHE/programs/usr/lib/x86_64-linux-gnu
        NIC_QEMU_DATA=$NIC_CACHE/programs/usr/share
    }
    NIC_BUSYBOX=$(find "$NIC_CACHE/programs" -path '*/bin/busybox' -print -quit)
    NIC_KERNEL=$(find "$NIC_CACHE/kernel" -name 'vmlinuz*' -type f -print -quit)
    NIC_MODULES=$(find "$NIC_CACHE/kernel" -path '*/modules/*' -name kernel -type d -print -quit)
    local what
    for what in "$NIC_QEMU" "$NIC_BUSYBOX" "$NIC_KERNEL" "$NIC_MODULES"; do
        if [ ! -e "$what" ]; then
            lib_say "the packages in $NIC_CACHE lack something: run again with --fresh"
            return 1
        fi
    done
}
