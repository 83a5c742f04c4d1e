//! Where the rows go: a URL, parsed and checked once, which never holds a password.

use std::fmt;
use std::str::FromStr;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

/// The parameters of a `postgres://` URL that mean the same here as they do to libpq.
const POSTGRES_PARAMETERS: [&str; 10] = [
    "application_name",
    "dbname",
    "host",
    "options",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];
const POSTGRES_PASSWORD_PARAMETERS: [&str; 2] = ["password", "sslpassword"];
/// What DynamoDB takes as a table's name.
const DYNAMODB_NAME_LENGTHS: std::ops::RangeInclusive<usize> = 3..=255;

/// Where results are exported to.
///
/// ```
/// use fruitbatch_export::{Target, TargetError};
///
/// let target: Target = "postgres://ada@db.example:5432/fruits?sslmode=verify-full".parse()?;
/// assert!(matches!(target, Target::Postgres(_)));
///
/// let target: Target = "dynamodb://fruits?region=eu-west-1".parse()?;
/// let Target::DynamoDb(target) = target else { unreachable!("the scheme says so") };
/// assert_eq!((target.table(), target.region()), ("fruits", Some("eu-west-1")));
///
/// let refused = "postgres://ada:hunter2@db.example/fruits".parse::<Target>();
/// assert_eq!(refused, Err(TargetError::HoldsPassword));
/// # Ok::<(), TargetError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `postgres://USER@HOST:PORT/DATABASE`: a table there.
    Postgres(PostgresTarget),
    /// `dynamodb://TABLE`: that table.
    DynamoDb(DynamoDbTarget),
}

/// A PostgreSQL database and how it is reached: `postgres://[USER@][HOST][:PORT]/[DATABASE][?sslmode=...]`, where
/// `postgresql://` does as well. What the URL leaves out comes from libpq's variables (`PGHOST`, `PGUSER`, `PGSSLMODE`,
/// `PGOPTIONS`, ...) and its defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresTarget {
    url: Url,
}

/// A table of DynamoDB: `dynamodb://TABLE[?region=REGION&endpoint-url=URL]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamoDbTarget {
    table: String,
    region: Option<String>,
    endpoint_url: Option<String>,
}

/// A text that is no [`Target`]. Shows no part of the text: a secret may stand anywhere in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Neither of the two kinds.
    #[error(
        "results can't be exported to a place of this kind; write `postgres://USER@HOST:PORT/DATABASE` or \
         `dynamodb://TABLE`"
    )]
    UnknownScheme,
    /// It begins well and makes no sense after that.
    #[error(
        "the target can't be read as a URL; write `postgres://USER@HOST:PORT/DATABASE`, with `%40`, `%2F`, `%3F` and \
         `%23` for `@`, `/`, `?` and `#` inside of a name"
    )]
    BadPostgresUrl,
    /// Passwords in URLs end up in the shell's history and in lists of processes.
    #[error(
        "the target holds a password; remove it and put it into ~/.pgpass, a file named by PGPASSFILE (both readable by \
         you alone), or PGPASSWORD"
    )]
    HoldsPassword,
    /// For one of [`PostgresTarget`].
    #[error("the target has a parameter that isn't known; known are {}", POSTGRES_PARAMETERS.join(", "))]
    UnknownPostgresParameter,
    /// In the URL or in PGSSLMODE.
    #[error(
        "the mode of TLS (`sslmode`, PGSSLMODE) must be disable, prefer, require, verify-ca or verify-full"
    )]
    BadSslMode,
    /// No table, or a name that DynamoDB would not take.
    #[error(
        "the target names no table that DynamoDB could have: write `dynamodb://TABLE`, with 3 to 255 letters, digits, \
         `_`, `-` or `.`"
    )]
    BadDynamoDbTable,
    /// Access keys don't belong into a URL either.
    #[error(
        "the target holds a user name, a port or a path; write `dynamodb://TABLE` and pass credentials by the environment \
         or a profile"
    )]
    MoreThanDynamoDbTable,
    /// For one of [`DynamoDbTarget`].
    #[error("the target has a parameter that isn't known; known are region and endpoint-url, each once")]
    UnknownDynamoDbParameter,
    /// `endpoint-url` is no server's address, or holds more than that.
    #[error("`endpoint-url` of the target must be `http://HOST:PORT` or `https://HOST`")]
    BadEndpoint,
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        match text.split_once("://") {
            Some(("postgres" | "postgresql", _)) => PostgresTarget::parse(text).map(Self::Postgres),
            Some(("dynamodb", _)) => DynamoDbTarget::parse(text).map(Self::DynamoDb),
            _ => Err(TargetError::UnknownScheme),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(target) => target.fmt(formatter),
            Self::DynamoDb(target) => target.fmt(formatter),
        }
    }
}

impl PostgresTarget {
    fn parse(text: &str) -> Result<Self, TargetError> {
        let url = Url::parse(text).map_err(|_| TargetError::BadPostgresUrl)?;
        let is_password = |key: &str| POSTGRES_PASSWORD_PARAMETERS.contains(&key);
        if url.password().is_some() || url.query_pairs().any(|(key, _)| is_password(&key)) {
            return Err(TargetError::HoldsPassword);
        }
        // `user:12/34@host/db` reads as a host `user` with a port 12: a part of the password would be told as an address.
        let rest_holds_at = url.path().contains('@') || url.query().is_some_and(|query| query.contains('@'));
        if rest_holds_at || url.fragment().is_some() {
            return Err(TargetError::BadPostgresUrl);
        }
        for (key, value) in url.query_pairs() {
            if !POSTGRES_PARAMETERS.contains(&&*key) {
                return Err(TargetError::UnknownPostgresParameter);
            }
            if key == "sslmode" && !is_ssl_mode(&value) {
                return Err(TargetError::BadSslMode);
            }
        }
        let target = Self { url };
        target.connect_options()?;
        Ok(target)
    }

    /// The URL with what the environment adds to it, the password among that: never to be shown.
    pub(crate) fn connect_options(&self) -> Result<PgConnectOptions, TargetError> {
        // It would be passed over in silence, and the connection not be encrypted.
        if std::env::var("PGSSLMODE").is_ok_and(|mode| !is_ssl_mode(&mode)) {
            return Err(TargetError::BadSslMode);
        }
        let options = PgConnectOptions::from_url(&self.url).map_err(|_| TargetError::BadPostgresUrl)?;
        // Statements are run once each, and a pooler between us and the server may not know prepared ones.
        Ok(options.statement_cache_capacity(0).disable_statement_logging())
    }
}

/// `allow` is one to libpq, but here it would be a `disable`.
fn is_ssl_mode(mode: &str) -> bool {
    mode.parse::<PgSslMode>().is_ok_and(|mode| !matches!(mode, PgSslMode::Allow))
}

impl fmt::Display for PostgresTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(formatter)
    }
}

impl DynamoDbTarget {
    /// The table's name.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The region, if the URL says one.
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// The server, if the URL names one other than AWS's.
    pub fn endpoint_url(&self) -> Option<&str> {
        self.endpoint_url.as_deref()
    }

    fn parse(text: &str) -> Result<Self, TargetError> {
        let url = Url::parse(text).map_err(|_| TargetError::BadDynamoDbTable)?;
        let has_user = !url.username().is_empty() || url.password().is_some();
        let has_path = !matches!(url.path(), "" | "/");
        if has_user || url.port().is_some() || has_path || url.fragment().is_some() {
            return Err(TargetError::MoreThanDynamoDbTable);
        }
        let table = url.host_str().unwrap_or_default().to_owned();
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if !DYNAMODB_NAME_LENGTHS.contains(&table.len()) || !table.bytes().all(is_allowed) {
            return Err(TargetError::BadDynamoDbTable);
        }
        let mut target = Self { table, region: None, endpoint_url: None };
        for (key, value) in url.query_pairs() {
            let parameter = match &*key {
                "region" => &mut target.region,
                "endpoint-url" => &mut target.endpoint_url,
                _ => return Err(TargetError::UnknownDynamoDbParameter),
            };
            if value.is_empty() || parameter.replace(value.into_owned()).is_some() {
                return Err(TargetError::UnknownDynamoDbParameter);
            }
        }
        match &target.endpoint_url {
            Some(endpoint_url) if !is_server(endpoint_url) => Err(TargetError::BadEndpoint),
            _ => Ok(target),
        }
    }
}

fn is_server(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    })
}

impl fmt::Display for DynamoDbTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "dynamodb://{}", self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(text: &str) -> TargetError {
        text.parse::<Target>().unwrap_err()
    }

    #[test]
    fn both_kinds_are_read() {
        for text in [
            "postgres://ada@db.example:5433/fruits?sslmode=require",
            "postgresql://db.example/fruits",
            "postgres:///fruits?host=/run/postgresql&user=ada",
            "postgres://ada@%2Frun%2Fpostgresql/fruits",
            "postgres://",
        ] {
            let target: Target = text.parse().unwrap();
            assert!(matches!(target, Target::Postgres(_)), "{text}");
            assert_eq!(target.to_string(), text);
        }
        let target =
            "dynamodb://Fruit_results.v-2?endpoint-url=http%3A%2F%2F127.0.0.1%3A8000&region=eu-west-1";
        let Target::DynamoDb(target) = target.parse().unwrap() else { panic!("the scheme says so") };
        assert_eq!(target.table(), "Fruit_results.v-2");
        assert_eq!(target.region(), Some("eu-west-1"));
        assert_eq!(target.endpoint_url(), Some("http://127.0.0.1:8000"));
        let Target::DynamoDb(target) = "dynamodb://abc?endpoint-url=https://db.example".parse().unwrap()
        else {
            panic!("the scheme says so")
        };
        assert_eq!(target.endpoint_url(), Some("https://db.example"));
    }

    #[test]
    fn a_password_is_refused_and_never_shown() {
        for text in [
            "postgres://ada:hunter2@db.example/fruits",
            "postgresql://ada:hunter2@db.example/fruits",
            "postgres://:hunter2@db.example/fruits",
            "postgres://ada:hunt@er2@db.example/fruits",
            "postgres://db.example/fruits?user=ada&password=hunter2",
            "postgres://db.example/fruits?sslpassword=hunter2",
        ] {
            let error = error_of(text);
            assert_eq!(error, TargetError::HoldsPassword, "{text}");
            assert!(error.to_string().contains("PGPASSFILE"));
        }
        // Passwords that break the URL: whatever is found wrong, no piece of them is shown.
        for text in [
            "postgres://ada:hunter2/more@db.example/fruits",
            "postgres://ada:1234/hunter2@db.example/fruits",
            "postgres://ada:1234?hunter2@db.example/fruits",
            "postgres://ada:1234#hunter2@db.example/fruits",
            "postgres://ada:1234?hunter2=@db.example/fruits",
            "postgres://db.example/fruits?hunter2=1",
            "postgres://db.example/fruits?sslmode=hunter2",
            "postgres://db.example/fruits?port=hunter2",
            "hunter2://ada@db.example",
            "host=db.example password=hunter2",
            "mysql://ada:hunter2@db.example/fruits",
            "dynamodb://key:hunter2@fruits",
            "dynamodb://fruits?hunter2=1",
            "dynamodb://fruits?endpoint-url=http://ada:hunter2@127.0.0.1:8000",
        ] {
            let error = error_of(text);
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2") && !shown.contains("1234"), "{text}: {shown}");
        }
    }

    #[test]
    fn whatever_would_be_passed_over_in_silence_is_refused() {
        for (text, expected) in [
            ("", TargetError::UnknownScheme),
            ("results.db", TargetError::UnknownScheme),
            ("sqlite://results.db", TargetError::UnknownScheme),
            ("postgres://db.example:port/fruits", TargetError::BadPostgresUrl),
            ("postgres://db.example/fruits#x", TargetError::BadPostgresUrl),
            ("postgres://db.example/fruits?sslmod=verify-full", TargetError::UnknownPostgresParameter),
            ("postgres://db.example/fruits?sslmode=verify", TargetError::BadSslMode),
            ("postgres://db.example/fruits?sslmode=allow", TargetError::BadSslMode),
            ("dynamodb://", TargetError::BadDynamoDbTable),
            ("dynamodb://ab", TargetError::BadDynamoDbTable),
            ("dynamodb://fr%20uits", TargetError::BadDynamoDbTable),
            ("dynamodb://fruits/eu-west-1", TargetError::MoreThanDynamoDbTable),
            ("dynamodb://fruits:8000", TargetError::MoreThanDynamoDbTable),
            ("dynamodb://fruits?regoin=eu-west-1", TargetError::UnknownDynamoDbParameter),
            ("dynamodb://fruits?region=", TargetError::UnknownDynamoDbParameter),
            ("dynamodb://fruits?region=a&region=b", TargetError::UnknownDynamoDbParameter),
            ("dynamodb://fruits?endpoint-url=127.0.0.1:8000", TargetError::BadEndpoint),
        ] {
            assert_eq!(error_of(text), expected, "{text}");
        }
    }
}
