//! A steering rule: which queue gets the UDP packets to one address and port.

use std::fmt;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::str::FromStr;

/// UDP to `to` goes to `queue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The destination.
    pub to: SocketAddr,
    /// The receive queue.
    pub queue: u32,
}

impl fmt::Display for Rule {
    /// As `ethtool -N` takes it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flow = match self.to.ip() {
            IpAddr::V4(_) => "udp4",
            IpAddr::V6(_) => "udp6",
        };
        write!(
            out,
            "flow-type {flow} dst-ip {} dst-port {} action {}",
            self.to.ip(),
            self.to.port(),
            self.queue
        )
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Rule, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let rule = match words[..] {
            [
                "flow-type",
                flow,
                "dst-ip",
                ip,
                "dst-port",
                port,
                "action",
                queue,
            ] => parts(flow, ip, port, queue),
            _ => None,
        };
        rule.ok_or_else(|| format!("'{text}' is not a steering rule of ours"))
    }
}

fn parts(flow: &str, ip: &str, port: &str, queue: &str) -> Option<Rule> {
    let ip: IpAddr = ip.parse().ok()?;
    let is_ipv4 = flow == "udp4";
    let rule = Rule {
        to: SocketAddr::new(ip, port.parse().ok()?),
        queue: queue.parse().ok()?,
    };
    (ip.is_ipv4() == is_ipv4 && (is_ipv4 || flow == "udp6")).then_some(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_as_it_is_written() {
        for (to, text) in [
            (
                "192.0.2.1:5060",
                "flow-type udp4 dst-ip 192.0.2.1 dst-port 5060 action 1",
            ),
            (
                "[2001:db8::1]:5062",
                "flow-type udp6 dst-ip 2001:db8::1 dst-port 5062 action 1",
            ),
        ] {
            let rule = Rule {
                to: to.parse().unwrap(),
                queue: 1,
            };
            assert_eq!(rule.to_string(), text);
            assert_eq!(text.parse(), Ok(rule));
        }
    }

    #[test]
    fn other_rules_are_refused() {
        for text in [
            "",
            "flow-type tcp4 dst-ip 192.0.2.1 dst-port 5060 action 1",
            "flow-type udp6 dst-ip 192.0.2.1 dst-port 5060 action 1",
            "flow-type udp4 dst-ip 192.0.2.1 dst-port 70000 action 1",
        ] {
            assert!(text.parse::<Rule>().is_err(), "{text}");
        }
    }
}
