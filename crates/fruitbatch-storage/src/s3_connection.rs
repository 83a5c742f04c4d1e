//! One connection to S3: the client that lists and reads by raw keys, and object stores for OUT that share its
//! endpoint, region and credentials.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_s3::config::endpoint::{DefaultResolver, Params, ResolveEndpoint};
use aws_sdk_s3::types::RequestPayer;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{SharedHttpClient, SharedHttpConnector, http_client_fn};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::service_config::ServiceConfigKey;
use object_store::ClientOptions;
use object_store::CredentialProvider;
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsCredential, S3ConditionalPut};

use crate::error::{StorageError, StorageErrorKind};
use crate::options::StorageOptions;
use crate::s3_failure::S3Failure;

/// S3's own default, and what servers other than AWS's expect.
const DEFAULT_REGION: &str = "us-east-1";
/// The environment's ways to name another server; the first is the one that counts if both are set.
const ENDPOINT_VARIABLES: [&str; 2] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For the first byte of an answer; a body that stalls later is ended by the client's stalled-stream protection.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(30);
/// For one attempt to write or read a whole file of OUT, the largest of which are a few hundred megabytes.
const OUTPUT_REQUEST_TIMEOUT: Duration = Duration::from_mins(5);
/// With the client's backoff (doubling from 1 s, jittered, at most 20 s) some 15 s of trouble are ridden out within one
/// call. Environment and profile may set another number.
const MAX_ATTEMPTS: u32 = 6;
/// What `aws-config` gives if neither environment nor profile say anything.
const SDK_DEFAULT_MAX_ATTEMPTS: u32 = 3;
/// Credentials are renewed this long before they end, so that a request's retries stay within their life.
const RENEW_CREDENTIALS_BEFORE_END: Duration = Duration::from_mins(5);

pub(crate) struct S3Connection {
    pub(crate) client: aws_sdk_s3::Client,
    /// Set if requests go to a server other than AWS's own.
    pub(crate) endpoint_url: Option<String>,
    region: String,
    host_rules: HostRules,
    request_payer: bool,
    /// `None`: requests are not signed.
    credentials: Option<Arc<RenewedCredentials>>,
}

/// Which of a bucket's host names is asked.
struct HostRules {
    path_style: bool,
    fips: bool,
    dual_stack: bool,
}

impl fmt::Debug for S3Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("S3Connection")
            .field("endpoint_url", &self.endpoint_url)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

impl S3Connection {
    /// Finds endpoint, region and the source of credentials. Sends no request to S3. `given_credentials` take the place
    /// of the chain.
    pub(crate) async fn establish(
        options: &StorageOptions,
        given_credentials: Option<SharedCredentialsProvider>,
    ) -> Result<Self, StorageError> {
        let sdk_config = load_sdk_config(options, given_credentials).await;
        let endpoint_url = configured_endpoint(options, &sdk_config);
        if let Some(endpoint_url) = &endpoint_url {
            check_endpoint(endpoint_url)?;
        }
        let region = sdk_config.region().map_or(DEFAULT_REGION, Region::as_ref).to_owned();
        let path_style = options.force_path_style.unwrap_or(endpoint_url.is_some());
        let mut client_config = aws_sdk_s3::config::Builder::from(&sdk_config)
            .region(Region::new(region.clone()))
            .force_path_style(path_style);
        if options.no_sign_request {
            client_config = client_config.allow_no_auth();
        }
        if let Some(retries) = sdk_config.retry_config()
            && retries.max_attempts() == SDK_DEFAULT_MAX_ATTEMPTS
        {
            client_config = client_config.retry_config(retries.clone().with_max_attempts(MAX_ATTEMPTS));
        }
        Ok(Self {
            client: aws_sdk_s3::Client::from_conf(client_config.build()),
            endpoint_url,
            region,
            host_rules: HostRules {
                path_style,
                fips: sdk_config.use_fips().unwrap_or(false),
                dual_stack: sdk_config.use_dual_stack().unwrap_or(false),
            },
            request_payer: options.request_payer,
            credentials: sdk_config
                .credentials_provider()
                .filter(|_| !options.no_sign_request)
                .map(|source| Arc::new(RenewedCredentials::new(source))),
        })
    }

    /// What requests say about who pays.
    pub(crate) fn request_payer(&self) -> Option<RequestPayer> {
        self.request_payer.then_some(RequestPayer::Requester)
    }

    /// The settings for a first request, whose failure a person is waiting for: fewer attempts.
    pub(crate) fn impatient() -> aws_sdk_s3::config::Builder {
        aws_sdk_s3::config::Builder::new()
            .retry_config(RetryConfig::standard().with_max_attempts(SDK_DEFAULT_MAX_ATTEMPTS))
    }

    /// An object store over one bucket. `place` is what an error names.
    pub(crate) async fn object_store(&self, bucket: &str, place: &str) -> Result<AmazonS3, StorageError> {
        let invalid =
            |problem: String| StorageError::new(StorageErrorKind::Invalid, "open", place, problem, "");
        if let Some(credentials) = &self.credentials {
            // Missing credentials are told now and plainly, not by the first write.
            credentials
                .current()
                .await
                .map_err(|failure| failure.into_storage_error("open", place, self.endpoint_url.as_deref()))?;
        }
        let bucket_url = self.bucket_url(bucket).map_err(invalid)?;
        let allow_http = bucket_url.starts_with("http://");
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(&self.region)
            // "Virtual hosted" is that builder's word for "the endpoint is the bucket's whole URL".
            .with_endpoint(bucket_url)
            .with_virtual_hosted_style_request(true)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_request_payer(self.request_payer)
            .with_client_options(
                ClientOptions::new()
                    .with_allow_http(allow_http)
                    .with_connect_timeout(CONNECT_TIMEOUT)
                    .with_timeout(OUTPUT_REQUEST_TIMEOUT),
            );
        builder = match &self.credentials {
            Some(credentials) => builder.with_credentials(Arc::clone(credentials) as _),
            None => builder.with_skip_signature(true),
        };
        builder.build().map_err(|error| invalid(error.to_string()))
    }

    /// The URL that a bucket's keys are appended to, by the rules of the AWS client itself (endpoint, region and its
    /// partition, FIPS, dual stack, host or path), so that both clients always talk to the same server.
    fn bucket_url(&self, bucket: &str) -> Result<String, String> {
        let parameters = Params::builder()
            .bucket(bucket)
            .region(&self.region)
            .use_fips(self.host_rules.fips)
            .use_dual_stack(self.host_rules.dual_stack)
            .force_path_style(self.host_rules.path_style)
            .set_endpoint(self.endpoint_url.clone())
            .build()
            .map_err(|error| error.to_string())?;
        let resolver = DefaultResolver::new();
        let resolved = resolver.resolve_endpoint(&parameters);
        // The default resolver is a table lookup: its future is ready at once.
        let endpoint = futures::FutureExt::now_or_never(resolved)
            .ok_or_else(|| "the endpoint could not be resolved".to_owned())?
            .map_err(|error| error.to_string())?;
        Ok(endpoint.url().trim_end_matches('/').to_owned())
    }
}

async fn load_sdk_config(
    options: &StorageOptions,
    given_credentials: Option<SharedCredentialsProvider>,
) -> SdkConfig {
    let mut loader =
        aws_config::defaults(BehaviorVersion::latest()).http_client(http_client()).timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(FIRST_BYTE_TIMEOUT)
                .build(),
        );
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    } else if options.endpoint_url.is_some()
        || ENDPOINT_VARIABLES.iter().any(|name| std::env::var_os(name).is_some())
    {
        // Another server than AWS's: nobody should wait for the instance service of EC2, the last place to ask.
        let profile = options
            .profile
            .iter()
            .fold(ProfileFileRegionProvider::builder(), aws_config::profile::region::Builder::profile_name);
        let regions = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
            .or_else(profile.build())
            .or_else(Region::new(DEFAULT_REGION));
        loader = loader.region(regions);
    }
    if let Some(profile) = &options.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(endpoint_url) = &options.endpoint_url {
        loader = loader.endpoint_url(endpoint_url);
    }
    if options.no_sign_request {
        loader = loader.no_credentials();
    } else if let Some(credentials) = given_credentials {
        loader = loader.credentials_provider(credentials);
    }
    loader.load().await
}

/// The AWS client brings no TLS of its own: rustls over ring, as everywhere else in this program, with the system's
/// root certificates and the usual proxy variables.
fn http_client() -> SharedHttpClient {
    http_client_fn(|settings, components| {
        let mut connector =
            Connector::builder().connector_settings(settings.clone()).proxy_config(ProxyConfig::from_env());
        connector.set_sleep_impl(components.sleep_impl());
        SharedHttpConnector::new(connector.tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build())
    })
}

/// The server's address if it isn't AWS's own: the option, then `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL` and the
/// profile's settings, as the AWS client resolves them.
fn configured_endpoint(options: &StorageOptions, sdk_config: &SdkConfig) -> Option<String> {
    let for_s3 = || {
        let key = ServiceConfigKey::builder()
            .service_id("S3")
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .build()
            .ok()?;
        sdk_config.service_config()?.load_config(key)
    };
    options.endpoint_url.clone().or_else(for_s3).or_else(|| sdk_config.endpoint_url().map(str::to_owned))
}

fn check_endpoint(endpoint_url: &str) -> Result<(), StorageError> {
    let problem = match url::Url::parse(endpoint_url) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "it holds a user name or a password"
        }
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none() => {
            return Ok(());
        }
        _ => "it is no URL of a server",
    };
    // The URL itself stays out of the message: it may hold a secret.
    Err(StorageError::new(
        StorageErrorKind::Invalid,
        "use",
        "endpoint URL",
        problem,
        "write `http://HOST:PORT` or `https://HOST`, by `--endpoint-url` or AWS_ENDPOINT_URL_S3",
    ))
}

/// Credentials from a source that makes new ones when asked, kept until shortly before their end, in the form the object
/// store asks for.
struct RenewedCredentials {
    source: SharedCredentialsProvider,
    kept: tokio::sync::Mutex<Option<(Arc<AwsCredential>, Option<SystemTime>)>>,
}

impl fmt::Debug for RenewedCredentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RenewedCredentials").finish_non_exhaustive()
    }
}

impl RenewedCredentials {
    fn new(source: SharedCredentialsProvider) -> Self {
        Self { source, kept: tokio::sync::Mutex::default() }
    }

    async fn current(&self) -> Result<Arc<AwsCredential>, S3Failure> {
        let mut kept = self.kept.lock().await;
        let now = SystemTime::now();
        if let Some((credential, end)) = &*kept
            && end.is_none_or(|end| now + RENEW_CREDENTIALS_BEFORE_END < end)
        {
            return Ok(Arc::clone(credential));
        }
        match self.source.provide_credentials().await {
            Ok(fresh) => {
                let credential = Arc::new(in_object_stores_form(&fresh));
                *kept = Some((Arc::clone(&credential), fresh.expiry()));
                Ok(credential)
            }
            // While the source is out of order, what is still valid serves.
            Err(error) => match &*kept {
                Some((credential, end)) if end.is_none_or(|end| now < end) => Ok(Arc::clone(credential)),
                _ => Err(S3Failure::from_credentials(&error)),
            },
        }
    }
}

fn in_object_stores_form(credentials: &Credentials) -> AwsCredential {
    AwsCredential {
        key_id: credentials.access_key_id().to_owned(),
        secret_key: credentials.secret_access_key().to_owned(),
        token: credentials.session_token().map(str::to_owned),
    }
}

/// A [`S3Failure`] on its way through the object store's error type.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.problem)]
pub(crate) struct CredentialsFailure(pub(crate) S3Failure);

#[async_trait]
impl CredentialProvider for RenewedCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.current().await.map_err(|failure| object_store::Error::Generic {
            store: "S3",
            source: Box::new(CredentialsFailure(failure)),
        })
    }
}
