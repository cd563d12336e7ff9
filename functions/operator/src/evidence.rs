//! The evidence of an erasure: what went, by whose word, and what can be seen of it now. It claims no more than that.

use aws::KeyStanding;
use domain::{
    ErrorReport, caps,
    erasure::{Done, Erasure, Going, KeyFound, Standing},
    point::{Content, RecoveryPoint},
};
use runtime::services::Services;
use serde_json::{Value, json};

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
    let store = services.clients.store(&services.config.vault_bucket);
    let inventory = services.vault.inventory(&store, services.tenant(tenant).await?.vault_tenant).await?;
    let bytes: u64 = inventory.collected().map(|version| version.bytes).sum();
    let points = services.points_to_erase(tenant).await?;
    // What the sweep took since counts no more.
    let shared = Going::of(&erasure.asked, &points, None).under_vault_key;
    let seen = Seen::of(&points, shared, inventory.collected().count(), inventory.kept());
    let standing = Standing::of(&found, shared, seen.left as u64);
    let of_it: Vec<Value> = points.iter().filter_map(point).collect();
    let available = points.iter().filter(|point| point.content().is_some()).count();
    let people: Vec<Value> =
        erasure.state.approvals().iter().map(|approval| json!({ "by": approval.by.arn, "at": approval.at })).collect();
    let evidence = json!({
        "erasure": erasure.asked.id,
        "environment": services.plan().await?.environment,
        "vault": services.config.vault_id,
        "tenant": tenant,
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
    let Some(Content::Export { sequence, plaintext_bytes, stored_bytes, .. }) = point.last_content() else { return None };
    Some(json!({
        "point": point.id, "kind": point.kind, "scheduled_time": point.scheduled_time, "state": point.state.name(), "sequence": sequence,
        "plaintext_bytes": plaintext_bytes, "stored_bytes": stored_bytes, "key": point.key,
    }))
}

/// What the words are made from, beside how the keys stand.
struct Seen {
    /// Recovery points under the vault's key that are not swept.
    shared: u64,
    /// Stored versions that the sweep has yet to delete.
    left: usize,
    /// Those that it never deletes.
    kept: usize,
    /// Whether any run, however long ago and whatever became of it, was under the vault's key: the first one made the naming secret.
    named_under_vault_key: bool,
    /// Recovery points of which a run failed. A record names only the key of its last run.
    failed: usize,
}

impl Seen {
    fn of(points: &[RecoveryPoint], shared: u64, left: usize, kept: usize) -> Self {
        let named_under_vault_key = points.iter().any(|point| point.key.is_none());
        let failed = points.iter().filter(|point| point.attempts > 1 || point.last_content().is_none()).count();
        Self { shared, left, kept, named_under_vault_key, failed }
    }
}

/// What that means, in sentences that may be shown to the tenant.
fn means(standing: Standing, seen: &Seen, done: &Done) -> Vec<String> {
    let Seen { shared, left, kept, named_under_vault_key, failed } = *seen;
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
    if kept > 0 {
        lines.push(format!(
            "{kept} stored versions remain for good, because nobody may delete them: the links of the tenant's chain, which hold ids, hashes and \
             sizes and no content, and its chunk-naming secret, which is wrapped and opens no content. What has neither name is counted with them."
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
        let seen = |shared| Seen { shared, left: 3, kept: 0, named_under_vault_key: shared > 0, failed: 0 };
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
        let said =
            |points: &[RecoveryPoint], left, kept| means(Standing::Erased, &Seen::of(points, 0, left, kept), &done).join("\n");
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
}
