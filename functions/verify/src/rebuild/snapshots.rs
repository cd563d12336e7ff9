//! Snapshots kept by RDS: their tags say whose they are, and only a copy under the vault's key is a recovery point.

use std::collections::BTreeSet;

use aws::{Snapshot, SnapshotOf, SnapshotState};
use domain::{
    ErrorReport, RecoveryPointId, caps,
    plan::{Plan, Server},
    point::{Content, Copied, Kind, Origin},
    slot::{Slot, Subject},
};
use jiff::Timestamp;
use runtime::{copies::VAULT_TAG, services::Services};
use serde_json::json;

use super::Round;

/// How the names of Holdfast's snapshots begin.
const PREFIX: &str = "holdfast-";
/// How the name of a copy ends.
const COPY: &str = "-copy";
/// The tag with the recovery point that a snapshot is.
const POINT_TAG: &str = "holdfast:point";

impl Round<'_> {
    /// Records the snapshots of this vault that the catalog does not know.
    pub(super) async fn snapshots(&mut self, services: &Services) -> Result<(), ErrorReport> {
        let key = services.config.storage_key()?;
        let (mut listed, mut copied) = (Vec::new(), BTreeSet::new());
        for of in [SnapshotOf::Instance, SnapshotOf::Cluster] {
            listed.extend(services.clients.snapshots(of).list().await?);
        }
        // A recovery point is its copy; what that was made from may be there still.
        listed.sort_by_key(|snapshot| !snapshot.name.ends_with(COPY));
        for snapshot in listed.into_iter().filter(|snapshot| snapshot.name.starts_with(PREFIX)) {
            let is_ours = snapshot.tags.get(VAULT_TAG).is_some_and(|vault| vault == services.config.vault_id.as_str());
            let Some(point) = snapshot.tags.get(POINT_TAG).filter(|_| is_ours) else { continue };
            if snapshot.state != SnapshotState::Available {
                continue;
            }
            match self.snapshot(services, &snapshot, point, key, &mut copied).await {
                Ok(()) => {}
                Err(Unclear::Call(report)) => return Err(report),
                Err(Unclear::Says(why)) => self.found.problem(format!("snapshot {}: {why}", snapshot.name)),
            }
        }
        Ok(())
    }

    async fn snapshot(
        &mut self,
        services: &Services,
        snapshot: &Snapshot,
        point: &str,
        key: &str,
        copied: &mut BTreeSet<RecoveryPointId>,
    ) -> Result<(), Unclear> {
        let id: RecoveryPointId = point.parse().map_err(|error| Unclear::Says(format!("its tag {POINT_TAG}: {error}")))?;
        let taken_at = snapshot
            .created_at
            .or(snapshot.asked_at)
            .ok_or_else(|| Unclear::Says("RDS does not say when it was taken".to_owned()))?;
        let (subject, instance, origin) = slot_of(&self.plan, snapshot, id, taken_at).map_err(Unclear::Says)?;
        let known = self.catalog.points(&subject, Some(Kind::Snapshot), caps::LISTED_POINTS_MAX).await.map_err(report)?;
        if known.iter().any(|known| known.value.id == id) {
            self.found.snapshots_known += 1;
            return Ok(());
        }
        if copied.contains(&id) {
            // What its copy was made from: the next tick of the function `snapshot` deletes it.
            return Ok(());
        }
        is_the_vaults(snapshot, id, key).map_err(Unclear::Says)?;
        // Those of its time are lost with the catalog, but for what RDS restores by itself. Today's are better than none.
        let settings = match services.clients.instances().describe(&instance).await {
            Ok(instance) => json!(instance.settings),
            Err(error) if error.is_not_found() => serde_json::Value::Null,
            Err(error) => return Err(report(error)),
        };
        let of = Copied { from: snapshot.name.trim_end_matches(COPY).to_owned(), kms_key: key.to_owned() };
        let content =
            Content::Snapshot { identifier: snapshot.name.clone(), arn: snapshot.arn.clone(), settings, copied: Some(of) };
        let record = origin.record(&subject, services.fresh.run_id(), taken_at, content);
        if self.dry_run || self.catalog.know_point_again(record).await.map_err(report)? {
            self.found.snapshots_recorded += 1;
        } else {
            self.found.snapshots_known += 1;
        }
        copied.insert(id);
        Ok(())
    }
}

/// Why a snapshot was not recorded.
enum Unclear {
    /// What it says of itself does not fit.
    Says(String),
    /// A call failed.
    Call(ErrorReport),
}

fn report(error: impl Into<ErrorReport>) -> Unclear {
    Unclear::Call(error.into())
}

/// Whether a snapshot is its recovery point's copy under the vault's key: any other would be lost with the instance's key, or is somebody's.
fn is_the_vaults(snapshot: &Snapshot, id: RecoveryPointId, key: &str) -> Result<(), String> {
    let taken = format!("{PREFIX}{}", id.uuid().hyphenated());
    if snapshot.name == taken {
        return Err(format!(
            "it is not yet copied under the vault's key {key}, so it is no recovery point; the next slot makes another"
        ));
    }
    if snapshot.name != format!("{taken}{COPY}") {
        return Err(format!("it has the tags of {id} but not its name; find out who made it"));
    }
    match snapshot.kms_key.as_deref() {
        Some(found) if found == key => Ok(()),
        Some(other) => Err(format!("it is encrypted under {other} and not under the vault's key {key}; find out who made it")),
        None => Err("it is not encrypted; find out who made it".to_owned()),
    }
}

/// The slot that a snapshot filled: by its tags, or by trying if it was taken before there were such tags.
fn slot_of(
    plan: &Plan,
    snapshot: &Snapshot,
    id: RecoveryPointId,
    taken_at: Timestamp,
) -> Result<(Subject, String, Origin), String> {
    let server = match SnapshotOf::of_arn(&snapshot.arn) {
        SnapshotOf::Instance => Server::Instance(&snapshot.of),
        SnapshotOf::Cluster => Server::Cluster(&snapshot.of),
    };
    let database = plan.databases.iter().find(|database| database.server() == server);
    let database = database.ok_or_else(|| format!("it is of {}, which is not in the backup plan", snapshot.of))?;
    let subject = Subject::Instance(plan.snapshot_subject_of(&database.id).unwrap_or(&database.id).to_owned());
    let origin = match (snapshot.tags.get(Slot::RULE_TAG), snapshot.tags.get(Slot::SCHEDULED_TAG)) {
        (Some(rule), Some(time)) => {
            let scheduled_time = time.parse().map_err(|error| format!("its tag {}: {error}", Slot::SCHEDULED_TAG))?;
            let (rule, kind) = (rule.clone(), Kind::Snapshot);
            Some(Origin { rule, scheduled_time, kind, attempts: 1, started_at: taken_at, parent: None, key: None, read: None })
        }
        _ => {
            let zone = plan.zone().map_err(|error| error.to_string())?;
            Origin::guess(plan, &zone, &subject, id, taken_at)
        }
    };
    match origin {
        Some(origin) if origin.slot(&subject).recovery_point_id() == id => Ok((subject, database.instance.clone(), origin)),
        Some(_) => Err("its tags say another slot than its recovery point is of".to_owned()),
        None => Err("it does not say its slot, and is of no rule of the plan".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use aws::Tags;
    use serde_json::json;

    use super::*;

    const SLOT: &str = "2026-11-23T01:15:00Z";

    fn plan() -> Plan {
        let plan = json!({
            "version": 1, "environment": "test", "time_zone": "UTC",
            "register": { "database": "central", "query": "SELECT" },
            "databases": [{ "id": "central", "instance": "platform", "database": "central", "secret": "s" }],
            "rules": [{ "id": "snapshots-daily", "kind": "snapshot", "schedule": { "daily_at": "01:15" }, "rpo_minutes": 1500 }],
            "retention": { "keep_all_days": 7, "daily": 1, "weekly": 1, "monthly": 1, "yearly": 1, "min_proven": 1, "max_expire_per_run": 1 }
        });
        Plan::parse(&plan.to_string()).unwrap()
    }

    fn slot() -> Slot {
        let subject = Subject::Instance("central".into());
        Slot { rule: "snapshots-daily".into(), scheduled_time: SLOT.parse().unwrap(), subject, kind: Kind::Snapshot }
    }

    fn snapshot(tags: &[(&str, &str)]) -> Snapshot {
        Snapshot {
            name: "holdfast-1".into(),
            arn: "arn".into(),
            of: "platform".into(),
            copy_of: None,
            state: SnapshotState::Available,
            created_at: None,
            asked_at: None,
            kms_key: None,
            tags: tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Tags>(),
        }
    }

    fn found(snapshot: &Snapshot) -> Result<(Subject, Slot), String> {
        let (subject, _, origin) =
            slot_of(&plan(), snapshot, slot().recovery_point_id(), "2026-11-23T01:20:00Z".parse().unwrap())?;
        let slot = origin.slot(&subject);
        Ok((subject, slot))
    }

    #[test]
    fn a_snapshots_slot_is_what_its_tags_say_if_its_id_agrees_or_what_its_id_tells_without() {
        let expected = Ok((slot().subject, slot()));
        let tags = slot().tags();
        let tags: Vec<(&str, &str)> = tags.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(found(&snapshot(&tags)), expected);
        assert_eq!(found(&snapshot(&[])), expected);
        let other = [(Slot::RULE_TAG, "snapshots-daily"), (Slot::SCHEDULED_TAG, "2026-11-22T01:15:00Z")];
        assert!(found(&snapshot(&other)).unwrap_err().contains("another slot"));
        let elsewhere = Snapshot { of: "somebody-elses".into(), ..snapshot(&tags) };
        assert!(found(&elsewhere).unwrap_err().contains("somebody-elses"));
    }

    #[test]
    fn only_the_copy_under_the_vaults_key_is_a_recovery_point() {
        const KEY: &str = "arn:aws:kms:eu-central-1:123456789012:key/vault";
        let id = slot().recovery_point_id();
        let taken = format!("holdfast-{}", id.uuid().hyphenated());
        let named = |name: &str, kms_key: Option<&str>| {
            let snapshot = Snapshot { name: name.into(), kms_key: kms_key.map(str::to_owned), ..snapshot(&[]) };
            is_the_vaults(&snapshot, id, KEY)
        };
        let copy = format!("{taken}-copy");
        assert_eq!(named(&copy, Some(KEY)), Ok(()));
        assert!(named(&copy, Some("arn:other")).unwrap_err().contains("arn:other and not under the vault's key"));
        assert!(named(&copy, None).unwrap_err().contains("not encrypted"));
        for key in [Some(KEY), Some("arn:other"), None] {
            assert!(named(&taken, key).unwrap_err().contains("not yet copied"));
        }
        assert!(named("holdfast-1-copy", Some(KEY)).unwrap_err().contains("not its name"));
    }
}
