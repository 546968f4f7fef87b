# shellcheck shell=bash
# The NIC lab's guest as an initramfs: busybox, the drivers, the programs under test
# and what else they need, all of it copied from this host. Source it after fetch.sh.

# Drivers under test; what they depend on is found in the modules themselves.
NIC_DRIVERS=(igb virtio_net)

# nic_module_depends FILE: the names of the modules that it needs.
nic_module_depends() {
    grep -a -o 'depends=[a-zA-Z0-9_,-]*' "$1" | head -n 1 | sed 's/depends=//' | tr ',' '\n'
}

# nic_add_module NAME: after all that it needs; modules that the kernel has built in
# have no file.
nic_add_module() {
    local name=$1 found needed
    if [ -e "$NIC_IMAGE/modules/$name.ko" ]; then return 0; fi
    # The kernel takes - and _ for the same in names, the files do not.
    found=$(find "$NIC_MODULES" -name "${name//[-_]/[-_]}.ko*" -print -quit)
    case $found in
        '') return 0 ;;
        *.ko) cp "$found" "$NIC_IMAGE/modules/$name.ko" ;;
        *.ko.xz) "$NIC_BUSYBOX" xz -dc "$found" >"$NIC_IMAGE/modules/$name.ko" ;;
        *.ko.gz) "$NIC_BUSYBOX" gzip -dc "$found" >"$NIC_IMAGE/modules/$name.ko" ;;
        *)
            lib_say "do not know how $found is packed"
            return 1
            ;;
    esac || return
    for needed in $(nic_module_depends "$NIC_IMAGE/modules/$name.ko"); do
        nic_add_module "$needed" || return
    done
    echo "$name.ko" >>"$NIC_IMAGE/modules/order"
}

# nic_add_program FILE: into /programs, with the libraries that it is linked with.
nic_add_program() {
    local library
    cp -L "$1" "$NIC_IMAGE/programs/" || return
    ldd "$1" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$NIC_IMAGE${library%/*}" && cp -Lu "$library" "$NIC_IMAGE$library" || return
    done
}

# nic_image FILE: writes the initramfs. NIC_IMAGE is where it is put together.
nic_image() {
    local file=$1 name
    mkdir -p "$NIC_IMAGE"/{bin,programs,dev,proc,sys,run,tmp,modules,etc} || return
    cp "$NIC_BUSYBOX" "$NIC_IMAGE/bin/busybox" && cp "$LIB_ROOT/scripts/nic/init" "$NIC_IMAGE/init" || return
    chmod +x "$NIC_IMAGE/init" "$NIC_IMAGE/bin/busybox"
    echo root:x:0:0:root:/:/bin/sh >"$NIC_IMAGE/etc/passwd"
    echo root:x:0: >"$NIC_IMAGE/etc/group"
    for name in "${NIC_DRIVERS[@]}"; do
        nic_add_module "$name" || return
    done
    for name in trunklined trunkctl hugepage-setup; do
        nic_add_program "$(box_bin "$name")" || return
    done
    for name in ip ethtool; do
        nic_add_program "$(command -v "$name")" || return
    done
    (cd "$NIC_IMAGE" && find . | "$NIC_BUSYBOX" cpio -o -H newc 2>/dev/null | gzip -1) >"$file"
}
