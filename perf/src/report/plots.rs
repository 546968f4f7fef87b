//! The report's plots, as SVG.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::anyhow;
use plotters::prelude::*;

use super::runs::Run;

const SIZE: (u32, u32) = (760, 420);
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 109, 176),
    RGBColor(214, 96, 0),
    RGBColor(90, 90, 90),
    RGBColor(0, 140, 80),
    RGBColor(150, 60, 160),
    RGBColor(190, 160, 0),
];

/// Points by name of their series.
type Series = BTreeMap<String, Vec<(f64, f64)>>;

/// Draws all plots into a directory.
pub(super) fn draw(runs: &[Run], directory: &Path) -> anyhow::Result<()> {
    let fixed = |figure: &dyn Fn(&Run) -> Option<f64>| {
        let mut series = Series::new();
        for run in runs.iter().filter(|run| run.kind == "fixed") {
            if let Some(figure) = figure(run) {
                let name = format!("{}, {}", run.candidate, run.mode);
                series.entry(name).or_default().push((run.rate, figure));
            }
        }
        series
    };
    let cpu = fixed(&|run| run.cpu_a_call("box"));
    let words = ("CPU of the box a call, every turn", "calls a second", "µs");
    let above = SeriesLabelPosition::UpperRight;
    chart(&directory.join("cpu.svg"), words, above, &cpu)?;
    let latency = fixed(&|run| run.time("invite_to_180", "p99"));
    let words = ("INVITE to 180, p99 of every turn", "calls a second", "µs");
    let beside = SeriesLabelPosition::UpperLeft;
    chart(&directory.join("latency.svg"), words, beside, &latency)?;
    let mut carried = Series::new();
    for run in runs.iter().filter(|run| run.kind == "ladder") {
        let seconds = run.number("/window/seconds").unwrap_or(0.0);
        if seconds > 0.0 {
            let name = format!("{}, {}", run.candidate, run.mode);
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
    chart(&directory.join("carried.svg"), words, below, &carried)
}

fn chart(
    path: &Path,
    words: (&str, &str, &str),
    legend: SeriesLabelPosition,
    series: &Series,
) -> anyhow::Result<()> {
    // The library's errors borrow the drawing.
    draw_chart(path, words, legend, series).map_err(|error| anyhow!("{}: {error}", path.display()))
}

fn draw_chart(
    path: &Path,
    (title, x_name, y_name): (&str, &str, &str),
    legend: SeriesLabelPosition,
    series: &Series,
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
    for ((name, points), colour) in series.iter().zip(COLOURS.into_iter().cycle()) {
        let mut points = points.clone();
        points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        chart
            .draw_series(
                points
                    .iter()
                    .map(|&point| Circle::new(point, 4, colour.filled())),
            )?
            .label(name.as_str())
            .legend(move |(x, y)| Circle::new((x + 8, y), 4, colour.filled()));
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
