//! Isolated copies of instances, made from snapshots for one purpose and deleted after it. They cost as long as they live.

use std::collections::BTreeMap;

use catalog::audit::Phase;
use domain::{
    ErrorCode, ErrorReport,
    plan::Database,
    point::{Content, RecoveryPoint},
};

use crate::services::Services;

/// The tag that says whose copy it is.
pub const VAULT_TAG: &str = "holdfast:vault";

/// A copy to be made.
pub struct Wanted<'a> {
    /// Its name, derived from its purpose, so that two deliveries ask for one copy.
    pub name: &'a str,
    /// The database whose instance is copied; the copy gets its settings as they are now.
    pub of: &'a Database,
    /// The recovery point that holds the snapshot.
    pub from: &'a RecoveryPoint,
    /// A tag besides [`VAULT_TAG`]: what it is for.
    pub tag: (&'a str, String),
    /// Who asks, and about whom, for the audit trail.
    pub actor: &'a str,
    /// The audited act, such as `drill.clone`.
    pub act: &'a str,
    /// Whom the act concerns.
    pub subject: &'a str,
}

impl Services {
    /// Begins to make an isolated copy, or finds that it was begun.
    ///
    /// # Errors
    /// If the recovery point is no available snapshot, the source's settings cannot be read, or RDS refuses.
    pub async fn begin_copy(&self, wanted: &Wanted<'_>) -> Result<(), ErrorReport> {
        let Some(Content::Snapshot { identifier, .. }) = wanted.from.content() else {
            let message = format!("recovery point {} is no available snapshot that could be copied from", wanted.from.id);
            return Err(ErrorReport::new(ErrorCode::EnvironmentBad, message));
        };
        let settings = self.clients.instances().describe(&wanted.of.instance).await?.settings;
        let (tag, value) = &wanted.tag;
        let tags = BTreeMap::from([((*tag).to_owned(), value.clone()), (VAULT_TAG.to_owned(), self.config.vault_id.to_string())]);
        let restoration = aws::Restoration {
            purpose: aws::Purpose::Test,
            name: wanted.name,
            snapshot: identifier,
            settings: &settings,
            tags: &tags,
        };
        let what = format!("{} from {identifier}", wanted.name);
        self.audit(Phase::Intent, wanted.actor, wanted.act, wanted.subject, &what).await?;
        let asked = self.clients.instances().restore(&restoration).await;
        let outcome = asked.as_ref().map_or_else(ToString::to_string, |_| "accepted".to_owned());
        self.audit(Phase::Outcome, wanted.actor, wanted.act, wanted.subject, &outcome).await?;
        asked?;
        Ok(())
    }

    /// Begins to delete a copy. One that is gone or going is fine.
    ///
    /// # Errors
    /// If RDS refuses.
    pub async fn delete_copy(&self, name: &str, actor: &str, act: &str, subject: &str) -> Result<(), ErrorReport> {
        self.audit(Phase::Intent, actor, act, subject, name).await?;
        let asked = self.clients.instances().delete(name).await;
        let outcome = asked.as_ref().map_or_else(ToString::to_string, |_| "accepted".to_owned());
        self.audit(Phase::Outcome, actor, act, subject, &outcome).await?;
        asked?;
        Ok(())
    }
}
