//! What has to hold of the data before anything is drawn: plotting libraries don't end well on numbers that aren't.

use crate::ReportError;
use crate::data::{MAX_MAP_POINTS, ReportData};

type Checked = Result<(), ReportError>;

fn finite(what: &'static str, mut numbers: impl Iterator<Item = f64>) -> Checked {
    if numbers.all(f64::is_finite) { Ok(()) } else { Err(ReportError::NotFinite { what }) }
}

fn consistent(what: &'static str, holds: bool, reason: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(ReportError::Inconsistent { what, reason: reason() }) }
}

/// Every row has one count for each of the columns.
fn full(what: &'static str, counts: &[Vec<u64>], rows: usize, columns: usize) -> Checked {
    consistent(what, counts.len() == rows && counts.iter().all(|row| row.len() == columns), || {
        format!("the counts aren't {rows} rows of {columns}")
    })
}

/// Refuses data that contradicts itself or can't be drawn.
pub(crate) fn check(data: &ReportData) -> Checked {
    check_summary(data)?;
    if let Some(components) = &data.components {
        finite("components", components.explained_variance_ratio.iter().copied())?;
        let (kept, all) = (components.n_components, components.explained_variance_ratio.len());
        consistent("components", (1..=all).contains(&kept), || format!("{kept} of {all} are kept"))?;
    }
    check_photos(data)?;
    check_clusters(data)?;
    if let Some(classifier) = &data.classifier {
        let shares = classifier.labels.iter().flat_map(|label| [label.precision, label.recall, label.f1]);
        finite("classifier", shares.flatten().chain([classifier.accuracy]))?;
        full("classifier", &classifier.confusion, classifier.labels.len(), classifier.labels.len())?;
    }
    Ok(())
}

fn check_summary(data: &ReportData) -> Checked {
    let counts = data.counts;
    consistent("counts", counts.rows.checked_add(counts.failures) == Some(counts.listed), || {
        format!("{} listed aren't {} rows and {} failures", counts.listed, counts.rows, counts.failures)
    })?;
    let by_reason = data.failures.by_reason.values().fold(0_u64, |sum, &photos| sum.saturating_add(photos));
    consistent("failures", by_reason == counts.failures, || {
        format!("{by_reason} by reason aren't {} failures", counts.failures)
    })?;
    let figures = data.figures;
    let values = [
        figures.silhouette,
        figures.calinski_harabasz,
        figures.davies_bouldin,
        figures.inertia,
        figures.ari,
        figures.nmi,
        figures.homogeneity,
        figures.completeness,
        figures.purity,
    ];
    finite("figures", values.into_iter().flatten())?;
    finite("stages", data.stages.iter().map(|stage| stage.seconds))
}

fn check_photos(data: &ReportData) -> Checked {
    let known = |what: &'static str, mut labels: Box<dyn Iterator<Item = u32> + '_>| {
        let unknown = labels.find(|&label| label as usize >= data.labels.len());
        consistent(what, unknown.is_none(), || {
            format!("label {} is none of {} labels", unknown.unwrap_or_default(), data.labels.len())
        })
    };
    if let Some(map) = &data.map {
        if map.points.len() > MAX_MAP_POINTS {
            return Err(ReportError::TooManyPoints { got: map.points.len(), most: MAX_MAP_POINTS });
        }
        finite("map", map.points.iter().flat_map(|point| [point.x, point.y]))?;
        known("map", Box::new(map.points.iter().filter_map(|point| point.label)))?;
    }
    if let Some(contingency) = &data.contingency {
        known("contingency", Box::new(contingency.labels.iter().copied()))?;
        full("contingency", &contingency.counts, contingency.labels.len(), contingency.clusters.len())?;
    }
    let sheets = &data.contact_sheets;
    let photos = || {
        sheets.iter().flat_map(|sheet| sheet.nearest.iter().chain(&sheet.borderline).chain(&sheet.farthest))
    };
    finite("contact sheets", photos().map(|photo| photo.distance))?;
    known("contact sheets", Box::new(photos().filter_map(|photo| photo.label)))
}

fn check_clusters(data: &ReportData) -> Checked {
    if let Some(silhouettes) = &data.silhouettes {
        let values = || {
            let clusters = silhouettes.clusters.iter();
            clusters
                .flat_map(|cluster| cluster.values.iter().copied().chain([cluster.mean]))
                .chain([silhouettes.mean])
        };
        finite("silhouettes", values())?;
        // Rounding may lift a mean a little beyond.
        consistent("silhouettes", values().all(|value| value.abs() <= 1.0 + 1e-9), || {
            "one isn't between -1 and 1".to_owned()
        })?;
    }
    if let Some(choice) = &data.cluster_choice {
        let figures = choice.tried.iter();
        let figures = figures.flat_map(|tried| {
            [tried.inertia, tried.silhouette, tried.calinski_harabasz, tried.davies_bouldin]
        });
        finite("number of clusters", figures.flatten())?;
        let among = choice.tried.iter().any(|tried| tried.n_clusters == choice.n_clusters);
        consistent("number of clusters", among, || format!("{} wasn't tried", choice.n_clusters))?;
    }
    if let Some(restarts) = &data.restarts {
        finite("restarts", restarts.inertias.iter().copied().chain(restarts.stability))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{
        ClusterChoice, Components, Contingency, Counts, Figures, LabelCount, MapPoint, PhotoMap, Silhouettes,
        StageSeconds,
    };

    fn with(change: impl FnOnce(&mut ReportData)) -> Checked {
        let labels = vec![LabelCount { label: "fig".to_owned(), photos: 1 }];
        let mut data = ReportData { labels, ..ReportData::default() };
        change(&mut data);
        check(&data)
    }

    fn point(x: f64, label: u32) -> MapPoint {
        MapPoint { path: "a.jpg".to_owned(), x, y: 0.0, label: Some(label), cluster: 0 }
    }

    #[test]
    fn a_report_of_nothing_is_fine() {
        assert_eq!(check(&ReportData::default()), Ok(()));
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        let not_finite = |what| Err(ReportError::NotFinite { what });
        let figures = Figures { inertia: Some(f64::INFINITY), ..Figures::default() };
        assert_eq!(with(|data| data.figures = figures), not_finite("figures"));
        let stage = StageSeconds { stage: "fit".to_owned(), seconds: f64::NAN };
        assert_eq!(with(|data| data.stages = vec![stage]), not_finite("stages"));
        let map = PhotoMap { method: String::new(), points: vec![point(f64::NAN, 0)] };
        assert_eq!(with(|data| data.map = Some(map)), not_finite("map"));
    }

    #[test]
    fn contradictions_are_refused() {
        let refused = |what: &str, checked: Checked| match checked {
            Err(ReportError::Inconsistent { what: part, .. }) => assert_eq!(part, what),
            other => panic!("{what}: {other:?}"),
        };
        refused("counts", with(|data| data.counts = Counts { listed: 3, rows: 1, failures: 1, clusters: 0 }));
        refused(
            "failures",
            with(|data| data.counts = Counts { listed: 1, rows: 0, failures: 1, clusters: 0 }),
        );
        for n_components in [0, 3] {
            let components = Components { explained_variance_ratio: vec![0.7, 0.3], n_components };
            refused("components", with(|data| data.components = Some(components)));
        }
        let map = PhotoMap { method: String::new(), points: vec![point(0.0, 1)] };
        refused("map", with(|data| data.map = Some(map)));
        let ragged = Contingency { labels: vec![0], clusters: vec![0, 1], counts: vec![vec![1]] };
        refused("contingency", with(|data| data.contingency = Some(ragged)));
        let choice = ClusterChoice { n_clusters: 4, why: String::new(), tried: Vec::new() };
        refused("number of clusters", with(|data| data.cluster_choice = Some(choice)));
        let beyond = Silhouettes { mean: 1.5, rows: 1, clusters: Vec::new() };
        refused("silhouettes", with(|data| data.silhouettes = Some(beyond)));
    }

    #[test]
    fn maps_have_an_end() {
        let map = PhotoMap { method: String::new(), points: vec![point(0.0, 0); MAX_MAP_POINTS + 1] };
        let refused = with(|data| data.map = Some(map));
        assert_eq!(
            refused,
            Err(ReportError::TooManyPoints { got: MAX_MAP_POINTS + 1, most: MAX_MAP_POINTS })
        );
    }
}
