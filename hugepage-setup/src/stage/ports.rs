//! Media ports and the ports that the kernel gives to its own sockets.
//!
//! XDP takes every packet to a media port. Were an ephemeral port of the host's
//! own (a DNS query, a database connection over UDP) among them, its answers
//! would never reach the socket.

use crate::host::Host;
use crate::row::Row;
use crate::row::State;
use crate::row::Step;
use crate::setting::Setting;
use crate::wanted::PortRange;
use crate::wanted::Wanted;
use crate::wanted::merged;

/// Both settings belong to the network namespace; `None` is what could not be
/// read.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// net.ipv4.ip_local_port_range.
    pub ephemeral: Option<PortRange>,
    /// net.ipv4.ip_local_reserved_ports.
    pub reserved: Option<Vec<PortRange>>,
}

/// Reads them.
pub fn facts(host: &Host) -> Facts {
    Facts {
        ephemeral: host
            .read("/proc/sys/net/ipv4/ip_local_port_range")
            .and_then(|text| {
                let mut ports = text.split_whitespace().map(str::parse);
                Some(PortRange {
                    first: ports.next()?.ok()?,
                    last: ports.next()?.ok()?,
                })
            }),
        reserved: host
            .read("/proc/sys/net/ipv4/ip_local_reserved_ports")
            .and_then(|text| {
                text.split(',')
                    .filter(|part| !part.is_empty())
                    .map(|part| part.parse().ok())
                    .collect()
            }),
    }
}

/// One row a media range.
pub fn judge(facts: &Facts, wanted: &Wanted) -> Vec<Row> {
    if wanted.media_ports.is_empty() {
        let row = Row::ok("media ports", "none named", "reserved");
        return vec![row.but(
            State::NotApplicable,
            "name them with --config, or --media-ports 20000-29999",
        )];
    }
    wanted
        .media_ports
        .iter()
        .map(|range| judge_one(facts, wanted, range))
        .collect()
}

fn judge_one(facts: &Facts, wanted: &Wanted, range: &PortRange) -> Row {
    let item = format!("media ports {range}");
    let (Some(ephemeral), Some(reserved)) = (&facts.ephemeral, &facts.reserved) else {
        return Row::ok(&item, "not readable", "reserved").but(State::NotApplicable, "");
    };
    if range.is_covered_by(reserved) {
        return Row::ok(&item, "reserved", "reserved");
    }
    let reserve = reserve(reserved, &wanted.media_ports);
    if range.overlaps(ephemeral) {
        let found = format!("not reserved, and the host's own sockets take {ephemeral}");
        return Row::ok(&item, found, "reserved").needs(State::Bad, vec![reserve]);
    }
    let found = format!("not reserved; the host's own sockets take {ephemeral}");
    Row::ok(&item, found, "reserved").needs(State::Warn, vec![reserve])
}

/// Reserves all media ports and keeps what others reserved.
fn reserve(reserved: &[PortRange], media: &[PortRange]) -> Step {
    let all: Vec<PortRange> = reserved.iter().chain(media).copied().collect();
    let ranges: Vec<String> = merged(&all).iter().map(PortRange::to_string).collect();
    Step {
        setting: Setting::Sysctl {
            name: "net.ipv4.ip_local_reserved_ports".to_owned(),
        },
        to: ranges.join(","),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::Tree;

    fn rows(ephemeral: &str, reserved: &str, media: &str) -> Vec<Row> {
        let tree = Tree::new(&[
            ("/proc/sys/net/ipv4/ip_local_port_range", ephemeral),
            ("/proc/sys/net/ipv4/ip_local_reserved_ports", reserved),
        ]);
        let media_ports = media
            .split(',')
            .filter(|part| !part.is_empty())
            .map(|part| part.parse().unwrap())
            .collect();
        let wanted = Wanted {
            media_ports,
            ..Wanted::default()
        };
        judge(&facts(&tree.host()), &wanted)
    }

    #[test]
    fn reserved_ports_are_right() {
        let rows = rows("32768\t60999\n", "20000-49999\n", "20000-29999,40000-49999");
        assert_eq!(rows.len(), 2);
        assert!(rows.iter().all(|row| row.state == State::Ok), "{rows:?}");
    }

    #[test]
    fn an_overlap_with_ephemeral_ports_is_bad() {
        let row = rows("32768\t60999\n", "\n", "30000-39999").remove(0);
        assert_eq!(row.state, State::Bad);
        assert_eq!(
            row.advice,
            "sysctl -w net.ipv4.ip_local_reserved_ports=30000-39999"
        );
    }

    #[test]
    fn a_range_below_the_ephemeral_ports_is_a_warning() {
        assert_eq!(
            rows("32768\t60999\n", "\n", "20000-29999")[0].state,
            State::Warn
        );
    }

    #[test]
    fn the_advice_keeps_what_others_reserved() {
        let row = rows("32768\t60999\n", "8080,20000-20010\n", "20000-29999").remove(0);
        assert_eq!(
            row.advice,
            "sysctl -w net.ipv4.ip_local_reserved_ports=8080,20000-29999"
        );
    }

    #[test]
    fn without_a_range_the_row_says_how_to_name_one() {
        let row = rows("32768\t60999\n", "\n", "").remove(0);
        assert_eq!(row.state, State::NotApplicable);
        assert!(row.advice.contains("--media-ports"));
    }
}
