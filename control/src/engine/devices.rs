//! What has become of the devices since the start.
//!
//! A device can go away (a virtual one is deleted, a driver is unloaded) and come back,
//! or change its number of queues. The workers' sockets belong to the device and the
//! queues that there were: they die with the first, and are missing on what is added. So
//! the others go on, all of it is said, and when a device is back and a start would
//! succeed, the daemon ends with an error, for its service manager to start it anew. It
//! waits until no media passes, since media flows do not outlive it.

use std::time::Duration;
use std::time::Instant;

use super::Facts;
use super::InterfaceFacts;
use super::Mirrored;

/// How long no media must have passed before the daemon ends itself. Shorter, and a
/// pause in the talk of few calls ends them; longer, and the box is without its
/// interface for no one's good.
const QUIET: Duration = Duration::from_secs(5);

/// The devices, as they were last seen.
#[derive(Debug)]
pub struct Devices {
    /// By interface.
    gone: Vec<bool>,
    /// True where a start would find every device, and the addresses.
    fit: bool,
    /// By interface: receive queues in use; none where that is not known.
    queues: Vec<Option<u32>>,
    /// Media packets relayed so far, and since when it has been so many.
    relayed: (u64, Instant),
}

impl Devices {
    /// All there, as at the start.
    #[must_use]
    pub fn new(interfaces: usize, now: Instant) -> Devices {
        Devices {
            gone: vec![false; interfaces],
            fit: true,
            queues: vec![None; interfaces],
            relayed: (0, now),
        }
    }

    /// True where the device of interface number `interface` is gone.
    #[must_use]
    pub fn is_gone(&self, interface: usize) -> bool {
        self.gone.get(interface).copied().unwrap_or(false)
    }

    /// Takes note of what the kernel's tables say; gives what is to be logged.
    pub fn look(&mut self, mirrored: &Mirrored, facts: &Facts) -> Vec<String> {
        let before = self.reasons(facts);
        self.gone.clone_from(&mirrored.gone);
        self.fit = mirrored.fit;
        self.news(&before, facts)
    }

    /// Takes note of how many queues are in use; gives what is to be logged.
    pub fn count_queues(&mut self, queues: Vec<Option<u32>>, facts: &Facts) -> Vec<String> {
        let before = self.reasons(facts);
        self.queues = queues;
        self.news(&before, facts)
    }

    fn news(&self, before: &[String], facts: &Facts) -> Vec<String> {
        let mut news = self.reasons(facts);
        news.retain(|reason| !before.contains(reason));
        news
    }

    /// Takes note of how many media packets have been relayed.
    pub fn relayed(&mut self, packets: u64, now: Instant) {
        if self.relayed.0 != packets {
            self.relayed = (packets, now);
        }
    }

    /// Why the daemon should end now, if it should.
    #[must_use]
    pub fn end(&self, facts: &Facts, now: Instant) -> Option<String> {
        let at = self.gone.iter().position(|gone| *gone)?;
        let quiet = now.saturating_duration_since(self.relayed.1) >= QUIET;
        let device = &facts.interfaces.get(at)?.device;
        (self.fit && quiet).then(|| {
            format!("the device {device} was gone and is there again: trunklined must be started anew to drive it")
        })
    }

    /// What keeps the box from its whole work, a sentence each.
    #[must_use]
    pub fn reasons(&self, facts: &Facts) -> Vec<String> {
        let rows = facts.interfaces.iter().zip(&self.gone).zip(&self.queues);
        rows.filter_map(|((interface, gone), queues)| {
            if *gone {
                return Some(self.gone(interface));
            }
            queues.and_then(|queues| changed(interface, queues))
        })
        .collect()
    }

    fn gone(&self, interface: &InterfaceFacts) -> String {
        let InterfaceFacts { name, device, .. } = interface;
        if self.fit {
            return format!(
                "the device {device} of interface \"{name}\" is there again: trunklined ends itself, to be started \
                 anew with it, once no media has passed for {} s",
                QUIET.as_secs()
            );
        }
        format!(
            "the device {device} of interface \"{name}\" is gone: nothing passes through it until it is back with \
             its addresses and trunklined is started anew"
        )
    }
}

/// What a number of queues means that is not that of the start.
fn changed(interface: &InterfaceFacts, queues: u32) -> Option<String> {
    let InterfaceFacts {
        name,
        device,
        queues: sockets,
        ..
    } = interface;
    match queues.cmp(sockets) {
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(format!(
            "interface \"{name}\" has {queues} receive queues by now and workers on {sockets}: on the others SIP goes \
             through the kernel and media is dropped. Start trunklined anew, or put them back: ethtool -L {device} \
             combined {sockets} (a veth: rx {sockets} tx {sockets})"
        )),
        std::cmp::Ordering::Less => Some(format!(
            "interface \"{name}\" has {queues} receive queues by now, and workers wait on {sockets}: some receive \
             nothing. Start trunklined anew, or put them back: ethtool -L {device} combined {sockets}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let interface = |name: &str, device: &str| InterfaceFacts {
            name: name.to_owned(),
            device: device.to_owned(),
            queues: 2,
            ..InterfaceFacts::default()
        };
        Facts {
            interfaces: vec![interface("access", "eth0"), interface("core", "eth1")],
            ..Facts::default()
        }
    }

    fn mirrored(gone: bool, fit: bool) -> Mirrored {
        Mirrored {
            gone: vec![false, gone],
            fit,
            ..Mirrored::default()
        }
    }

    #[test]
    fn a_device_that_comes_back_ends_the_daemon_when_no_media_passes() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let facts = facts();
        let mut devices = Devices::new(2, start);
        assert!(devices.look(&mirrored(false, true), &facts).is_empty());
        assert_eq!(devices.end(&facts, at(60)), None, "nothing was gone");

        let said = devices.look(&mirrored(true, false), &facts);
        assert!(
            said[0].starts_with("the device eth1 of interface \"core\" is gone"),
            "{said:?}"
        );
        assert!(devices.is_gone(1) && !devices.is_gone(0));
        assert!(
            devices.look(&mirrored(true, false), &facts).is_empty(),
            "said once"
        );
        devices.relayed(7, at(60));
        assert_eq!(devices.end(&facts, at(66)), None, "it is not back");

        let said = devices.look(&mirrored(true, true), &facts);
        assert!(said[0].contains("is there again"), "{said:?}");
        devices.relayed(8, at(66));
        assert_eq!(devices.end(&facts, at(70)), None, "others talk");
        devices.relayed(8, at(70));
        let end = devices.end(&facts, at(71)).unwrap();
        assert!(end.starts_with("the device eth1 was gone"), "{end}");
    }

    #[test]
    fn queues_that_came_or_went_are_told_with_what_to_do() {
        let facts = facts();
        let mut devices = Devices::new(2, Instant::now());
        assert!(devices.count_queues(vec![Some(2), None], &facts).is_empty());
        let said = devices.count_queues(vec![Some(4), Some(1)], &facts);
        assert!(
            said[0]
                .starts_with("interface \"access\" has 4 receive queues by now and workers on 2")
                && said[0].contains("ethtool -L eth0 combined 2"),
            "{said:?}"
        );
        assert!(said[1].contains("workers wait on 2"), "{said:?}");
        assert_eq!(devices.reasons(&facts), said);
        assert!(
            devices
                .count_queues(vec![Some(2), Some(2)], &facts)
                .is_empty()
        );
        assert!(devices.reasons(&facts).is_empty());
    }
}
