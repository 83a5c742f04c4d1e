//! The functions as SQL calls them.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Float64Type;
use datafusion::prelude::SessionContext;
use fruitbatch_sql::sql_functions;
use fruitbatch_vision::{CachedModelFiles, Catalogue, ModelSessions};

/// A session with the functions; no model is there.
fn session() -> SessionContext {
    let files = Arc::new(CachedModelFiles::new("/nowhere/at/all"));
    let models = ModelSessions::new(files, Catalogue::compiled_in(), NonZeroUsize::MIN);
    let session = SessionContext::new();
    for function in sql_functions(Arc::new(models)) {
        session.register_udf(function.as_ref().clone());
    }
    session
}

async fn numbers(query: &str) -> Vec<Option<f64>> {
    let batches = session().sql(query).await.unwrap().collect().await.unwrap();
    batches
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<Float64Type>().iter().collect::<Vec<_>>())
        .collect()
}

async fn failure(query: &str) -> String {
    match session().sql(query).await {
        Ok(frame) => frame.collect().await.unwrap_err().to_string(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn similarity_is_of_lists_of_any_kind() {
    for (a, b, expected) in [
        ("[1.0, 0.0]", "[1.0, 1.0]", Some(0.5_f64.sqrt())),
        ("[3, 4]", "[4, 3]", Some(0.96)),
        ("arrow_cast([3, 4], 'FixedSizeList(2, Float32)')", "[4, 3]", Some(0.96)),
        ("arrow_cast([3, 4], 'LargeList(Int64)')", "arrow_cast([-4, -3], 'List(Float32)')", Some(-0.96)),
        ("[1, 2]", "[0, 0]", None),
        ("[1, 2]", "NULL", None),
        ("[1, NULL]", "[1, 2]", None),
        ("[]", "[]", None),
    ] {
        let found = numbers(&format!("SELECT cosine_similarity({a}, {b})")).await;
        match (found[0], expected) {
            // Two roundings of a number below 1.
            (Some(found), Some(expected)) => assert!((found - expected).abs() < 1e-15, "{a} {b}: {found}"),
            (found, expected) => assert_eq!(found, expected, "{a} {b}"),
        }
    }
}

#[tokio::test]
async fn similarity_is_of_each_row() {
    let rows = "(VALUES ([1, 0], [2, 0]), ([1, 0], [0, 7]), (NULL, [1, 1]), ([0, 1], [0, -1])) AS t (a, b)";
    let expected = [Some(1.0), Some(0.0), None, Some(-1.0)];
    assert_eq!(numbers(&format!("SELECT cosine_similarity(a, b) FROM {rows}")).await, expected);
    let constant = numbers(&format!("SELECT cosine_similarity(b, [0, 2]) FROM {rows}")).await;
    assert_eq!(constant[..2], [Some(0.0), Some(1.0)]);
    assert_eq!(constant[3], Some(-1.0));
    let doubled =
        format!("SELECT cosine_similarity(a, b) FROM (SELECT a, b FROM {rows} ORDER BY b LIMIT 2 OFFSET 1)");
    assert_eq!(numbers(&doubled).await.len(), 2, "rows in the middle of an array");
}

#[tokio::test]
async fn what_cannot_be_compared_is_refused() {
    for (query, part) in [
        ("SELECT cosine_similarity([1, 2], [1, 2, 3])", "width 2 and 3"),
        (
            "SELECT cosine_similarity(arrow_cast([1, 2], 'FixedSizeList(2, Float32)'), \
             arrow_cast([1, 2, 3], 'FixedSizeList(3, Float32)'))",
            "not of 2 and 3",
        ),
        ("SELECT cosine_similarity('a', [1])", "takes lists of numbers"),
        ("SELECT cosine_similarity(['a'], ['b'])", "takes lists of numbers"),
        ("SELECT cosine_similarity([1])", "takes two vectors"),
        ("SELECT cluster_of([1, 2], 'out')", "fruitbatch sql"),
        ("SELECT cluster_of('a', 'out')", "lists of numbers"),
        ("SELECT distance_of([1, 2], X'00')", "packed"),
    ] {
        let failed = failure(query).await;
        assert!(failed.contains(part), "{query}: {failed}");
    }
}
