# shellcheck shell=bash
# shellcheck disable=SC2153 # fetch.sh and the lab set them.
# The NIC lab's guest: QEMU, and a line to the shell inside it. Source it after lab
# and box.sh. QEMU runs in the box's network namespace; its taps are the cables, and
# their ends lie in the caller's and the callee's namespace, where SIPp is.

NIC_QEMU_PID=""
# A guest that emulation makes this slow is stuck.
NIC_BOOT_SECONDS=240
NIC_ANSWER_SECONDS=60

# nic_device KIND NAME MAC ADDRESS: QEMU's arguments for one NIC with two queues.
nic_device() {
    local kind=$1 name=$2 mac=$3 number=$4
    case $kind in
        igb)
            # The 82576 is a PCI Express device; behind a root port the guest finds
            # its MSI-X, without which it has one queue. QEMU spreads over its queues.
            echo "-netdev tap,id=$name,ifname=$name-tap,script=no,downscript=no" \
                "-device pcie-root-port,id=port-$name,chassis=$number" \
                "-device igb,bus=port-$name,netdev=$name,romfile=,mac=$mac"
            ;;
        virtio)
            # Without the platform's DMA interface the driver refuses zero-copy.
            echo "-netdev tap,id=$name,ifname=$name-tap,script=no,downscript=no,queues=2" \
                "-device virtio-net-pci,netdev=$name,romfile=,mac=$mac,mq=on,vectors=6,iommu_platform=on,disable-legacy=on"
            ;;
    esac
}

# no_timer_check: on a busy host an emulated timer can be too late for the kernel's
# test of it, and the boot ends there.
#
# nic_boot ACCESS CORE: starts the guest with these kinds of NIC, and waits for its shell.
nic_boot() {
    local devices left
    read -ra devices < <(echo "$(nic_device "$1" access 52:54:00:77:01:01 1)" \
        "$(nic_device "$2" core 52:54:00:77:02:01 2)")
    rm -f "$BOX_DIR"/{lab,monitor}.{in,out}
    mkfifo "$BOX_DIR"/{lab,monitor}.{in,out} || return
    # Open for both, so that neither side waits for the other nor sees it go.
    exec {NIC_TO}<>"$BOX_DIR/lab.in" {NIC_FROM}<>"$BOX_DIR/lab.out" \
        {NIC_MONITOR}<>"$BOX_DIR/monitor.in" {NIC_MONITOR_OUT}<>"$BOX_DIR/monitor.out"
    (
        export LD_LIBRARY_PATH=$NIC_QEMU_LIBS
        exec ip netns exec "$LAB_NAME-box" "$NIC_QEMU" -L "$NIC_QEMU_DATA/qemu" -L "$NIC_QEMU_DATA/seabios" \
            -machine q35 -device intel-iommu,intremap=off -accel tcg,thread=multi -cpu max -smp 2 -m 1024 -nodefaults -no-user-config \
            -display none -no-reboot -kernel "$NIC_KERNEL" -initrd "$NIC_INITRD" \
            -append "console=ttyS0 loglevel=5 panic=-1 mitigations=off intel_iommu=on no_timer_check" \
            -serial "file:$BOX_DIR/console.log" \
            -chardev "pipe,id=monitor,path=$BOX_DIR/monitor" -mon chardev=monitor,mode=readline \
            -chardev "pipe,id=lab,path=$BOX_DIR/lab" -device virtio-serial-pci \
            -device virtserialport,chardev=lab,name=lab "${devices[@]}"
    ) >"$BOX_DIR/qemu.log" 2>&1 </dev/null &
    NIC_QEMU_PID=$!
    BOX_PIDS+=("$NIC_QEMU_PID")
    left=50
    until nic_plug access-tap caller caller0 "$LAB_CALLER_ADDRESS" "$LAB_ACCESS_ADDRESS" &&
        nic_plug core-tap callee callee0 "$LAB_CALLEE_ADDRESS" "$LAB_CORE_ADDRESS"; do
        if [ $((left--)) -eq 0 ] || ! kill -0 "$NIC_QEMU_PID" 2>/dev/null; then
            lib_say "QEMU did not start; it says:"
            cat "$BOX_DIR/qemu.log" >&2
            return 1
        fi
        sleep 0.1
    done
    nic_wait_ready
}

# nic_plug TAP ROLE LINK ADDRESS GATEWAY: takes the cable's end to the peer.
nic_plug() {
    local tap=$1 role=$2 link=$3 address=$4 gateway=$5
    if ip -n "$LAB_NAME-$role" link show "$link" >/dev/null 2>&1; then return 0; fi
    ip -n "$LAB_NAME-box" link set "$tap" netns "$LAB_NAME-$role" name "$link" 2>/dev/null || return
    ip -n "$LAB_NAME-$role" address add "$address/24" dev "$link" &&
        ip -n "$LAB_NAME-$role" link set "$link" up &&
        ip -n "$LAB_NAME-$role" route add default via "$gateway"
}

nic_wait_ready() {
    local line deadline=$((SECONDS + NIC_BOOT_SECONDS))
    while [ $SECONDS -lt $deadline ]; do
        if read -r -t 1 line <&"$NIC_FROM" && [ "$line" = "##ready" ]; then return 0; fi
        kill -0 "$NIC_QEMU_PID" 2>/dev/null || break
        if grep -q 'Kernel panic' "$BOX_DIR/console.log" 2>/dev/null; then break; fi
    done
    lib_say "the guest did not come up; see its console"
    return 1
}

# guest COMMAND: runs a line of shell in the guest; its output and its exit code.
guest() {
    local line pending="" first=1
    printf '%s\n' "$*" >&"$NIC_TO"
    while read -r -t "$NIC_ANSWER_SECONDS" line <&"$NIC_FROM"; do
        if [[ $line =~ ^##([0-9]+)$ ]]; then
            # Its own line end before the mark is the guest's, not the command's.
            if [ -n "$pending" ]; then printf '%s\n' "$pending"; fi
            return "${BASH_REMATCH[1]}"
        fi
        if [ -z "$first" ]; then printf '%s\n' "$pending"; fi
        first="" pending=$line
    done
    lib_say "the guest does not answer: $*"
    return 1
}

# nic_cable NAME on|off: plugs the cable of a NIC in, or pulls it.
nic_cable() {
    local line
    echo "set_link $1 $2" >&"$NIC_MONITOR"
    # What the monitor says is not needed, but must not fill its pipe.
    while read -r -t 0.1 line <&"$NIC_MONITOR_OUT"; do :; done
}

# Ends the guest as a pulled plug does; what it wrote to its console is kept.
nic_power_off() {
    if [ -n "$NIC_QEMU_PID" ]; then
        box_end "$NIC_QEMU_PID"
        NIC_QEMU_PID=""
        exec {NIC_TO}>&- {NIC_FROM}>&- {NIC_MONITOR}>&- {NIC_MONITOR_OUT}>&-
    fi
}

# What box.sh does in a namespace is done in the guest here, under the same names.

# box_ctl ARGUMENT...: asks the guest's daemon.
box_ctl() {
    guest "trunkctl --socket /run/box/control.sock $*"
}

box_send_config() {
    guest "echo $(base64 -w 0 "$BOX_CONFIG") | base64 -d >/run/box/trunkline.toml"
}

# Starts trunklined, and waits until it answers.
box_start() {
    local left=30
    box_send_config
    guest start
    while [ $((left--)) -gt 0 ]; do
        if box_ctl status >/dev/null 2>&1; then return 0; fi
        if guest "test -e /run/box/ended"; then break; fi
        sleep 0.3
    done
    lib_say "trunklined did not start; it says:"
    guest "cat /run/box/log" >&2
    return 1
}

# box_stop: stops trunklined by SIGTERM; its exit code says whether its sums held.
box_stop() {
    local left=60
    guest "stop TERM" || return
    while [ $((left--)) -gt 0 ]; do
        if guest "test -e /run/box/ended"; then
            return "$(guest 'cat /run/box/ended')"
        fi
        sleep 0.3
    done
    lib_say "trunklined does not end"
    return 1
}
