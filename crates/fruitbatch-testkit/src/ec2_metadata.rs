//! EC2's instance metadata service (IMDSv2) in this process: what it says is up to the test.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder as ConnectionBuilder;
use tokio::net::TcpListener;

use crate::background::Background;

const TOKEN: &str = "a-session-token";
const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";
const TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";

type Items = Arc<Mutex<BTreeMap<String, String>>>;

/// A running service; dropping it stops it. It hands out a token and, to those who show it, its items.
pub struct Ec2Metadata {
    items: Items,
    server: Background,
}

impl Ec2Metadata {
    /// Starts one without any item, on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// If no port or no thread can be had.
    pub fn start() -> Self {
        let items = Items::default();
        let server = Background::start(|listener| serve(listener, Arc::clone(&items)));
        Self { items, server }
    }

    /// For `AWS_EC2_METADATA_SERVICE_ENDPOINT`.
    pub fn endpoint_url(&self) -> &str {
        self.server.endpoint_url()
    }

    /// From now on there is such an item: `/latest/meta-data/...`.
    pub fn set(&self, path: &str, text: &str) {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        items.insert(path.to_owned(), text.to_owned());
    }
}

async fn serve(listener: TcpListener, items: Items) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let items = Arc::clone(&items);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(&request, &items);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = ConnectionBuilder::new(TokioExecutor::new());
            // A client that goes away is its own business.
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn answer(request: &Request<Incoming>, items: &Items) -> Response<String> {
    let status = |status: StatusCode| {
        let mut response = Response::new(String::new());
        *response.status_mut() = status;
        response
    };
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    match (request.method(), request.uri().path()) {
        (&Method::PUT, "/latest/api/token") => match header(TTL_HEADER) {
            Some(ttl) => Response::builder()
                .header(TTL_HEADER, ttl)
                .body(TOKEN.to_owned())
                .unwrap_or_else(|_| status(StatusCode::BAD_REQUEST)),
            None => status(StatusCode::BAD_REQUEST),
        },
        (&Method::GET, _) if header(TOKEN_HEADER) != Some(TOKEN) => status(StatusCode::UNAUTHORIZED),
        (&Method::GET, path) => match items.lock().unwrap_or_else(PoisonError::into_inner).get(path) {
            Some(text) => Response::new(text.clone()),
            None => status(StatusCode::NOT_FOUND),
        },
        _ => status(StatusCode::METHOD_NOT_ALLOWED),
    }
}
