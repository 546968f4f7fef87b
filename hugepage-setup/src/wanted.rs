//! What the operator means to run, in so far as the host must fit it.

use crate::cores;
use crate::host::Host;
use crate::links::Link;
use crate::stage::queues;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// Bytes of a frame.
const FRAME_LEN: u64 = 2048;
const FRAMES_A_HUGEPAGE: u64 = 1024;
/// Frames of a worker, where its rings need no more.
const FRAMES_MIN: u64 = 16_384;
/// One batch in the worker's hands, and as many again for what it originates.
const FRAMES_EXTRA: u64 = 128;

/// Whether the packet memory is to lie in hugepages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hugepages {
    /// Where there are some.
    #[default]
    Auto,
    /// Trunkline does not start without.
    On,
    /// Not at all.
    Off,
}

/// What Trunkline is to run with on this host.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Names of the devices with AF_XDP, each once.
    pub interfaces: Vec<String>,
    /// Those among them with tagged traffic.
    pub vlans: Vec<String>,
    /// Worker threads. Each owns one queue or more of every interface.
    pub workers: u32,
    /// The core of each worker; empty for the first ones that there are.
    pub cores: Vec<u32>,
    /// Workers never sleep (`poll = "busy"`).
    pub busy: bool,
    /// Devices whose NIC the workers must poll themselves (`busy_poll = "on"`).
    pub busy_poll_on: Vec<String>,
    /// Devices whose NIC they must not (`busy_poll = "off"`).
    pub busy_poll_off: Vec<String>,
    /// Where SIP arrives.
    pub listens: Vec<SocketAddr>,
    /// UDP ports of the media relays.
    pub media_ports: Vec<PortRange>,
    /// Frames of one worker (`umem.frames`); `None` for as many as its rings need.
    pub frames: Option<u64>,
    /// Where they are to lie.
    pub hugepages: Hugepages,
    /// Descriptors of each AF_XDP receive ring (`rings.rx`).
    pub ring_rx: u32,
    /// Descriptors of each AF_XDP transmit ring (`rings.tx`).
    pub ring_tx: u32,
}

impl Default for Wanted {
    /// What the configuration has where nothing is said.
    fn default() -> Wanted {
        Wanted {
            interfaces: Vec::new(),
            vlans: Vec::new(),
            workers: 2,
            cores: Vec::new(),
            busy: false,
            busy_poll_on: Vec::new(),
            busy_poll_off: Vec::new(),
            listens: Vec::new(),
            media_ports: Vec::new(),
            frames: None,
            hugepages: Hugepages::Auto,
            ring_rx: 2048,
            ring_tx: 2048,
        }
    }
}

impl Wanted {
    /// The same, with as many frames as the rings on these interfaces need where nothing
    /// is said: as trunklined reckons.
    pub fn with_frames<'a>(self, links: impl Iterator<Item = &'a Link>) -> Wanted {
        let needed = queues::frames_needed(links, &self);
        let whole = (needed + FRAMES_EXTRA).next_multiple_of(FRAMES_A_HUGEPAGE);
        Wanted {
            frames: self.frames.or(Some(whole.max(FRAMES_MIN))),
            ..self
        }
    }

    /// Packet memory of one worker, in bytes.
    pub fn worker_len(&self) -> u64 {
        self.frames.unwrap_or(FRAMES_MIN) * FRAME_LEN
    }

    /// Whether the workers are to poll this device's NIC themselves, its interrupts held
    /// back. For a worker that sleeps that is only done where it is demanded.
    pub fn polls_nic(&self, device: &str) -> bool {
        let has = |list: &[String]| list.iter().any(|other| other == device);
        has(&self.busy_poll_on) || (self.busy && !has(&self.busy_poll_off))
    }

    /// Packet memory of all workers, in bytes.
    pub fn umem_len(&self) -> u64 {
        u64::from(self.workers) * self.worker_len()
    }

    /// The core of each worker: as named, or the first ones that a process may use.
    pub fn cores_on(&self, host: &Host) -> Vec<u32> {
        let allowed = host.read("/proc/self/status").and_then(|status| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
            Some(cores::list(line.trim()))
        });
        let cores = if self.cores.is_empty() {
            allowed.unwrap_or_default()
        } else {
            self.cores.clone()
        };
        let workers = usize::try_from(self.workers).unwrap_or(usize::MAX);
        cores.into_iter().take(workers).collect()
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

/// The same ports in order, ranges that touch joined: as the kernel shows them.
pub fn merged(ranges: &[PortRange]) -> Vec<PortRange> {
    let mut sorted = ranges.to_vec();
    sorted.sort_by_key(|range| range.first);
    let mut merged: Vec<PortRange> = Vec::new();
    for range in sorted {
        match merged.last_mut() {
            Some(last) if u32::from(range.first) <= u32::from(last.last) + 1 => {
                last.last = last.last.max(range.last);
            }
            _ => merged.push(range),
        }
    }
    merged
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
    fn ranges_that_touch_or_overlap_become_one() {
        let text = |ranges: &[PortRange]| {
            let texts: Vec<String> = ranges.iter().map(PortRange::to_string).collect();
            texts.join(",")
        };
        assert_eq!(
            text(&merged(&ranges("8080,20000-24999,25000-29999,53,20500"))),
            "53,8080,20000-29999"
        );
        assert_eq!(text(&merged(&ranges("1-65535,65535"))), "1-65535");
        assert_eq!(text(&merged(&[])), "");
    }

    #[test]
    fn cores_are_as_named_or_the_first_that_may_be_used() {
        let status = "Name:\tcat\nCpus_allowed_list:\t2-3,6\n";
        let tree = crate::host::fixture::Tree::new(&[("/proc/self/status", status)]);
        let mut wanted = Wanted {
            workers: 2,
            ..Wanted::default()
        };
        assert_eq!(wanted.cores_on(&tree.host()), [2, 3]);
        wanted.cores = vec![8, 9, 10];
        assert_eq!(wanted.cores_on(&tree.host()), [8, 9]);
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
