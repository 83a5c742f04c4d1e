//! What Prometheus asks for.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

/// `/metrics`: all that `registry` holds, in the OpenMetrics text format.
pub fn metrics_routes(registry: Registry) -> Router {
    let registry = Arc::new(registry);
    Router::new().route("/metrics", get(move || async move { exposition(&registry) }))
}

/// A label and its value.
pub type Labels = [(&'static str, &'static str); 1];

/// Tells a value that is looked up when asked for.
///
/// # Errors
/// If the text can't be written.
pub fn encode_gauge(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), fmt::Error> {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}

/// Tells values that are looked up when asked for, one for each value of a label.
///
/// # Errors
/// If the text can't be written.
pub fn encode_gauges<const N: usize>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    label: &'static str,
    values: [(&'static str, u64); N],
) -> Result<(), fmt::Error> {
    encode_by_label(encoder, name, help, label, values.map(|(of, value)| (of, ConstGauge::new(value))))
}

/// Tells a count that is kept elsewhere; `name` is without `_total`.
///
/// # Errors
/// If the text can't be written.
pub fn encode_counter(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), fmt::Error> {
    let counter = ConstCounter::new(value);
    counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)
}

/// Tells counts that are kept elsewhere, one for each value of a label; `name` is without `_total`.
///
/// # Errors
/// If the text can't be written.
pub fn encode_counters<const N: usize>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    label: &'static str,
    values: [(&'static str, u64); N],
) -> Result<(), fmt::Error> {
    encode_by_label(encoder, name, help, label, values.map(|(of, value)| (of, ConstCounter::new(value))))
}

fn encode_by_label<M: EncodeMetric, const N: usize>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    label: &'static str,
    values: [(&'static str, M); N],
) -> Result<(), fmt::Error> {
    let Some(kind) = values.first().map(|(_, value)| value.metric_type()) else { return Ok(()) };
    let mut encoder = encoder.encode_descriptor(name, help, None, kind)?;
    for (label_value, value) in values {
        let labels: Labels = [(label, label_value)];
        value.encode(encoder.encode_family(&labels)?)?;
    }
    Ok(())
}

fn exposition(registry: &Registry) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, registry) {
        Ok(()) => ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
            .into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics can't be written down");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Memory and processor time of this process, under the names that Prometheus's own clients give them:
/// `process_resident_memory_bytes` and `process_cpu_seconds_total`. Measured when asked for.
pub struct ProcessMetrics(Mutex<System>);

impl Default for ProcessMetrics {
    fn default() -> Self {
        Self(Mutex::new(System::new()))
    }
}

impl fmt::Debug for ProcessMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessMetrics").finish_non_exhaustive()
    }
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let Ok(pid) = sysinfo::get_current_pid() else { return Ok(()) };
        let what = ProcessRefreshKind::nothing().with_cpu().with_memory();
        let mut system = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, what);
        let Some(process) = system.process(pid) else { return Ok(()) };
        let memory = ConstGauge::new(i64::try_from(process.memory()).unwrap_or(i64::MAX));
        memory.encode(encoder.encode_descriptor(
            "process_resident_memory",
            "Resident memory",
            Some(&Unit::Bytes),
            memory.metric_type(),
        )?)?;
        let seconds = ConstCounter::new(process.accumulated_cpu_time() as f64 / 1000.0);
        seconds.encode(encoder.encode_descriptor(
            "process_cpu",
            "Processor time in user and system mode",
            Some(&Unit::Seconds),
            seconds.metric_type(),
        )?)
    }
}
