//! What an erasure does not reach: the evidence says so, because nobody else would.

use domain::{ErrorReport, caps, plan::Plan, point::Kind, register::Tenant, slot::Subject};
use runtime::services::Services;

/// Other places that hold the tenant's data, one line each.
pub(crate) async fn of(services: &Services, plan: &Plan, tenant: &Tenant) -> Result<Vec<String>, ErrorReport> {
    let mut lines = Vec::new();
    if let (Some(subject), Some(database)) = (plan.snapshot_subject_of(&tenant.database_id), plan.database(&tenant.database_id)) {
        let instance = &database.instance;
        let snapshots = Subject::Instance(subject.to_owned());
        let snapshots = services.catalog.points(&snapshots, Some(Kind::Snapshot), caps::LISTED_POINTS_MAX).await?;
        let available: Vec<_> = snapshots.iter().filter(|point| point.value.content().is_some()).collect();
        if let Some(newest) = available.iter().map(|point| point.value.scheduled_time).max() {
            lines.push(format!(
                "{} snapshots of instance {instance}, which it lived on, the newest of {newest}: RDS keeps them until retention lets them go",
                available.len()
            ));
        }
        lines.push(format!("automated backups of instance {instance}: RDS drops them by the instance's own retention period"));
        lines
            .push(format!("database {}: what the platform itself deletes, and undo copies that restores have left", database.id));
    }
    if let Some(media) = &plan.media {
        let prefix = media.prefix.replace("{tenant}", tenant.id.as_str());
        lines.push(format!("versions of files under s3://{}/{prefix}: only their metadata was in the vault", media.bucket));
    }
    if let Some(configuration) = &plan.configuration {
        let of = |prefix: &String| prefix.replace("{tenant}", tenant.id.as_str());
        let (parameters, secrets) = (of(&configuration.parameters), of(&configuration.secrets));
        lines.push(format!("parameters under {parameters} and secrets under {secrets}: only their metadata was in the vault"));
    }
    lines.push("ids, times, counts and reasons in the catalog and in the audit trail: they are this evidence".to_owned());
    Ok(lines)
}
