//! Connections: listening, TLS on both sides, health checks and metrics.
//!
//! What every server and every client of fruitbatch has in common, whatever it serves:
//! - [`listen`] and [`serve`] put an axum router (gRPC services are routers too) on a port, with or without TLS.
//! - [`TlsFiles`] names certificates and keys. A server takes new ones while it serves ([`ServerTls`]), a client reads
//!   them for each connection ([`ClientTls`]), so that nothing has to be restarted when they are renewed.
//! - [`health_routes`] and [`metrics_routes`] are what orchestrators and Prometheus ask for; [`check_health`] asks.
//!
//! # Mutual TLS
//! A server that was given the clients' authority ([`TlsFiles::client_ca`]) answers nobody without a certificate signed by
//! it, but for `/healthz` and `/readyz`: whoever only wants to know whether it lives (a kubelet, a load balancer) has
//! none.
//!
//! # Example
//! ```
//! use axum::Router;
//! use fruitbatch_net::{Connector, check_health, health_routes, listen, serve};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (listener, address) = listen("127.0.0.1:0".parse()?)?;
//! let router = Router::new().merge(health_routes(|| false, "not yet\n"));
//! serve(&tokio::runtime::Handle::current(), listener, router, None);
//!
//! let client = Connector::default();
//! check_health(&client, &address.to_string(), "/healthz").await?;
//! assert!(check_health(&client, &address.to_string(), "/readyz").await.is_err());
//! # Ok(())
//! # }
//! ```

mod client;
mod health;
mod listen;
mod metrics;
mod tls;

pub use client::{ClientTls, ConnectError, Connector, root_of};
pub use health::{HealthError, check_health, health_routes};
pub use listen::{listen, serve};
pub use metrics::{
    Labels, ProcessMetrics, encode_counter, encode_counters, encode_gauge, encode_gauges, metrics_routes,
};
pub use tls::{ServerTls, TlsError, TlsFiles};
