//! Which tenants are swept together, and which are exported alone.

use std::collections::BTreeMap;

use catalog::Catalog;
use domain::{
    caps,
    plan::ReadFrom,
    point::{Content, Kind, RecoveryPoint},
    slot::Subject,
    tenant::Layout,
};
use futures::StreamExt;

use crate::{item::Item, plan_items::Set};

/// What is done beside other work, one after the other in itself.
#[derive(Debug)]
pub(crate) enum Work {
    /// One tenant.
    Set(Set),
    /// Tenants of one pool, whose rows are read by one sweep.
    Sweep(Vec<Set>),
}

/// Arranges the sets of a tick. Whoever cannot be looked up is exported alone, which says why.
pub(crate) async fn arrange(catalog: &Catalog, sets: Vec<Set>) -> Vec<Work> {
    if sets.len() < 2 {
        return sets.into_iter().map(Work::Set).collect();
    }
    let judged = futures::stream::iter(sets).map(|set| async {
        let fits = match pooled(&set) {
            None => false,
            Some(item) => {
                let subject = Subject::Tenant(item.tenant.id.clone());
                match catalog.points(&subject, Some(Kind::Database), caps::POSTURE_POINTS_MAX).await {
                    Ok(points) => fits_a_sweep(item, points.iter().map(|point| &point.value)),
                    Err(error) => {
                        tracing::warn!(%error, "what there is of tenant {} cannot be looked up", item.tenant.id);
                        false
                    }
                }
            }
        };
        (set, fits)
    });
    group(judged.buffered(caps::LOOKED_AT_ONCE).collect().await)
}

/// The item of a pooled tenant's rows.
fn pooled(set: &Set) -> Option<&Item> {
    set.iter().find(|item| item.kind == Kind::Database && matches!(item.tenant.layout, Layout::Pool { .. }))
}

/// Whether a tenant may be swept, by its newest recovery points, newest first.
///
/// A sweep cannot be gone on from, so it is not for much data. It is not for a slot that was begun before either: done or to be gone on
/// from, it needs no sweep, and what failed in one is not to harm the next.
fn fits_a_sweep<'a>(item: &Item, mut points: impl Iterator<Item = &'a RecoveryPoint> + Clone) -> bool {
    let is_begun = points.clone().any(|point| point.rule == item.rule && point.scheduled_time == item.scheduled_time);
    let last = points.find_map(RecoveryPoint::content);
    let is_large = |content: &Content| matches!(content, Content::Export { plaintext_bytes, .. } if *plaintext_bytes > caps::SWEPT_TENANT_BYTES_MAX);
    !is_begun && !last.is_some_and(is_large)
}

/// Puts the sets that fit a sweep together by the place that their rows are read from. Sweeps come first: they take longest.
fn group(judged: Vec<(Set, bool)>) -> Vec<Work> {
    let mut pools: BTreeMap<(ReadFrom, String, String), Vec<Set>> = BTreeMap::new();
    let mut alone = Vec::new();
    for (set, fits) in judged {
        let pool = pooled(&set).filter(|_| fits).map(|item| {
            let tenant = &item.tenant;
            (item.read_from, tenant.database_id.clone(), format!("{:?}", tenant.layout))
        });
        match pool {
            Some(pool) => pools.entry(pool).or_default().push(set),
            None => alone.push(Work::Set(set)),
        }
    }
    let mut arranged = Vec::new();
    for mut sets in pools.into_values() {
        while !sets.is_empty() {
            let rest = sets.split_off(sets.len().min(caps::SWEPT_TENANTS_MAX));
            match sets.len() {
                // Nothing to share.
                1 => alone.extend(sets.into_iter().map(Work::Set)),
                _ => arranged.push(Work::Sweep(sets)),
            }
            sets = rest;
        }
    }
    arranged.extend(alone);
    arranged
}

#[cfg(test)]
mod tests {
    use domain::{
        ErrorCode, ErrorReport, RunId, VaultTenantId,
        register::{Status, Tenant},
        slot::Slot,
    };
    use jiff::Timestamp;

    use super::*;

    fn item(tenant: &str, layout: Layout, kind: Kind) -> Item {
        let tenant = Tenant {
            id: tenant.parse().unwrap(),
            database_id: "pool".into(),
            layout,
            criticality: "standard".into(),
            time_zone: "UTC".into(),
            status: Status::Active,
            created_at: Timestamp::UNIX_EPOCH,
        };
        let scheduled_time = Timestamp::from_second(1_000).unwrap();
        Item { tenant, kind, rule: "daily".into(), scheduled_time, full: false, read_from: ReadFrom::Primary, quiet: None }
    }

    fn pool(schema: &str) -> Layout {
        Layout::Pool { database: "app".into(), schema: schema.into(), tenant_column: "tenant_id".into() }
    }

    fn set(tenant: &str, layout: &Layout) -> Set {
        [Kind::Database, Kind::Media].map(|kind| item(tenant, layout.clone(), kind)).into()
    }

    fn names(work: &[Work]) -> Vec<String> {
        let name = |set: &Set| set[0].tenant.id.to_string();
        let named = |work: &Work| match work {
            Work::Set(set) => name(set),
            Work::Sweep(sets) => format!("[{}]", sets.iter().map(name).collect::<Vec<_>>().join(" ")),
        };
        work.iter().map(named).collect()
    }

    #[test]
    fn tenants_of_one_pool_are_swept_together_and_nobody_else() {
        let judged = vec![
            (set("silo", &Layout::Silo { database: "s".into() }), false),
            (set("a", &pool("app")), true),
            (set("large", &pool("app")), false),
            (set("elsewhere", &pool("other")), true),
            (set("b", &pool("app")), true),
        ];
        assert_eq!(names(&group(judged)), ["[a b]", "silo", "large", "elsewhere"]);
    }

    #[test]
    fn a_sweep_has_so_many_tenants_and_the_next_one_the_others() {
        let judged = |count: usize| (0..count).map(|n| (set(&format!("t{n}"), &pool("app")), true)).collect();
        let sizes = |count| {
            let sizes = |work: &Work| if let Work::Sweep(sets) = work { sets.len() } else { 1 };
            group(judged(count)).iter().map(sizes).collect::<Vec<_>>()
        };
        let most = caps::SWEPT_TENANTS_MAX;
        assert_eq!((sizes(most), sizes(most + 1), sizes(2 * most + 2)), (vec![most], vec![most, 1], vec![most, most, 2]));
    }

    fn point(second: i64, plaintext_bytes: Option<u64>) -> RecoveryPoint {
        let slot = Slot {
            rule: "daily".into(),
            scheduled_time: Timestamp::from_second(second).unwrap(),
            subject: Subject::Tenant("a".parse().unwrap()),
            kind: Kind::Database,
        };
        let run: RunId = "run_00000000-0000-0000-0000-000000000001".parse().unwrap();
        let running = RecoveryPoint::begin(&slot, run, slot.scheduled_time);
        let vault_tenant: VaultTenantId = "vt_00000000-0000-0000-0000-000000000001".parse().unwrap();
        let content = |plaintext_bytes| Content::Export {
            vault_tenant,
            sequence: 1,
            link_sha256: "s".into(),
            parent: None,
            rows: 1,
            plaintext_bytes,
            stored_bytes: 1,
            read: None,
        };
        match plaintext_bytes {
            Some(bytes) => running.publish(content(bytes), slot.scheduled_time).unwrap(),
            None => running.fail(&ErrorReport::new(ErrorCode::Throttled, "m"), slot.scheduled_time).unwrap(),
        }
    }

    #[test]
    fn what_is_large_or_was_begun_before_is_not_swept() {
        let fits = |points: &[RecoveryPoint]| fits_a_sweep(&item("a", pool("app"), Kind::Database), points.iter());
        let most = caps::SWEPT_TENANT_BYTES_MAX;
        assert!(fits(&[]), "of a new tenant nothing is known");
        assert!(fits(&[point(900, Some(most))]));
        assert!(!fits(&[point(900, Some(most + 1))]));
        assert!(fits(&[point(950, None), point(900, Some(1)), point(800, Some(most + 1))]), "its newest recovery point counts");
        assert!(!fits(&[point(950, None), point(900, Some(most + 1))]));
        assert!(!fits(&[point(1_000, None), point(900, Some(1))]), "an attempt at this slot failed, perhaps in a sweep");
        assert!(!fits(&[point(1_000, Some(1))]), "this slot is done");
    }
}
