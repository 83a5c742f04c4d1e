//! What a failure of PostgreSQL means, and what to do about it.
//!
//! Only the server's message, detail and code are kept; nothing of what was sent to it, the password least of all.

use std::fmt::Display;
use std::io::ErrorKind;

use sqlx::postgres::{PgConnectOptions, PgDatabaseError};

use crate::error::ExportError;

/// Who is asked, by whom: what failures name.
#[derive(Debug, Clone)]
pub(crate) struct PostgresPlace {
    /// `HOST:PORT`, or the folder of a socket.
    pub(crate) server: String,
    pub(crate) user: String,
    pub(crate) database: String,
}

impl PostgresPlace {
    pub(crate) fn of(options: &PgConnectOptions) -> Self {
        let socket = options.get_socket().map(|folder| folder.display().to_string());
        let host = options.get_host();
        let server = match socket {
            Some(folder) => format!("{folder} (port {})", options.get_port()),
            None if host.starts_with('/') => format!("{host} (port {})", options.get_port()),
            None => format!("{host}:{}", options.get_port()),
        };
        let user = options.get_username().to_owned();
        // What the server does if none is named.
        let database = options.get_database().unwrap_or(&user).to_owned();
        Self { server, user, database }
    }

    /// A failure before the first statement.
    pub(crate) fn no_connection(&self, error: &sqlx::Error) -> ExportError {
        match error {
            sqlx::Error::Database(answer) => self.refused(answer.downcast_ref()),
            sqlx::Error::Tls(error) => self.no_tls(error),
            // A handshake that fails is one of these: rustls finds the server's certificate invalid.
            sqlx::Error::Io(error) if error.kind() == ErrorKind::InvalidData => self.no_tls(error),
            // Names no more than the method or the field.
            error => self.unreachable(error),
        }
    }

    fn no_tls(&self, problem: &dyn Display) -> ExportError {
        ExportError::Unreachable {
            server: self.server.clone(),
            problem: format!("no TLS: {problem}"),
            next_step: "check the URL's `sslmode`, and that `sslrootcert` names the authority of the server's certificate"
                .to_owned(),
        }
    }

    /// Nobody answers.
    pub(crate) fn unreachable(&self, problem: &dyn Display) -> ExportError {
        ExportError::Unreachable {
            server: self.server.clone(),
            problem: problem.to_string(),
            next_step:
                "check the host and the port, that a PostgreSQL server runs there, and that no firewall lies \
                        between"
                    .to_owned(),
        }
    }

    /// A failure of a statement.
    pub(crate) fn failed(&self, error: &sqlx::Error) -> ExportError {
        match error {
            sqlx::Error::Database(answer) => self.refused(answer.downcast_ref()),
            error => ExportError::ConnectionLost { server: self.server.clone(), problem: error.to_string() },
        }
    }

    /// A failure of the statement that sends the rows.
    pub(crate) fn rows_failed(&self, error: &sqlx::Error) -> ExportError {
        match error {
            // The one thing that is unique there is the path.
            sqlx::Error::Database(answer) if answer.is_unique_violation() => {
                let answer: &PgDatabaseError = answer.downcast_ref();
                let path = answer.detail().unwrap_or(answer.message());
                ExportError::DuplicatePath { path: path.trim_end_matches('.').to_owned() }
            }
            _ => self.failed(error),
        }
    }

    /// What the server says. Codes: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
    fn refused(&self, answer: &PgDatabaseError) -> ExportError {
        let server = self.server.clone();
        let problem = match answer.detail() {
            Some(detail) => format!("{} ({})", answer.message(), detail.trim_end_matches('.')),
            None => answer.message().to_owned(),
        };
        match answer.code() {
            "28P01" | "28000" => ExportError::Authentication {
                server,
                user: format!("`{}`", self.user),
                problem,
                next_step: "check the user's name, and its password in PGPASSWORD, ~/.pgpass or the file that PGPASSFILE \
                            names, which count only if nobody else can read them (`chmod 600`)"
                    .to_owned(),
            },
            "3D000" => ExportError::NotFound {
                problem: format!("{server} has no database `{}`", self.database),
                next_step: "check the target, or create it".to_owned(),
            },
            "3F000" => ExportError::NotFound {
                problem: format!("database `{}` on {server}: {problem}", self.database),
                next_step: "name a schema that is there (`--table SCHEMA.TABLE`), or create it".to_owned(),
            },
            "42501" => ExportError::PermissionDenied {
                server,
                problem,
                next_step: format!(
                    "let `{}` have TEMPORARY on the database, USAGE on the schema, and SELECT, INSERT, UPDATE on the \
                     table (DELETE too to prune it, CREATE on the schema if there is no table yet)",
                    self.user
                ),
            },
            // Starting, stopping, too many connections; terminated by an administrator.
            "57P03" | "53300" => ExportError::Unreachable {
                server,
                problem,
                next_step: "run the same command again in a while".to_owned(),
            },
            "57P01" | "57P02" | "57P05" => ExportError::ConnectionLost { server, problem },
            code => ExportError::Refused { server, problem: format!("{problem} (SQLSTATE {code})") },
        }
    }
}
