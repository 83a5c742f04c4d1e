//! Listening, and serving gRPC and HTTP on one port.

use std::net::SocketAddr;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;

use crate::error::ClusterError;

/// Connections that may wait to be accepted: what tokio's own `bind` takes.
const CONNECTION_BACKLOG: u32 = 1024;

/// Listens at `address`; port 0 takes any that is free.
///
/// Connections inherit the listener's `TCP_NODELAY`, which the servers would not set themselves: without it every answer
/// in two parts, and so every fetched result, waits 40 ms for the other side's delayed acknowledgement.
pub(crate) fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ClusterError> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_nodelay(true)?;
        // A server that is started anew must not wait for the last one's connections to be forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(CONNECTION_BACKLOG)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    listen().map_err(|error: std::io::Error| ClusterError::Bind {
        address: address.to_string(),
        problem: error.to_string(),
    })
}

/// Serves `router` for as long as `threads` live.
pub(crate) fn serve(threads: &Handle, listener: TcpListener, router: Router) {
    // Whatever isn't there is not found, also for those who don't speak gRPC.
    let router = router.fallback(|| async { StatusCode::NOT_FOUND });
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    threads.spawn(async move {
        // Errors of single connections end these; the server itself goes on for ever.
        if let Err(error) = axum::serve(listener, service).await {
            tracing::error!(%error, "a server stopped");
        }
    });
}

/// `/healthz`, and `/readyz`, which says `not_ready` unless `is_ready` holds.
pub(crate) fn health_routes(
    is_ready: impl Fn() -> bool + Clone + Send + Sync + 'static,
    not_ready: &'static str,
) -> Router {
    let ready = move || async move {
        if is_ready() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, not_ready) }
    };
    Router::new().route("/healthz", get(|| async { "alive\n" })).route("/readyz", get(ready))
}
