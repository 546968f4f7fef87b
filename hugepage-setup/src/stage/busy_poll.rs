//! Interrupts held back while a worker polls (Documentation/networking/napi.rst).
//!
//! With SO_PREFER_BUSY_POLL the worker drives the NIC's NAPI itself, if its interrupts
//! stay off meanwhile: after `napi_defer_hard_irqs` empty polls a timer of
//! `gro_flush_timeout` takes the interrupt's place. A worker that sleeps would wait for that
//! timer, up to 200 µs a packet: so this is for `poll = "busy"`, or where the configuration
//! demands `busy_poll = "on"`. Where busy polling has no effect the timers would only delay.

use crate::host::Host;
use crate::links::Link;
use crate::row::Row;
use crate::row::State;
use crate::row::Step;
use crate::setting::Setting;
use crate::stage::driver;
use crate::stage::driver::Mode;
use crate::stage::kernel::Version;
use crate::wanted::Wanted;

/// The two files of an interface and their values, as the kernel's documentation gives
/// them for busy polling: two empty polls, 200 µs.
const VALUES: [(&str, u64); 2] = [("napi_defer_hard_irqs", 2), ("gro_flush_timeout", 200_000)];

/// From this kernel on it takes a zero-copy socket.
const ZERO_COPY_SINCE: Version = (6, 14);

/// What the two files have; `None` where they cannot be read.
pub fn facts(host: &Host, link: &Link) -> [Option<u64>; 2] {
    VALUES.map(|(file, _)| {
        let path = path(link, file);
        link.is_in_sysfs.then(|| host.read_number(&path)).flatten()
    })
}

fn path(link: &Link, file: &str) -> String {
    format!("/sys/class/net/{}/{file}", link.name)
}

/// One row.
pub fn judge(
    link: &Link,
    wanted: &Wanted,
    has: &[Option<u64>; 2],
    kernel: Option<Version>,
) -> Vec<Row> {
    let item = format!("{}: busy poll timers", link.name);
    let not = |found: String, wish: &str| vec![Row::not_applicable(&item, found, wish)];
    if link.is_virtual() {
        let found = format!("does not apply: {} has no interrupts", link.kind_name());
        return not(found, "");
    }
    let [Some(defer), Some(timeout)] = *has else {
        return not("not visible: sysfs is another namespace's".to_owned(), "");
    };
    let found = format!("defer {defer}, {} µs", timeout / 1000);
    if !wanted.polls_nic(&link.name) {
        return not(found, "any, unless poll = \"busy\"");
    }
    let wish = "defer 2, 200 µs";
    if !link.queues.is_empty() && link.queues.iter().all(|queue| queue.napi.is_none()) {
        let found = format!("{found}; no effect: the driver does not link queue and NAPI");
        return not(found, wish);
    }
    let copies = matches!(driver::mode(link), Mode::Copy | Mode::Generic);
    if copies && kernel.is_some_and(|kernel| kernel >= ZERO_COPY_SINCE) {
        return not(format!("{found}; no effect without zero-copy"), wish);
    }
    let row = Row::ok(&item, found, wish);
    let steps: Vec<Step> = VALUES
        .iter()
        .zip([defer, timeout])
        .filter(|((_, value), has)| value != has)
        .map(|((file, value), _)| Step {
            setting: Setting::file(path(link, file)),
            to: value.to_string(),
        })
        .collect();
    vec![if steps.is_empty() {
        row
    } else {
        row.needs(State::Warn, steps)
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::Tree;
    use crate::netdev::Queue;

    fn nic() -> Link {
        Link {
            name: "eth0".into(),
            driver: Some("ice".into()),
            is_in_sysfs: true,
            ..Link::default()
        }
    }

    fn busy() -> Wanted {
        Wanted {
            busy: true,
            ..Wanted::default()
        }
    }

    #[test]
    fn both_files_are_set_for_a_busy_worker_only() {
        let tree = Tree::new(&[
            ("/sys/class/net/eth0/napi_defer_hard_irqs", "0\n"),
            ("/sys/class/net/eth0/gro_flush_timeout", "200000\n"),
        ]);
        let has = facts(&tree.host(), &nic());
        let row = judge(&nic(), &busy(), &has, Some((6, 18))).remove(0);
        assert_eq!(
            row.advice,
            "echo 2 > /sys/class/net/eth0/napi_defer_hard_irqs"
        );
        let adaptive = judge(&nic(), &Wanted::default(), &has, Some((6, 18))).remove(0);
        assert_eq!(adaptive.state, State::NotApplicable);
    }

    #[test]
    fn where_it_has_no_effect_nothing_is_set() {
        let veth = Link {
            driver: None,
            kind: Some("veth".into()),
            ..nic()
        };
        let row = judge(&veth, &busy(), &[Some(0), Some(0)], Some((6, 18))).remove(0);
        assert_eq!(row.found, "does not apply: veth has no interrupts");
        let unlinked = Link {
            queues: vec![Queue {
                id: 0,
                napi: None,
                irq: None,
            }],
            ..nic()
        };
        let row = judge(&unlinked, &busy(), &[Some(0), Some(0)], Some((6, 18))).remove(0);
        assert_eq!(row.state, State::NotApplicable);
        let copies = Link {
            xdp_features: Some(7),
            ..nic()
        };
        let has = [Some(0), Some(0)];
        assert!(
            judge(&copies, &busy(), &has, Some((6, 14)))[0]
                .steps
                .is_empty()
        );
        assert_eq!(
            judge(&copies, &busy(), &has, Some((6, 13)))[0].steps.len(),
            2
        );
        let elsewhere = Link {
            is_in_sysfs: false,
            ..nic()
        };
        let hidden = facts(&Tree::new(&[]).host(), &elsewhere);
        assert!(
            judge(&elsewhere, &busy(), &hidden, Some((6, 18)))[0]
                .steps
                .is_empty()
        );
    }
}
