//! What a run found, made ready for [`fruitbatch_report`]: a map of the photos, the photos that stand for their clusters, and the
//! figures just as they are in metrics.json.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, StringArray};
use async_trait::async_trait;
use bytes::Bytes;
use fruitbatch_image::{DecodeLimits, decode};
use fruitbatch_learn::Fitted;
use fruitbatch_learn::tsne::{MIN_TSNE_ROWS, TsneMap, TsneSpec, tsne};
use fruitbatch_report::{
    Classifier, ClusterChoice, ClusterSilhouette, Components, ContactSheet, Contingency, Counts, Fact,
    Failure, Failures, Figures, LabelCount, LabelScores, MapPoint, PhotoMap, ReportData, Restarts,
    SheetPhoto, Silhouettes, StageSeconds, THUMBNAIL_BUDGET_BYTES, TriedClusters, render, thumbnail,
    thumbnail_side,
};
use fruitbatch_storage::{Location, Storage};
use futures::StreamExt;

use crate::config::RunPlan;
use crate::error::RunError;
use crate::events::{Event, Observer, Stage};
use crate::extracted::Extracted;
use crate::lineage::Lineage;
use crate::outputs::Metrics;
use crate::tables::{encode_parquet, table};

/// `report.html`: opens from disk, without a network.
pub const REPORT: &str = "report.html";
/// The map's coordinates, `path, label, cluster, x, y`, as Parquet.
pub const MAP_PARQUET: &str = "tsne.parquet";
/// The folder of the report's plots as PNG files.
pub const PLOTS_FOLDER: &str = "plots";

/// Photos of each kind (nearest, borderline, farthest) on a cluster's contact sheet at most.
const MOST_ON_A_SHEET: usize = 8;
/// Photos on all sheets together: what reading them takes is bounded by this.
const MOST_ON_SHEETS: usize = 1_200;
/// Photos read at a time.
const READS_AT_A_TIME: usize = 16;
/// Larger files have no thumbnail.
const MOST_BYTES_OF_A_PHOTO: u64 = 64 << 20;
/// The failed photos that are named; failures.csv has all.
const MOST_FAILURES: usize = 100;

/// Where the report has the photos from.
#[async_trait]
pub(crate) trait PhotoSource: Send + Sync {
    /// A photo's bytes; none if they can't be had, for whatever reason: a report does without.
    async fn photo(&self, path: &str) -> Option<Bytes>;
}

/// The photos under an INPUT.
pub(crate) struct InputPhotos<'a> {
    pub(crate) storage: &'a Storage,
    pub(crate) input: Location,
}

#[async_trait]
impl PhotoSource for InputPhotos<'_> {
    async fn photo(&self, path: &str) -> Option<Bytes> {
        let reader = self.storage.reader(&self.input).await.ok()?;
        reader.read(path, None, MOST_BYTES_OF_A_PHOTO).await.ok()
    }
}

/// What a report is made from.
pub(crate) struct Findings<'a> {
    pub(crate) plan: &'a RunPlan,
    pub(crate) extracted: &'a Extracted,
    pub(crate) label_indices: &'a [Option<u32>],
    pub(crate) fitted: &'a Fitted,
    pub(crate) metrics: &'a Metrics,
    pub(crate) lineage: &'a Lineage,
}

impl Findings<'_> {
    /// The report's files by name: the page, its plots, and the map's coordinates.
    ///
    /// # Errors
    /// Scores that aren't finite, or a page that can't be drawn.
    pub(crate) async fn report(
        &self,
        photos: &dyn PhotoSource,
        observer: &dyn Observer,
    ) -> Result<BTreeMap<String, Bytes>, RunError> {
        let mut files = BTreeMap::new();
        let map = self.map(observer)?;
        if let Some(map) = &map {
            files.insert(MAP_PARQUET.to_owned(), self.map_table(map));
        }
        let contact_sheets = self.contact_sheets()?;
        let thumbnails = thumbnails(&contact_sheets, photos).await;
        let report = render(&self.data(map.as_ref(), contact_sheets, thumbnails))?;
        files.insert(REPORT.to_owned(), Bytes::from(report.html));
        for (name, png) in report.plots {
            files.insert(format!("{PLOTS_FOLDER}/{name}"), Bytes::from(png));
        }
        Ok(files)
    }

    fn map(&self, observer: &dyn Observer) -> Result<Option<TsneMap>, RunError> {
        if self.extracted.rows.len() < MIN_TSNE_ROWS {
            return Ok(None);
        }
        let spec = TsneSpec { seed: self.plan.learning.kmeans.seed, ..TsneSpec::default() };
        let tell = |done, total| observer.observe(Event::StageProgress { stage: Stage::Report, done, total });
        Ok(Some(tsne(&self.fitted.projected, &spec, self.plan.slots, &tell)?))
    }

    fn map_table(&self, map: &TsneMap) -> Bytes {
        let rows = || map.rows.iter().map(|&row| &self.extracted.rows[row]);
        let columns: [(&str, bool, ArrayRef); 5] = [
            ("path", false, Arc::new(StringArray::from_iter_values(rows().map(|row| &row.path)))),
            ("label", true, Arc::new(rows().map(|row| row.label.as_deref()).collect::<StringArray>())),
            (
                "cluster",
                false,
                Arc::new(Int32Array::from_iter_values(map.rows.iter().map(|&row| self.fitted.clusters[row]))),
            ),
            ("x", false, Arc::new(Float64Array::from(map.map.column(0).to_vec()))),
            ("y", false, Arc::new(Float64Array::from(map.map.column(1).to_vec()))),
        ];
        encode_parquet(&table(columns))
    }

    fn data(
        &self,
        map: Option<&TsneMap>,
        contact_sheets: Vec<ContactSheet>,
        thumbnails: BTreeMap<String, Vec<u8>>,
    ) -> ReportData {
        let (metrics, report) = (self.metrics, &self.fitted.report);
        ReportData {
            title: self.title(),
            facts: self.facts(),
            counts: Counts {
                listed: metrics.listed,
                rows: metrics.rows,
                failures: metrics.failures,
                clusters: report.n_clusters as u64,
            },
            figures: Figures {
                silhouette: report.silhouette,
                calinski_harabasz: report.calinski_harabasz,
                davies_bouldin: report.davies_bouldin,
                inertia: report.inertia,
                ari: report.ari,
                nmi: report.nmi,
                homogeneity: report.homogeneity,
                completeness: report.completeness,
                purity: report.purity,
            },
            labels: metrics
                .labels
                .iter()
                .map(|label| LabelCount { label: label.label.clone(), photos: label.photos })
                .collect(),
            components: Some(Components {
                explained_variance_ratio: report.explained_variance_ratio.clone(),
                n_components: report.n_components,
            }),
            map: map.map(|map| self.photo_map(map)),
            contingency: report.contingency.as_ref().map(|table| Contingency {
                labels: table.labels.clone(),
                clusters: table.clusters.clone(),
                counts: table.counts.clone(),
            }),
            contact_sheets,
            thumbnails,
            silhouettes: self.silhouettes(),
            cluster_choice: report.n_clusters_choice.as_ref().map(|choice| ClusterChoice {
                n_clusters: choice.n_clusters as u32,
                why: choice.why.clone(),
                tried: choice
                    .tried
                    .iter()
                    .map(|tried| TriedClusters {
                        n_clusters: tried.n_clusters as u32,
                        inertia: tried.inertia,
                        silhouette: tried.silhouette,
                        calinski_harabasz: tried.calinski_harabasz,
                        davies_bouldin: tried.davies_bouldin,
                    })
                    .collect(),
            }),
            restarts: report.restarts.as_ref().map(|restarts| Restarts {
                inertias: restarts.inertia.clone(),
                stability: restarts.mean_ari,
            }),
            classifier: self.classifier(),
            failures: Failures {
                by_reason: metrics.failures_by_reason.clone(),
                first: self
                    .extracted
                    .failures
                    .iter()
                    .take(MOST_FAILURES)
                    .map(|failure| Failure {
                        path: failure.path.clone(),
                        stage: failure.stage.clone(),
                        reason: failure.reason.clone(),
                        detail: failure.detail.clone(),
                    })
                    .collect(),
            },
            stages: metrics
                .timings
                .stages
                .iter()
                .map(|stage| StageSeconds { stage: stage.stage.clone(), seconds: stage.seconds })
                .collect(),
            lineage: self.lineage_facts(),
        }
    }

    /// After the last folder of INPUT.
    fn title(&self) -> String {
        let input = self.plan.input.to_string();
        let name = input.trim_end_matches('/').rsplit('/').next().unwrap_or(&input);
        format!("Clusters of {name}")
    }

    /// What was run on what.
    fn facts(&self) -> Vec<Fact> {
        let config = &self.plan.config;
        let embedding = &self.plan.embedding;
        facts([
            ("Input", self.plan.input.to_string()),
            ("Output", self.plan.output.to_string()),
            ("Model", config.model.clone()),
            ("Image size", embedding.image_size.to_string()),
            ("Pooling", embedding.pooling.to_string()),
            ("Precision", embedding.precision.to_string()),
            ("Features a photo", self.metrics.feature_width.to_string()),
            ("Preset", config.preset.clone()),
            ("Principal components", self.fitted.report.n_components.to_string()),
            ("Clusters", self.fitted.report.n_clusters.to_string()),
            ("Seed", config.seed.to_string()),
            ("Finished", self.lineage.finished_at.clone()),
        ])
    }

    fn lineage_facts(&self) -> Vec<Fact> {
        let lineage = self.lineage;
        let versions = &lineage.versions;
        let unknown = || "unknown".to_owned();
        let hosts: Vec<&str> = lineage
            .hosts
            .iter()
            .map(|host| host.name.as_str())
            .chain(lineage.executors.iter().map(|host| host.name.as_str()))
            .collect();
        facts([
            ("Run", lineage.run_id.clone()),
            ("Started", lineage.started_at.clone()),
            ("Input digest", lineage.input_digest.clone()),
            ("Features", lineage.embedding.clone()),
            ("Kernels", lineage.kernel_paths.join(", ")),
            ("fruitbatch", versions.fruitbatch.clone()),
            ("Git commit", versions.git_commit.clone().unwrap_or_else(unknown)),
            ("DataFusion", versions.datafusion.clone()),
            ("Ballista", versions.ballista.clone()),
            ("ONNX Runtime", versions.onnxruntime.clone().unwrap_or_else(unknown)),
            ("Hosts", hosts.join(", ")),
        ])
    }

    fn photo_map(&self, map: &TsneMap) -> PhotoMap {
        let all = self.extracted.rows.len();
        let which = if map.rows.len() == all {
            format!("all {all} photos")
        } else {
            format!("a random sample of {} of {all} photos", map.rows.len())
        };
        PhotoMap {
            method: format!(
                "t-SNE of {} principal components, perplexity {:.0}, {which}, seed {}.",
                self.fitted.report.n_components, map.perplexity, self.plan.learning.kmeans.seed
            ),
            points: map
                .rows
                .iter()
                .zip(map.map.rows())
                .map(|(&row, place)| MapPoint {
                    path: self.extracted.rows[row].path.clone(),
                    x: place[0],
                    y: place[1],
                    label: self.label_indices[row],
                    cluster: self.fitted.clusters[row],
                })
                .collect(),
        }
    }

    /// The head, as it did on the photos that it was tested on.
    fn classifier(&self) -> Option<Classifier> {
        let test = self.metrics.classifier.as_ref()?.test.as_ref()?;
        let name = |label: u32| {
            let known = self.metrics.labels.get(label as usize);
            known.map(|label| label.label.clone()).unwrap_or_default()
        };
        Some(Classifier {
            method: format!(
                "Multinomial logistic regression on the features, tested on {} photos that it was not trained on.",
                test.rows
            ),
            accuracy: test.accuracy,
            labels: test
                .labels
                .iter()
                .map(|figures| LabelScores {
                    label: name(figures.label),
                    precision: Some(figures.precision),
                    recall: Some(figures.recall),
                    f1: Some(figures.f1),
                    support: figures.support,
                })
                .collect(),
            confusion: test.confusion_matrix.clone(),
        })
    }

    /// Those that the figures in metrics.json are of.
    fn silhouettes(&self) -> Option<Silhouettes> {
        let found = self.fitted.silhouette.as_ref()?;
        let mut by_cluster: BTreeMap<i32, Vec<f64>> = BTreeMap::new();
        for &(cluster, value) in &found.values {
            by_cluster.entry(cluster).or_default().push(value);
        }
        Some(Silhouettes {
            mean: found.mean,
            rows: found.values.len() as u64,
            clusters: by_cluster
                .into_iter()
                .filter_map(|(cluster, values)| {
                    Some(ClusterSilhouette { cluster, mean: *found.by_cluster.get(&cluster)?, values })
                })
                .collect(),
        })
    }

    /// The photos that stand for each cluster, noise left out.
    fn contact_sheets(&self) -> Result<Vec<ContactSheet>, RunError> {
        let fitted = self.fitted;
        let memberships = fitted.model.memberships(fitted.points(), &fitted.clusters)?;
        let mut by_cluster: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        for (row, &cluster) in fitted.clusters.iter().enumerate() {
            if cluster >= 0 {
                by_cluster.entry(cluster).or_default().push(row);
            }
        }
        let on_a_sheet = (MOST_ON_SHEETS / (3 * by_cluster.len().max(1))).clamp(1, MOST_ON_A_SHEET);
        let photo = |&row: &usize| SheetPhoto {
            path: self.extracted.rows[row].path.clone(),
            label: self.label_indices[row],
            distance: fitted.distances[row],
        };
        let sheets = by_cluster
            .into_iter()
            .map(|(cluster, mut rows)| {
                let photos = rows.len() as u64;
                rows.sort_by(|&one, &other| {
                    fitted.distances[one].total_cmp(&fitted.distances[other]).then(one.cmp(&other))
                });
                let nearest: Vec<usize> = rows.iter().take(on_a_sheet).copied().collect();
                let farthest: Vec<usize> = rows.iter().rev().take(on_a_sheet).copied().collect();
                // Clusters by density have none.
                rows.retain(|&row| memberships[row].is_some());
                rows.sort_by(|&one, &other| {
                    let belongs = |row: usize| memberships[row].unwrap_or(1.0);
                    belongs(one).total_cmp(&belongs(other)).then(one.cmp(&other))
                });
                ContactSheet {
                    cluster,
                    photos,
                    nearest: nearest.iter().map(photo).collect(),
                    borderline: rows.iter().take(on_a_sheet).map(photo).collect(),
                    farthest: farthest.iter().map(photo).collect(),
                }
            })
            .collect();
        Ok(sheets)
    }
}

fn facts<const N: usize>(pairs: [(&str, String); N]) -> Vec<Fact> {
    pairs.into_iter().map(|(name, value)| Fact { name: name.to_owned(), value }).collect()
}

/// The photos of all sheets in small, as far as they can be had and the report has room: first those nearest to their centres.
async fn thumbnails(sheets: &[ContactSheet], photos: &dyn PhotoSource) -> BTreeMap<String, Vec<u8>> {
    let kinds: [fn(&ContactSheet) -> &Vec<SheetPhoto>; 3] =
        [|sheet| &sheet.nearest, |sheet| &sheet.borderline, |sheet| &sheet.farthest];
    let mut seen = BTreeSet::new();
    let mut paths = Vec::new();
    for kind in kinds {
        for photo in sheets.iter().flat_map(kind) {
            if seen.insert(&photo.path) {
                paths.push(&photo.path);
            }
        }
    }
    paths.truncate(MOST_ON_SHEETS);
    let side = thumbnail_side(paths.len());
    let mut made = futures::stream::iter(paths)
        .map(async |path| {
            let bytes = photos.photo(path).await?;
            let small = tokio::task::spawn_blocking(move || {
                let photo = decode(&bytes, &DecodeLimits::default()).ok()?;
                thumbnail(photo.pixels(), photo.width(), photo.height(), side).ok()
            });
            Some((path, small.await.ok()??))
        })
        .buffered(READS_AT_A_TIME);
    let (mut thumbnails, mut bytes) = (BTreeMap::new(), 0);
    while let Some(one) = made.next().await {
        let Some((path, jpeg)) = one else { continue };
        bytes += jpeg.len();
        if bytes > THUMBNAIL_BUDGET_BYTES {
            break;
        }
        thumbnails.insert(path.clone(), jpeg);
    }
    thumbnails
}
