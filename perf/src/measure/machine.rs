//! What the figures were measured on.

use std::fs;
use std::process::Command;

use serde_json::Value;
use serde_json::json;

/// The machine: processor, cores, memory, kernel, distribution.
#[must_use]
pub fn facts() -> Value {
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key));
        let value = line.and_then(|line| line.split_once([':', '=']));
        value.map_or(String::new(), |(_, value)| {
            value.trim().trim_matches('"').to_owned()
        })
    };
    let cpuinfo = file("/proc/cpuinfo");
    json!({
        "processor": after(&cpuinfo, "model name"),
        // All of them, and not only those that this process is pinned to.
        "cores": cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
        "memory": after(&file("/proc/meminfo"), "MemTotal"),
        "kernel": file("/proc/sys/kernel/osrelease").trim(),
        "distribution": after(&file("/etc/os-release"), "PRETTY_NAME"),
        "load": file("/proc/loadavg").trim(),
    })
}

/// The first line of what a program says of its version; empty where there is none.
#[must_use]
pub fn version(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    let text = output.map_or(Vec::new(), |output| output.stdout);
    let text = String::from_utf8_lossy(&text);
    text.lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_told() {
        let facts = facts();
        assert!(facts["cores"].as_u64().unwrap() > 0);
        assert!(!facts["kernel"].as_str().unwrap().is_empty());
        assert!(!facts["processor"].as_str().unwrap().is_empty());
        assert!(version("uname", "-s").contains("Linux"));
        assert_eq!(version("no-such-program", ""), "");
    }
}
