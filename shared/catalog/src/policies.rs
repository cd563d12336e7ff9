//! The retention policy in force, and every one that ever was, so that a stored decision can be made again.

use domain::{
    error::{Coded, ErrorCode},
    identity::Identity,
    retention::{AgreeError, InForce, Terms},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Catalog,
    record::{Record, Versioned},
    table::{Key, TableError},
};

const PARTITION: &str = "RETENTION_POLICY";

/// How often a write is tried again that another came before.
const ATTEMPTS_MAX: u32 = 5;

/// What decides now. There is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct InForceRecord(InForce);

impl Record for InForceRecord {
    fn key(&self) -> Key {
        in_force_key()
    }
}

fn in_force_key() -> Key {
    Key { pk: PARTITION.to_owned(), sk: "in_force".to_owned() }
}

/// What once came into force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct TermsRecord(Terms);

impl Record for TermsRecord {
    fn key(&self) -> Key {
        terms_key(self.0.version().as_str())
    }
}

fn terms_key(version: &str) -> Key {
    Key { pk: PARTITION.to_owned(), sk: format!("version#{version}") }
}

/// Why an agreement was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum AgreementError {
    /// The table failed, or others kept being first.
    #[error(transparent)]
    Table(#[from] TableError),
    /// It is not one that counts.
    #[error(transparent)]
    Refused(#[from] AgreeError),
}

impl Coded for AgreementError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Table(error) => error.code(),
            Self::Refused(error) => error.code(),
        }
    }
}

impl Catalog {
    /// What decides, now that the plan asks for `asked`, and what waits for people's agreement. Nothing is written.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn policy_in_force(&self, asked: &Terms, now: Timestamp) -> Result<InForce, TableError> {
        Ok(self.policy_record().await?.map_or_else(|| InForce::first(asked.clone(), now), |found| found.value.0.with(asked, now)))
    }

    /// The same, recorded: what keeps more takes effect, and what shortens begins to wait.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn take_policy(&self, asked: &Terms, now: Timestamp) -> Result<InForce, TableError> {
        let taken = self.change_policy(asked, now, Ok::<_, TableError>).await?;
        self.remember_terms(&taken.terms).await?;
        Ok(taken)
    }

    /// Records one person's agreement to the policy that waits; the second puts it in force.
    ///
    /// # Errors
    /// If it is not one that counts, or the table fails.
    pub async fn agree_to_policy(
        &self,
        asked: &Terms,
        by: &Identity,
        version: &str,
        now: Timestamp,
    ) -> Result<InForce, AgreementError> {
        let agreed =
            self.change_policy(asked, now, |in_force| Ok::<_, AgreementError>(in_force.agree(by, version, now)?)).await?;
        self.remember_terms(&agreed.terms).await?;
        Ok(agreed)
    }

    /// The policy of a version that once was in force.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn terms(&self, version: &str) -> Result<Option<Terms>, TableError> {
        let found: Option<Versioned<TermsRecord>> = self.get(&terms_key(version)).await?;
        Ok(found.map(|record| record.value.0))
    }

    async fn policy_record(&self) -> Result<Option<Versioned<InForceRecord>>, TableError> {
        self.get(&in_force_key()).await
    }

    async fn change_policy<E: From<TableError>>(
        &self,
        asked: &Terms,
        now: Timestamp,
        change: impl Fn(InForce) -> Result<InForce, E>,
    ) -> Result<InForce, E> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let read = self.policy_record().await?;
            let written = match &read {
                None => self.create(InForceRecord(change(InForce::first(asked.clone(), now))?)).await,
                Some(read) => {
                    let changed = InForceRecord(change(read.value.0.clone().with(asked, now))?);
                    if changed == read.value {
                        return Ok(changed.0);
                    }
                    self.update(read, changed).await
                }
            };
            match written {
                Ok(record) => return Ok(record.value.0),
                Err(TableError::Conflict { .. }) if attempts < ATTEMPTS_MAX => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn remember_terms(&self, terms: &Terms) -> Result<(), TableError> {
        match self.create(TermsRecord(terms.clone())).await {
            Ok(_) | Err(TableError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::retention::Policy;

    use super::*;
    use crate::MemoryTable;

    fn terms(daily: u32) -> Terms {
        let policy = Policy {
            keep_all_days: 7,
            daily,
            weekly: 8,
            monthly: 12,
            yearly: 3,
            min_proven: 1,
            max_expire_per_run: 100,
            apply: true,
        };
        Terms { policy, time_zone: "UTC".into() }
    }

    fn person(name: &str) -> Identity {
        Identity { arn: format!("arn:aws:iam::1:user/{name}"), principal: format!("AIDA{name}"), account: "1".into() }
    }

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[tokio::test]
    async fn what_shortens_comes_into_force_with_the_second_person_and_every_version_is_remembered() {
        let catalog = Catalog::new(Arc::new(MemoryTable::default()));
        assert_eq!(catalog.policy_in_force(&terms(14), NOW).await.unwrap().terms, terms(14));
        catalog.take_policy(&terms(14), NOW).await.unwrap();
        let waiting = catalog.take_policy(&terms(3), NOW).await.unwrap();
        assert_eq!((waiting.terms, waiting.waiting.map(|waiting| waiting.terms)), (terms(14), Some(terms(3))));
        let version = terms(3).version();
        catalog.agree_to_policy(&terms(3), &person("ana"), version.as_str(), NOW).await.unwrap();
        let refused = catalog.agree_to_policy(&terms(3), &person("ANA"), version.as_str(), NOW).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::NotPermitted, "{refused}");
        assert_eq!(catalog.policy_in_force(&terms(3), NOW).await.unwrap().terms, terms(14));
        catalog.agree_to_policy(&terms(3), &person("ben"), version.as_str(), NOW).await.unwrap();
        assert_eq!(catalog.take_policy(&terms(3), NOW).await.unwrap().terms, terms(3));
        for daily in [3, 14] {
            assert_eq!(catalog.terms(terms(daily).version().as_str()).await.unwrap(), Some(terms(daily)));
        }
    }
}
