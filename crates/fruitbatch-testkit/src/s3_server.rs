//! An S3 server inside the test's own process.
//!
//! The HTTP side (routing, XML, signature version 4) is `s3s`; the objects lie in a map in memory, ordered by key as S3
//! orders them. A store in memory rather than in files, because every key that S3 allows must round-trip: `a//b`,
//! `dir/`, `apple#12 100%+ü.jpg`, and both `a` and `a/b` at once, which no file system holds.
//!
//! What it answers as S3 does: `GetObject` (with `Range`, `If-Match`, `If-None-Match`), `HeadObject`, `PutObject` (with
//! `If-None-Match` and `If-Match`, decided under one lock, so that exactly one of many concurrent writers wins),
//! `ListObjectsV2` (pages, delimiter, `encoding-type=url`), `DeleteObject` (with `If-Match`), `DeleteObjects`,
//! `CopyObject` (within and between buckets), `CreateBucket`, `HeadBucket`. Everything else is `NotImplemented`. A client that asks for checksums gets SHA-256.
//!
//! What it answers as troubled networks and other servers do: see [`faults`](crate::faults). Listings that no memory
//! should hold come out of [`generate_objects`](S3Server::generate_objects).
//!
//! ```
//! use fruitbatch_testkit::s3_server::S3Server;
//!
//! let server = S3Server::start();
//! server.create_bucket("fruits");
//! server.put_object("fruits", "Apple Braeburn/a//b#1 100%+ü.jpg", b"not really a photo".as_slice());
//! assert!(server.endpoint_url().starts_with("http://127.0.0.1:"));
//! assert_eq!(server.keys("fruits"), ["Apple Braeburn/a//b#1 100%+ü.jpg"]);
//! // Dropping `server` stops it.
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Bound;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures::{StreamExt, stream};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder as ConnectionBuilder;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::dto::{
    ChecksumMode, CommonPrefix, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource,
    CreateBucketInput, CreateBucketOutput, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput,
    DeleteObjectsOutput, DeletedObject, ETag, ETagCondition, EncodingType, GetObjectInput, GetObjectOutput,
    HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListObjectsV2Input,
    ListObjectsV2Output, Object, PutObjectInput, PutObjectOutput, StreamingBlob, Timestamp,
};
use s3s::path::S3Path;
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::faults::{
    DecideFault, FaultPlan, Faults, FaultyService, InjectedFault, ResettableStream, STORE_FAULT_HEADER,
    StoreFault,
};

/// S3's own upper bound on the keys of one list page.
const MAX_KEYS_PER_PAGE: usize = 1000;

/// The access key of tests that need but one. Its own, so that a test can search logs and errors for it.
const ACCESS_KEY: &str = "FRUITBATCHTESTACCESSKEY";
/// The secret to [`ACCESS_KEY`].
const SECRET_KEY: &str = "fruitbatch-test-secret-key-4f9c1d";
/// What the first is replaced by in tests of keys that come to their end.
const SECOND_ACCESS_KEY: &str = "FRUITBATCHTESTSECONDKEY";
const SECOND_SECRET_KEY: &str = "fruitbatch-test-second-key-77a3e0";

/// A running server; dropping it stops it and joins its thread. It listens on one address alone, 127.0.0.1 and a port of the
/// system's choosing unless a test names others, and lives on a runtime of its own, so it serves synchronous and asynchronous
/// tests alike.
#[derive(Debug)]
pub struct S3Server {
    endpoint_url: String,
    store: Store,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl S3Server {
    /// Starts a server without buckets.
    ///
    /// # Panics
    /// If no port or no thread can be had: a test has nothing to go on with then.
    #[must_use]
    pub fn start() -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port for the S3 server of this test")
    }

    /// Starts a server without buckets at an address of this machine, for hosts of a test's own; port 0 is any free one.
    ///
    /// # Errors
    /// If the address is not this machine's, or taken.
    ///
    /// # Panics
    /// If no thread can be had.
    pub fn start_at(address: SocketAddr) -> std::io::Result<Self> {
        let store = Store::default();
        // Bound here, where a test may or may not be inside a runtime of its own; served on the thread below.
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime for the S3 server of this test");
        let (stop, stopped) = oneshot::channel();
        let service = {
            let mut builder = S3ServiceBuilder::new(store.clone());
            let mut keys = SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY);
            keys.register(SECOND_ACCESS_KEY.to_owned(), SECOND_SECRET_KEY.into());
            builder.set_auth(keys);
            builder.set_access(store.clone());
            builder.build()
        };
        let thread = std::thread::Builder::new()
            .name("test-s3-server".to_owned())
            // The runtime is dropped at the end of the thread, and with it every open connection.
            .spawn({
                let store = store.clone();
                move || runtime.block_on(serve(listener, service, store, stopped))
            })
            .expect("a thread for the S3 server of this test");
        let endpoint_url = format!("http://{address}");
        Ok(Self { endpoint_url, store, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens: `http://ADDRESS:PORT`.
    pub fn endpoint_url(&self) -> &str {
        &self.endpoint_url
    }

    /// The access key it accepts.
    pub fn access_key(&self) -> &str {
        ACCESS_KEY
    }

    /// The secret key that belongs to [`access_key`](Self::access_key).
    pub fn secret_key(&self) -> &str {
        SECRET_KEY
    }

    /// A second access key and its secret, equally accepted, for tests of keys that are replaced.
    pub fn second_keys(&self) -> (&str, &str) {
        (SECOND_ACCESS_KEY, SECOND_SECRET_KEY)
    }

    /// From now on requests meet the faults of this plan instead of an earlier one's.
    pub fn set_faults(&self, plan: FaultPlan) {
        self.store.lock().faults = Faults::new(plan);
    }

    /// The faults that were met since the plan was set, oldest first.
    pub fn injected_faults(&self) -> Vec<InjectedFault> {
        self.store.lock().faults.injected()
    }

    /// Makes a bucket of objects that nobody stores: they are listed out of a counter, page by page, and so any number of
    /// them takes no memory. All have the same content. What is put into the bucket besides isn't listed.
    pub fn generate_objects(&self, bucket: &str, objects: GeneratedObjects) {
        let mut state = self.store.lock();
        state.buckets.entry(bucket.to_owned()).or_default();
        state.generated.insert(bucket.to_owned(), objects);
    }

    /// Creates an empty bucket; one that is there already stays as it is.
    pub fn create_bucket(&self, bucket: &str) {
        self.store.lock().buckets.entry(bucket.to_owned()).or_default();
    }

    /// Lets unsigned requests read and list `bucket`, as a public data set does.
    pub fn allow_anonymous_reads(&self, bucket: &str) {
        self.store.lock().public_buckets.insert(bucket.to_owned());
    }

    /// Stores an object directly, without a request, and creates its bucket if need be. Any key will do.
    pub fn put_object(&self, bucket: &str, key: &str, content: impl Into<Bytes>) {
        let object = StoredObject::new(content.into());
        self.store.lock().buckets.entry(bucket.to_owned()).or_default().insert(key.to_owned(), object);
    }

    /// The content of an object, read directly.
    pub fn object(&self, bucket: &str, key: &str) -> Option<Bytes> {
        self.store.lock().buckets.get(bucket)?.get(key).map(|object| object.content.clone())
    }

    /// Removes an object directly; one that isn't there is no error.
    pub fn remove_object(&self, bucket: &str, key: &str) {
        if let Some(objects) = self.store.lock().buckets.get_mut(bucket) {
            objects.remove(key);
        }
    }

    /// All keys of a bucket in S3's order (bytewise); empty for a bucket that doesn't exist.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.store
            .lock()
            .buckets
            .get(bucket)
            .map(|objects| objects.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// From now on every `GetObject` of this key goes wrong in the given way, until [`heal`](Self::heal).
    pub fn fail_reads(&self, bucket: &str, key: &str, fault: ReadFault) {
        self.store.lock().read_faults.insert((bucket.to_owned(), key.to_owned()), fault);
    }

    /// Takes back what [`fail_reads`](Self::fail_reads) set for this key.
    pub fn heal(&self, bucket: &str, key: &str) {
        self.store.lock().read_faults.remove(&(bucket.to_owned(), key.to_owned()));
    }

    /// The requests answered so far that passed authorisation, oldest first.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.store.lock().requests.clone()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The receiver is gone only if the thread ended by itself.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How [`S3Server::fail_reads`] lets a `GetObject` go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFault {
    /// 403 `AccessDenied`, as for an object with an access list of its own.
    AccessDenied,
    /// 403 `InvalidObjectState`, as for an object archived in Glacier.
    Archived,
    /// 503 `SlowDown`.
    SlowDown,
    /// 400 `ExpiredToken`.
    ExpiredToken,
    /// The connection breaks off in the middle of the body; needs at least two bytes of content.
    TruncatedBody,
}

/// A bucket's objects, numbered from 0: `PREFIX0000/0000000.jpg`, `PREFIX0000/0000001.jpg`, ..., a thousand to a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedObjects {
    /// What all keys begin with.
    pub prefix: String,
    /// At most ten million.
    pub count: u64,
    /// Of each of them.
    pub content: Bytes,
}

impl GeneratedObjects {
    /// The key of the object with this number; keys are in the order of their numbers.
    pub fn key(&self, number: u64) -> String {
        format!("{}{:04}/{number:07}.jpg", self.prefix, number / 1000)
    }

    fn number_of(&self, key: &str) -> Option<u64> {
        let number: u64 = key.rsplit('/').next()?.strip_suffix(".jpg")?.parse().ok()?;
        (number < self.count && self.key(number) == key).then_some(number)
    }

    fn list(
        &self,
        input: &ListObjectsV2Input,
        encode: impl Fn(&str) -> String,
    ) -> S3Result<ListObjectsV2Output> {
        if input.delimiter.as_ref().is_some_and(|delimiter| !delimiter.is_empty()) {
            return Err(s3_error!(NotImplemented, "generated objects are listed without a delimiter"));
        }
        let start = match &input.continuation_token {
            Some(token) => token
                .parse()
                .map_err(|_| s3_error!(InvalidArgument, "The continuation token provided is incorrect"))?,
            None => 0,
        };
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let page_size = u64::from(page_size(input) as u32);
        let (from, end) = if self.prefix.starts_with(prefix) {
            (start, self.count.min(start + page_size))
        } else {
            // Some of them at most, and these are next to each other.
            let mut meant = (start..self.count).filter(|number| self.key(*number).starts_with(prefix));
            let from = meant.next().unwrap_or(self.count);
            (from, from + meant.take(page_size as usize - 1).count() as u64 + u64::from(from < self.count))
        };
        let object = StoredObject::at(self.content.clone(), SystemTime::UNIX_EPOCH);
        let contents: Vec<Object> =
            (from..end).map(|number| object.listed(encode(&self.key(number)))).collect();
        let is_truncated = end < self.count && self.key(end).starts_with(prefix) && !contents.is_empty();
        Ok(ListObjectsV2Output {
            key_count: i32::try_from(contents.len()).ok(),
            is_truncated: Some(is_truncated),
            next_continuation_token: is_truncated.then(|| end.to_string()),
            contents: Some(contents),
            ..ListObjectsV2Output::default()
        })
    }
}

/// One request that the server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedRequest {
    /// S3's name of the operation, for example `GetObject`.
    pub operation: String,
    /// The bucket, if the request names one.
    pub bucket: Option<String>,
    /// The key, if the request names one.
    pub key: Option<String>,
    /// Whether the request was signed.
    pub signed: bool,
    /// The region that the signature is for.
    pub region: Option<String>,
    /// Whether the request says that the requester pays.
    pub requester_pays: bool,
}

async fn serve(
    listener: std::net::TcpListener,
    service: s3s::service::S3Service,
    store: Store,
    mut stopped: oneshot::Receiver<()>,
) {
    let listener = TcpListener::from_std(listener).expect("a listener that does not block, inside a runtime");
    let connections = ConnectionBuilder::new(TokioExecutor::new());
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                let reset = Arc::new(AtomicBool::new(false));
                let stream = ResettableStream { socket, reset: Arc::clone(&reset) };
                let service = FaultyService { service: service.clone(), faults: store.clone(), reset };
                let connection = connections.serve_connection(TokioIo::new(stream), service).into_owned();
                tokio::spawn(async move {
                    // A client that goes away is the client's business.
                    let _ = connection.await;
                });
            }
        }
    }
}

#[derive(Debug, Clone)]
struct StoredObject {
    content: Bytes,
    etag: String,
    /// In base64.
    sha256: String,
    modified: SystemTime,
}

impl StoredObject {
    fn new(content: Bytes) -> Self {
        Self::at(content, SystemTime::now())
    }

    fn at(content: Bytes, modified: SystemTime) -> Self {
        let sha256: [u8; 32] = Sha256::digest(&content).into();
        // As long as S3's MD5 and, like it, a function of the content alone.
        let etag = hex::encode(&sha256[..16]);
        Self { content, etag, sha256: BASE64.encode(sha256), modified }
    }

    fn listed(&self, key: String) -> Object {
        Object {
            key: Some(key),
            size: Some(self.length()),
            e_tag: Some(self.etag()),
            last_modified: Some(Timestamp::from(self.modified)),
            ..Object::default()
        }
    }

    fn etag(&self) -> ETag {
        ETag::Strong(self.etag.clone())
    }

    fn length(&self) -> i64 {
        i64::try_from(self.content.len()).expect("an object in memory is shorter than 2^63 bytes")
    }

    fn meets(&self, condition: &ETagCondition) -> bool {
        match condition {
            ETagCondition::Any => true,
            ETagCondition::ETag(etag) => etag.strong_cmp(&self.etag()),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    buckets: HashMap<String, BTreeMap<String, StoredObject>>,
    public_buckets: HashSet<String>,
    generated: HashMap<String, GeneratedObjects>,
    read_faults: HashMap<(String, String), ReadFault>,
    faults: Faults,
    requests: Vec<RecordedRequest>,
}

impl State {
    fn objects(&mut self, bucket: &str) -> S3Result<&mut BTreeMap<String, StoredObject>> {
        self.buckets
            .get_mut(bucket)
            .ok_or_else(|| s3_error!(NoSuchBucket, "The specified bucket does not exist"))
    }

    fn object(&mut self, bucket: &str, key: &str) -> S3Result<StoredObject> {
        if let Some(generated) = self.generated.get(bucket)
            && generated.number_of(key).is_some()
        {
            return Ok(StoredObject::at(generated.content.clone(), SystemTime::UNIX_EPOCH));
        }
        self.objects(bucket)?
            .get(key)
            .cloned()
            .ok_or_else(|| s3_error!(NoSuchKey, "The specified key does not exist."))
    }
}

/// The objects and what is known of the requests, shared by the server's handle and its service.
#[derive(Debug, Clone, Default)]
struct Store(Arc<Mutex<State>>);

impl Store {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No holder leaves the maps half changed, so a test's panic elsewhere does not make them unusable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DecideFault for Store {
    fn with_faults<T>(&self, use_them: impl FnOnce(&mut Faults) -> T) -> T {
        use_them(&mut self.lock().faults)
    }
}

/// What the fault layer asks of the store itself.
fn store_fault<T>(request: &S3Request<T>) -> Option<StoreFault> {
    StoreFault::from_header(request.headers.get(STORE_FAULT_HEADER)?)
}

#[async_trait::async_trait]
impl S3Access for Store {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = context.s3_op().name().to_owned();
        let (bucket, key) = match context.s3_path() {
            S3Path::Root => (None, None),
            S3Path::Bucket { bucket } => (Some(bucket.to_string()), None),
            S3Path::Object { bucket, key } => (Some(bucket.to_string()), Some(key.to_string())),
        };
        let signed = context.credentials().is_some();
        // `AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/s3/aws4_request, ...`
        let region = context
            .headers()
            .get("authorization")
            .and_then(|authorization| authorization.to_str().ok()?.split('/').nth(2))
            .map(str::to_owned);
        let requester_pays = context
            .headers()
            .get("x-amz-request-payer")
            .is_some_and(|payer| payer.as_bytes() == b"requester");
        let mut state = self.lock();
        let public = bucket.as_ref().is_some_and(|bucket| state.public_buckets.contains(bucket));
        let reads = matches!(operation.as_str(), "GetObject" | "HeadObject" | "ListObjectsV2" | "HeadBucket");
        let allowed = signed || (public && reads);
        if !allowed {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        state.requests.push(RecordedRequest { operation, bucket, key, signed, region, requester_pays });
        Ok(())
    }
}

#[async_trait::async_trait]
impl S3 for Store {
    async fn create_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        self.lock().buckets.entry(req.input.bucket).or_default();
        Ok(S3Response::new(CreateBucketOutput::default()))
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.lock().objects(&req.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let mut state = self.lock();
        let fault = state.read_faults.get(&(input.bucket.clone(), input.key.clone())).copied();
        let object = state.object(&input.bucket, &input.key)?;
        match fault {
            Some(ReadFault::AccessDenied) => return Err(s3_error!(AccessDenied, "Access Denied")),
            Some(ReadFault::Archived) => {
                return Err(s3_error!(
                    InvalidObjectState,
                    "The operation is not valid for the object's storage class"
                ));
            }
            Some(ReadFault::SlowDown) => return Err(s3_error!(SlowDown, "Please reduce your request rate.")),
            Some(ReadFault::ExpiredToken) => {
                return Err(s3_error!(ExpiredToken, "The provided token has expired."));
            }
            Some(ReadFault::TruncatedBody) | None => {}
        }
        if input.if_match.as_ref().is_some_and(|condition| !object.meets(condition)) {
            return Err(precondition_failed());
        }
        if input.if_none_match.as_ref().is_some_and(|condition| object.meets(condition)) {
            return Err(S3Error::new(S3ErrorCode::NotModified));
        }
        let wants_checksum =
            input.checksum_mode.as_ref().is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED);
        let whole = object.content.len();
        let (content, content_range) = match input.range {
            None => (object.content.clone(), None),
            Some(range) => {
                let part = range.check(whole as u64)?;
                let described = format!("bytes {}-{}/{whole}", part.start, part.end - 1);
                (object.content.slice(part.start as usize..part.end as usize), Some(described))
            }
        };
        let content_length = i64::try_from(content.len()).ok();
        let body = if fault == Some(ReadFault::TruncatedBody) {
            let half = Ok(content.slice(..content.len() / 2));
            let reset = Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
            StreamingBlob::wrap(stream::iter([half, reset]))
        } else {
            StreamingBlob::wrap(stream::iter([Ok::<_, std::io::Error>(content)]))
        };
        Ok(S3Response::new(GetObjectOutput {
            body: Some(body),
            content_length,
            checksum_sha256: (wants_checksum && content_range.is_none()).then_some(object.sha256.clone()),
            content_range,
            e_tag: Some(object.etag()),
            last_modified: Some(Timestamp::from(object.modified)),
            ..GetObjectOutput::default()
        }))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let mut state = self.lock();
        let object = state.object(&req.input.bucket, &req.input.key)?;
        if req.input.if_match.as_ref().is_some_and(|condition| !object.meets(condition)) {
            return Err(precondition_failed());
        }
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(object.length()),
            e_tag: Some(object.etag()),
            last_modified: Some(Timestamp::from(object.modified)),
            ..HeadObjectOutput::default()
        }))
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let ignores_conditions = store_fault(&req) == Some(StoreFault::ConditionsIgnored);
        let input = req.input;
        let mut content = Vec::new();
        if let Some(mut body) = input.body {
            while let Some(piece) = body.next().await {
                content.extend_from_slice(&piece.map_err(|_| s3_error!(IncompleteBody))?);
            }
        }
        let object = StoredObject::new(content.into());
        let etag = object.etag();
        // Condition and write under one lock: that is what makes the conditional put one.
        let mut state = self.lock();
        let objects = state.objects(&input.bucket)?;
        let present = objects.get(&input.key);
        if !ignores_conditions
            && let Some(condition) = &input.if_none_match
            && present.is_some_and(|present| present.meets(condition))
        {
            return Err(precondition_failed());
        }
        if !ignores_conditions && let Some(condition) = &input.if_match {
            match present {
                None => return Err(s3_error!(NoSuchKey, "The specified key does not exist.")),
                Some(present) if !present.meets(condition) => return Err(precondition_failed()),
                Some(_) => {}
            }
        }
        objects.insert(input.key, object);
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(etag), ..PutObjectOutput::default() }))
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = req.input;
        let CopySource::Bucket { bucket, key, .. } = input.copy_source else {
            return Err(s3_error!(NotImplemented, "objects are copied from buckets"));
        };
        // Source and copy under one lock: whoever removes the source has seen the last copy of it.
        let mut state = self.lock();
        let copy = StoredObject::new(state.object(&bucket, &key)?.content);
        let result = CopyObjectResult { e_tag: Some(copy.etag()), ..CopyObjectResult::default() };
        state.objects(&input.bucket)?.insert(input.key, copy);
        Ok(S3Response::new(CopyObjectOutput {
            copy_object_result: Some(result),
            ..CopyObjectOutput::default()
        }))
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let ignores_conditions = store_fault(&req) == Some(StoreFault::ConditionsIgnored);
        let input = req.input;
        let mut state = self.lock();
        let objects = state.objects(&input.bucket)?;
        if !ignores_conditions && let Some(condition) = &input.if_match {
            match objects.get(&input.key) {
                None => return Err(s3_error!(NoSuchKey, "The specified key does not exist.")),
                Some(present) if !present.meets(condition) => return Err(precondition_failed()),
                Some(_) => {}
            }
        }
        objects.remove(&input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let mut state = self.lock();
        let objects = state.objects(&req.input.bucket)?;
        let mut deleted = Vec::new();
        for identifier in req.input.delete.objects {
            objects.remove(&identifier.key);
            deleted.push(DeletedObject { key: Some(identifier.key), ..DeletedObject::default() });
        }
        Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted), ..DeleteObjectsOutput::default() }))
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let fault = store_fault(&req);
        let input = req.input;
        let url_encoded =
            input.encoding_type.as_ref().is_some_and(|encoding| encoding.as_str() == EncodingType::URL);
        let encode = |text: &str| if url_encoded { url_encode(text) } else { text.to_owned() };
        let mut state = self.lock();
        let page = if let Some(generated) = state.generated.get(&input.bucket) {
            generated.list(&input, encode)?
        } else {
            list_page(state.objects(&input.bucket)?, &input, fault, encode)?
        };
        Ok(S3Response::new(ListObjectsV2Output {
            prefix: Some(encode(input.prefix.as_deref().unwrap_or_default())),
            delimiter: input.delimiter.as_deref().map(encode),
            max_keys: i32::try_from(page_size(&input)).ok(),
            start_after: input.start_after.as_deref().map(encode),
            name: Some(input.bucket),
            continuation_token: input.continuation_token,
            encoding_type: input.encoding_type,
            ..page
        }))
    }
}

fn page_size(input: &ListObjectsV2Input) -> usize {
    usize::try_from(input.max_keys.unwrap_or(1000)).unwrap_or(0).min(MAX_KEYS_PER_PAGE)
}

/// One page of a listing, without what it only repeats of the request.
fn list_page(
    objects: &BTreeMap<String, StoredObject>,
    input: &ListObjectsV2Input,
    fault: Option<StoreFault>,
    encode: impl Fn(&str) -> String,
) -> S3Result<ListObjectsV2Output> {
    let start_after = |after: Option<&str>| KeysAfter::new(objects, input, after, &encode);
    let token = input.continuation_token.as_deref().map(PageToken::decode).transpose()?;
    let (mut page, next) = match token {
        // The second half of an exchange: the page that was passed over, and then what comes after both.
        Some(PageToken::PassedOver { page, then }) => {
            let has_more = !start_after(then.as_deref()).contents_and_folders().is_empty();
            (start_after(page.as_deref()), has_more.then_some(PageToken::After(then)))
        }
        after => {
            let after = match after {
                Some(PageToken::After(after)) => after,
                _ => input.start_after.clone(),
            };
            let page = start_after(after.as_deref());
            let last_key = page.last_key.clone();
            match fault {
                Some(StoreFault::ListPageRepeated) => (page, Some(PageToken::After(after))),
                Some(StoreFault::ListPagesSwapped) if page.is_truncated => {
                    let second = start_after(last_key.as_deref());
                    let then = second.last_key.clone();
                    (second, Some(PageToken::PassedOver { page: after, then }))
                }
                _ => {
                    let next = page.is_truncated.then_some(PageToken::After(last_key));
                    (page, next)
                }
            }
        }
    };
    if fault == Some(StoreFault::ListOutOfOrder) {
        let again: Vec<Object> = page.contents.iter().step_by(3).cloned().collect();
        page.contents.reverse();
        page.contents.extend(again);
    }
    Ok(ListObjectsV2Output {
        key_count: i32::try_from(page.contents.len() + page.common_prefixes.len()).ok(),
        is_truncated: Some(next.is_some()),
        next_continuation_token: next.map(|token| token.encode()),
        contents: Some(page.contents),
        common_prefixes: Some(page.common_prefixes),
        ..ListObjectsV2Output::default()
    })
}

/// What comes on a page that begins after some key.
struct KeysAfter {
    contents: Vec<Object>,
    common_prefixes: Vec<CommonPrefix>,
    last_key: Option<String>,
    is_truncated: bool,
}

impl KeysAfter {
    fn new(
        objects: &BTreeMap<String, StoredObject>,
        input: &ListObjectsV2Input,
        start_after: Option<&str>,
        encode: impl Fn(&str) -> String,
    ) -> Self {
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let delimiter = input.delimiter.as_ref().filter(|delimiter| !delimiter.is_empty());
        let page_size = page_size(input);
        let from = match start_after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut page =
            Self { contents: Vec::new(), common_prefixes: Vec::new(), last_key: None, is_truncated: false };
        let mut last_common_prefix: Option<&str> = None;
        for (key, object) in objects.range::<str, _>((from, Bound::Unbounded)) {
            if !key.starts_with(prefix) {
                break;
            }
            let folder = delimiter.and_then(|delimiter| {
                let end = prefix.len() + key[prefix.len()..].find(delimiter.as_str())? + delimiter.len();
                Some(&key[..end])
            });
            // A folder counts once, on the page where its first key is met.
            let counted_before = folder.is_some_and(|folder| {
                last_common_prefix == Some(folder)
                    || start_after.is_some_and(|after| after.starts_with(folder))
            });
            if !counted_before && page.contents_and_folders().len() == page_size {
                page.is_truncated = true;
                break;
            }
            page.last_key = Some(key.clone());
            if counted_before {
                continue;
            }
            match folder {
                Some(folder) => {
                    page.common_prefixes.push(CommonPrefix { prefix: Some(encode(folder)) });
                    last_common_prefix = Some(folder);
                }
                None => page.contents.push(object.listed(encode(key))),
            }
        }
        page
    }

    /// Both count.
    fn contents_and_folders(&self) -> std::ops::Range<usize> {
        0..self.contents.len() + self.common_prefixes.len()
    }
}

/// Where a listing goes on.
enum PageToken {
    /// After this key; `None` is the beginning.
    After(Option<String>),
    /// With the page after the first key, which was passed over, and then after the second.
    PassedOver { page: Option<String>, then: Option<String> },
}

impl PageToken {
    /// Tokens are opaque to clients: a client which takes one for a key fails at once.
    fn encode(&self) -> String {
        let key = |key: &Option<String>| hex::encode(key.as_deref().unwrap_or_default());
        match self {
            Self::After(after) => format!("a{}", key(after)),
            Self::PassedOver { page, then } => format!("p{}-{}", key(page), key(then)),
        }
    }

    fn decode(token: &str) -> S3Result<Self> {
        let invalid = || s3_error!(InvalidArgument, "The continuation token provided is incorrect");
        let key = |digits: &str| -> S3Result<Option<String>> {
            let bytes = hex::decode(digits).map_err(|_| invalid())?;
            let key = String::from_utf8(bytes).map_err(|_| invalid())?;
            Ok((!key.is_empty()).then_some(key))
        };
        if let Some(after) = token.strip_prefix('a') {
            return Ok(Self::After(key(after)?));
        }
        let (page, then) =
            token.strip_prefix('p').and_then(|rest| rest.split_once('-')).ok_or_else(invalid)?;
        Ok(Self::PassedOver { page: key(page)?, then: key(then)? })
    }
}

fn precondition_failed() -> S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}

/// S3's `encoding-type=url`: form encoding (a space becomes `+`) that leaves `/` alone.
fn url_encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace("%2F", "/")
}
