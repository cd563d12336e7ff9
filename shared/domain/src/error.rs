//! The closed set of error codes that leave Holdfast, each with its class.
//!
//! A code is what a state machine's `ErrorEquals` matches, what an alert is grouped by and what a script tests for,
//! so its name is a promise. The message beside it names the thing that failed and the remedy.

use std::fmt;

/// What a caller may do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Passing: the same call may succeed later.
    Transient,
    /// Refused for its rate: the same call may succeed later, more slowly.
    Throttled,
    /// Somebody else moved first: look again, then decide.
    Conflict,
    /// The same call will fail again until a person changes something.
    Permanent,
    /// Stored or restored content is not what it must be. Pages somebody.
    Integrity,
    /// The caller may not do this.
    Denied,
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident => $class:ident,)+) => {
        /// A stable error code. The name is what leaves the process.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ErrorCode { $($(#[$doc])* $name,)+ }

        impl ErrorCode {
            /// Every code there is.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The code's name, as callers match it.
            #[must_use]
            pub fn name(self) -> &'static str { match self { $(Self::$name => stringify!($name),)+ } }

            /// What a caller may do about it.
            #[must_use]
            pub fn class(self) -> Class { match self { $(Self::$name => Class::$class,)+ } }
        }
    };
}

error_codes! {
    /// A database, instance or bucket that is being protected did not answer.
    SourceUnreachable => Transient,
    /// The vault or the catalog did not answer, or an AWS call failed without saying why.
    StoreUnavailable => Transient,
    /// The invocation ran out of time with work left; the next one carries on.
    DeadlineNear => Transient,
    /// The isolated target of a restore test could not be had; it says nothing about the backup.
    EnvironmentBad => Transient,
    /// An AWS service or the database refused the rate of calls.
    Throttled => Throttled,
    /// Another run took over this slot, or changed this record first.
    Fenced => Conflict,
    /// The event is not one this function knows.
    MalformedEvent => Permanent,
    /// The backup plan does not parse or contradicts itself.
    PlanInvalid => Permanent,
    /// A configuration value of the function is missing or unusable.
    NotConfigured => Permanent,
    /// The tenant register could not be read as one.
    RegisterInvalid => Permanent,
    /// No such tenant.
    UnknownTenant => Permanent,
    /// No such rule in the plan.
    UnknownRule => Permanent,
    /// No such recovery point, or none that serves the request.
    UnknownRecoveryPoint => Permanent,
    /// No such hold.
    UnknownHold => Permanent,
    /// No such restore request.
    UnknownRequest => Permanent,
    /// The source cannot be exported completely, so it was not exported at all.
    SourceRefused => Permanent,
    /// The restore would leave the approved scope or lose data, so nothing was changed.
    RestoreRefused => Permanent,
    /// The erasure would take what is held, alive or in use, so nothing was erased.
    ErasureRefused => Permanent,
    /// The tenant was erased, and nothing is done under its id any more.
    TenantErased => Permanent,
    /// The live data is not what was previewed, so the approval no longer holds.
    TargetDrifted => Permanent,
    /// A stored object is missing, damaged or not authentic for this tenant.
    NotAuthentic => Integrity,
    /// Restored content differs from what the recovery point recorded.
    ContentMismatch => Integrity,
    /// A KMS key is disabled, pending deletion, or not this role's to use.
    KeyUnusable => Denied,
    /// The caller may not do this.
    NotPermitted => Denied,
    /// The approval is missing, expired, used, or by the person who asked.
    ApprovalInvalid => Denied,
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An error that knows its code.
pub trait Coded: std::error::Error {
    /// The code under which this error leaves the process.
    fn code(&self) -> ErrorCode;
}

/// An error as it leaves the process: the code, and one line that names the thing and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorReport {
    /// The stable code.
    pub code: ErrorCode,
    /// The whole chain of causes in one line.
    pub message: String,
}

impl ErrorReport {
    /// Makes a report of a failure that has no error value of its own.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl fmt::Display for ErrorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl<E: Coded> From<E> for ErrorReport {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self { code: error.code(), message }
    }
}
