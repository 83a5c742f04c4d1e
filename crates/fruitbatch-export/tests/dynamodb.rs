//! Exports to a server that speaks DynamoDB's protocol.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type};
use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use fruitbatch_export::{
    DynamoDbOptions, DynamoDbTarget, ExportError, ExportSummary, Target, export_to_dynamodb,
};
use fruitbatch_testkit::dynamodb_server::DynamoDbServer;
use serde_json::{Value, json};
use support::{cut_short, in_batches, joined, later_results, odd_values, results, silent_address, unseen};

mod support;

const TABLE: &str = "fruit_results";
const CREATING: DynamoDbOptions = DynamoDbOptions { create_table: true, prune: false };
const KEEPING: DynamoDbOptions = DynamoDbOptions { create_table: false, prune: false };
const PRUNING: DynamoDbOptions = DynamoDbOptions { create_table: false, prune: true };

/// A server, or word of why there is none.
fn server(test: &str) -> Option<DynamoDbServer> {
    let Some(python) = std::env::var_os("FRUITBATCH_PYTHON") else {
        eprintln!("SKIPPED: {test}: FRUITBATCH_PYTHON names no Python with moto: run `make test`");
        return None;
    };
    Some(DynamoDbServer::start(&python))
}

fn plain_http() -> SharedHttpClient {
    http_client_fn(|_, _| SharedHttpConnector::new(Connector::builder().build_http()))
}

async fn sdk_config(http_client: SharedHttpClient) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client)
        .region(Region::from_static("eu-west-1"))
        .credentials_provider(Credentials::new("AKIAEXAMPLE", "a secret key", None, None, "test"))
        .load()
        .await
}

fn target(endpoint_url: &str) -> DynamoDbTarget {
    let url = format!("dynamodb://{TABLE}?endpoint-url={endpoint_url}");
    let Target::DynamoDb(target) = url.parse().unwrap() else { panic!("{url} names another kind of target") };
    target
}

async fn export(
    server: &DynamoDbServer,
    options: &DynamoDbOptions,
    batch: &RecordBatch,
) -> Result<ExportSummary, ExportError> {
    export_by(&sdk_config(plain_http()).await, &target(server.endpoint_url()), options, batch).await
}

async fn export_by(
    sdk_config: &SdkConfig,
    target: &DynamoDbTarget,
    options: &DynamoDbOptions,
    batch: &RecordBatch,
) -> Result<ExportSummary, ExportError> {
    let batches = in_batches(batch, 100);
    export_to_dynamodb(target, sdk_config, options, batch.schema_ref(), batches, &unseen).await
}

async fn client(server: &DynamoDbServer) -> Client {
    let sdk_config = sdk_config(plain_http()).await;
    let config = aws_sdk_dynamodb::config::Builder::from(&sdk_config).endpoint_url(server.endpoint_url());
    Client::from_conf(config.build())
}

/// All items by their paths.
async fn items(server: &DynamoDbServer) -> BTreeMap<String, HashMap<String, AttributeValue>> {
    let pages = client(server).await.scan().table_name(TABLE).into_paginator().items().send();
    let items = pages.collect::<Result<Vec<_>, _>>().await.unwrap();
    items.into_iter().map(|item| (item["path"].as_s().unwrap().clone(), item)).collect()
}

/// Reads the whole table back and compares it with `batch`, bit for bit.
async fn assert_holds(server: &DynamoDbServer, batch: &RecordBatch) {
    let items = items(server).await;
    assert_eq!(items.len(), batch.num_rows());
    let paths = batch.column_by_name("path").unwrap().as_string::<i32>();
    for (row, path) in paths.iter().enumerate() {
        let item = &items[path.unwrap()];
        for field in batch.schema_ref().fields() {
            let array = batch.column_by_name(field.name()).unwrap();
            let attribute = item.get(field.name());
            if array.is_null(row) {
                assert_eq!(attribute, None);
            } else if let Some(texts) = array.as_string_opt::<i32>() {
                assert_eq!(attribute, Some(&AttributeValue::S(texts.value(row).to_owned())));
            } else if let Some(numbers) = array.as_primitive_opt::<Int32Type>() {
                assert_eq!(attribute, Some(&AttributeValue::N(numbers.value(row).to_string())));
            } else {
                let number: f64 = attribute.unwrap().as_n().unwrap().parse().unwrap();
                assert_eq!(number.to_bits(), array.as_primitive::<Float64Type>().value(row).to_bits());
            }
        }
    }
}

#[tokio::test]
async fn the_same_export_twice_leaves_the_same_items() {
    let Some(server) = server("the_same_export_twice_leaves_the_same_items") else { return };
    let batch = results(0..200, 3);
    let first = export(&server, &CREATING, &batch).await.unwrap();
    let expected = ExportSummary { rows: 200, created_table: true, changes: None, pruned: 0 };
    assert_eq!(first, expected);
    assert_holds(&server, &batch).await;
    let again = export(&server, &CREATING, &batch).await.unwrap();
    assert_eq!(again, ExportSummary { created_table: false, ..expected });
    assert_holds(&server, &batch).await;
    let description = client(&server).await.describe_table().table_name(TABLE).send().await.unwrap();
    let billing = description.table.unwrap().billing_mode_summary.unwrap().billing_mode;
    assert_eq!(billing, Some(BillingMode::PayPerRequest));
}

#[tokio::test]
async fn changed_items_are_replaced_and_items_of_no_photo_stay_or_go() {
    let Some(server) = server("changed_items_are_replaced_and_items_of_no_photo_stay_or_go") else { return };
    export(&server, &CREATING, &results(0..90, 2)).await.unwrap();
    let later = later_results(70..110, 1);
    assert_eq!(export(&server, &KEEPING, &later).await.unwrap().pruned, 0);
    let stored = items(&server).await;
    assert_eq!(stored.len(), 110);
    assert!(stored.values().filter(|item| item.contains_key("pc_2")).count() == 70, "of the earlier ones");
    assert_eq!(export(&server, &PRUNING, &later).await.unwrap().pruned, 70);
    assert_holds(&server, &later).await;
}

#[tokio::test]
async fn every_type_and_odd_number_is_stored_as_documented() {
    let Some(server) = server("every_type_and_odd_number_is_stored_as_documented") else { return };
    let batch = odd_values("double", "single");
    export(&server, &CREATING, &batch).await.unwrap();
    let stored = items(&server).await;
    let (n, s) =
        (|text: &str| AttributeValue::N(text.to_owned()), |text: &str| AttributeValue::S(text.to_owned()));
    let column = |name: &str| stored.values().map(|item| item.get(name).cloned()).collect::<Vec<_>>();
    assert_eq!(
        column("double"),
        [s("NaN"), s("inf"), s("-inf"), s("2.2250738585072014e-308"), n("0.30000000000000004")].map(Some)
    );
    assert_eq!(column("single"), [s("NaN"), s("inf"), s("-inf"), n("0"), n("0.3")].map(Some));
    let longs =
        [Some(n("-9223372036854775808")), Some(n("9223372036854775807")), None, Some(n("0")), Some(n("-1"))];
    assert_eq!(column("long"), longs);
    let truths = [Some(true), Some(false), None, Some(true), Some(false)];
    assert_eq!(column("truth"), truths.map(|truth| truth.map(AttributeValue::Bool)));
}

#[tokio::test]
async fn thousands_of_rows_of_thirty_columns_go_in_batches() {
    let Some(server) = server("thousands_of_rows_of_thirty_columns_go_in_batches") else { return };
    let batch = results(0..3000, 25);
    let told = Mutex::new(Vec::new());
    let progress = |rows| told.lock().unwrap().push(rows);
    let (target, sdk_config) = (target(server.endpoint_url()), sdk_config(plain_http()).await);
    let batches = in_batches(&batch, 512);
    let summary =
        export_to_dynamodb(&target, &sdk_config, &CREATING, batch.schema_ref(), batches, &progress).await;
    assert_eq!(summary.unwrap().rows, 3000);
    assert_holds(&server, &batch).await;
    let told = told.into_inner().unwrap();
    assert!(told.is_sorted() && told.last() == Some(&3000), "{told:?}");
}

#[tokio::test]
async fn an_export_that_ended_midway_is_completed_by_the_next() {
    let Some(server) = server("an_export_that_ended_midway_is_completed_by_the_next") else { return };
    let (old, new) = (results(0..60, 2), later_results(20..120, 2));
    export(&server, &CREATING, &old).await.unwrap();
    let cut = cut_short(new.slice(0, 50));
    let (target, sdk_config) = (target(server.endpoint_url()), sdk_config(plain_http()).await);
    let error = export_to_dynamodb(&target, &sdk_config, &PRUNING, new.schema_ref(), cut, &unseen).await;
    assert!(matches!(error, Err(ExportError::Read(_))), "{error:?}");
    // Nothing is removed for the sake of rows that are not there yet.
    assert_holds(&server, &joined(&[results(0..20, 2), new.slice(0, 50)])).await;
    assert_eq!(export(&server, &PRUNING, &new).await.unwrap().pruned, 20);
    assert_holds(&server, &new).await;
}

#[tokio::test]
async fn a_table_that_is_missing_or_has_another_key_is_told() {
    let Some(server) = server("a_table_that_is_missing_or_has_another_key_is_told") else { return };
    let batch = results(0..5, 1);
    let error = export(&server, &KEEPING, &batch).await.unwrap_err();
    assert!(matches!(error, ExportError::NotFound { .. }), "{error:?}");
    assert!(error.to_string().contains("has no table `fruit_results`"), "{error}");
    let attribute = |name: &str| {
        let definition = AttributeDefinition::builder().attribute_name(name);
        definition.attribute_type(ScalarAttributeType::S).build().unwrap()
    };
    let key = |name: &str, key_type: KeyType| {
        KeySchemaElement::builder().attribute_name(name).key_type(key_type).build().unwrap()
    };
    client(&server)
        .await
        .create_table()
        .table_name(TABLE)
        .set_attribute_definitions(Some(vec![attribute("path"), attribute("label")]))
        .set_key_schema(Some(vec![key("path", KeyType::Hash), key("label", KeyType::Range)]))
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await
        .unwrap();
    let error = export(&server, &CREATING, &batch).await.unwrap_err();
    assert!(matches!(error, ExportError::TableMismatch { .. }), "{error:?}");
}

#[tokio::test]
async fn a_path_that_occurs_twice_is_told() {
    let Some(server) = server("a_path_that_occurs_twice_is_told") else { return };
    let twice = joined(&[results(7..8, 1), results(7..8, 1)]);
    let error = export(&server, &CREATING, &twice).await.unwrap_err();
    assert!(matches!(error, ExportError::DuplicatePath { .. }), "{error:?}");
}

#[tokio::test]
async fn an_endpoint_without_a_server_is_told() {
    let endpoint_url = format!("http://{}", silent_address());
    let once = RetryConfig::standard().with_max_attempts(1);
    let sdk_config = sdk_config(plain_http()).await.into_builder().retry_config(once).build();
    let outcome = export_by(&sdk_config, &target(&endpoint_url), &KEEPING, &results(0..5, 1)).await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, ExportError::Unreachable { .. }) && error.may_pass(), "{error:?}");
    assert!(error.to_string().starts_with(&format!("cannot connect to {endpoint_url}: ")), "{error}");
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
}

/// Before the server: lets through a part of the rows of each request to write, and says so, as DynamoDB does of a table
/// without the capacity for more.
#[derive(Debug, Clone)]
struct Busy {
    server: SharedHttpConnector,
    /// Of so many rows, so many are let through.
    share: fn(usize) -> usize,
}

impl HttpConnector for Busy {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let operation = request.headers().get("x-amz-target").unwrap_or_default();
        if !operation.ends_with("BatchWriteItem") {
            return self.server.call(request);
        }
        let mut body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let rows = body["RequestItems"][TABLE].as_array_mut().unwrap();
        let undone = rows.split_off((self.share)(rows.len()));
        let undone = if undone.is_empty() { json!({}) } else { json!({ TABLE: undone }) };
        // A request without any row is none to the server: asked for its tables, it answers anything.
        if rows.is_empty() {
            request.headers_mut().insert("x-amz-target", "DynamoDB_20120810.ListTables");
            body = json!({});
        }
        let body = body.to_string();
        request.headers_mut().insert("content-length", body.len().to_string());
        *request.body_mut() = SdkBody::from(body);
        let answer = self.server.call(request);
        HttpConnectorFuture::new(async move {
            let mut answer = answer.await?;
            assert!(answer.status().is_success());
            let body = json!({ "UnprocessedItems": undone }).to_string();
            answer.headers_mut().insert("content-length", body.len().to_string());
            answer.headers_mut().remove("x-amz-crc32");
            *answer.body_mut() = SdkBody::from(body);
            Ok(answer)
        })
    }
}

fn busy_http(share: fn(usize) -> usize) -> SharedHttpClient {
    http_client_fn(move |_, _| {
        let server = SharedHttpConnector::new(Connector::builder().build_http());
        SharedHttpConnector::new(Busy { server, share })
    })
}

#[tokio::test]
async fn what_a_busy_table_leaves_undone_is_sent_again() {
    let Some(server) = server("what_a_busy_table_leaves_undone_is_sent_again") else { return };
    let batch = results(0..120, 2);
    export(&server, &CREATING, &results(100..160, 2)).await.unwrap();
    let sdk_config = sdk_config(busy_http(|rows| rows.div_ceil(2))).await;
    let summary = export_by(&sdk_config, &target(server.endpoint_url()), &PRUNING, &batch).await.unwrap();
    assert_eq!((summary.rows, summary.pruned), (120, 40));
    assert_holds(&server, &batch).await;
}

#[tokio::test]
async fn a_table_that_takes_nothing_is_told() {
    let Some(server) = server("a_table_that_takes_nothing_is_told") else { return };
    let batch = results(0..10, 2);
    export(&server, &CREATING, &batch.slice(0, 0)).await.unwrap();
    let twice = RetryConfig::standard().with_max_attempts(2);
    let sdk_config = sdk_config(busy_http(|_| 0)).await.into_builder().retry_config(twice).build();
    let outcome = export_by(&sdk_config, &target(server.endpoint_url()), &KEEPING, &batch).await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, ExportError::Throttled { .. }) && error.may_pass(), "{error:?}");
    assert!(error.to_string().contains("10 rows left undone in 2 attempts"), "{error}");
}
