//! The year as a picture.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use super::sizes::Month;

type Line = (&'static str, RGBColor, fn(&Month) -> u64);

const LINES: [Line; 5] = [
    ("server", RGBColor(200, 60, 40), |month| month.server_bytes),
    ("server: payloads and snapshots", RGBColor(230, 150, 40), |month| month.payload_bytes + month.snapshot_bytes),
    ("a phone, there all the time", RGBColor(40, 90, 180), |month| month.phone_bytes),
    ("a fresh phone", RGBColor(90, 160, 220), |month| month.fresh_bytes),
    ("the text", RGBColor(60, 140, 60), |month| month.text_bytes),
];

/// Writes an SVG: the one year in full lines, the other one in thin ones.
pub fn draw(path: &Path, plain: &[Month], anew: &[Month]) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    let top = plain.iter().flat_map(|month| LINES.map(|(_, _, of)| of(month))).max().unwrap_or(1);
    let area = SVGBackend::new(path, (860, 460)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(14)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .caption("A year of a notebook: 500,000 edits, 200 documents, 5 devices", ("sans-serif", 16))
        .build_cartesian_2d(0f64..plain.len() as f64, 0f64..top as f64 / 1e6 * 1.05)?;
    chart
        .configure_mesh()
        .x_desc("months; the text grows in the first six; thin lines: with a new epoch each quarter")
        .y_desc("MB")
        .draw()?;
    for (name, colour, of) in LINES {
        let points = |months: &[Month]| {
            let points = months.iter().zip(1..).map(|(month, at)| (f64::from(at), of(month) as f64 / 1e6));
            std::iter::once((0.0, 0.0)).chain(points).collect::<Vec<_>>()
        };
        chart
            .draw_series(LineSeries::new(points(plain), colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(LineSeries::new(points(anew), colour.stroke_width(1)))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}
