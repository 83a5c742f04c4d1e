//! `model import`: any classifier becomes the same extractor, and a file that can't be one is refused.

use crate::common::{Planes, bmp_photo, has_onnx_runtime, relative_error, shared_folder, skip, tiny_models};
use bytes::Bytes;
use fruitbatch_onnx::messages::{Attribute, Model, NestedGraph, Node, StringStringEntry};
use fruitbatch_onnx::{read_model, tensors, write_model};
use fruitbatch_testkit::tiny_models::{FEATURE_MAP_TENSOR, TinyNet, model_with_control_flow};
use fruitbatch_vision::{
    CachedModelFiles, Catalogue, EmbedOptions, EmbedSpec, FeatureMapExtent, ImageSize, ImportError,
    ImportOptions, ImportedModel, InputLayout, ModelSessions, Pooling, TensorLayout, cache, import_model,
    inspect,
};

/// Rounding of float32 sums of some hundred products, three layers deep, stays below this.
const FLOAT32_TOLERANCE: f64 = 1e-6;

fn import(
    file: impl Into<Bytes>,
    change: impl FnOnce(&mut ImportOptions),
) -> Result<ImportedModel, ImportError> {
    let mut options = ImportOptions::new("tiny");
    change(&mut options);
    import_model(file.into(), &options)
}

/// Features of one 24 x 16 photo at native size.
fn features(imported: &ImportedModel, pooling: Pooling) -> Vec<f32> {
    let cache = tempfile::tempdir().unwrap();
    cache::store_model(cache.path(), &imported.digest, &imported.canonical_bytes).unwrap();
    let mut catalogue = Catalogue::compiled_in();
    catalogue.add(imported.entry.clone());
    let mut options = EmbedOptions::new("tiny");
    (options.pooling, options.image_size) = (pooling, ImageSize::Native);
    let spec = EmbedSpec::resolve(&catalogue, &options).unwrap();
    let files = std::sync::Arc::new(CachedModelFiles::new(cache.path()));
    let sessions = ModelSessions::new(files, catalogue, std::num::NonZeroUsize::MIN);
    let photo = bmp_photo(24, 16, 3);
    sessions.embed_photos(&spec, [Some(photo.as_slice())]).unwrap().features
}

#[test]
fn classifiers_of_both_layouts_become_the_extractor_that_their_weights_define() {
    if !has_onnx_runtime("classifiers_of_both_layouts_become_the_extractor_that_their_weights_define") {
        return;
    }
    let net = TinyNet::new(7, 12);
    let plain = Planes::of_photo(24, 16, 3, 1.0).feature_map(&net);
    let rescaled = Planes::of_photo(24, 16, 3, 255.0).feature_map(&net);
    let files = [
        (net.backbone(), TensorLayout::Nchw, &plain),
        (net.nchw_classifier(), TensorLayout::Nchw, &plain),
        (net.nhwc_classifier(), TensorLayout::Nhwc, &plain),
        (net.nhwc_classifier_with_rescaling(), TensorLayout::Nhwc, &rescaled),
    ];
    let mut weights_digests = std::collections::BTreeSet::new();
    for (file, layout, expected) in files {
        let imported = import(file, |_| {}).unwrap();
        assert_eq!(imported.report.input_layout, layout);
        assert_eq!((imported.entry.output_width, imported.entry.min_image_size), (12, 8));
        assert_eq!(imported.entry.feature_map, FeatureMapExtent { stride: 8, offset: 0 });
        assert!(
            relative_error(&features(&imported, Pooling::Max), &expected.max_pooled()) < FLOAT32_TOLERANCE
        );
        assert!(
            relative_error(&features(&imported, Pooling::Avg), &expected.mean_pooled()) < FLOAT32_TOLERANCE
        );
        weights_digests.insert(imported.entry.weights_digest);
    }
    assert_eq!(weights_digests.len(), 1);
}

#[test]
fn the_cut_is_found_and_importing_again_gives_the_same_bytes() {
    if !has_onnx_runtime("the_cut_is_found_and_importing_again_gives_the_same_bytes") {
        return;
    }
    let net = TinyNet::new(1, 16);
    let cut_at = |name: &str| {
        let name = name.to_owned();
        move |options: &mut ImportOptions| options.cut = Some(name)
    };
    for file in [net.nchw_classifier(), net.nhwc_classifier()] {
        let found = import(file.clone(), |_| {}).unwrap();
        assert_eq!(found.report.cut, FEATURE_MAP_TENSOR);
        assert!(found.report.cut_was_found);
        let named = import(file.clone(), cut_at(FEATURE_MAP_TENSOR)).unwrap();
        assert_eq!(named.canonical_bytes, found.canonical_bytes);
        let again = import(found.canonical_bytes.clone(), |_| {}).unwrap();
        assert_eq!(again.digest, found.digest);
        let earlier = import(file, cut_at("block2/relu")).unwrap();
        assert_eq!(earlier.entry.feature_map, FeatureMapExtent { stride: 2, offset: 0 });
        assert_eq!(earlier.report.constants_after, 4);
    }
    // Behind the transposition to NHWC, the same cut.
    let behind = import(net.nhwc_classifier(), cut_at("head/nhwc")).unwrap();
    assert_eq!(behind.digest, import(net.nhwc_classifier(), |_| {}).unwrap().digest);
}

#[test]
fn an_imported_model_is_summed_up() {
    if !has_onnx_runtime("an_imported_model_is_summed_up") {
        return;
    }
    let models = tiny_models(&[("tiny", TinyNet::new(0, 16))], 1);
    let summary = inspect("tiny", models.sessions.catalogue(), models.cache.path()).unwrap();
    assert_eq!(summary.entry.as_ref().unwrap().name, "tiny");
    assert_eq!((summary.operators["Conv"], summary.operators["MaxPool"], summary.operators.len()), (3, 3, 3));
    assert_eq!(summary.inputs[0].dimensions, ["N", "3", "H", "W"]);
    assert_eq!(summary.outputs[0].dimensions, ["N", "16", "H_out", "W_out"]);
    assert_eq!(summary.parameters, (3 * 8 + 8 * 16 + 16 * 16) * 9 + 8 + 16 + 16);
    let products = 224 * 224 * 3 * 8 * 9 + 112 * 112 * 8 * 16 * 9 + 56 * 56 * 16 * 16 * 9;
    assert_eq!(summary.multiply_accumulates_at_224, Some(products));
    let by_digest =
        inspect(&summary.digest.to_string(), models.sessions.catalogue(), models.cache.path()).unwrap();
    assert_eq!(by_digest, summary);
    assert!(inspect("vgg61", models.sessions.catalogue(), models.cache.path()).is_err());
}

fn changed(file: &[u8], change: impl FnOnce(&mut Model)) -> Vec<u8> {
    let mut model = read_model(Bytes::copy_from_slice(file)).unwrap();
    change(&mut model);
    write_model(&model).to_vec()
}

#[test]
fn files_that_can_not_be_extractors_are_refused_by_what_is_wrong_with_them() {
    let good = TinyNet::new(0, 8).nchw_classifier();
    let nodes = |model: &mut Model| std::mem::take(&mut model.graph.as_mut().unwrap().node);
    macro_rules! assert_refused {
        ($file:expr, $pattern:pat) => {
            let error = import($file, |_| {}).unwrap_err();
            assert!(matches!(error, $pattern), "{error:?}");
        };
    }
    assert_refused!(model_with_control_flow(), ImportError::NoFeatureMap);
    assert_refused!(
        changed(&good, |model| {
            let body = Attribute { g: Some(NestedGraph::default()), ..Attribute::default() };
            model.graph.as_mut().unwrap().node[1].attribute.push(body);
        }),
        ImportError::ControlFlow { .. }
    );
    assert_refused!(
        changed(&good, |model| model.graph.as_mut().unwrap().node[1].domain = "com.microsoft".into()),
        ImportError::ForeignOperator { .. }
    );
    assert_refused!(
        changed(&good, |model| {
            let weights = &mut model.graph.as_mut().unwrap().initializer[0];
            weights.data_location = 1;
            weights.external_data =
                vec![StringStringEntry { key: "location".into(), value: "/etc/passwd".into() }];
        }),
        ImportError::Tensor(tensors::TensorError::ExternalData { .. })
    );
    assert_refused!(
        changed(&good, |model| model.graph.as_mut().unwrap().initializer[0].data_type = 10),
        ImportError::Tensor(tensors::TensorError::ElementType { .. })
    );
    assert_refused!(
        changed(&good, |model| model.graph.as_mut().unwrap().initializer[0].dims[0] = 9),
        ImportError::Tensor(tensors::TensorError::DataLength { .. })
    );
    assert_refused!(
        changed(&good, |model| {
            let node = &mut model.graph.as_mut().unwrap().node[0];
            node.attribute = vec![tensors::ints_attribute("pads", &[1 << 40; 4])];
        }),
        ImportError::AttributeRange { .. }
    );
    assert_refused!(
        changed(&good, |model| model.graph.as_mut().unwrap().node.reverse()),
        ImportError::UndefinedTensor { .. }
    );
    assert_refused!(
        changed(&good, |model| {
            let twice = model.graph.as_ref().unwrap().node[0].clone();
            model.graph.as_mut().unwrap().node.push(twice);
        }),
        ImportError::DuplicateTensor { .. }
    );
    assert_refused!(changed(&good, |model| drop(nodes(model))), ImportError::NoFeatureMap);
    assert_refused!(
        changed(&good, |model| model.graph.as_mut().unwrap().input.clear()),
        ImportError::UndefinedTensor { .. }
    );
    assert_refused!(b"<!DOCTYPE html>".to_vec(), ImportError::Read(_));
    assert_refused!(Vec::new(), ImportError::Read(_));
    let wrong_cut = import(good.clone(), |options| options.cut = Some("block9/pool".into())).unwrap_err();
    assert!(
        matches!(&wrong_cut, ImportError::NoSuchTensor { candidates, .. } if candidates.contains(FEATURE_MAP_TENSOR))
    );
    assert!(matches!(import(good, |options| options.name = "My Net".into()), Err(ImportError::Name(_))));
}

#[test]
fn networks_that_are_bound_to_a_size_or_give_no_map_are_refused() {
    if !has_onnx_runtime("networks_that_are_bound_to_a_size_or_give_no_map_are_refused") {
        return;
    }
    let net = TinyNet::new(0, 8);
    let flat = import(net.nchw_classifier(), |options| options.cut = Some("head/flat".into())).unwrap_err();
    assert!(matches!(flat, ImportError::NotAFeatureMap { .. }), "{flat:?}");
    let wrong_layout =
        import(net.nchw_classifier(), |options| options.input_layout = InputLayout::Nhwc).unwrap_err();
    assert!(matches!(wrong_layout, ImportError::InputShape { .. }), "{wrong_layout:?}");
    // A feature map reshaped to its size for 32 x 32 photos, and convolved on.
    let bound = changed(&net.nchw_classifier(), |model| {
        let graph = model.graph.as_mut().unwrap();
        graph.initializer.push(tensors::int64_tensor("fixed", &[4], &[-1, 8, 32, 32]));
        let node = Node {
            op_type: "Reshape".into(),
            input: vec!["block1/relu".into(), "fixed".into()],
            output: vec!["block1/reshaped".into()],
            ..Node::default()
        };
        graph.node[2].input[0] = "block1/reshaped".into();
        graph.node.insert(2, node);
    });
    let bound = import(bound, |_| {}).unwrap_err();
    assert!(matches!(bound, ImportError::BoundSize { .. } | ImportError::Inference(_)), "{bound:?}");
}

#[test]
fn windows_that_leave_no_pixels_do_not_reach_the_runtime() {
    if !has_onnx_runtime("windows_that_leave_no_pixels_do_not_reach_the_runtime") {
        return;
    }
    // At 64 pixels such a pooling leaves no rows, and a convolution of no rows ends ONNX Runtime's process.
    let tall_pooling = changed(&TinyNet::new(0, 8).nchw_classifier(), |model| {
        model.graph.as_mut().unwrap().node[5].attribute[0].ints = vec![34, 2];
    });
    let error = import(tall_pooling, |_| {}).unwrap_err();
    assert!(matches!(error, ImportError::BoundSize { .. }), "{error:?}");
    let no_stride = changed(&TinyNet::new(0, 8).nchw_classifier(), |model| {
        model.graph.as_mut().unwrap().node[2].attribute[1].ints = vec![0, 0];
    });
    assert!(matches!(import(no_stride, |_| {}).unwrap_err(), ImportError::AttributeRange { .. }));
}

#[test]
fn damaged_files_give_errors_and_nothing_worse() {
    if !has_onnx_runtime("damaged_files_give_errors_and_nothing_worse") {
        return;
    }
    let good = TinyNet::new(0, 4).nhwc_classifier();
    for length in (0..good.len()).step_by(good.len() / 50) {
        assert!(import(good[..length].to_vec(), |_| {}).is_err(), "cut off at {length}");
    }
    // Bytes outside the weights' data, changed one at a time; some changes leave a network that works.
    let bulk_starts = good.windows(4).rposition(|window| window == b"head").unwrap();
    for position in (0..good.len()).step_by(37).filter(|position| *position < 3000 || *position > bulk_starts)
    {
        let mut damaged = good.clone();
        damaged[position] ^= 1 << (position % 8);
        drop(import(damaged, |_| {}));
    }
}

#[test]
fn vgg16_from_its_package_becomes_the_model_of_the_catalogue() {
    const TEST: &str = "vgg16_from_its_package_becomes_the_model_of_the_catalogue";
    let Some(path) = std::env::var_os("FRUITBATCH_VGG16_ONNX") else {
        return skip(TEST, "`FRUITBATCH_VGG16_ONNX` doesn't name the classifier of the catalogue's package");
    };
    if !has_onnx_runtime(TEST) {
        return;
    }
    let entry = Catalogue::compiled_in().get("vgg16").unwrap().clone();
    let imported = import(std::fs::read(path).unwrap(), |_| {}).unwrap();
    assert_eq!(imported.digest, entry.digest);
    assert_eq!(imported.entry.weights_digest, entry.weights_digest);
    assert_eq!(
        (imported.entry.output_width, imported.entry.min_image_size, imported.entry.feature_map),
        (entry.output_width, entry.min_image_size, entry.feature_map)
    );
}

#[test]
fn vgg16_with_pooling_is_imported_up_to_its_feature_map() {
    const TEST: &str = "vgg16_with_pooling_is_imported_up_to_its_feature_map";
    let path = shared_folder().join("models/vgg16_gmp.onnx");
    let Ok(file) = std::fs::read(&path) else {
        return skip(TEST, &format!("{} isn't there", path.display()));
    };
    if !has_onnx_runtime(TEST) {
        return;
    }
    let entry = Catalogue::compiled_in().get("vgg16").unwrap().clone();
    let imported = import(file, |_| {}).unwrap();
    assert_eq!(imported.entry.weights_digest, entry.weights_digest);
    assert_eq!(imported.entry.min_image_size, 32);
    assert_eq!(imported.entry.feature_map, entry.feature_map);
}
