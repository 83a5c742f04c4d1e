//! The SQL function `executor_host()`: the name of the machine on which a row is made.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use sysinfo::System;

/// Its name in queries. Every session of a cluster has it.
pub const EXECUTOR_HOST: &str = "executor_host";

/// The function, the same on driver, scheduler and executors.
pub(crate) fn executor_host() -> Arc<ScalarUDF> {
    // Volatile: it must be called where the rows are, not once where the query is planned.
    let signature = Signature::nullary(Volatility::Volatile);
    Arc::new(ScalarUDF::new_from_impl(ExecutorHost { signature }))
}

/// The name of this machine, for people.
pub(crate) fn host_name() -> String {
    System::host_name().unwrap_or_else(|| "unknown".to_owned())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ExecutorHost {
    signature: Signature,
}

impl ScalarUDFImpl for ExecutorHost {
    fn name(&self) -> &'static str {
        EXECUTOR_HOST
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(host_name()))))
    }
}
