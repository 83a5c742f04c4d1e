//! What plan nodes of our own have in common, and DataFusion leaves to each of them.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::{Result, plan_err};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::{ExecutionPlan, Partitioning, PlanProperties};

/// Of a node that hands rows on as they come, in no order that it would promise, and comes to an end.
pub fn streaming_properties(schema: SchemaRef, partitioning: Partitioning) -> Arc<PlanProperties> {
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(schema),
        partitioning,
        EmissionType::Incremental,
        Boundedness::Bounded,
    ))
}

/// The input out of what a node with one input is given as its children.
///
/// # Errors
/// If these are none or several.
pub fn only_input(
    node: &dyn ExecutionPlan,
    mut children: Vec<Arc<dyn ExecutionPlan>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    if let (Some(input), 0) = (children.pop(), children.len()) {
        Ok(input)
    } else {
        plan_err!("{} has exactly one input", node.name())
    }
}
