//! Exports to a real PostgreSQL server.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Float64Type, Int32Type};
use arrow::error::ArrowError;
use fruitbatch_export::{
    ExportError, ExportSummary, PostgresOptions, PostgresTarget, RowChanges, Target, export_to_postgres,
};
use fruitbatch_testkit::certificates::Authority;
use fruitbatch_testkit::postgres_server::{PostgresAccess, PostgresServer};
use futures::{Stream, StreamExt, stream};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, ValueRef};
use support::{cut_short, in_batches, joined, later_results, odd_values, results, silent_address, unseen};
use tempfile::TempDir;

mod support;

/// A server that lets everybody in, or word of why there is none.
fn server(test: &str) -> Option<PostgresServer> {
    server_with(test, &PostgresAccess::default())
}

fn server_with(test: &str, access: &PostgresAccess<'_>) -> Option<PostgresServer> {
    let server = PostgresServer::start(access);
    if server.is_none() {
        eprintln!("SKIPPED: {test}: no PostgreSQL server: install Debian's postgresql");
    }
    server
}

fn target(url: &str) -> PostgresTarget {
    let Target::Postgres(target) = url.parse().unwrap() else { panic!("{url} names another kind of target") };
    target
}

fn to_table(table: &str) -> PostgresOptions {
    PostgresOptions { table: table.parse().unwrap(), prune: false }
}

fn pruning(table: &str) -> PostgresOptions {
    PostgresOptions { prune: true, ..to_table(table) }
}

async fn export(
    server: &PostgresServer,
    options: &PostgresOptions,
    batch: &RecordBatch,
) -> Result<ExportSummary, ExportError> {
    export_to(&target(&server.url("postgres")), options, batch).await
}

/// In batches so small that results of most tests are several.
async fn export_to(
    target: &PostgresTarget,
    options: &PostgresOptions,
    batch: &RecordBatch,
) -> Result<ExportSummary, ExportError> {
    export_to_postgres(target, options, batch.schema_ref(), in_batches(batch, 9), &unseen).await
}

async fn connect(server: &PostgresServer) -> PgConnection {
    PgConnection::connect(&server.url("postgres")).await.unwrap()
}

async fn execute(server: &PostgresServer, statements: &str) {
    let statements = AssertSqlSafe(statements.to_owned());
    sqlx::raw_sql(statements).execute(&mut connect(server).await).await.unwrap();
}

/// What a query answers, each row as one text.
async fn lines(server: &PostgresServer, query: &str) -> Vec<String> {
    let query = format!("SELECT answer::text FROM ({query}) AS answer");
    sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&mut connect(server).await).await.unwrap()
}

fn changes(inserted: u64, updated: u64, unchanged: u64) -> RowChanges {
    RowChanges { inserted, updated, unchanged }
}

/// Reads the whole table back and compares it with `batch`, bit for bit.
async fn assert_holds(server: &PostgresServer, table: &str, batch: &RecordBatch) {
    let query = AssertSqlSafe(format!("SELECT * FROM {table}"));
    let rows = sqlx::query(query).fetch_all(&mut connect(server).await).await.unwrap();
    assert_eq!(rows.len(), batch.num_rows());
    let paths = batch.column_by_name("path").unwrap().as_string::<i32>();
    let places = paths.iter().enumerate().map(|(row, path)| (path.unwrap(), row)).collect::<BTreeMap<_, _>>();
    for stored in &rows {
        let row = places[stored.get::<&str, _>("path")];
        for field in batch.schema_ref().fields() {
            let array = batch.column_by_name(field.name()).unwrap();
            let name = field.name().as_str();
            if array.is_null(row) {
                assert!(stored.try_get_raw(name).unwrap().is_null(), "{name} of row {row}");
            } else if let Some(texts) = array.as_string_opt::<i32>() {
                assert_eq!(stored.get::<&str, _>(name), texts.value(row));
            } else if let Some(numbers) = array.as_primitive_opt::<Int32Type>() {
                assert_eq!(stored.get::<i32, _>(name), numbers.value(row));
            } else {
                let number = array.as_primitive::<Float64Type>().value(row);
                assert_eq!(stored.get::<f64, _>(name).to_bits(), number.to_bits());
            }
        }
    }
}

#[tokio::test]
async fn the_same_export_twice_changes_nothing() {
    let Some(server) = server("the_same_export_twice_changes_nothing") else { return };
    let (options, batch) = (to_table("fruits"), results(0..500, 3));
    let first = export(&server, &options, &batch).await.unwrap();
    let expected =
        ExportSummary { rows: 500, created_table: true, changes: Some(changes(500, 0, 0)), pruned: 0 };
    assert_eq!(first, expected);
    assert_holds(&server, "fruits", &batch).await;
    // Where the rows lie, and who wrote or locked them last.
    let versions = "SELECT path, ctid, xmin, xmax FROM fruits ORDER BY path";
    let before = lines(&server, versions).await;
    let again = export(&server, &options, &batch).await.unwrap();
    assert_eq!(again, ExportSummary { created_table: false, changes: Some(changes(0, 0, 500)), ..expected });
    assert_eq!(lines(&server, versions).await, before);
}

#[tokio::test]
async fn changed_rows_are_updated_and_rows_of_no_photo_stay_or_go() {
    let Some(server) = server("changed_rows_are_updated_and_rows_of_no_photo_stay_or_go") else { return };
    export(&server, &to_table("fruits"), &results(0..60, 2)).await.unwrap();
    // 30 rows are gone, 40 are new, and of the 30 that are in both each third has another cluster.
    let later = later_results(30..100, 2);
    let kept = export(&server, &to_table("fruits"), &later).await.unwrap();
    assert_eq!((kept.changes, kept.pruned), (Some(changes(40, 10, 20)), 0));
    let all = joined(&[results(0..30, 2), later.clone()]);
    assert_holds(&server, "fruits", &all).await;
    let pruned = export(&server, &pruning("fruits"), &later).await.unwrap();
    assert_eq!((pruned.changes, pruned.pruned), (Some(changes(0, 0, 70)), 30));
    assert_holds(&server, "fruits", &later).await;
}

#[tokio::test]
async fn every_type_and_odd_number_comes_back() {
    let Some(server) = server("every_type_and_odd_number_comes_back") else { return };
    let batch = odd_values("Double \"quoted\"", "select");
    for changed in [changes(5, 0, 0), changes(0, 0, 5)] {
        let summary = export(&server, &to_table("Odd \"table\""), &batch).await.unwrap();
        assert_eq!(summary.changes, Some(changed));
    }
    assert_eq!(
        lines(&server, "SELECT * FROM \"Odd \"\"table\"\"\" ORDER BY path").await,
        [
            "(a,NaN,NaN,-9223372036854775808,t)",
            "(b,Infinity,Infinity,9223372036854775807,f)",
            "(c,-Infinity,-Infinity,,)",
            "(d,2.2250738585072014e-308,0,0,t)",
            "(e,0.30000000000000004,0.3,-1,f)",
        ]
    );
}

#[tokio::test]
async fn twenty_thousand_rows_of_thirty_columns_go_in_batches() {
    let Some(server) = server("twenty_thousand_rows_of_thirty_columns_go_in_batches") else { return };
    let batch = results(0..20_000, 25);
    assert_eq!(batch.num_columns(), 30);
    let told = Mutex::new(Vec::new());
    let progress = |rows| told.lock().unwrap().push(rows);
    // A batch is made when it is asked for: what was sent tells how many are held at a time.
    let unsent = |made: u64| made - told.lock().unwrap().last().copied().unwrap_or(0);
    let most_unsent = Mutex::new(0);
    let batches = in_batches(&batch, 500).enumerate().map(|(number, batch)| {
        let mut most = most_unsent.lock().unwrap();
        *most = (*most).max(unsent(500 * number as u64));
        batch
    });
    let target = target(&server.url("postgres"));
    let summary =
        export_to_postgres(&target, &to_table("fruits"), batch.schema_ref(), batches, &progress).await;
    assert_eq!(summary.unwrap().changes, Some(changes(20_000, 0, 0)));
    assert_holds(&server, "fruits", &batch).await;
    let told = told.into_inner().unwrap();
    assert!(told.is_sorted() && told.last() == Some(&20_000), "{told:?}");
    // The rest of a piece of 256 KiB, in which a row takes more than 300 bytes.
    assert!(*most_unsent.lock().unwrap() < 900, "{most_unsent:?}");
}

/// Gives the first batch, then does what it is told to, and never ends.
fn stuck_after<'a>(
    batch: &RecordBatch,
    then: impl Future<Output = ()> + Send + 'a,
) -> impl Stream<Item = Result<RecordBatch, ArrowError>> + Send + 'a {
    let first = stream::iter([Ok(batch.clone())]);
    first.chain(stream::once(async move {
        then.await;
        std::future::pending().await
    }))
}

#[tokio::test]
async fn an_export_that_is_dropped_midway_leaves_the_old_rows_whole() {
    let Some(server) = server("an_export_that_is_dropped_midway_leaves_the_old_rows_whole") else { return };
    let (old, new) = (results(0..5000, 25), later_results(1000..9000, 25));
    export(&server, &to_table("fruits"), &old).await.unwrap();
    let (stuck, is_stuck) = tokio::sync::oneshot::channel();
    let batches = stuck_after(&new, async { stuck.send(()).unwrap() });
    let (target, options) = (target(&server.url("postgres")), pruning("fruits"));
    let sent = Mutex::new(0);
    let progress = |rows| *sent.lock().unwrap() = rows;
    {
        let export = export_to_postgres(&target, &options, new.schema_ref(), batches, &progress);
        tokio::select! {
            ended = export => panic!("{ended:?}"),
            stuck = is_stuck => stuck.unwrap(),
        }
        assert!(*sent.lock().unwrap() > 0);
    }
    assert_holds(&server, "fruits", &old).await;
    // Neither a lock nor anything else is in the way of the next one.
    let summary = export(&server, &options, &new).await.unwrap();
    assert_eq!((summary.rows, summary.pruned), (8000, 1000));
    assert_holds(&server, "fruits", &new).await;
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_the_old_rows_whole() {
    let Some(server) = server("a_connection_that_breaks_leaves_the_old_rows_whole") else { return };
    let (old, new) = (results(0..100, 2), later_results(0..3000, 2));
    export(&server, &to_table("fruits"), &old).await.unwrap();
    let mut killer = connect(&server).await;
    let kill = async {
        let others = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity \
                      WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        assert_eq!(sqlx::query(others).fetch_all(&mut killer).await.unwrap().len(), 1);
    };
    let batches = stream::iter([Ok(new.slice(0, 2000))]).chain(stream::once(async {
        kill.await;
        Ok(new.slice(2000, 1000))
    }));
    let target = target(&server.url("postgres"));
    let error = export_to_postgres(&target, &pruning("fruits"), new.schema_ref(), batches, &unseen).await;
    let error = error.unwrap_err();
    assert!(matches!(error, ExportError::ConnectionLost { .. }) && error.may_pass(), "{error:?}");
    assert_holds(&server, "fruits", &old).await;
}

#[tokio::test]
async fn results_that_end_in_an_error_leave_the_old_rows_whole() {
    let Some(server) = server("results_that_end_in_an_error_leave_the_old_rows_whole") else { return };
    let old = results(0..100, 2);
    export(&server, &to_table("fruits"), &old).await.unwrap();
    let batches = cut_short(later_results(0..50, 2));
    let target = target(&server.url("postgres"));
    let error = export_to_postgres(&target, &pruning("fruits"), old.schema_ref(), batches, &unseen).await;
    assert!(matches!(error, Err(ExportError::Read(_))), "{error:?}");
    assert_holds(&server, "fruits", &old).await;
}

#[tokio::test]
async fn readers_see_the_old_rows_until_all_new_ones_are_there() {
    let Some(server) = server("readers_see_the_old_rows_until_all_new_ones_are_there") else { return };
    let (old, new) = (results(0..100, 2), later_results(0..200, 2));
    export(&server, &to_table("fruits"), &old).await.unwrap();
    let server = &server;
    let batches = stream::iter([new.slice(0, 150), new.slice(150, 50)]).then(|batch| async move {
        assert_holds(server, "fruits", &results(0..100, 2)).await;
        Ok(batch)
    });
    let batches = batches.boxed();
    let target = target(&server.url("postgres"));
    let summary = export_to_postgres(&target, &to_table("fruits"), new.schema_ref(), batches, &unseen).await;
    assert_eq!(summary.unwrap().rows, 200);
    assert_holds(server, "fruits", &new).await;
}

#[tokio::test]
async fn exports_to_one_table_wait_for_each_other() {
    let Some(server) = server("exports_to_one_table_wait_for_each_other") else { return };
    let options = pruning("fruits");
    let exports = (0..4).map(|number| {
        let (server, options) = (&server, &options);
        async move { export(server, options, &results(number * 1000..number * 1000 + 1500, 2)).await.unwrap() }
    });
    let summaries = futures::future::join_all(exports).await;
    // One created the table, and each of the others removed what its predecessor had and it doesn't.
    assert_eq!(summaries.iter().filter(|summary| summary.created_table).count(), 1);
    assert_eq!(summaries.iter().filter(|summary| summary.pruned > 0).count(), 3);
    assert_eq!(lines(&server, "SELECT count(*) FROM fruits").await, ["(1500)"]);
}

#[tokio::test]
async fn a_table_that_does_not_fit_is_told_with_what_mends_it() {
    let Some(server) = server("a_table_that_does_not_fit_is_told_with_what_mends_it") else { return };
    let batch = results(0..20, 2);
    execute(
        &server,
        "CREATE TABLE fruits (path text, label text, label_index integer, cluster text, distance double precision, \
         pc_1 double precision, pc_3 double precision, noted_at timestamptz DEFAULT now()); \
         INSERT INTO fruits (path, cluster) VALUES ('\\N', '7')",
    )
    .await;
    let error = export(&server, &to_table("fruits"), &batch).await.unwrap_err();
    let ExportError::TableMismatch { differences, mend, .. } = &error else { panic!("{error}") };
    assert_eq!(
        *differences,
        [
            "column `cluster` is text and not integer",
            "column `pc_2` is missing",
            "column `pc_3` is not in the results and has no default",
            "column `path` is neither primary key nor unique",
        ]
    );
    // What is told is what helps.
    let (_, statements) = mend.split_once('\n').unwrap();
    assert!(
        statements.contains("-- ALTER TABLE \"public\".\"fruits\" DROP COLUMN \"pc_3\";"),
        "{statements}"
    );
    execute(&server, statements).await;
    let error = export(&server, &to_table("fruits"), &batch).await.unwrap_err().to_string();
    assert!(error.contains("doesn't fit these results: column `pc_3` is not in the results"), "{error}");
    execute(&server, "ALTER TABLE fruits DROP COLUMN pc_3; UPDATE fruits SET noted_at = '2020-02-02'").await;
    let summary = export(&server, &to_table("fruits"), &batch).await.unwrap();
    assert_eq!((summary.created_table, summary.changes), (false, Some(changes(19, 1, 0))));
    // The table's own column keeps its value where the row was there, and has its default where it wasn't.
    let noted = "SELECT count(*) FROM fruits GROUP BY noted_at < '2021-01-01' ORDER BY count";
    assert_eq!(lines(&server, noted).await, ["(1)", "(19)"]);
    assert_eq!(lines(&server, "SELECT cluster FROM fruits WHERE path = '\\N'").await, ["(3)"]);
}

#[tokio::test]
async fn a_view_is_no_table() {
    let Some(server) = server("a_view_is_no_table") else { return };
    execute(&server, "CREATE VIEW fruits AS SELECT 'x' AS path").await;
    let error = export(&server, &to_table("fruits"), &results(0..5, 1)).await.unwrap_err();
    assert!(matches!(error, ExportError::TableMismatch { .. }), "{error:?}");
}

#[tokio::test]
async fn tables_are_found_by_schema_and_by_search_path() {
    let Some(server) = server("tables_are_found_by_schema_and_by_search_path") else { return };
    let batch = results(0..20, 1);
    let error = export(&server, &to_table("shop.fruits"), &batch).await.unwrap_err();
    assert!(matches!(error, ExportError::NotFound { .. }), "{error:?}");
    execute(&server, "CREATE SCHEMA shop").await;
    assert!(export(&server, &to_table("shop.fruits"), &batch).await.unwrap().created_table);
    // The same table by another way, with a name that the export itself uses for another.
    let elsewhere = target(&format!("{}?options=-csearch_path%3Dshop", server.url("postgres")));
    let summary = export_to(&elsewhere, &to_table("fruits"), &batch).await.unwrap();
    assert_eq!((summary.created_table, summary.changes), (false, Some(changes(0, 0, 20))));
    for created_table in [true, false] {
        let summary = export_to(&elsewhere, &to_table("fruitbatch_incoming"), &batch).await;
        assert_eq!(summary.unwrap().created_table, created_table);
    }
    assert_holds(&server, "shop.fruitbatch_incoming", &batch).await;
    // By the socket instead of the port.
    let by_socket = format!(
        "postgres:///postgres?host={}&port={}&user=postgres",
        server.socket_folder().display(),
        server.port()
    );
    let summary = export_to(&target(&by_socket), &to_table("shop.fruits"), &batch).await;
    assert_eq!(summary.unwrap().changes, Some(changes(0, 0, 20)));
}

#[tokio::test]
async fn rows_that_can_not_be_stored_are_told() {
    let Some(server) = server("rows_that_can_not_be_stored_are_told") else { return };
    let texts = |path: Vec<&str>, label: Vec<&str>| {
        let path: ArrayRef = Arc::new(StringArray::from(path));
        let label: ArrayRef = Arc::new(StringArray::from(label));
        RecordBatch::try_from_iter([("path", path), ("label", label)]).unwrap()
    };
    let error =
        export(&server, &to_table("fruits"), &texts(vec!["a", "b"], vec!["x", "y\0z"])).await.unwrap_err();
    assert!(error.to_string().contains("column `label` of `b` holds a NUL character"), "{error}");
    let error =
        export(&server, &to_table("fruits"), &texts(vec!["a", "a"], vec!["x", "y"])).await.unwrap_err();
    assert!(matches!(&error, ExportError::DuplicatePath { path } if path.contains("(a)")), "{error:?}");
    // The table that they would have created went with them.
    assert_eq!(lines(&server, "SELECT to_regclass('fruits') IS NULL").await, ["(t)"]);
}

#[tokio::test]
async fn permissions_that_lack_are_told_and_those_of_the_documentation_suffice() {
    let Some(server) = server("permissions_that_lack_are_told_and_those_of_the_documentation_suffice") else {
        return;
    };
    execute(&server, "CREATE ROLE exporter LOGIN; REVOKE ALL ON DATABASE postgres FROM PUBLIC; \
                      REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT CONNECT ON DATABASE postgres TO exporter").await;
    let batch = results(0..20, 1);
    let target = target(&server.url("exporter"));
    let export = async |options: &PostgresOptions| export_to(&target, options, &batch).await;
    let assert_denied = |outcome: Result<ExportSummary, ExportError>| {
        let error = outcome.unwrap_err();
        assert!(matches!(error, ExportError::PermissionDenied { .. }) && !error.may_pass(), "{error:?}");
        assert!(error.to_string().contains("let `exporter` have TEMPORARY"), "{error}");
    };
    assert_denied(export(&to_table("public.fruits")).await);
    execute(&server, "GRANT USAGE ON SCHEMA public TO exporter; CREATE TABLE fruits (path text PRIMARY KEY, label text, \
                      label_index integer, cluster integer, distance double precision, pc_1 double precision)").await;
    assert_denied(export(&to_table("public.fruits")).await);
    execute(
        &server,
        "GRANT TEMPORARY ON DATABASE postgres TO exporter; \
                      GRANT SELECT, INSERT, UPDATE ON fruits TO exporter",
    )
    .await;
    assert_eq!(export(&to_table("public.fruits")).await.unwrap().changes, Some(changes(20, 0, 0)));
    assert_denied(export(&pruning("public.fruits")).await);
    execute(&server, "GRANT DELETE ON fruits TO exporter").await;
    assert_eq!(export(&pruning("public.fruits")).await.unwrap().changes, Some(changes(0, 0, 20)));
    assert_denied(export(&to_table("public.others")).await);
    execute(&server, "GRANT CREATE ON SCHEMA public TO exporter").await;
    assert!(export(&to_table("public.others")).await.unwrap().created_table);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_with_its_address() {
    let test = "a_server_that_is_not_there_is_told_with_its_address";
    let export = async |url: &str| {
        export_to(&target(url), &PostgresOptions::default(), &results(0..5, 1)).await.unwrap_err()
    };
    let address = silent_address();
    let error = export(&format!("postgres://ada@{address}/fruits")).await;
    assert!(matches!(error, ExportError::Unreachable { .. }) && error.may_pass(), "{error:?}");
    assert!(error.to_string().starts_with(&format!("cannot connect to {address}: ")), "{error}");

    let Some(server) = server(test) else { return };
    let error =
        export(&server.url("postgres").replace("/postgres", "/fruits").replace("//fruits", "//postgres"))
            .await;
    assert!(error.to_string().contains("has no database `fruits`"), "{error}");
    let error = export(&format!("{}?sslmode=require", server.url("postgres"))).await;
    assert!(matches!(error, ExportError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("TLS"), "{error}");
}

/// Names the test that a child process is to play the inner part of.
const CHILD: &str = "FRUITBATCH_EXPORT_TEST_CHILD";
/// Where the child exports to.
const CHILD_URL: &str = "FRUITBATCH_EXPORT_TEST_URL";

/// Runs `test` again in a process with only this environment, since that of a process with threads can't be changed; what
/// it said.
fn run_child(test: &str, home: &Path, url: &str, environment: &[(&str, &str)]) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env_clear()
        .env("HOME", home)
        .env(CHILD, test)
        .env(CHILD_URL, url)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let shown = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success() && shown.contains("1 passed"), "{shown}");
    shown
}

/// In the child: says what became of an export, in every form.
fn say_what_became_of_an_export() {
    let outcome = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let Target::Postgres(target) = std::env::var(CHILD_URL).unwrap().parse()? else {
            panic!("another kind")
        };
        println!("{target} {target:?}");
        export_to(&target, &PostgresOptions::default(), &results(0..5, 1)).await
    });
    match outcome {
        Ok(summary) => println!("fine: {summary:?}"),
        Err(error) => println!("failed: {error} {error:?}"),
    }
}

#[test]
fn a_password_comes_from_the_environment_or_a_file_and_is_never_shown() {
    let test = "a_password_comes_from_the_environment_or_a_file_and_is_never_shown";
    if std::env::var(CHILD).is_ok_and(|child| child == test) {
        return say_what_became_of_an_export();
    }
    let access = PostgresAccess { password: Some("corr:ect horse"), certificate: None };
    let Some(server) = server_with(test, &access) else { return };
    let home = TempDir::new().unwrap();
    let url = server.url("postgres");
    let run = |environment: &[(&str, &str)]| {
        let shown = run_child(test, home.path(), &url, environment);
        assert!(!shown.contains("horse"), "{shown}");
        shown
    };
    let write = |name: &str, password: &str, mode: u32| {
        let file = home.path().join(name);
        std::fs::write(&file, format!("127.0.0.1:{}:*:postgres:{password}\n", server.port())).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        file.to_str().unwrap().to_owned()
    };

    let without = run(&[]);
    assert!(without.contains("refuses to let `postgres` in"), "{without}");
    let wrong = run(&[("PGPASSWORD", "wrong horse")]);
    assert!(wrong.contains("failed: ") && wrong.contains("Authentication {"), "{wrong}");
    assert!(run(&[("PGPASSWORD", "corr:ect horse")]).contains("fine: "));
    let file = write("passwords", "corr\\:ect horse", 0o600);
    assert!(run(&[("PGPASSFILE", &file)]).contains("fine: "));
    let file = write("readable", "corr\\:ect horse", 0o644);
    assert!(run(&[("PGPASSFILE", &file)]).contains("chmod 600"));
    write(".pgpass", "corr\\:ect horse", 0o600);
    assert!(run(&[]).contains("fine: "));
}

#[test]
fn tls_is_checked_as_the_mode_says() {
    let test = "tls_is_checked_as_the_mode_says";
    if std::env::var(CHILD).is_ok_and(|child| child == test) {
        return say_what_became_of_an_export();
    }
    let folder = TempDir::new().unwrap();
    let (ours, another) = (Authority::new(folder.path(), "ours"), Authority::new(folder.path(), "another"));
    let certificate = ours.issue("server", &["localhost"]);
    let access = PostgresAccess { password: Some("correct horse"), certificate: Some(&certificate) };
    let Some(server) = server_with(test, &access) else { return };
    let run = |host: &str, mode: &str, authority: &Authority| {
        let url = format!(
            "postgres://postgres@{host}:{}/postgres?sslmode={mode}&sslrootcert={}",
            server.port(),
            authority.file().display()
        );
        run_child(test, folder.path(), &url, &[("PGPASSWORD", "correct horse")])
    };
    assert!(run("localhost", "verify-full", &ours).contains("fine: "));
    for (host, authority) in [("localhost", &another), ("127.0.0.1", &ours)] {
        let shown = run(host, "verify-full", authority);
        assert!(shown.contains("failed: cannot connect to") && shown.contains("no TLS"), "{shown}");
    }
    assert!(run("127.0.0.1", "verify-ca", &ours).contains("fine: "));

    // The environment's mode counts where the URL says none, and one that is none is not passed over in silence.
    let url = format!("postgres://postgres@localhost:{}/postgres", server.port());
    let run = |mode: &str| {
        let environment = [("PGPASSWORD", "correct horse"), ("PGSSLMODE", mode)];
        run_child(test, folder.path(), &url, &environment)
    };
    assert!(run("require").contains("fine: "));
    // The system's authorities don't know it.
    assert!(run("verify-full").contains("no TLS"));
    assert!(run("verify_full").contains("failed: the mode of TLS"));
}
