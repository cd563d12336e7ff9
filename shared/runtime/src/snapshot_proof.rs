//! The restore test of a snapshot: a clone that was made from it came up, answers, and answers as the plan asserts.

use catalog::Versioned;
use domain::{
    ErrorCode, ErrorReport,
    alert::AlertClass,
    error::Class,
    plan::Plan,
    point::{Proof, RecoveryPoint},
    slot::Subject,
};
use jiff::Timestamp;
use sources::postgres::restore::{RestoreId, ask_clone};

use crate::services::{Said, Services, first_few, known_database};

impl Services {
    /// Judges the snapshot that a clone was made from, by every database that the plan has on its instance. Whether it is proven.
    ///
    /// # Errors
    /// If the clone could not be asked, which says nothing about the snapshot.
    pub async fn prove_snapshot(
        &self,
        plan: &Plan,
        point: &Versioned<RecoveryPoint>,
        clone: &str,
        asked_at: Timestamp,
    ) -> Result<bool, ErrorReport> {
        let Subject::Instance(subject) = &point.value.subject else {
            let message = format!("recovery point {} is no snapshot of an instance", point.value.id);
            return Err(ErrorReport::new(ErrorCode::UnknownRecoveryPoint, message));
        };
        let instance = &known_database(plan, subject)?.instance;
        let mut findings = Vec::new();
        for database in plan.databases.iter().filter(|database| database.instance == *instance) {
            let of_it = |database_id: &Option<String>| database_id.as_ref() == Some(&database.id);
            let assertions: Vec<_> = plan.assertions.iter().filter(|assertion| of_it(&assertion.database)).cloned().collect();
            let endpoint = self.endpoint_on(database, clone, &database.database).await?;
            match ask_clone(&endpoint, &RestoreId::of(point.value.id.uuid()), &assertions).await.map_err(ErrorReport::from) {
                Ok(()) => {}
                Err(report) if report.code.class() == Class::Integrity => findings.push(report.message),
                Err(report) => return Err(report),
            }
        }
        if !findings.is_empty() {
            self.refute_snapshot(plan, point, findings).await?;
            return Ok(false);
        }
        let (now, rto_ms) = (self.clock.now(), self.ms_since(asked_at));
        self.catalog.judge(point, Proof::Proven { at: now, rto_ms }).await?;
        self.catalog.record_checked(&point.value, |checked| checked.tested_at = Some(now)).await?;
        tracing::info!(recovery_point.id = %point.value.id, instance, clone, rto_ms, "the snapshot came up and answers");
        self.all_clear(AlertClass::BackupBad, &point.value.id.to_string()).await?;
        Ok(true)
    }

    /// Records that a snapshot cannot be restored, or not to what the plan asserts, and pages.
    ///
    /// # Errors
    /// If the recovery point is no longer available, or nobody can be told.
    pub async fn refute_snapshot(
        &self,
        plan: &Plan,
        point: &Versioned<RecoveryPoint>,
        findings: Vec<String>,
    ) -> Result<(), ErrorReport> {
        let (id, now) = (point.value.id, self.clock.now());
        let Subject::Instance(subject) = &point.value.subject else { return Ok(()) };
        let said = Said {
            summary: format!("snapshot {id} of database {subject}'s instance is bad: {}", first_few(&findings)),
            meaning: format!(
                "an instance restored from it would be missing or wrong, so clones are made of an older one; it is of {}",
                point.value.scheduled_time
            ),
            remedy: "look at the snapshot in RDS, and let the next snapshot slot make a new one".to_owned(),
        };
        self.catalog.judge(point, Proof::Refuted { at: now, findings }).await?;
        self.catalog.record_checked(&point.value, |checked| checked.tested_at = Some(now)).await?;
        self.raise(plan, AlertClass::BackupBad, &id.to_string(), said).await
    }
}
