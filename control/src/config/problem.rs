//! What is wrong with a configuration file, as a person is shown it.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;
use std::path::PathBuf;

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The bytes of the source that are to blame.
    pub span: Range<usize>,
    /// What is wrong, in one clause.
    pub message: String,
    /// What was expected, or what to do.
    pub help: Option<String>,
}

impl Problem {
    /// A problem at `span` with a hint of what would be right.
    pub fn new(span: Range<usize>, message: impl Into<String>, help: impl Into<String>) -> Problem {
        Problem {
            span,
            message: message.into(),
            help: Some(help.into()),
        }
    }
}

/// A problem and its place, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Found<'p> {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: &'p str,
    /// What was expected, or what to do.
    pub help: Option<&'p str>,
}

/// All that is wrong with a file, in the order of its lines.
#[derive(Clone, Debug)]
pub struct Problems {
    path: PathBuf,
    source: String,
    problems: Vec<Problem>,
}

impl Problems {
    /// Sorts `problems` by where they stand in `source`.
    pub(super) fn new(path: &Path, source: &str, mut problems: Vec<Problem>) -> Problems {
        problems.sort_by_key(|problem| (problem.span.start, problem.span.end));
        Problems {
            path: path.to_owned(),
            source: source.to_owned(),
            problems,
        }
    }

    /// How many there are; at least one.
    #[must_use]
    pub fn count(&self) -> usize {
        self.problems.len()
    }

    /// Each of them with its place, for programs.
    pub fn found(&self) -> impl Iterator<Item = Found<'_>> {
        self.problems.iter().map(|problem| {
            let place = Place::of(&self.source, &problem.span);
            Found {
                line: place.line,
                column: place.column,
                message: &problem.message,
                help: problem.help.as_deref(),
            }
        })
    }

    fn render(&self, problem: &Problem, out: &mut String) -> std::fmt::Result {
        let place = Place::of(&self.source, &problem.span);
        let margin = " ".repeat(place.line.to_string().len());
        writeln!(out, "error: {}", problem.message)?;
        writeln!(
            out,
            "{margin}--> {}:{}:{}",
            self.path.display(),
            place.line,
            place.column
        )?;
        writeln!(out, "{margin} |")?;
        writeln!(out, "{} | {}", place.line, place.text)?;
        writeln!(
            out,
            "{margin} | {}{}",
            " ".repeat(place.indent),
            "^".repeat(place.width)
        )?;
        if let Some(help) = &problem.help {
            writeln!(out, "{margin} = {help}")?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Problems {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for problem in &self.problems {
            let mut text = String::new();
            self.render(problem, &mut text)?;
            writeln!(out, "{text}")?;
        }
        let count = self.count();
        let plural = if count == 1 { "" } else { "s" };
        write!(out, "{}: {count} error{plural}", self.path.display())
    }
}

impl std::error::Error for Problems {}

/// A span as a person finds it: the first line that it touches.
struct Place {
    line: usize,
    column: usize,
    /// The line; tabs count as one column, so they are shown as a blank.
    text: String,
    indent: usize,
    width: usize,
}

impl Place {
    fn of(source: &str, span: &Range<usize>) -> Place {
        let start = floor(source, span.start);
        let before = source.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let rest = source.get(line_start..).unwrap_or_default();
        let text = rest.lines().next().unwrap_or_default();
        let indent = source
            .get(line_start..start)
            .unwrap_or_default()
            .chars()
            .count();
        let marked = source
            .get(start..floor(source, span.end))
            .unwrap_or_default();
        let width = marked.lines().next().unwrap_or_default().chars().count();
        let room = text.chars().count().saturating_sub(indent);
        Place {
            line: before.matches('\n').count() + 1,
            column: indent + 1,
            text: text.replace('\t', " "),
            indent,
            width: width.min(room).max(1),
        }
    }
}

/// The last character boundary at or before `at`.
fn floor(source: &str, at: usize) -> usize {
    let at = at.min(source.len());
    (0..=at)
        .rev()
        .find(|&at| source.is_char_boundary(at))
        .unwrap_or(0)
}
