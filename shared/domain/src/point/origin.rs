//! How a recovery point came to be, as its manifest says it: what the catalog's record can be made again from.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::{Content, Kind, Proof, ReadSpan, RecoveryPoint, State};
use crate::{
    id::{RecoveryPointId, RunId},
    plan::Plan,
    slot::{Slot, Subject},
};

/// Slots of each rule that are tried for a recovery point that does not say its own: of an hourly rule those of three days.
const SLOTS_TRIED: usize = 72;

/// What a catalog records of a recovery point besides its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The rule that asked for it.
    pub rule: String,
    /// The instant the schedule named.
    pub scheduled_time: Timestamp,
    /// What it holds.
    pub kind: Kind,
    /// How many runs have held its slot, from 1.
    pub attempts: u32,
    /// When the last of them began.
    pub started_at: Timestamp,
    /// The recovery point whose stored chunks it shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<RecoveryPointId>,
    /// The KMS key of its tenant's own under which its content key is wrapped; the vault's if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// When the source was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<ReadSpan>,
}

impl Origin {
    /// That of a recovery point that is being made.
    #[must_use]
    pub fn of(point: &RecoveryPoint, parent: Option<RecoveryPointId>, read: Option<ReadSpan>) -> Self {
        let RecoveryPoint { rule, scheduled_time, kind, attempts, started_at, key, .. } = point.clone();
        Self { rule, scheduled_time, kind, attempts, started_at, parent, key, read }
    }

    /// That of a recovery point which does not say it, found by trying: its id is the hash of its slot. `at` is when it was written.
    ///
    /// Finds slots of the plan's rules only, not the instants that people chose.
    #[must_use]
    pub fn guess(plan: &Plan, zone: &TimeZone, subject: &Subject, id: RecoveryPointId, at: Timestamp) -> Option<Self> {
        let kinds = [Kind::Snapshot, Kind::Database, Kind::Media, Kind::Configuration];
        for rule in &plan.rules {
            let mut due = rule.schedule.last_due(zone, at);
            for _ in 0..SLOTS_TRIED {
                for kind in kinds {
                    let origin = Self {
                        rule: rule.id.clone(),
                        scheduled_time: due,
                        kind,
                        attempts: 1,
                        started_at: due,
                        parent: None,
                        key: None,
                        read: None,
                    };
                    if origin.slot(subject).recovery_point_id() == id {
                        return Some(origin);
                    }
                }
                due = rule.schedule.last_due(zone, due.checked_sub(SignedDuration::from_nanos(1)).ok()?);
            }
        }
        None
    }

    /// The slot that the recovery point of a subject filled.
    #[must_use]
    pub fn slot(&self, subject: &Subject) -> Slot {
        Slot { rule: self.rule.clone(), scheduled_time: self.scheduled_time, subject: subject.clone(), kind: self.kind }
    }

    /// The record of a recovery point that is stored whole. Proofs and holds are recorded nowhere else, so it has none.
    #[must_use]
    pub fn record(self, subject: &Subject, run: RunId, at: Timestamp, content: Content) -> RecoveryPoint {
        let slot = self.slot(subject);
        let Self { attempts, started_at, key, .. } = self;
        let state = State::Available { at, content };
        RecoveryPoint { attempts, key, state, proof: Proof::Unproven, ..RecoveryPoint::begin(&slot, run, started_at) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn acme() -> Subject {
        Subject::Tenant("acme".parse().unwrap())
    }

    fn plan() -> Plan {
        let plan = json!({
            "version": 1, "environment": "test", "time_zone": "UTC",
            "register": { "database": "central", "query": "SELECT" },
            "databases": [{ "id": "central", "instance": "i", "database": "central", "secret": "s" }],
            "rules": [
                { "id": "daily", "kind": "export", "classes": ["standard"], "schedule": { "daily_at": "02:15" }, "rpo_minutes": 1500 },
                { "id": "hourly", "kind": "export", "classes": ["standard"], "schedule": { "hourly_at_minute": 5 }, "rpo_minutes": 90 }
            ],
            "retention": { "keep_all_days": 7, "daily": 1, "weekly": 1, "monthly": 1, "yearly": 1, "min_proven": 1, "max_expire_per_run": 1 }
        });
        Plan::parse(&plan.to_string()).unwrap()
    }

    fn slot(rule: &str, time: &str) -> Slot {
        Slot { rule: rule.into(), scheduled_time: at(time), subject: acme(), kind: Kind::Media }
    }

    #[test]
    fn what_a_manifest_says_makes_the_record_again() {
        let run = "run_00000000-0000-0000-0000-000000000001".parse().unwrap();
        let point = RecoveryPoint::begin(&slot("manual", "2026-11-23T10:00:00.25Z"), run, at("2026-11-23T10:00:01Z"));
        let point = point.retry(run, at("2026-11-23T10:05:00Z")).unwrap();
        let read = ReadSpan { from: at("2026-11-23T10:05:01Z"), until: at("2026-11-23T10:05:02Z") };
        let content = Content::Export {
            vault_tenant: "vt_00000000-0000-0000-0000-000000000001".parse().unwrap(),
            sequence: 1,
            link_sha256: "s".into(),
            parent: None,
            rows: 1,
            plaintext_bytes: 1,
            stored_bytes: 1,
            read: Some(read),
        };
        let published = at("2026-11-23T10:06:00Z");
        let written = serde_json::to_string(&Origin::of(&point, None, Some(read))).unwrap();
        let origin: Origin = serde_json::from_str(&written).unwrap();
        let rebuilt = origin.record(&acme(), run, published, content.clone());
        assert_eq!(rebuilt, point.publish(content, published).unwrap());
    }

    #[test]
    fn the_persisted_names_are_promises() {
        let run = "run_00000000-0000-0000-0000-000000000001".parse().unwrap();
        let point = RecoveryPoint::begin(&slot("daily", "2026-11-23T02:15:00Z"), run, at("2026-11-23T02:15:01Z"));
        let read = ReadSpan { from: at("2026-11-23T02:15:02Z"), until: at("2026-11-23T02:15:03Z") };
        insta::assert_snapshot!(
            serde_json::to_string(&Origin::of(&point, Some(point.id), Some(read))).unwrap(),
            @r#"{"rule":"daily","scheduled_time":"2026-11-23T02:15:00Z","kind":"media","attempts":1,"started_at":"2026-11-23T02:15:01Z","parent":"rp_634712db-5654-82ff-97d5-879e033c6750","read":{"from":"2026-11-23T02:15:02Z","until":"2026-11-23T02:15:03Z"}}"#
        );
    }

    #[test]
    fn a_slot_of_the_plan_is_found_by_its_id_and_one_that_a_person_chose_is_not() {
        let plan = plan();
        let guess = |slot: &Slot, written: &str| {
            Origin::guess(&plan, &TimeZone::UTC, &acme(), slot.recovery_point_id(), at(written))
                .map(|origin| origin.slot(&acme()))
        };
        for (rule, time, written) in [
            ("daily", "2026-11-23T02:15:00Z", "2026-11-23T02:20:00Z"),
            ("daily", "2026-11-20T02:15:00Z", "2026-11-23T02:14:00Z"),
            ("hourly", "2026-11-23T01:05:00Z", "2026-11-23T02:20:00Z"),
        ] {
            assert_eq!(guess(&slot(rule, time), written), Some(slot(rule, time)));
        }
        assert_eq!(guess(&slot("manual", "2026-11-23T02:15:00Z"), "2026-11-23T02:20:00Z"), None);
        assert_eq!(guess(&slot("daily", "2026-11-23T02:16:00Z"), "2026-11-23T02:20:00Z"), None);
    }
}
