//! One thing of the host that can be read, changed, and put back.
//!
//! A value is a line of text, as a person would write it: so it can be printed,
//! compared, and kept in the state file, whatever it is that it sets.

use crate::ethtool;
use crate::host::Host;
use crate::links;
use crate::stage::irq;
use crate::stage::memlock;
use nix::errno::Errno;
use serde::Deserialize;
use serde::Serialize;
use std::io;

/// Where the kernel keeps the files that stages write.
const FILES: [&str; 4] = [
    "/sys/kernel/mm/hugepages/",
    "/sys/devices/system/node/",
    "/sys/class/net/",
    "/proc/irq/",
];

/// What is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Setting {
    /// A kernel parameter, by its dotted name.
    Sysctl {
        /// As `net.ipv4.ip_local_reserved_ports`.
        name: String,
    },
    /// A file of /proc or /sys that holds one value.
    File {
        /// From the root.
        path: String,
    },
    /// A configuration file that is all ours; an empty value is no file.
    Text {
        /// From the root.
        path: String,
    },
    /// Whether a service of systemd runs: `start` or `stop`.
    Service {
        /// Without `.service`.
        name: String,
    },
    /// Queues of a NIC, as the arguments of `ethtool -L`.
    Channels {
        /// The kernel's name of the interface.
        device: String,
    },
    /// Descriptors of a NIC's rings, as the arguments of `ethtool -G`.
    Rings {
        /// The kernel's name of the interface.
        device: String,
    },
    /// An offload, `on` or `off`.
    Feature {
        /// The kernel's name of the interface.
        device: String,
        /// The kernel's name of the feature, as `rx-lro`.
        feature: String,
    },
    /// Which fields of a UDP packet choose its queue, as `ethtool -N ... rx-flow-hash` takes
    /// them.
    UdpHash {
        /// The kernel's name of the interface.
        device: String,
        /// `udp4` or `udp6`.
        flow: String,
    },
    /// Which queue each value of the hash goes to: the whole table, entries divided by
    /// blanks.
    Spread {
        /// The kernel's name of the interface.
        device: String,
    },
    /// A steering rule, `on` or `off`.
    Rule {
        /// The kernel's name of the interface.
        device: String,
        /// As the arguments of `ethtool -N`.
        rule: String,
    },
}

/// Why a setting was not read or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The device or the kernel does not have such a thing.
    NotHere(String),
    /// It has it, and it did not work.
    Failed(String),
}

impl Refusal {
    /// Says it in words.
    pub fn reason(&self) -> &str {
        let (Refusal::NotHere(reason) | Refusal::Failed(reason)) = self;
        reason
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Refusal {
        match errno {
            Errno::EOPNOTSUPP => Refusal::NotHere("the driver has no such thing".to_owned()),
            Errno::ENODEV => Refusal::NotHere("there is no such interface".to_owned()),
            Errno::EPERM | Errno::EACCES => {
                Refusal::Failed("not permitted: run as root, or with CAP_NET_ADMIN".to_owned())
            }
            Errno::EBUSY => Refusal::Failed(
                "in use: stop trunklined, or whatever has the device, and try again".to_owned(),
            ),
            Errno::EINVAL => Refusal::Failed("the driver refuses the value".to_owned()),
            _ => Refusal::Failed(errno.desc().to_owned()),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        match error.kind() {
            io::ErrorKind::NotFound => Refusal::NotHere("the kernel has no such file".to_owned()),
            io::ErrorKind::PermissionDenied => {
                Refusal::Failed("not permitted: run as root".to_owned())
            }
            io::ErrorKind::ReadOnlyFilesystem => Refusal::Failed(
                "read-only here: run it on the host, outside of the container".to_owned(),
            ),
            _ => Refusal::Failed(error.to_string()),
        }
    }
}

impl Setting {
    /// A feature of a device.
    pub fn feature(device: &str, feature: &str) -> Setting {
        Setting::Feature {
            device: device.to_owned(),
            feature: feature.to_owned(),
        }
    }

    /// A file of /proc or /sys.
    pub fn file(path: impl Into<String>) -> Setting {
        Setting::File { path: path.into() }
    }

    /// The value that it has now.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub fn read(&self, host: &Host) -> Result<String, Refusal> {
        match self {
            Setting::Sysctl { name } => host
                .try_read(&sysctl_path(name))
                .map_err(Refusal::from)
                .map(|text| text.replace('\t', " ")),
            Setting::File { path } => Ok(host.try_read(path)?),
            Setting::Text { path } => match host.try_read(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
                other => Ok(other?),
            },
            Setting::Service { name } => {
                let active = host.systemctl(&["is-active", name]).is_ok();
                Ok(if active { "start" } else { "stop" }.to_owned())
            }
            Setting::Channels { device } => Ok(ethtool::channels(device)?.to_string()),
            Setting::Rings { device } => Ok(ethtool::rings(device)?.to_string()),
            Setting::Feature { device, feature } => {
                let features = ethtool::features(device)?;
                let known = features.iter().find(|known| known.name == *feature);
                let known = known.ok_or_else(|| {
                    Refusal::NotHere("this kernel has no such feature".to_owned())
                })?;
                Ok(on_off(known.active).to_owned())
            }
            Setting::UdpHash { device, flow } => Ok(ethtool::udp_hash(device, flow)?),
            Setting::Spread { device } => {
                let table: Vec<String> = ethtool::spread(device)?
                    .iter()
                    .map(u32::to_string)
                    .collect();
                Ok(table.join(" "))
            }
            Setting::Rule { device, rule } => {
                let rule = rule.parse().map_err(Refusal::Failed)?;
                Ok(on_off(ethtool::has_rule(device, &rule)?).to_owned())
            }
        }
    }

    /// Gives it a value. The caller has kept the old one.
    ///
    /// # Errors
    /// Why it was refused. Part of a value may have been taken: read it again.
    pub fn write(&self, host: &Host, to: &str) -> Result<(), Refusal> {
        if let Some(device) = self.resets()
            && links::has_program(device)
        {
            return Err(Refusal::Failed(format!(
                "an XDP program is on {device}, and this would take its link down: stop trunklined first, \
                 or if it does not run: ip link set dev {device} xdp off"
            )));
        }
        match self {
            Setting::Sysctl { name } => Ok(host.write(&sysctl_path(name), to)?),
            Setting::File { path } => Ok(host.write(path, to)?),
            Setting::Text { path } => {
                if to.is_empty() {
                    host.remove(path)?;
                } else {
                    host.create(path, &format!("{to}\n"))?;
                }
                if is_unit(path) && host.runs_systemd() {
                    host.systemctl(&["daemon-reload"])
                        .map_err(Refusal::Failed)?;
                }
                Ok(())
            }
            Setting::Service { name } => match host.systemctl(&[to, name]) {
                Ok(_) => Ok(()),
                Err(error) => Err(Refusal::Failed(error)),
            },
            Setting::Channels { device } => ethtool::set_channels(device, &numbers(to)?)
                .map_err(|errno| of_channels(device, errno)),
            Setting::Rings { device } => Ok(ethtool::set_rings(device, &numbers(to)?)?),
            Setting::Feature { device, feature } => {
                Ok(ethtool::set_feature(device, feature, to == "on")?)
            }
            Setting::UdpHash { device, flow } => {
                ethtool::set_udp_hash(device, flow, to).map_err(of_hardware)
            }
            Setting::Spread { device } => {
                let table: Option<Vec<u32>> = to
                    .split_whitespace()
                    .map(|word| word.parse().ok())
                    .collect();
                let table = table.ok_or_else(|| not_understood(to))?;
                Ok(ethtool::set_spread(device, &table)?)
            }
            Setting::Rule { device, rule } => {
                let rule = rule.parse().map_err(Refusal::Failed)?;
                ethtool::set_rule(device, &rule, to == "on").map_err(of_hardware)
            }
        }
    }

    /// The shell line that gives it a value.
    pub fn command(&self, to: &str) -> String {
        match self {
            Setting::Sysctl { name } if to.contains(' ') || to.is_empty() => {
                format!("sysctl -w {name}=\"{to}\"")
            }
            Setting::Sysctl { name } => format!("sysctl -w {name}={to}"),
            Setting::File { path } => format!("echo {to} > {path}"),
            Setting::Text { path } => {
                let reload = if is_unit(path) {
                    "; systemctl daemon-reload"
                } else {
                    ""
                };
                if to.is_empty() {
                    return format!("rm {path}{reload}");
                }
                let text = to.replace('\n', "\\n");
                format!("install -D /dev/null {path}; printf '{text}\\n' > {path}{reload}")
            }
            Setting::Service { name } => format!("systemctl {to} {name}"),
            Setting::Channels { device } => format!("ethtool -L {device} {to}"),
            Setting::Rings { device } => format!("ethtool -G {device} {to}"),
            Setting::Feature { device, feature } => format!("ethtool -K {device} {feature} {to}"),
            Setting::UdpHash { device, flow } => {
                format!("ethtool -N {device} rx-flow-hash {flow} {to}")
            }
            Setting::Spread { device } => {
                format!("ethtool -X {device} {}", ethtool::spread_arguments(to))
            }
            Setting::Rule { device, rule } if to == "on" => format!("ethtool -N {device} {rule}"),
            Setting::Rule { device, rule } => {
                format!("ethtool -N {device} delete N # N: {rule}, see ethtool -n {device}")
            }
        }
    }

    /// The device whose link a change may take down for seconds.
    fn resets(&self) -> Option<&str> {
        match self {
            Setting::Channels { device }
            | Setting::Rings { device }
            | Setting::Feature { device, .. } => Some(device),
            _ => None,
        }
    }

    /// Whether a restart of the machine leaves it as it is.
    pub fn survives_reboot(&self) -> bool {
        matches!(self, Setting::Text { .. })
    }

    /// Whether a stage may have set it. What is read from a state file is held against this, since it
    /// is written as root.
    pub fn is_ours(&self) -> bool {
        match self {
            Setting::Sysctl { name } => {
                name.starts_with("net.")
                    && name.bytes().all(|byte| {
                        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
                    })
            }
            Setting::File { path } => {
                FILES.iter().any(|directory| path.starts_with(directory))
                    && path.split('/').all(|part| part != "..")
            }
            Setting::Text { path } => path == memlock::DROP_IN,
            Setting::Service { name } => name == irq::BALANCER,
            // Of a device: the driver knows what it takes.
            _ => true,
        }
    }

    /// Whether the value is one that it can have, where nobody checks that after us.
    pub fn takes(&self, value: &str) -> bool {
        !matches!(self, Setting::Service { .. }) || matches!(value, "start" | "stop")
    }

    /// Whether it belongs to a network namespace.
    pub fn is_of_namespace(&self) -> bool {
        match self {
            Setting::Sysctl { name } => name.starts_with("net."),
            Setting::File { path } => path.starts_with("/sys/class/net/"),
            Setting::Text { .. } | Setting::Service { .. } => false,
            _ => true,
        }
    }

    /// What it is called in a sentence.
    pub fn name(&self) -> String {
        match self {
            Setting::Sysctl { name } => name.clone(),
            Setting::File { path } | Setting::Text { path } => path.clone(),
            Setting::Service { name } => format!("the service {name}"),
            Setting::Channels { device } => format!("{device}: queues"),
            Setting::Rings { device } => format!("{device}: ring sizes"),
            Setting::Feature { device, feature } => format!("{device}: {feature}"),
            Setting::UdpHash { device, flow } => format!("{device}: hash of {flow}"),
            Setting::Spread { device } => format!("{device}: spread over queues"),
            Setting::Rule { device, rule } => format!("{device}: rule {rule}"),
        }
    }
}

/// Why a number of queues is refused has a few usual reasons.
fn of_channels(device: &str, errno: Errno) -> Refusal {
    match errno {
        Errno::EINVAL => Refusal::Failed(format!(
            "the driver refuses: it has fewer queues, or an AF_XDP socket or the spread of the hash \
             (ethtool -x {device}; ethtool -X {device} default) is on one that would go"
        )),
        other => other.into(),
    }
}

/// Hashes and rules are all that the driver can be asked for: a value that it does not
/// take is one that the hardware does not have.
fn of_hardware(errno: Errno) -> Refusal {
    match errno {
        Errno::EINVAL => Refusal::NotHere("the hardware cannot do that".to_owned()),
        other => other.into(),
    }
}

fn on_off(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}

fn is_unit(path: &str) -> bool {
    path.starts_with("/etc/systemd/")
}

fn sysctl_path(name: &str) -> String {
    format!("/proc/sys/{}", name.replace('.', "/"))
}

fn not_understood(value: &str) -> Refusal {
    Refusal::Failed(format!("'{value}' is not a value that it can have"))
}

/// `rx 2 tx 2` as pairs.
fn numbers(value: &str) -> Result<Vec<(String, u32)>, Refusal> {
    let words: Vec<&str> = value.split_whitespace().collect();
    words
        .chunks(2)
        .map(|pair| match pair {
            [name, number] => Some(((*name).to_owned(), number.parse().ok()?)),
            _ => None,
        })
        .collect::<Option<_>>()
        .ok_or_else(|| not_understood(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::Tree;

    #[test]
    fn a_sysctl_is_read_and_written_below_the_root() {
        let tree = Tree::new(&[("/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n")]);
        let setting = Setting::Sysctl {
            name: "net.ipv4.ip_local_port_range".to_owned(),
        };
        assert_eq!(setting.read(&tree.host()).unwrap(), "32768 60999");
        setting.write(&tree.host(), "40000 50000").unwrap();
        assert_eq!(setting.read(&tree.host()).unwrap(), "40000 50000");
        assert_eq!(
            setting.command("40000 50000"),
            "sysctl -w net.ipv4.ip_local_port_range=\"40000 50000\""
        );
        assert!(setting.is_of_namespace());
    }

    #[test]
    fn a_file_that_is_not_there_is_not_made() {
        let tree = Tree::new(&[("/sys/a", "1\n")]);
        let setting = Setting::file("/sys/b");
        assert!(matches!(
            setting.read(&tree.host()),
            Err(Refusal::NotHere(_))
        ));
        assert!(matches!(
            setting.write(&tree.host(), "1"),
            Err(Refusal::NotHere(_))
        ));
        assert!(!tree.host().has("/sys/b"));
    }

    #[test]
    fn a_text_comes_and_goes_with_its_directory() {
        let tree = Tree::new(&[("/etc/systemd/system/other", "x")]);
        let host = tree.host();
        let setting = Setting::Text {
            path: "/etc/systemd/system/trunklined.service.d/50-memlock.conf".to_owned(),
        };
        assert_eq!(setting.read(&host).unwrap(), "");
        setting
            .write(&host, "[Service]\nLimitMEMLOCK=infinity")
            .unwrap();
        assert_eq!(
            setting.read(&host).unwrap(),
            "[Service]\nLimitMEMLOCK=infinity"
        );
        setting.write(&host, "").unwrap();
        assert!(!host.has("/etc/systemd/system/trunklined.service.d"));
        assert!(host.has("/etc/systemd/system/other"));
    }

    #[test]
    fn a_service_is_asked_of_systemctl() {
        let script = "#!/bin/sh\necho \"$@\" >> $0.log\n[ \"$1\" != is-active ] || exit 3\n";
        let tree = Tree::new(&[("/usr/bin/systemctl", script)]);
        tree.make_executable("/usr/bin/systemctl");
        let host = tree.host();
        let setting = Setting::Service {
            name: "irqbalance".to_owned(),
        };
        assert_eq!(setting.read(&host).unwrap(), "stop");
        setting.write(&host, "start").unwrap();
        assert_eq!(
            host.read("/usr/bin/systemctl.log").unwrap(),
            "is-active irqbalance\nstart irqbalance"
        );
    }

    #[test]
    fn values_in_pairs_are_read_and_nonsense_is_refused() {
        assert_eq!(
            numbers("rx 2 tx 4").unwrap(),
            [("rx".to_owned(), 2), ("tx".to_owned(), 4)]
        );
        assert!(numbers("rx").is_err());
        assert!(numbers("rx two").is_err());
    }
}
