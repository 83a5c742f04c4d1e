//! `embed` and `embed_or_failure` in SQL.

use std::sync::Arc;

use crate::common::{Planes, TinyModels, bmp_photo, has_onnx_runtime, relative_error, tiny_models};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Float32Type, Schema};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use fruitbatch_testkit::tiny_models::TinyNet;
use fruitbatch_vision::{EmbedOptions, EmbedSpec, ImageSize, embed_functions};

const FLOAT32_TOLERANCE: f64 = 1e-6;
const WIDTH: usize = 12;

fn models() -> TinyModels {
    tiny_models(&[("tiny", TinyNet::new(7, WIDTH)), ("other", TinyNet::new(8, 20))], 1)
}

fn square_32(models: &TinyModels) -> EmbedSpec {
    let mut options = EmbedOptions::new("tiny");
    options.image_size = ImageSize::Square(32);
    EmbedSpec::resolve(models.sessions.catalogue(), &options).unwrap()
}

fn context(models: &TinyModels, photos: &[Option<Vec<u8>>]) -> SessionContext {
    let context = SessionContext::new();
    for function in embed_functions(Arc::clone(&models.sessions)) {
        context.register_udf(function.as_ref().clone());
    }
    let content: ArrayRef = Arc::new(photos.iter().map(Option::as_deref).collect::<BinaryArray>());
    let schema = Arc::new(Schema::new(vec![Field::new("content", DataType::Binary, true)]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![content]).unwrap();
    context
        .register_table("images", Arc::new(MemTable::try_new(schema, vec![vec![batch]]).unwrap()))
        .unwrap();
    context
}

async fn answer(context: &SessionContext, query: &str) -> (String, ArrayRef) {
    let batches = context.sql(query).await.unwrap().collect().await.unwrap();
    let column = Arc::clone(batches[0].column(0));
    (batches[0].schema().field(0).name().clone(), column)
}

#[tokio::test]
async fn functions_answer_with_features_or_with_the_reason_why_not() {
    if !has_onnx_runtime("functions_answer_with_features_or_with_the_reason_why_not") {
        return;
    }
    let models = models();
    let photos = [
        Some(bmp_photo(32, 32, 0)),
        None,
        Some(b"no photo".to_vec()),
        Some(bmp_photo(32, 32, 1)),
        Some(vec![]),
    ];
    let context = context(&models, &photos);
    let spec = square_32(&models);
    let (_, features) = answer(&context, &format!("SELECT embed(content, '{spec}') FROM images")).await;
    let features = features.as_fixed_size_list();
    assert_eq!(features.value_length(), WIDTH as i32);
    let has_features: Vec<bool> = (0..5).map(|row| features.is_valid(row)).collect();
    assert_eq!(has_features, [true, false, false, true, false]);
    let expected = Planes::of_photo(32, 32, 1, 1.0).feature_map(&TinyNet::new(7, WIDTH)).max_pooled();
    let found = features.value(3);
    assert!(relative_error(found.as_primitive::<Float32Type>().values(), &expected) < FLOAT32_TOLERANCE);

    let (_, answers) =
        answer(&context, &format!("SELECT embed_or_failure(content, '{spec}') FROM images")).await;
    let answers = answers.as_struct();
    assert_eq!(answers.column(0).as_fixed_size_list(), features);
    let reasons: Vec<_> = answers.column(1).as_string::<i32>().iter().collect();
    assert_eq!(reasons, [None, None, Some("not-an-image"), None, Some("empty")]);
    let details: Vec<_> =
        answers.column(2).as_string::<i32>().iter().map(|detail| detail.is_some()).collect();
    assert_eq!(details, [false, false, true, false, true]);
}

#[tokio::test]
async fn a_bare_name_means_the_defaults_and_another_backbone_needs_only_its_name() {
    if !has_onnx_runtime("a_bare_name_means_the_defaults_and_another_backbone_needs_only_its_name") {
        return;
    }
    let models = models();
    let context = context(&models, &[Some(bmp_photo(50, 60, 0))]);
    for (name, width) in [("tiny", 12), ("other", 20)] {
        let (column, by_name) =
            answer(&context, &format!("SELECT embed(content, '{name}') FROM images")).await;
        assert!(column.contains(&format!("\"{name}\"")), "{column}");
        assert_eq!(by_name.as_fixed_size_list().value_length(), width);
        let text =
            EmbedSpec::resolve(models.sessions.catalogue(), &EmbedOptions::new(name)).unwrap().to_string();
        let (_, by_text) = answer(&context, &format!("SELECT embed(content, '{text}') FROM images")).await;
        assert_eq!(by_name.as_ref(), by_text.as_ref());
        let plan = format!("EXPLAIN SELECT embed(content, '{name}') FROM images");
        let plan = context.sql(&plan).await.unwrap().collect().await.unwrap();
        let plan = datafusion::arrow::util::pretty::pretty_format_batches(&plan).unwrap().to_string();
        assert!(plan.contains("embed/2 digest=sha256:"), "{plan}");
    }
}

#[tokio::test]
async fn queries_without_a_usable_model_are_refused_when_planned_or_fail_as_a_whole() {
    if !has_onnx_runtime("queries_without_a_usable_model_are_refused_when_planned_or_fail_as_a_whole") {
        return;
    }
    let models = models();
    let context = context(&models, &[Some(bmp_photo(50, 60, 0))]);
    for query in [
        "SELECT embed(content, 'vgg61') FROM images",
        "SELECT embed(content, 'embed/2 digest=x') FROM images",
        "SELECT embed(content, CAST(content AS VARCHAR)) FROM images",
        "SELECT embed(content) FROM images",
    ] {
        assert!(context.sql(query).await.is_err(), "{query}");
    }
    // Planned without the model's file, which is needed only where photos are embedded.
    let frame = context.sql("SELECT embed(content, 'vgg16') FROM images").await.unwrap();
    let width = match frame.schema().field(0).data_type() {
        DataType::FixedSizeList(_, width) => *width,
        other => panic!("{other}"),
    };
    assert_eq!(width, 512);
    let error = frame.collect().await.unwrap_err().to_string();
    assert!(error.contains("fruitbatch model fetch"), "{error}");
}
