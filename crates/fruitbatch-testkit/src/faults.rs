//! Trouble between a client and the [S3 server](crate::s3_server): what networks, busy servers and compatible servers of
//! all kinds do to a client, on demand and by chance.
//!
//! A [`FaultPlan`] holds *rules*, which let chosen requests go wrong (this key, the second time), and *odds*, by which
//! any request goes wrong now and then. Chance depends on nothing but the seed, the operation, the bucket, the key (or
//! prefix) and how often that was asked for before: the same requests meet the same faults for the same seed, in
//! whatever order they come.
//!
//! ```
//! use fruitbatch_testkit::faults::{Fault, FaultPlan, Rule};
//! use fruitbatch_testkit::s3_server::S3Server;
//!
//! let server = S3Server::start();
//! server.set_faults(
//!     FaultPlan::new(7)
//!         // The first two requests for this photo get no answer, later ones do.
//!         .rule(Rule::new(Fault::ResetBefore).operation("GetObject").key("fruits/a.jpg").times(2))
//!         // Nobody may read these.
//!         .rule(Rule::new(Fault::AccessDenied).key_prefix("fruits/private/"))
//!         // And every tenth request of any kind is one too many.
//!         .odds(0.1, Fault::SlowDown),
//! );
//! // ... requests ...
//! for injected in server.injected_faults() {
//!     eprintln!("{injected:?}");
//! }
//! server.set_faults(FaultPlan::none());
//! ```

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use s3s::Body;
use s3s::dto::StreamingBlob;
use s3s::service::S3Service;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// 500 `InternalError`; nothing was done.
    InternalError,
    /// 503 `SlowDown`; nothing was done.
    SlowDown,
    /// 429 `TooManyRequests`, as some compatible servers say it; nothing was done.
    TooManyRequests,
    /// This status without any body, as a proxy on the way says it; nothing was done.
    StatusWithoutBody(u16),
    /// The connection is reset before anything was done.
    ResetBefore,
    /// The request is carried out, then the connection is reset: its answer is lost.
    ResetAfter,
    /// Nothing is done and nothing answered, until the client gives up.
    NoAnswer,
    /// The body comes in small pieces, with pauses; it comes whole.
    SlowBody,
    /// The body stops halfway and the connection stays open, until the client gives up.
    StalledBody,
    /// The connection is closed halfway through the body: less comes than was announced.
    TruncatedBody,
    /// The body lacks its second half, and its length is announced accordingly. Only a checksum shows it, or a length
    /// known from elsewhere.
    ShortenedBody,
    /// 400 `ExpiredToken`.
    ExpiredToken,
    /// 403 `AccessDenied`.
    AccessDenied,
    /// 403 `InvalidObjectState`, as for an object archived in Glacier.
    Archived,
    /// 400 `KMS.DisabledException`, as for an object whose key was switched off.
    KmsDisabled,
    /// 409 `ConditionalRequestConflict`; nothing was done.
    Conflict,
    /// A list page has its keys in another order, and some of them twice.
    ListOutOfOrder,
    /// The token that comes with a list page leads to the same page once more.
    ListPageRepeated,
    /// Two list pages come in each other's place.
    ListPagesSwapped,
    /// The conditions of a write or a deletion are not looked at.
    ConditionsIgnored,
}

impl Fault {
    /// The answer in place of the server's own, for faults that have one.
    fn answer(self) -> Option<(u16, Option<(&'static str, &'static str)>)> {
        Some(match self {
            Self::InternalError => {
                (500, Some(("InternalError", "We encountered an internal error. Please try again.")))
            }
            Self::SlowDown => (503, Some(("SlowDown", "Please reduce your request rate."))),
            Self::TooManyRequests => (429, Some(("TooManyRequests", "Please reduce your request rate."))),
            Self::StatusWithoutBody(status) => (status, None),
            Self::ExpiredToken => (400, Some(("ExpiredToken", "The provided token has expired."))),
            Self::AccessDenied => (403, Some(("AccessDenied", "Access Denied"))),
            Self::Archived => (
                403,
                Some(("InvalidObjectState", "The operation is not valid for the object's storage class")),
            ),
            Self::KmsDisabled => (400, Some(("KMS.DisabledException", "the key is disabled."))),
            Self::Conflict => (
                409,
                Some((
                    "ConditionalRequestConflict",
                    "The conditional request cannot succeed due to a conflicting operation against this resource.",
                )),
            ),
            _ => return None,
        })
    }
}

/// Lets chosen requests go wrong: all of them, or those of an operation, of a key, with an access key; from the first
/// one, or after some; always, or so many times.
#[derive(Debug, Clone)]
pub struct Rule {
    fault: Fault,
    operation: Option<String>,
    object: Option<String>,
    object_prefix: Option<String>,
    access_key: Option<String>,
    skip: u64,
    times: u64,
}

impl Rule {
    /// Every request meets this fault.
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            operation: None,
            object: None,
            object_prefix: None,
            access_key: None,
            skip: 0,
            times: u64::MAX,
        }
    }

    /// Only requests of this operation, by S3's name: `GetObject`, `HeadObject`, `PutObject`, `DeleteObject`,
    /// `ListObjectsV2`, `HeadBucket`.
    #[must_use]
    pub fn operation(mut self, operation: &str) -> Self {
        self.operation = Some(operation.to_owned());
        self
    }

    /// Only requests for this object, `BUCKET/KEY`; of a list request, its prefix is the key.
    #[must_use]
    pub fn key(mut self, bucket_and_key: &str) -> Self {
        self.object = Some(bucket_and_key.to_owned());
        self
    }

    /// Only requests for objects whose `BUCKET/KEY` begins so.
    #[must_use]
    pub fn key_prefix(mut self, bucket_and_prefix: &str) -> Self {
        self.object_prefix = Some(bucket_and_prefix.to_owned());
        self
    }

    /// Only requests that are signed with this access key.
    #[must_use]
    pub fn access_key(mut self, access_key: &str) -> Self {
        self.access_key = Some(access_key.to_owned());
        self
    }

    /// The first so many of the requests that it means are left alone.
    #[must_use]
    pub fn after(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    /// Only so many requests meet the fault.
    #[must_use]
    pub fn times(mut self, requests: u64) -> Self {
        self.times = requests;
        self
    }

    fn means(&self, request: &Asked) -> bool {
        self.operation.as_ref().is_none_or(|operation| operation == request.operation)
            && self.object.as_ref().is_none_or(|object| *object == request.object)
            && self.object_prefix.as_ref().is_none_or(|prefix| request.object.starts_with(prefix))
            && self.access_key.as_ref().is_none_or(|key| request.access_key.as_ref() == Some(key))
    }
}

/// Which requests go wrong, and how.
#[derive(Debug, Clone)]
pub struct FaultPlan {
    seed: u64,
    rules: Vec<Rule>,
    odds: Vec<(f64, Option<&'static str>, Fault)>,
}

impl FaultPlan {
    /// A plan without faults so far. The seed decides what [`odds`](Self::odds) mean.
    pub fn new(seed: u64) -> Self {
        Self { seed, rules: Vec::new(), odds: Vec::new() }
    }

    /// No faults at all.
    pub fn none() -> Self {
        Self::new(0)
    }

    /// Adds a rule. The first one that means a request decides, before all odds.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Every request meets this fault with this probability. Odds are looked at in the order in which they were added.
    #[must_use]
    pub fn odds(mut self, probability: f64, fault: Fault) -> Self {
        self.odds.push((probability, None, fault));
        self
    }

    /// Every request of one operation meets this fault with this probability.
    #[must_use]
    pub fn odds_of(mut self, operation: &'static str, probability: f64, fault: Fault) -> Self {
        self.odds.push((probability, Some(operation), fault));
        self
    }
}

/// A request that met a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InjectedFault {
    /// S3's name of the operation.
    pub operation: String,
    /// `BUCKET/KEY`; of a list request, its prefix is the key.
    pub object: String,
    /// How many requests of the same operation for the same object came before.
    pub occurrence: u64,
    /// What happened to it.
    pub fault: Fault,
}

/// A plan at work.
#[derive(Debug)]
pub(crate) struct Faults {
    plan: FaultPlan,
    /// How many requests each rule has meant so far.
    meant: Vec<u64>,
    asked: HashMap<(String, String), u64>,
    injected: Vec<InjectedFault>,
}

impl Default for Faults {
    fn default() -> Self {
        Self::new(FaultPlan::none())
    }
}

impl Faults {
    pub(crate) fn new(plan: FaultPlan) -> Self {
        Self { meant: vec![0; plan.rules.len()], plan, asked: HashMap::new(), injected: Vec::new() }
    }

    pub(crate) fn injected(&self) -> Vec<InjectedFault> {
        self.injected.clone()
    }

    fn decide(&mut self, request: &Asked) -> Option<Fault> {
        let times = self.asked.entry((request.operation.to_owned(), request.object.clone())).or_default();
        let occurrence = *times;
        *times += 1;
        let mut decided = None;
        for (rule, meant) in self.plan.rules.iter().zip(&mut self.meant) {
            if !rule.means(request) {
                continue;
            }
            let number = *meant;
            *meant += 1;
            if number >= rule.skip && number - rule.skip < rule.times {
                decided = Some(rule.fault);
                break;
            }
        }
        let fault = decided.or_else(|| {
            let means =
                |operation: Option<&str>| operation.is_none_or(|operation| operation == request.operation);
            let mut odds = self.plan.odds.iter().enumerate();
            odds.find(|(number, (probability, operation, _))| {
                means(*operation) && self.chance(request, occurrence, *number) < *probability
            })
            .map(|(_, (_, _, fault))| *fault)
        })?;
        self.injected.push(InjectedFault {
            operation: request.operation.to_owned(),
            object: request.object.clone(),
            occurrence,
            fault,
        });
        Some(fault)
    }

    /// Evenly spread over 0 to 1, and a function of its arguments and the seed alone.
    fn chance(&self, request: &Asked, occurrence: u64, number: usize) -> f64 {
        let mut hasher = Sha256::new();
        for number in [self.plan.seed, occurrence, number as u64] {
            hasher.update(number.to_le_bytes());
        }
        hasher.update(request.operation);
        hasher.update([0]);
        hasher.update(&request.object);
        let digest = hasher.finalize();
        let high: [u8; 4] = [digest[0], digest[1], digest[2], digest[3]];
        f64::from(u32::from_le_bytes(high)) / (f64::from(u32::MAX) + 1.0)
    }
}

/// What a request asks for, as far as faults go by it.
#[derive(Debug)]
struct Asked {
    operation: &'static str,
    /// `BUCKET/KEY`
    object: String,
    access_key: Option<String>,
}

impl Asked {
    fn of(request: &Request<Incoming>) -> Self {
        let path = url::form_urlencoded::parse(
            // A path is percent-encoded like a form's value, except that there `+` means a space.
            format!(
                "p={}",
                request.uri().path().trim_start_matches('/').replace('+', "%2B").replace('&', "%26")
            )
            .as_bytes(),
        )
        .next()
        .map(|(_, path)| path.into_owned())
        .unwrap_or_default();
        let query: HashMap<String, String> =
            url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes())
                .into_owned()
                .collect();
        let has_key = path.split_once('/').is_some_and(|(_, key)| !key.is_empty());
        let (operation, object) = match (request.method(), has_key) {
            (&Method::GET, true) => ("GetObject", path),
            (&Method::HEAD, true) => ("HeadObject", path),
            (&Method::PUT, true) => ("PutObject", path),
            (&Method::DELETE, true) => ("DeleteObject", path),
            (&Method::GET, false) => {
                let prefix = query.get("prefix").map(String::as_str).unwrap_or_default();
                ("ListObjectsV2", format!("{}/{prefix}", path.trim_end_matches('/')))
            }
            (&Method::HEAD, false) => ("HeadBucket", path),
            (&Method::POST, _) if query.contains_key("delete") => ("DeleteObjects", path),
            _ => ("", path),
        };
        // `AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/s3/aws4_request, ...`
        let access_key = request
            .headers()
            .get("authorization")
            .and_then(|authorization| authorization.to_str().ok()?.split("Credential=").nth(1))
            .and_then(|credential| credential.split('/').next())
            .map(str::to_owned);
        Self { operation, object, access_key }
    }
}

/// By which header a fault that only the store itself can make reaches it.
pub(crate) const STORE_FAULT_HEADER: HeaderName = HeaderName::from_static("x-fruitbatch-test-fault");

/// What the store itself does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreFault {
    ListOutOfOrder,
    ListPageRepeated,
    ListPagesSwapped,
    ConditionsIgnored,
}

impl StoreFault {
    const ALL: [(Self, Fault, &str); 4] = [
        (Self::ListOutOfOrder, Fault::ListOutOfOrder, "list-out-of-order"),
        (Self::ListPageRepeated, Fault::ListPageRepeated, "list-page-repeated"),
        (Self::ListPagesSwapped, Fault::ListPagesSwapped, "list-pages-swapped"),
        (Self::ConditionsIgnored, Fault::ConditionsIgnored, "conditions-ignored"),
    ];

    fn header_of(fault: Fault) -> Option<HeaderValue> {
        let (.., name) = Self::ALL.iter().find(|(_, of, _)| *of == fault)?;
        Some(HeaderValue::from_static(name))
    }

    pub(crate) fn from_header(header: &HeaderValue) -> Option<Self> {
        Self::ALL.iter().find(|(.., name)| header.as_bytes() == name.as_bytes()).map(|(fault, ..)| *fault)
    }
}

/// The server's service with faults around it, for one connection.
#[derive(Debug, Clone)]
pub(crate) struct FaultyService<D> {
    pub(crate) service: S3Service,
    /// Decides what happens to a request.
    pub(crate) faults: D,
    /// Shared with the [`ResettableStream`] below.
    pub(crate) reset: Arc<AtomicBool>,
}

/// Where the plan is kept.
pub(crate) trait DecideFault: Clone + Send + Sync + 'static {
    fn with_faults<T>(&self, use_them: impl FnOnce(&mut Faults) -> T) -> T;
}

/// Ends the connection.
#[derive(Debug)]
struct ConnectionReset;

impl fmt::Display for ConnectionReset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("reset by the fault plan")
    }
}

impl std::error::Error for ConnectionReset {}

/// A connection that ends with a reset, if it is told so, where it would otherwise be closed in order.
#[derive(Debug)]
pub(crate) struct ResettableStream {
    pub(crate) socket: TcpStream,
    pub(crate) reset: Arc<AtomicBool>,
}

impl Drop for ResettableStream {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            // If it can't be, the connection is closed all the same.
            let _ = self.socket.set_zero_linger();
        }
    }
}

impl AsyncRead for ResettableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for ResettableStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        content: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, content)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

type ServiceError = Box<dyn std::error::Error + Send + Sync>;

impl<D: DecideFault> hyper::service::Service<Request<Incoming>> for FaultyService<D> {
    type Response = Response<Body>;
    type Error = ServiceError;
    type Future = BoxFuture<'static, Result<Response<Body>, ServiceError>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let asked = Asked::of(&request);
        let fault = self.faults.with_faults(|faults| faults.decide(&asked));
        let (service, reset) = (self.service.clone(), Arc::clone(&self.reset));
        Box::pin(async move {
            let is_head = request.method() == Method::HEAD;
            let mut request = request.map(Body::from);
            let Some(fault) = fault else { return Ok(service.call(request).await?) };
            if let Some((status, error)) = fault.answer() {
                // All of it is read, as servers do: a client that is still sending would see a reset instead.
                let mut body = request.into_body();
                while let Some(piece) = body.next().await {
                    piece?;
                }
                return error_answer(status, error.filter(|_| !is_head));
            }
            if let Some(name) = StoreFault::header_of(fault) {
                request.headers_mut().insert(STORE_FAULT_HEADER, name);
                return Ok(service.call(request).await?);
            }
            let reset_now = || -> ServiceError {
                reset.store(true, Ordering::Relaxed);
                Box::new(ConnectionReset)
            };
            match fault {
                Fault::ResetBefore => return Err(reset_now()),
                Fault::NoAnswer => return std::future::pending().await,
                _ => {}
            }
            let answer = service.call(request).await?;
            if fault == Fault::ResetAfter {
                return Err(reset_now());
            }
            with_bad_body(answer, fault).await
        })
    }
}

fn error_answer(status: u16, error: Option<(&str, &str)>) -> Result<Response<Body>, ServiceError> {
    let status = StatusCode::from_u16(status)?;
    let body = error.map_or_else(Bytes::new, |(code, message)| {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        )
        .into()
    });
    let answer = Response::builder().status(status).header(CONTENT_LENGTH, body.len());
    let answer = if body.is_empty() { answer } else { answer.header(CONTENT_TYPE, "application/xml") };
    Ok(answer.body(Body::from(body))?)
}

/// The pause between two pieces of [`Fault::SlowBody`], and how many pieces there are.
const SLOW_BODY: (Duration, usize) = (Duration::from_millis(20), 10);

async fn with_bad_body(answer: Response<Body>, fault: Fault) -> Result<Response<Body>, ServiceError> {
    let (mut parts, mut body) = answer.into_parts();
    let mut content = Vec::new();
    while let Some(piece) = body.next().await {
        content.extend_from_slice(&piece?);
    }
    let content = Bytes::from(content);
    let half = content.slice(..content.len() / 2);
    // Of nothing, nothing is missing; and an answer to `HEAD` announces the length of a body that isn't there.
    if content.len() < 2 {
        return Ok(Response::from_parts(parts, Body::from(content)));
    }
    let announced = if fault == Fault::ShortenedBody { half.len() } else { content.len() };
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(announced));
    let body = match fault {
        Fault::SlowBody => {
            let piece = content.len().div_ceil(SLOW_BODY.1);
            let starts: Vec<usize> = (0..content.len()).step_by(piece).collect();
            StreamingBlob::wrap(stream::iter(starts).then(move |start| {
                let piece = content.slice(start..content.len().min(start + piece));
                async move {
                    tokio::time::sleep(SLOW_BODY.0).await;
                    Ok::<_, io::Error>(piece)
                }
            }))
        }
        Fault::StalledBody => {
            StreamingBlob::wrap(stream::iter([Ok::<_, io::Error>(half)]).chain(stream::pending()))
        }
        Fault::TruncatedBody => {
            let broken = Err(io::Error::from(io::ErrorKind::ConnectionReset));
            StreamingBlob::wrap(stream::iter([Ok(half), broken]))
        }
        Fault::ShortenedBody => StreamingBlob::wrap(stream::iter([Ok::<_, io::Error>(half)])),
        _ => StreamingBlob::wrap(stream::iter([Ok::<_, io::Error>(content)])),
    };
    Ok(Response::from_parts(parts, Body::from(body)))
}
