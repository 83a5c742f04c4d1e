//! Links to objects of S3 that need no other credentials.

use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;

use crate::error::{StorageError, StorageErrorKind};
use crate::path_escape::unescape;
use crate::s3_connection::S3Connection;

/// By which anybody reads one object, with the rights of whoever made it, until it expires: a credential. It is told by
/// [`reveal`](Self::reveal) alone, and by nothing that prints or logs it by chance.
#[derive(Clone, PartialEq, Eq)]
pub struct PresignedLink(String);

impl PresignedLink {
    /// The URL.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for PresignedLink {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("PresignedLink(..)")
    }
}

/// Links to the objects at escaped paths below `prefix`. Made here, without a request for each.
pub(crate) async fn links(
    connection: &S3Connection,
    bucket: &str,
    prefix: &str,
    paths: &[String],
    expires_in: Duration,
) -> Result<Vec<PresignedLink>, StorageError> {
    let place = format!("s3://{bucket}/{prefix}");
    let invalid =
        |problem: String| StorageError::new(StorageErrorKind::Invalid, "make links to", &place, problem, "");
    let presigning = PresigningConfig::expires_in(expires_in)
        .map_err(|_| invalid("links of S3 live for a second at least, and a week at most".to_owned()))?;
    connection.check_credentials(&place).await?;
    let mut links = Vec::with_capacity(paths.len());
    for path in paths {
        let relative = String::from_utf8(unescape(path).into_owned())
            .map_err(|_| invalid(format!("no key in S3 has the name `{path}`")))?;
        let request = connection
            .client
            .get_object()
            .bucket(bucket)
            .key(format!("{prefix}{relative}"))
            .set_request_payer(connection.request_payer());
        // The error's text may hold the request: it is not told.
        let signed = request.presigned(presigning.clone()).await.map_err(|_| {
            invalid(
                "the credentials can't sign: without any (--no-sign-request) no link can be made".to_owned(),
            )
        })?;
        links.push(PresignedLink(signed.uri().to_owned()));
    }
    Ok(links)
}
