//! The evidence of an erasure: what went, by whose word, and what can be seen of it now. It claims no more than that.

use aws::KeyStanding;
use domain::{
    ErrorReport, VaultTenantId, caps,
    erasure::{Done, Erasure, Going, KeyFound, Standing},
    point::{Content, RecoveryPoint},
};
use runtime::services::Services;
use serde::Serialize;
use serde_json::{Value, json};
use vault::Inventory;

/// What an erasure has come to, and the document that says so. It says when it was looked at, so two of them differ.
pub(crate) async fn of(services: &Services, erasure: &Erasure, done: &Done) -> Result<(Standing, Value), ErrorReport> {
    let tenant = &erasure.asked.tenant;
    let (kms, mut found, mut keys) = (services.clients.tenant_keys(), Vec::new(), Vec::new());
    for key in &done.keys {
        let (standing, now) = match kms.standing(&key.arn).await? {
            KeyStanding::Usable { state } => (KeyFound::Usable, json!({ "state": state })),
            KeyStanding::PendingDeletion { deletion_at } => {
                (KeyFound::Pending, json!({ "state": "PendingDeletion", "deletion_at": deletion_at }))
            }
            KeyStanding::Gone => (KeyFound::Gone, json!({ "state": "Gone" })),
        };
        found.push(standing);
        keys.push(json!({ "arn": key.arn, "deletion_at": key.deletion_at, "now": now }));
    }
    let record = services.tenant(tenant).await?;
    let names: Vec<Name> =
        services.stored_of(&record).await?.iter().map(|(name, inventory)| Name::of(*name, inventory)).collect();
    let points = services.points_to_erase(tenant).await?;
    // What the sweep took since counts no more.
    let shared = Going::of(&erasure.asked, &points, None).under_vault_key;
    let seen = Seen::of(&points, shared, &names);
    let standing = Standing::of(&found, shared, seen.left as u64);
    let bytes: u64 = names.iter().map(|name| name.bytes).sum();
    let of_it: Vec<Value> = points.iter().filter_map(point).collect();
    let available = points.iter().filter(|point| point.content().is_some()).count();
    let people: Vec<Value> =
        erasure.state.approvals().iter().map(|approval| json!({ "by": approval.by.arn, "at": approval.at })).collect();
    let evidence = json!({
        "erasure": erasure.asked.id,
        "environment": services.plan().await?.environment,
        "vault": services.config.vault_id,
        "tenant": tenant,
        "names": names,
        "reason": erasure.asked.reason,
        "requested_by": erasure.asked.requested_by.arn,
        "requested_at": erasure.asked.requested_at,
        "approved_by": people,
        "agreed_to": erasure.going,
        "done_at": done.at,
        "holds": "none when it was asked for, when it was approved, and when each recovery point went: a hold would have stopped it",
        "points_count": of_it.len(),
        "points_available": available,
        "points": of_it.iter().take(caps::ERASED_POINTS_SHOWN_MAX).collect::<Vec<_>>(),
        "keys": keys,
        "stored_then": done.stored,
        "stored_now": { "objects": seen.left, "bytes": bytes, "kept": seen.kept },
        "state": standing.name(),
        "under_vault_key": shared,
        "means": means(standing, &seen, done),
        "not_reached": done.outside,
        "looked_at": services.clock.now(),
    });
    Ok((standing, evidence))
}

/// A recovery point that is no more, if it ever held anything.
fn point(point: &RecoveryPoint) -> Option<Value> {
    let Some(Content::Export { vault_tenant, sequence, plaintext_bytes, stored_bytes, .. }) = point.last_content() else {
        return None;
    };
    Some(json!({
        "point": point.id, "kind": point.kind, "scheduled_time": point.scheduled_time, "state": point.state.name(), "name": vault_tenant,
        "sequence": sequence, "plaintext_bytes": plaintext_bytes, "stored_bytes": stored_bytes, "key": point.key,
    }))
}

/// What is stored under one of the names that the tenant has or had in the vault.
#[derive(Serialize)]
struct Name {
    name: VaultTenantId,
    /// Stored versions that the sweep has yet to delete.
    objects: usize,
    /// Their size.
    bytes: u64,
    /// Stored versions that it never deletes.
    kept: usize,
}

impl Name {
    fn of(name: VaultTenantId, inventory: &Inventory) -> Self {
        let (objects, bytes) =
            inventory.collected().fold((0, 0), |(objects, bytes), version| (objects + 1, bytes + version.bytes));
        Self { name, objects, bytes, kept: inventory.kept() }
    }
}

/// What the words are made from, beside how the keys stand.
struct Seen {
    /// Recovery points under the vault's key that are not swept.
    shared: u64,
    /// Stored versions that the sweep has yet to delete.
    left: usize,
    /// Those that it never deletes.
    kept: usize,
    /// Names of the tenant that were looked under.
    names: usize,
    /// Those of what is yet to be deleted that lie under a former one.
    left_formerly: usize,
    /// Whether any run, however long ago and whatever became of it, was under the vault's key: the first one made the naming secret.
    named_under_vault_key: bool,
    /// Recovery points of which a run failed. A record names only the key of its last run.
    failed: usize,
}

impl Seen {
    fn of(points: &[RecoveryPoint], shared: u64, names: &[Name]) -> Self {
        let left = names.iter().map(|name| name.objects).sum();
        let left_formerly = names.iter().skip(1).map(|name| name.objects).sum();
        let kept = names.iter().map(|name| name.kept).sum();
        let named_under_vault_key = points.iter().any(|point| point.key.is_none());
        let failed = points.iter().filter(|point| point.attempts > 1 || point.last_content().is_none()).count();
        Self { shared, left, kept, names: names.len(), left_formerly, named_under_vault_key, failed }
    }
}

/// What that means, in sentences that may be shown to the tenant.
fn means(standing: Standing, seen: &Seen, done: &Done) -> Vec<String> {
    let Seen { shared, left, kept, names, left_formerly, named_under_vault_key, failed } = *seen;
    let mut lines = vec![match standing {
        Standing::Erased if done.keys.is_empty() => {
            "Nothing that the tenant's recovery points were made of is stored in the vault any more.".to_owned()
        }
        Standing::Erased => {
            "The keys that opened the tenant's data are no more, or nothing that its recovery points were made of is stored any more."
                .to_owned()
        }
        Standing::KeyPendingDeletion => {
            "KMS lets nobody use the tenant's own keys, so none of its data can be opened. Until each is deleted \
            an administrator of the account can take that back; the environment is told of it if somebody does."
                .to_owned()
        }
        Standing::KeyTakenBack => {
            "The deletion of a key was taken back: whoever may use it can open what is stored. This erasure does \
            not stand."
                .to_owned()
        }
        Standing::LogicallyErased => {
            "Holdfast restores nothing of the tenant any more. What is stored stays until its locks end and the \
            sweep deletes it."
                .to_owned()
        }
    }];
    if shared > 0 && standing != Standing::Erased {
        let until = match done.stored.locked_until {
            Some(at) if done.stored.asked == done.stored.objects => format!("until {at} at the earliest"),
            Some(at) => format!(
                "until {at} or later ({} of {} objects were asked for their locks)",
                done.stored.asked, done.stored.objects
            ),
            None => "until the sweep deletes them".to_owned(),
        };
        lines.push(format!(
            "The content of {shared} recovery points is under the vault's key, not one of the tenant's own: their objects remain {until}, \
             and whoever may use that key with this tenant's context can decrypt them. That is no cryptographic erasure."
        ));
    }
    if named_under_vault_key && !done.keys.is_empty() && left > 0 {
        lines.push(
            "The tenant was backed up, or that was tried, before it had a key of its own. Its chunk-naming secret is from then and under the \
             vault's key: who may open that can test guesses about what chunks hold, and read how many and how large they are."
                .to_owned(),
        );
    }
    if failed > 0 && !done.keys.is_empty() && left > 0 {
        lines.push(format!(
            "Of {failed} recovery points a run failed. Under which key that run stored what it did is not recorded: it may be the vault's, and \
             then whoever may use that key can decrypt it until the sweep deletes it, whatever became of the tenant's own keys."
        ));
    }
    if names > 1 {
        lines.push(format!(
            "The catalog was lost once and made again from the vault, so the tenant has {names} names there. This erasure is of what lies under \
             each of them, and `names` says how much is left where."
        ));
    }
    if left_formerly > 0 && !done.keys.is_empty() {
        lines.push(format!(
            "{left_formerly} of the objects lie under a former name. Where a slot was filled under both, it is not recorded under which key it was \
             stored the first time: it may be the vault's, and then whoever may use that key can decrypt it until the sweep deletes it."
        ));
    }
    if kept > 0 {
        lines.push(format!(
            "{kept} stored versions remain for good, because nobody may delete them: the links of the tenant's chains, which hold ids, hashes and \
             sizes and no content, and its chunk-naming secrets, which are wrapped and open no content. What has neither name is counted with them."
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use domain::{
        erasure::{DoomedKey, Stored},
        point::Kind,
        slot::{Slot, Subject},
    };
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn the_words_promise_no_more_than_the_keys_do() {
        let at = Timestamp::UNIX_EPOCH;
        let stored = Stored { objects: 3, bytes: 9, locked_until: Some(at), asked: 3 };
        let mut done = Done { at, keys: vec![], stored, outside: vec![] };
        let seen =
            |shared| Seen { shared, left: 3, kept: 0, names: 1, left_formerly: 0, named_under_vault_key: shared > 0, failed: 0 };
        let said = |standing, shared, done: &Done| means(standing, &seen(shared), done).join("\n");
        let text = said(Standing::LogicallyErased, 2, &done);
        assert!(
            text.contains("until 1970-01-01T00:00:00Z at the earliest") && text.contains("no cryptographic erasure"),
            "{text}"
        );
        assert!(!text.contains("test guesses"));
        done.stored.asked = 1;
        assert!(said(Standing::LogicallyErased, 2, &done).contains("1 of 3 objects were asked"));
        done.keys = vec![DoomedKey { arn: "k".into(), deletion_at: Some(at) }];
        assert!(said(Standing::LogicallyErased, 2, &done).contains("test guesses"));
        let text = said(Standing::KeyPendingDeletion, 0, &done);
        assert!(text.contains("take that back") && !text.contains("no cryptographic"), "{text}");
        assert!(said(Standing::KeyTakenBack, 0, &done).contains("does not stand"));
    }

    #[test]
    fn what_the_vaults_key_still_opens_is_said_of_swept_and_failed_runs_too() {
        let at = Timestamp::UNIX_EPOCH;
        let slot = Slot {
            rule: "daily".into(),
            scheduled_time: at,
            subject: Subject::Tenant("acme".parse().unwrap()),
            kind: Kind::Database,
        };
        let run = "run_00000000-0000-0000-0000-000000000001".parse().unwrap();
        let begun = RecoveryPoint::begin(&slot, run, at);
        let content = Content::Export {
            vault_tenant: "vt_00000000-0000-0000-0000-000000000001".parse().unwrap(),
            sequence: 1,
            link_sha256: "00".into(),
            parent: None,
            rows: 1,
            plaintext_bytes: 20,
            stored_bytes: 3,
            read: None,
        };
        let swept = |point: RecoveryPoint| point.publish(content.clone(), at).unwrap().expire(at).unwrap().sweep(at).unwrap();
        let done =
            Done { at, keys: vec![DoomedKey { arn: "k".into(), deletion_at: None }], stored: Stored::default(), outside: vec![] };
        let said = |points: &[RecoveryPoint], left, kept| {
            means(Standing::Erased, &Seen::of(points, 0, &[name(1, left, kept)]), &done).join("\n")
        };
        let under_vault_key = [swept(begun.clone())];
        assert!(said(&under_vault_key, 4, 2).contains("test guesses"), "the secret is the same as long as there are lists");
        assert!(!said(&under_vault_key, 0, 2).contains("test guesses"));
        let own = begun.clone().under(Some("k")).unwrap();
        let text = said(&[swept(own.clone())], 4, 0);
        assert!(!text.contains("test guesses") && !text.contains("run failed") && !text.contains("remain for good"), "{text}");
        // Its first run was under the vault's key, and the record says so no more.
        let retried = begun.retry(run, at).unwrap().under(Some("k")).unwrap();
        assert!(said(&[swept(retried)], 4, 0).contains("Of 1 recovery points a run failed"));
        assert!(said(&[own], 4, 0).contains("Of 1 recovery points a run failed"), "it was stopped");
        assert!(said(&[], 0, 2).contains("2 stored versions remain for good"));
    }

    fn name(n: u8, objects: usize, kept: usize) -> Name {
        let name = format!("vt_00000000-0000-0000-0000-0000000000{n:02}").parse().unwrap();
        Name { name, objects, bytes: objects as u64, kept }
    }

    #[test]
    fn what_is_left_under_a_former_name_counts_and_is_told() {
        let at = Timestamp::UNIX_EPOCH;
        let mut done = Done { at, keys: vec![], stored: Stored::default(), outside: vec![] };
        let of = |former: usize| Seen::of(&[], 0, &[name(1, 0, 2), name(2, former, 3)]);
        assert_eq!((of(4).left, of(4).kept), (4, 5), "nothing is left under the present name alone");
        assert_eq!(Standing::of(&[], 0, of(4).left as u64), Standing::LogicallyErased);
        assert_eq!(Standing::of(&[], 0, of(0).left as u64), Standing::Erased);
        let said = |former, done: &Done| means(Standing::LogicallyErased, &of(former), done).join("\n");
        assert!(said(4, &done).contains("has 2 names there") && !said(4, &done).contains("may be the vault's"));
        assert!(said(4, &done).contains("5 stored versions remain for good"));
        done.keys = vec![DoomedKey { arn: "k".into(), deletion_at: None }];
        assert!(said(4, &done).contains("4 of the objects lie under a former name"));
        assert!(!said(0, &done).contains("former name"));
        let alone = Seen::of(&[], 0, &[name(1, 4, 2)]);
        assert!(!means(Standing::LogicallyErased, &alone, &done).join("\n").contains("names there"));
    }
}
