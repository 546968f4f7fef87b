//! The log: which of control's messages reach standard error, and changing that while
//! the daemon runs. A worker never logs.
//!
//! The filter is the process's own, as the log is: there is one of each.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::PoisonError;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::api::types;

/// What is logged where no one says otherwise.
const DEFAULT: &str = "info";

/// The levels, from silence to all there is.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Longest text of a filter, in bytes: a filter has a directive or three.
const FILTER_LEN_MAX: usize = 1024;

static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    configured: String,
    filter: Mutex<String>,
    handle: reload::Handle<EnvFilter, Registry>,
}

/// Why a filter is not set.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// No filter.
    #[error(
        "\"{directive}\" is no filter{}: name a level (off, error, warn, info, debug, trace), or parts of the program with \
         levels of their own after it, as in info,trunkline_control::netlink=debug",
        meant(.near)
    )]
    Nonsense {
        /// The part that makes no sense.
        directive: String,
        /// The level that was probably meant.
        near: Option<&'static str>,
    },
    /// The log was not started.
    #[error("this process keeps no log of its own")]
    None,
}

fn meant(near: &Option<&'static str>) -> String {
    near.map_or_else(String::new, |near| format!(" (did you mean \"{near}\"?)"))
}

/// Starts the log on standard error, filtered by `RUST_LOG`.
pub fn start() {
    let wish = std::env::var("RUST_LOG").unwrap_or_default();
    let wish = wish.trim();
    let read = if wish.is_empty() {
        read(DEFAULT)
    } else {
        read(wish)
    };
    let (configured, filter, error) = match read {
        Ok((text, filter)) => (text, filter, None),
        Err(error) => (DEFAULT.to_owned(), EnvFilter::new(DEFAULT), Some(error)),
    };
    let (filter, handle) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .init();
    let filter = Mutex::new(configured.clone());
    let log = Log {
        configured,
        filter,
        handle,
    };
    let _ = LOG.set(log);
    if let Some(error) = error {
        tracing::warn!("RUST_LOG: {error}. Logging at {DEFAULT}");
    }
}

/// What is logged now.
///
/// # Errors
/// The log was not started.
pub fn filter() -> Result<types::Log, LogError> {
    let log = LOG.get().ok_or(LogError::None)?;
    let filter = log.filter.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(types::Log {
        filter: filter.clone(),
        configured: log.configured.clone(),
    })
}

/// Logs what `wish` says from now on; "default" is what was configured.
///
/// # Errors
/// It makes no sense, and nothing was changed.
pub fn set(wish: &str) -> Result<types::Log, LogError> {
    let log = LOG.get().ok_or(LogError::None)?;
    let wish = match wish.trim() {
        "default" => &log.configured,
        wish => wish,
    };
    let (text, filter) = read(wish)?;
    let mut now = log.filter.lock().unwrap_or_else(PoisonError::into_inner);
    log.handle.reload(filter).map_err(|_| LogError::None)?;
    if *now != text {
        // Whatever the level is: who reads the log must know why it changed its voice.
        tracing::error!("log level: {now} before, {text} from now on");
        *now = text;
    }
    drop(now);
    self::filter()
}

/// Reads a list of levels and `part=level`. [`EnvFilter`] itself takes any word for a part
/// of the program and would let "inof" silence all the rest.
fn read(wish: &str) -> Result<(String, EnvFilter), LogError> {
    let nonsense = |directive: &str, word: &str| LogError::Nonsense {
        directive: directive.chars().take(60).collect(),
        near: crate::config::nearest(word, &LEVELS),
    };
    if wish.len() > FILTER_LEN_MAX {
        return Err(nonsense(wish, ""));
    }
    let wish = wish.to_ascii_lowercase();
    let mut directives = Vec::new();
    for directive in wish.split(',').map(str::trim) {
        let level = match directive.split_once('=') {
            None => directive,
            Some((part, level)) if is_part(part) => level,
            Some(_) => return Err(nonsense(directive, "")),
        };
        if !LEVELS.contains(&level) {
            return Err(nonsense(directive, level));
        }
        directives.push(directive);
    }
    let text = directives.join(",");
    match EnvFilter::try_new(&text) {
        Ok(filter) => Ok((text, filter)),
        Err(_) => Err(nonsense(&text, "")),
    }
}

/// True for what may be a part of the program, as in `trunkline_control::netlink`.
fn is_part(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(wish: &str) -> Result<String, String> {
        read(wish)
            .map(|(text, _)| text)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn levels_and_parts_are_read() {
        assert_eq!(text("debug").as_deref(), Ok("debug"));
        assert_eq!(text(" WARN ").as_deref(), Ok("warn"));
        let parts = "info,trunkline_control::netlink=trace,hyper=off";
        assert_eq!(text(parts).as_deref(), Ok(parts));
    }

    #[test]
    fn nonsense_is_refused_with_what_was_meant() {
        let why = text("inof").unwrap_err();
        assert!(
            why.starts_with("\"inof\" is no filter (did you mean \"info\"?): name a level"),
            "{why}"
        );
        for wrong in [
            "",
            "info,",
            "a=b",
            "=debug",
            "info debug",
            "x[y]=info",
            "5",
            "\u{e9}=info",
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
        assert!(read(&"info,".repeat(1000)).is_err());
    }
}
