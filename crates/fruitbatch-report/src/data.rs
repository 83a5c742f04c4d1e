//! What a report is made of: plain tables and numbers. `None` and empty parts are left out of the page.

use std::collections::BTreeMap;

/// Points that a [`PhotoMap`] may have: give a sample of larger sets.
pub const MAX_MAP_POINTS: usize = 5_000;

/// Everything that a report shows.
///
/// Labels are referred to by their number in [`labels`](Self::labels), from 0. Clusters bear the numbers of `results.csv`;
/// -1 stands for noise, rows in no cluster, as in scikit-learn. All numbers have to be finite.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReportData {
    /// What the page is called: the name of the data set or of the run.
    pub title: String,
    /// What was run, on what, in the order of importance.
    pub facts: Vec<Fact>,
    /// How many photos there were.
    pub counts: Counts,
    /// How good the clusters are.
    pub figures: Figures,
    /// Every label with its photos, in the order of the labels' numbers: most frequent first.
    pub labels: Vec<LabelCount>,
    /// What the principal components keep.
    pub components: Option<Components>,
    /// The photos on a plane.
    pub map: Option<PhotoMap>,
    /// How many rows of each label fell into each cluster.
    pub contingency: Option<Contingency>,
    /// Photos that stand for their cluster, by cluster.
    pub contact_sheets: Vec<ContactSheet>,
    /// JPEG files by the photo's path, [`THUMBNAIL_BUDGET_BYTES`](crate::THUMBNAIL_BUDGET_BYTES) in all, a photo on several
    /// strips counted as often. More may be given: what the page has no room for is left out, and it says so. Those on contact
    /// sheets come first. See [`thumbnail`](crate::thumbnail()).
    pub thumbnails: BTreeMap<String, Vec<u8>>,
    /// How well each row lies in its cluster.
    pub silhouettes: Option<Silhouettes>,
    /// How the number of clusters was chosen.
    pub cluster_choice: Option<ClusterChoice>,
    /// What the restarts of the clustering gave.
    pub restarts: Option<Restarts>,
    /// A classifier over the labels, scored on rows that it hasn't seen.
    pub classifier: Option<Classifier>,
    /// The photos that could not be used.
    pub failures: Failures,
    /// Wall time of each stage, in the order in which they ran.
    pub stages: Vec<StageSeconds>,
    /// By what the results were made: versions, digests, commit, hosts, times.
    pub lineage: Vec<Fact>,
}

/// Something to know, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What it is about.
    pub name: String,
    /// What there is to know.
    pub value: String,
}

/// How many photos there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Photos listed: always `rows` + `failures`.
    pub listed: u64,
    /// Photos with features.
    pub rows: u64,
    /// Photos that could not be used.
    pub failures: u64,
    /// Clusters that the rows fell into, noise not counted.
    pub clusters: u64,
}

/// How good the clusters are; `None` where a figure is undefined (as those against labels are without labels).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    /// Mean silhouette, between -1 and 1.
    pub silhouette: Option<f64>,
    /// Calinski-Harabasz index, from 0.
    pub calinski_harabasz: Option<f64>,
    /// Davies-Bouldin index, from 0; lower is better.
    pub davies_bouldin: Option<f64>,
    /// Sum of the squared distances of the rows from their centres.
    pub inertia: Option<f64>,
    /// Adjusted Rand index, between -0.5 and 1.
    pub ari: Option<f64>,
    /// Normalised mutual information, between 0 and 1.
    pub nmi: Option<f64>,
    /// Between 0 and 1.
    pub homogeneity: Option<f64>,
    /// Between 0 and 1.
    pub completeness: Option<f64>,
    /// Share of the rows that bear the most frequent label of their cluster, above 0 and up to 1.
    pub purity: Option<f64>,
}

/// How many photos bear a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelCount {
    /// The label.
    pub label: String,
    /// Photos that bear it.
    pub photos: u64,
}

/// What the principal components keep.
#[derive(Debug, Clone, PartialEq)]
pub struct Components {
    /// Variance along each component as a share of the total, falling; the whole spectrum.
    pub explained_variance_ratio: Vec<f64>,
    /// Components kept: the first ones, 1 to the length of the spectrum.
    pub n_components: usize,
}

/// The photos on a plane.
#[derive(Debug, Clone, PartialEq)]
pub struct PhotoMap {
    /// How it was made and of which photos, as a sentence.
    pub method: String,
    /// [`MAX_MAP_POINTS`] at most.
    pub points: Vec<MapPoint>,
}

/// A photo on a map.
#[derive(Debug, Clone, PartialEq)]
pub struct MapPoint {
    /// The photo's path relative to INPUT.
    pub path: String,
    /// Position to the right, in units of the map.
    pub x: f64,
    /// Position upwards, in the same units.
    pub y: f64,
    /// Number of its label.
    pub label: Option<u32>,
    /// Its cluster.
    pub cluster: i32,
}

/// How many rows of each label fell into each cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contingency {
    /// Numbers of the labels that occur: one row of `counts` each.
    pub labels: Vec<u32>,
    /// The clusters that occur: one column of `counts` each.
    pub clusters: Vec<i32>,
    /// Rows with that label in that cluster.
    pub counts: Vec<Vec<u64>>,
}

/// Photos that stand for a cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ContactSheet {
    /// The cluster.
    pub cluster: i32,
    /// All photos in it.
    pub photos: u64,
    /// Those nearest to its centre, the nearest first.
    pub nearest: Vec<SheetPhoto>,
    /// Those that lie between it and another cluster, the most undecided first.
    pub borderline: Vec<SheetPhoto>,
    /// Those farthest from its centre, the farthest first.
    pub farthest: Vec<SheetPhoto>,
}

/// A photo on a contact sheet.
#[derive(Debug, Clone, PartialEq)]
pub struct SheetPhoto {
    /// The photo's path relative to INPUT.
    pub path: String,
    /// Number of its label.
    pub label: Option<u32>,
    /// Euclidean distance from the centre of its cluster.
    pub distance: f64,
}

/// How well each row lies in its cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Silhouettes {
    /// Mean over the rows, between -1 and 1.
    pub mean: f64,
    /// Rows that the silhouettes were taken over: all, or a sample.
    pub rows: u64,
    /// By cluster, in the order in which they are drawn.
    pub clusters: Vec<ClusterSilhouette>,
}

/// The silhouettes of a cluster's rows.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterSilhouette {
    /// The cluster.
    pub cluster: i32,
    /// Mean over its rows, between -1 and 1.
    pub mean: f64,
    /// One for each row, in any order, each between -1 and 1. With none for any cluster, the means are drawn as bars.
    pub values: Vec<f64>,
}

/// How the number of clusters was chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterChoice {
    /// The number chosen: one of those tried.
    pub n_clusters: u32,
    /// Why this one, as a sentence.
    pub why: String,
    /// Every number tried, rising.
    pub tried: Vec<TriedClusters>,
}

/// What one number of clusters gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TriedClusters {
    /// Number of clusters.
    pub n_clusters: u32,
    /// Sum of squared distances from the centres.
    pub inertia: Option<f64>,
    /// Mean silhouette.
    pub silhouette: Option<f64>,
    /// Calinski-Harabasz index.
    pub calinski_harabasz: Option<f64>,
    /// Davies-Bouldin index.
    pub davies_bouldin: Option<f64>,
}

/// What the restarts of the clustering gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Restarts {
    /// Inertia of each restart, in the order of their numbers. The lowest one is the result.
    pub inertias: Vec<f64>,
    /// Mean adjusted Rand index between the restarts' clusters, where it was taken.
    pub stability: Option<f64>,
}

/// A classifier over the labels, scored on rows that it hasn't seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Classifier {
    /// Which one, fitted and scored on what, as a sentence.
    pub method: String,
    /// Share of the scored rows that got their own label.
    pub accuracy: f64,
    /// By label, in the order of `confusion`.
    pub labels: Vec<LabelScores>,
    /// Rows with that label (first index) that were given that label (second index), both in the order of `labels`.
    pub confusion: Vec<Vec<u64>>,
}

/// How well a classifier knows a label. `None` where nothing was to be divided by.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelScores {
    /// The label.
    pub label: String,
    /// Share of the rows given this label that bear it.
    pub precision: Option<f64>,
    /// Share of the rows bearing this label that were given it.
    pub recall: Option<f64>,
    /// Harmonic mean of the two.
    pub f1: Option<f64>,
    /// Scored rows that bear it.
    pub support: u64,
}

/// The photos that could not be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failures {
    /// Photos by reason; [`Counts::failures`] together.
    pub by_reason: BTreeMap<String, u64>,
    /// The first of them, by path.
    pub first: Vec<Failure>,
}

/// A photo that could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The photo's path relative to INPUT.
    pub path: String,
    /// Where it fell out.
    pub stage: String,
    /// Why, as a word of a closed set.
    pub reason: String,
    /// What happened, in words.
    pub detail: String,
}

/// How long a stage took.
#[derive(Debug, Clone, PartialEq)]
pub struct StageSeconds {
    /// The stage.
    pub stage: String,
    /// Wall seconds.
    pub seconds: f64,
}
