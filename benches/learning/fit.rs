//! fruitbatch's side of the comparison with scikit-learn: fits features from a `.npy` file as a run does, and prints how long
//! each step took.

use std::error::Error;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Instant;

use fruitbatch_learn::{ClusterCount, Components, KMeans, LearnSpec, RowBlocks, fit};
use linfa::DatasetBase;
use linfa::traits::Fit;
use ndarray::Array2;
use serde_json::{Value, json};

const USAGE: &str =
    "learning fit FILE.npy COMPONENTS CLUSTERS SEED THREADS fits features: benches/learning/run calls it";

fn main() -> ExitCode {
    // Cargo adds the flag where it starts a benchmark itself.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ["fit", file, components, clusters, seed, threads] = arguments[..] else {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    };
    match measure(file, [components, clusters, seed, threads]) {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(file: &str, [components, clusters, seed, threads]: [&str; 4]) -> Result<Value, Box<dyn Error>> {
    let features: Array2<f32> = ndarray_npy::read_npy(file)?;
    let (clusters, seed, threads): (usize, u64, NonZeroUsize) =
        (clusters.parse()?, seed.parse()?, threads.parse()?);
    let mut spec = LearnSpec::default();
    spec.pca.n_components = Components::Count(components.parse()?);
    spec.kmeans.n_clusters = ClusterCount::Count(clusters);
    spec.kmeans.n_init = 1;
    spec.kmeans.seed = seed;

    let fitted = fit(features.view(), None, None, &spec, threads)?;

    // The same start, stopped behind its first round: what the start costs.
    let scores = fitted.projected.to_matrix()?;
    let rows = DatasetBase::from(scores.view());
    let began = Instant::now();
    KMeans::params(clusters).n_init(1).max_iter(1).seed(seed).threads(threads).fit(&rows)?;
    let first_round = began.elapsed();

    Ok(json!({
        "components": fitted.timings.components_seconds,
        "projection": fitted.timings.projection_seconds,
        "clustering": fitted.timings.clustering_seconds,
        "first_round": first_round.as_secs_f64(),
        "scoring": fitted.timings.scoring_seconds,
        "rounds": fitted.report.n_iter,
        "inertia": fitted.report.inertia,
        "silhouette": fitted.report.silhouette,
    }))
}
