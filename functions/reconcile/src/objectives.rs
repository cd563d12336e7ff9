//! What was promised of tenants' backups and does not hold: proofs that are too old, bytes that nobody read for too long, restores that
//! take too long.
//!
//! That recovery points themselves are too old is told as a missed slot.

use std::collections::BTreeSet;

use domain::{
    ErrorReport,
    alert::AlertClass,
    caps,
    objectives::{Objective, Objectives},
    plan::Plan,
    register::Tenant,
};
use futures::{StreamExt, TryStreamExt};
use runtime::services::{Said, Services};

use crate::missed::READ_AT_ONCE;

/// Opens an alert for each promise that is not kept, and closes those of promises that are kept again. Tells how many are not.
pub(crate) async fn look(services: &Services, plan: &Plan, tenants: &[Tenant]) -> Result<usize, ErrorReport> {
    let protected: Vec<&Tenant> = tenants.iter().filter(|tenant| tenant.is_protected()).collect();
    let measured: Vec<(&Tenant, Objectives)> = futures::stream::iter(protected)
        .map(|tenant| async move { Ok::<_, ErrorReport>((tenant, services.objectives(plan, tenant).await?)) })
        .buffer_unordered(READ_AT_ONCE)
        .try_collect()
        .await?;
    let mut broken = BTreeSet::new();
    for (tenant, objectives) in &measured {
        for (class, said) in not_kept(tenant, objectives) {
            let subject = subject(tenant);
            services.raise(plan, class, &subject, said).await?;
            broken.insert((class, subject));
        }
    }
    for class in [AlertClass::ProofOld, AlertClass::ReadingOld, AlertClass::RtoExceeded] {
        for open in services.catalog.alerts(Some(class), caps::LISTED_POINTS_MAX).await? {
            if open.closed_at.is_none() && !broken.contains(&(class, open.alert.subject.clone())) {
                services.all_clear(class, &open.alert.subject).await?;
            }
        }
    }
    Ok(broken.len())
}

fn subject(tenant: &Tenant) -> String {
    format!("tenant {}", tenant.id)
}

fn not_kept(tenant: &Tenant, objectives: &Objectives) -> Vec<(AlertClass, Said)> {
    let id = &tenant.id;
    let hours = |minutes: Option<i64>| minutes.unwrap_or_default() / 60;
    let mut found = Vec::new();
    let Objectives { proof, reading, rto, .. } = objectives;
    if let Objective { minutes, at_most_minutes, met: Some(false) } = proof {
        let said = Said {
            summary: format!(
                "nothing of tenant {id} was proven for {} hours; the plan allows {}",
                hours(*minutes),
                hours(*at_most_minutes)
            ),
            meaning: "whether its recovery points come back is not known; they may well do".to_owned(),
            remedy: format!(
                "see `holdfast alerts` for what keeps restore tests of tenant {id}, or of its instance, from being carried out, and mend that"
            ),
        };
        found.push((AlertClass::ProofOld, said));
    }
    if let Objective { minutes, at_most_minutes, met: Some(false) } = reading {
        let said = Said {
            summary: format!(
                "something stored of tenant {id} was last read {} hours ago, or never since then; the plan allows {}",
                hours(*minutes),
                hours(*at_most_minutes)
            ),
            meaning: "whether every stored byte of it is still what was written is not known; it may well be".to_owned(),
            remedy: format!(
                "see `holdfast alerts` for what keeps the rounds of verify from reading it, and mend that; \
                 `holdfast vault check --tenant {id} --read-data 1/1` reads the newest now"
            ),
        };
        found.push((AlertClass::ReadingOld, said));
    }
    if let Objective { minutes: Some(minutes), at_most_minutes: Some(at_most), met: Some(false) } = rto {
        let said = Said {
            summary: format!("the last measured restore of tenant {id} took {minutes} minutes; its rules promise {at_most}"),
            meaning: "a real restore is likely to take as long".to_owned(),
            remedy: "find out what took the time: the instance's class, the tenant's size, or RDS; or promise less in the plan"
                .to_owned(),
        };
        found.push((AlertClass::RtoExceeded, said));
    }
    found
}

#[cfg(test)]
mod tests {
    use domain::{register::Status, tenant::Layout};
    use jiff::Timestamp;

    use super::*;

    fn tenant() -> Tenant {
        Tenant {
            id: "acme".parse().unwrap(),
            database_id: "central".into(),
            layout: Layout::Database { database: "acme".into() },
            criticality: "standard".into(),
            time_zone: "UTC".into(),
            status: Status::Active,
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn objective(minutes: i64, at_most: i64) -> Objective {
        Objective { minutes: Some(minutes), at_most_minutes: Some(at_most), met: Some(minutes <= at_most) }
    }

    #[test]
    fn only_what_is_not_kept_is_told_and_a_late_recovery_point_is_told_elsewhere() {
        let kept = objective(10, 20);
        let told = |rpo, proof, reading, rto| {
            let found = not_kept(&tenant(), &Objectives { rpo, proof, reading, rto });
            found.into_iter().map(|(class, said)| (class, said.summary)).collect::<Vec<_>>()
        };
        assert_eq!(told(objective(30, 20), kept, kept, kept), []);
        let early = Objective { met: None, ..objective(9999, 20) };
        assert_eq!(told(kept, early, early, early), []);
        let all = told(kept, objective(3000, 2880), objective(11_580, 11_520), objective(61, 60));
        let classes: Vec<AlertClass> = all.iter().map(|(class, _)| *class).collect();
        assert_eq!(classes, [AlertClass::ProofOld, AlertClass::ReadingOld, AlertClass::RtoExceeded]);
        let words =
            ["for 50 hours; the plan allows 48", "193 hours ago, or never since then; the plan allows 192", "took 61 minutes"];
        for ((_, summary), words) in all.iter().zip(words) {
            assert!(summary.contains(words), "{summary}");
        }
    }
}
