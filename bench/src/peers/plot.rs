//! The plots: how latencies are distributed, throughput against what it costs, and what is stored.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;
use serde_json::Value;

const SIZE: (u32, u32) = (860, 420);
const COLOURS: [RGBColor; 8] = [
    RGBColor(200, 60, 40),
    RGBColor(230, 150, 40),
    RGBColor(150, 40, 120),
    RGBColor(40, 90, 180),
    RGBColor(60, 140, 60),
    RGBColor(90, 160, 220),
    RGBColor(120, 120, 120),
    RGBColor(20, 20, 20),
];

/// A name and its points.
type Series = (String, Vec<(f64, f64)>);

/// What a plot shows, and its file's name.
pub fn draw_all(report: &Value, folder: &Path) -> Vec<(String, String)> {
    std::fs::create_dir_all(folder).expect("a folder for plots");
    let mut drawn = Vec::new();
    let mut draw = |title: &str, file: &str, axes: [&str; 2], series: Vec<Series>, lines: bool| {
        if !series.is_empty() {
            plot(&folder.join(file), title, axes, &series, lines).expect("a plot");
            drawn.push((title.to_owned(), file.to_owned()));
        }
    };
    draw(
        "W1: share of edits that were readable after so many milliseconds",
        "bench-propagation.svg",
        ["milliseconds", "percent of the edits"],
        distributions(&report["latencies"]["W1"]),
        true,
    );
    draw(
        "W2: share of changes that arrived after so many milliseconds",
        "bench-fan-out.svg",
        ["milliseconds", "percent of the changes"],
        distributions(&report["latencies"]["W2"]),
        true,
    );
    draw(
        "W2: throughput against the server's processor time",
        "bench-throughput.svg",
        ["server CPU seconds for 10,000 changes", "changes a second"],
        points(&report["summary"]["W2"], "cpu_s_per_10000", "changes_s"),
        false,
    );
    draw(
        "W4: the time of a cold start against what is stored",
        "bench-storage.svg",
        ["stored on the server, MB", "seconds"],
        points(&report["summary"]["W4"], "stored_mb", "cold_s"),
        false,
    );
    drawn
}

fn distributions(latencies: &Value) -> Vec<Series> {
    let Some(engines) = latencies.as_object() else { return Vec::new() };
    let series = engines.iter().map(|(name, ranks)| {
        let ranks: Vec<f64> = ranks.as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
        let last = ranks.len().saturating_sub(1).max(1) as f64;
        let points = ranks.iter().enumerate().map(|(rank, ms)| (*ms, 100.0 * rank as f64 / last)).collect();
        (name.clone(), points)
    });
    series.collect()
}

fn points(summary: &Value, x: &str, y: &str) -> Vec<Series> {
    let Some(engines) = summary.as_object() else { return Vec::new() };
    let of = |values: &Value, key: &str| values[key]["median"].as_f64();
    let point = |(name, values): (&String, &Value)| Some((name.clone(), vec![(of(values, x)?, of(values, y)?)]));
    engines.iter().filter_map(point).collect()
}

/// Milliseconds and costs span decades: both axes of points are logarithmic, of distributions the first.
fn plot(file: &Path, title: &str, axes: [&str; 2], series: &[Series], lines: bool) -> Result<(), Box<dyn Error>> {
    let all = || series.iter().flat_map(|(_, points)| points.iter().copied());
    let low = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::MAX, f64::min).max(0.01);
    let high = |values: &mut dyn Iterator<Item = f64>| values.fold(0.02, f64::max);
    let xs = (low(&mut all().map(|point| point.0)) * 0.7, high(&mut all().map(|point| point.0)) * 2.0);
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut builder = ChartBuilder::on(&area);
    builder.caption(title, ("sans-serif", 17)).margin(12).x_label_area_size(42).y_label_area_size(64);
    // The two kinds of axes are two types: what is drawn on them is the same.
    macro_rules! draw_on {
        ($chart:expr) => {{
            let mut chart = $chart;
            chart.configure_mesh().x_desc(axes[0]).y_desc(axes[1]).light_line_style(WHITE).draw()?;
            for (at, (name, points)) in series.iter().enumerate() {
                let colour = COLOURS[at % COLOURS.len()];
                let label = if lines {
                    chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
                } else {
                    chart.draw_series(points.iter().map(|point| Circle::new(*point, 5, colour.filled())))?
                };
                label.label(name).legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 14, y + 4)], colour.filled()));
            }
            chart.configure_series_labels().border_style(BLACK.mix(0.3)).background_style(WHITE.mix(0.8)).draw()?;
        }};
    }
    if lines {
        draw_on!(builder.build_cartesian_2d((xs.0..xs.1).log_scale(), 0.0..100.0)?);
    } else {
        let ys = (low(&mut all().map(|point| point.1)) * 0.7, high(&mut all().map(|point| point.1)) * 2.0);
        draw_on!(builder.build_cartesian_2d((xs.0..xs.1).log_scale(), (ys.0..ys.1).log_scale())?);
    }
    area.present()?;
    Ok(())
}
