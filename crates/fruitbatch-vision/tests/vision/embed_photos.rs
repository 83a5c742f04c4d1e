//! The way from photos to features: right numbers, the same bits in any company, failures in their rows.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use crate::common::{Planes, TinyModels, bmp_photo, has_onnx_runtime, relative_error, tiny_models};
use fruitbatch_testkit::tiny_models::TinyNet;
use fruitbatch_vision::{
    CachedModelFiles, Convolution, EmbedError, EmbedOptions, EmbedSpec, EmbeddedPhotos, ImageSize,
    ModelFileError, ModelSessions, PhotoOutcome, Pooling,
};

/// Of single precision, product by product and by Winograd's algorithm.
const TOLERANCES: [(Convolution, f64); 2] = [(Convolution::Direct, 1e-6), (Convolution::Auto, 1e-5)];
const WIDTH: usize = 12;

fn models(threads: usize) -> TinyModels {
    tiny_models(&[("tiny", TinyNet::new(7, WIDTH)), ("other", TinyNet::new(8, 20))], threads)
}

fn spec(models: &TinyModels, change: impl FnOnce(&mut EmbedOptions)) -> EmbedSpec {
    let mut options = EmbedOptions::new("tiny");
    options.image_size = ImageSize::Square(32);
    change(&mut options);
    EmbedSpec::resolve(models.sessions.catalogue(), &options).unwrap()
}

fn embed(models: &TinyModels, spec: &EmbedSpec, photos: &[Vec<u8>]) -> EmbeddedPhotos {
    models.sessions.embed_photos(spec, photos.iter().map(|photo| Some(photo.as_slice()))).unwrap()
}

#[test]
fn features_are_those_of_the_networks_definition_for_every_pooling() {
    if !has_onnx_runtime("features_are_those_of_the_networks_definition_for_every_pooling") {
        return;
    }
    let models = models(1);
    let photos: Vec<_> = (0..5).map(|seed| bmp_photo(32, 32, seed)).collect();
    let expected = |seed| Planes::of_photo(32, 32, seed, 1.0).feature_map(&TinyNet::new(7, WIDTH));
    let mut features = Vec::new();
    for (pooling, (convolution, tolerance)) in [Pooling::Max, Pooling::Avg, Pooling::Flatten]
        .into_iter()
        .flat_map(|pooling| TOLERANCES.map(|convolution| (pooling, convolution)))
    {
        let spec = spec(&models, |options| {
            options.pooling = pooling;
            options.convolution = convolution;
        });
        let embedded = embed(&models, &spec, &photos);
        for (seed, found) in embedded.features.chunks_exact(spec.width as usize).enumerate() {
            let expected = match pooling {
                Pooling::Max => expected(seed).max_pooled(),
                Pooling::Avg => expected(seed).mean_pooled(),
                Pooling::Flatten => expected(seed).flattened(),
            };
            assert!(relative_error(found, &expected) < tolerance, "{pooling}, {convolution}");
        }
        features.push(embedded.features);
    }
    // Two ways indeed: they round differently.
    assert!(features.as_chunks::<2>().0.iter().all(|[direct, fast]| direct != fast));
}

#[test]
fn a_photo_has_the_same_bits_in_any_company() {
    if !has_onnx_runtime("a_photo_has_the_same_bits_in_any_company") {
        return;
    }
    let photos: Vec<_> = (0..13).map(|seed| bmp_photo(40 + seed, 50, seed)).collect();
    let mut with_failures = photos.clone();
    for position in [0, 4, 5, 11] {
        with_failures.insert(position, b"no photo".to_vec());
    }
    let mut all_bits: Vec<Vec<u32>> = Vec::new();
    for threads in [1, 2] {
        let models = models(threads);
        for batch_size in [1, 3, 8] {
            let spec = spec(&models, |options| options.batch_size = Some(batch_size));
            let good = embed(&models, &spec, &photos);
            assert!(good.outcomes.iter().all(|outcome| *outcome == PhotoOutcome::Embedded));
            all_bits.push(good.features.iter().map(|value| value.to_bits()).collect());
            let mixed = embed(&models, &spec, &with_failures);
            let survivors = mixed.outcomes.iter().zip(mixed.features.chunks_exact(WIDTH));
            all_bits.push(
                survivors
                    .filter(|(outcome, _)| **outcome == PhotoOutcome::Embedded)
                    .flat_map(|(_, features)| features.iter().map(|value| value.to_bits()))
                    .collect(),
            );
        }
    }
    assert!(all_bits.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(all_bits[0].len(), 13 * WIDTH);
}

#[test]
fn photos_at_native_size_are_inferred_as_they_are_and_small_ones_refused() {
    if !has_onnx_runtime("photos_at_native_size_are_inferred_as_they_are_and_small_ones_refused") {
        return;
    }
    let models = models(1);
    let spec = spec(&models, |options| options.image_size = ImageSize::Native);
    let sizes = [(24, 16), (32, 40), (24, 16), (7, 90), (32, 40), (24, 16), (8, 8)];
    let photos: Vec<_> =
        sizes.iter().enumerate().map(|(seed, &(width, height))| bmp_photo(width, height, seed)).collect();
    let embedded = embed(&models, &spec, &photos);
    for (seed, (&(width, height), found)) in
        sizes.iter().zip(embedded.features.chunks_exact(WIDTH)).enumerate()
    {
        if width < 8 {
            assert!(
                matches!(&embedded.outcomes[seed], PhotoOutcome::Failed(failure) if failure.reason == "too-small")
            );
            continue;
        }
        let expected =
            Planes::of_photo(width, height, seed, 1.0).feature_map(&TinyNet::new(7, WIDTH)).max_pooled();
        assert!(relative_error(found, &expected) < TOLERANCES[1].1);
    }
    let snapshot = models.sessions.snapshot();
    assert_eq!((snapshot.photos_embedded, snapshot.photos_done()), (6, 7));
    assert_eq!(snapshot.failures, BTreeMap::from([("too-small", 1)]));
    assert!(snapshot.inference_seconds > 0.0 && snapshot.decode_seconds > 0.0);
}

#[test]
fn photos_beyond_the_largest_side_are_scaled_down_to_it() {
    if !has_onnx_runtime("photos_beyond_the_largest_side_are_scaled_down_to_it") {
        return;
    }
    let models = models(1);
    let native = |max_side| {
        spec(&models, |options| (options.image_size, options.max_side) = (ImageSize::Native, Some(max_side)))
    };
    let photo = bmp_photo(48, 48, 3);
    let square = spec(&models, |options| options.image_size = ImageSize::Square(24));
    let scaled = embed(&models, &native(24), std::slice::from_ref(&photo));
    // To the very bits: a square comes down to the same square either way.
    assert_eq!(scaled, embed(&models, &square, std::slice::from_ref(&photo)));
    assert_ne!(scaled, embed(&models, &native(48), &[photo]));
    // 60 x 16 comes down to 24 x 6, and the tiny net takes 8 at least.
    let narrow = embed(&models, &native(24), &[bmp_photo(60, 16, 0)]);
    let PhotoOutcome::Failed(failure) = &narrow.outcomes[0] else { panic!("{narrow:?}") };
    assert_eq!(failure.reason, "too-small");
    assert!(failure.detail.contains("60x16") && failure.detail.contains("24x6"), "{}", failure.detail);
}

#[test]
fn a_memory_limit_makes_batches_smaller_and_leaves_the_bits_alone() {
    if !has_onnx_runtime("a_memory_limit_makes_batches_smaller_and_leaves_the_bits_alone") {
        return;
    }
    let models = models(1);
    let spec = spec(&models, |options| options.image_size = ImageSize::Square(256));
    let photos: Vec<_> = (0..7).map(|seed| bmp_photo(30, 30, seed)).collect();
    let limited = |bytes| {
        let files = Arc::new(CachedModelFiles::new(models.cache.path()));
        ModelSessions::new(files, models.sessions.catalogue().clone(), NonZeroUsize::MIN)
            .with_memory_limit(Some(bytes), NonZeroUsize::MIN)
    };
    let embed_all = |sessions: &ModelSessions| {
        sessions.embed_photos(&spec, photos.iter().map(|photo| Some(photo.as_slice())))
    };
    let without_limit = embed(&models, &spec, &photos);
    let least = match embed_all(&limited(1_000_000)) {
        Err(EmbedError::MemoryLimit { least, limit: 1_000_000, .. }) => least,
        other => panic!("{other:?}"),
    };
    assert_eq!(embed_all(&limited(least)).unwrap(), without_limit);
    // One photo is larger than what is left for decoding, and says so.
    let large = bmp_photo(4000, 3000, 1);
    let outcome = limited(least).embed_photos(&spec, [Some(large.as_slice())]).unwrap().outcomes.remove(0);
    let PhotoOutcome::Failed(failure) = outcome else { panic!("{outcome:?}") };
    assert_eq!(failure.reason, "too-large");
    assert!(failure.detail.contains("--memory-limit"), "{}", failure.detail);
}

#[test]
fn a_model_that_is_missing_or_damaged_is_the_jobs_fault() {
    if !has_onnx_runtime("a_model_that_is_missing_or_damaged_is_the_jobs_fault") {
        return;
    }
    let models = models(1);
    let good = spec(&models, |_| {});
    let wrong_width = EmbedSpec { width: 13, ..good.clone() };
    let photo = bmp_photo(32, 32, 0);
    let error = models.sessions.embed_photos(&wrong_width, [Some(photo.as_slice())]).unwrap_err();
    assert!(matches!(error, EmbedError::Inference { .. }), "{error:?}");
    let other_digest = models.sessions.catalogue().get("other").unwrap().digest;
    let other_file = fruitbatch_vision::cache::model_path(models.cache.path(), &other_digest);
    std::fs::write(&other_file, b"damaged").unwrap();
    let damaged = EmbedSpec { digest: other_digest, ..good };
    let error = models.sessions.load(&damaged).unwrap_err();
    assert!(matches!(error, EmbedError::ModelFile(ModelFileError::Mismatch { .. })), "{error:?}");
    std::fs::remove_file(&other_file).unwrap();
    let error = models.sessions.load(&damaged).unwrap_err();
    assert!(matches!(error, EmbedError::ModelFile(ModelFileError::Missing { .. })), "{error:?}");
}
