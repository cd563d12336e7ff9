//! How long retention takes to plan a million recovery points, and how much memory: of one subject, and of ten thousand.
//!
//! `cargo run --release -p domain --example retention_scale`

use std::time::Instant;

use domain::{
    RunId,
    point::{Content, Kind, Proof, RecoveryPoint},
    retention::{Policy, decide},
    slot::{Slot, Subject},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use uuid::Uuid;

const POINTS: usize = 1_000_000;
const POLICY: Policy = Policy {
    keep_all_days: 35,
    daily: 90,
    weekly: 104,
    monthly: 120,
    yearly: 30,
    min_proven: 3,
    max_expire_per_run: u32::MAX,
    apply: true,
};

fn point(subject: usize, hours_ago: usize, now: Timestamp) -> RecoveryPoint {
    let tenant = format!("tenant-{subject}").parse().expect("a tenant id");
    let age = SignedDuration::from_hours(i64::try_from(hours_ago).expect("a small number"));
    let slot = Slot { rule: "hourly".into(), scheduled_time: now - age, subject: Subject::Tenant(tenant), kind: Kind::Database };
    let content = Content::Export {
        vault_tenant: domain::VaultTenantId::from_uuid(Uuid::from_u128(subject as u128)),
        sequence: 1,
        link_sha256: "0".repeat(64),
        parent: None,
        rows: 1,
        plaintext_bytes: 1,
        stored_bytes: 1,
        read: None,
    };
    let proof = match hours_ago % 30 {
        0 => Proof::Proven { at: now, rto_ms: 1 },
        1 => Proof::Refuted { at: now, findings: vec!["rows".into()] },
        _ => Proof::Unproven,
    };
    let begun = RecoveryPoint::begin(&slot, RunId::from_uuid(Uuid::from_u128(1)), now);
    begun.publish(content, now).and_then(|point| point.judge(proof)).expect("it is running")
}

/// The most memory that the process ever had, in MiB, as Linux tells.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Time that the process has worked, on a machine that does other things beside it, in milliseconds, as Linux tells.
fn worked_ms() -> u64 {
    let schedule = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    schedule.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0) / 1_000_000
}

#[expect(clippy::print_stdout, reason = "it prints what it measured")]
fn main() {
    let now: Timestamp = "2026-11-23T05:00:00Z".parse().expect("an instant");
    let zone = TimeZone::get("Europe/Berlin").expect("a zone");
    for subjects in [10_000, 1] {
        let of_each: Vec<Vec<RecoveryPoint>> =
            (0..subjects).map(|subject| (0..POINTS / subjects).map(|hours| point(subject, hours, now)).collect()).collect();
        let held_mib = peak_mib();
        let (start, worked_before_ms) = (Instant::now(), worked_ms());
        let kept: usize = of_each
            .iter()
            .map(|points| decide(&POLICY, &zone, points, now, u32::MAX).iter().filter(|decision| decision.keep).count())
            .sum();
        let (took_ms, cpu_ms) = (start.elapsed().as_millis(), worked_ms() - worked_before_ms);
        println!(
            "{POINTS} recovery points of {subjects} subjects: planned in {took_ms} ms, {cpu_ms} ms of processor time, {kept} kept; peak memory {} MiB, of which the \
             points themselves {held_mib} MiB",
            peak_mib()
        );
    }
}
