//! What a report promises without a browser: its figures, its length, its plots, and that text from data stays text.

mod orchard;

use std::collections::{BTreeMap, BTreeSet};

use fruitbatch_report::{
    ClusterChoice, ClusterSilhouette, Components, ContactSheet, Contingency, Counts, Fact, Failure, Failures,
    LabelCount, MAX_REPORT_BYTES, MapPoint, PhotoMap, Report, ReportData, ReportError, Restarts, SheetPhoto,
    Silhouettes, StageSeconds, THUMBNAIL_BUDGET_BYTES, TriedClusters, render,
};
use orchard::{FOUR, LARGE, report_data};

/// The attribute's value in the first element that bears `marker`.
fn value_of<'a>(html: &'a str, marker: &str) -> &'a str {
    let (_, after) = html.split_once(marker).unwrap_or_else(|| panic!("there is no {marker}"));
    let (_, value) = after.split_once("data-value=\"").expect("it has a value");
    value.split_once('"').expect("attributes end").0
}

/// Pixels of a PNG, three bytes each.
fn decoded(file: &[u8]) -> (png::OutputInfo, Vec<u8>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().expect("is a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("fits in memory")];
    let info = reader.next_frame(&mut pixels).expect("has pixels");
    (info, pixels)
}

fn colors(file: &[u8]) -> BTreeSet<[u8; 3]> {
    let (_, pixels) = decoded(file);
    pixels.chunks_exact(3).map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect()
}

#[test]
fn figures_are_in_the_page_with_all_their_digits() {
    let data = report_data(FOUR);
    let html = render(&data).unwrap().html;
    let figures = data.figures;
    for (name, figure) in [
        ("silhouette", figures.silhouette),
        ("calinski_harabasz", figures.calinski_harabasz),
        ("davies_bouldin", figures.davies_bouldin),
        ("inertia", figures.inertia),
        ("ari", figures.ari),
        ("nmi", figures.nmi),
        ("homogeneity", figures.homogeneity),
        ("completeness", figures.completeness),
        ("purity", figures.purity),
    ] {
        let text = value_of(&html, &format!("data-figure=\"{name}\""));
        assert_eq!(text.parse::<f64>().unwrap().to_bits(), figure.unwrap().to_bits(), "{name}");
        assert_eq!(text, serde_json::to_string(&figure.unwrap()).unwrap(), "{name}: as metrics.json has it");
    }
    for (name, count) in [("listed", 935), ("rows", 928), ("failures", 7), ("labels", 4), ("n_clusters", 4)] {
        assert_eq!(value_of(&html, &format!("data-count=\"{name}\"")), count.to_string());
    }
}

#[test]
fn figures_that_are_undefined_are_left_out() {
    let mut data = report_data(FOUR);
    data.figures.ari = None;
    let html = render(&data).unwrap().html;
    assert!(!html.contains("data-figure=\"ari\"") && html.contains("data-figure=\"nmi\""));
}

#[test]
fn every_plot_of_the_page_is_a_png_too() {
    let Report { html, plots } = render(&report_data(FOUR)).unwrap();
    let in_page: BTreeSet<&str> =
        html.split("data-plot=\"").skip(1).map(|after| after.split_once('"').unwrap().0).collect();
    assert_eq!(in_page, plots.keys().map(String::as_str).collect());
    let expected = "choice_calinski_harabasz choice_davies_bouldin choice_inertia choice_silhouette confusion contingency \
                    cumulative_variance failures label_counts map_by_cluster map_by_label restarts scree silhouette stages";
    let expected: BTreeSet<String> = expected.split_whitespace().map(|name| format!("{name}.png")).collect();
    assert_eq!(plots.keys().cloned().collect::<BTreeSet<_>>(), expected);
    for (name, file) in &plots {
        let (info, _) = decoded(file);
        assert!(info.width >= 800 && info.height >= 150, "{name}: {} x {}", info.width, info.height);
        // White, text, and lines between them smoothed.
        assert!(colors(file).len() > 10, "{name} is empty");
    }
    // The first four of Okabe and Ito's colours, one for each label.
    let seen = colors(&plots["map_by_label.png"]);
    for color in [[0, 114, 178], [230, 159, 0], [0, 158, 115], [213, 94, 0]] {
        assert!(seen.contains(&color), "{color:?}");
    }
}

#[test]
fn the_same_data_gives_the_same_bytes() {
    let data = report_data(FOUR);
    assert_eq!(render(&data).unwrap(), render(&data).unwrap());
}

#[test]
fn nothing_is_fetched_from_anywhere() {
    let html = render(&report_data(FOUR)).unwrap().html;
    // The input's name is text.
    let html = html.replace("s3://orchard/fruits/", "");
    assert!(!html.contains("://"), "{:?}", html.split_once("://").map(|(_, after)| &after[..60]));
    for attribute in ["src=\"", "href=\""] {
        for value in html.split(attribute).skip(1).map(|after| after.split_once('"').unwrap().0) {
            assert!(value.starts_with('#') || value.starts_with("data:"), "{attribute}{value}");
        }
    }
    assert!(html.contains("content=\"default-src &#39;none&#39;;"));
    assert!(!html.contains("unsafe-inline"));
}

#[test]
fn large_reports_stay_below_five_megabytes_with_all_thumbnails_of_the_budget() {
    let data = report_data(LARGE);
    assert!(data.thumbnails.values().map(Vec::len).sum::<usize>() <= THUMBNAIL_BUDGET_BYTES);
    let html = render(&data).unwrap().html;
    assert!(html.len() <= MAX_REPORT_BYTES, "{}", html.len());
    assert!(!html.contains("were left out"));
    assert!(!html.contains("class=\"missing\""));
}

#[test]
fn thumbnails_beyond_the_room_are_left_out_and_counted() {
    let mut data = report_data(LARGE);
    // 1,000 bytes more each: bytes behind the end of a JPEG mean nothing.
    for thumbnail in data.thumbnails.values_mut() {
        thumbnail.extend([0; 1_000]);
    }
    let html = render(&data).unwrap().html;
    assert!(html.len() <= MAX_REPORT_BYTES, "{}", html.len());
    assert!(html.len() > MAX_REPORT_BYTES * 9 / 10, "the room is used: {}", html.len());
    let shown: BTreeSet<&str> = html
        .split("<img ")
        .skip(1)
        .map(|after| after.split_once("data-path=\"").unwrap().1.split_once('"').unwrap().0)
        .collect();
    let left_out = data.thumbnails.len() - shown.len();
    assert!(left_out > 0);
    let said = format!("{left_out} of 1,{} thumbnails were left out", data.thumbnails.len() - 1_000);
    assert!(html.contains(&said), "{said}");
    // Those nearest to their centre come first.
    for sheet in &data.contact_sheets {
        assert!(shown.contains(sheet.nearest[0].path.as_str()), "cluster {}", sheet.cluster);
    }
}

#[test]
fn a_page_that_is_too_large_even_without_thumbnails_is_refused() {
    let fact = Fact { name: "spec".to_owned(), value: "x".repeat(1_000) };
    let data = ReportData { facts: vec![fact; 6_000], ..ReportData::default() };
    assert!(matches!(render(&data), Err(ReportError::TooLarge { bytes, .. }) if bytes > MAX_REPORT_BYTES));
}

#[test]
fn hostile_names_stay_text() {
    const HOSTILE: &str =
        "\"><script>alert(1)</script><img src=x onerror=alert(2)>'</svg>\u{2028}</title>.jpg";
    let mut data = report_data(FOUR);
    let hostile = || HOSTILE.to_owned();
    data.title = hostile();
    data.facts.push(Fact { name: hostile(), value: hostile() });
    data.lineage.push(Fact { name: hostile(), value: hostile() });
    data.labels[0].label = hostile();
    data.stages[0].stage = hostile();
    data.failures.by_reason = BTreeMap::from([(hostile(), 7)]);
    data.failures.first =
        vec![Failure { path: hostile(), stage: hostile(), reason: hostile(), detail: hostile() }];
    let thumbnail = data.thumbnails.values().next().unwrap().clone();
    data.thumbnails.insert(hostile(), thumbnail);
    data.contact_sheets[0].nearest[0].path = hostile();
    let map = data.map.as_mut().unwrap();
    map.method = hostile();
    map.points[0].path = hostile();
    data.classifier.as_mut().unwrap().method = hostile();
    data.classifier.as_mut().unwrap().labels[0].label = hostile();
    data.cluster_choice.as_mut().unwrap().why = hostile();

    let clean = render(&report_data(FOUR)).unwrap().html;
    let html = render(&data).unwrap().html;
    let count = |html: &str, part: &str| html.matches(part).count();
    for part in ["<script", "</script", "<svg", "</svg", "<title", "</title", "onerror=alert(2)>"] {
        assert_eq!(count(&html, part), count(&clean, part), "{part}");
    }
    // The photo on the sheet kept its image, one more than it had others.
    assert_eq!(count(&html, "<img "), count(&clean, "<img "));
    assert!(html.contains("&#60;script&#62;alert(1)"));
}

#[test]
fn the_least_there_can_be_is_a_report() {
    let html = render(&ReportData::default()).unwrap().html;
    assert!(html.contains("All 0 photos could be used"));
    let nothing = ReportData {
        map: Some(PhotoMap { method: String::new(), points: Vec::new() }),
        contingency: Some(Contingency { labels: Vec::new(), clusters: Vec::new(), counts: Vec::new() }),
        silhouettes: Some(Silhouettes { mean: 0.0, rows: 0, clusters: Vec::new() }),
        restarts: Some(Restarts { inertias: Vec::new(), stability: None }),
        ..ReportData::default()
    };
    assert_eq!(render(&nothing).unwrap().plots.len(), 0);
}

#[test]
fn odd_shapes_are_drawn() {
    let one_photo = |cluster: i32, label: Option<u32>| ReportData {
        counts: Counts { listed: 1, rows: 1, failures: 0, clusters: 1 },
        labels: vec![LabelCount { label: String::new(), photos: 1 }],
        components: Some(Components { explained_variance_ratio: vec![1.0], n_components: 1 }),
        map: Some(PhotoMap {
            method: String::new(),
            points: vec![MapPoint { path: "a".to_owned(), x: 1e300, y: -1e-300, label, cluster }],
        }),
        contingency: Some(Contingency { labels: vec![0], clusters: vec![cluster], counts: vec![vec![0]] }),
        contact_sheets: vec![ContactSheet {
            cluster,
            photos: 1,
            nearest: vec![SheetPhoto { path: "a".to_owned(), label, distance: 0.0 }],
            ..ContactSheet::default()
        }],
        silhouettes: Some(Silhouettes {
            mean: -1.0,
            rows: 1,
            clusters: vec![ClusterSilhouette { cluster, mean: -1.0, values: Vec::new() }],
        }),
        cluster_choice: Some(ClusterChoice {
            n_clusters: 2,
            why: String::new(),
            tried: [2, 3]
                .map(|n_clusters| TriedClusters {
                    n_clusters,
                    inertia: Some(0.0),
                    silhouette: None,
                    calinski_harabasz: Some(1e300),
                    davies_bouldin: Some(f64::MIN_POSITIVE),
                })
                .into(),
        }),
        restarts: Some(Restarts { inertias: vec![0.0; 3], stability: Some(1.0) }),
        stages: vec![StageSeconds { stage: "fit".to_owned(), seconds: 0.0 }],
        ..ReportData::default()
    };
    let labelled = render(&one_photo(0, Some(0))).unwrap();
    assert!(labelled.plots.contains_key("map_by_label.png"));
    assert!(!labelled.plots.contains_key("choice_silhouette.png"), "it is undefined");
    let noise = render(&one_photo(-1, None)).unwrap().html;
    assert!(noise.contains("<h3>Noise</h3>") && noise.contains("no label"));
}

#[test]
fn more_than_can_be_shown_is_cut_and_said() {
    let n = 1_200_u32;
    let data = ReportData {
        counts: Counts { listed: 5_000, rows: 4_000, failures: 1_000, clusters: u64::from(n) },
        labels: (0..n).map(|label| LabelCount { label: format!("label {label}"), photos: 3 }).collect(),
        contingency: Some(Contingency {
            labels: (0..n).collect(),
            clusters: (0..n as i32).collect(),
            counts: (0..n).map(|label| (0..n).map(|cluster| u64::from(label == cluster)).collect()).collect(),
        }),
        contact_sheets: (0..n as i32)
            .map(|cluster| ContactSheet { cluster, ..ContactSheet::default() })
            .collect(),
        silhouettes: Some(Silhouettes {
            mean: 0.1,
            rows: 4_000,
            clusters: (0..n as i32)
                .map(|cluster| ClusterSilhouette { cluster, mean: 0.1, values: vec![0.1, 0.2] })
                .collect(),
        }),
        failures: Failures {
            by_reason: (0..1_000).map(|reason| (format!("reason {reason}"), 1)).collect(),
            first: vec![
                Failure {
                    path: "deep/".repeat(1_000),
                    stage: "decode".to_owned(),
                    reason: "empty".to_owned(),
                    detail: "x".repeat(100_000),
                };
                1_000
            ],
        },
        ..ReportData::default()
    };
    let html = render(&data).unwrap().html;
    assert!(html.len() <= MAX_REPORT_BYTES, "{}", html.len());
    for said in [
        "and 1,170 more labels with 3,510 photos",
        "Shown are 200 of 1,200 labels and 200 of 1,200 clusters.",
        "Shown are the first 200 of 1200 clusters.",
        "Drawn are the first 200 of 1200 clusters.",
        "100 of 1,000 failed photos",
        "Number of photos by label: the first 1,000 of 1,200",
    ] {
        assert!(html.contains(said), "{said}");
    }
}
