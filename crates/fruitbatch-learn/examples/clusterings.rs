//! What each way of clustering makes of the labelled features of a run: the table of docs/clustering.md.
//!
//! ```text
//! fruitbatch run PHOTOS --output OUT --image-size 100
//! cargo run --release -p fruitbatch-learn --example clusterings -- OUT/features/part-00000.parquet ...
//! ```
//!
//! Takes Parquet files with the columns `path`, `label` and `features`, in this order or with others between, and asks for as
//! many clusters as there are labels.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::File;
use std::num::NonZeroUsize;
use std::process::ExitCode;

use fruitbatch_learn::{
    Algorithm, ClusterCount, Components, DbscanSpec, HdbscanSpec, LearnSpec, Preset, fit,
};
use ndarray::Array2;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};

/// Seeds that each way is tried with: the table has the least and the greatest figure.
const SEEDS: u64 = 5;

fn main() -> ExitCode {
    let files: Vec<String> = std::env::args().skip(1).collect();
    match run(&files) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(files: &[String]) -> Result<(), Box<dyn Error>> {
    let (labels, features) = read_features(files)?;
    let label_count = labels.iter().flatten().collect::<BTreeSet<_>>().len();
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    println!("{} photos, {} labels, width {}", features.nrows(), label_count, features.ncols());
    println!("| way | ARI | NMI | clusters | noise | seconds |");
    println!("|---|---|---|---|---|---|");
    for (name, mut spec) in ways() {
        spec.kmeans.n_clusters = ClusterCount::Count(label_count);
        let (mut aris, mut nmis) = (Vec::new(), Vec::new());
        let mut last = String::new();
        let seeds = if spec.algorithm.takes_n_clusters() { SEEDS } else { 1 };
        for seed in 0..seeds {
            spec.kmeans.seed = seed;
            match fit(features.view(), None, Some(&labels), &spec, threads) {
                Ok(fitted) => {
                    aris.extend(fitted.report.ari);
                    nmis.extend(fitted.report.nmi);
                    let seconds = fitted.timings.cluster_choice_seconds + fitted.timings.clustering_seconds;
                    last =
                        format!("{} | {} | {seconds:.2}", fitted.report.n_clusters, fitted.report.noise_rows);
                }
                Err(error) => last = format!("{error} | |"),
            }
        }
        println!("| {name} | {} | {} | {last} |", range(&aris), range(&nmis));
    }
    for (name, preset) in [("plain", Preset::Plain), ("cosine", Preset::Cosine)] {
        let fitted = fit(features.view(), None, None, &LearnSpec::preset(preset), threads)?;
        let why = fitted.report.n_clusters_choice.map(|choice| choice.why).unwrap_or_default();
        println!("`--preset {name} --n-clusters auto`: {why}");
        if let Some(restarts) = fitted.report.restarts {
            println!(
                "  inertia {:.1}, {:.1}, {:.1} (least, median, greatest), mean ARI {:.3}",
                restarts.min_inertia,
                restarts.median_inertia,
                restarts.max_inertia,
                restarts.mean_ari.unwrap_or(1.0)
            );
        }
    }
    Ok(())
}

/// Command line flags, and what they mean.
fn ways() -> Vec<(&'static str, LearnSpec)> {
    let spec = |n_components: Components, change: fn(&mut LearnSpec)| {
        let mut spec = LearnSpec::default();
        spec.pca.n_components = n_components;
        change(&mut spec);
        spec
    };
    let cosine = |n_components: Components| {
        let mut spec = LearnSpec::preset(Preset::Cosine);
        spec.pca.n_components = n_components;
        spec
    };
    let (ten, fifty) = (Components::Count(10), Components::Count(50));
    vec![
        ("`--preset plain`", LearnSpec::preset(Preset::Plain)),
        ("`--preset cosine`", LearnSpec::preset(Preset::Cosine)),
        ("`--preset cosine --n-components 10`", cosine(ten)),
        ("`--preset cosine --n-components 0.7`", cosine(Components::VarianceShare(0.7))),
        ("`--preset cosine --n-components 0.9`", cosine(Components::VarianceShare(0.9))),
        (
            "`--preset cosine --normalize-features`",
            LearnSpec { normalize_features: true, ..LearnSpec::preset(Preset::Cosine) },
        ),
        ("`--n-components 50`", spec(fifty, |_| ())),
        ("`--whiten`", spec(ten, |spec| spec.pca.whiten = true)),
        ("`--normalize`", spec(ten, |spec| spec.normalize = true)),
        ("`--normalize --n-components 50`", spec(fifty, |spec| spec.normalize = true)),
        ("`--algorithm gaussian-mixture`", spec(ten, |spec| spec.algorithm = Algorithm::GaussianMixture)),
        (
            "`--algorithm gaussian-mixture --normalize`",
            spec(ten, |spec| {
                spec.algorithm = Algorithm::GaussianMixture;
                spec.normalize = true;
            }),
        ),
        (
            "`--algorithm dbscan --normalize --n-components 50 --eps 0.6`",
            spec(fifty, |spec| {
                spec.algorithm = Algorithm::Dbscan;
                spec.normalize = true;
                spec.dbscan = DbscanSpec { eps: 0.6, min_samples: 5 };
            }),
        ),
        (
            "`--algorithm hdbscan --normalize --n-components 50 --min-cluster-size 20 --min-samples 5`",
            spec(fifty, |spec| {
                spec.algorithm = Algorithm::Hdbscan;
                spec.normalize = true;
                spec.hdbscan = HdbscanSpec { min_cluster_size: 20, min_samples: Some(5) };
            }),
        ),
    ]
}

/// The one figure, or the least and the greatest.
fn range(figures: &[f64]) -> String {
    let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if figures.is_empty() {
        String::new()
    } else if greatest - least < 0.0005 {
        format!("{least:.3}")
    } else {
        format!("{least:.3} to {greatest:.3}")
    }
}

/// Labels by row, numbered by name, and features, n x d.
type LabelledFeatures = (Vec<Option<u32>>, Array2<f32>);

/// The rows in the order of the files.
fn read_features(files: &[String]) -> Result<LabelledFeatures, Box<dyn Error>> {
    let (mut names, mut features) = (Vec::new(), Vec::new());
    for file in files {
        for row in SerializedFileReader::new(File::open(file)?)?.get_row_iter(None)? {
            let (name, values) = read_row(&row?)?;
            names.push(name);
            features.extend(values);
        }
    }
    if names.is_empty() {
        return Err("give the Parquet files of OUT/features".into());
    }
    let numbers: BTreeSet<&String> = names.iter().flatten().collect();
    let number = |name: &String| numbers.iter().position(|known| *known == name).map(|index| index as u32);
    let labels = names.iter().map(|name| name.as_ref().and_then(number)).collect();
    let width = features.len() / names.len();
    Ok((labels, Array2::from_shape_vec((names.len(), width), features)?))
}

/// The label and the features of one row.
fn read_row(row: &Row) -> Result<(Option<String>, Vec<f32>), Box<dyn Error>> {
    let column = |name: &str| {
        row.get_column_iter()
            .find(|(column, _)| *column == name)
            .map(|(_, field)| field)
            .ok_or_else(|| format!("there is no column `{name}`"))
    };
    let label = match column("label")? {
        Field::Str(label) => Some(label.clone()),
        _ => None,
    };
    let Field::ListInternal(values) = column("features")? else {
        return Err("`features` is no list".into());
    };
    let values = values
        .elements()
        .iter()
        .map(|value| match value {
            Field::Float(value) => Ok(*value),
            other => Err(format!("a feature is {other}")),
        })
        .collect::<Result<Vec<f32>, String>>()?;
    Ok((label, values))
}
