//! What the principal components keep: the scree plot, and the cumulative explained variance.

use plotters::prelude::*;
use plotters::style::text_anchor::VPos;

use crate::data::Components;
use crate::drawing::{
    Axes, Canvas, Chart, Drawn, Plot, PlotName, draw_axes, draw_beside, draw_dashed, units,
};
use crate::numbers::{count_of, percent, tick};
use crate::palette::{ACCENT, CHOSEN, DIM};

/// Bars that can be told apart.
const MOST_BARS: usize = 60;
/// Points of a line that can be told apart.
const MOST_POINTS: usize = 500;
const SIZE: (u32, u32) = (500, 300);

/// Variance by component.
pub(crate) struct Scree<'a>(pub(crate) &'a Components);

/// Variance of the first components together.
pub(crate) struct CumulativeVariance<'a>(pub(crate) &'a Components);

impl Components {
    /// The share of the variance that the first components keep.
    pub(crate) fn kept(&self) -> f64 {
        self.explained_variance_ratio[..self.n_components].iter().sum()
    }
}

/// A dashed line upwards, and what it stands for.
fn draw_cut<B: DrawingBackend>(chart: &mut Chart<'_, B>, x: f64, y: (f64, f64), text: &str) -> Drawn<B> {
    draw_dashed(chart, (x, y.0), (x, y.1))?;
    let area = chart.plotting_area();
    let (place, pixels) = (area.map_coordinate(&(x, y.1)), area.get_x_axis_pixel_range());
    // On the side that has more room.
    let is_right = place.0 < i32::midpoint(pixels.start, pixels.end);
    draw_beside(chart, (x, y.1), text, is_right, (6, 2), VPos::Top)
}

impl Plot for Scree<'_> {
    fn name(&self) -> PlotName<'_> {
        PlotName { file: "scree", title: "Explained variance of each component" }
    }

    fn description(&self) -> String {
        let shares: Vec<String> =
            self.0.explained_variance_ratio.iter().take(5).map(|&share| percent(share)).collect();
        format!(
            "Scree plot: bars that fall from component to component. The first explain {}; {} kept.",
            shares.join(", "),
            count_of(self.0.n_components as u64, "is", "are")
        )
    }

    fn size(&self) -> (u32, u32) {
        SIZE
    }

    fn draw<B: DrawingBackend>(&self, canvas: &Canvas<B>) -> Drawn<B> {
        let (ratios, kept) = (&self.0.explained_variance_ratio, self.0.n_components);
        let shown = ratios.len().min((2 * kept).clamp(10, MOST_BARS));
        let top = 1.08 * ratios.iter().copied().fold(1e-9, f64::max);
        let axes = Axes {
            x_title: "component",
            y_title: "share of the variance",
            x: 0.5..shown as f64 + 0.5,
            y: 0.0..top,
            x_label: tick,
            y_label: |share| format!("{} %", tick(100.0 * share)),
        };
        let mut chart = draw_axes(canvas, &axes)?;
        let bars = ratios.iter().take(shown).enumerate().map(|(component, &ratio)| {
            let x = component as f64 + 1.0;
            let tone = if component < kept { ACCENT } else { DIM };
            Rectangle::new([(x - 0.38, 0.0), (x + 0.38, ratio)], tone.light.filled())
        });
        chart.draw_series(bars)?;
        if kept < shown {
            let text = count_of(kept as u64, "component kept", "components kept");
            draw_cut(&mut chart, kept as f64 + 0.5, (0.0, top), &text)?;
        }
        Ok(())
    }
}

impl Plot for CumulativeVariance<'_> {
    fn name(&self) -> PlotName<'_> {
        PlotName { file: "cumulative_variance", title: "Explained variance of the first components together" }
    }

    fn description(&self) -> String {
        format!(
            "Line that rises to 100 %: the first {} together explain {} of the variance.",
            count_of(self.0.n_components as u64, "component", "components"),
            percent(self.0.kept())
        )
    }

    fn size(&self) -> (u32, u32) {
        SIZE
    }

    fn draw<B: DrawingBackend>(&self, canvas: &Canvas<B>) -> Drawn<B> {
        let (ratios, kept) = (&self.0.explained_variance_ratio, self.0.n_components);
        let mut sum = 0.0;
        let sums: Vec<(f64, f64)> = ratios
            .iter()
            .zip(1..)
            .map(|(&ratio, component)| {
                sum += ratio;
                (f64::from(component), sum)
            })
            .collect();
        let axes = Axes {
            x_title: "components",
            y_title: "share of the variance",
            x: 0.0..ratios.len() as f64 * 1.02,
            y: 0.0..1.05,
            x_label: tick,
            y_label: |share| format!("{:.0} %", 100.0 * share),
        };
        let mut chart = draw_axes(canvas, &axes)?;
        let step = sums.len().div_ceil(MOST_POINTS).max(1);
        let drawn = sums.iter().enumerate().filter(|(at, _)| at % step == 0 || at + 1 == sums.len());
        let line = std::iter::once((0.0, 0.0)).chain(drawn.map(|(_, &point)| point));
        chart.draw_series(LineSeries::new(line, ACCENT.light.stroke_width(4)))?;
        let (x, y) = sums[kept - 1];
        draw_dashed(&mut chart, (x, 0.0), (x, y))?;
        draw_dashed(&mut chart, (0.0, y), (x, y))?;
        chart.draw_series([Circle::new((x, y), units(4), CHOSEN.light.filled())])?;
        let text = format!("{}: {}", count_of(kept as u64, "component", "components"), percent(y));
        // Below and to the right of the point, where the line never is; at the right edge, to the left of it.
        draw_beside(&chart, (x, y), &text, x < 0.6 * axes.x.end, (10, 6), VPos::Top)
    }
}
