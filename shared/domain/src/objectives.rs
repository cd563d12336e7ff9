//! What was promised of a tenant's backups against what holds now: how much would be lost, how long a restore took, how old the proof is,
//! how long ago every stored byte was read.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::{
    plan::Plan,
    point::{Content, Kind, Proof, RecoveryPoint, State},
    register::Tenant,
    rpo::tenant_kinds,
};

/// One promise, in minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Objective {
    /// What holds now; none if there is nothing to measure.
    pub minutes: Option<i64>,
    /// At most this was promised; none if nothing was.
    pub at_most_minutes: Option<i64>,
    /// Whether it holds; none if nothing was promised, or it is too early to say.
    pub met: Option<bool>,
}

/// A tenant's promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Objectives {
    /// The age of what the newest recovery point of the kind with the oldest one holds, against the RPO of its class's strictest rule.
    pub rpo: Objective,
    /// The age of its newest proof, against the plan's cadence. Without one it is as old as the oldest recovery point that waits for it.
    pub proof: Objective,
    /// How long ago the stored byte of it that waits longest was read and found authentic, against the plan's cadence.
    pub reading: Objective,
    /// How long its last measured restore took, against the RTO of its class's strictest rule.
    pub rto: Objective,
}

impl Objectives {
    /// How many do not hold.
    #[must_use]
    pub fn unkept(&self) -> usize {
        [self.rpo, self.proof, self.reading, self.rto].iter().filter(|one| one.met == Some(false)).count()
    }
}

/// What there is of one tenant, newest first.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    /// The newest usable recovery point of each kind that the plan asks for, that no restore had made for itself.
    pub newest: Vec<(Kind, RecoveryPoint)>,
    /// Its database's recovery points, as far as they were looked at: at least to the newest that is proven.
    pub databases: Vec<RecoveryPoint>,
    /// Since when a stored byte of any of its recovery points was not read, as the last round of checks left it; none if nothing is
    /// stored or there was no round yet.
    pub unread_since: Option<Timestamp>,
}

/// Measures one tenant at `now`.
#[must_use]
pub fn measure(plan: &Plan, tenant: &Tenant, stored: &Stored, now: Timestamp) -> Objectives {
    let rules = || plan.export_rules_of(&tenant.criticality);
    let minutes = |since: Timestamp| now.duration_since(since).as_mins().max(0);
    let existed = now.duration_since(tenant.created_at);

    let oldest = tenant_kinds(plan, tenant).into_iter().map(|kind| {
        let newest = stored.newest.iter().find(|(found, _)| *found == kind);
        newest.map(|(_, point)| point.as_of())
    });
    // A kind without any leaves nothing to measure, and outweighs the others.
    let oldest: Option<Vec<Timestamp>> = oldest.collect();
    let lost_since = oldest.and_then(|oldest| oldest.into_iter().min());
    let strictest = rules().min_by_key(|rule| rule.rpo_minutes);
    let rpo_at_most = strictest.map(|rule| i64::from(rule.rpo_minutes));
    let rpo_met = strictest.and_then(|rule| {
        let ends = SignedDuration::from_mins(i64::from(rule.rpo_minutes)) + rule.late_after();
        match lost_since {
            Some(since) => Some(now.duration_since(since) <= ends),
            // One that is new has not been backed up yet.
            None => (existed > ends).then_some(false),
        }
    });

    let proof = newest_proof(&stored.databases);
    let proof_at_most = plan.verification.newest_proof_at_most();
    let waits_since = proof.map(|(at, _)| at).or_else(|| first_published(&stored.databases));
    let proof_met = match (proof, waits_since) {
        (Some((at, _)), _) => Some(now.duration_since(at) <= proof_at_most),
        (None, Some(since)) => (now.duration_since(since) > proof_at_most).then_some(false),
        // Nothing to prove: that is told as a missed slot.
        (None, None) => None,
    };

    let reading_at_most = plan.verification.oldest_reading_at_most();
    let reading_met = stored.unread_since.map(|since| now.duration_since(since) <= reading_at_most);

    let rto_at_most = rules().filter_map(|rule| rule.rto_minutes).map(i64::from).min();
    let rto_ms = proof.map(|(_, rto_ms)| rto_ms);
    let rto_met = rto_at_most.zip(rto_ms).map(|(at_most, rto_ms)| rto_ms <= at_most * 60_000);
    Objectives {
        rpo: Objective { minutes: lost_since.map(minutes), at_most_minutes: rpo_at_most, met: rpo_met },
        proof: Objective { minutes: waits_since.map(minutes), at_most_minutes: Some(proof_at_most.as_mins()), met: proof_met },
        reading: Objective {
            minutes: stored.unread_since.map(minutes),
            at_most_minutes: Some(reading_at_most.as_mins()),
            met: reading_met,
        },
        // A minute that has begun counts: 0 would look like nothing.
        rto: Objective { minutes: rto_ms.map(|ms| (ms + 59_999) / 60_000), at_most_minutes: rto_at_most, met: rto_met },
    }
}

/// When the newest proof was made, and how long that restore took.
fn newest_proof(points: &[RecoveryPoint]) -> Option<(Timestamp, i64)> {
    let proofs = points.iter().filter(|point| point.content().is_some()).filter_map(|point| match point.proof {
        Proof::Proven { at, rto_ms } => Some((at, rto_ms)),
        Proof::Unproven | Proof::Refuted { .. } => None,
    });
    proofs.max()
}

fn first_published(points: &[RecoveryPoint]) -> Option<Timestamp> {
    let exports = points.iter().filter_map(|point| match &point.state {
        State::Available { at, content: Content::Export { .. } } => Some(*at),
        _ => None,
    });
    exports.min()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        register::Status,
        slot::{Slot, Subject},
        tenant::Layout,
    };

    const NOW: &str = "2026-11-23T12:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn plan() -> Plan {
        let plan = json!({
            "version": 1, "environment": "test", "time_zone": "UTC",
            "register": { "database": "central", "query": "SELECT" },
            "databases": [{ "id": "central", "instance": "i", "database": "central", "secret": "s" }],
            "media": { "bucket": "b", "prefix": "tenants/{tenant}/" },
            "rules": [
                { "id": "daily", "kind": "export", "classes": ["standard"], "schedule": { "daily_at": "02:15" }, "rpo_minutes": 1500, "rto_minutes": 60 },
                { "id": "hourly", "kind": "export", "classes": ["standard"], "schedule": { "hourly_at_minute": 5 }, "rpo_minutes": 90 }
            ],
            "retention": { "keep_all_days": 7, "daily": 1, "weekly": 1, "monthly": 1, "yearly": 1, "min_proven": 1, "max_expire_per_run": 1 }
        });
        Plan::parse(&plan.to_string()).unwrap()
    }

    fn tenant(created_at: &str) -> Tenant {
        Tenant {
            id: "acme".parse().unwrap(),
            database_id: "central".into(),
            layout: Layout::Database { database: "acme".into() },
            criticality: "standard".into(),
            time_zone: "UTC".into(),
            status: Status::Active,
            created_at: at(created_at),
        }
    }

    fn point(kind: Kind, slot: &str, proof: Proof) -> RecoveryPoint {
        let subject = Subject::Tenant("acme".parse().unwrap());
        let slot = Slot { rule: "hourly".into(), scheduled_time: at(slot), subject, kind };
        let content = Content::Export {
            vault_tenant: "vt_00000000-0000-0000-0000-000000000001".parse().unwrap(),
            sequence: 1,
            link_sha256: "s".into(),
            parent: None,
            rows: 1,
            plaintext_bytes: 1,
            stored_bytes: 1,
            read: None,
        };
        let run = "run_00000000-0000-0000-0000-000000000001".parse().unwrap();
        let made = RecoveryPoint::begin(&slot, run, slot.scheduled_time).publish(content, slot.scheduled_time).unwrap();
        RecoveryPoint { proof, ..made }
    }

    fn proven(slot: &str, proven_at: &str, rto_s: i64) -> RecoveryPoint {
        point(Kind::Database, slot, Proof::Proven { at: at(proven_at), rto_ms: rto_s * 1000 })
    }

    fn of(databases: Vec<RecoveryPoint>, media: Option<&str>) -> Stored {
        let newest = databases.first().map(|newest| (Kind::Database, newest.clone()));
        let media = media.map(|slot| (Kind::Media, point(Kind::Media, slot, Proof::Unproven)));
        Stored { newest: newest.into_iter().chain(media).collect(), databases, unread_since: None }
    }

    fn check(stored: &Stored, created: &str, rpo: (Option<i64>, Option<bool>), proof: (Option<i64>, Option<bool>)) {
        let found = measure(&plan(), &tenant(created), stored, at(NOW));
        assert_eq!((found.rpo.minutes, found.rpo.met), rpo, "rpo");
        assert_eq!((found.proof.minutes, found.proof.met), proof, "proof");
        assert_eq!((found.rpo.at_most_minutes, found.proof.at_most_minutes), (Some(90), Some(48 * 60)));
    }

    const OLD: &str = "2026-01-01T00:00:00Z";

    #[test]
    fn what_would_be_lost_is_that_of_the_kind_with_the_oldest_newest_point() {
        let proof = || proven("2026-11-23T11:05:00Z", "2026-11-23T11:30:00Z", 60);
        let fresh = (Some(30), Some(true));
        check(&of(vec![proof()], Some("2026-11-23T11:05:00Z")), OLD, (Some(55), Some(true)), fresh);
        check(&of(vec![proof()], Some("2026-11-23T10:00:00Z")), OLD, (Some(120), Some(true)), fresh);
        check(&of(vec![proof()], Some("2026-11-23T09:59:59Z")), OLD, (Some(120), Some(false)), fresh);
        check(&of(vec![proof()], None), OLD, (None, Some(false)), fresh);
    }

    #[test]
    fn a_tenant_that_is_new_is_judged_once_it_could_have_been_backed_up() {
        let nothing = Stored::default();
        check(&nothing, "2026-11-23T11:00:00Z", (None, None), (None, None));
        check(&nothing, "2026-11-23T10:00:00Z", (None, None), (None, None));
        check(&nothing, "2026-11-23T09:59:59Z", (None, Some(false)), (None, None));
    }

    #[test]
    fn a_proof_ages_from_when_it_was_made_and_what_was_never_proven_from_its_first_recovery_point() {
        let media = Some("2026-11-23T11:05:00Z");
        let rpo = (Some(55), Some(true));
        let unproven = |slot: &str| point(Kind::Database, slot, Proof::Unproven);
        let newest = || unproven("2026-11-23T11:05:00Z");
        for (older, proof) in [
            (proven("2026-11-20T02:15:00Z", "2026-11-21T12:00:00Z", 60), (Some(2880), Some(true))),
            (proven("2026-11-20T02:15:00Z", "2026-11-21T11:59:59Z", 60), (Some(2880), Some(false))),
            (unproven("2026-11-21T12:00:00Z"), (Some(2880), None)),
            (unproven("2026-11-21T11:59:59Z"), (Some(2880), Some(false))),
        ] {
            check(&of(vec![newest(), older], media), OLD, rpo, proof);
        }
        // One that has expired proves nothing that is still there.
        let gone = proven("2026-11-22T02:15:00Z", "2026-11-23T11:00:00Z", 60).expire(at(NOW)).unwrap();
        check(&of(vec![newest(), gone], media), OLD, rpo, (Some(55), None));
    }

    #[test]
    fn what_was_not_read_within_the_cadence_and_a_round_more_is_late() {
        let reading = |unread_since: Option<&str>| {
            let stored = Stored { unread_since: unread_since.map(at), ..Stored::default() };
            measure(&plan(), &tenant(OLD), &stored, at(NOW)).reading
        };
        let at_most = Some(8 * 24 * 60);
        let found = |minutes, met| Objective { minutes, at_most_minutes: at_most, met };
        assert_eq!(reading(None), found(None, None), "nothing is stored");
        assert_eq!(reading(Some("2026-11-23T11:00:00Z")), found(Some(60), Some(true)));
        assert_eq!(reading(Some("2026-11-15T12:00:00Z")), found(at_most, Some(true)));
        assert_eq!(reading(Some("2026-11-15T11:59:59Z")), found(at_most, Some(false)));
        let mut seldom = plan();
        seldom.verification.authentic_days = 30;
        let stored = Stored { unread_since: Some(at("2026-11-15T11:59:59Z")), ..Stored::default() };
        assert_eq!(measure(&seldom, &tenant(OLD), &stored, at(NOW)).reading.met, Some(true), "the plan's own cadence counts");
    }

    #[test]
    fn the_last_measured_restore_is_held_against_the_strictest_rule() {
        let rto = |seconds| {
            let stored = of(vec![proven("2026-11-23T11:05:00Z", "2026-11-23T11:30:00Z", seconds)], None);
            measure(&plan(), &tenant(OLD), &stored, at(NOW)).rto
        };
        assert_eq!(rto(3600), Objective { minutes: Some(60), at_most_minutes: Some(60), met: Some(true) });
        assert_eq!(rto(3601), Objective { minutes: Some(61), at_most_minutes: Some(60), met: Some(false) });
        let unmeasured = measure(&plan(), &tenant(OLD), &Stored::default(), at(NOW)).rto;
        assert_eq!(unmeasured, Objective { minutes: None, at_most_minutes: Some(60), met: None });
        let mut unpromised = plan();
        unpromised.rules[0].rto_minutes = None;
        let stored = of(vec![proven("2026-11-23T11:05:00Z", "2026-11-23T11:30:00Z", 90_000)], None);
        assert_eq!(measure(&unpromised, &tenant(OLD), &stored, at(NOW)).rto.met, None);
    }
}
