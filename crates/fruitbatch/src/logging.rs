//! Logs go to stderr; by default only warnings, so that progress and summary stay readable. Traces go to a collector, if
//! one is named the way OpenTelemetry names it.

use std::io::IsTerminal;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::cli::LogFormat;

/// What is logged unless RUST_LOG says otherwise: our own warnings, and nothing but errors of the engine, whose warnings
/// are about things that a run handles by itself.
const DEFAULT_FILTER: &str =
    "error,fruitbatch=warn,fruitbatch_pipeline=warn,fruitbatch_storage=warn,fruitbatch_vision=warn";

/// The same for a scheduler or an executor, whose logs are all that is seen of them.
const ROLE_FILTER: &str = "error,fruitbatch=info,fruitbatch_cluster=info,fruitbatch_net=info,fruitbatch_pipeline=info,fruitbatch_storage=warn,fruitbatch_vision=info";

/// Either of them makes traces be sent, as with every program that speaks OpenTelemetry.
const COLLECTOR_VARIABLES: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];

/// How long the last traces may take to be sent when the program ends.
const LAST_TRACES: Duration = Duration::from_secs(3);

/// Sends the last traces when it is dropped.
#[must_use]
pub(crate) struct Traces(Option<(SdkTracerProvider, tokio::runtime::Runtime)>);

impl Drop for Traces {
    fn drop(&mut self) {
        if let Some((provider, runtime)) = self.0.take() {
            // A collector that is gone is no reason to fail.
            let _ = provider.shutdown_with_timeout(LAST_TRACES);
            runtime.shutdown_background();
        }
    }
}

/// Starts logging, and tracing for the service `fruitbatch-COMMAND` if a collector is named.
pub(crate) fn start(format: LogFormat, command: &str) -> Traces {
    let is_role = matches!(command, "scheduler" | "executor");
    let default = if is_role { ROLE_FILTER } else { DEFAULT_FILTER };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let to_stderr = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let logs = match format {
        LogFormat::Text => to_stderr.with_filter(filter).boxed(),
        LogFormat::Json => to_stderr.json().with_filter(filter).boxed(),
    };
    let wanted = COLLECTOR_VARIABLES.iter().any(|name| std::env::var_os(name).is_some());
    let (traces, problem) = match wanted.then(|| exporting(command)).transpose() {
        Ok(traces) => (traces, None),
        Err(problem) => (None, Some(problem)),
    };
    let spans = traces.as_ref().map(|(provider, _)| {
        let ours = ["fruitbatch", "fruitbatch_cluster", "fruitbatch_pipeline"];
        let ours = Targets::new().with_targets(ours.map(|target| (target, Level::INFO)));
        tracing_opentelemetry::layer().with_tracer(provider.tracer("fruitbatch")).with_filter(ours)
    });
    tracing_subscriber::registry().with(logs).with(spans).init();
    if let Some(problem) = problem {
        tracing::warn!(%problem, "traces are not sent: the OTEL_EXPORTER_OTLP variables are no use");
    }
    Traces(traces)
}

/// The exporter takes its settings from OpenTelemetry's own environment variables.
fn exporting(command: &str) -> Result<(SdkTracerProvider, tokio::runtime::Runtime), ExporterBuildError> {
    // Its own thread: traces are sent whatever the rest of the program does.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("fruitbatch-traces")
        .enable_all()
        .build()
        .map_err(|error| ExporterBuildError::InternalFailure(error.to_string()))?;
    let exporter = {
        // Its connection lives on that thread.
        let _inside = runtime.enter();
        SpanExporter::builder().with_tonic().build()?
    };
    let mut resource = Resource::builder();
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name(format!("fruitbatch-{command}"));
    }
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build();
    Ok((provider, runtime))
}
