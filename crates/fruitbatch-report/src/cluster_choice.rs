//! The number of clusters: a figure by number tried, and what the restarts gave.

use plotters::prelude::*;
use plotters::style::text_anchor::VPos;

use crate::data::{ClusterChoice, Restarts, TriedClusters};
use crate::drawing::{Axes, Canvas, Drawn, Plot, PlotName, draw_axes, draw_beside, draw_dashed, units};
use crate::numbers::{extent, figure, tick};
use crate::palette::{ACCENT, CHOSEN};

/// One figure of all numbers tried.
pub(crate) struct TriedFigure<'a> {
    name: PlotName<'static>,
    choice: &'a ClusterChoice,
    /// Number of clusters and the figure, where it is defined.
    points: Vec<(f64, f64)>,
}

impl<'a> TriedFigure<'a> {
    /// Those of the four figures that are defined for two numbers or more.
    pub(crate) fn all(choice: &'a ClusterChoice) -> Vec<Self> {
        type Of = fn(&TriedClusters) -> Option<f64>;
        let figures: [(&str, &str, Of); 4] = [
            ("choice_silhouette", "Silhouette (higher is better)", |tried| tried.silhouette),
            ("choice_inertia", "Inertia (falls; look for the bend)", |tried| tried.inertia),
            ("choice_calinski_harabasz", "Calinski-Harabasz (higher is better)", |tried| {
                tried.calinski_harabasz
            }),
            ("choice_davies_bouldin", "Davies-Bouldin (lower is better)", |tried| tried.davies_bouldin),
        ];
        figures
            .into_iter()
            .map(|(file, title, of)| {
                let points =
                    choice.tried.iter().filter_map(|tried| Some((f64::from(tried.n_clusters), of(tried)?)));
                Self { name: PlotName { file, title }, choice, points: points.collect() }
            })
            .filter(|figure| figure.points.len() >= 2)
            .collect()
    }
}

/// The range of the values with a little air around, never empty.
fn range(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (least, most) = extent(values);
    let air = (0.08 * (most - least)).max(1e-3 * most.abs()).max(1e-9);
    least - air..most + air
}

impl Plot for TriedFigure<'_> {
    fn name(&self) -> PlotName<'_> {
        self.name
    }

    fn description(&self) -> String {
        let points: Vec<String> =
            self.points.iter().map(|&(number, value)| format!("{number}: {}", figure(value))).collect();
        format!("Line by number of clusters. {}. Chosen: {}.", points.join(", "), self.choice.n_clusters)
    }

    fn size(&self) -> (u32, u32) {
        (500, 240)
    }

    fn draw<B: DrawingBackend>(&self, canvas: &Canvas<B>) -> Drawn<B> {
        let chosen = f64::from(self.choice.n_clusters);
        let y = range(self.points.iter().map(|&(_, value)| value));
        let (fewest, most) = extent(self.points.iter().map(|&(number, _)| number).chain([chosen]));
        let axes = Axes {
            x_title: "number of clusters",
            y_title: "",
            x: fewest - 0.5..most + 0.5,
            y: y.clone(),
            x_label: whole,
            y_label: tick,
        };
        let mut chart = draw_axes(canvas, &axes)?;
        draw_dashed(&mut chart, (chosen, y.start), (chosen, y.end))?;
        chart.draw_series(LineSeries::new(self.points.iter().copied(), ACCENT.light.stroke_width(4)))?;
        let dots = self.points.iter().map(|&point| {
            let (radius, tone) =
                if point.0 > chosen - 0.5 && point.0 < chosen + 0.5 { (6, CHOSEN) } else { (3, ACCENT) };
            Circle::new(point, units(radius), tone.light.filled())
        });
        chart.draw_series(dots)?;
        Ok(())
    }
}

/// A number of an axis on which only whole ones mean anything.
fn whole(number: f64) -> String {
    if (number - number.round()).abs() < 1e-9 { tick(number) } else { String::new() }
}

/// The inertia of each restart.
pub(crate) struct RestartsPlot<'a>(pub(crate) &'a Restarts);

impl Restarts {
    /// The restart of lowest inertia, from 0, the first of equals.
    pub(crate) fn best(&self) -> usize {
        let best = self.inertias.iter().enumerate().min_by(|(_, one), (_, other)| one.total_cmp(other));
        best.map_or(0, |(restart, _)| restart)
    }

    /// By how much the worst restart lies above the best one, as a share of the best.
    pub(crate) fn spread(&self) -> f64 {
        let best = self.inertias.get(self.best()).copied().unwrap_or(0.0);
        let worst = self.inertias.iter().copied().fold(best, f64::max);
        if best > 0.0 { worst / best - 1.0 } else { 0.0 }
    }
}

impl Plot for RestartsPlot<'_> {
    fn name(&self) -> PlotName<'_> {
        PlotName { file: "restarts", title: "Inertia of each restart" }
    }

    fn description(&self) -> String {
        let inertias: Vec<String> = self.0.inertias.iter().map(|&inertia| figure(inertia)).collect();
        format!("Points, one for each restart: {}. The lowest is kept.", inertias.join(", "))
    }

    fn size(&self) -> (u32, u32) {
        (560, 220)
    }

    fn draw<B: DrawingBackend>(&self, canvas: &Canvas<B>) -> Drawn<B> {
        let axes = Axes {
            x_title: "restart",
            y_title: "inertia",
            x: 0.5..self.0.inertias.len() as f64 + 0.5,
            y: range(self.0.inertias.iter().copied()),
            x_label: whole,
            y_label: tick,
        };
        let mut chart = draw_axes(canvas, &axes)?;
        let best = self.0.best();
        let dots = self.0.inertias.iter().enumerate().map(|(restart, &inertia)| {
            let (radius, tone) = if restart == best { (6, CHOSEN) } else { (4, ACCENT) };
            Circle::new((restart as f64 + 1.0, inertia), units(radius), tone.light.filled())
        });
        chart.draw_series(dots)?;
        if let Some(&inertia) = self.0.inertias.get(best) {
            let is_right = best * 2 < self.0.inertias.len();
            draw_beside(&chart, (best as f64 + 1.0, inertia), "kept", is_right, (10, 0), VPos::Center)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_restart_is_best_and_the_spread_is_relative_to_it() {
        let restarts = Restarts { inertias: vec![110.0, 100.0, 125.0, 100.0], stability: None };
        assert_eq!(restarts.best(), 1);
        assert!((restarts.spread() - 0.25).abs() < 1e-12);
    }

    #[test]
    fn equal_values_still_span_an_axis() {
        for value in [0.0, -3.0, 1e12] {
            let range = range([value, value].into_iter());
            assert!(range.start < value && value < range.end, "{range:?}");
        }
    }
}
