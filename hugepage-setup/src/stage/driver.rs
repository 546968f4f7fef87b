//! What an interface's driver can do for XDP, its MTU, and a program that is
//! attached already.

use crate::links::Link;
use crate::row::Row;
use crate::row::State;

/// The largest MTU with XDP in one buffer of a page; beyond it drivers refuse
/// the attach.
pub const MTU_MAX: u32 = 3498;

/// The largest MTU whose frames always fit a chunk of 2,048 bytes beside its
/// headroom. A longer frame is dropped by the kernel and counted.
pub const MTU_FITS: u32 = 1500;

/// NETDEV_XDP_ACT_* (linux/netdev.h).
const XDP_BASIC: u64 = 1;
const XDP_ZERO_COPY: u64 = 8;

/// How far a driver takes AF_XDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The NIC writes into our memory.
    ZeroCopy,
    /// The program runs in the driver, the kernel copies.
    Copy,
    /// No XDP in the driver: the program runs late, on socket buffers.
    Generic,
    /// A driver that we do not know on a kernel that does not tell.
    Unknown,
}

/// Drivers in the state of Linux 6.x; a kernel that tells by netlink is believed
/// first.
const ZERO_COPY: [&str; 12] = [
    "ice",
    "mlx5_core",
    "igc",
    "igb",
    "gve",
    "idpf",
    "virtio_net",
    "i40e",
    "ixgbe",
    "nfp",
    "stmmac",
    "dwmac-intel",
];
const COPY: [&str; 7] = [
    "ena",
    "bnxt_en",
    "veth",
    "tun",
    "vmxnet3",
    "hv_netvsc",
    "mana",
];
/// Interfaces in front of others: the program belongs on the ones behind them.
const STACKED: [&str; 6] = ["bond", "bridge", "vlan", "macvlan", "ipvlan", "vrf"];

/// The mode that an interface will get.
pub fn mode(link: &Link) -> Mode {
    match (link.xdp_features, link.driver_name()) {
        (Some(bits), _) if bits & XDP_BASIC == 0 => Mode::Generic,
        (Some(bits), _) if bits & XDP_ZERO_COPY != 0 => Mode::ZeroCopy,
        (Some(_), _) => Mode::Copy,
        (None, Some(name)) if ZERO_COPY.contains(&name) => Mode::ZeroCopy,
        (None, Some(name)) if COPY.contains(&name) => Mode::Copy,
        (None, Some(name)) if STACKED.contains(&name) => Mode::Generic,
        (None, _) => Mode::Unknown,
    }
}

/// Six rows: driver, native XDP, zero-copy, busy polling, MTU, attached program.
pub fn judge(link: &Link) -> Vec<Row> {
    vec![
        judge_driver(link),
        judge_native(link),
        judge_zero_copy(link),
        judge_busy_poll(link),
        judge_mtu(link),
        judge_attached(link),
    ]
}

fn judge_driver(link: &Link) -> Row {
    let about = link.about.clone().unwrap_or_default();
    let firmware = match about.firmware.as_str() {
        "" => String::new(),
        firmware => format!("firmware {firmware}"),
    };
    let bus = match (about.bus.as_str(), link.numa_node) {
        ("", _) => String::new(),
        (bus, Some(node)) => format!("{bus} at node {node}"),
        (bus, None) => bus.to_owned(),
    };
    let name = link.driver_name().unwrap_or("not visible").to_owned();
    let parts = [name, about.version, firmware, bus];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    Row::ok(&format!("{}: driver", link.name), parts.join(", "), "")
}

/// Whether SO_PREFER_BUSY_POLL can have an effect: the kernel finds the NAPI of a socket's
/// queue.
fn judge_busy_poll(link: &Link) -> Row {
    let item = format!("{}: busy polling", link.name);
    let wish = "queue and NAPI linked";
    if link.is_virtual() {
        let found = format!("does not apply: {} has no NAPI to poll", link.kind_name());
        return Row::not_applicable(&item, found, wish);
    }
    if link.queues.is_empty() {
        return Row::not_applicable(&item, "not told by this kernel (Linux 6.8 does)", wish);
    }
    if link.queues.iter().any(|queue| queue.napi.is_some()) {
        return Row::ok(&item, "takes effect", wish);
    }
    // Some drivers link them only while the interface is up.
    Row::not_applicable(&item, "no effect: the driver does not link them", wish)
}

fn judge_native(link: &Link) -> Row {
    let name = link.driver_name().unwrap_or("driver not visible");
    let row = |text: &str| {
        Row::ok(
            &format!("{}: XDP", link.name),
            format!("{name}: {text}"),
            "native",
        )
    };
    match mode(link) {
        Mode::ZeroCopy | Mode::Copy => row("native"),
        Mode::Generic if STACKED.contains(&name) => {
            row("generic only").but(State::Warn, "name the interfaces behind it instead")
        }
        Mode::Generic => row("generic only").but(
            State::Warn,
            "it works, slowly; take an interface whose driver has XDP",
        ),
        Mode::Unknown => row("not known").but(
            State::NotApplicable,
            "trunklined says at start which mode it got",
        ),
    }
}

fn judge_zero_copy(link: &Link) -> Row {
    let row = |found: &str| Row::ok(&format!("{}: zero-copy", link.name), found, "yes, on a NIC");
    match mode(link) {
        Mode::ZeroCopy => row("yes"),
        _ if link.is_virtual() => {
            let kind = link.kind.as_deref().unwrap_or("virtual");
            row(&format!("does not apply: {kind} has no hardware")).but(State::NotApplicable, "")
        }
        Mode::Copy => row("no, the kernel copies each packet").but(
            State::Warn,
            "it works; a NIC with zero-copy carries more on a core",
        ),
        Mode::Generic => row("no, XDP is generic").but(State::NotApplicable, ""),
        Mode::Unknown => row("not known").but(State::NotApplicable, ""),
    }
}

fn judge_mtu(link: &Link) -> Row {
    let row = Row::ok(
        &format!("{}: MTU", link.name),
        link.mtu.to_string(),
        format!("at most {MTU_FITS}"),
    );
    let advice = format!("ip link set dev {} mtu {MTU_FITS}", link.name);
    if link.mtu > MTU_MAX {
        return row.but(State::Bad, advice);
    }
    if link.mtu > MTU_FITS {
        return row.but(State::Warn, format!("{advice} (longer frames are dropped)"));
    }
    row
}

/// The name of Trunkline's own XDP program.
const PROGRAM_NAME: &str = "trunkline_xdp";

fn judge_attached(link: &Link) -> Row {
    let item = format!("{}: program", link.name);
    let Some(attached) = &link.attached else {
        return Row::ok(&item, "none attached", "none, or ours");
    };
    let mode = match attached.mode {
        1 => "native",
        2 => "generic",
        3 => "in hardware",
        _ => "several modes",
    };
    let row = |whose: &str| {
        let found = format!("{whose}, program {}, {mode}", attached.program);
        Row::ok(&item, found, "none, or ours")
    };
    let off = format!("ip link set dev {} xdp off", link.name);
    match attached.name.as_deref() {
        Some(PROGRAM_NAME) => row("ours"),
        Some(name) => row(&format!("another's: {name}"))
            .but(State::Bad, format!("stop what attached it, or: {off}")),
        None => row("not known whose (CAP_SYS_ADMIN tells)").but(
            State::Warn,
            format!(
                "bpftool prog show id {}; if it is not ours: {off}",
                attached.program
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::Attached;

    fn nic(driver: &str, features: Option<u64>) -> Link {
        Link {
            name: "eth0".into(),
            mtu: 1500,
            driver: Some(driver.into()),
            xdp_features: features,
            ..Link::default()
        }
    }

    fn veth() -> Link {
        Link {
            driver: None,
            kind: Some("veth".into()),
            xdp_features: Some(0x77),
            ..nic("", None)
        }
    }

    #[test]
    fn the_kernel_is_believed_before_the_table() {
        assert_eq!(mode(&nic("ice", None)), Mode::ZeroCopy);
        assert_eq!(mode(&nic("ice", Some(7))), Mode::Copy);
        assert_eq!(mode(&nic("ena", None)), Mode::Copy);
        assert_eq!(mode(&nic("ena", Some(15))), Mode::ZeroCopy);
        assert_eq!(mode(&nic("e1000", Some(0))), Mode::Generic);
        assert_eq!(mode(&nic("e1000", None)), Mode::Unknown);
        assert_eq!(mode(&veth()), Mode::Copy);
    }

    #[test]
    fn on_veth_zero_copy_does_not_apply() {
        let rows = judge(&veth());
        assert_eq!(rows[1].state, State::Ok);
        assert_eq!(rows[2].state, State::NotApplicable);
        assert_eq!(rows[2].found, "does not apply: veth has no hardware");
    }

    #[test]
    fn a_nic_that_copies_or_falls_back_is_a_warning() {
        assert_eq!(judge(&nic("bnxt_en", Some(7)))[2].state, State::Warn);
        assert_eq!(judge(&nic("e1000", Some(0)))[1].state, State::Warn);
        let bond = Link {
            driver: None,
            kind: Some("bond".into()),
            ..nic("", None)
        };
        assert!(judge(&bond)[1].advice.contains("behind it"));
    }

    #[test]
    fn the_mtu_has_two_bounds() {
        for (mtu, state) in [
            (1400, State::Ok),
            (1500, State::Ok),
            (1501, State::Warn),
            (3498, State::Warn),
            (3499, State::Bad),
            (9000, State::Bad),
        ] {
            let link = Link {
                mtu,
                ..nic("ice", None)
            };
            let row = judge(&link).remove(4);
            assert_eq!(row.state, state, "{mtu}");
        }
    }

    #[test]
    fn an_attached_program_is_told_from_ours() {
        let row = |name: Option<&str>| {
            let link = Link {
                attached: Some(Attached {
                    mode: 2,
                    program: 41,
                    name: name.map(str::to_owned),
                }),
                ..veth()
            };
            judge(&link).remove(5)
        };
        assert_eq!(row(Some("trunkline_xdp")).state, State::Ok);
        let other = row(Some("xdp_dispatcher"));
        assert_eq!(other.state, State::Bad);
        assert_eq!(
            other.found,
            "another's: xdp_dispatcher, program 41, generic"
        );
        assert!(other.advice.contains("ip link set dev eth0 xdp off"));
        assert_eq!(row(None).state, State::Warn);
    }

    #[test]
    fn the_driver_says_what_it_is() {
        let about = crate::ethtool::Driver {
            name: "ice".into(),
            version: "6.12.9".into(),
            firmware: "4.40".into(),
            bus: "0000:3b:00.0".into(),
        };
        let link = Link {
            about: Some(about),
            numa_node: Some(1),
            ..nic("ice", None)
        };
        assert_eq!(
            judge(&link)[0].found,
            "ice, 6.12.9, firmware 4.40, 0000:3b:00.0 at node 1"
        );
    }
}
