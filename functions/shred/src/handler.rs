//! Carries an approved erasure out: the tenant's recovery points go, then the KMS keys that are its own.
//!
//! Everything is checked again here, against the register, the catalog and the policies of this moment. No other function's role may have
//! a key deleted, and this one's may do nothing else with keys. A second delivery goes on where the first one stopped.

use std::collections::BTreeSet;

use aws::KeyStanding;
use catalog::{
    audit::Phase,
    tenants::{Erased, TenantRecord},
};
use domain::{
    ErasureId, ErrorCode, ErrorReport,
    alert::AlertClass,
    caps,
    erasure::{Done, DoomedKey, Erasure, ErasureState, Stored},
    plan::Plan,
};
use jiff::Timestamp;
use runtime::{
    Event, Invocation,
    services::{Said, Services},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{letting_go::let_go, outside};

/// Whom the audit trail names as the actor.
const ACTOR: &str = "shred";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    erasure: ErasureId,
}

/// Serves one event.
pub(crate) async fn handle(services: &Services, event: Event, invocation: &Invocation) -> Result<Value, ErrorReport> {
    let Event::Item(item) = event else {
        return Err(event.refused("shred", "an item with an erasure").into());
    };
    let id = Event::item::<Item>(item)?.erasure;
    let erasure = services.catalog.erasure(id).await?.value;
    if matches!(erasure.state, ErasureState::Expired { .. }) {
        return Ok(json!({ "erasure": id, "state": erasure.state.name() }));
    }
    let plan = services.plan().await?;
    let (subject, tenant) = (id.to_string(), erasure.asked.tenant.as_str());
    services.audit(Phase::Intent, ACTOR, "erase.execute", tenant, &subject).await?;
    let carried_out = Box::pin(carry_out(services, &plan, &erasure, invocation)).await;
    let outcome = match &carried_out {
        Ok(done) => format!("{id}: no recovery point is left; keys that will be deleted: {}", keys_in_words(done)),
        Err(report) => format!("{id}: not done: {report}"),
    };
    services.audit(Phase::Outcome, ACTOR, "erase.execute", tenant, &outcome).await?;
    match carried_out {
        Ok(done) => {
            for class in [AlertClass::ErasureAwaitsApproval, AlertClass::ErasureFailed] {
                services.all_clear(class, &subject).await?;
            }
            services.raise_once(&plan, AlertClass::ErasureDone, &subject, said(&erasure, &done)).await?;
            Ok(json!({ "erasure": id, "state": "expired" }))
        }
        Err(report) => {
            // The machine tries again by itself; what it gives up on is told by reconcile.
            if !matches!(report.code.class(), domain::Class::Transient | domain::Class::Throttled | domain::Class::Conflict) {
                // What stopped it before may be seen to, and this be something else.
                services.all_clear(AlertClass::ErasureFailed, &subject).await?;
                services
                    .raise(&plan, AlertClass::ErasureFailed, &subject, stopped(&erasure, &report, services.clock.now()))
                    .await?;
            }
            Err(report)
        }
    }
}

async fn carry_out(services: &Services, plan: &Plan, erasure: &Erasure, invocation: &Invocation) -> Result<Done, ErrorReport> {
    let (id, tenant) = (erasure.asked.id, &erasure.asked.tenant);
    services.check_listed_gone(plan, tenant).await?;
    let points = services.points_to_erase(tenant).await?;
    services.check_unused(tenant, &points).await?;
    let needed = services.erasure_still_permitted(plan, erasure).await?;
    let going = services.going(plan, &erasure.asked, &points)?;
    // Before anything goes: a key that turns out to be another's afterwards would leave half an erasure.
    let keys: BTreeSet<&String> = going.keys.iter().chain(&erasure.going.keys).collect();
    check_keys(services, erasure, &keys).await?;
    // The rounds that learn of former names visit protected tenants only. What lies under one that is not recorded would not be counted,
    // nor swept.
    services.catalog.know_names_of(tenant, &points).await?;
    services.catalog.advance_erasure(id, |erasure| erasure.execute(&going, needed, services.clock.now())).await?;

    let_go(services, erasure, invocation).await?;
    // From here on no export begins; one that had begun is stopped and what it made goes too.
    services.catalog.erase_tenant(tenant, Erased { erasure: id, at: services.clock.now() }).await?;
    let_go(services, erasure, invocation).await?;

    let mut doomed = Vec::new();
    for key in keys {
        doomed.push(doom(services, erasure, key).await?);
    }
    let record = services.tenant(tenant).await?;
    let stored = still_stored(services, &record).await?;
    let outside = outside::of(services, plan, &record.tenant).await?;
    let done = Done { at: services.clock.now(), keys: doomed, stored, outside };
    let recorded = done.clone();
    services.catalog.advance_erasure(id, |erasure| erasure.expired(recorded)).await?;
    Ok(done)
}

/// Makes sure that every key says itself that it is this tenant's alone.
async fn check_keys(services: &Services, erasure: &Erasure, keys: &BTreeSet<&String>) -> Result<(), ErrorReport> {
    let kms = services.clients.tenant_keys();
    for key in keys {
        if kms.standing(key).await? != KeyStanding::Gone {
            let (vault, tenant) = (services.config.vault_id.as_str(), erasure.asked.tenant.as_str());
            kms.check_owner(key, vault, tenant).await.map_err(|error| {
                let report = ErrorReport::from(error);
                ErrorReport::new(ErrorCode::ErasureRefused, format!("nothing was erased: {}", report.message))
            })?;
        }
    }
    Ok(())
}

/// Has KMS delete a key, unless an earlier delivery did.
async fn doom(services: &Services, erasure: &Erasure, key: &str) -> Result<DoomedKey, ErrorReport> {
    let kms = services.clients.tenant_keys();
    let deletion_at = match kms.standing(key).await? {
        KeyStanding::Gone => None,
        KeyStanding::PendingDeletion { deletion_at } => deletion_at,
        KeyStanding::Usable { .. } => {
            let (tenant, what) = (erasure.asked.tenant.as_str(), format!("{}: {key}", erasure.asked.id));
            services.audit(Phase::Intent, ACTOR, "key.delete", tenant, &what).await?;
            let taken = kms.delete(key, caps::KEY_DELETION_DAYS).await;
            let outcome = match &taken {
                Ok(at) => {
                    format!("{what}: KMS deletes it at {}", at.map_or_else(|| "an unknown time".to_owned(), |at| at.to_string()))
                }
                Err(error) => format!("{what}: perhaps not deleted: {error}"),
            };
            services.audit(Phase::Outcome, ACTOR, "key.delete", tenant, &outcome).await?;
            taken?
        }
    };
    Ok(DoomedKey { arn: key.to_owned(), deletion_at })
}

/// What lies in the vault of the tenant, under whichever of its names, and until when it cannot be deleted.
async fn still_stored(services: &Services, record: &TenantRecord) -> Result<Stored, ErrorReport> {
    let bucket = &services.config.vault_bucket;
    let inventories = services.stored_of(record).await?;
    let collected = || inventories.iter().flat_map(|(_, inventory)| inventory.collected());
    let (objects, bytes) = collected().fold((0, 0), |(objects, bytes), version| (objects + 1, bytes + version.bytes));
    let mut versions: Vec<_> = collected().map(|version| (version.key.clone(), version.version.clone())).collect();
    versions.truncate(caps::LOCKS_ASKED_MAX);
    let asked = versions.len() as u64;
    let locked_until = services.clients.vault_locks(bucket).newest_end(versions).await?;
    Ok(Stored { objects, bytes, locked_until, asked })
}

fn keys_in_words(done: &Done) -> String {
    let keys: Vec<String> = done.keys.iter().map(|key| key.arn.clone()).collect();
    if keys.is_empty() { "none, it had none of its own".to_owned() } else { keys.join(", ") }
}

fn said(erasure: &Erasure, done: &Done) -> Said {
    let Erasure { asked, going, .. } = erasure;
    let meaning = match done.keys.iter().filter_map(|key| key.deletion_at).max() {
        Some(at) => format!(
            "nobody can open what its own key wrapped; until {at} an administrator of the account can still take that back"
        ),
        None if done.keys.is_empty() => {
            "what is stored of it stays in the vault until locks end and the sweep comes, under the vault's key".to_owned()
        }
        None => "nobody can open what its own key wrapped".to_owned(),
    };
    Said {
        summary: format!(
            "tenant {} is erased by {}, asked by {}: {} recovery points are gone",
            asked.tenant,
            asked.id,
            asked.requested_by.arn,
            going.points()
        ),
        meaning,
        remedy: format!("keep the evidence: `holdfast erase show {} --output json`", asked.id),
    }
}

fn stopped(erasure: &Erasure, report: &ErrorReport, now: Timestamp) -> Said {
    let id = erasure.asked.id;
    let remedy = if erasure.is_open(now) {
        format!("see to what the message names, then `holdfast erase run {id}`; it goes on where it stopped")
    } else {
        format!(
            "it is too late to go on: `holdfast erase cancel {id} --reason \"it stopped for too long\"`, then ask for another one, which takes what is left"
        )
    };
    Said {
        summary: format!("the erasure {id} of tenant {} stopped: {report}", erasure.asked.tenant),
        meaning: "recovery points of it may be left, and its keys; what has gone is gone".to_owned(),
        remedy,
    }
}
