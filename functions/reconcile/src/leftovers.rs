//! What restores left behind on the plan's servers: staging copies, scratch databases and login roles of restores that are over.
//!
//! They are told of by name and not removed: only a restore that holds its target's lock may, and this function may write nowhere.

use std::collections::BTreeSet;

use domain::{ErrorReport, alert::AlertClass, caps, plan::Plan};
use runtime::{
    Invocation,
    services::{Said, Services, first_few},
    trouble::Trouble,
};
use sources::postgres::restore::{Leftover, RestoreId, leftovers};

/// Looks at every database of the plan, and tells of each instance's leftovers or that there are none.
pub(crate) async fn look(services: &Services, plan: &Plan, invocation: &Invocation) -> Result<(), ErrorReport> {
    let mut trouble = Trouble::default();
    for subject in plan.snapshot_subjects() {
        invocation.deadline.check("the next instance's leftovers")?;
        // One that does not answer has been told of by the scan of its databases.
        if let Err(report) = on_instance(services, plan, subject).await {
            trouble.note(&format!("the search for leftovers on the instance of database {subject}"), report);
        }
    }
    trouble.into_result()
}

async fn on_instance(services: &Services, plan: &Plan, stands_for: &str) -> Result<(), ErrorReport> {
    let Some(instance) = plan.database(stands_for).map(|database| &database.instance) else { return Ok(()) };
    let mut found = of_nobody(list(services, plan, instance).await?, &at_work(services).await?);
    if !found.is_empty() {
        // A restore that ended in between has taken its own away.
        let still = list(services, plan, instance).await?;
        found.retain(|leftover| still.contains(leftover));
    }
    let subject = format!("instance {instance}");
    if found.is_empty() {
        return services.all_clear(AlertClass::Leftover, &subject).await;
    }
    services.raise(plan, AlertClass::Leftover, &subject, said(instance, &found)).await
}

async fn list(services: &Services, plan: &Plan, instance: &str) -> Result<Vec<Leftover>, ErrorReport> {
    let mut found = Vec::new();
    for database in plan.databases.iter().filter(|database| database.instance == *instance) {
        for leftover in leftovers(&services.endpoint(database, &database.database).await?).await? {
            // Databases and roles are the server's: each of its databases shows them.
            if !found.contains(&leftover) {
                found.push(leftover);
            }
        }
    }
    Ok(found)
}

/// The restores that have not ended.
async fn at_work(services: &Services) -> Result<BTreeSet<String>, ErrorReport> {
    let open = services.catalog.requests(true, caps::LISTED_POINTS_MAX).await?;
    Ok(open.iter().map(|request| RestoreId::of(request.id.uuid()).to_string()).collect())
}

/// What belongs to no restore at work and is not kept on purpose. A name that is not exactly one of ours is somebody else's.
fn of_nobody(found: Vec<Leftover>, at_work: &BTreeSet<String>) -> Vec<Leftover> {
    let is_dead = |leftover: &Leftover| {
        let id = leftover.name.rsplit_once('_').and_then(|(_, id)| id.parse::<RestoreId>().ok());
        !leftover.kept && id.is_some_and(|id| !at_work.contains(&id.to_string()))
    };
    found.into_iter().filter(is_dead).collect()
}

fn said(instance: &str, found: &[Leftover]) -> Said {
    let names: Vec<String> = found.iter().map(|leftover| format!("{} {}", leftover.kind, leftover.name)).collect();
    Said {
        summary: format!("restores that are over left {} things on instance {instance}: {}", found.len(), first_few(&names)),
        meaning: "nothing live is theirs; a staging copy holds a tenant's rows, which erasing the tenant would not reach"
            .to_owned(),
        remedy: format!("drop them on instance {instance} as the database owner, in the order of the runbook"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leftover(kind: &str, name: &str, kept: bool) -> Leftover {
        Leftover { kind: kind.into(), name: name.into(), kept }
    }

    #[test]
    fn only_what_is_exactly_ours_of_no_restore_at_work_and_not_kept_is_told() {
        let found = vec![
            leftover("database", "hf_stage_0123456789abcdef", false),
            leftover("role", "hf_restore_0123456789abcdef", false),
            leftover("database", "hf_stage_fedcba9876543210", false),
            leftover("schema", "hf_undo_0123456789abcdef", true),
            leftover("schema", "hf_stage_of_somebody", false),
            leftover("database", "hf_stage_0123456789ABCDEF", false),
        ];
        let at_work = BTreeSet::from(["fedcba9876543210".to_owned()]);
        let dead = of_nobody(found.clone(), &at_work);
        assert_eq!(dead, found[..2]);
        let Said { summary, .. } = said("platform-pool", &dead);
        assert!(
            summary.contains("2 things on instance platform-pool: database hf_stage_0123456789abcdef; role hf_restore_"),
            "{summary}"
        );
    }
}
