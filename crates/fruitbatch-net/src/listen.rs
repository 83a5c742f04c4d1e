//! Listening, and serving gRPC and HTTP on one port.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::http::StatusCode;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;

use crate::tls::{CertificateCheck, ServerTls};

/// Connections that may wait to be accepted: what tokio's own `bind` takes.
const CONNECTION_BACKLOG: u32 = 1024;

/// Listens at `address`; port 0 takes any that is free. Returns where it listens.
///
/// Connections inherit the listener's `TCP_NODELAY`, which the servers would not set themselves: without it every answer
/// in two parts, and so every fetched result, waits 40 ms for the other side's delayed acknowledgement.
///
/// # Errors
/// If the port can't be had. Must be called inside a tokio runtime.
pub fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_nodelay(true)?;
    // A server that is started anew must not wait for the last one's connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(CONNECTION_BACKLOG)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Serves `router` for as long as `threads` live, HTTP/1.1 and HTTP/2, with TLS if there is any.
pub fn serve(threads: &Handle, listener: TcpListener, router: Router, tls: Option<ServerTls>) {
    // Whatever isn't there is not found, also for those who don't speak gRPC.
    let router = router.fallback(|| async { StatusCode::NOT_FOUND });
    let Some(tls) = tls else {
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        threads.spawn(async move {
            // Errors of single connections end these; the server itself goes on for ever.
            if let Err(error) = axum::serve(listener, service).await {
                tracing::error!(%error, "a server stopped");
            }
        });
        return;
    };
    let router = if tls.wants_client_certificates() {
        router.layer(axum::middleware::from_fn(crate::tls::require_certificate))
    } else {
        router
    };
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    threads.spawn(tls.clone().keep_up_to_date());
    threads.spawn(async move {
        let serving = async {
            let server = axum_server::from_tcp(listener.into_std()?)?;
            server.acceptor(CertificateCheck::new(&tls)).serve(service).await
        };
        if let Err(error) = serving.await {
            tracing::error!(%error, "a server stopped");
        }
    });
}
