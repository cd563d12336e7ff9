//! Two whole years of schedules, one of them a leap year, where clocks change by every rule: no slot is skipped, none is doubled, whenever and
//! in whatever order anybody looks.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    plan::Rule,
    point::Kind,
    register::{Status, Tenant},
    schedule::Schedule,
    slot::{Slot, Subject},
    tenant::Layout,
    turns::{OpenSlot, open_slot, turns},
};
use jiff::{
    SignedDuration, Timestamp, ToSpan,
    civil::{Date, DateTime, date, time},
    tz::TimeZone,
};

const ZONES: [&str; 12] = [
    "UTC",
    "Europe/Berlin",
    "Europe/Dublin",
    "America/New_York",
    "America/St_Johns",
    "America/Santiago",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Asia/Kathmandu",
    "Asia/Beirut",
    "Pacific/Chatham",
];
const HOURLY_ZONES: [&str; 6] =
    ["Europe/Berlin", "America/St_Johns", "America/Santiago", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu"];
const YEARS: [i16; 2] = [2026, 2028];

fn local(at: Timestamp, zone: &TimeZone) -> DateTime {
    at.to_zoned(zone.clone()).datetime()
}

/// When a local clock first shows this, tried with the offsets before and after it; by the one before if it never does.
fn first_showing(wanted: DateTime, zone: &TimeZone) -> Timestamp {
    let by_offset_at = |hours: i64| {
        let near = wanted.to_zoned(TimeZone::UTC).expect("a time").timestamp();
        let offset = zone.to_offset(near + SignedDuration::from_hours(hours));
        offset.to_timestamp(wanted).expect("a time")
    };
    let (before, after) = (by_offset_at(-20), by_offset_at(20));
    let shown = [before, after].into_iter().filter(|at| local(*at, zone) == wanted).min();
    shown.unwrap_or(before)
}

fn days(year: i16) -> impl Iterator<Item = Date> {
    let last = date(year, 12, 31);
    date(year, 1, 1).series(1.day()).take_while(move |day| *day <= last)
}

/// Looked at early, on time, late, again, and backwards: between two slots it is always the first that is due.
fn check_ticks(schedule: Schedule, zone: &TimeZone, slots: &[Timestamp]) {
    let instant = SignedDuration::from_nanos(1);
    let mut seen = BTreeSet::new();
    for pair in slots.windows(2).rev() {
        let [slot, next] = pair else { unreachable!("pairs") };
        let gap_s = next.as_second() - slot.as_second();
        // Two looks inside, anywhere, but the same ones each time.
        let inside = [7, 11].map(|part| *slot + SignedDuration::from_secs((slot.as_second() / 60 * part) % gap_s));
        for now in [*next - instant, inside[0], *slot, inside[1], *slot] {
            assert_eq!(schedule.last_due(zone, now), *slot, "{schedule:?} in {zone:?} at {now}");
            seen.insert(schedule.last_due(zone, now));
        }
    }
    assert_eq!(seen.len(), slots.len() - 1);
    let ids: BTreeSet<_> = slots.iter().map(|slot| slot_id(*slot)).collect();
    assert_eq!(ids.len(), slots.len(), "every slot has an id of its own");
}

fn slot_id(scheduled_time: Timestamp) -> domain::RecoveryPointId {
    let subject = Subject::Tenant("acme".parse().expect("a tenant"));
    Slot { rule: "daily".into(), scheduled_time, subject, kind: Kind::Database }.recovery_point_id()
}

#[test]
fn every_local_day_of_the_year_has_one_daily_slot() {
    for zone in ZONES.map(|zone| TimeZone::get(zone).expect("a zone")) {
        for (year, at) in YEARS.into_iter().flat_map(|year| {
            let times =
                [time(0, 0, 0, 0), time(0, 30, 0, 0), time(1, 45, 0, 0), time(2, 15, 0, 0), time(3, 0, 0, 0), time(23, 45, 0, 0)];
            times.map(|at| (year, at))
        }) {
            let slots: Vec<Timestamp> = days(year).map(|day| first_showing(day.to_datetime(at), &zone)).collect();
            assert_eq!(slots.len(), if year == 2028 { 366 } else { 365 });
            let on: BTreeSet<Date> = slots.iter().map(|slot| local(*slot, &zone).date()).collect();
            assert_eq!(on.len(), slots.len(), "each slot is on a day of its own: {zone:?} {at}");
            check_ticks(Schedule::DailyAt(at), &zone, &slots);
        }
    }
}

#[test]
fn every_hour_of_the_year_has_one_hourly_slot() {
    for zone in HOURLY_ZONES.map(|zone| TimeZone::get(zone).expect("a zone")) {
        let half_hours = zone.iana_name() == Some("Australia/Lord_Howe");
        for (year, minute) in [(2026, 0i8), (2028, 45)] {
            let begins = date(year, 1, 1).to_zoned(zone.clone()).expect("a day").timestamp();
            let ends = date(year + 1, 1, 1).to_zoned(zone.clone()).expect("a day").timestamp();
            let quarters = (ends.as_second() - begins.as_second()) / 900;
            let all = (0..quarters).map(|quarter| begins + SignedDuration::from_mins(15 * quarter));
            let slots: Vec<Timestamp> = all.filter(|at| local(*at, &zone).minute() == minute).collect();
            // A country that gives up summer time has one longer year.
            let hours = usize::try_from(quarters / 4).expect("a small number");
            assert!(hours.abs_diff(if year == 2028 { 24 * 366 } else { 24 * 365 }) <= 1);
            if half_hours {
                // Where a clock changes by half an hour, some slots are half an hour apart, or an hour and a half.
                assert!(slots.len().abs_diff(hours) <= 1, "{} slots", slots.len());
            } else {
                assert_eq!(slots.len(), hours, "{zone:?}");
                assert!(slots.windows(2).all(|pair| pair[1].duration_since(pair[0]) == SignedDuration::from_hours(1)));
            }
            check_ticks(Schedule::HourlyAtMinute(minute), &zone, &slots);
        }
    }
}

/// A small deterministic generator: which ticks are lost must not change from run to run.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn in_a_year_of_off_peak_windows_everybody_begins_once_a_night_whatever_the_clock_does_and_some_ticks_are_lost() {
    let rule: Rule = serde_json::from_value(serde_json::json!({
        "id": "nightly", "kind": "export", "classes": ["standard"], "schedule": { "daily_at": "00:30" }, "rpo_minutes": 1500,
        "window": { "minutes": 240, "at_once": 3, "minutes_each": 10 }
    }))
    .expect("a rule");
    let tenants: Vec<Tenant> = (0..60)
        .map(|n| Tenant {
            id: format!("tenant-{n}").parse().expect("an id"),
            database_id: "db".into(),
            layout: Layout::Database { database: format!("t{n}") },
            criticality: "standard".into(),
            time_zone: "UTC".into(),
            status: Status::Active,
            created_at: Timestamp::UNIX_EPOCH,
        })
        .collect();
    let turns = turns(&rule, &tenants);
    assert_eq!(turns.too_small, None);
    let follow = SignedDuration::from_mins(5);
    for zone in ZONES.map(|zone| TimeZone::get(zone).expect("a zone")) {
        let (mut lost, mut begun_at) = (7, BTreeMap::new());
        // The follow ticks know nothing of local time: they come every five minutes, from some minute on.
        let mut now = date(2026, 1, 1).to_zoned(zone.clone()).expect("a day").timestamp() - SignedDuration::from_mins(3);
        let ends = date(2027, 1, 1).to_zoned(zone.clone()).expect("a day").timestamp();
        let mut delivered_before = now;
        while now < ends {
            // One in five ticks does not arrive, but never many in a row.
            let is_lost = next(&mut lost).is_multiple_of(5) && now.duration_since(delivered_before) < follow * 3;
            if let Some(OpenSlot { slot, .. }) = open_slot(&rule, &zone, now).filter(|open| open.may_begin && !is_lost) {
                for tenant in tenants.iter().filter(|tenant| turns.begins(&tenant.id, slot) <= now) {
                    begun_at.entry((slot, &tenant.id)).or_insert(now);
                }
            }
            delivered_before = if is_lost { delivered_before } else { now };
            now += follow;
        }
        let nights: BTreeSet<Date> = begun_at.keys().map(|(slot, _)| local(*slot, &zone).date()).collect();
        assert_eq!((nights.len(), begun_at.len()), (365, 365 * tenants.len()), "{zone:?}");
        let mut by_slot: BTreeMap<Timestamp, usize> = BTreeMap::new();
        for ((slot, tenant), at) in &begun_at {
            let wanted = turns.begins(tenant, *slot);
            assert!(*at >= wanted && at.duration_since(wanted) <= follow * 4, "{zone:?} {tenant} {slot} at {at}");
            *by_slot.entry(*slot).or_default() += 1;
        }
        assert!(by_slot.values().all(|tenants_begun| *tenants_begun == tenants.len()));
    }
}
