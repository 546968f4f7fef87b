//! What the XDP program does with a packet, and how often it did.
//!
//! [`TABLE`] is the one place that names and explains the verdicts. The same list stands in
//! `src/bpf/verdicts.h`, in the same order, because a verdict's number is the index of its counter;
//! a test compares the two.

use std::fmt;

/// What the kernel is told to do with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// The packet goes on to the kernel's network stack.
    Pass,
    /// The packet ends here.
    Drop,
    /// The packet goes to the AF_XDP socket of its receive queue. If that socket's ring is full the
    /// kernel drops it and counts it there (`XDP_STATISTICS`), not here.
    Redirect,
}

/// Why a packet went where it went. The number is the index of the counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
#[allow(
    missing_docs,
    reason = "TABLE explains each variant, for readers and operators alike"
)]
pub enum Verdict {
    PassArp,
    PassVlan,
    PassOtherEthertype,
    PassTruncated,
    PassMalformed,
    PassOtherAddress,
    PassIpOptions,
    PassIpv6Extension,
    PassFragment,
    PassIcmp,
    PassTcp,
    PassOtherProtocol,
    PassOtherPort,
    PassNoWorkerSip,
    DropNoWorkerMedia,
    RedirectSip,
    RedirectMedia,
}

/// A verdict's name, action and help text.
#[derive(Debug, Clone, Copy)]
pub struct Explanation {
    /// The verdict that is explained.
    pub verdict: Verdict,
    /// The counter's name, as metrics and `trunkctl` show it.
    pub name: &'static str,
    /// What happens to the packet.
    pub action: Action,
    /// One sentence for the operator.
    pub help: &'static str,
}

const fn row(
    verdict: Verdict,
    name: &'static str,
    action: Action,
    help: &'static str,
) -> Explanation {
    Explanation {
        verdict,
        name,
        action,
        help,
    }
}

/// How many verdicts there are.
pub const VERDICT_COUNT: usize = 17;

/// Where all packets are counted: `VERDICT_SEEN` of verdicts.h, after the last verdict.
pub(crate) const SEEN_INDEX: u32 = Verdict::RedirectMedia as u32 + 1;

const _: () = assert!(SEEN_INDEX as usize == VERDICT_COUNT);

/// Every verdict, in the order of its number.
pub const TABLE: [Explanation; VERDICT_COUNT] = [
    row(
        Verdict::PassArp,
        "pass_arp",
        Action::Pass,
        "ARP, which the kernel answers",
    ),
    row(
        Verdict::PassVlan,
        "pass_vlan",
        Action::Pass,
        "Frames whose VLAN tags are those of no interface on this device, or more than two",
    ),
    row(
        Verdict::PassOtherEthertype,
        "pass_other_ethertype",
        Action::Pass,
        "Frames of any other EtherType",
    ),
    row(
        Verdict::PassTruncated,
        "pass_truncated",
        Action::Pass,
        "Frames or datagrams that end inside their Ethernet, VLAN, IP or UDP header",
    ),
    row(
        Verdict::PassMalformed,
        "pass_malformed",
        Action::Pass,
        "IP whose version, header length, total or payload length, or UDP length cannot be true",
    ),
    row(
        Verdict::PassOtherAddress,
        "pass_other_address",
        Action::Pass,
        "IP to an address that the configuration does not name on this interface, also multicast",
    ),
    row(
        Verdict::PassIpOptions,
        "pass_ip_options",
        Action::Pass,
        "IPv4 to one of our addresses with IP options",
    ),
    row(
        Verdict::PassIpv6Extension,
        "pass_ipv6_extension",
        Action::Pass,
        "IPv6 to one of our addresses with hop-by-hop or destination options or a routing header",
    ),
    row(
        Verdict::PassFragment,
        "pass_fragment",
        Action::Pass,
        "IP fragments to one of our addresses, which the kernel reassembles",
    ),
    row(
        Verdict::PassIcmp,
        "pass_icmp",
        Action::Pass,
        "ICMP or ICMPv6 to one of our addresses",
    ),
    row(
        Verdict::PassTcp,
        "pass_tcp",
        Action::Pass,
        "TCP to one of our addresses",
    ),
    row(
        Verdict::PassOtherProtocol,
        "pass_other_protocol",
        Action::Pass,
        "Neither UDP, TCP nor ICMP, to one of our addresses",
    ),
    row(
        Verdict::PassOtherPort,
        "pass_other_port",
        Action::Pass,
        "UDP to one of our addresses, to a port that is neither a SIP listen nor in a media range",
    ),
    row(
        Verdict::PassNoWorkerSip,
        "pass_no_worker_sip",
        Action::Pass,
        "SIP for us on a receive queue without a worker: the kernel gets it",
    ),
    row(
        Verdict::DropNoWorkerMedia,
        "drop_no_worker_media",
        Action::Drop,
        "Media for us on a receive queue without a worker",
    ),
    row(
        Verdict::RedirectSip,
        "redirect_sip",
        Action::Redirect,
        "SIP handed to the worker",
    ),
    row(
        Verdict::RedirectMedia,
        "redirect_media",
        Action::Redirect,
        "Media handed to the worker",
    ),
];

impl Verdict {
    /// Name, action and help text.
    #[must_use]
    pub fn explanation(self) -> &'static Explanation {
        // Every verdict is an index of the table: `TABLE` has a row a variant, and a test holds it.
        &TABLE[self as usize]
    }

    /// The counter's name, for example `pass_arp`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.explanation().name
    }

    /// What happens to a packet with this verdict.
    #[must_use]
    pub fn action(self) -> Action {
        self.explanation().action
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The counters of one interface's program, summed over all CPUs, in packets since it was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdicts {
    counts: [u64; VERDICT_COUNT],
    seen: u64,
}

impl Verdicts {
    pub(crate) fn new(counts: [u64; VERDICT_COUNT], seen: u64) -> Verdicts {
        Verdicts { counts, seen }
    }

    /// Packets with this verdict.
    #[must_use]
    pub fn get(&self, verdict: Verdict) -> u64 {
        self.counts[verdict as usize]
    }

    /// All packets, counted by the program before it looks at them.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Packets whose verdict has this action.
    #[must_use]
    pub fn total(&self, action: Action) -> u64 {
        self.iter()
            .filter(|(verdict, _)| verdict.action() == action)
            .map(|(_, count)| count)
            .sum()
    }

    /// Every verdict with its count, in the order of [`TABLE`].
    pub fn iter(&self) -> impl Iterator<Item = (Verdict, u64)> + '_ {
        TABLE.iter().map(|row| (row.verdict, self.get(row.verdict)))
    }

    /// Does every packet seen have exactly one verdict? Exact at rest; while packets arrive the
    /// counters are read one after the other and may differ by those that came in between.
    #[must_use]
    pub fn balanced(&self) -> bool {
        self.seen == self.counts.iter().sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The identifiers of `enum verdict`, in order.
    fn names_in_c() -> Vec<String> {
        let header = include_str!("bpf/verdicts.h");
        let body = header.split_once("enum verdict {").expect("the enum").1;
        let body = body.split_once("};").expect("the enum's end").0;
        body.lines()
            .map(str::trim)
            .filter(|line| line.starts_with("VERDICT_"))
            .map(|line| {
                let name = line.strip_suffix(',').expect("one name a line, no value");
                assert!(!name.contains('='), "{name}: values are implicit");
                name.to_owned()
            })
            .collect()
    }

    #[test]
    fn the_c_enum_and_the_table_agree_in_names_number_and_order() {
        let mut expected: Vec<String> = TABLE
            .iter()
            .map(|row| format!("VERDICT_{}", row.name.to_uppercase()))
            .collect();
        expected.push("VERDICT_SEEN".to_owned());
        assert_eq!(names_in_c(), expected);
    }

    #[test]
    fn each_row_stands_at_its_verdicts_number() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.verdict as usize, index, "{}", row.name);
        }
    }

    #[test]
    fn a_name_begins_with_its_action() {
        for row in &TABLE {
            let prefix = match row.action {
                Action::Pass => "pass_",
                Action::Drop => "drop_",
                Action::Redirect => "redirect_",
            };
            assert!(row.name.starts_with(prefix), "{}", row.name);
        }
    }

    #[test]
    fn a_packet_without_a_verdict_unbalances_the_sum() {
        let mut counts = [0; VERDICT_COUNT];
        counts[Verdict::PassArp as usize] = 2;
        counts[Verdict::RedirectSip as usize] = 3;
        assert!(Verdicts::new(counts, 5).balanced());
        assert!(!Verdicts::new(counts, 6).balanced());
        assert_eq!(Verdicts::new(counts, 5).total(Action::Pass), 2);
    }
}
