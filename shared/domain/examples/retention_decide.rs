//! Retention's decisions for whoever wants to compare them: one question per line on standard input, one answer per line out.
//!
//! In: `{"policy": {…}, "zone": "Europe/Berlin", "now": "…", "times": ["…", …]}`, scheduled times of available, unproven recovery points.
//! Out: the scheduled times that are kept, newest first, each with its reasons.

use std::io::{self, BufRead, Write};

use domain::{
    RunId, VaultTenantId,
    point::{Content, Kind, RecoveryPoint},
    retention::{Policy, decide},
    slot::{Slot, Subject},
};
use jiff::{Timestamp, tz::TimeZone};
use serde::Deserialize;
use uuid::Uuid;

#[derive(Deserialize)]
struct Question {
    policy: Policy,
    zone: String,
    now: Timestamp,
    times: Vec<Timestamp>,
}

fn point(scheduled_time: Timestamp) -> RecoveryPoint {
    let subject = Subject::Tenant("acme".parse().expect("a tenant id"));
    let slot = Slot { rule: "daily".into(), scheduled_time, subject, kind: Kind::Database };
    let content = Content::Export {
        vault_tenant: VaultTenantId::from_uuid(Uuid::from_u128(1)),
        sequence: 1,
        link_sha256: String::new(),
        parent: None,
        rows: 0,
        plaintext_bytes: 0,
        stored_bytes: 0,
        read: None,
    };
    let begun = RecoveryPoint::begin(&slot, RunId::from_uuid(Uuid::from_u128(1)), scheduled_time);
    begun.publish(content, scheduled_time).expect("it is running")
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let question: Question = serde_json::from_str(&line?)?;
        let points: Vec<RecoveryPoint> = question.times.into_iter().map(point).collect();
        let decided = decide(&question.policy, &TimeZone::get(&question.zone)?, &points, question.now, u32::MAX);
        let kept: Vec<_> = decided
            .iter()
            .filter(|decision| decision.keep)
            .map(|decision| (decision.scheduled_time, &decision.reasons))
            .collect();
        writeln!(out, "{}", serde_json::to_string(&kept)?)?;
    }
    Ok(())
}
