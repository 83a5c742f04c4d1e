//! Data of the shape that a run over fruit photos has, drawn from a seed: for the example and for the tests.

use std::collections::BTreeMap;

use fruitbatch_report::{
    Classifier, ClusterChoice, ClusterSilhouette, Components, ContactSheet, Contingency, Counts, Fact,
    Failure, Failures, Figures, LabelCount, LabelScores, MapPoint, PhotoMap, ReportData, Restarts,
    SheetPhoto, Silhouettes, StageSeconds, TriedClusters, thumbnail, thumbnail_side,
};

/// How large an orchard is.
#[derive(Clone, Copy)]
pub(crate) struct Orchard {
    pub(crate) labels: usize,
    pub(crate) photos_per_label: usize,
    /// Photos on the map, at most.
    pub(crate) on_map: usize,
    /// Photos in each strip of a contact sheet.
    pub(crate) in_strip: usize,
}

/// The four fruits of the study, 232 photos each.
pub(crate) const FOUR: Orchard = Orchard { labels: 4, photos_per_label: 232, on_map: 928, in_strip: 8 };
/// As many labels as Fruits-360 has.
pub(crate) const LARGE: Orchard = Orchard { labels: 131, photos_per_label: 160, on_map: 5_000, in_strip: 4 };

/// Vigna's SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// About normal: mean 0, variance 1.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.share()).sum::<f64>() - 6.0
    }
}

fn label_name(label: usize) -> String {
    const FOUR: [&str; 4] = ["Apple Braeburn", "Apple Pink Lady", "Orange", "Strawberry"];
    const FRUITS: [&str; 12] = [
        "Apple",
        "Avocado",
        "Banana",
        "Cherry",
        "Grape",
        "Kiwi",
        "Mango",
        "Nectarine",
        "Peach",
        "Pear",
        "Plum",
        "Tomato",
    ];
    const KINDS: [&str; 12] = [
        "",
        "Red",
        "Yellow",
        "Green",
        "White",
        "Golden",
        "Rainier",
        "Forelle",
        "Monster",
        "Lady Finger",
        "Abate",
        "Hass",
    ];
    FOUR.get(label).map_or_else(
        || format!("{} {}", FRUITS[label % 12], KINDS[label / 12]).trim().to_owned(),
        |name| (*name).to_owned(),
    )
}

/// A photo: where it lies, and where it fell.
struct Row {
    path: String,
    label: u32,
    cluster: i32,
    x: f64,
    y: f64,
    distance: f64,
    silhouette: f64,
}

fn rows(orchard: Orchard, random: &mut Random) -> Vec<Row> {
    let columns = (orchard.labels as f64).sqrt().ceil();
    let mut rows = Vec::new();
    for label in 0..orchard.labels {
        let (column, line) = (label as f64 % columns, (label as f64 / columns).floor());
        for photo in 0..orchard.photos_per_label {
            // Every fruit is turned around once: a ring, which the next fruit's may touch.
            let angle = photo as f64 / orchard.photos_per_label as f64 * std::f64::consts::TAU;
            let radius = 2.2 + 0.7 * (label % 3) as f64;
            let stray = random.share() < 0.06 * (label % 4) as f64;
            let cluster = if stray { (label + 1) % orchard.labels } else { label };
            rows.push(Row {
                path: format!("{}/{photo}_100.jpg", label_name(label)),
                label: label as u32,
                // Numbered by another order than labels are.
                cluster: (cluster * 7 % orchard.labels) as i32,
                x: 9.0 * column + radius * angle.cos() + 0.4 * random.normal(),
                y: 9.0 * line + radius * (angle + label as f64).sin() + 0.4 * random.normal(),
                distance: 8.0 + 2.0 * random.normal().abs() + if stray { 6.0 } else { 0.0 },
                silhouette: (if stray { -0.12 } else { 0.42 - 0.03 * (label % 5) as f64 }
                    + 0.13 * random.normal())
                .clamp(-1.0, 1.0),
            });
        }
    }
    rows
}

/// A round fruit before a white background.
fn drawn_thumbnail(label: u32, turn: u64, side: u32) -> Vec<u8> {
    const SIZE: u32 = 100;
    const COLORS: [[f64; 3]; 6] = [
        [178.0, 42.0, 38.0],
        [222.0, 108.0, 116.0],
        [240.0, 144.0, 28.0],
        [204.0, 24.0, 44.0],
        [120.0, 160.0, 50.0],
        [110.0, 60.0, 130.0],
    ];
    let color = COLORS[label as usize % COLORS.len()];
    let light = 28.0 + (turn % 45) as f64;
    let mut rgb = Vec::with_capacity(3 * (SIZE * SIZE) as usize);
    for y in 0..SIZE {
        for x in 0..SIZE {
            let (dx, dy) = (f64::from(x) - 50.0, f64::from(y) - 52.0);
            let inside = (1.0 - (dx * dx + dy * dy * 1.1) / (40.0 * 40.0)) * 20.0;
            let lit = 1.15 - ((f64::from(x) - light).powi(2) + (f64::from(y) - 32.0).powi(2)).sqrt() / 110.0;
            let stripes = 1.0 + 0.06 * ((f64::from(x) + turn as f64) / 4.0).sin();
            for channel in color {
                let fruit = (channel * lit * stripes).clamp(0.0, 255.0);
                rgb.push((255.0 + (fruit - 255.0) * inside.clamp(0.0, 1.0)) as u8);
            }
        }
    }
    thumbnail(&rgb, SIZE, SIZE, side).expect("three bytes a pixel")
}

fn contact_sheets(orchard: Orchard, rows: &[Row]) -> Vec<ContactSheet> {
    let clusters = 0..orchard.labels as i32;
    clusters
        .map(|cluster| {
            let mut own: Vec<&Row> = rows.iter().filter(|row| row.cluster == cluster).collect();
            let strip = |own: &[&Row]| -> Vec<SheetPhoto> {
                let photo = |row: &&Row| SheetPhoto {
                    path: row.path.clone(),
                    label: Some(row.label),
                    distance: row.distance,
                };
                own.iter().take(orchard.in_strip).map(photo).collect()
            };
            own.sort_by(|one, other| one.distance.total_cmp(&other.distance));
            let nearest = strip(&own);
            own.reverse();
            let farthest = strip(&own);
            own.sort_by(|one, other| one.silhouette.total_cmp(&other.silhouette));
            ContactSheet { cluster, photos: own.len() as u64, nearest, borderline: strip(&own), farthest }
        })
        .collect()
}

fn silhouettes(orchard: Orchard, rows: &[Row]) -> Silhouettes {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let clusters = (0..orchard.labels as i32).map(|cluster| {
        let own = rows.iter().filter(|row| row.cluster == cluster);
        let values: Vec<f64> = own.map(|row| row.silhouette).collect();
        ClusterSilhouette { cluster, mean: mean(&values), values }
    });
    let all: Vec<f64> = rows.iter().map(|row| row.silhouette).collect();
    Silhouettes { mean: mean(&all), rows: rows.len() as u64, clusters: clusters.collect() }
}

fn classifier(orchard: Orchard, random: &mut Random) -> Classifier {
    let tested = orchard.photos_per_label as u64 / 4;
    let confusion: Vec<Vec<u64>> = (0..orchard.labels)
        .map(|label| {
            let mut counts = vec![0; orchard.labels];
            let wrong = (random.share() * 0.15 * tested as f64) as u64;
            counts[(label + 1) % orchard.labels] += wrong;
            counts[label] += tested - wrong;
            counts
        })
        .collect();
    let labels = (0..orchard.labels).map(|label| {
        let right = confusion[label][label] as f64;
        let given: u64 = confusion.iter().map(|row| row[label]).sum();
        let (precision, recall) = (right / given as f64, right / tested as f64);
        LabelScores {
            label: label_name(label),
            precision: Some(precision),
            recall: Some(recall),
            f1: Some(2.0 * precision * recall / (precision + recall)),
            support: tested,
        }
    });
    let right: u64 = confusion.iter().enumerate().map(|(label, row)| row[label]).sum();
    Classifier {
        method: "Logistic regression on the principal components, fitted on three quarters of the photos and scored on the rest.".to_owned(),
        accuracy: right as f64 / (tested * orchard.labels as u64) as f64,
        labels: labels.collect(),
        confusion,
    }
}

fn facts<const N: usize>(facts: [(&str, &str); N]) -> Vec<Fact> {
    facts.map(|(name, value)| Fact { name: name.to_owned(), value: value.to_owned() }).into()
}

/// Everything that a report can have.
pub(crate) fn report_data(orchard: Orchard) -> ReportData {
    let mut random = Random(928);
    let rows = rows(orchard, &mut random);
    let n_labels = orchard.labels;
    let labels = (0..n_labels)
        .map(|label| LabelCount { label: label_name(label), photos: orchard.photos_per_label as u64 })
        .collect();
    let mut counts = vec![vec![0; n_labels]; n_labels];
    for row in &rows {
        counts[row.label as usize][row.cluster as usize] += 1;
    }
    let every = rows.len().div_ceil(orchard.on_map);
    let points = rows.iter().step_by(every).map(|row| MapPoint {
        path: row.path.clone(),
        x: row.x,
        y: row.y,
        label: Some(row.label),
        cluster: row.cluster,
    });
    let points: Vec<MapPoint> = points.collect();
    let contact_sheets = contact_sheets(orchard, &rows);
    let on_sheets = contact_sheets
        .iter()
        .flat_map(|sheet| sheet.nearest.iter().chain(&sheet.borderline).chain(&sheet.farthest));
    let on_sheets: BTreeMap<&str, u32> =
        on_sheets.map(|photo| (photo.path.as_str(), photo.label.expect("every row has one"))).collect();
    let side = thumbnail_side(on_sheets.len());
    let thumbnails = on_sheets
        .iter()
        .zip(0_u64..)
        .map(|((path, label), turn)| ((*path).to_owned(), drawn_thumbnail(*label, 37 * turn, side)))
        .collect();
    // A spectrum that falls as that of common features does.
    let variances: Vec<f64> = (1..=512).map(|component| 1.0 / f64::from(component).powf(0.95)).collect();
    let variance: f64 = variances.iter().sum();
    let tried = (2..=20).map(|n_clusters| {
        let (k, best) = (f64::from(n_clusters), 4.0);
        TriedClusters {
            n_clusters,
            inertia: Some(640_000.0 / k.powf(0.8) + 9_000.0 * (k - best).abs().min(3.0)),
            silhouette: Some(0.348 - 0.012 * (k - best).abs().powf(0.9) + 0.004 * random.normal()),
            calinski_harabasz: Some(420.0 - 14.0 * (k - best).abs()),
            davies_bouldin: Some(1.05 + 0.04 * (k - best).abs().sqrt()),
        }
    });
    let tried = tried.collect();
    let failures = [("not-an-image", 4), ("truncated", 2), ("empty", 1)];
    let failed: u64 = failures.iter().map(|(_, photos)| photos).sum();
    let failure = |path: &str, stage: &str, reason: &str, detail: &str| Failure {
        path: path.to_owned(),
        stage: stage.to_owned(),
        reason: reason.to_owned(),
        detail: detail.to_owned(),
    };
    ReportData {
        title: format!("fruits-{}", rows.len()),
        facts: facts([
            ("input", "s3://orchard/fruits/"),
            ("features", "vgg16, 224 x 224 pixels, bicubic, max pooling, fp32"),
            ("learning", "scaler, PCA, KMeans with 10 restarts, seed 0"),
        ]),
        counts: Counts {
            listed: rows.len() as u64 + failed,
            rows: rows.len() as u64,
            failures: failed,
            clusters: n_labels as u64,
        },
        figures: Figures {
            silhouette: Some(0.348_393_868_953_618_57),
            calinski_harabasz: Some(412.387_215_113),
            davies_bouldin: Some(1.073_218_812),
            inertia: Some(123_267.814_295_906_37),
            ari: Some(0.661_643_138_056_395_5),
            nmi: Some(0.756_938_545_384_384_4),
            homogeneity: Some(0.731_822_1),
            completeness: Some(0.783_801_7),
            purity: Some(0.866_379_310_344_827_6),
        },
        labels,
        components: Some(Components {
            explained_variance_ratio: variances.iter().map(|part| part / variance).collect(),
            n_components: 10,
        }),
        map: Some(PhotoMap {
            method: format!(
                "t-SNE with perplexity 30 and seed 0 over {} of {} photos.",
                points.len(),
                rows.len()
            ),
            points,
        }),
        contingency: Some(Contingency {
            labels: (0..n_labels as u32).collect(),
            clusters: (0..n_labels as i32).collect(),
            counts,
        }),
        contact_sheets,
        thumbnails,
        silhouettes: Some(silhouettes(orchard, &rows)),
        cluster_choice: Some(ClusterChoice {
            n_clusters: 4,
            why: "Of all numbers from 2 to 20, this one has the highest mean silhouette.".to_owned(),
            tried,
        }),
        restarts: Some(Restarts {
            inertias: (0..10).map(|_| 123_267.8 * (1.0 + 0.01 * random.share().powi(3))).collect(),
            stability: Some(0.941_27),
        }),
        classifier: Some(classifier(orchard, &mut random)),
        failures: Failures {
            by_reason: failures.map(|(reason, photos)| (reason.to_owned(), photos)).into(),
            first: vec![
                failure(
                    "Orange/.hidden/readme.jpg",
                    "decode",
                    "not-an-image",
                    "starts with `This fol`, which is no image format",
                ),
                failure(
                    "Orange/12_100.jpg",
                    "decode",
                    "truncated",
                    "the file ends after 1,812 of 4,096 rows of blocks",
                ),
                failure("Strawberry/empty.jpg", "read", "empty", "the file has no bytes"),
            ],
        },
        stages: [("list", 0.21), ("start", 1.4), ("extract", 41.7), ("fit", 3.9), ("write", 0.6)]
            .map(|(stage, seconds)| StageSeconds { stage: stage.to_owned(), seconds })
            .into(),
        lineage: facts([
            ("run", "0198c2a4-7d5e-7a31-b2f4-2f0a5d6c9e11"),
            ("fruitbatch", "0.1.0, commit 1f2e3d4c5b6a"),
            ("model", "vgg16, sha256 8c1d7a3f0f4b2f9f6a1c1f2b3e4d5c6b7a8990a1b2c3d4e5f60718293a4b5c6d"),
            ("input digest", "sha256 0f4b2f9f6a1c1f2b3e4d5c6b7a8990a1b2c3d4e5f60718293a4b5c6d8c1d7a3f"),
            ("started", "2025-03-01T09:30:00Z"),
            ("finished", "2025-03-01T09:30:48Z"),
            ("hosts", "orchard-1 (x86_64, 8 cores)"),
        ]),
    }
}
