//! The photos on a plane, once with a colour for each label and once for each cluster.
//!
//! Both maps have every photo at the same place. The page's script finds photos by these places and shows which they are.

use std::collections::{BTreeMap, BTreeSet};

use plotters::prelude::*;
use serde::Serialize;

use crate::data::{LabelCount, PhotoMap};
use crate::drawing::{Canvas, Drawn, Plot, PlotName, draw_marker, units};
use crate::numbers::{clip, cluster_name, extent};
use crate::palette::{LINE, marker};

/// Width and height of a map, in points.
const SIDE: u32 = 520;
/// Between the outermost points and the frame, in points.
const MARGIN: i32 = 14;

/// A map whose photos all have their place and their category.
pub(crate) struct Map<'a> {
    pub(crate) name: PlotName<'static>,
    /// The place of each photo, in units.
    places: &'a [(i32, i32)],
    /// The category of each photo.
    pub(crate) categories: Vec<Option<usize>>,
    /// Names of the categories that occur; the last one may be of photos without any.
    pub(crate) names: Vec<(Option<usize>, String)>,
}

/// Places of the photos in units: the same scale in both directions, the cloud in the middle.
pub(crate) fn places(map: &PhotoMap) -> Vec<(i32, i32)> {
    let (left, right) = extent(map.points.iter().map(|point| point.x));
    let (low, high) = extent(map.points.iter().map(|point| point.y));
    // Halves, because the span itself may be beyond all numbers.
    let half_span = (right / 2.0 - left / 2.0).max(high / 2.0 - low / 2.0).max(f64::MIN_POSITIVE);
    let middle = f64::from(units(SIDE as i32)) / 2.0;
    let room = middle - f64::from(units(MARGIN));
    let place = |value: f64, (least, most): (f64, f64)| {
        let from_middle = (value / 2.0 - least / 2.0) - (most / 2.0 - value / 2.0);
        from_middle / half_span * room
    };
    map.points
        .iter()
        .map(|point| {
            let (x, y) = (place(point.x, (left, right)), place(point.y, (low, high)));
            ((middle + x).round() as i32, (middle - y).round() as i32)
        })
        .collect()
}

impl<'a> Map<'a> {
    pub(crate) fn by_label(map: &PhotoMap, labels: &[LabelCount], places: &'a [(i32, i32)]) -> Self {
        let categories: Vec<Option<usize>> =
            map.points.iter().map(|point| point.label.map(|label| label as usize)).collect();
        let seen: BTreeSet<usize> = categories.iter().copied().flatten().collect();
        let mut names: Vec<(Option<usize>, String)> =
            seen.into_iter().map(|label| (Some(label), labels[label].label.clone())).collect();
        if categories.contains(&None) {
            names.push((None, "no label".to_owned()));
        }
        let name = PlotName { file: "map_by_label", title: "Photos by label" };
        Self { name, places, categories, names }
    }

    pub(crate) fn by_cluster(map: &PhotoMap, places: &'a [(i32, i32)]) -> Self {
        let seen: BTreeSet<i32> =
            map.points.iter().map(|point| point.cluster).filter(|&cluster| cluster >= 0).collect();
        let numbers: BTreeMap<i32, usize> = seen.into_iter().zip(0..).collect();
        let categories: Vec<Option<usize>> =
            map.points.iter().map(|point| numbers.get(&point.cluster).copied()).collect();
        let mut names: Vec<(Option<usize>, String)> = numbers
            .iter()
            .map(|(&cluster, &category)| (Some(category), format!("cluster {}", cluster_name(cluster))))
            .collect();
        if categories.contains(&None) {
            names.push((None, "noise".to_owned()));
        }
        let name = PlotName { file: "map_by_cluster", title: "Photos by cluster" };
        Self { name, places, categories, names }
    }
}

impl Plot for Map<'_> {
    fn name(&self) -> PlotName<'_> {
        self.name
    }

    fn description(&self) -> String {
        format!(
            "Map of {} photos as points, alike ones close to each other, with a marker for each of {} groups.",
            self.places.len(),
            self.names.len()
        )
    }

    fn size(&self) -> (u32, u32) {
        (SIDE, SIDE)
    }

    fn legend(&self) -> Vec<(Option<usize>, &str)> {
        self.names.iter().map(|(category, name)| (*category, name.as_str())).collect()
    }

    fn draw<B: DrawingBackend>(&self, canvas: &Canvas<B>) -> Drawn<B> {
        let side = units(SIDE as i32);
        canvas.draw(&Rectangle::new([(2, 2), (side - 2, side - 2)], LINE.light.stroke_width(2)))?;
        let radius = match self.places.len() {
            0..=300 => 10,
            301..=1_500 => 8,
            1_501..=3_000 => 6,
            _ => 5,
        };
        // One category after the other, so that the page has one path for each; those without one lie below.
        let mut by_category: BTreeMap<Option<usize>, Vec<(i32, i32)>> = BTreeMap::new();
        for (&category, &place) in self.categories.iter().zip(self.places) {
            by_category.entry(category).or_default().push(place);
        }
        for (category, places) in by_category {
            for place in places {
                draw_marker(canvas, place, radius, marker(category))?;
            }
        }
        Ok(())
    }
}

/// What the page's script knows of the photos: one list for each property, in the order of the points.
#[derive(Serialize)]
struct PageData<'a> {
    x: Vec<i32>,
    y: Vec<i32>,
    /// Positions in `labels` and `clusters`.
    label: Vec<usize>,
    cluster: Vec<usize>,
    path: Vec<String>,
    labels: Vec<&'a str>,
    clusters: Vec<&'a str>,
    /// Thumbnails that aren't on a contact sheet: base64 by position of the photo.
    thumbnails: BTreeMap<usize, String>,
}

/// [`PageData`] as JSON that may stand inside of a `<script>` element.
pub(crate) fn page_data(
    points: &PhotoMap,
    by_label: &Map<'_>,
    by_cluster: &Map<'_>,
    longest_path: usize,
    thumbnails: BTreeMap<usize, String>,
) -> String {
    let places = by_label.places;
    let positions = |map: &Map<'_>| -> Vec<usize> {
        let position: BTreeMap<Option<usize>, usize> =
            map.names.iter().map(|(category, _)| *category).zip(0..).collect();
        map.categories.iter().map(|category| position[category]).collect()
    };
    let data = PageData {
        x: places.iter().map(|&(x, _)| x).collect(),
        y: places.iter().map(|&(_, y)| y).collect(),
        label: positions(by_label),
        cluster: positions(by_cluster),
        path: points.points.iter().map(|point| clip(&point.path, longest_path)).collect(),
        labels: by_label.names.iter().map(|(_, name)| name.as_str()).collect(),
        clusters: by_cluster.names.iter().map(|(_, name)| name.as_str()).collect(),
        thumbnails,
    };
    script_json(&data)
}

/// JSON in which nothing ends a `<script>` element or, were it read as JavaScript, a line.
fn script_json(data: &impl Serialize) -> String {
    serde_json::to_string(data)
        .expect("lists of numbers and strings, and a map by numbers, are JSON")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::MapPoint;

    fn map(points: &[(f64, f64)]) -> PhotoMap {
        let point = |&(x, y): &(f64, f64)| MapPoint { path: String::new(), x, y, label: None, cluster: 0 };
        PhotoMap { method: String::new(), points: points.iter().map(point).collect() }
    }

    #[test]
    fn the_cloud_fills_the_frame_with_up_above() {
        let side = units(SIDE as i32);
        let margin = units(MARGIN);
        // Twice as wide as high.
        let places = places(&map(&[(-2.0, 0.0), (2.0, 2.0), (0.0, 1.0)]));
        assert_eq!(
            places,
            [
                (margin, side / 2 + (side / 2 - margin) / 2),
                (side - margin, side / 2 - (side / 2 - margin) / 2),
                (side / 2, side / 2)
            ]
        );
    }

    #[test]
    fn any_numbers_have_a_place_inside() {
        let inside = 0..=units(SIDE as i32);
        for points in [
            vec![],
            vec![(3.0, 3.0)],
            vec![(1e-320, 0.0), (2e-320, 0.0)],
            vec![(f64::MAX, f64::MIN), (f64::MIN, f64::MAX)],
        ] {
            for (x, y) in places(&map(&points)) {
                assert!(inside.contains(&x) && inside.contains(&y), "{points:?}: {x}, {y}");
            }
        }
    }

    #[test]
    fn json_never_ends_its_script() {
        let hostile = ["</script><script>alert(1)</script>", "<!--", "\u{2028}\u{2029}", "\"]}'"];
        let json = script_json(&hostile);
        assert!(!json.contains('<') && !json.contains(['\u{2028}', '\u{2029}']), "{json}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), hostile);
    }
}
