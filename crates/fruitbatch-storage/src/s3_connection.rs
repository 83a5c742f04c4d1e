//! One connection to S3: the client, where it asks, and who it says it is.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_s3::config::{IdentityCache, StalledStreamProtectionConfig};
use aws_sdk_s3::types::RequestPayer;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{SharedHttpClient, SharedHttpConnector, http_client_fn};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::service_config::ServiceConfigKey;

use crate::error::{StorageError, StorageErrorKind};
use crate::options::StorageOptions;
use crate::patience::Patience;
use crate::s3_failure::S3Failure;

/// S3's own default, and what servers other than AWS's expect.
const DEFAULT_REGION: &str = "us-east-1";
/// The environment's ways to name another server; the first is the one that counts if both are set.
const ENDPOINT_VARIABLES: [&str; 2] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];
/// What `aws-config` gives if neither environment nor profile say anything.
const SDK_DEFAULT_MAX_ATTEMPTS: u32 = 3;
/// Credentials are renewed this long before they end, so that a request's retries stay within their life.
const RENEW_CREDENTIALS_BEFORE_END: Duration = Duration::from_mins(5);
/// For a source of credentials to answer: a program that is run, a service that is asked.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(30);
/// Of many requests that find the same credentials at their end, one has them renewed.
const CREDENTIALS_ARE_NEW_FOR: Duration = Duration::from_secs(1);

pub(crate) struct S3Connection {
    pub(crate) client: aws_sdk_s3::Client,
    /// Set if requests go to a server other than AWS's own.
    pub(crate) endpoint_url: Option<String>,
    region: String,
    request_payer: bool,
    patience: Patience,
    /// `None`: requests are not signed.
    credentials: Option<RenewedCredentials>,
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
        patience: Patience,
    ) -> Result<Self, StorageError> {
        let sdk_config = load_sdk_config(options, given_credentials.clone()).await;
        let endpoint_url = configured_endpoint(options, &sdk_config);
        if let Some(endpoint_url) = &endpoint_url {
            check_endpoint(endpoint_url)?;
        }
        let region = sdk_config.region().map_or(DEFAULT_REGION, Region::as_ref).to_owned();
        let path_style = options.force_path_style.unwrap_or(endpoint_url.is_some());
        let mut client_config = aws_sdk_s3::config::Builder::from(&sdk_config)
            .region(Region::new(region.clone()))
            .force_path_style(path_style);
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(patience.connect_timeout)
            .read_timeout(patience.first_byte_timeout)
            .build();
        let stalls = StalledStreamProtectionConfig::enabled().grace_period(patience.stall_timeout).build();
        client_config = client_config.timeout_config(timeouts).stalled_stream_protection(stalls);
        let retries = sdk_config.retry_config().cloned().unwrap_or_else(RetryConfig::standard);
        let max_attempts = match retries.max_attempts() {
            SDK_DEFAULT_MAX_ATTEMPTS => patience.max_attempts,
            configured => configured,
        };
        client_config =
            client_config.retry_config(patient(retries, &patience).with_max_attempts(max_attempts));
        let credentials = match sdk_config.credentials_provider() {
            Some(source) if !options.no_sign_request => {
                Some(RenewedCredentials::new(source, options.clone(), given_credentials))
            }
            _ => None,
        };
        client_config = match &credentials {
            // Kept by ourselves, because only so can they be asked for anew before their time.
            Some(credentials) => client_config
                .credentials_provider(credentials.clone())
                .identity_cache(IdentityCache::no_cache()),
            None => client_config.allow_no_auth(),
        };
        Ok(Self {
            client: aws_sdk_s3::Client::from_conf(client_config.build()),
            endpoint_url,
            region,
            request_payer: options.request_payer,
            patience,
            credentials,
        })
    }

    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    pub(crate) fn patience(&self) -> &Patience {
        &self.patience
    }

    /// Missing credentials are told now and plainly, not by the first write. `place` is what an error names.
    pub(crate) async fn check_credentials(&self, place: &str) -> Result<(), StorageError> {
        let Some(credentials) = &self.credentials else { return Ok(()) };
        match credentials.current().await {
            Ok(_) => Ok(()),
            Err(error) => Err(S3Failure::from_credentials(&error).into_storage_error(
                "open",
                place,
                self.endpoint_url.as_deref(),
            )),
        }
    }

    /// S3 doesn't accept the present credentials any more: the next request asks their source for others.
    pub(crate) fn forget_credentials(&self) {
        if let Some(credentials) = &self.credentials {
            credentials.shared.are_refused.store(true, Ordering::Relaxed);
        }
    }

    /// What requests say about who pays.
    pub(crate) fn request_payer(&self) -> Option<RequestPayer> {
        self.request_payer.then_some(RequestPayer::Requester)
    }

    /// The settings for a first request, whose failure a person is waiting for: fewer attempts.
    pub(crate) fn impatient(&self) -> aws_sdk_s3::config::Builder {
        let attempts = SDK_DEFAULT_MAX_ATTEMPTS.min(self.patience.max_attempts);
        let retries = patient(RetryConfig::standard(), &self.patience).with_max_attempts(attempts);
        aws_sdk_s3::config::Builder::new().retry_config(retries)
    }

    /// The settings for requests whose first byte of an answer comes after the last one of their body.
    pub(crate) fn for_uploads(&self) -> aws_sdk_s3::config::Builder {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(self.patience.connect_timeout)
            .read_timeout(self.patience.upload_timeout)
            .build();
        aws_sdk_s3::config::Builder::new().timeout_config(timeouts)
    }
}

fn patient(retries: RetryConfig, patience: &Patience) -> RetryConfig {
    retries.with_initial_backoff(patience.first_backoff).with_max_backoff(patience.max_backoff)
}

/// Region, credentials and HTTP client for other services of AWS than S3, found as they are for S3. An endpoint in `options` would be
/// that service's.
pub async fn sdk_config(options: &StorageOptions) -> SdkConfig {
    load_sdk_config(options, None).await
}

async fn load_sdk_config(
    options: &StorageOptions,
    given_credentials: Option<SharedCredentialsProvider>,
) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http_client());
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
pub(crate) fn http_client() -> SharedHttpClient {
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

/// Credentials from a source that makes new ones when asked, kept until shortly before their end, or until S3 refuses
/// them.
#[derive(Clone)]
struct RenewedCredentials {
    shared: Arc<SharedCredentials>,
}

struct SharedCredentials {
    options: StorageOptions,
    given: Option<SharedCredentialsProvider>,
    kept: tokio::sync::Mutex<KeptCredentials>,
    are_refused: AtomicBool,
}

struct KeptCredentials {
    source: SharedCredentialsProvider,
    credentials: Option<(Credentials, Instant)>,
}

impl fmt::Debug for RenewedCredentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RenewedCredentials").finish_non_exhaustive()
    }
}

impl RenewedCredentials {
    fn new(
        source: SharedCredentialsProvider,
        options: StorageOptions,
        given: Option<SharedCredentialsProvider>,
    ) -> Self {
        let kept = tokio::sync::Mutex::new(KeptCredentials { source, credentials: None });
        Self {
            shared: Arc::new(SharedCredentials { options, given, kept, are_refused: AtomicBool::new(false) }),
        }
    }

    async fn current(&self) -> Result<Credentials, CredentialsError> {
        let SharedCredentials { options, given, kept, are_refused } = &*self.shared;
        let mut kept = kept.lock().await;
        let are_refused = are_refused.swap(false, Ordering::Relaxed)
            && kept.credentials.as_ref().is_some_and(|(_, since)| since.elapsed() > CREDENTIALS_ARE_NEW_FOR);
        if are_refused {
            // The chain reads the profile's files only once: another one reads what they hold now.
            if let Some(source) = load_sdk_config(options, given.clone()).await.credentials_provider() {
                kept.source = source;
            }
        }
        let now = SystemTime::now();
        let outlasts = |credentials: &Credentials, time| credentials.expiry().is_none_or(|end| time < end);
        if let Some((credentials, _)) = &kept.credentials
            && !are_refused
            && outlasts(credentials, now + RENEW_CREDENTIALS_BEFORE_END)
        {
            return Ok(credentials.clone());
        }
        let asked = tokio::time::timeout(CREDENTIALS_TIMEOUT, kept.source.provide_credentials()).await;
        match asked.unwrap_or_else(|_| Err(CredentialsError::provider_timed_out(CREDENTIALS_TIMEOUT))) {
            Ok(fresh) => {
                kept.credentials = Some((fresh.clone(), Instant::now()));
                Ok(fresh)
            }
            // While the source is out of order, what is still valid serves.
            Err(error) => match &kept.credentials {
                Some((credentials, _)) if outlasts(credentials, now) => Ok(credentials.clone()),
                _ => Err(error),
            },
        }
    }
}

impl ProvideCredentials for RenewedCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.current())
    }
}
