//! What the operator means to run, in so far as the host must fit it.

use std::fmt;
use std::str::FromStr;

/// What Trunkline is to run with on this host.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Names of the interfaces with AF_XDP.
    pub interfaces: Vec<String>,
    /// Worker threads. Each owns one queue or more of every interface.
    pub workers: u32,
    /// UDP ports of the media relays.
    pub media_ports: Vec<PortRange>,
    /// Packet memory (UMEM) of one worker, in MiB.
    pub umem_mib: u32,
}

impl Wanted {
    /// Packet memory of all workers, in bytes.
    pub fn umem_len(&self) -> u64 {
        u64::from(self.workers) * u64::from(self.umem_mib) * 1024 * 1024
    }
}

/// UDP ports from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port, not below `first`.
    pub last: u16,
}

impl PortRange {
    /// Whether the two have a port in common.
    pub fn overlaps(&self, other: &PortRange) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Whether every port of this range is in one of the others, which may touch.
    pub fn is_covered_by(&self, others: &[PortRange]) -> bool {
        let mut next = u32::from(self.first);
        // Each visit moves on by at least one range, so as many visits as
        // there are ranges decide it whatever their order.
        for _ in others {
            let Some(range) = others
                .iter()
                .find(|range| u32::from(range.first) <= next && next <= u32::from(range.last))
            else {
                break;
            };
            next = u32::from(range.last) + 1;
        }
        next > u32::from(self.last)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return write!(out, "{}", self.first);
        }
        write!(out, "{}-{}", self.first, self.last)
    }
}

impl FromStr for PortRange {
    type Err = String;

    /// Reads `20000-29999`, or a single port.
    fn from_str(text: &str) -> Result<PortRange, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |digits: &str| {
            digits
                .parse::<u16>()
                .map_err(|_| format!("'{digits}' is not a port; write it as 20000-29999"))
        };
        let range = PortRange {
            first: port(first)?,
            last: port(last)?,
        };
        if range.first == 0 || range.first > range.last {
            return Err(format!(
                "'{text}' has no port in it; write it as 20000-29999"
            ));
        }
        Ok(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(text: &str) -> Vec<PortRange> {
        text.split(',').map(|part| part.parse().unwrap()).collect()
    }

    #[test]
    fn a_range_is_read_as_it_is_written() {
        let range: PortRange = "20000-29999".parse().unwrap();
        assert_eq!(
            range,
            PortRange {
                first: 20000,
                last: 29999
            }
        );
        assert_eq!(range.to_string(), "20000-29999");
        assert_eq!(
            "53".parse(),
            Ok(PortRange {
                first: 53,
                last: 53
            })
        );
    }

    #[test]
    fn what_is_no_range_is_refused_with_an_example() {
        for text in ["", "-", "20000-", "30000-20000", "0-10", "1-65536", "a-b"] {
            let error = text.parse::<PortRange>().unwrap_err();
            assert!(error.contains("20000-29999"), "{text}: {error}");
        }
    }

    #[test]
    fn a_range_may_be_covered_in_pieces() {
        let media = PortRange {
            first: 20000,
            last: 29999,
        };
        assert!(media.is_covered_by(&ranges("20000-29999")));
        assert!(media.is_covered_by(&ranges("25000-40000,53,10000-24999")));
        assert!(!media.is_covered_by(&ranges("20000-24999,25001-29999")));
        assert!(!media.is_covered_by(&ranges("20001-29999")));
        assert!(!media.is_covered_by(&[]));
        let all = PortRange {
            first: 1,
            last: 65535,
        };
        assert!(all.is_covered_by(&ranges("1-65535")));
    }
}
