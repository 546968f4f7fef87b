//! `trunkctl subscriber import`: a file of subscribers, a batch at a time.

use std::fmt::Write as _;
use std::path::Path;

use indicatif::ProgressBar;
use indicatif::ProgressStyle;
use trunkline_dataplane::ids::TrunkIndex;
use trunkline_dataplane::settings::Domain;
use trunkline_dataplane::sip::digest::Algorithm;

use super::super::Failure;
use super::super::client;
use super::super::complain;
use super::super::pretty;
use super::super::tables;
use super::file;
use super::file::Bad;
use super::file::Lines;
use crate::api::subscribers::BATCH;
use crate::api::types;
use crate::subscribers::Directory;

/// Wrong lines that a person is told of; programs get all of them.
const BAD_SHOWN: usize = 20;

/// Files of less than this are read and written before a bar has been seen.
const LARGE_LEN: u64 = 1 << 18;

/// Imports `file`.
pub(super) async fn import(
    socket: &Path,
    file: &Path,
    skip_bad: bool,
    json: bool,
) -> Result<String, Failure> {
    let directory = directory(socket).await?;
    let (Lines { entries, bad }, is_large) = read(file, &directory)?;
    if !bad.is_empty() && !skip_bad {
        let said = match json {
            true => pretty(&serde_json::json!({ "added": 0, "changed": 0, "bad": bad })),
            false => {
                told(file, &bad)
                    + "nothing was imported: mend these lines, or leave them out with --skip-bad\n"
            }
        };
        return Err(Failure::Said(said));
    }
    let bar = bar(is_large, entries.len() as u64, "writing {pos} of {len}");
    let mut sum = types::Changes::default();
    for batch in entries.chunks(BATCH as usize) {
        let changes = match super::put(socket, batch).await {
            Ok(changes) => changes,
            Err(error) => {
                bar.abandon();
                let (done, all) = (sum.added + sum.changed, entries.len() as u64);
                let (done, all) = (tables::number(done), tables::number(all));
                complain(format_args!(
                    "trunkctl: {done} of {all} subscribers were written; import the file again for the rest"
                ));
                return Err(error.into());
            }
        };
        sum.added += changes.added;
        sum.changed += changes.changed;
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    let types::Changes { added, changed, .. } = sum;
    if json {
        let said = serde_json::json!({ "added": added, "changed": changed, "bad": bad });
        return Ok(pretty(&said));
    }
    let (added, changed) = (tables::number(added), tables::number(changed));
    let mut said = format!("{added} added, {changed} changed\n");
    if !bad.is_empty() {
        let _ = write!(said, "left out:\n{}", told(file, &bad));
    }
    Ok(said)
}

/// The daemon's domains.
async fn directory(socket: &Path) -> Result<Directory, Failure> {
    let domains: types::Domains = client::get(socket, "/v1/domains").await?;
    if !domains.writable {
        // The daemon says why, and what to do.
        let _: types::Subscribers = client::get(socket, "/v1/subscribers?limit=1").await?;
    }
    let domains = domains.domains.into_iter().map(|domain| Domain {
        name: domain.name,
        trunk: TrunkIndex::default(),
        algorithms: domain
            .algorithms
            .iter()
            .filter_map(|name| Algorithm::of(name.as_bytes()))
            .collect(),
        registrar: false,
        upstream: None,
        calls: 0,
        located: false,
    });
    Ok(Directory {
        domains: domains.collect(),
        store: None,
    })
}

/// So that passwords need not be in any file on the way from where they are kept.
fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// The file, and whether it is worth a bar.
fn read(path: &Path, directory: &Directory) -> Result<(Lines, bool), Failure> {
    let failed = |error| Failure::Read {
        path: name(path).into(),
        error,
    };
    let io = |error: std::io::Error| failed(error.to_string());
    if is_stdin(path) {
        let lines = file::read(std::io::stdin().lock(), directory).map_err(failed)?;
        return Ok((lines, false));
    }
    let source = std::fs::File::open(path).map_err(io)?;
    let len = source.metadata().map_err(io)?.len();
    let is_large = len > LARGE_LEN;
    let bar = bar(is_large, len, "reading {bytes} of {total_bytes}");
    let lines = file::read(bar.wrap_read(source), directory).map_err(failed)?;
    bar.finish_and_clear();
    Ok((lines, is_large))
}

/// On a terminal only: it draws itself on standard error and nowhere else.
fn bar(is_large: bool, len: u64, what: &str) -> ProgressBar {
    if !is_large {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(&format!("{{bar:40}} {what}, {{eta}} left"));
    let bar = ProgressBar::new(len);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn name(path: &Path) -> String {
    match is_stdin(path) {
        true => "standard input".to_owned(),
        false => path.display().to_string(),
    }
}

fn told(file: &Path, bad: &[Bad]) -> String {
    let (mut text, file) = (String::new(), name(file));
    for Bad { line, error } in bad.iter().take(BAD_SHOWN) {
        let _ = writeln!(text, "{file}:{line}: {error}");
    }
    if let more @ 1.. = bad.len().saturating_sub(BAD_SHOWN) {
        let _ = writeln!(text, "and {} more", tables::number(more as u64));
    }
    text
}
