//! What AWS answered when a call failed, sorted by what a caller can do about it.

use std::fmt;

use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use domain::{Coded, ErrorCode};

/// One call: the IAM action it needs, and what it was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The action, such as `rds:CreateDBSnapshot`, as a policy spells it.
    pub action: &'static str,
    /// The resource's name.
    pub subject: String,
}

impl Call {
    /// Names a call.
    pub(crate) fn new(action: &'static str, subject: impl Into<String>) -> Self {
        Self { action, subject: subject.into() }
    }

    /// Sorts a failure of this call.
    pub(crate) fn failed<E>(self, error: SdkError<E, HttpResponse>) -> AwsError
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        Answer::of(error).sorted(self)
    }

    /// An answer that came, but lacks what it must have.
    pub(crate) fn lacks(self, what: &str) -> AwsError {
        let answer = Answer { code: "IncompleteAnswer".to_owned(), message: format!("the answer has no {what}"), status: None };
        AwsError::Unavailable { call: self, answer }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.action, self.subject)
    }
}

/// The service's own words about a failure, or the client's if no answer came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Answer {
    /// The error code, such as `DBInstanceNotFound`; `NoAnswer` if there was none.
    pub code: String,
    /// The message.
    pub message: String,
    /// The HTTP status, if an answer came.
    pub status: Option<u16>,
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}

/// Sorts of answers. Codes differ between services, so they are told apart by their families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Throttled,
    KeyUnusable,
    Denied,
    NotFound,
    Quota,
    Other,
}

impl Answer {
    pub(crate) fn of<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        match &error {
            SdkError::ServiceError(context) => Self {
                code: context.err().code().map_or_else(|| format!("HTTP {}", status.unwrap_or_default()), str::to_owned),
                message: context.err().message().unwrap_or("no message").to_owned(),
                status,
            },
            // Timeouts, refused connections, missing credentials: the chain of causes is all there is.
            _ => Self { code: "NoAnswer".to_owned(), message: chain(&error), status },
        }
    }

    pub(crate) fn is(&self, codes: &[&str]) -> bool {
        codes.contains(&self.code.as_str())
    }

    pub(crate) fn sort(&self) -> Sort {
        let code = self.code.as_str();
        let ends_with = |endings: &[&str]| endings.iter().any(|ending| code.ends_with(ending));
        let throttled =
            code.contains("Throttl") || code.contains("TooManyRequests") || matches!(code, "SlowDown" | "RequestLimitExceeded");
        if throttled || code == "ProvisionedThroughputExceededException" || self.status == Some(429) {
            return Sort::Throttled;
        }
        // KMS's own codes, and those by which other services pass on a refusal of KMS.
        if (code.contains("KMS") || code.contains("Kms")) && !ends_with(&["InternalException"])
            || matches!(
                code,
                "DisabledException"
                    | "KeyUnavailableException"
                    | "InvalidKeyUsageException"
                    | "DecryptionFailure"
                    | "EncryptionFailure"
            )
        {
            return Sort::KeyUnusable;
        }
        if code.contains("AccessDenied") || matches!(code, "AuthorizationError" | "UnauthorizedOperation" | "NotAuthorized") {
            return Sort::Denied;
        }
        if ends_with(&["NotFound", "NotFoundFault", "NotFoundException", "DoesNotExist"])
            || matches!(code, "NoSuchKey" | "NoSuchBucket" | "NoSuchVersion")
        {
            return Sort::NotFound;
        }
        // Quotas of how much there may be, such as `SnapshotQuotaExceeded`: time alone makes no room. Rates were sorted out above.
        if ends_with(&["QuotaExceeded", "QuotaExceededFault"]) {
            return Sort::Quota;
        }
        match self.status {
            Some(403) => Sort::Denied,
            Some(404) => Sort::NotFound,
            _ => Sort::Other,
        }
    }

    pub(crate) fn sorted(self, call: Call) -> AwsError {
        match self.sort() {
            Sort::Throttled => AwsError::Throttled { call, answer: self },
            Sort::KeyUnusable => AwsError::KeyUnusable { call, answer: self },
            Sort::Denied => AwsError::Denied { call, answer: self },
            Sort::NotFound => AwsError::NotFound { call, answer: self },
            Sort::Quota => AwsError::QuotaReached { call, answer: self },
            Sort::Other => AwsError::Unavailable { call, answer: self },
        }
    }
}

/// Why a call to AWS failed. The SDK has tried three times by then, where trying again could help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AwsError {
    /// There is no such thing.
    #[error("{call}: there is no such thing; compare the name in the plan or the template with what exists")]
    NotFound {
        /// The call.
        call: Call,
        /// The service's answer.
        #[source]
        answer: Answer,
    },
    /// The service refused the rate of calls.
    #[error("{call} was throttled; it is retried later, and if it keeps happening ask for a higher quota")]
    Throttled {
        /// The call.
        call: Call,
        /// The service's answer.
        #[source]
        answer: Answer,
    },
    /// The role may not do this.
    #[error("{call} is not permitted; allow the action in the function's role (infra/template.yaml) or the resource's policy")]
    Denied {
        /// The call.
        call: Call,
        /// The service's answer.
        #[source]
        answer: Answer,
    },
    /// The KMS key behind the resource is disabled, pending deletion, or not this role's to use.
    #[error("{call} needs a KMS key that cannot be used; enable the key, or allow the role in its policy")]
    KeyUnusable {
        /// The call.
        call: Call,
        /// The service's answer.
        #[source]
        answer: Answer,
    },
    /// It is there, but is not what its place in the configuration demands.
    #[error("{call}: what is stored there cannot be used; correct it, or the name in the plan or the template")]
    Unusable {
        /// The call.
        call: Call,
        /// What is wrong with it.
        #[source]
        answer: Answer,
    },
    /// The account holds as many of these as it may. Until a person makes room, every attempt ends like this.
    #[error(
        "{call}: the account has reached a quota; delete what is no longer needed (for snapshots those that retention marked as expired), or ask for a higher quota"
    )]
    QuotaReached {
        /// The call.
        call: Call,
        /// The service's answer.
        #[source]
        answer: Answer,
    },
    /// Anything else: the call may or may not have happened.
    #[error("{call} failed; look at the service's answer")]
    Unavailable {
        /// The call.
        call: Call,
        /// The service's answer.
        #[source]
        answer: Answer,
    },
}

impl Coded for AwsError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound { .. } | Self::Unusable { .. } | Self::QuotaReached { .. } => ErrorCode::NotConfigured,
            Self::Throttled { .. } => ErrorCode::Throttled,
            Self::Denied { .. } => ErrorCode::NotPermitted,
            Self::KeyUnusable { .. } => ErrorCode::KeyUnusable,
            Self::Unavailable { .. } => ErrorCode::StoreUnavailable,
        }
    }
}

impl AwsError {
    /// Whether the thing that was asked for does not exist, for callers to whom that is an answer.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_of_codes_is_told_apart() {
        let sort = |code: &str, status| Answer { code: code.to_owned(), message: String::new(), status: Some(status) }.sort();
        for (code, status, expected) in [
            ("ThrottlingException", 400, Sort::Throttled),
            ("Throttling", 400, Sort::Throttled),
            ("KmsThrottlingException", 400, Sort::Throttled),
            ("SlowDown", 503, Sort::Throttled),
            ("ProvisionedThroughputExceededException", 400, Sort::Throttled),
            ("HTTP 429", 429, Sort::Throttled),
            ("KMSInvalidStateException", 400, Sort::KeyUnusable),
            ("KMSAccessDeniedException", 400, Sort::KeyUnusable),
            ("DisabledException", 400, Sort::KeyUnusable),
            ("KMSInternalException", 500, Sort::Other),
            ("AccessDeniedException", 400, Sort::Denied),
            ("AccessDenied", 403, Sort::Denied),
            ("HTTP 403", 403, Sort::Denied),
            ("DBInstanceNotFound", 404, Sort::NotFound),
            ("DBSnapshotNotFound", 404, Sort::NotFound),
            ("NoSuchKey", 404, Sort::NotFound),
            ("ParameterNotFound", 400, Sort::NotFound),
            ("ResourceNotFoundException", 400, Sort::NotFound),
            ("ExecutionDoesNotExist", 400, Sort::NotFound),
            ("SnapshotQuotaExceeded", 400, Sort::Quota),
            ("InstanceQuotaExceeded", 400, Sort::Quota),
            ("StorageQuotaExceeded", 400, Sort::Quota),
            ("InternalError", 500, Sort::Other),
        ] {
            assert_eq!(sort(code, status), expected, "{code}");
        }
    }

    #[test]
    fn a_quota_that_is_reached_is_for_a_person() {
        let message = "Cannot create more than 100 manual snapshots".to_owned();
        let answer = Answer { code: "SnapshotQuotaExceeded".to_owned(), message, status: Some(400) };
        let report = domain::ErrorReport::from(answer.sorted(Call::new("rds:CreateDBSnapshot", "hf-1 of silo-a")));
        assert_eq!(report.code.class(), domain::error::Class::Permanent);
        assert_eq!(
            report.to_string(),
            "NotConfigured: rds:CreateDBSnapshot on hf-1 of silo-a: the account has reached a quota; delete what is no longer needed (for \
             snapshots those that retention marked as expired), or ask for a higher quota: SnapshotQuotaExceeded: Cannot create more than \
             100 manual snapshots"
        );
    }

    #[test]
    fn a_failure_names_the_call_the_subject_and_the_answer() {
        let answer = Answer {
            code: "DBInstanceNotFound".to_owned(),
            message: "DBInstance silo-z not found.".to_owned(),
            status: Some(404),
        };
        let report = domain::ErrorReport::from(answer.sorted(Call::new("rds:DescribeDBInstances", "silo-z")));
        assert_eq!(
            report.to_string(),
            "NotConfigured: rds:DescribeDBInstances on silo-z: there is no such thing; compare the name in the plan or the template with \
             what exists: DBInstanceNotFound: DBInstance silo-z not found."
        );
    }
}
