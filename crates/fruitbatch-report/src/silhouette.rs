//! How well each row lies in its cluster: Rousseeuw's silhouette plot.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::data::{ClusterSilhouette, Silhouettes};
use crate::drawing::{Canvas, Drawn, FONT, Plot, PlotName, text_style, units};
use crate::numbers::{cluster_name, figure, fixed, tick};
use crate::palette::{ACCENT, CHOSEN, DIM, LINE, TEXT};

/// Clusters that are drawn, the first ones.
pub(crate) const MOST_CLUSTERS: usize = 200;

/// One blade a cluster, its rows from the best to the worst; or one bar a cluster where only the means are known.
pub(crate) struct SilhouettePlot<'a>(pub(crate) &'a Silhouettes);

const WIDTH: i32 = 560;
const LEFT: i32 = 60;
const RIGHT: i32 = 60;
const TOP: i32 = 22;
const BOTTOM: i32 = 44;
/// Height of all blades, in points, if there are few clusters.
const HEIGHT: i32 = 320;
/// Height of a blade, at least: the height of letters that can just be read.
const LEAST_HEIGHT: i32 = 7;
const GAP: i32 = 2;

impl SilhouettePlot<'_> {
    fn clusters(&self) -> &[ClusterSilhouette] {
        &self.0.clusters[..self.0.clusters.len().min(MOST_CLUSTERS)]
    }

    /// Height of each blade in points: by the number of its rows.
    fn heights(&self) -> Vec<i32> {
        let clusters = self.clusters();
        let rows: usize = clusters.iter().map(|cluster| cluster.values.len()).sum();
        clusters
            .iter()
            .map(|cluster| {
                let share = if rows == 0 {
                    (1.0 / clusters.len() as f64).min(22.0 / f64::from(HEIGHT))
                } else {
                    cluster.values.len() as f64 / rows as f64
                };
                ((f64::from(HEIGHT) * share).round() as i32).max(LEAST_HEIGHT)
            })
            .collect()
    }

    /// Left end of the axis: 0, or where the worst row is.
    fn least(&self) -> f64 {
        let worst = self
            .clusters()
            .iter()
            .flat_map(|cluster| cluster.values.iter().copied().chain([cluster.mean]))
            .fold(0.0, f64::min);
        (worst * 5.0).floor() / 5.0
    }
}

impl Plot for SilhouettePlot<'_> {
    fn name(&self) -> PlotName<'_> {
        PlotName { file: "silhouette", title: "Silhouettes by cluster" }
    }

    fn description(&self) -> String {
        let by_mean = |better: fn(f64, f64) -> bool| {
            self.0.clusters.iter().reduce(|one, other| if better(other.mean, one.mean) { other } else { one })
        };
        let named = |cluster: Option<&ClusterSilhouette>| {
            cluster.map_or_else(String::new, |cluster| {
                format!("{} with {}", cluster_name(cluster.cluster), figure(cluster.mean))
            })
        };
        format!(
            "Silhouette plot of {} clusters, mean {}. Best is cluster {}, worst is cluster {}.",
            self.0.clusters.len(),
            figure(self.0.mean),
            named(by_mean(|one, other| one > other)),
            named(by_mean(|one, other| one < other))
        )
    }

    fn size(&self) -> (u32, u32) {
        let blades: i32 = self.heights().iter().map(|height| height + GAP).sum();
        (WIDTH as u32, (TOP + blades + BOTTOM) as u32)
    }

    fn draw<B: DrawingBackend>(&self, canvas: &Canvas<B>) -> Drawn<B> {
        let least = self.least();
        let place = |value: f64| {
            let share = (value - least) / (1.0 - least);
            units(LEFT) + (share * f64::from(units(WIDTH - LEFT - RIGHT))).round() as i32
        };
        let heights = self.heights();
        let bottom = units(TOP + heights.iter().map(|height| height + GAP).sum::<i32>());
        let below = text_style(FONT - 1.0, &DIM).pos(Pos::new(HPos::Center, VPos::Top));
        for step in (least * 5.0).round() as i32..=5 {
            let value = f64::from(step) / 5.0;
            let line = [(place(value), units(TOP)), (place(value), bottom)];
            canvas.draw(&PathElement::new(line, LINE.light.stroke_width(2)))?;
            canvas.draw_text(&tick(value), &below, (place(value), bottom + units(6)))?;
        }
        let title = text_style(FONT, &TEXT).pos(Pos::new(HPos::Center, VPos::Top));
        canvas.draw_text("silhouette", &title, (place(f64::midpoint(least, 1.0)), bottom + units(24)))?;

        let mut top = TOP;
        for (cluster, height) in self.clusters().iter().zip(heights) {
            let mut falling = cluster.values.clone();
            falling.sort_by(|one, other| other.total_cmp(one));
            if falling.is_empty() {
                falling.push(cluster.mean);
            }
            let lines = units(height);
            let mut blade = vec![(place(0.0), units(top))];
            for line in 0..lines {
                // The row in the middle of this line of the picture.
                let row = (2 * line as usize + 1) * falling.len() / (2 * lines as usize);
                let x = place(falling[row]);
                blade.extend([(x, units(top) + line), (x, units(top) + line + 1)]);
            }
            blade.push((place(0.0), units(top) + lines));
            blade.dedup();
            canvas.draw(&Polygon::new(without_steps(&blade), ACCENT.light.filled()))?;
            let size = FONT.min(f64::from(height));
            let middle = units(top) + lines / 2;
            let name = text_style(size, &TEXT).pos(Pos::new(HPos::Right, VPos::Center));
            canvas.draw_text(&cluster_name(cluster.cluster), &name, (units(LEFT - 10), middle))?;
            let mean = text_style(size, &DIM).pos(Pos::new(HPos::Left, VPos::Center));
            canvas.draw_text(&fixed(cluster.mean, 2), &mean, (units(WIDTH - RIGHT + 10), middle))?;
            top += height + GAP;
        }
        let mean = place(self.0.mean);
        canvas.draw(&PathElement::new([(mean, units(TOP)), (mean, bottom)], CHOSEN.light.stroke_width(3)))?;
        let label = text_style(FONT, &CHOSEN).pos(Pos::new(HPos::Center, VPos::Top));
        canvas.draw_text(&format!("mean {}", fixed(self.0.mean, 3)), &label, (mean, units(3)))?;
        let head = text_style(FONT, &DIM);
        let cluster = head.pos(Pos::new(HPos::Right, VPos::Top));
        canvas.draw_text("cluster", &cluster, (units(LEFT - 10), units(3)))?;
        canvas.draw_text(
            "mean",
            &head.pos(Pos::new(HPos::Left, VPos::Top)),
            (units(WIDTH - RIGHT + 10), units(3)),
        )
    }
}

/// The same outline without corners that lie on a straight line between their neighbours.
fn without_steps(corners: &[(i32, i32)]) -> Vec<(i32, i32)> {
    let mut kept: Vec<(i32, i32)> = Vec::with_capacity(corners.len());
    for &corner in corners {
        if let [.., before, last] = kept[..]
            && before.0 == last.0
            && last.0 == corner.0
        {
            kept.pop();
        }
        kept.push(corner);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn straight_sides_have_two_corners() {
        let outline = [(0, 0), (9, 0), (9, 1), (9, 2), (4, 2), (4, 3), (4, 4), (0, 4)];
        assert_eq!(without_steps(&outline), [(0, 0), (9, 0), (9, 2), (4, 2), (4, 4), (0, 4)]);
    }

    #[test]
    fn blades_are_as_high_as_they_have_rows() {
        let cluster = |rows: usize| ClusterSilhouette { cluster: 0, mean: 0.5, values: vec![0.5; rows] };
        let data =
            Silhouettes { mean: 0.5, rows: 400, clusters: vec![cluster(300), cluster(99), cluster(1)] };
        assert_eq!(SilhouettePlot(&data).heights(), [240, 79, LEAST_HEIGHT]);
    }

    #[test]
    fn the_axis_begins_at_zero_or_below_the_worst_row() {
        let plot = |values: Vec<f64>| {
            let cluster = ClusterSilhouette { cluster: 0, mean: 0.3, values };
            let data = Silhouettes { mean: 0.3, rows: 2, clusters: vec![cluster] };
            SilhouettePlot(&data).least()
        };
        assert_eq!(plot(vec![0.1, 0.5]).to_bits(), 0.0_f64.to_bits());
        assert!((plot(vec![-0.13, 0.5]) + 0.2).abs() < 1e-12);
        assert!((plot(vec![-1.0, 0.5]) + 1.0).abs() < 1e-12);
    }
}
