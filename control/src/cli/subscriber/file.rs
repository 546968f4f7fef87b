//! A CSV file of subscribers, line by line (RFC 4180).

use std::collections::HashMap;
use std::io::Read;

use csv::ByteRecord;
use trunkline_dataplane::sip::digest::Algorithm;
use trunkline_dataplane::sip::digest::Hash;
use trunkline_dataplane::sip::digest::ha1::Ha1s;

use crate::subscribers::Directory;
use crate::subscribers::Entry;
use crate::subscribers::ha1s_of;
use crate::subscribers::name::Address;

/// What `--help` says of it.
pub(super) const FORMAT: &str = "\
The first line says which columns there are, in any order: user, domain, and either password
or HA1s in hexadecimal digits:

  user,domain,password
  user,domain,ha1_md5,ha1_sha256,ha1_sha512_256

A field with a comma or a quote in it stands in quotes, \"as \"\"this\"\"\".
Passwords are hashed here: what goes to the daemon, and into its file, is HA1s.";

/// The columns of HA1s.
const HA1_COLUMNS: [(&str, Algorithm); 3] = [
    ("ha1_md5", Algorithm::Md5),
    ("ha1_sha256", Algorithm::Sha256),
    ("ha1_sha512_256", Algorithm::Sha512T256),
];

/// Characters that are shown of a column that there is not.
const NAME_SHOWN: usize = 40;

/// A file as it was read.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Those that are good.
    pub entries: Vec<Entry>,
    /// The others.
    pub bad: Vec<Bad>,
}

/// A line that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct Bad {
    /// Its number in the file, from 1.
    pub line: u64,
    /// What is wrong.
    pub error: String,
}

/// Where the columns are.
#[derive(Debug)]
struct Columns {
    count: usize,
    user: usize,
    domain: usize,
    password: Option<usize>,
    ha1s: Vec<(usize, Algorithm)>,
}

/// Reads all of `source`, with the domains that there are.
///
/// # Errors
/// It cannot be read, or its first line is wrong.
pub(super) fn read(source: impl Read, directory: &Directory) -> Result<Lines, String> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(source);
    let columns = Columns::of(reader.byte_headers().map_err(|error| error.to_string())?)?;
    let mut lines = Lines::default();
    let mut seen = HashMap::new();
    let mut record = ByteRecord::new();
    while reader
        .read_byte_record(&mut record)
        .map_err(|error| error.to_string())?
    {
        let line = record.position().map_or(0, csv::Position::line);
        let entry = columns.entry(&record, directory).and_then(|entry| {
            match seen.insert(entry.who.clone(), line) {
                Some(before) => Err(format!("{} stands in line {before} already", entry.who)),
                None => Ok(entry),
            }
        });
        match entry {
            Ok(entry) => lines.entries.push(entry),
            Err(error) => lines.bad.push(Bad { line, error }),
        }
    }
    Ok(lines)
}

impl Columns {
    fn of(header: &ByteRecord) -> Result<Columns, String> {
        let mut columns = HashMap::new();
        for (at, name) in header.iter().enumerate() {
            let name = String::from_utf8_lossy(name).trim().to_ascii_lowercase();
            let known = ["user", "domain", "password"];
            let known = known.into_iter().chain(HA1_COLUMNS.map(|(name, _)| name));
            if !known.clone().any(|known| known == name) {
                let all: Vec<_> = known.collect();
                // What is no text, or no list of columns at all, is not to be shown whole.
                let shown: String = name.chars().take(NAME_SHOWN).collect();
                let more = if shown.len() < name.len() { ".." } else { "" };
                return Err(format!(
                    "line 1: \"{}\"{more} is no column; the first line names them, divided by commas: {}",
                    shown.escape_debug(),
                    all.join(", ")
                ));
            }
            if columns.insert(name.clone(), at).is_some() {
                return Err(format!("line 1: the column \"{name}\" stands there twice"));
            }
        }
        let required = |name| {
            let at = columns.get(name).copied();
            at.ok_or_else(|| format!("line 1: there is no column \"{name}\""))
        };
        let ha1s = HA1_COLUMNS.iter();
        let ha1s = ha1s.filter_map(|(name, algorithm)| Some((*columns.get(*name)?, *algorithm)));
        let columns = Columns {
            count: header.len(),
            user: required("user")?,
            domain: required("domain")?,
            password: columns.get("password").copied(),
            ha1s: ha1s.collect(),
        };
        match (columns.password, columns.ha1s.is_empty()) {
            (None, true) => {
                Err("line 1: there is no column \"password\", and none of HA1s".to_owned())
            }
            (Some(_), false) => {
                Err("line 1: take passwords or HA1s: both cannot be right".to_owned())
            }
            _ => Ok(columns),
        }
    }

    fn entry(&self, record: &ByteRecord, directory: &Directory) -> Result<Entry, String> {
        if record.len() != self.count {
            return Err(format!(
                "{} fields, where the first line has {}",
                record.len(),
                self.count
            ));
        }
        let text = |at: usize| {
            let field = record.get(at).unwrap_or_default();
            std::str::from_utf8(field).map_err(|_| "a field is not UTF-8 text".to_owned())
        };
        let (user, domain) = (text(self.user)?.trim(), text(self.domain)?.trim());
        let who = Address::new(user, domain).map_err(|error| error.to_string())?;
        let mut ha1s = Ha1s::default();
        if let Some(at) = self.password {
            let password = text(at)?;
            if password.is_empty() {
                return Err(format!("{who} has no password"));
            }
            // As one has that takes in all lines to the end of the file.
            if password.contains(['\n', '\r']) {
                return Err(format!(
                    "the password of {who} has a line break in it: is a quote not closed?"
                ));
            }
            ha1s = ha1s_of(&who, password);
        }
        for &(at, algorithm) in &self.ha1s {
            let digits = text(at)?.trim();
            // One that is missing is asked for only where the domain challenges by it.
            if digits.is_empty() {
                continue;
            }
            let hash = Hash::read(algorithm, digits.as_bytes()).ok_or_else(|| {
                let (name, len) = (algorithm.name(), 2 * algorithm.hash_len());
                format!("{who}: the HA1 for {name} is not {len} hexadecimal digits")
            })?;
            ha1s.set(algorithm, hash.bytes());
        }
        directory.admit(&who, &ha1s)?;
        Ok(Entry { who, ha1s })
    }
}
