//! The function's configuration: the only reader of the environment.
//!
//! Everything is read, parsed and checked once per cold start, so that a mistake in the template shows at the first
//! invocation and by name, not in the middle of a run.

use std::path::PathBuf;

use domain::{Coded, ErrorCode, VaultId};
use jiff::SignedDuration;

/// A configuration value that is missing or unusable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The variable is unset or empty.
    #[error("the environment variable {name} is not set; it is {meaning} (see infra/template.yaml)")]
    Missing {
        /// The variable.
        name: &'static str,
        /// What it holds.
        meaning: &'static str,
    },
    /// The variable is set to something that cannot be it.
    #[error("the environment variable {name} holds {value:?}, which is not {meaning}: {problem}")]
    Unusable {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What it should hold.
        meaning: &'static str,
        /// What is wrong.
        problem: String,
    },
}

impl Coded for ConfigError {
    fn code(&self) -> ErrorCode {
        ErrorCode::NotConfigured
    }
}

/// What the template tells every function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The catalog's DynamoDB table.
    pub table: String,
    /// The vault's bucket.
    pub vault_bucket: String,
    /// The vault's name, part of every encryption context.
    pub vault_id: VaultId,
    /// For how long the vault locks what is stored.
    pub vault_lock: SignedDuration,
    /// ARN of the vault's KMS key.
    pub vault_key: String,
    /// ARN of the KMS key that signs the links of recovery points.
    pub signing_key: String,
    /// ARN of the SNS topic for alerts.
    pub alert_topic: String,
    /// Name of the SSM parameter that holds the backup plan.
    pub plan_parameter: String,
    /// The directory with `pg_dump` and `pg_restore`.
    pub postgres_tools: PathBuf,
    /// PEM file with the certificate authorities that database certificates are verified against.
    pub database_ca: PathBuf,
    restore_machine: Option<String>,
    recovery_machine: Option<String>,
    run_machine: Option<String>,
    storage_key: Option<String>,
    archive_role: Option<String>,
}

const RESTORE_MACHINE: (&str, &str) =
    ("HOLDFAST_RESTORE_MACHINE", "the ARN of the state machine that carries out restore requests");
const RECOVERY_MACHINE: (&str, &str) = ("HOLDFAST_RECOVERY_MACHINE", "the ARN of the state machine that recovers an environment");
const RUN_MACHINE: (&str, &str) = ("HOLDFAST_RUN_MACHINE", "the ARN of the state machine that runs one item on request");
const STORAGE_KEY: (&str, &str) = ("HOLDFAST_STORAGE_KEY", "the ARN of the KMS key that copies of snapshots are encrypted under");
const ARCHIVE_ROLE: (&str, &str) = (
    "HOLDFAST_ARCHIVE_ROLE",
    "the ARN of the role with which RDS writes archives, which there is if the template's ArchiveBucketName is set",
);

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// Naming the first variable that is missing or unusable.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(variable)
    }

    /// Reads variables through `lookup`; an empty value counts as unset.
    ///
    /// # Errors
    /// Naming the first variable that is missing or unusable.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let source = Source { lookup };
        Ok(Self {
            table: source.text("HOLDFAST_TABLE", "the name of the catalog's DynamoDB table")?,
            vault_bucket: source.text("HOLDFAST_VAULT_BUCKET", "the name of the vault's bucket")?,
            vault_id: source.vault_id("HOLDFAST_VAULT_ID", "the vault's name")?,
            vault_lock: source.days("HOLDFAST_VAULT_LOCK_DAYS", "for how many days the vault locks what is stored")?,
            vault_key: source.arn("HOLDFAST_VAULT_KEY", "the ARN of the vault's KMS key", "kms")?,
            signing_key: source.arn("HOLDFAST_SIGNING_KEY", "the ARN of the vault's signing key", "kms")?,
            alert_topic: source.arn("HOLDFAST_ALERT_TOPIC", "the ARN of the SNS topic for alerts", "sns")?,
            plan_parameter: source.text("HOLDFAST_PLAN_PARAMETER", "the name of the SSM parameter with the backup plan")?,
            postgres_tools: source.path("HOLDFAST_PG_BIN", "the directory with pg_dump and pg_restore")?,
            database_ca: source.path("HOLDFAST_DB_CA", "the PEM file with the databases' certificate authorities")?,
            restore_machine: source.optional_arn(RESTORE_MACHINE, "states")?,
            recovery_machine: source.optional_arn(RECOVERY_MACHINE, "states")?,
            run_machine: source.optional_arn(RUN_MACHINE, "states")?,
            storage_key: source.optional_arn(STORAGE_KEY, "kms")?,
            archive_role: source.optional_arn(ARCHIVE_ROLE, "iam")?,
        })
    }

    /// ARN of the state machine that carries out restore requests; only the operator is told.
    ///
    /// # Errors
    /// If this function was not told.
    pub fn restore_machine(&self) -> Result<&str, ConfigError> {
        self.restore_machine.as_deref().ok_or(ConfigError::Missing { name: RESTORE_MACHINE.0, meaning: RESTORE_MACHINE.1 })
    }

    /// ARN of the state machine that recovers an environment; only the operator is told.
    ///
    /// # Errors
    /// If this function was not told.
    pub fn recovery_machine(&self) -> Result<&str, ConfigError> {
        self.recovery_machine.as_deref().ok_or(ConfigError::Missing { name: RECOVERY_MACHINE.0, meaning: RECOVERY_MACHINE.1 })
    }

    /// ARN of the state machine that runs one item on request; only the operator is told.
    ///
    /// # Errors
    /// If this function was not told.
    pub fn run_machine(&self) -> Result<&str, ConfigError> {
        self.run_machine.as_deref().ok_or(ConfigError::Missing { name: RUN_MACHINE.0, meaning: RUN_MACHINE.1 })
    }

    /// ARN of the KMS key that copies of snapshots are encrypted under; only the functions that make them or record them again are told.
    ///
    /// # Errors
    /// If this function was not told.
    pub fn storage_key(&self) -> Result<&str, ConfigError> {
        self.storage_key.as_deref().ok_or(ConfigError::Missing { name: STORAGE_KEY.0, meaning: STORAGE_KEY.1 })
    }

    /// ARN of the role with which RDS writes archives; only the function that has them made is told, and only if there is a bucket for them.
    ///
    /// # Errors
    /// If this function was not told.
    pub fn archive_role(&self) -> Result<&str, ConfigError> {
        self.archive_role.as_deref().ok_or(ConfigError::Missing { name: ARCHIVE_ROLE.0, meaning: ARCHIVE_ROLE.1 })
    }
}

/// The log filter of this process, if one is set.
#[must_use]
pub fn log_filter() -> Option<String> {
    variable("RUST_LOG")
}

/// Whether Lambda started this process: only then is there a runtime interface to ask for events.
#[must_use]
pub(crate) fn started_by_lambda() -> bool {
    variable("AWS_LAMBDA_RUNTIME_API").is_some()
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

struct Source<L> {
    lookup: L,
}

impl<L: Fn(&str) -> Option<String>> Source<L> {
    fn text(&self, name: &'static str, meaning: &'static str) -> Result<String, ConfigError> {
        (self.lookup)(name).filter(|value| !value.is_empty()).ok_or(ConfigError::Missing { name, meaning })
    }

    fn path(&self, name: &'static str, meaning: &'static str) -> Result<PathBuf, ConfigError> {
        let path = PathBuf::from(self.text(name, meaning)?);
        if path.is_absolute() {
            return Ok(path);
        }
        let value = path.display().to_string();
        Err(ConfigError::Unusable { name, value, meaning, problem: "it must be an absolute path".to_owned() })
    }

    fn vault_id(&self, name: &'static str, meaning: &'static str) -> Result<VaultId, ConfigError> {
        let value = self.text(name, meaning)?;
        value.parse().map_err(|problem| ConfigError::Unusable { name, value, meaning, problem })
    }

    fn days(&self, name: &'static str, meaning: &'static str) -> Result<SignedDuration, ConfigError> {
        let value = self.text(name, meaning)?;
        match value.parse() {
            Ok(days @ 1..=36_500) => Ok(SignedDuration::from_hours(24 * days)),
            _ => {
                Err(ConfigError::Unusable { name, value, meaning, problem: "expected a whole number from 1 to 36500".to_owned() })
            }
        }
    }

    fn arn(&self, name: &'static str, meaning: &'static str, service: &str) -> Result<String, ConfigError> {
        let value = self.text(name, meaning)?;
        // arn:partition:service:region:account:resource
        let parts: Vec<&str> = value.splitn(6, ':').collect();
        if parts.len() == 6 && parts[0] == "arn" && parts[2] == service && !parts[5].is_empty() {
            return Ok(value);
        }
        Err(ConfigError::Unusable {
            name,
            value,
            meaning,
            problem: format!("expected arn:aws:{service}:<region>:<account>:<resource>"),
        })
    }

    fn optional_arn(&self, (name, meaning): (&'static str, &'static str), service: &str) -> Result<Option<String>, ConfigError> {
        match self.arn(name, meaning, service) {
            Err(ConfigError::Missing { .. }) => Ok(None),
            other => other.map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn environment() -> BTreeMap<&'static str, &'static str> {
        BTreeMap::from([
            ("HOLDFAST_TABLE", "holdfast-catalog"),
            ("HOLDFAST_VAULT_BUCKET", "holdfast-vault"),
            ("HOLDFAST_VAULT_ID", "main"),
            ("HOLDFAST_VAULT_LOCK_DAYS", "35"),
            ("HOLDFAST_VAULT_KEY", "arn:aws:kms:eu-central-1:123456789012:key/0192"),
            ("HOLDFAST_SIGNING_KEY", "arn:aws:kms:eu-central-1:123456789012:key/0193"),
            ("HOLDFAST_ALERT_TOPIC", "arn:aws:sns:eu-central-1:123456789012:holdfast-alerts"),
            ("HOLDFAST_PLAN_PARAMETER", "/holdfast/plan"),
            ("HOLDFAST_PG_BIN", "/opt/bin"),
            ("HOLDFAST_DB_CA", "/opt/rds-ca.pem"),
        ])
    }

    fn read(environment: &BTreeMap<&str, &str>) -> Result<Config, ConfigError> {
        Config::read(|name| environment.get(name).map(|value| (*value).to_owned()))
    }

    #[test]
    fn every_variable_is_demanded_by_name() {
        for name in environment().keys() {
            for value in [None, Some("")] {
                let mut environment = environment();
                environment.remove(name);
                environment.extend(value.map(|value| (*name, value)));
                let message = read(&environment).unwrap_err().to_string();
                assert!(message.contains(&format!("{name} is not set")), "{message}");
            }
        }
    }

    #[test]
    fn unusable_values_are_named_with_what_was_expected() {
        for (name, value, expected) in [
            ("HOLDFAST_VAULT_ID", "Main Vault", "1 to 32 of a-z, 0-9 and `-`"),
            ("HOLDFAST_VAULT_LOCK_DAYS", "0", "from 1 to 36500"),
            ("HOLDFAST_VAULT_KEY", "alias/holdfast", "arn:aws:kms:"),
            ("HOLDFAST_SIGNING_KEY", "alias/holdfast-signing", "arn:aws:kms:"),
            ("HOLDFAST_ALERT_TOPIC", "arn:aws:sqs:eu-central-1:123456789012:alerts", "arn:aws:sns:"),
            ("HOLDFAST_PG_BIN", "bin", "absolute path"),
            ("HOLDFAST_RUN_MACHINE", "run-item", "arn:aws:states:"),
        ] {
            let mut environment = environment();
            environment.insert(name, value);
            let error = read(&environment).unwrap_err();
            assert_eq!(error.code(), ErrorCode::NotConfigured);
            let message = error.to_string();
            assert!([name, value, expected].iter().all(|part| message.contains(part)), "{message}");
        }
    }

    #[test]
    fn only_the_function_that_needs_a_state_machine_misses_it() {
        let mut environment = environment();
        let config = read(&environment).unwrap();
        assert!(config.restore_machine().unwrap_err().to_string().contains("HOLDFAST_RESTORE_MACHINE is not set"));

        environment.insert("HOLDFAST_RESTORE_MACHINE", "arn:aws:states:eu-central-1:123456789012:stateMachine:holdfast-restore");
        assert_eq!(read(&environment).unwrap().restore_machine().unwrap(), environment["HOLDFAST_RESTORE_MACHINE"]);
    }
}
