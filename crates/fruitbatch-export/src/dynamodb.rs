//! Rows into a table of DynamoDB, 25 a request.

use std::collections::HashSet;
use std::ops::Range;
use std::pin::pin;
use std::time::Duration;

use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use aws_config::{Region, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, DeleteRequest, KeySchemaElement, KeyType, PutRequest,
    ScalarAttributeType, TableDescription, TableStatus, WriteRequest,
};
use backon::{BackoffBuilder, ExponentialBuilder};
use futures::{Stream, StreamExt, TryStreamExt, stream};

use crate::columns::{Columns, KEY, Rows};
use crate::dynamodb_failure::DynamoDbPlace;
use crate::dynamodb_item::item;
use crate::error::ExportError;
use crate::summary::ExportSummary;
use crate::target::DynamoDbTarget;

/// What BatchWriteItem takes at most.
const REQUEST_ROWS: usize = 25;
/// Requests on their way at a time.
const CONCURRENT_REQUESTS: usize = 8;
/// One attempt of a request; DynamoDB answers in milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// What `aws-config` gives if neither environment nor profile say anything.
const SDK_DEFAULT_MAX_ATTEMPTS: u32 = 3;
/// Of a request whose rows the table has no capacity for: with the waits between, half a minute.
const MAX_ATTEMPTS: u32 = 10;
/// A new table is there within seconds; so many looks take some four minutes.
const CREATION_LOOKS: usize = 50;
/// What servers other than AWS's are asked for where no region is named; they don't mind which.
const REGION_OF_OTHER_SERVERS: &str = "us-east-1";

/// How results go to DynamoDB.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DynamoDbOptions {
    /// Create the table if it isn't there: with `path` as its key, billed by the request.
    pub create_table: bool,
    /// Remove the items of the table whose paths are not in the results. Without it they stay.
    pub prune: bool,
}

/// Makes the table hold these rows as items, keyed by `path`: an item of the same path is replaced. There are no
/// transactions of this size in DynamoDB: an export that ends before its end has written some of the rows, and doing it
/// again completes it.
///
/// Texts are `S`, numbers `N`, truths `BOOL`, and nulls are left out. Floats come back from their `N` with the same bits;
/// those that `N` can't hold (NaN, infinities, magnitudes below 1e-130 or from 1e126) are an `S`: `NaN`, `inf`, `-inf`, or
/// the number.
///
/// Credentials, retries and the HTTP client are those of `sdk_config`, as are region and endpoint unless the target says
/// them. What the server leaves undone of a request is sent again after growing and jittered waits, as often as the
/// configuration of retries says, or ten times if it says nothing.
///
/// `progress` is called with the number of rows that were written so far.
///
/// Uses memory for one batch, for 200 rows as items, and with [`prune`](DynamoDbOptions::prune) for all paths.
///
/// # Errors
/// If the columns can't be stored, a path occurs twice within a request, the server can't be reached or refuses, or the
/// table isn't there or has another key than the text `path`.
pub async fn export_to_dynamodb(
    target: &DynamoDbTarget,
    sdk_config: &SdkConfig,
    options: &DynamoDbOptions,
    schema: &Schema,
    batches: impl Stream<Item = Result<RecordBatch, ArrowError>> + Send,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<ExportSummary, ExportError> {
    let columns = Columns::of(schema)?;
    let table = Table::of(target, sdk_config)?;
    let created_table = table.prepare(options.create_table).await?;
    let mut paths = options.prune.then(HashSet::new);
    let rows = table.write_rows(&columns, batches, paths.as_mut(), progress).await?;
    let pruned = match &paths {
        Some(paths) => table.remove_others(paths).await?,
        None => 0,
    };
    Ok(ExportSummary { rows, created_table, changes: None, pruned })
}

struct Table {
    client: Client,
    /// How often a request is sent at most.
    attempts: u32,
    name: String,
    place: DynamoDbPlace,
}

impl Table {
    fn of(target: &DynamoDbTarget, sdk_config: &SdkConfig) -> Result<Self, ExportError> {
        let endpoint_url = target.endpoint_url().or(sdk_config.endpoint_url());
        let region = match (target.region(), sdk_config.region(), endpoint_url) {
            (Some(region), _, _) => Region::new(region.to_owned()),
            (None, Some(region), _) => region.clone(),
            (None, None, Some(_)) => Region::from_static(REGION_OF_OTHER_SERVERS),
            (None, None, None) => {
                return Err(ExportError::Unreachable {
                    server: "DynamoDB".to_owned(),
                    problem: "no region is named".to_owned(),
                    next_step: "set AWS_REGION, or write `dynamodb://TABLE?region=REGION`".to_owned(),
                });
            }
        };
        let server = match endpoint_url {
            Some(endpoint_url) => endpoint_url.to_owned(),
            None => format!("DynamoDB in {region}"),
        };
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .build();
        let retries = sdk_config.retry_config().cloned().unwrap_or_else(RetryConfig::standard);
        let attempts = match retries.max_attempts() {
            SDK_DEFAULT_MAX_ATTEMPTS => MAX_ATTEMPTS,
            configured => configured,
        };
        let mut client_config = aws_sdk_dynamodb::config::Builder::from(sdk_config)
            .region(region)
            .timeout_config(timeouts)
            .retry_config(retries.with_max_attempts(attempts));
        if let Some(endpoint_url) = target.endpoint_url() {
            client_config = client_config.endpoint_url(endpoint_url);
        }
        let name = target.table().to_owned();
        let place = DynamoDbPlace { server, table: name.clone() };
        Ok(Self { client: Client::from_conf(client_config.build()), attempts, name, place })
    }

    /// Makes sure that the table is there and takes these rows; whether it had to be created.
    async fn prepare(&self, create: bool) -> Result<bool, ExportError> {
        let description = self.describe().await?;
        let is_new = description.is_none();
        if is_new && create {
            self.create().await?;
        }
        let mut description = description;
        let mut waits = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(250))
            .with_max_delay(Duration::from_secs(5))
            .with_max_times(CREATION_LOOKS)
            .build();
        loop {
            match description.as_ref().map(TableDescription::table_status) {
                Some(Some(TableStatus::Active | TableStatus::Updating)) => break,
                Some(Some(TableStatus::Creating)) => {}
                Some(status) => {
                    let status = status.map_or("unknown", TableStatus::as_str);
                    return Err(self.refused(format!("the status of table `{}` is {status}", self.name)));
                }
                // A table that was just created may not be known everywhere.
                None if is_new && create => {}
                None => return Err(self.place.no_table()),
            }
            let Some(wait) = waits.next() else {
                return Err(self.refused(format!("table `{}` is still being created", self.name)));
            };
            tokio::time::sleep(wait).await;
            description = self.describe().await?;
        }
        match description.and_then(|description| self.mismatch(&description)) {
            Some(mismatch) => Err(mismatch),
            None => Ok(is_new),
        }
    }

    async fn describe(&self) -> Result<Option<TableDescription>, ExportError> {
        // A person waits for the failure of the first request: fewer attempts.
        let attempts = SDK_DEFAULT_MAX_ATTEMPTS.min(self.attempts);
        let impatient = aws_sdk_dynamodb::config::Builder::new()
            .retry_config(RetryConfig::standard().with_max_attempts(attempts));
        let request = self.client.describe_table().table_name(&self.name);
        match request.customize().config_override(impatient).send().await {
            Ok(answer) => Ok(answer.table),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(DescribeTableError::is_resource_not_found_exception) =>
            {
                Ok(None)
            }
            Err(error) => Err(self.place.failed(&error)),
        }
    }

    async fn create(&self) -> Result<(), ExportError> {
        let key = KeySchemaElement::builder().attribute_name(KEY).key_type(KeyType::Hash).build();
        let definition =
            AttributeDefinition::builder().attribute_name(KEY).attribute_type(ScalarAttributeType::S).build();
        let request = self
            .client
            .create_table()
            .table_name(&self.name)
            .key_schema(key.expect("name and kind are given"))
            .attribute_definitions(definition.expect("name and type are given"))
            .billing_mode(BillingMode::PayPerRequest);
        request.send().await.map_err(|error| self.place.failed(&error))?;
        Ok(())
    }

    fn mismatch(&self, description: &TableDescription) -> Option<ExportError> {
        let is_path = |element: &KeySchemaElement| {
            element.attribute_name() == KEY && *element.key_type() == KeyType::Hash
        };
        let is_text = |definition: &AttributeDefinition| {
            definition.attribute_name() == KEY && *definition.attribute_type() == ScalarAttributeType::S
        };
        let fits = matches!(description.key_schema(), [element] if is_path(element))
            && description.attribute_definitions().iter().any(is_text);
        (!fits).then(|| ExportError::TableMismatch {
            table: format!("`{}`", self.name),
            differences: vec![format!("its key is not the text `{KEY}` alone")],
            mend: "name another table, or have a new one created with `--create-table`: the key of one that is there \
                   can't be changed"
                .to_owned(),
        })
    }

    /// Writes all rows and returns how many there were; `paths` takes theirs.
    async fn write_rows(
        &self,
        columns: &Columns,
        batches: impl Stream<Item = Result<RecordBatch, ArrowError>> + Send,
        mut paths: Option<&mut HashSet<String>>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<u64, ExportError> {
        let mut count = 0;
        let mut batches = pin!(batches);
        while let Some(batch) = batches.try_next().await.map_err(ExportError::Read)? {
            let rows = columns.rows(&batch)?;
            if let Some(paths) = &mut paths {
                paths.extend((0..rows.count()).map(|row| rows.key(row).to_owned()));
            }
            let starts = stream::iter((0..rows.count()).step_by(REQUEST_ROWS));
            let mut written = starts
                .map(|start| self.put(columns, &rows, start..rows.count().min(start + REQUEST_ROWS)))
                .buffer_unordered(CONCURRENT_REQUESTS);
            while let Some(rows) = written.try_next().await? {
                count += rows;
                progress(count);
            }
        }
        Ok(count)
    }

    async fn put(&self, columns: &Columns, rows: &Rows, range: Range<usize>) -> Result<u64, ExportError> {
        let mut paths = HashSet::new();
        if let Some(row) = range.clone().find(|&row| !paths.insert(rows.key(row))) {
            return Err(ExportError::DuplicatePath { path: rows.key(row).to_owned() });
        }
        let count = range.len() as u64;
        let put = |row| {
            let put = PutRequest::builder().set_item(Some(item(columns, rows, row))).build();
            WriteRequest::builder().put_request(put.expect("the item is given")).build()
        };
        self.write(range.map(put).collect()).await?;
        Ok(count)
    }

    /// Removes the items of other paths than these and returns how many there were.
    async fn remove_others(&self, paths: &HashSet<String>) -> Result<u64, ExportError> {
        let mut items = self
            .client
            .scan()
            .table_name(&self.name)
            // The word is one of DynamoDB's own.
            .projection_expression("#key")
            .expression_attribute_names("#key", KEY)
            .into_paginator()
            .items()
            .send();
        let mut count = 0;
        let mut others = Vec::new();
        while let Some(item) = items.try_next().await.map_err(|error| self.place.failed(&error))? {
            if item.get(KEY).and_then(|path| path.as_s().ok()).is_some_and(|path| paths.contains(path)) {
                continue;
            }
            let delete = DeleteRequest::builder().set_key(Some(item)).build();
            others.push(WriteRequest::builder().delete_request(delete.expect("the key is given")).build());
            count += 1;
            if others.len() == REQUEST_ROWS {
                self.write(std::mem::take(&mut others)).await?;
            }
        }
        if !others.is_empty() {
            self.write(others).await?;
        }
        Ok(count)
    }

    /// Makes one request, and others for what the server leaves undone of it.
    async fn write(&self, mut requests: Vec<WriteRequest>) -> Result<(), ExportError> {
        let mut waits = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_secs(10))
            .with_max_times(self.attempts.saturating_sub(1) as usize)
            .with_jitter()
            .build();
        loop {
            let answer = self.client.batch_write_item().request_items(&self.name, requests).send().await;
            let answer = answer.map_err(|error| self.place.failed(&error))?;
            let undone = answer.unprocessed_items.and_then(|mut tables| tables.remove(&self.name));
            requests = undone.unwrap_or_default();
            if requests.is_empty() {
                return Ok(());
            }
            let Some(wait) = waits.next() else {
                return Err(ExportError::Throttled {
                    server: self.place.server.clone(),
                    problem: format!("{} rows left undone in {} attempts", requests.len(), self.attempts),
                });
            };
            tokio::time::sleep(wait).await;
        }
    }

    fn refused(&self, problem: String) -> ExportError {
        ExportError::Refused { server: self.place.server.clone(), problem }
    }
}
