//! Listing a bucket by its raw keys.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::ControlFlow;

use aws_sdk_s3::types::{EncodingType, Object};

use crate::error::{StorageError, StorageErrorKind};
use crate::listing::{COMMIT_LOG_FOLDER, ListedPhoto, Listing, ListingBuilder, Selection};
use crate::location::{Location, Place, is_glob_character};
use crate::path_escape::{escape, unescape};
use crate::s3_connection::S3Connection;
use crate::s3_failure::{S3Failure, S3FailureCause};
use crate::whole_page::PageEnd;

const ACTION: &str = "list";
const LOOK: &str = "look at";
/// A server that repeats itself now and then is put up with.
const SAME_PAGE_AT_MOST: u32 = 8;
/// What some Hadoop file systems append to a folder's name to make an empty object that stands for it.
const HADOOP_FOLDER_MARKER: &str = "_$folder$";

/// Whether there is any key in this folder, or the object itself.
pub(crate) async fn exists(
    connection: &S3Connection,
    bucket: &str,
    prefix: &str,
) -> Result<bool, StorageError> {
    let place = format!("s3://{bucket}/{prefix}");
    let page = request_page(
        connection,
        bucket,
        prefix,
        &PageRequest { max_keys: Some(1), ..PageRequest::default() },
        &place,
    )
    .await?;
    Ok(!page.contents().is_empty() || head(connection, bucket, prefix, &place).await?.is_some())
}

/// Lists a folder, or the one object of this name if no key lies in a folder of this name.
pub(crate) async fn list(
    connection: &S3Connection,
    root: &Location,
    selection: Selection<'_>,
) -> Result<Listing, StorageError> {
    let Place::S3 { bucket, prefix } = root.place() else {
        unreachable!("only locations in S3 are listed here")
    };
    let place = root.to_string();
    let by_glob = selection.location_glob.is_some();
    let recursive = selection.options.recursive || by_glob;
    // Of a glob's first part, what stands before its first special character narrows what the server has to list.
    let glob_head =
        selection.location_glob.as_ref().map(|glob| literal_head(glob.pattern())).unwrap_or_default();
    let narrowed = !glob_head.is_empty();
    let listed_prefix = format!("{prefix}{glob_head}");
    let mut listing = ListingBuilder::new(root, selection);

    let delimiter = (!recursive).then_some("/");
    for_each_entry(connection, bucket, &listed_prefix, delimiter, &place, |entry| {
        match entry {
            Entry::Object { key, object } => add_object(&mut listing, key, object, prefix),
            Entry::Folder { key } => {
                let path = key.strip_prefix(prefix.as_str()).unwrap_or(key).trim_end_matches('/');
                if path.starts_with('.') {
                    listing.add_dot_file(&escape(path.as_bytes()));
                }
            }
        }
        ControlFlow::Continue(())
    })
    .await?;
    // A narrower listing doesn't show the keys that tell an OUT.
    if (!recursive || narrowed) && holds_commit_log(connection, bucket, prefix, &place).await? {
        listing.add_output_folder("");
    }
    if listing.is_empty() && !prefix.is_empty() && !by_glob {
        return list_object(connection, bucket, prefix, &place, listing).await;
    }
    Ok(listing.finish(root.clone()))
}

/// As [`list`], but no more than up to the first photo.
pub(crate) async fn list_first(
    connection: &S3Connection,
    root: &Location,
    selection: Selection<'_>,
) -> Result<Listing, StorageError> {
    let Place::S3 { bucket, prefix } = root.place() else {
        unreachable!("only locations in S3 are listed here")
    };
    let place = root.to_string();
    let mut listing = ListingBuilder::new(root, selection);
    for_each_entry(connection, bucket, prefix, None, &place, |entry| {
        if let Entry::Object { key, object } = entry {
            add_object(&mut listing, key, object, prefix);
        }
        if listing.ends_in_a_photo() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .await?;
    if listing.is_empty() && !prefix.is_empty() {
        return list_object(connection, bucket, prefix, &place, listing).await;
    }
    Ok(listing.finish(root.clone()))
}

/// The listing of the one object that the location names.
async fn list_object(
    connection: &S3Connection,
    bucket: &str,
    prefix: &str,
    place: &str,
    folder: ListingBuilder<'_>,
) -> Result<Listing, StorageError> {
    let Some(mut photo) = head(connection, bucket, prefix, place).await? else {
        return Err(StorageError::new(
            StorageErrorKind::NotFound,
            ACTION,
            place,
            "there is no object of this name and none below it",
            "check the name",
        ));
    };
    let key = object_key(prefix);
    let (root_prefix, name) = key.split_at(key.rfind('/').map_or(0, |slash| slash + 1));
    let root = Location::s3(bucket.to_owned(), root_prefix.to_owned());
    photo.path = escape(name.as_bytes()).into_owned();
    let mut listing = ListingBuilder::new(&root, folder.into_selection());
    listing.add_named_file(photo);
    Ok(listing.finish(root))
}

/// The object that a prefix would name without the slash at its end; its `path` is still empty.
async fn head(
    connection: &S3Connection,
    bucket: &str,
    prefix: &str,
    place: &str,
) -> Result<Option<ListedPhoto>, StorageError> {
    let key = object_key(prefix);
    if key.is_empty() || key.ends_with('/') {
        return Ok(None);
    }
    head_key(connection, bucket, key, place, ACTION).await
}

async fn head_key(
    connection: &S3Connection,
    bucket: &str,
    key: &str,
    place: &str,
    action: &'static str,
) -> Result<Option<ListedPhoto>, StorageError> {
    let answer = connection
        .repeat(|| async {
            connection
                .client
                .head_object()
                .bucket(bucket)
                .key(key)
                .set_request_payer(connection.request_payer())
                .send()
                .await
                .map_err(|error| S3Failure::from_head(&error))
        })
        .await;
    match answer {
        Ok(object) => Ok(Some(ListedPhoto {
            path: String::new(),
            length: object.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or_default(),
            modification_time: object.last_modified().map(microseconds).unwrap_or_default(),
            etag: etag(object.e_tag()),
        })),
        Err(S3Failure { cause: S3FailureCause::NoSuchKey, .. }) => Ok(None),
        Err(failure) => Err(failure.into_storage_error(action, place, connection.endpoint_url.as_deref())),
    }
}

/// The object at an escaped path below a prefix as it is now, or `None` if there is none.
pub(crate) async fn look(
    connection: &S3Connection,
    bucket: &str,
    prefix: &str,
    path: &str,
) -> Result<Option<ListedPhoto>, StorageError> {
    let Ok(relative) = String::from_utf8(unescape(path).into_owned()) else { return Ok(None) };
    let key = format!("{prefix}{relative}");
    let place = format!("s3://{bucket}/{prefix}{path}");
    if key.is_empty() {
        return Ok(None);
    }
    if let Some(photo) = head_key(connection, bucket, &key, &place, LOOK).await? {
        return Ok(Some(ListedPhoto { path: path.to_owned(), ..photo }));
    }
    // A missing bucket gives the same answer, for `HEAD` has no body that could say more; a list page has one.
    let request = PageRequest { max_keys: Some(1), ..PageRequest::default() };
    request_page(connection, bucket, &key, &request, &place).await.map(|_| None)
}

async fn holds_commit_log(
    connection: &S3Connection,
    bucket: &str,
    prefix: &str,
    place: &str,
) -> Result<bool, StorageError> {
    let log = format!("{prefix}{COMMIT_LOG_FOLDER}/");
    let request = PageRequest { max_keys: Some(1), ..PageRequest::default() };
    Ok(!request_page(connection, bucket, &log, &request, place).await?.contents().is_empty())
}

/// What a page of a listing shows.
pub(crate) enum Entry<'a> {
    Object {
        key: &'a str,
        object: &'a Object,
    },
    /// With a delimiter: what stands for all keys that go on behind it.
    Folder {
        key: &'a str,
    },
}

/// Shows every key that begins with `prefix`, at least once, until `show` has seen enough. S3 lists in order and each key
/// once; not every server that speaks its protocol does.
pub(crate) async fn for_each_entry(
    connection: &S3Connection,
    bucket: &str,
    prefix: &str,
    delimiter: Option<&'static str>,
    place: &str,
    mut show: impl FnMut(Entry<'_>) -> ControlFlow<()>,
) -> Result<(), StorageError> {
    let mut request = PageRequest { delimiter, ..PageRequest::default() };
    let mut times_asked: HashMap<String, u32> = HashMap::new();
    loop {
        let page = request_page(connection, bucket, prefix, &request, place).await?;
        let url_encoded = page.encoding_type() == Some(&EncodingType::Url);
        for object in page.contents() {
            let key = raw_key(object.key().unwrap_or_default(), url_encoded, place)?;
            // What a server lists beyond what it was asked for isn't meant.
            if key.starts_with(prefix) && show(Entry::Object { key: &key, object }).is_break() {
                return Ok(());
            }
        }
        for folder in page.common_prefixes().iter().filter_map(|folder| folder.prefix()) {
            if show(Entry::Folder { key: &raw_key(folder, url_encoded, place)? }).is_break() {
                return Ok(());
            }
        }
        if page.is_truncated() != Some(true) {
            return Ok(());
        }
        let fault = |problem| StorageError::new(StorageErrorKind::Fault, ACTION, place, problem, "");
        let token = page
            .next_continuation_token()
            .ok_or_else(|| fault("the server says there are more keys and gives no way to ask for them"))?;
        // A page may come again, but a server that turns in circles would be listed for ever.
        let times = times_asked.entry(token.to_owned()).or_default();
        *times += 1;
        if *times > SAME_PAGE_AT_MOST {
            return Err(fault("the server gives the same page again and again"));
        }
        request.continuation_token = Some(token.to_owned());
    }
}

#[derive(Default)]
struct PageRequest {
    delimiter: Option<&'static str>,
    max_keys: Option<i32>,
    continuation_token: Option<String>,
}

async fn request_page(
    connection: &S3Connection,
    bucket: &str,
    prefix: &str,
    page: &PageRequest,
    place: &str,
) -> Result<aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output, StorageError> {
    let request = connection
        .client
        .list_objects_v2()
        .bucket(bucket)
        .prefix(prefix)
        // Without it, a key with a control character makes the answer something other than XML.
        .encoding_type(EncodingType::Url)
        .set_delimiter(page.delimiter.map(str::to_owned))
        .set_max_keys(page.max_keys)
        .set_continuation_token(page.continuation_token.clone())
        .set_request_payer(connection.request_payer());
    let is_first = page.continuation_token.is_none();
    let answer = connection
        .repeat(|| async {
            let end = PageEnd::default();
            let mut request = request.clone().customize().interceptor(end.clone());
            if is_first {
                request = request.config_override(connection.impatient());
            }
            match request.send().await {
                Ok(_) if end.is_missing() => Err(S3Failure::broke_off("the list page stops in the middle")),
                Ok(page) => Ok(page),
                Err(error) => Err(S3Failure::from_sdk(&error)),
            }
        })
        .await;
    answer.map_err(|failure| failure.into_storage_error(ACTION, place, connection.endpoint_url.as_deref()))
}

fn add_object(listing: &mut ListingBuilder<'_>, key: &str, object: &Object, prefix: &str) {
    let path = escape(key.strip_prefix(prefix).unwrap_or(key).as_bytes());
    let length = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
    if path.is_empty() || path.ends_with('/') || (length == 0 && path.ends_with(HADOOP_FOLDER_MARKER)) {
        listing.add_folder_marker(&path);
        return;
    }
    listing.add_file(ListedPhoto {
        path: path.into_owned(),
        length,
        modification_time: object.last_modified().map(microseconds).unwrap_or_default(),
        etag: etag(object.e_tag()),
    });
}

/// Undoes `encoding-type=url`, which is form encoding: `+` is a space.
fn raw_key<'a>(key: &'a str, url_encoded: bool, place: &str) -> Result<Cow<'a, str>, StorageError> {
    if !url_encoded {
        return Ok(Cow::Borrowed(key));
    }
    let spaced = key.replace('+', " ");
    match percent_encoding::percent_decode_str(&spaced).decode_utf8() {
        Ok(decoded) => Ok(Cow::Owned(decoded.into_owned())),
        Err(_) => Err(StorageError::new(
            StorageErrorKind::Invalid,
            ACTION,
            place,
            format!(
                "the server holds a key that isn't UTF-8 (`{key}`, percent-encoded), which S3 itself can't hold"
            ),
            "rename that object, or exclude its folder",
        )),
    }
}

fn object_key(prefix: &str) -> &str {
    prefix.strip_suffix('/').unwrap_or(prefix)
}

pub(crate) fn etag(header: Option<&str>) -> String {
    let header = header.unwrap_or_default();
    header.strip_prefix('"').and_then(|etag| etag.strip_suffix('"')).unwrap_or(header).to_owned()
}

fn microseconds(instant: &aws_smithy_types::DateTime) -> i64 {
    instant.secs().saturating_mul(1_000_000).saturating_add(i64::from(instant.subsec_nanos() / 1_000))
}

fn literal_head(pattern: &str) -> &str {
    let end =
        pattern.bytes().position(|byte| is_glob_character(byte) || byte == b'\\').unwrap_or(pattern.len());
    &pattern[..end]
}
