//! All functions that a query may call beside DataFusion's own.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use fruitbatch_vision::{ModelSessions, embed_functions};

use crate::cosine::CosineSimilarity;
use crate::fitted::{FittedFunction, Question, ReadyModels};

/// The functions, ready to be registered: the same on a driver, a scheduler and an executor. `models` carry `embed` out,
/// where it is invoked.
pub fn sql_functions(models: Arc<ModelSessions>) -> Vec<Arc<ScalarUDF>> {
    let mut functions = embed_functions(models);
    functions.push(Arc::new(ScalarUDF::new_from_impl(CosineSimilarity::new())));
    let ready = Arc::new(ReadyModels::default());
    functions.extend(Question::ALL.map(|question| {
        Arc::new(ScalarUDF::new_from_impl(FittedFunction::new(question, Arc::clone(&ready))))
    }));
    functions
}
