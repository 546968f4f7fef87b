//! What `ethtool` reads and sets: queues, ring sizes and offloads by netlink; driver,
//! hash and steering by ioctl, for which netlink has no message or only a young one.

mod ioctl;
mod netlink;
mod rule;

pub use ioctl::Driver;
pub use ioctl::driver;
pub use ioctl::has_rule;
pub use ioctl::set_rule;
pub use ioctl::set_spread;
pub use ioctl::set_udp_hash;
pub use ioctl::spread;
pub use ioctl::takes_rules;
pub use ioctl::udp_hash;
pub use netlink::channels;
pub use netlink::features;
pub use netlink::rings;
pub use netlink::set_channels;
pub use netlink::set_feature;
pub use netlink::set_rings;
pub use rule::Rule;

use std::fmt;

/// Queues that a driver has now and could have. Combined ones count for both
/// directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Channels {
    /// Queues that only receive.
    pub rx: u32,
    /// Queues that only send.
    pub tx: u32,
    /// Queues that do both.
    pub combined: u32,
    /// The most that `rx` can be.
    pub rx_max: u32,
    /// The most that `tx` can be.
    pub tx_max: u32,
    /// The most that `combined` can be.
    pub combined_max: u32,
}

impl fmt::Display for Channels {
    /// As `ethtool -L` takes them: only the kinds that the driver has.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            ("rx", self.rx, self.rx_max),
            ("tx", self.tx, self.tx_max),
            ("combined", self.combined, self.combined_max),
        ];
        let mut divider = "";
        for (name, count, max) in kinds {
            if max > 0 {
                write!(out, "{divider}{name} {count}")?;
                divider = " ";
            }
        }
        Ok(())
    }
}

/// Descriptors of each receive and each transmit ring of the hardware.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rings {
    /// Of each receive ring.
    pub rx: u32,
    /// Of each transmit ring.
    pub tx: u32,
    /// The most that `rx` can be.
    pub rx_max: u32,
    /// The most that `tx` can be.
    pub tx_max: u32,
}

impl fmt::Display for Rings {
    /// As `ethtool -G` takes them.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "rx {} tx {}", self.rx, self.tx)
    }
}

/// An offload or another switch of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// The kernel's name, as `rx-lro`.
    pub name: String,
    /// Whether it is on.
    pub active: bool,
    /// Whether the driver lets it be switched.
    pub switchable: bool,
}

/// The arguments of `ethtool -X` that make a table of the hash: `equal N`, or weights.
/// ethtool gives each queue its entries in one run; a table in another order it can only
/// come near to, and then that is said in a comment.
pub fn spread_arguments(table: &str) -> String {
    let entries: Vec<usize> = table
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let queues = entries.iter().max().map_or(0, |most| most + 1);
    if entries
        .iter()
        .zip((0..queues).cycle())
        .all(|(queue, even)| *queue == even)
    {
        return format!("equal {queues}");
    }
    let weight = |queue: usize| entries.iter().filter(|entry| **entry == queue).count();
    let weights: Vec<String> = (0..queues).map(|queue| weight(queue).to_string()).collect();
    let comment = if entries.is_sorted() {
        ""
    } else {
        " # in another order"
    };
    format!("weight {}{comment}", weights.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_written_as_ethtool_takes_them() {
        let veth = Channels {
            rx: 2,
            tx: 1,
            rx_max: 2,
            tx_max: 2,
            ..Channels::default()
        };
        assert_eq!(veth.to_string(), "rx 2 tx 1");
        let nic = Channels {
            combined: 4,
            combined_max: 8,
            ..Channels::default()
        };
        assert_eq!(nic.to_string(), "combined 4");
    }

    #[test]
    fn a_table_is_written_as_ethtool_can_make_it() {
        assert_eq!(spread_arguments("0 1 2 0 1 2 0 1"), "equal 3");
        assert_eq!(spread_arguments("0 0 0 0"), "equal 1");
        assert_eq!(spread_arguments("0 0 0 1"), "weight 3 1");
        assert_eq!(spread_arguments("1 1 1 1"), "weight 0 4");
        assert_eq!(spread_arguments("0 1 1 0"), "weight 2 2 # in another order");
    }
}
