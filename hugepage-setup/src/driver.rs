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

/// Four rows: native XDP, zero-copy, MTU, attached program.
pub fn judge(link: &Link) -> Vec<Row> {
    vec![
        judge_native(link),
        judge_zero_copy(link),
        judge_mtu(link),
        judge_attached(link),
    ]
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
    let is_virtual = link.driver.is_none() && link.kind.is_some();
    match mode(link) {
        Mode::ZeroCopy => row("yes"),
        _ if is_virtual => {
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

fn judge_attached(link: &Link) -> Row {
    let item = format!("{}: program", link.name);
    let Some(attached) = link.attached else {
        return Row::ok(&item, "none attached", "none, or ours");
    };
    let mode = match attached.mode {
        1 => "native",
        2 => "generic",
        3 => "in hardware",
        _ => "several modes",
    };
    let found = format!("program {} attached, {mode}", attached.program);
    Row::ok(&item, found, "none, or ours").but(
        State::Warn,
        format!(
            "if trunklined does not run: bpftool prog show id {}; ip link set dev {} xdp off",
            attached.program, link.name
        ),
    )
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
        assert_eq!(rows[0].state, State::Ok);
        assert_eq!(rows[1].state, State::NotApplicable);
        assert_eq!(rows[1].found, "does not apply: veth has no hardware");
    }

    #[test]
    fn a_nic_that_copies_or_falls_back_is_a_warning() {
        assert_eq!(judge(&nic("bnxt_en", Some(7)))[1].state, State::Warn);
        assert_eq!(judge(&nic("e1000", Some(0)))[0].state, State::Warn);
        let bond = Link {
            driver: None,
            kind: Some("bond".into()),
            ..nic("", None)
        };
        assert!(judge(&bond)[0].advice.contains("behind it"));
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
            let row = judge(&link).remove(2);
            assert_eq!(row.state, state, "{mtu}");
        }
    }

    #[test]
    fn an_attached_program_is_named() {
        let link = Link {
            attached: Some(Attached {
                mode: 2,
                program: 41,
            }),
            ..veth()
        };
        let row = judge(&link).remove(3);
        assert_eq!(row.state, State::Warn);
        assert_eq!(row.found, "program 41 attached, generic");
        assert!(
            row.advice.contains("ip link set dev eth0 xdp off"),
            "{}",
            row.advice
        );
    }
}
