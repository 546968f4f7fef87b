//! The report's plots, as SVG: a colour for each candidate, a marker for each mode.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;

use anyhow::anyhow;
use plotters::prelude::*;

use super::runs::Run;
use super::runs::median;

const SIZE: (u32, u32) = (760, 420);
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 109, 176),
    RGBColor(214, 96, 0),
    RGBColor(90, 90, 90),
    RGBColor(0, 140, 80),
    RGBColor(150, 60, 160),
    RGBColor(190, 160, 0),
    RGBColor(200, 40, 60),
];

/// That of each candidate, the same in every plot.
type Colours<'a> = BTreeMap<&'a str, RGBColor>;

/// Points by candidate and mode.
type Series<'a> = BTreeMap<(&'a str, &'a str), Vec<(f64, f64)>>;

/// Draws all plots into a directory.
pub(super) fn draw(runs: &[Run], directory: &Path) -> anyhow::Result<()> {
    let candidates: BTreeSet<_> = runs.iter().map(|run| run.candidate.as_str()).collect();
    let colours = candidates
        .into_iter()
        .zip(COLOURS.into_iter().cycle())
        .collect();
    let chart = |file, words, legend, series: &Series<'_>| {
        let path = directory.join(file);
        // The library's errors borrow the drawing.
        chart(&path, words, legend, (series, &colours))
            .map_err(|error| anyhow!("{}: {error}", path.display()))
    };
    // One that never sleeps burns its core whatever it carries.
    let cpu = fixed(runs, |run| {
        let cpu = || run.cpu_a_call("box");
        (!run.candidate.ends_with("-polling")).then(cpu)?
    });
    let words = (
        "CPU of the box a call: medians, without those that poll",
        "calls a second",
        "µs",
    );
    let above = || SeriesLabelPosition::UpperRight;
    chart("cpu.svg", words, above(), &cpu)?;
    // The tail is the machine's more than a candidate's: it is in the tables.
    let latency = fixed(runs, |run| run.time("invite_to_180", "p50"));
    let words = ("INVITE to 180: medians of p50", "calls a second", "µs");
    chart("latency.svg", words, above(), &latency)?;
    let mut carried = Series::new();
    for run in runs.iter().filter(|run| run.kind == "ladder") {
        let seconds = run.number("/window/seconds").unwrap_or(0.0);
        if seconds > 0.0 {
            let name = (run.candidate.as_str(), run.mode.as_str());
            let points = carried.entry(name).or_default();
            points.push((run.rate, run.completed() / seconds));
        }
    }
    let words = (
        "Calls carried",
        "calls a second offered",
        "calls a second completed",
    );
    let below = SeriesLabelPosition::LowerRight;
    chart("carried.svg", words, below, &carried)
}

/// The medians of a figure of the runs at fixed rates.
fn fixed(runs: &[Run], figure: impl Fn(&Run) -> Option<f64>) -> Series<'_> {
    let mut series = Series::new();
    for run in runs.iter().filter(|run| run.kind == "fixed") {
        let name = (run.candidate.as_str(), run.mode.as_str());
        let points = series.entry(name).or_default();
        let is_new = points
            .iter()
            .all(|&(rate, _)| rate.total_cmp(&run.rate).is_ne());
        if let Some(of) = median(runs, (name.0, name.1, run.rate), &figure).filter(|_| is_new) {
            points.push((run.rate, of.median));
        }
    }
    series.retain(|_, points| !points.is_empty());
    series
}

/// A point of a mode.
fn marker<At>(mode: &str, at: At, colour: RGBColor) -> Circle<At, i32> {
    let hollow = colour.stroke_width(2);
    match mode {
        "stateless" => Circle::new(at, 4, hollow),
        "register" => Circle::new(at, 2, colour.filled()),
        "auth" => Circle::new(at, 6, hollow),
        _ => Circle::new(at, 4, colour.filled()),
    }
}

fn chart(
    path: &Path,
    (title, x_name, y_name): (&str, &str, &str),
    legend: SeriesLabelPosition,
    (series, colours): (&Series<'_>, &Colours<'_>),
) -> Result<(), Box<dyn std::error::Error>> {
    let most = |of: fn(&(f64, f64)) -> f64| {
        let values = series.values().flatten().map(of);
        values.fold(1.0, f64::max) * 1.08
    };
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..most(|point| point.0), 0.0..most(|point| point.1))?;
    chart
        .configure_mesh()
        .x_desc(x_name)
        .y_desc(y_name)
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .x_label_formatter(&|value| format!("{value:.0}"))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .draw()?;
    for (&(candidate, mode), points) in series {
        let colour = colours.get(candidate).copied().unwrap_or(BLACK);
        let mut points = points.clone();
        points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let markers = points.iter().map(|&point| marker(mode, point, colour));
        // The floors' mode says nothing that their names do not.
        let label = match mode {
            "none" => candidate.to_owned(),
            mode => format!("{candidate}, {mode}"),
        };
        let legend_mode = mode.to_owned();
        chart
            .draw_series(markers)?
            .label(label)
            .legend(move |(x, y)| marker(&legend_mode, (x + 8, y), colour));
        chart.draw_series(LineSeries::new(points, colour.mix(0.5)))?;
    }
    chart
        .configure_series_labels()
        .position(legend)
        .background_style(WHITE.mix(0.8))
        .draw()?;
    area.present()?;
    Ok(())
}
