//! Whether a server lives, and whether it is of use.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use tonic::transport::Channel;

use crate::client::{ConnectError, Connector};

/// The path that answers as soon as the server does.
pub(crate) const LIVE: &str = "/healthz";
/// The path that answers with 200 once the server is of use.
pub(crate) const READY: &str = "/readyz";

/// `/healthz`, and `/readyz`, which says `not_ready` with 503 unless `is_ready` holds.
pub fn health_routes(
    is_ready: impl Fn() -> bool + Clone + Send + Sync + 'static,
    not_ready: &'static str,
) -> Router {
    let ready = move || async move {
        if is_ready() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, not_ready) }
    };
    Router::new().route(LIVE, get(|| async { "alive\n" })).route(READY, get(ready))
}

/// Why a server isn't healthy.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// It can't be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke before there was an answer.
    #[error("`{address}` doesn't answer: {problem}")]
    NoAnswer {
        /// Who was asked.
        address: String,
        /// What went wrong.
        problem: String,
    },
    /// It answered with something else than 200.
    #[error("`{address}{path}` answers {status}")]
    NotHealthy {
        /// Who was asked.
        address: String,
        /// What was asked for.
        path: String,
        /// The answer.
        status: StatusCode,
    },
}

/// Asks the server at `address` (`HOST:PORT`) for `path`; it is healthy if it answers with 200.
///
/// # Errors
/// If it can't be reached, breaks off, or gives another answer.
pub async fn check_health(connector: &Connector, address: &str, path: &str) -> Result<(), HealthError> {
    let mut channel: Channel = connector.connect(address).await?;
    let no_answer = |problem: String| HealthError::NoAnswer { address: address.to_owned(), problem };
    let request = Request::get(path)
        .body(tonic::body::Body::new(Body::empty()))
        .map_err(|error| no_answer(error.to_string()))?;
    std::future::poll_fn(|context| tonic::client::GrpcService::poll_ready(&mut channel, context))
        .await
        .map_err(|error| no_answer(error.to_string()))?;
    let answer = tonic::client::GrpcService::call(&mut channel, request)
        .await
        .map_err(|error| no_answer(error.to_string()))?;
    match answer.status() {
        StatusCode::OK => Ok(()),
        status => Err(HealthError::NotHealthy { address: address.to_owned(), path: path.to_owned(), status }),
    }
}
