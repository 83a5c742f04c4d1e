//! How S3 is reached: the part of the command line that may travel in a plan.

use serde::{Deserialize, Serialize};

/// How to reach S3 or a server that speaks its protocol. Everything left out comes from the usual AWS places
/// (environment, `~/.aws`, instance role, ...).
///
/// Never holds a secret, so it may be written into plans, logs and `run.json`: credentials are found by each process
/// itself.
///
/// ```
/// use fruitbatch_storage::StorageOptions;
///
/// let options = StorageOptions {
///     endpoint_url: Some("http://127.0.0.1:9000".to_owned()),
///     region: Some("eu-central-1".to_owned()),
///     ..StorageOptions::default()
/// };
/// assert_eq!(options.force_path_style, None);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageOptions {
    /// The server, `http://HOST:PORT` or `https://...`; otherwise `AWS_ENDPOINT_URL_S3`, then `AWS_ENDPOINT_URL`, then
    /// the profile's, then AWS itself. A user name or password in it is refused before the first request.
    pub endpoint_url: Option<String>,
    /// The region; otherwise `AWS_REGION`, `AWS_DEFAULT_REGION`, the profile's, the instance's, and last `us-east-1`.
    pub region: Option<String>,
    /// The profile of `~/.aws/config` and `~/.aws/credentials`; otherwise `AWS_PROFILE`, then `default`.
    pub profile: Option<String>,
    /// Send unsigned requests and look for no credentials: for public data sets.
    pub no_sign_request: bool,
    /// Agree to pay for the requests and the traffic (`x-amz-request-payer: requester`).
    pub request_payer: bool,
    /// `https://host/bucket/key` instead of `https://bucket.host/key`. `None`: exactly where an endpoint other than
    /// AWS's own is used, because few such servers have a host name for each bucket.
    pub force_path_style: Option<bool>,
}
