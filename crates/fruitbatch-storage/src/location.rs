//! Where photos are read and results written: a local path or a place in S3, parsed once and trusted after that.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::path_escape::{escape, unescape};

/// A folder, a file or a glob over files: local (`photos`, `/data/photos`, `file:///data/photos`) or in S3
/// (`s3://bucket/prefix/`, and `s3a://` as Hadoop writes it).
///
/// Local paths become absolute at once. S3 keys are taken raw, exactly as the console and the AWS command line show
/// them: `s3://fruits/apple#12 100%+ü.jpg` needs no percent-encoding. Whether the last part names a folder or a file is
/// found out when it is used, so `s3://b/p` and `s3://b/p/` are the same location.
///
/// [`Display`](fmt::Display) gives the canonical URI, and parsing that gives the same location back.
///
/// ```
/// use fruitbatch_storage::Location;
///
/// let input: Location = "s3a://fruits/Apple Braeburn/".parse()?;
/// assert_eq!(input.to_string(), "s3://fruits/Apple Braeburn");
/// let output: Location = "/data/fruits out".parse()?;
/// assert_eq!(output.to_string(), "file:///data/fruits%20out");
/// assert!(!output.is_same_or_above(&input));
/// # Ok::<(), fruitbatch_storage::LocationError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Location {
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Local {
        /// Absolute, without `.`, doubled or trailing slashes; `..` stays, because what it means depends on links.
        path: PathBuf,
    },
    S3 {
        bucket: String,
        /// Empty (the whole bucket) or ends in `/`.
        prefix: String,
    },
}

/// A text that isn't a [`Location`]. Names no part of a URL that may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocationError {
    /// The text is empty.
    #[error("a location is empty; name a folder, a file or `s3://BUCKET/PREFIX/`")]
    Empty,
    /// A URL with a user name or password.
    #[error(
        "a location holds a user name or a password; remove it and pass credentials by the environment or a profile"
    )]
    HoldsCredentials,
    /// A URL of a kind that can't be read.
    #[error(
        "locations that begin with `{scheme}://` can't be read; use a local path, `file://`, `s3://` or `s3a://`"
    )]
    UnknownScheme {
        /// What stands before `://`.
        scheme: String,
    },
    /// `s3://` without a bucket, or with a bucket name that S3 would not take.
    #[error("`{bucket}` can't be the name of an S3 bucket; write `s3://BUCKET/PREFIX/`")]
    BadBucket {
        /// What stands where the bucket should.
        bucket: String,
    },
    /// A `file://` URL that names no path of this machine.
    #[error("`{url}` names no local path: {problem}")]
    BadFileUrl {
        /// The URL.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The path is relative and the current folder can't be told.
    #[error("`{path}` is relative and the current folder can't be told: {problem}; name an absolute path")]
    NoCurrentFolder {
        /// The path.
        path: String,
        /// The system's message.
        problem: String,
    },
}

impl Location {
    /// A local path, of any bytes; a relative one starts at the current folder.
    ///
    /// # Errors
    /// The path is empty, or relative while the current folder can't be told.
    pub fn from_path(path: &Path) -> Result<Self, LocationError> {
        if path.as_os_str().is_empty() {
            return Err(LocationError::Empty);
        }
        let absolute = std::path::absolute(path).map_err(|error| LocationError::NoCurrentFolder {
            path: path.display().to_string(),
            problem: error.to_string(),
        })?;
        Ok(Self::local(absolute.components().collect()))
    }

    pub(crate) fn local(path: PathBuf) -> Self {
        Self { place: Place::Local { path } }
    }

    /// `prefix` is empty or ends in `/`.
    pub(crate) fn s3(bucket: String, prefix: String) -> Self {
        debug_assert!(prefix.is_empty() || prefix.ends_with('/'));
        Self { place: Place::S3 { bucket, prefix } }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether it is in S3.
    pub fn is_s3(&self) -> bool {
        matches!(self.place, Place::S3 { .. })
    }

    /// The bucket and the prefix of a location in S3; the prefix is empty, for the whole bucket, or ends in `/`.
    pub fn bucket_and_prefix(&self) -> Option<(&str, &str)> {
        match &self.place {
            Place::Local { .. } => None,
            Place::S3 { bucket, prefix } => Some((bucket, prefix)),
        }
    }

    /// The absolute path of a local location.
    pub fn local_path(&self) -> Option<&Path> {
        match &self.place {
            Place::Local { path } => Some(path),
            Place::S3 { .. } => None,
        }
    }

    /// The place at `relative` below this one. `relative` is `/`-separated and escaped as
    /// [`path_escape`](crate::path_escape) says.
    #[must_use]
    pub fn join(&self, relative: &str) -> Self {
        match &self.place {
            Place::Local { path } => {
                let name = unescape(relative.trim_matches('/'));
                Self::local(path.join(OsStr::from_bytes(&name)).components().collect())
            }
            Place::S3 { bucket, prefix } => {
                let mut prefix = format!("{prefix}{}", String::from_utf8_lossy(&unescape(relative)));
                if !prefix.is_empty() && !prefix.ends_with('/') {
                    prefix.push('/');
                }
                Self::s3(bucket.clone(), prefix)
            }
        }
    }

    /// Whether this location is `other` or a folder somewhere above it. Local paths are compared as they resolve:
    /// symbolic links and `..` of the part that exists are followed first.
    pub fn is_same_or_above(&self, other: &Self) -> bool {
        self.relative_path_to(other).is_some()
    }

    /// Whether this location lies inside `other`, and isn't `other` itself.
    pub fn is_below(&self, other: &Self) -> bool {
        other.relative_path_to(self).is_some_and(|relative| !relative.is_empty())
    }

    /// The escaped path from this folder to `other`, without slashes at its ends: empty if they are the same, `None`
    /// if `other` doesn't lie in it.
    pub(crate) fn relative_path_to(&self, other: &Self) -> Option<String> {
        match (&self.place, &other.place) {
            (Place::Local { path: above }, Place::Local { path: below }) => {
                let (above, below) = (resolve(above), resolve(below));
                Some(escape(below.strip_prefix(above).ok()?.as_os_str().as_bytes()).into_owned())
            }
            (Place::S3 { bucket: above_bucket, prefix: above }, Place::S3 { bucket, prefix: below }) => {
                let relative = below.strip_prefix(above.as_str()).filter(|_| above_bucket == bucket)?;
                Some(escape(relative.trim_end_matches('/').as_bytes()).into_owned())
            }
            _ => None,
        }
    }

    /// The last folder before the first part that holds one of `* ? [ {`, and the pattern from there on (escaped, `/`
    /// between its parts); `None` if no part does.
    pub(crate) fn split_glob(&self) -> Option<(Self, String)> {
        match &self.place {
            Place::Local { path } => {
                let is_pattern =
                    |part: &Component<'_>| part.as_os_str().as_bytes().iter().copied().any(is_glob_character);
                let fixed: PathBuf = path.components().take_while(|part| !is_pattern(part)).collect();
                let pattern = path.strip_prefix(&fixed).ok()?;
                let pattern = escape(pattern.as_os_str().as_bytes()).into_owned();
                (!pattern.is_empty()).then(|| (Self::local(fixed), pattern))
            }
            Place::S3 { bucket, prefix } => {
                let first = prefix.bytes().position(is_glob_character)?;
                let start = prefix[..first].rfind('/').map_or(0, |slash| slash + 1);
                let pattern = escape(prefix[start..].trim_end_matches('/').as_bytes()).into_owned();
                Some((Self::s3(bucket.clone(), prefix[..start].to_owned()), pattern))
            }
        }
    }

    /// The location's name in messages: the absolute path, or the `s3://` URI.
    pub(crate) fn shown(&self) -> String {
        match &self.place {
            Place::Local { path } => path.display().to_string(),
            Place::S3 { .. } => self.to_string(),
        }
    }
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        match text.split_once("://") {
            // A path may hold `://` further on (`a b/c://d`), a scheme is letters, digits and `+ - .` alone.
            Some((scheme, rest))
                if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) =>
            {
                match scheme.to_ascii_lowercase().as_str() {
                    "s3" | "s3a" => parse_s3(rest),
                    "file" => parse_file_url(text),
                    scheme => Err(LocationError::UnknownScheme { scheme: scheme.to_owned() }),
                }
            }
            _ => Self::from_path(Path::new(text)),
        }
    }
}

fn parse_s3(rest: &str) -> Result<Location, LocationError> {
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.contains('@') {
        return Err(LocationError::HoldsCredentials);
    }
    let is_bucket_character = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if bucket.is_empty() || !bucket.bytes().all(is_bucket_character) {
        // `KEY:SECRET` without a bucket must not reach a message either.
        let bucket = bucket.split(':').next().unwrap_or_default().to_owned();
        return Err(LocationError::BadBucket { bucket });
    }
    let mut prefix = key.to_owned();
    if !prefix.is_empty() && !prefix.ends_with('/') {
        prefix.push('/');
    }
    Ok(Location::s3(bucket.to_owned(), prefix))
}

fn parse_file_url(text: &str) -> Result<Location, LocationError> {
    let bad = |problem| LocationError::BadFileUrl { url: text.to_owned(), problem };
    let url = url::Url::parse(text).map_err(|_| LocationError::BadFileUrl {
        // Not echoed: what doesn't parse may hold anything.
        url: "file://...".to_owned(),
        problem: "it isn't a URL; write `file:///` and an absolute path",
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(LocationError::HoldsCredentials);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad(
            "`?` and `#` of a name are written `%3F` and `%23` in a URL; or pass the plain path",
        ));
    }
    let path = url
        .to_file_path()
        .map_err(|()| bad("it names another host; write `file:///` and an absolute path"))?;
    Location::from_path(&path)
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Local { path } => {
                let url = url::Url::from_file_path(path).map_err(|()| fmt::Error)?;
                write!(formatter, "{url}")
            }
            Place::S3 { bucket, prefix } => {
                // One slash at the end says nothing; more of them are part of the keys.
                let trimmed = prefix.strip_suffix('/').unwrap_or(prefix);
                let key = if trimmed.is_empty() || trimmed.ends_with('/') { prefix } else { trimmed };
                write!(formatter, "s3://{bucket}/{key}")
            }
        }
    }
}

impl TryFrom<String> for Location {
    type Error = LocationError;

    fn try_from(text: String) -> Result<Self, LocationError> {
        text.parse()
    }
}

impl From<Location> for String {
    fn from(location: Location) -> Self {
        location.to_string()
    }
}

pub(crate) fn is_glob_character(byte: u8) -> bool {
    matches!(byte, b'*' | b'?' | b'[' | b'{')
}

/// The path with the links of its existing part followed; the rest is taken by its text.
fn resolve(path: &Path) -> PathBuf {
    let parts: Vec<Component<'_>> = path.components().collect();
    for existing in (1..=parts.len()).rev() {
        let Ok(mut resolved) = parts[..existing].iter().collect::<PathBuf>().canonicalize() else { continue };
        for part in &parts[existing..] {
            match part {
                Component::ParentDir => {
                    resolved.pop();
                }
                part => resolved.push(part),
            }
        }
        return resolved;
    }
    path.to_owned()
}

/// The path of a file at an escaped path below `folder`, or `None` if `relative` would lead out of it.
pub(crate) fn local_file_below(folder: &Path, relative: &str) -> Option<PathBuf> {
    let relative = PathBuf::from(std::ffi::OsString::from_vec(unescape(relative).into_owned()));
    let stays_inside = relative.components().all(|part| matches!(part, Component::Normal(_)));
    (stays_inside && !relative.as_os_str().is_empty()).then(|| folder.join(relative))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(text: &str) -> Location {
        text.parse().unwrap()
    }

    #[test]
    fn the_display_of_a_location_is_canonical_and_parses_back() {
        for (text, canonical) in [
            ("s3://b", "s3://b/"),
            ("s3://b/", "s3://b/"),
            ("s3a://b/p", "s3://b/p"),
            ("s3://b/p/", "s3://b/p"),
            ("s3://b/a//", "s3://b/a//"),
            ("s3://b//", "s3://b//"),
            ("s3://b/apple#12 100%+ü&?x=1.jpg", "s3://b/apple#12 100%+ü&?x=1.jpg"),
            ("/data/./photos//x/", "file:///data/photos/x"),
            ("file:///data/a%20b%23c", "file:///data/a%20b%23c"),
            ("/data/100%/ü#1", "file:///data/100%25/%C3%BC%231"),
            ("/", "file:///"),
        ] {
            assert_eq!(location(text).to_string(), canonical, "{text}");
            assert_eq!(location(canonical), location(text), "{text}");
            let json = serde_roundtrip(&location(text));
            assert_eq!(json, location(text), "{text}");
        }
    }

    fn serde_roundtrip(location: &Location) -> Location {
        String::from(location.clone()).try_into().unwrap()
    }

    #[test]
    fn a_path_that_is_not_utf_8_survives_its_display() {
        let odd = Location::from_path(Path::new(OsStr::from_bytes(b"/data/caf\xe9"))).unwrap();
        assert_eq!(odd.to_string(), "file:///data/caf%E9");
        assert_eq!(location(&odd.to_string()), odd);
    }

    #[test]
    fn a_relative_path_starts_at_the_current_folder() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(location("photos").local_path().unwrap(), here.join("photos"));
        assert_eq!(location("./a b/c://d").local_path().unwrap(), here.join("a b/c:/d"));
    }

    #[test]
    fn what_is_no_location_is_refused_and_no_secret_is_repeated() {
        assert_eq!("".parse::<Location>().unwrap_err(), LocationError::Empty);
        assert!(matches!("gs://b/p".parse::<Location>().unwrap_err(), LocationError::UnknownScheme { .. }));
        assert!(matches!("s3://".parse::<Location>().unwrap_err(), LocationError::BadBucket { .. }));
        assert!(matches!("file://host/x".parse::<Location>().unwrap_err(), LocationError::BadFileUrl { .. }));
        assert!(matches!("file:///x#y".parse::<Location>().unwrap_err(), LocationError::BadFileUrl { .. }));
        for text in [
            "s3://AKIA:hunter2@bucket/p",
            "s3://AKIA:hunter2/p",
            "https://u:hunter2@host/",
            "file://u:hunter2@host/x",
        ] {
            let error = text.parse::<Location>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn above_and_below_in_s3_go_by_folders_not_by_letters() {
        let photos = location("s3://b/photos/");
        assert!(photos.is_same_or_above(&photos));
        assert!(photos.is_same_or_above(&location("s3://b/photos/2024/*.jpg")));
        assert!(location("s3://b/").is_same_or_above(&photos));
        assert!(!photos.is_same_or_above(&location("s3://b/photos-2/")));
        assert!(!photos.is_same_or_above(&location("s3://c/photos/")));
        assert!(!photos.is_same_or_above(&location("/photos")));
        assert!(location("s3://b/photos/out").is_below(&photos));
        assert!(!photos.is_below(&photos));
    }

    #[test]
    fn above_and_below_on_disk_follow_links_and_what_is_not_there_yet() {
        let folder = tempfile::tempdir().unwrap();
        let photos = folder.path().join("photos");
        std::fs::create_dir(&photos).unwrap();
        std::os::unix::fs::symlink(&photos, folder.path().join("link")).unwrap();
        let at = |path: &str| Location::from_path(&folder.path().join(path)).unwrap();
        assert!(at("link").is_same_or_above(&at("photos")));
        assert!(at("photos").is_same_or_above(&at("link/2024/not there yet")));
        assert!(at("link/out").is_below(&at("photos")));
        assert!(at("photos/../photos").is_same_or_above(&at("photos")));
        assert!(at("not/there/..").is_same_or_above(&at("not")));
        assert!(!at("photos").is_same_or_above(&at("photos-2")));
    }

    #[test]
    fn a_glob_splits_at_its_last_fixed_folder() {
        let split =
            |text: &str| location(text).split_glob().map(|(root, pattern)| (root.to_string(), pattern));
        let some = |root: &str, pattern: &str| Some((root.to_owned(), pattern.to_owned()));
        assert_eq!(split("s3://b/p/*/x.jpg"), some("s3://b/p", "*/x.jpg"));
        assert_eq!(split("s3://b/img_[0-9].jpg"), some("s3://b/", "img_[0-9].jpg"));
        assert_eq!(split("/photos/a/img_*.jpg"), some("file:///photos/a", "img_*.jpg"));
        assert_eq!(split("/photos/{a,b}/c"), some("file:///photos", "{a,b}/c"));
        assert_eq!(split("/photos/a"), None);
        assert_eq!(split("s3://b/p"), None);
    }

    #[test]
    fn a_path_from_a_listing_cannot_lead_out_of_its_folder() {
        let folder = Path::new("/photos");
        assert_eq!(local_file_below(folder, "a/b.jpg").unwrap(), Path::new("/photos/a/b.jpg"));
        for outside in ["", "../x", "a/../../x", "/etc/passwd", "."] {
            assert_eq!(local_file_below(folder, outside), None, "{outside}");
        }
    }
}
