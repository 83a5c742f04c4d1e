//! The real VGG16 on real photos, against Keras and Pillow.
//!
//! Tolerances are those of the whole chain (decoder, resizer, network) in float32 against another
//! implementation: 1e-3 of a vector's length on average, 1e-2 at worst. Between Winograd's algorithm and the direct
//! convolution, which differ in nothing else, it is a fifth of that.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::common::{has_onnx_runtime, relative_error, shared_folder, skip};
use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Float32Type;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use fruitbatch_vision::{
    CachedModelFiles, Catalogue, Convolution, EmbedOptions, EmbedSpec, ImageSize, ModelSessions, cache,
};

/// Features by path, of the reference.
async fn reference(size: u32) -> Option<BTreeMap<String, Vec<f64>>> {
    let path = shared_folder().join(format!("reference/fruits-928_features_{size}.parquet"));
    let context = SessionContext::new();
    let frame = context.read_parquet(path.to_str()?, ParquetReadOptions::default()).await.ok()?;
    let frame = frame.select_columns(&["path", "features"]).ok()?;
    let mut features = BTreeMap::new();
    for batch in frame.collect().await.ok()? {
        let paths =
            datafusion::arrow::compute::cast(batch.column(0), &datafusion::arrow::datatypes::DataType::Utf8)
                .ok()?;
        for row in 0..batch.num_rows() {
            let vector = batch.column(1).as_fixed_size_list().value(row);
            let vector =
                vector.as_primitive::<Float32Type>().values().iter().map(|&value| f64::from(value)).collect();
            features.insert(paths.as_string::<i32>().value(row).to_owned(), vector);
        }
    }
    Some(features)
}

async fn compare_with_keras(test: &str, size: u32, photos: usize) {
    let Some(reference) = reference(size).await else {
        return skip(test, &format!("no reference features in {}", shared_folder().display()));
    };
    if !has_onnx_runtime(test) {
        return;
    }
    let catalogue = Catalogue::compiled_in();
    let mut options = EmbedOptions::new("vgg16");
    options.image_size = ImageSize::Square(size);
    let spec = EmbedSpec::resolve(&catalogue, &options).unwrap();
    let files = CachedModelFiles::new(cache::cache_dir().unwrap());
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let sessions = ModelSessions::new(Arc::new(files), catalogue, threads);
    if let Err(error) = sessions.load(&spec) {
        return skip(test, &error.to_string());
    }
    // Every n-th, so that every label is among them.
    let sample: Vec<(&String, &Vec<f64>)> =
        reference.iter().step_by(reference.len().div_ceil(photos)).collect();
    let root = shared_folder().join("data/fruits-928");
    let contents: Vec<Vec<u8>> =
        sample.iter().map(|(path, _)| std::fs::read(root.join(path)).unwrap()).collect();
    let features = |convolution| -> Vec<Vec<f32>> {
        let spec = EmbedSpec { convolution, ..spec.clone() };
        let photos = contents.iter().map(|content| Some(content.as_slice()));
        let embedded = sessions.embed_photos(&spec, photos).unwrap();
        embedded.features.chunks_exact(512).map(<[f32]>::to_vec).collect()
    };
    let expected: Vec<Vec<f64>> = sample.iter().map(|(_, features)| (*features).clone()).collect();
    let mean_and_worst = |found: &[Vec<f32>], expected: &[Vec<f64>]| {
        let errors: Vec<f64> =
            found.iter().zip(expected).map(|(found, expected)| relative_error(found, expected)).collect();
        (errors.iter().sum::<f64>() / errors.len() as f64, errors.into_iter().fold(0.0, f64::max))
    };
    let (fast, direct) = (features(Convolution::Auto), features(Convolution::Direct));
    for (way, found) in [("winograd", &fast), ("direct", &direct)] {
        let (mean, worst) = mean_and_worst(found, &expected);
        println!(
            "{} photos at {size}, {way}: mean relative error {mean:.2e}, worst {worst:.2e}",
            found.len()
        );
        assert!(mean <= 1e-3 && worst <= 1e-2, "{way}: mean {mean}, worst {worst}");
    }
    let direct: Vec<Vec<f64>> =
        direct.iter().map(|features| features.iter().map(|&value| f64::from(value)).collect()).collect();
    let (mean, worst) = mean_and_worst(&fast, &direct);
    println!("winograd against direct: mean relative error {mean:.2e}, worst {worst:.2e}");
    assert!(mean <= 2e-4 && worst <= 2e-3, "mean {mean}, worst {worst}");
}

#[tokio::test]
async fn features_at_224_pixels_are_those_of_keras() {
    compare_with_keras("features_at_224_pixels_are_those_of_keras", 224, 24).await;
}

#[tokio::test]
async fn features_at_100_pixels_are_those_of_keras() {
    compare_with_keras("features_at_100_pixels_are_those_of_keras", 100, 80).await;
}
