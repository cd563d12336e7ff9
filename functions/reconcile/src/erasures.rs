//! Erasures that stopped half-way, and those that somebody took back at KMS: an erasure that does not stand must not pass for one.

use aws::KeyStanding;
use catalog::erasures::ErasureRecordError;
use domain::{
    ErasureId, ErrorReport, TenantId,
    alert::AlertClass,
    caps,
    erasure::{Done, Erasure, ErasureState},
    plan::Plan,
    point::Kind,
    slot::Subject,
};
use runtime::services::{Said, Services};

/// Tells of each erasure that was approved and is not done, and of each whose key can be used again.
pub(crate) async fn look(services: &Services, plan: &Plan) -> Result<(), ErrorReport> {
    for listed in services.catalog.erasures(true, caps::LISTED_POINTS_MAX).await? {
        // The listing may lag behind; the decision is made on the record itself.
        let erasure = services.catalog.erasure(listed.asked.id).await?.value;
        open(services, plan, &erasure).await?;
    }
    for listed in services.catalog.erasures(false, caps::LISTED_POINTS_MAX).await? {
        let ErasureState::Expired { done, .. } = &listed.state else { continue };
        taken_back(services, plan, &listed, done).await?;
    }
    for record in services.catalog.tenants().await? {
        let Some(erased) = &record.erased else { continue };
        left(services, plan, &record.tenant.id, erased.erasure).await?;
    }
    Ok(())
}

/// How many recovery points of each kind of an erased tenant are looked at, the newest: what a run published all the same is among them.
const NEWEST: usize = 8;

/// Tells of an erased tenant that has recovery points, because its erasure was given up half-way or something published one.
async fn left(services: &Services, plan: &Plan, tenant: &TenantId, by: ErasureId) -> Result<(), ErrorReport> {
    match services.catalog.erasure(by).await {
        // It is being carried out, and told of if that takes too long.
        Ok(by) if by.value.is_open(services.clock.now()) => return Ok(()),
        Ok(_) | Err(ErasureRecordError::Unknown { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let mut available = Vec::new();
    for kind in Kind::EXPORTED {
        let newest = services.catalog.points(&Subject::Tenant(tenant.clone()), Some(kind), NEWEST).await?;
        available.extend(newest.into_iter().map(|point| point.value).filter(|point| point.content().is_some()));
    }
    let subject = format!("tenant {tenant}");
    let Some(one) = available.first() else { return services.all_clear(AlertClass::ErasureFailed, &subject).await };
    let said = Said {
        summary: format!("tenant {tenant} was erased by {by} and has recovery points all the same: {} is one", one.id),
        meaning: "its data is still kept, and nothing lets it go by itself".to_owned(),
        remedy: format!("ask for another erasure, which takes what is left: `holdfast erase request --tenant {tenant}`"),
    };
    services.raise(plan, AlertClass::ErasureFailed, &subject, said).await
}

async fn open(services: &Services, plan: &Plan, erasure: &Erasure) -> Result<(), ErrorReport> {
    let (now, id) = (services.clock.now(), erasure.asked.id.to_string());
    if !erasure.is_open(now) {
        services.all_clear(AlertClass::ErasureAwaitsApproval, &id).await?;
        if !matches!(erasure.state, ErasureState::Executing { .. }) {
            // Nobody approved it in time, or it did not begin: there is nothing to wait for any more.
            return Ok(());
        }
    }
    let Some(since) = erasure.overdue_since(now) else { return Ok(()) };
    let remedy = if erasure.is_open(now) {
        format!("look at the log of shred, then `holdfast erase run {id}`; it goes on where it stopped")
    } else {
        format!(
            "it is too late to go on: `holdfast erase cancel {id} --reason \"it stopped for too long\"`, then ask for another one, which takes what is left"
        )
    };
    let said = Said {
        summary: format!(
            "the erasure {id} of tenant {} was approved, and is {} since {since}",
            erasure.asked.tenant,
            erasure.state.name()
        ),
        meaning: "recovery points of it may be left, and its keys".to_owned(),
        remedy,
    };
    services.raise(plan, AlertClass::ErasureFailed, &id, said).await
}

async fn taken_back(services: &Services, plan: &Plan, erasure: &Erasure, done: &Done) -> Result<(), ErrorReport> {
    let id = erasure.asked.id.to_string();
    for key in &done.keys {
        let KeyStanding::Usable { state } = services.clients.tenant_keys().standing(&key.arn).await? else { continue };
        let said = Said {
            summary: format!("the deletion of {} was taken back, and the key is {state}: erasure {id} does not stand", key.arn),
            meaning: format!("whoever may use the key can open what is stored of tenant {}", erasure.asked.tenant),
            remedy:
                "find out who cancelled the deletion and why; schedule it again, or tell those to whom the evidence was given"
                    .to_owned(),
        };
        return services.raise(plan, AlertClass::ErasureFailed, &id, said).await;
    }
    services.all_clear(AlertClass::ErasureFailed, &id).await
}
