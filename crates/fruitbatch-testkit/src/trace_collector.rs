//! An OpenTelemetry collector in this process: what it was sent is there to be looked at.

use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, async_trait};

use crate::background::Background;

/// A span, as far as tests ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The service that sent it: `service.name`.
    pub service: String,
    /// What it is called.
    pub name: String,
    /// The trace it belongs to.
    pub trace_id: Vec<u8>,
    /// Its own number.
    pub span_id: Vec<u8>,
    /// The span it happened in; empty at the root of its trace.
    pub parent_span_id: Vec<u8>,
}

/// A running collector of traces over gRPC; dropping it stops it.
pub struct TraceCollector {
    received: Received,
    server: Background,
}

#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<Span>>>);

impl TraceCollector {
    /// Starts one on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// If no port or no thread can be had.
    pub fn start() -> Self {
        let received = Received::default();
        let service = TraceServiceServer::new(received.clone());
        let server = Background::start(|listener| {
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener))
        });
        Self { received, server }
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn endpoint_url(&self) -> &str {
        self.server.endpoint_url()
    }

    /// The spans it was sent so far, in the order in which they came.
    pub fn spans(&self) -> Vec<Span> {
        self.received.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut received = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for of_service in request.into_inner().resource_spans {
            let service = service_name(of_service.resource.as_ref());
            let spans = of_service.scope_spans.into_iter().flat_map(|scope| scope.spans);
            received.extend(spans.map(|span| Span {
                service: service.clone(),
                name: span.name,
                trace_id: span.trace_id,
                span_id: span.span_id,
                parent_span_id: span.parent_span_id,
            }));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn service_name(resource: Option<&Resource>) -> String {
    let attributes = resource.map(|resource| resource.attributes.as_slice()).unwrap_or_default();
    let value = attributes.iter().find(|attribute| attribute.key == "service.name");
    match value.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(name)) => name.clone(),
        _ => String::new(),
    }
}
