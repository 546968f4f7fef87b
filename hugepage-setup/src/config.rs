//! What the host must fit, out of Trunkline's configuration.
//!
//! Only the keys that matter here are read; whether the rest is right is for `trunkctl
//! config check` to say. The default of each key is [`Wanted::default`].

use crate::wanted::Hugepages;
use crate::wanted::PortRange;
use crate::wanted::Wanted;
use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use toml::Table;
use toml::Value;

/// Why the configuration says nothing to us.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {}: {error}. Name the configuration with --config, or what is wanted with --interface and the other options", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is not TOML.
    #[error("{}: {error}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// With line and column.
        error: toml::de::Error,
    },
    /// A key has a value that it cannot have.
    #[error("{}: {key} should be {should}: see `trunkctl config check {}`", path.display(), path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// With its table, as `rings.rx`.
        key: String,
        /// What it could be.
        should: &'static str,
    },
}

/// Reads the file.
///
/// # Errors
/// [`ConfigError`], which says what to do.
pub fn read(path: &Path) -> Result<Wanted, ConfigError> {
    let text = fs::read_to_string(path).map_err(|error| ConfigError::Io {
        path: path.to_owned(),
        error,
    })?;
    let table: Table = text.parse().map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        error,
    })?;
    wanted(&table).map_err(|(key, should)| ConfigError::Value {
        path: path.to_owned(),
        key,
        should,
    })
}

/// A key, and what its value should be.
type Wrong = (String, &'static str);

fn wanted(file: &Table) -> Result<Wanted, Wrong> {
    let mut wanted = Wanted::default();
    let none = Table::new();
    let table = |name: &str| file.get(name).and_then(Value::as_table).unwrap_or(&none);
    set(&mut wanted.workers, file, "", "workers")?;
    if table("umem").contains_key("frames") {
        set(wanted.frames.insert(0), table("umem"), "umem.", "frames")?;
    }
    set(&mut wanted.ring_rx, table("rings"), "rings.", "rx")?;
    set(&mut wanted.ring_tx, table("rings"), "rings.", "tx")?;
    wanted.busy = file.get("poll").and_then(Value::as_str) == Some("busy");
    wanted.hugepages = match table("umem").get("hugepages").and_then(Value::as_str) {
        None | Some("auto") => Hugepages::Auto,
        Some("on") => Hugepages::On,
        Some("off") => Hugepages::Off,
        Some(_) => return Err(("umem.hugepages".to_owned(), "auto, on or off")),
    };
    if let Some(cores) = file.get("cores") {
        let core = |value: &Value| u32::try_from(value.as_integer()?).ok();
        let list = cores.as_array();
        wanted.cores = list
            .and_then(|list| list.iter().map(core).collect())
            .ok_or_else(|| ("cores".to_owned(), "a list of core numbers, as [2, 3]"))?;
    }
    for interface in entries(file, "interface") {
        let device = text(
            interface,
            "interface",
            "device",
            "the name of a network device",
        )?;
        if !wanted.interfaces.iter().any(|known| known == device) {
            wanted.interfaces.push(device.to_owned());
        }
        match interface.get("busy_poll").and_then(Value::as_str) {
            Some("on") => wanted.busy_poll_on.push(device.to_owned()),
            Some("off") => wanted.busy_poll_off.push(device.to_owned()),
            _ => {}
        }
        if interface.contains_key("vlan") && !wanted.vlans.iter().any(|known| known == device) {
            wanted.vlans.push(device.to_owned());
        }
    }
    for listen in entries(file, "listen") {
        let should = "an address and port, as 192.0.2.1:5060 or [2001:db8::1]:5060";
        let address = text(listen, "listen", "address", should)?;
        let address = address.parse();
        wanted
            .listens
            .push(address.map_err(|_| ("listen.address".to_owned(), should))?);
    }
    for media in entries(file, "media") {
        let should = "first and last port, as 20000-24999";
        let range: Result<PortRange, _> = text(media, "media", "ports", should)?.parse();
        let range = range.map_err(|_| ("media.ports".to_owned(), should))?;
        if !wanted.media_ports.contains(&range) {
            wanted.media_ports.push(range);
        }
    }
    Ok(wanted)
}

/// The tables of `[[name]]`.
fn entries<'a>(file: &'a Table, name: &str) -> impl Iterator<Item = &'a Table> {
    let list = file.get(name).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_table)
}

fn text<'a>(table: &'a Table, of: &str, key: &str, should: &'static str) -> Result<&'a str, Wrong> {
    let value = table.get(key).and_then(Value::as_str);
    value.ok_or_else(|| (format!("{of}.{key}"), should))
}

/// A number above 0, where the key is there.
fn set<T: TryFrom<i64>>(to: &mut T, table: &Table, of: &str, key: &str) -> Result<(), Wrong> {
    let Some(value) = table.get(key) else {
        return Ok(());
    };
    *to = value
        .as_integer()
        .filter(|number| *number > 0)
        .and_then(|number| number.try_into().ok())
        .ok_or_else(|| (format!("{of}{key}"), "a number above 0"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Wanted, Wrong> {
        wanted(&text.parse().unwrap())
    }

    #[test]
    fn the_reference_is_understood() {
        let wanted = of(include_str!("../../control/config/default.toml")).unwrap();
        assert_eq!(wanted.interfaces, ["access", "core"]);
        assert_eq!((wanted.workers, wanted.frames), (2, None));
        assert_eq!((wanted.ring_rx, wanted.ring_tx), (2048, 2048));
        assert_eq!(wanted.listens.len(), 2);
        assert_eq!(wanted.media_ports.len(), 1);
        assert!(!wanted.busy && wanted.vlans.is_empty());
    }

    #[test]
    fn what_matters_is_taken_and_the_rest_is_left_alone() {
        let wanted = of("
            workers = 3
            poll = \"busy\"
            cores = [4, 5, 6]
            future = { of = [1, 2] }
            [umem]
            frames = 1024
            hugepages = \"on\"
            [[interface]]
            name = \"a\"
            device = \"eth0\"
            vlan = 10
            busy_poll = \"off\"
            [[interface]]
            name = \"b\"
            device = \"eth0\"
            vlan = [20, 30]
            [[listen]]
            address = \"[2001:db8::1]:5060\"
        ")
        .unwrap();
        assert_eq!(wanted.interfaces, ["eth0"]);
        assert_eq!(wanted.vlans, ["eth0"]);
        assert_eq!(wanted.cores, [4, 5, 6]);
        assert!(wanted.busy && !wanted.polls_nic("eth0") && wanted.polls_nic("eth1"));
        assert_eq!(wanted.hugepages, Hugepages::On);
        assert_eq!(wanted.worker_len(), 2 << 20);
    }

    #[test]
    fn a_wrong_value_is_named() {
        for (text, key) in [
            ("workers = 0", "workers"),
            ("workers = \"two\"", "workers"),
            ("[rings]\nrx = -1", "rings.rx"),
            ("cores = [\"a\"]", "cores"),
            ("[umem]\nhugepages = \"yes\"", "umem.hugepages"),
            ("[[interface]]\nname = \"a\"", "interface.device"),
            ("[[listen]]\naddress = \"x\"", "listen.address"),
            ("[[media]]\nports = \"5-3\"", "media.ports"),
        ] {
            assert_eq!(of(text).unwrap_err().0, key, "{text}");
        }
    }
}
