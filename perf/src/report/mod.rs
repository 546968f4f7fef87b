//! The report of a comparison: raw figures in, tables and plots out.
//!
//! [`runs`] reads what `perf/compare` left, one JSON a run; [`tables`] makes the Markdown, [`plots`]
//! the SVG. A figure that is told is the median of its runs and the interval of the median.

mod plots;
mod runs;
mod tables;

use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// Writes `sip.md` and its plots into `directory`, from what is in `directory/raw`.
///
/// # Errors
/// No runs there, or files that cannot be read or written.
pub fn write(directory: &Path) -> anyhow::Result<String> {
    let runs = runs::read(&directory.join("raw"))?;
    anyhow::ensure!(
        !runs.is_empty(),
        "there are no runs in {}: run perf/compare",
        directory.join("raw").display()
    );
    plots::draw(&runs, directory)?;
    let text = tables::text(&runs);
    let path = directory.join("sip.md");
    fs::write(&path, &text).with_context(|| format!("writing {}", path.display()))?;
    Ok(text)
}
