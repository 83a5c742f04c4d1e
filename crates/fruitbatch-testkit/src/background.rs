//! Servers in this process that go on by themselves while a test does something else.

use std::net::Ipv4Addr;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A server on a thread of its own; dropping it stops it.
pub(crate) struct Background {
    endpoint_url: String,
    runtime: Option<Runtime>,
}

impl Background {
    /// Starts what `serve` makes of a free port of 127.0.0.1.
    pub(crate) fn start<S>(serve: impl FnOnce(TcpListener) -> S) -> Self
    where
        S: Future<Output: Send + 'static> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a thread for a server of this test");
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        runtime.spawn(serve(listener));
        Self { endpoint_url: format!("http://{address}"), runtime: Some(runtime) }
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn endpoint_url(&self) -> &str {
        &self.endpoint_url
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Also where it is dropped inside of another runtime.
            runtime.shutdown_background();
        }
    }
}
