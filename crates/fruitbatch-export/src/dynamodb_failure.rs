//! What a failure of DynamoDB means, and what to do about it.
//!
//! Only the error's code and message are kept: the rest of an answer, or of what a source of credentials says, may hold
//! what must not be shown.

use std::error::Error;
use std::iter::successors;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::error::ExportError;

/// What is asked: what failures name.
#[derive(Debug, Clone)]
pub(crate) struct DynamoDbPlace {
    /// `DynamoDB in REGION`, or an endpoint.
    pub(crate) server: String,
    pub(crate) table: String,
}

impl DynamoDbPlace {
    pub(crate) fn failed<E>(&self, error: &SdkError<E, HttpResponse>) -> ExportError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        if let Some(error) = error_and_sources(error).find_map(|error| error.downcast_ref()) {
            return self.no_credentials(error);
        }
        match error {
            SdkError::ServiceError(answer) => self.refused(answer.err().code(), answer.err().message()),
            SdkError::DispatchFailure(failure) => {
                let problem = failure.as_connector_error().map_or_else(
                    || "the request failed".to_owned(),
                    |error| error_and_sources(error).last().unwrap_or(error).to_string(),
                );
                self.unreachable(problem)
            }
            SdkError::TimeoutError(_) => self.unreachable("no answer in time".to_owned()),
            SdkError::ResponseError(answer) => {
                let status = answer.raw().status().as_u16();
                self.unreachable(format!("the answer (status {status}) can't be read"))
            }
            error => ExportError::Refused {
                server: self.server.clone(),
                problem: error_and_sources(error).last().unwrap_or(error).to_string(),
            },
        }
    }

    fn unreachable(&self, problem: String) -> ExportError {
        ExportError::Unreachable {
            server: self.server.clone(),
            problem,
            next_step: "check the region, the target's `endpoint-url`, the network and the proxy settings"
                .to_owned(),
        }
    }

    fn no_credentials(&self, error: &CredentialsError) -> ExportError {
        let problem = match error {
            CredentialsError::CredentialsNotLoaded(_) => "no AWS credentials found",
            CredentialsError::ProviderTimedOut(_) => "the source of AWS credentials gave no answer in time",
            // What a source reports may hold its output, so only its kind is told.
            CredentialsError::InvalidConfiguration(_) => {
                "the configuration of AWS credentials (profile or environment) is not valid"
            }
            _ => "the source of AWS credentials failed",
        };
        self.authentication(problem.to_owned())
    }

    fn authentication(&self, problem: String) -> ExportError {
        ExportError::Authentication {
            server: self.server.clone(),
            user: "these AWS credentials".to_owned(),
            problem,
            next_step:
                "sign in (`aws configure` or `aws sso login`), name a profile, or set AWS_ACCESS_KEY_ID and \
                        AWS_SECRET_ACCESS_KEY"
                    .to_owned(),
        }
    }

    /// Codes: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>.
    fn refused(&self, code: Option<&str>, message: Option<&str>) -> ExportError {
        let server = self.server.clone();
        let code = code.unwrap_or("no code");
        let problem = match message {
            Some(message) => format!("{} ({code})", message.trim().trim_end_matches('.').replace('\n', " ")),
            None => code.to_owned(),
        };
        match code {
            "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "InvalidClientTokenId"
            | "IncompleteSignatureException"
            | "MissingAuthenticationTokenException"
            | "ExpiredTokenException" => self.authentication(problem),
            "AccessDeniedException" => ExportError::PermissionDenied {
                server,
                problem,
                next_step: "let these credentials have dynamodb:DescribeTable and dynamodb:BatchWriteItem on the table \
                            (dynamodb:Scan too to prune it, dynamodb:CreateTable to create it)"
                    .to_owned(),
            },
            "ResourceNotFoundException" => self.no_table(),
            "ThrottlingException" | "ProvisionedThroughputExceededException" | "RequestLimitExceeded" => {
                ExportError::Throttled { server, problem }
            }
            _ => ExportError::Refused { server, problem },
        }
    }

    pub(crate) fn no_table(&self) -> ExportError {
        ExportError::NotFound {
            problem: format!("{} has no table `{}`", self.server, self.table),
            next_step: "check name and region, or have it created with `--create-table`".to_owned(),
        }
    }
}

fn error_and_sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&error| error.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_by_what_to_do() {
        let place = DynamoDbPlace { server: "DynamoDB in eu-west-1".to_owned(), table: "fruits".to_owned() };
        let kind = |code: &str| match place.refused(Some(code), Some("Words of the server.")) {
            ExportError::Authentication { .. } => "authentication",
            ExportError::PermissionDenied { .. } => "permission",
            ExportError::NotFound { .. } => "not found",
            ExportError::Throttled { .. } => "throttled",
            ExportError::Refused { .. } => "refused",
            error => panic!("{error}"),
        };
        for (code, expected) in [
            ("UnrecognizedClientException", "authentication"),
            ("ExpiredTokenException", "authentication"),
            ("AccessDeniedException", "permission"),
            ("ResourceNotFoundException", "not found"),
            ("ProvisionedThroughputExceededException", "throttled"),
            ("ValidationException", "refused"),
        ] {
            assert_eq!(kind(code), expected, "{code}");
        }
        assert_eq!(
            place.refused(Some("ValidationException"), Some("Item size is too large.")).to_string(),
            "DynamoDB in eu-west-1 refuses the export: Item size is too large (ValidationException)"
        );
    }
}
