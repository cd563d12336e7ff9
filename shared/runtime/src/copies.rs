//! Isolated copies of instances, made from snapshots or of instants for one purpose and deleted after it. They cost as long as they live.

use std::collections::BTreeMap;

use aws::SnapshotOf;
use catalog::audit::Phase;
use domain::{
    ErrorCode, ErrorReport,
    plan::Database,
    point::{Content, RecoveryPoint},
};
use jiff::Timestamp;

use crate::services::Services;

/// The tag that says whose copy it is.
pub const VAULT_TAG: &str = "holdfast:vault";

/// The tag that says when the copy was asked for; how long it took to answer counts from there.
const ASKED_AT_TAG: &str = "holdfast:asked-at";

/// When a copy was asked for, as far as it says.
#[must_use]
pub fn asked_at(copy: &aws::Instance) -> Option<Timestamp> {
    copy.tags.get(ASKED_AT_TAG)?.parse().ok()
}

/// How RDS names states that an instance does not leave by itself.
const HOPELESS: [&str; 5] = ["failed", "incompatible-", "inaccessible-", "restore-error", "storage-full"];

/// Why a copy that is hopeless is so, and what to do: RDS says it in its state.
#[must_use]
pub fn why_hopeless(copy: &aws::Instance) -> ErrorReport {
    let (code, remedy) = match copy.status.as_str() {
        status if status.starts_with("inaccessible-encryption-credentials") => (
            ErrorCode::KeyUnusable,
            "the KMS key of its storage is disabled, pending deletion or not allowed: enable the key, for without it the snapshot cannot be restored",
        ),
        "storage-full" => {
            (ErrorCode::EnvironmentBad, "its storage is full: give the source instance more, the next snapshot has it too")
        }
        _ => (ErrorCode::EnvironmentBad, "RDS's events of it say why"),
    };
    ErrorReport::new(code, format!("clone {} is {}; {remedy}", copy.name, copy.status))
}

/// Whether a copy will never be readable.
#[must_use]
pub fn is_hopeless(copy: &aws::Instance) -> bool {
    HOPELESS.iter().any(|status| copy.status.starts_with(status))
}

/// What a copy gets its data from.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// The recovery point that holds the snapshot.
    Snapshot(&'a RecoveryPoint),
    /// What the instance held at an instant, of which RDS keeps the log.
    Instant(Timestamp),
}

/// A copy to be made.
pub struct Wanted<'a> {
    /// Its name, derived from its purpose, so that two deliveries ask for one copy.
    pub name: &'a str,
    /// The database whose instance is copied; the copy gets its settings as they are now.
    pub of: &'a Database,
    /// What it gets its data from.
    pub from: Source<'a>,
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
    /// If the recovery point is no available snapshot, RDS cannot restore the instant, the source's settings cannot be read, or RDS refuses.
    pub async fn begin_copy(&self, wanted: &Wanted<'_>) -> Result<(), ErrorReport> {
        let from = match wanted.from {
            Source::Snapshot(point) => match point.content() {
                Some(Content::Snapshot { arn, .. }) if SnapshotOf::of_arn(arn) == SnapshotOf::Cluster => {
                    let message = format!(
                        "recovery point {} is of an Aurora cluster, from which no isolated copy can be made yet",
                        point.id
                    );
                    return Err(ErrorReport::new(ErrorCode::EnvironmentBad, message));
                }
                Some(Content::Snapshot { identifier, .. }) => aws::Origin::Snapshot(identifier),
                _ => {
                    let message = format!("recovery point {} is no available snapshot that could be copied from", point.id);
                    return Err(ErrorReport::new(ErrorCode::EnvironmentBad, message));
                }
            },
            Source::Instant(at) => aws::Origin::Instant { instance: &wanted.of.instance, at },
        };
        let settings = self.clients.instances().describe(&wanted.of.instance).await?.settings;
        let (tag, value) = &wanted.tag;
        let tags = BTreeMap::from([
            ((*tag).to_owned(), value.clone()),
            (VAULT_TAG.to_owned(), self.config.vault_id.to_string()),
            (ASKED_AT_TAG.to_owned(), self.clock.now().to_string()),
        ]);
        let restoration =
            aws::Restoration { purpose: aws::Purpose::Test, name: wanted.name, from, settings: &settings, tags: &tags };
        let what = format!("{} from {from}", wanted.name);
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
