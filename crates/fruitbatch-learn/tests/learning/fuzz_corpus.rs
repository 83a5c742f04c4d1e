//! What the fuzzer starts from and once stumbled over, through the same function without a fuzzer.

#[path = "../../../../fuzz/bodies/learn_model.rs"]
mod body;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use fruitbatch_learn::{Algorithm, ClusterCount, Components, LearnModel, LearnSpec, Preset, fit};

use crate::common::features;

fn seeds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/learn_model")
}

/// Small models of every kind.
fn models() -> Vec<(&'static str, LearnModel)> {
    let model = |preset, labels: Option<&[Option<u32>]>| {
        let mut spec = LearnSpec::preset(preset);
        spec.pca.n_components = Components::Count(2);
        spec.kmeans.n_clusters = ClusterCount::Count(2);
        fit(features(9, 3).view(), None, labels, &spec, NonZeroUsize::MIN).unwrap().model
    };
    let by = |algorithm| {
        let mut spec = LearnSpec { algorithm, ..LearnSpec::default() };
        spec.pca.n_components = Components::Count(2);
        spec.kmeans.n_clusters = ClusterCount::Count(2);
        spec.dbscan.eps = 2.0;
        spec.dbscan.min_samples = 2;
        spec.hdbscan.min_cluster_size = 2;
        fit(features(9, 3).view(), None, None, &spec, NonZeroUsize::MIN).unwrap().model
    };
    let labels: Vec<Option<u32>> = (0..9).map(|row| (row % 2 == 0).then_some(row % 4)).collect();
    vec![
        ("plain", model(Preset::Plain, None)),
        ("plain-with-labels", model(Preset::Plain, Some(&labels))),
        ("spark-ml", model(Preset::SparkMl, None)),
        ("spherical-kmeans", by(Algorithm::SphericalKMeans)),
        ("gaussian-mixture", by(Algorithm::GaussianMixture)),
        ("dbscan", by(Algorithm::Dbscan)),
        ("hdbscan", by(Algorithm::Hdbscan)),
    ]
}

#[test]
fn models_that_the_fuzzer_knows_and_their_mutations_do_no_harm() {
    for entry in std::fs::read_dir(seeds()).unwrap() {
        body::check(&std::fs::read(entry.unwrap().path()).unwrap());
    }
    for (name, model) in models() {
        let packed = body::pack(&model.to_files());
        // Written anew where the form of models changes: `FRUITBATCH_WRITE_FUZZ_SEEDS=1`.
        if std::env::var_os("FRUITBATCH_WRITE_FUZZ_SEEDS").is_some() {
            std::fs::write(seeds().join(name), &packed).unwrap();
        }
        body::check(&packed);
        for position in 0..packed.len() {
            let mut changed = packed.clone();
            changed[position] ^= 1 << (position % 8);
            body::check(&changed);
            body::check(&packed[..position]);
        }
    }
}
