//! What a query names, looked up: tables for its table functions, models for its functions.
//!
//! Planning can't wait for storage, so everything is looked up before, from the names that stand in the query's text.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Expr, ExprSchemable};
use fruitbatch_pipeline::{LabelSource, split_of};
use fruitbatch_scan::{ImageRow, ImageTable, PartFiles, ScanOptions, listing_parts};
use fruitbatch_storage::{ListOptions, Listing, Storage, StorageOptions};
use fruitbatch_vision::{Catalogue, EmbedSpec};

use crate::error::SqlError;
use crate::fitted::Question;
use crate::query::{Query, TableFunction};
use crate::run_output::{FittedModel, RunOutput, location};
use crate::scratch::Scratch;
use crate::vectors::width_of;

/// The most photos whose listing travels with the plan, some 100 bytes each; a longer one is written to Parquet files, and
/// their names travel.
pub const LISTED_IN_PLAN: usize = 10_000;
/// Photos a file of such a listing, which are one task.
const ROWS_PER_LISTING_PART: NonZeroUsize = NonZeroUsize::new(512).expect("512 is not 0");

/// How places are reached: by this process and by executors.
pub(crate) struct Access<'a> {
    pub(crate) storage: &'a Storage,
    pub(crate) executors: &'a StorageOptions,
    /// Where long listings can be written; none if there is no such place.
    pub(crate) scratch: Option<&'a Scratch>,
}

/// Everything a query names.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    tables: BTreeMap<(TableFunction, String), Arc<dyn TableProvider>>,
    models: BTreeMap<String, FittedModel>,
}

impl Resolved {
    pub(crate) async fn of(query: &Query, access: &Access<'_>) -> std::result::Result<Self, SqlError> {
        let mut resolved = Self::default();
        let mut outputs: BTreeMap<String, RunOutput> = BTreeMap::new();
        for (function, place) in &query.tables {
            let table: Arc<dyn TableProvider> = match function {
                TableFunction::Images => Arc::new(images(place, access).await?),
                TableFunction::Features => {
                    let output = output(&mut outputs, place, access).await?;
                    Arc::new(output.features(access.executors).await?)
                }
                TableFunction::Results => {
                    let output = output(&mut outputs, place, access).await?;
                    Arc::new(output.results(access.executors).await?)
                }
            };
            resolved.tables.insert((*function, place.clone()), table);
        }
        for place in &query.fitted {
            let model = output(&mut outputs, place, access).await?.model().await?;
            resolved.models.insert(place.clone(), model);
        }
        Ok(resolved)
    }
}

async fn output<'a>(
    outputs: &'a mut BTreeMap<String, RunOutput>,
    place: &str,
    access: &Access<'_>,
) -> std::result::Result<&'a RunOutput, SqlError> {
    if !outputs.contains_key(place) {
        outputs.insert(place.to_owned(), RunOutput::open(access.storage, place).await?);
    }
    Ok(&outputs[place])
}

/// The photos under a place, with the labels and splits of their folders.
async fn images(place: &str, access: &Access<'_>) -> std::result::Result<ImageTable, SqlError> {
    let Listing { root, photos, .. } =
        access.storage.list(&location(place)?, &ListOptions::default()).await?;
    let photos: Vec<ImageRow> = photos
        .into_iter()
        .map(|photo| ImageRow {
            label: LabelSource::Parent.label_of(&photo.path),
            split: split_of(&photo.path).map(str::to_owned),
            ..ImageRow::from(photo)
        })
        .collect();
    let (storage, options) = (access.executors.clone(), ScanOptions::default());
    if photos.len() <= LISTED_IN_PLAN {
        return Ok(ImageTable::new(root, storage, photos, options));
    }
    let Some(scratch) = access.scratch else {
        return Err(SqlError::NoPlaceForListing {
            place: place.to_owned(),
            photos: photos.len(),
            most: LISTED_IN_PLAN,
        });
    };
    let mut folder = scratch.folder().await?;
    let mut parts = Vec::with_capacity(photos.len().div_ceil(ROWS_PER_LISTING_PART.get()));
    for part in listing_parts(&photos, ROWS_PER_LISTING_PART) {
        let (part, bytes) = part.map_err(|error| SqlError::Plan { problem: error.to_string() })?;
        folder.put(&part.file, bytes).await?;
        parts.push(part);
    }
    let listing =
        PartFiles { root: folder.root().clone(), storage: folder.storage().clone(), parts: parts.into() };
    Ok(ImageTable::listed_in_parts(root, storage, listing, options))
}

/// A table function whose tables have been looked up.
pub(crate) struct ResolvedTables {
    pub(crate) function: TableFunction,
    pub(crate) resolved: Arc<Resolved>,
}

impl fmt::Debug for ResolvedTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.function.name())
    }
}

impl TableFunctionImpl for ResolvedTables {
    fn call_with_args(&self, arguments: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let table = match arguments.exprs() {
            [argument] => literal_text(argument)
                .and_then(|place| self.resolved.tables.get(&(self.function, place.to_owned()))),
            _ => None,
        };
        if let Some(table) = table {
            Ok(Arc::clone(table))
        } else {
            plan_err!("{}", self.function.needs_a_place())
        }
    }
}

/// Puts into the arguments of functions what executors need to know.
#[derive(Debug)]
pub(crate) struct ResolvedFunctions {
    pub(crate) resolved: Arc<Resolved>,
    pub(crate) catalogue: Catalogue,
    /// The third argument of `embed`: where a fleet's executors get models.
    pub(crate) model_store: Option<String>,
    /// Whether the plan is all that is wanted: people read it, and can do without models in it.
    pub(crate) is_explained: bool,
}

impl FunctionRewrite for ResolvedFunctions {
    fn name(&self) -> &'static str {
        "places that a query names"
    }

    fn rewrite(
        &self,
        expression: Expr,
        schema: &DFSchema,
        _config: &ConfigOptions,
    ) -> Result<Transformed<Expr>> {
        let Expr::ScalarFunction(mut function) = expression else { return Ok(Transformed::no(expression)) };
        if let ("embed" | "embed_or_failure", Some(store), 2) =
            (function.name(), &self.model_store, function.args.len())
        {
            function.args.push(Expr::Literal(ScalarValue::Utf8(Some(store.clone())), None));
            return Ok(Transformed::yes(Expr::ScalarFunction(function)));
        }
        let question = Question::of_function(function.name());
        let model =
            function.args.get(1).and_then(literal_text).and_then(|place| self.resolved.models.get(place));
        let (Some(question), Some(model)) = (question, model) else {
            return Ok(Transformed::no(Expr::ScalarFunction(function)));
        };
        self.check(question, &function, model, schema)?;
        if self.is_explained {
            return Ok(Transformed::no(Expr::ScalarFunction(function)));
        }
        function.args[1] = Expr::Literal(ScalarValue::Binary(Some(model.bytes.clone())), None);
        Ok(Transformed::yes(Expr::ScalarFunction(function)))
    }
}

impl ResolvedFunctions {
    /// Whether the model may be asked about these features, as far as a plan tells.
    fn check(
        &self,
        question: Question,
        function: &ScalarFunction,
        model: &FittedModel,
        schema: &DFSchema,
    ) -> Result<()> {
        let FittedModel { place, width, .. } = model;
        if question == Question::NearestLabel && !model.has_labels {
            return plan_err!("`{}`: the run on `{place}` had no labels", question.function());
        }
        let features = &function.args[0];
        // First what can be told by name: networks of one width are many.
        if let Expr::ScalarFunction(embed) = features
            && embed.name() == "embed"
            && let Some(literal) = embed.args.get(1).and_then(literal_text)
            && let Ok(asked) = EmbedSpec::from_literal(&self.catalogue, literal)
            && let Some(Ok(fitted)) = model.embedding.as_deref().map(str::parse::<EmbedSpec>)
            && !are_alike(&asked, &fitted)
        {
            return plan_err!(
                "the clusters of `{place}` were fitted on other features than `embed(content, '{literal}')` gives; \
                 these are: embed(content, '{fitted}')"
            );
        }
        match width_of(&features.get_type(schema)?) {
            Some(found) if found != *width => plan_err!(
                "the clusters of `{place}` were fitted on features of width {width}, and `{}` is asked about some of width \
                 {found}: use the features of that run, or those of its model",
                question.function()
            ),
            _ => Ok(()),
        }
    }
}

/// Whether two specs give features that can be compared: all but the kernels, which differ in last bits.
fn are_alike(a: &EmbedSpec, b: &EmbedSpec) -> bool {
    a.digest == b.digest
        && a.width == b.width
        && a.image_size == b.image_size
        && a.crop == b.crop
        && a.resize == b.resize
        && a.max_side == b.max_side
        && a.pooling == b.pooling
        && a.preprocessing == b.preprocessing
}

fn literal_text(argument: &Expr) -> Option<&str> {
    match argument {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}
