//! What one value of the file says of another: names that must exist, addresses
//! that must not be taken twice.

mod dial;
mod location;
mod subscribers;

use std::collections::HashMap;
use std::collections::HashSet;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::ops::Range;

use toml::Spanned;
use trunkline_bpf::MEDIA_RANGES_MAX;
use trunkline_bpf::SIP_PORTS_MAX;
use trunkline_dataplane::limits::IN_PROGRESS_PART;
use trunkline_dataplane::media::table::RANGES_MAX;
use trunkline_dataplane::ring::ModeWish as ZeroCopy;
use trunkline_dataplane::ring::RingLens;
use trunkline_dataplane::ring::frames_needed;

use super::file::File;
use super::file::Interface;
use super::file::Name;
use super::problem::Problem;
use super::section::nearest;

/// Adds to `problems` all that is wrong between the values of `file`.
pub(super) fn check(file: &File, problems: &mut Vec<Problem>) {
    let mut check = Check { problems };
    check.machine(file);
    check.interfaces(file);
    check.listens(file);
    check.media(file);
    check.trunks(file);
    check.domains(file);
    check.authentication(file);
    check.registrar(file);
    check.subscribers(file);
    check.location(file);
    check.routes(file);
    check.session(file);
}

struct Check<'p> {
    problems: &'p mut Vec<Problem>,
}

impl Check<'_> {
    fn wrong(&mut self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem::new(span, message, help));
    }

    fn machine(&mut self, file: &File) {
        let workers = *file.workers.get_ref() as usize;
        if let Some(cores) = &file.cores {
            let count = cores.get_ref().len();
            if count != workers {
                let help =
                    format!("there are {workers} workers: name one core for each, or none at all");
                self.wrong(cores.span(), format!("`cores` names {count}"), help);
            }
            self.unique(
                "core",
                cores
                    .get_ref()
                    .iter()
                    .map(|core| (core.span(), core.get_ref().to_string())),
            );
        }
        let calls = file.calls.get_ref();
        let for_new_work = file.transactions - file.transactions / IN_PROGRESS_PART;
        if for_new_work <= *calls {
            let message = format!(
                "{} transactions leave none for {calls} calls",
                file.transactions
            );
            let help = "a place is kept for the BYE of every call, and an eighth of them for other \
                requests of calls: `transactions` must be larger";
            self.wrong(file.calls.span(), message, help);
        }
        for (key, path) in [("socket", &file.socket), ("state", &file.state)] {
            let Some(path) = path else { continue };
            if !path.get_ref().is_absolute() {
                self.wrong(
                    path.span(),
                    format!("`{key}` is not an absolute path"),
                    "begin it with /",
                );
            }
        }
        for (key, ring) in [("rx", &file.ring_rx), ("tx", &file.ring_tx)] {
            if !ring.get_ref().is_power_of_two() {
                let near = ring.get_ref().next_power_of_two();
                self.wrong(
                    ring.span(),
                    format!("`{key}` is not a power of two"),
                    format!("take {near}"),
                );
            }
        }
    }

    fn interfaces(&mut self, file: &File) {
        if file.interfaces.is_empty() {
            let help = "add an [[interface]] with name and device";
            self.wrong(file.top.clone(), "no interface is configured", help);
        }
        self.names(
            "interface",
            file.interfaces.iter().map(|interface| &interface.name),
        );
        self.count(
            "interface",
            file.interfaces.len(),
            file.interfaces.get(255).map(|entry| entry.name.span()),
        );
        self.devices(file);
        self.frames(file);
        // All sockets of a worker share one UMEM, and so one mode.
        let wants = |wish| {
            file.interfaces
                .iter()
                .find(|interface| *interface.zero_copy.get_ref() == wish)
        };
        if let (Some(on), Some(off)) = (wants(ZeroCopy::ZeroCopy), wants(ZeroCopy::Copy)) {
            let message = "zero_copy cannot be \"on\" here and \"off\" there";
            let help = format!(
                "interface \"{}\" turns it off; take \"auto\" for one of them",
                off.name.get_ref().0
            );
            self.wrong(on.zero_copy.span(), message, help);
        }
    }

    /// Interfaces of one device differ in their tags, and in nothing else that is the device's.
    fn devices(&mut self, file: &File) {
        for (at, interface) in file.interfaces.iter().enumerate() {
            let Some(device) = &interface.device else {
                continue;
            };
            let tags = interface.vlan.as_ref().map_or(0, |ids| ids.get_ref().len());
            if let Some(outer) = interface.vlan_outer.as_ref().filter(|_| tags < 2) {
                let help =
                    "it says how the outer of two tags is announced, as in vlan = [200, 100]";
                self.wrong(outer.span(), "`vlan_outer` without two tags", help);
            }
            let same = |other: &&Interface| {
                let other = other.device.as_ref().map(|device| device.get_ref());
                other == Some(device.get_ref())
            };
            let before = file.interfaces.get(..at).unwrap_or_default();
            let Some(other) = before.iter().find(same) else {
                continue;
            };
            let stack = interface.stack();
            if before
                .iter()
                .filter(same)
                .any(|other| other.stack() == stack)
            {
                let message = match stack.is_empty() {
                    true => format!("device \"{}\" is given twice", device.get_ref().0),
                    false => format!("VLAN {stack} of \"{}\" is given twice", device.get_ref().0),
                };
                let help = "each may stand there once; interfaces of one device differ in `vlan`";
                self.wrong(device.span(), message, help);
            }
            let differs = [
                ("mode", interface.mode != other.mode),
                (
                    "zero_copy",
                    interface.zero_copy.get_ref() != other.zero_copy.get_ref(),
                ),
                ("busy_poll", interface.busy_poll != other.busy_poll),
            ];
            for (key, _) in differs.into_iter().filter(|(_, differs)| *differs) {
                let name = &other.name.get_ref().0;
                let message =
                    format!("`{key}` is not that of \"{name}\", which is of this device too");
                self.wrong(
                    device.span(),
                    message,
                    "it is the device's: say the same for both",
                );
            }
        }
    }

    /// The frames must suffice where each worker has the fewest queues that it can have.
    fn frames(&mut self, file: &File) {
        let (rx, tx) = (*file.ring_rx.get_ref(), *file.ring_tx.get_ref());
        let devices: HashSet<_> = file
            .interfaces
            .iter()
            .filter_map(|interface| Some(&interface.device.as_ref()?.get_ref().0))
            .collect();
        let lens = vec![RingLens::new(rx, tx, 0); devices.len()];
        let needed = frames_needed(&lens);
        let frames = *file.umem_frames.get_ref();
        if frames > 0 && frames < needed {
            let message = "too few frames to keep the rings of a worker going";
            let help = format!(
                "with one queue of each interface a worker needs {needed}, with two about twice as many"
            );
            let span = file.umem_frames.span();
            self.wrong(span, message, help);
        }
    }

    fn listens(&mut self, file: &File) {
        if file.listens.is_empty() {
            let help = "add a [[listen]] with name and address";
            self.wrong(file.top.clone(), "no listen is configured", help);
        }
        self.count(
            "listen",
            file.listens.len(),
            file.listens.get(255).map(|listen| listen.name.span()),
        );
        self.names("listen", file.listens.iter().map(|listen| &listen.name));
        let addresses = file
            .listens
            .iter()
            .filter_map(|listen| listen.address.as_ref());
        self.unique(
            "address",
            addresses
                .clone()
                .map(|address| (address.span(), address.get_ref().to_string())),
        );
        let mut per_address: HashMap<IpAddr, usize> = HashMap::new();
        for address in addresses {
            self.endpoint(
                &address.span(),
                address.get_ref().ip(),
                Some(address.get_ref().port()),
            );
            let count = per_address.entry(address.get_ref().ip()).or_default();
            *count += 1;
            if *count == SIP_PORTS_MAX + 1 {
                let message = format!(
                    "more than {SIP_PORTS_MAX} listens on {}",
                    address.get_ref().ip()
                );
                self.wrong(address.span(), message, "use another address for the rest");
            }
        }
        for listen in &file.listens {
            let Some(advertise) = &listen.advertise else {
                continue;
            };
            let ip = advertise.get_ref().ip();
            self.endpoint(&advertise.span(), ip, Some(advertise.get_ref().port()));
            if let Some(address) = &listen.address {
                let address = address.get_ref().ip();
                self.one_family(advertise.span(), ip, "the address", address);
            }
        }
    }

    fn media(&mut self, file: &File) {
        self.count(
            "media range",
            file.media.len(),
            file.media.get(RANGES_MAX).map(|range| range.name.span()),
        );
        self.names("media range", file.media.iter().map(|range| &range.name));
        let mut seen: Vec<(IpAddr, &std::ops::RangeInclusive<u16>, &str)> = Vec::new();
        let mut per_address: HashMap<IpAddr, usize> = HashMap::new();
        for range in &file.media {
            for address in range.address.iter().chain(&range.advertise) {
                self.endpoint(&address.span(), *address.get_ref(), None);
            }
            if let (Some(advertise), Some(address)) = (&range.advertise, &range.address) {
                let (ip, address) = (*advertise.get_ref(), *address.get_ref());
                self.one_family(advertise.span(), ip, "the address", address);
            }
            let Some(ports) = &range.ports else { continue };
            self.ports(file, ports.span(), &ports.get_ref().0);
            let Some(address) = &range.address else {
                continue;
            };
            let (address, span, ports) = (*address.get_ref(), ports.span(), &ports.get_ref().0);
            let meets = |other: &std::ops::RangeInclusive<u16>| {
                other.start() <= ports.end() && ports.start() <= other.end()
            };
            for (_, other, name) in seen
                .iter()
                .filter(|(at, other, _)| *at == address && meets(other))
            {
                let message = format!("the ports overlap those of \"{name}\" on {address}");
                let help = format!("{name} has {}-{}", other.start(), other.end());
                self.wrong(span.clone(), message, help);
            }
            for listen in file
                .listens
                .iter()
                .filter_map(|listen| listen.address.as_ref())
            {
                let taken = listen.get_ref();
                if taken.ip() == address && ports.contains(&taken.port()) {
                    let message = format!("the SIP port {taken} lies inside a media range");
                    let help = format!(
                        "the range is {}-{} on {address}",
                        ports.start(),
                        ports.end()
                    );
                    self.wrong(listen.span(), message, help);
                }
            }
            let count = per_address.entry(address).or_default();
            *count += 1;
            if *count == MEDIA_RANGES_MAX + 1 {
                let message = format!("more than {MEDIA_RANGES_MAX} media ranges on {address}");
                self.wrong(span, message, "join them, or use another address");
            }
            seen.push((address, ports, &range.name.get_ref().0));
        }
    }

    fn ports(&mut self, file: &File, span: Range<usize>, ports: &std::ops::RangeInclusive<u16>) {
        let (first, last) = (*ports.start(), *ports.end());
        if first % 2 != 0 {
            let help = "RTP takes the even port of a pair and RTCP the odd one above it";
            self.wrong(
                span.clone(),
                format!("the first port, {first}, is odd"),
                help,
            );
        }
        if last % 2 == 0 {
            let help = "the last pair of ports ends with the odd one";
            self.wrong(
                span.clone(),
                format!("the last port, {last}, is even"),
                help,
            );
        }
        if first < 1024 {
            let help = "ports below 1024 belong to the host's services";
            self.wrong(
                span.clone(),
                format!("the first port, {first}, is privileged"),
                help,
            );
        }
        let pairs = (u32::from(last) + 1 - u32::from(first)) / 2;
        let workers = *file.workers.get_ref();
        if pairs < workers {
            let help = format!("each of the {workers} workers needs at least one pair");
            self.wrong(span, format!("{pairs} pairs of ports are too few"), help);
        }
    }

    /// An address that a packet can come from or go to, and a port other than 0.
    fn endpoint(&mut self, span: &Range<usize>, address: IpAddr, port: Option<u16>) {
        if address.is_unspecified()
            || address.is_multicast()
            || address == IpAddr::V4(Ipv4Addr::BROADCAST)
        {
            let help = "name the one address that is meant";
            self.wrong(
                span.clone(),
                format!("{address} is not the address of a host"),
                help,
            );
        }
        if is_link_local(address) {
            let message = format!("{address} is link-local, which says nothing without its link");
            let help = "take a global address, or a unique local one (fd00::/8)";
            self.wrong(span.clone(), message, help);
        }
        if port == Some(0) {
            self.wrong(span.clone(), "port 0 is no port", "SIP's own is 5060");
        }
    }

    /// Two addresses between which packets go, or that stand for each other.
    fn one_family(&mut self, span: Range<usize>, address: IpAddr, what: &str, other: IpAddr) {
        if address.is_ipv4() != other.is_ipv4() {
            let message = format!("{address} is of {}", family(address));
            let help = format!("{what}, {other}, is of {}", family(other));
            self.wrong(span, message, help);
        }
    }

    fn names<'n>(&mut self, kind: &str, names: impl Iterator<Item = &'n Spanned<Name>>) {
        self.unique(
            kind,
            names.map(|name| (name.span(), name.get_ref().0.clone())),
        );
    }

    fn unique(&mut self, kind: &str, values: impl Iterator<Item = (Range<usize>, String)>) {
        let mut seen = Vec::new();
        for (span, value) in values {
            if seen.contains(&value) {
                self.wrong(
                    span,
                    format!("{kind} \"{value}\" is given twice"),
                    "each may stand there once",
                );
            } else {
                seen.push(value);
            }
        }
    }

    fn known(&mut self, key: &str, name: Option<&Spanned<Name>>, names: &[&Name]) {
        let Some(name) = name else { return };
        if names.contains(&name.get_ref()) {
            return;
        }
        let all: Vec<_> = names.iter().map(|name| name.0.as_str()).collect();
        let kind = if key == "to" { "trunk" } else { key };
        self.unknown(&format!("[[{kind}]]"), name, &all);
    }

    /// A name that is none of `all`, which are of this kind.
    fn unknown(&mut self, kind: &str, name: &Spanned<Name>, all: &[&str]) {
        let help = match nearest(&name.get_ref().0, all) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if all.is_empty() => format!("add a {kind} of that name"),
            None => format!("there are: {}", all.join(", ")),
        };
        self.wrong(
            name.span(),
            format!("no {kind} is called \"{}\"", name.get_ref().0),
            help,
        );
    }

    fn count(&mut self, kind: &str, count: usize, span: Option<Range<usize>>) {
        if let Some(span) = span {
            self.wrong(
                span,
                format!("{count} of [[{kind}]] are more than the tables take"),
                "use fewer",
            );
        }
    }
}

const fn is_link_local(address: IpAddr) -> bool {
    match address {
        // 169.254/16 is routed as any other where an administrator says so.
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

const fn family(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "IPv4",
        IpAddr::V6(_) => "IPv6",
    }
}
