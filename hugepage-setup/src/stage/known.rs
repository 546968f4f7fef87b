//! Faults of drivers and kernels that others have met: one table, matched by driver and
//! kernel version alone, each entry with where it was seen. A report: `apply` changes
//! nothing for it.

use crate::host::Host;
use crate::links::Link;
use crate::row::Row;
use crate::row::State;
use crate::stage::kernel;
use crate::stage::kernel::Version;

/// One fault.
#[derive(Debug)]
struct Fault {
    /// The driver, or the kind of a virtual interface.
    driver: &'static str,
    /// The first kernel that has it; `None` for all up to `last`.
    first: Option<Version>,
    /// The last kernel that has it; `None` where it is not known to be mended.
    last: Option<Version>,
    /// How bad it is.
    state: State,
    /// What happens.
    fault: &'static str,
    /// What to do.
    change: &'static str,
    /// Where it was seen.
    source: &'static str,
}

const FAULTS: [Fault; 24] = [
    Fault {
        driver: "ice",
        first: Some((7, 0)),
        last: Some((7, 0)),
        state: State::Bad,
        fault: "zero-copy panics the kernel under load",
        change: "zero_copy = \"off\", or another kernel",
        source: "intel/ethernet-linux-ice#59",
    },
    Fault {
        driver: "ice",
        first: None,
        last: None,
        state: State::Warn,
        fault: "starting or stopping zero-copy while traffic is sent may reset the port",
        change: "start and stop before and after traffic; else zero_copy = \"off\"",
        source: "intel/ethernet-linux-ice#62",
    },
    Fault {
        driver: "ena",
        first: None,
        last: None,
        state: State::Warn,
        fault: "zero-copy of the vendor's driver resets the device",
        change: "zero_copy = \"off\"",
        source: "amzn/amzn-drivers#221",
    },
    Fault {
        driver: "i40e",
        first: Some((6, 14)),
        last: None,
        state: State::Warn,
        fault: "busy polling has no effect: queue and NAPI are not linked",
        change: "busy_poll = \"off\"; interrupts on a core beside the workers'",
        source: "measured, Linux 6.14 to 7.3",
    },
    Fault {
        driver: "i40e",
        first: None,
        last: None,
        state: State::Warn,
        fault: "redirecting fails where there are fewer queues than cores",
        change: "as many queues as cores: ethtool -L DEV combined CORES",
        source: "intel i40e #15, #19",
    },
    Fault {
        driver: "ixgbe",
        first: Some((6, 14)),
        last: None,
        state: State::Warn,
        fault: "busy polling has no effect: queue and NAPI are not linked",
        change: "busy_poll = \"off\"; interrupts on a core beside the workers'",
        source: "measured, Linux 6.14 to 7.3",
    },
    Fault {
        driver: "ixgbe",
        first: None,
        last: None,
        state: State::Warn,
        fault: "transmit hangs with XDP unless queues + cores < the most queues",
        change: "ethtool -L DEV combined N, with N + cores below the most that it has",
        source: "facebookincubator/katran#20",
    },
    Fault {
        driver: "ixgbe",
        first: Some((6, 18)),
        last: Some((6, 18)),
        state: State::Bad,
        fault: "zero-copy holds sent frames back until the socket is closed",
        change: "zero_copy = \"off\", or another kernel",
        source: "xdp-project/xdp-tutorial#471",
    },
    Fault {
        driver: "nfp",
        first: None,
        last: None,
        state: State::Warn,
        fault: "busy polling has no effect: queue and NAPI are not linked",
        change: "busy_poll = \"off\"; interrupts on a core beside the workers'",
        source: "symbols of the driver, Linux 7.3",
    },
    Fault {
        driver: "gve",
        first: None,
        last: None,
        state: State::Warn,
        fault: "XDP is refused while all queues are in use",
        change: "half of them: ethtool -L DEV rx N tx N",
        source: "EmbarkStudios/quilkin",
    },
    Fault {
        driver: "mlx5_core",
        first: None,
        last: None,
        state: State::Warn,
        fault: "zero-copy takes a second set of queues",
        change: "at most half of its queues: ethtool -L DEV combined N",
        source: "VPP, af_xdp plugin",
    },
    Fault {
        driver: "igb",
        first: None,
        last: None,
        state: State::Warn,
        fault: "the link goes down for 2 to 3 s when trunklined starts or stops",
        change: "let the far side wait for it; do not restart with calls up",
        source: "measured, emulated, Linux 7.2",
    },
    Fault {
        driver: "igb",
        first: None,
        last: None,
        state: State::Warn,
        fault: "packets left to the kernel may fill the ring",
        change: "keep other traffic off this interface, or zero_copy = \"off\"",
        source: "xdp-project/xdp-tutorial#466",
    },
    Fault {
        driver: "virtio_net",
        first: None,
        last: None,
        state: State::Warn,
        fault: "with XDP, frames arrive on queues beyond those in use",
        change: "as many queues in use as there are: ethtool -L DEV combined MOST",
        source: "measured, emulated, Linux 7.2",
    },
    Fault {
        driver: "stmmac",
        first: None,
        last: None,
        state: State::Warn,
        fault: "a receive queue whose worker stalled once never receives again",
        change: "a core for each worker alone; ip link set DEV down and up brings it back",
        source: "analogdevicesinc/linux#3517",
    },
    Fault {
        driver: "dwmac-intel",
        first: None,
        last: None,
        state: State::Warn,
        fault: "a receive queue whose worker stalled once never receives again",
        change: "a core for each worker alone; ip link set DEV down and up brings it back",
        source: "analogdevicesinc/linux#3517",
    },
    Fault {
        driver: "bnxt_en",
        first: None,
        last: None,
        state: State::Warn,
        fault: "no zero-copy",
        change: "zero_copy = \"auto\" or \"off\": \"on\" is refused",
        source: "symbols of the driver, Linux 7.3",
    },
    Fault {
        driver: "vmxnet3",
        first: None,
        last: None,
        state: State::Warn,
        fault: "no zero-copy",
        change: "zero_copy = \"auto\" or \"off\": \"on\" is refused",
        source: "symbols of the driver, Linux 7.3",
    },
    Fault {
        driver: "hv_netvsc",
        first: None,
        last: None,
        state: State::Warn,
        fault: "no zero-copy, and XDP does not see what the accelerated function receives",
        change: "name the accelerated function (mana, mlx5), or do without it",
        source: "symbols of the driver, Linux 7.3",
    },
    Fault {
        driver: "mana",
        first: None,
        last: None,
        state: State::Warn,
        fault: "no zero-copy",
        change: "zero_copy = \"auto\" or \"off\": \"on\" is refused",
        source: "symbols of the driver, Linux 7.3",
    },
    Fault {
        driver: "bond",
        first: None,
        last: None,
        state: State::Bad,
        fault: "AF_XDP sockets on a bond receive nothing by themselves",
        change: "name its members, each an interface of its own",
        source: "firedancer-io/firedancer#408, #7273",
    },
    Fault {
        driver: "bridge",
        first: None,
        last: None,
        state: State::Bad,
        fault: "a bridge has no queues of its own",
        change: "name its members, or give them to no bridge",
        source: "Linux, net/bridge",
    },
    Fault {
        driver: "veth",
        first: None,
        last: None,
        state: State::Warn,
        fault: "the far side drops what we send unless its GRO is on or it has XDP",
        change: "in the peer's namespace: ethtool -K PEER gro on",
        source: "measured, Linux 6.18",
    },
    Fault {
        driver: "veth",
        first: None,
        last: None,
        state: State::Warn,
        fault: "a kernel's socket at the far side leaves UDP checksums unfinished",
        change: "in the peer's namespace: ethtool -K PEER tx off",
        source: "measured, Linux 6.18",
    },
];

/// The version of the kernel; `None` where it is not readable.
pub fn facts(host: &Host) -> Option<Version> {
    kernel::version(&kernel::facts(host).release?)
}

/// A row for each fault, or one that says that none is known.
pub fn judge(link: &Link, kernel: &Option<Version>) -> Vec<Row> {
    let driver = link.driver_name().unwrap_or("driver not visible");
    let rows: Vec<Row> = FAULTS
        .iter()
        .filter(|fault| fault.driver == driver && fault.is_in(*kernel))
        .map(|fault| {
            let item = format!("{}: known fault", link.name);
            let advice = format!(
                "{} [{}]",
                fault.change.replace("DEV", &link.name),
                fault.source
            );
            Row::ok(&item, format!("{driver}: {}", fault.fault), "").but(fault.state, advice)
        })
        .collect();
    if !rows.is_empty() {
        return rows;
    }
    let item = format!("{}: known faults", link.name);
    vec![Row::ok(&item, format!("{driver}: none known"), "none")]
}

impl Fault {
    /// Where the kernel is not known, every fault of the driver is named.
    fn is_in(&self, kernel: Option<Version>) -> bool {
        let Some(kernel) = kernel else { return true };
        self.first.is_none_or(|first| kernel >= first)
            && self.last.is_none_or(|last| kernel <= last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(driver: &str, kernel: Version) -> Vec<String> {
        let link = Link {
            name: "eth0".into(),
            driver: Some(driver.into()),
            ..Link::default()
        };
        let rows = judge(&link, &Some(kernel));
        rows.iter()
            .filter(|row| row.state != State::Ok)
            .map(|row| row.found.clone())
            .collect()
    }

    #[test]
    fn a_fault_is_named_in_its_range_of_kernels_only() {
        let panics = |kernel| {
            faults("ice", kernel)
                .iter()
                .any(|text| text.contains("panics"))
        };
        assert!(panics((7, 0)));
        assert!(!panics((6, 19)));
        assert!(!panics((7, 1)));
        let dead = |kernel| {
            faults("i40e", kernel)
                .iter()
                .any(|text| text.contains("busy"))
        };
        assert!(!dead((6, 13)));
        assert!(dead((6, 14)));
        assert!(dead((8, 0)));
        assert_eq!(faults("ixgbe", (6, 18)).len(), 3);
        assert_eq!(faults("ixgbe", (6, 19)).len(), 2);
        assert_eq!(faults("ixgbe", (6, 1)).len(), 1);
    }

    #[test]
    fn another_driver_has_none() {
        assert!(faults("igc", (7, 0)).is_empty());
        assert!(faults("", (7, 0)).is_empty());
    }

    #[test]
    fn the_advice_names_the_interface_and_where_it_was_seen() {
        let link = Link {
            name: "eth7".into(),
            driver: Some("gve".into()),
            ..Link::default()
        };
        let row = judge(&link, &None).remove(0);
        assert_eq!(
            row.advice,
            "half of them: ethtool -L eth7 rx N tx N [EmbarkStudios/quilkin]"
        );
    }

    #[test]
    fn a_kernel_that_is_not_known_has_every_fault() {
        let link = Link {
            driver: Some("ixgbe".into()),
            ..Link::default()
        };
        assert_eq!(judge(&link, &None).len(), 3);
    }
}
