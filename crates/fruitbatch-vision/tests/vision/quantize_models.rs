//! Models in integers: near the originals, the same bytes for the same photos, and refused where there is nothing to quantise.

use bytes::Bytes;
use fruitbatch_onnx::messages::DataType;
use fruitbatch_onnx::read_model;
use fruitbatch_testkit::tiny_models::TinyNet;
use fruitbatch_vision::{
    CatalogueEntry, EmbedOptions, EmbedSpec, ImageSize, ModelDigest, Precision, QuantizeError, Quantized,
    WeightBits, calibrate, quantized_model,
};

use crate::common::{bmp_photo, has_onnx_runtime, tiny_models};

const WIDTH: usize = 24;

fn photos(seeds: std::ops::Range<usize>) -> Vec<Bytes> {
    seeds.map(|seed| bmp_photo(40, 36, seed).into()).collect()
}

fn options(model: &str) -> EmbedOptions {
    EmbedOptions { image_size: ImageSize::Square(32), ..EmbedOptions::new(model) }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn features_in_integers_are_near_the_original_ones() {
    if !has_onnx_runtime("features_in_integers_are_near_the_original_ones") {
        return;
    }
    let mut models = tiny_models(&[("tiny", TinyNet::new(7, WIDTH))], 1);
    let parent = models.sessions.catalogue().get("tiny").unwrap().clone();
    let single = EmbedSpec::resolve(models.sessions.catalogue(), &options("tiny")).unwrap();
    assert!(
        EmbedSpec::resolve(
            models.sessions.catalogue(),
            &EmbedOptions { precision: Precision::Int8, ..options("tiny") }
        )
        .unwrap_err()
        .to_string()
        .contains("fruitbatch model quantize tiny")
    );

    let canonical = models.read(&parent.digest);
    let calibration = calibrate(canonical.clone(), &single, &photos(0..32), 1).unwrap();
    assert_eq!(calibration.photos, 32);
    for bits in [WeightBits::Seven, WeightBits::Eight] {
        let quantized = quantized_model(canonical.clone(), &calibration, bits).unwrap();
        assert_eq!(quantized, quantized_model(canonical.clone(), &calibration, bits).unwrap());
        let largest = largest_weight(&quantized);
        assert!(if bits == WeightBits::Seven { largest == 63 } else { largest == 127 }, "{largest}");
        if bits == WeightBits::Eight && WeightBits::for_this_processor() == WeightBits::Seven {
            // It would be refused here.
            continue;
        }
        let name = format!("tiny-int{bits}");
        models.add(
            &quantized,
            CatalogueEntry {
                name: name.clone(),
                digest: ModelDigest::of(&quantized),
                quantized: Some(Quantized { from: parent.digest, weight_bits: bits }),
                ..parent.clone()
            },
        );
        let int8 = EmbedSpec::resolve(models.sessions.catalogue(), &options(&name)).unwrap();
        assert_eq!(int8.precision, Precision::Int8);
        let others = photos(100..120);
        let embed = |spec: &EmbedSpec| {
            let photos = others.iter().map(|photo| Some(photo.as_ref()));
            models.sessions.embed_photos(spec, photos).unwrap().features
        };
        let (expected, found) = (embed(&single), embed(&int8));
        let cosines: Vec<f64> = expected
            .chunks_exact(WIDTH)
            .zip(found.chunks_exact(WIDTH))
            .map(|(expected, found)| cosine(expected, found))
            .collect();
        let worst = cosines.iter().copied().fold(1.0, f64::min);
        println!("{bits} bits: worst cosine {worst}");
        assert!(worst > 0.99 && found != expected, "{bits} bits: {worst}");
        // Whichever photos share a batch.
        let alone = EmbedSpec { batch_size: 1, ..int8.clone() };
        assert_eq!(embed(&alone), found);
    }
    // Asked for by its precision alone.
    let by_precision = EmbedOptions { precision: Precision::Int8, ..options("tiny") };
    let spec = EmbedSpec::resolve(models.sessions.catalogue(), &by_precision).unwrap();
    assert_ne!(spec.digest, parent.digest);
    assert_eq!(spec.to_string().parse::<EmbedSpec>().unwrap(), spec);
}

#[test]
fn what_cannot_be_quantised_is_refused() {
    if !has_onnx_runtime("what_cannot_be_quantised_is_refused") {
        return;
    }
    let models = tiny_models(&[("tiny", TinyNet::new(7, WIDTH))], 1);
    let entry = models.sessions.catalogue().get("tiny").unwrap().clone();
    let spec = EmbedSpec::resolve(models.sessions.catalogue(), &options("tiny")).unwrap();
    let canonical = models.read(&entry.digest);
    let none = calibrate(canonical.clone(), &spec, &[Bytes::from_static(b"no photo")], 1).unwrap_err();
    assert!(matches!(none, QuantizeError::NoPhotos { given: 1 }), "{none}");
    let calibration = calibrate(canonical.clone(), &spec, &photos(0..2), 1).unwrap();
    let quantized = quantized_model(canonical, &calibration, WeightBits::Seven).unwrap();
    let again = calibrate(quantized, &spec, &photos(0..2), 1).unwrap_err();
    assert!(matches!(again, QuantizeError::NothingToQuantize), "{again}");
    assert!(calibrate(Bytes::from_static(b"no model"), &spec, &photos(0..2), 1).is_err());
}

fn largest_weight(model: &Bytes) -> u8 {
    let graph = read_model(model.clone()).unwrap().graph.unwrap();
    let bytes = graph.initializer.iter().filter(|tensor| tensor.data_type == DataType::Int8 as i32);
    bytes
        .flat_map(|tensor| tensor.raw_data.iter().map(|byte| byte.cast_signed().unsigned_abs()))
        .max()
        .unwrap()
}
