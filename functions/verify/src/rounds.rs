//! The day's round over everything that is stored: that it is there, and, share by share, that it is authentic.
//!
//! What is due is worked out anew from what was done, so a round that runs out of time goes on with the next tick of any kind, and a
//! repeated one has nothing left to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use catalog::{TableError, Versioned, checks::Round, tenants::TenantRecord};
use domain::{
    ErrorCode, ErrorReport, RecoveryPointId, VaultTenantId, caps,
    order::from_the_days_start,
    plan::Plan,
    point::{Content, Kind, RecoveryPoint},
    slot::Subject,
    verification::{Checked, DueReading, Shares, readings_due, unread_since},
};
use jiff::Timestamp;
use runtime::{
    Deadline, Invocation,
    services::{Services, point_ref},
};
use vault::{CheckReport, Seen, Stored, Vault};

use crate::{authentic, due, environment::Unchecked};

/// What a round has come to in one invocation.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// Recovery points that something was checked of.
    pub(crate) checked: usize,
    /// Those of them with findings.
    pub(crate) bad: usize,
    /// Chunks that were read.
    pub(crate) chunks_read: u64,
    /// Whether time ran out before the end.
    pub(crate) paused: bool,
    /// Whether every tenant was looked at.
    pub(crate) whole: bool,
    /// Recovery points of which a reading had all of an invocation's time and did not end, in this one or an earlier one of the round.
    outran: BTreeSet<RecoveryPointId>,
}

/// Begins the round of a tick, or finds it. One that was read before is looked through again: a repeated tick may come after something was mended.
pub(crate) async fn begin(services: &Services, tick: Timestamp) -> Result<(), ErrorReport> {
    let fresh = |before: Option<&Round>| Round {
        tick,
        reading_since: before.and_then(|before| before.reading_since),
        read: false,
        failed_at: None,
        tests_begun: false,
        outran: BTreeSet::new(),
    };
    let written = match services.catalog.round().await? {
        Some(found) => services.catalog.update(&found, fresh(Some(&found.value))).await,
        None => services.catalog.create(fresh(None)).await,
    };
    match written {
        // Another delivery of the same tick, or the reader of the round before: the follower goes on.
        Ok(_) | Err(TableError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether a round has something left that this invocation may take on.
pub(crate) fn is_open(round: &Round, now: Timestamp) -> bool {
    let at_work = round.reading_since.is_some_and(|since| now.duration_since(since).as_secs() < caps::COMPARE_AT_MOST_S);
    let waits = round.failed_at.is_some_and(|failed_at| now.duration_since(failed_at).as_secs() < caps::ROUND_AGAIN_S);
    !at_work && (!round.read || round.failed_at.is_some()) && !waits
}

/// Goes on with the round, unless it is over, waits, or another invocation is at it. What cannot be checked is added to
/// what the caller could not check already.
pub(crate) async fn go_on(
    services: &Services,
    plan: &Plan,
    records: &[TenantRecord],
    unchecked: &mut Unchecked,
    invocation: &Invocation,
) -> Result<Done, ErrorReport> {
    let Some(round) = services.catalog.round().await? else { return Ok(Done::default()) };
    let since = services.clock.now();
    if !is_open(&round.value, since) {
        return Ok(Done::default());
    }
    let claimed = Round { reading_since: Some(since), ..round.value.clone() };
    let round = match services.catalog.update(&round, claimed).await {
        Ok(round) => round,
        Err(TableError::Conflict { .. }) => return Ok(Done::default()),
        Err(error) => return Err(error.into()),
    };
    let mut done = Done { outran: round.value.outran.clone(), ..Done::default() };
    for record in from_the_days_start(records.iter().collect(), round.value.tick) {
        if let Err(report) = of_tenant(services, plan, record, round.value.tick, invocation, &mut done).await {
            if report.code == ErrorCode::DeadlineNear {
                // No failure: the follower goes on here.
                tracing::info!(tenant.id = %record.tenant.id, "the round pauses: {}", report.message);
                done.paused = true;
                break;
            }
            unchecked.note(format!("tenant {}", record.tenant.id), report);
        }
    }
    done.whole = !done.paused;
    let failed_at = (done.whole && !unchecked.is_empty()).then(|| services.clock.now());
    let tick = round.value.tick;
    let mut found = Some(round);
    while let Some(round) = found {
        match services.catalog.update(&round, ended(&round.value, tick, &done, failed_at)).await {
            Err(TableError::Conflict { .. }) => found = services.catalog.round().await?,
            Err(error) => return Err(error.into()),
            Ok(_) => break,
        }
    }
    Ok(done)
}

/// The record after an invocation has stopped reading for the round of `tick`. The next tick may have begun its own meanwhile: that one is
/// not read, but nobody is reading any more.
fn ended(found: &Round, tick: Timestamp, done: &Done, failed_at: Option<Timestamp>) -> Round {
    match found.tick == tick {
        true => Round { reading_since: None, read: done.whole, failed_at, outran: done.outran.clone(), ..found.clone() },
        false => Round { reading_since: None, ..found.clone() },
    }
}

/// Checks what is due of one tenant. A recovery point that cannot be checked keeps none of the others from it; the first such failure is told.
async fn of_tenant(
    services: &Services,
    plan: &Plan,
    record: &TenantRecord,
    tick: Timestamp,
    invocation: &Invocation,
    done: &mut Done,
) -> Result<(), ErrorReport> {
    invocation.deadline.check("the next tenant's check")?;
    let subject = Subject::Tenant(record.tenant.id.clone());
    let points = due::points(&services.catalog, &subject, &Kind::EXPORTED, caps::POINTS_OF_A_KIND_MAX).await?;
    let exports: Vec<_> = points.into_iter().filter(|point| point_ref(&point.value).is_ok()).collect();
    let checked = due::checked(&services.catalog, &subject, &Kind::EXPORTED, caps::POINTS_OF_A_KIND_MAX).await?;
    let none = Checked::default();
    let known = exports.iter().map(|point| (&point.value, checked.get(&point.value.id).unwrap_or(&none)));
    let due = readings_due(known, &plan.verification, tick);
    // Before and after: what this invocation does not come to waits since then, too.
    services.catalog.record_reading(&subject, oldest_unread(&exports, &checked, &BTreeSet::new())).await?;
    if due.is_empty() {
        return Ok(());
    }
    let looked_for = exports.iter().filter(|point| due.iter().any(|due| due.present && due.point == point.value.id));
    let stored = stored(&services.vault, looked_for.map(|point| &point.value)).await?;
    let of_tenant = OfTenant { services, plan, record, stored, seen: Seen::default(), invocation };
    let mut first_failure = None;
    let mut bad = BTreeSet::new();
    for point in &exports {
        let Some(due) = due.iter().find(|due| due.point == point.value.id) else { continue };
        match of_tenant.point(point, *due, is_newest(&exports, &point.value), done).await {
            Ok(is_clean) => {
                done.checked += 1;
                done.bad += usize::from(!is_clean);
                if !is_clean {
                    bad.insert(point.value.id);
                }
            }
            Err(report) if report.code == ErrorCode::DeadlineNear => return Err(report),
            // It expired meanwhile.
            Err(report) if report.code == ErrorCode::Fenced => {}
            Err(report) => _ = first_failure.get_or_insert(report),
        }
    }
    let checked = due::checked(&services.catalog, &subject, &Kind::EXPORTED, caps::POINTS_OF_A_KIND_MAX).await?;
    services.catalog.record_reading(&subject, oldest_unread(&exports, &checked, &bad)).await?;
    first_failure.map_or(Ok(()), Err)
}

/// Since when a stored byte of these was not read, but for those that were just found `bad`, which is told as such.
fn oldest_unread(
    exports: &[Versioned<RecoveryPoint>],
    checked: &BTreeMap<RecoveryPointId, Checked>,
    bad: &BTreeSet<RecoveryPointId>,
) -> Option<Timestamp> {
    let sound = exports.iter().map(|point| &point.value).filter(|point| !bad.contains(&point.id));
    sound.filter_map(|point| unread_since(point, checked.get(&point.id))).min()
}

fn is_newest(points: &[Versioned<RecoveryPoint>], point: &RecoveryPoint) -> bool {
    let same_kind = points.iter().filter(|other| other.value.kind == point.kind);
    same_kind.map(|other| (other.value.scheduled_time, other.value.id)).max() == Some((point.scheduled_time, point.id))
}

/// What is stored under each opaque name that these recovery points lie under. A tenant may have points under a name it no longer goes by:
/// a catalog that was made again may know it by a new one.
async fn stored(
    vault: &Vault,
    points: impl Iterator<Item = &RecoveryPoint>,
) -> Result<BTreeMap<VaultTenantId, Stored>, ErrorReport> {
    let mut stored = BTreeMap::new();
    for point in points {
        let (name, _) = point_ref(point)?;
        if let std::collections::btree_map::Entry::Vacant(unlisted) = stored.entry(name) {
            unlisted.insert(vault.stored(name).await?);
        }
    }
    Ok(stored)
}

struct OfTenant<'a> {
    services: &'a Services,
    plan: &'a Plan,
    record: &'a TenantRecord,
    /// By opaque name.
    stored: BTreeMap<VaultTenantId, Stored>,
    /// What was read of this tenant in this invocation.
    seen: Seen,
    invocation: &'a Invocation,
}

impl OfTenant<'_> {
    /// Checks what is due of one recovery point; whether it is clean.
    async fn point(
        &self,
        point: &Versioned<RecoveryPoint>,
        due: DueReading,
        is_newest: bool,
        done: &mut Done,
    ) -> Result<bool, ErrorReport> {
        self.invocation.deadline.check("the next recovery point's check")?;
        let (vault_tenant, reference) = point_ref(&point.value)?;
        let (services, id) = (self.services, point.value.id);
        if due.present
            && let Some(stored) = self.stored.get(&vault_tenant)
        {
            let report = services.vault.check_presence(vault_tenant, id, &reference, stored).await?;
            if !report.is_clean() {
                self.refute(point, &report).await?;
                return Ok(false);
            }
            // A catalog that was rebuilt before former names were recorded. The link is signed for this name and this recovery point, whose
            // id is made of the tenant's: nobody but an export of this tenant can have stored it there.
            if !self.record.names().contains(&vault_tenant) {
                services.catalog.know_former_name(&self.record.tenant.id, vault_tenant).await?;
            }
            let now = services.clock.now();
            services.catalog.record_checked(&point.value, |checked| checked.present_at = Some(now)).await?;
        }
        if !due.shares.is_empty() && done.outran.contains(&id) {
            return Err(too_slow(&point.value));
        }
        let is_whole = is_newest && due.shares == Shares::ALL && !is_large(&point.value);
        let parts: Vec<Shares> = if is_large(&point.value) { due.shares.singly().collect() } else { vec![due.shares] };
        for shares in parts.into_iter().filter(|shares| !shares.is_empty()) {
            let began = services.clock.now();
            let reading = async {
                if is_whole {
                    services.vault.check_whole(vault_tenant, id, &reference, &self.seen).await
                } else {
                    services.vault.check_shares(vault_tenant, id, &reference, shares, &self.seen).await
                }
            };
            let report = in_time(&self.invocation.deadline, &point.value, &mut done.outran, reading).await??;
            done.chunks_read += report.chunks_read;
            tracing::info!(
                tenant.id = %self.record.tenant.id, recovery_point.id = %id, shares = shares.iter().count(), chunks = report.chunks,
                chunks_read = report.chunks_read, plaintext_bytes = report.plaintext_bytes, findings = report.findings.len(), "read back"
            );
            if !report.is_clean() {
                self.refute(point, &report).await?;
                return Ok(false);
            }
            services.catalog.record_checked(&point.value, |checked| checked.read(shares, began)).await?;
        }
        if due.shares == Shares::ALL {
            authentic::take_back(services, point).await?;
        }
        Ok(true)
    }

    async fn refute(&self, point: &Versioned<RecoveryPoint>, report: &CheckReport) -> Result<(), ErrorReport> {
        authentic::refute(self.services, self.plan, &self.record.tenant, point, authentic::lines(report)).await
    }
}

/// A reading that stops when the invocation's time is up.
async fn in_time<T>(
    deadline: &Deadline,
    point: &RecoveryPoint,
    outran: &mut BTreeSet<RecoveryPointId>,
    reading: impl Future<Output = T>,
) -> Result<T, ErrorReport> {
    let budget = deadline.remaining().saturating_sub(Duration::from_millis(caps::DEADLINE_RESERVE_MS));
    tokio::time::timeout(budget, Box::pin(reading)).await.map_err(|_| stopped(point, budget, outran))
}

/// What a reading that did not end leaves. One that had all of an invocation's time is noted, so that the next one passes over it: it would
/// end there as little, and nothing after it would ever be read.
fn stopped(point: &RecoveryPoint, budget: Duration, outran: &mut BTreeSet<RecoveryPointId>) -> ErrorReport {
    let next = if budget.as_secs() < caps::READ_AT_LEAST_S {
        "begins it again"
    } else {
        outran.insert(point.id);
        "passes over it"
    };
    let message = format!(
        "recovery point {} could not be read within the {} s that were left; the next invocation {next}",
        point.id,
        budget.as_secs()
    );
    ErrorReport::new(ErrorCode::DeadlineNear, message)
}

/// Why a recovery point is passed over.
fn too_slow(point: &RecoveryPoint) -> ErrorReport {
    let message = format!(
        "recovery point {} cannot be read again within one invocation, all of it or a {}th; give verify more memory, and so more processor, \
         and meanwhile check it in smaller shares, `holdfast vault check --read-data 1/64` and so on",
        point.id,
        domain::verification::SHARES
    );
    ErrorReport::new(ErrorCode::EnvironmentBad, message)
}

/// Whether a recovery point is read share by share, so that an invocation that ends leaves the others what it did.
fn is_large(point: &RecoveryPoint) -> bool {
    let bytes = match point.content() {
        Some(Content::Export { plaintext_bytes, .. }) => *plaintext_bytes,
        _ => 0,
    };
    point.kind == Kind::Database && bytes > caps::READ_AT_ONCE_BYTES
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::{point::State, slot::Slot};
    use vault::{MemoryKeys, MemorySigning, MemoryStore};

    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-23T{text}Z").parse().unwrap()
    }

    fn name(n: u8) -> VaultTenantId {
        format!("vt_00000000-0000-0000-0000-0000000000{n:02}").parse().unwrap()
    }

    fn point(vault_tenant: VaultTenantId) -> RecoveryPoint {
        let subject = Subject::Tenant("acme".parse().unwrap());
        let slot = Slot { rule: "daily".into(), scheduled_time: at("02:15:00"), subject, kind: Kind::Database };
        let content = Content::Export {
            vault_tenant,
            sequence: 1,
            link_sha256: "00".into(),
            parent: None,
            rows: 1,
            plaintext_bytes: 1,
            stored_bytes: 1,
            read: None,
        };
        let run = "run_00000000-0000-0000-0000-000000000001".parse().unwrap();
        RecoveryPoint::begin(&slot, run, at("02:16:00")).publish(content, at("02:16:00")).unwrap()
    }

    #[tokio::test]
    async fn points_under_a_name_the_tenant_no_longer_goes_by_are_looked_for_there() {
        let store = Arc::new(MemoryStore::new());
        let (keys, signing) = (Arc::new(MemoryKeys::new()), Arc::new(MemorySigning::new()));
        let vault = Vault::new(store, keys, signing, "main".parse().unwrap());
        let mut points = Vec::new();
        for n in [1, 2] {
            let mut stored = point(name(n));
            let writer = vault.begin(name(n), stored.id, stored.run, None).await.unwrap();
            let written = writer.finish(serde_json::json!({}), at("02:16:00")).await.unwrap();
            if let State::Available { content: Content::Export { link_sha256, .. }, .. } = &mut stored.state {
                *link_sha256 = written.point.link_sha256;
            }
            points.push(stored);
        }
        let stored = stored(&vault, points.iter()).await.unwrap();
        for point in &points {
            let (name, reference) = point_ref(point).unwrap();
            let report = vault.check_presence(name, point.id, &reference, &stored[&name]).await.unwrap();
            assert!(report.is_clean(), "{report:?}");
        }
    }

    #[test]
    fn a_reading_that_had_all_of_an_invocations_time_is_passed_over_and_one_that_was_begun_late_is_not() {
        let at_work = point(name(1));
        for (budget_s, expected) in [(840, true), (caps::READ_AT_LEAST_S, true), (caps::READ_AT_LEAST_S - 1, false)] {
            let mut outran = BTreeSet::new();
            let report = stopped(&at_work, Duration::from_secs(budget_s), &mut outran);
            assert_eq!((report.code, outran.contains(&at_work.id)), (ErrorCode::DeadlineNear, expected), "{report}");
        }
        let report = too_slow(&at_work);
        assert_eq!(report.code, ErrorCode::EnvironmentBad);
        assert!(report.message.contains(&at_work.id.to_string()), "{report}");
    }

    #[test]
    fn who_has_read_for_one_tick_ends_no_round_of_the_next() {
        let round = Round {
            tick: at("03:30:00"),
            reading_since: Some(at("03:31:00")),
            read: false,
            failed_at: None,
            tests_begun: true,
            outran: BTreeSet::new(),
        };
        let outran = BTreeSet::from([point(name(1)).id]);
        let whole = Done { whole: true, outran: outran.clone(), ..Done::default() };
        let done = ended(&round, round.tick, &whole, None);
        assert_eq!((done.read, done.reading_since, done.outran), (true, None, outran));
        let next = Round { tick: at("04:30:00"), ..round.clone() };
        let done = ended(&next, round.tick, &whole, Some(at("04:31:00")));
        assert_eq!(done, Round { reading_since: None, ..next });
    }

    #[test]
    fn a_round_is_open_until_it_is_read_while_nobody_is_at_it_and_an_hour_after_it_failed() {
        let round = Round {
            tick: at("03:30:00"),
            reading_since: None,
            read: false,
            failed_at: None,
            tests_begun: true,
            outran: BTreeSet::new(),
        };
        let now = at("05:00:00");
        for (round, expected) in [
            (round.clone(), true),
            (Round { read: true, ..round.clone() }, false),
            (Round { reading_since: Some(at("04:50:00")), ..round.clone() }, false),
            (Round { reading_since: Some(at("04:44:00")), ..round.clone() }, true),
            (Round { read: true, failed_at: Some(at("04:00:01")), ..round.clone() }, false),
            (Round { read: true, failed_at: Some(at("04:00:00")), ..round }, true),
        ] {
            assert_eq!(is_open(&round, now), expected, "{round:?}");
        }
    }
}
