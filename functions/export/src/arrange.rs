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
            None => None,
            Some(item) => {
                let subject = Subject::Tenant(item.tenant.id.clone());
                match catalog.points(&subject, Some(Kind::Database), caps::POSTURE_POINTS_MAX).await {
                    Ok(points) => fits_a_sweep(item, points.iter().map(|point| &point.value)),
                    Err(error) => {
                        tracing::warn!(%error, "what there is of tenant {} cannot be looked up", item.tenant.id);
                        None
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

/// Bytes of a tenant's rows, as far as known, if it may be swept; by its newest recovery points, newest first.
///
/// A sweep cannot be gone on from, so it is not for much data. It is not for a slot that was begun before either: done or to be gone on
/// from, it needs no sweep, and what failed in one is not to harm the next.
fn fits_a_sweep<'a>(item: &Item, mut points: impl Iterator<Item = &'a RecoveryPoint> + Clone) -> Option<u64> {
    let is_begun = points.clone().any(|point| point.rule == item.rule && point.scheduled_time == item.scheduled_time);
    let bytes = match points.find_map(RecoveryPoint::content) {
        Some(Content::Export { plaintext_bytes, .. }) => *plaintext_bytes,
        _ => 0,
    };
    (!is_begun && bytes <= caps::SWEPT_TENANT_BYTES_MAX).then_some(bytes)
}

/// Puts the sets that fit a sweep together by the place that their rows are read from. Sweeps come first: they take longest.
fn group(judged: Vec<(Set, Option<u64>)>) -> Vec<Work> {
    let mut pools: BTreeMap<(ReadFrom, String, String), Vec<(Set, u64)>> = BTreeMap::new();
    let mut alone = Vec::new();
    for (set, fits) in judged {
        let pool = pooled(&set).map(|item| {
            let tenant = &item.tenant;
            (item.read_from, tenant.database_id.clone(), format!("{:?}", tenant.layout))
        });
        match pool.zip(fits) {
            Some((pool, bytes)) => pools.entry(pool).or_default().push((set, bytes)),
            None => alone.push(Work::Set(set)),
        }
    }
    let mut arranged = Vec::new();
    for sets in pools.into_values() {
        for sets in parted(sets) {
            match sets.len() {
                // Nothing to share.
                1 => alone.extend(sets.into_iter().map(Work::Set)),
                _ => arranged.push(Work::Sweep(sets)),
            }
        }
    }
    arranged.extend(alone);
    arranged
}

/// Parts the tenants of one pool into sweeps that an invocation can finish.
fn parted(sets: Vec<(Set, u64)>) -> Vec<Vec<Set>> {
    let (mut parts, mut bytes_so_far) = (Vec::<Vec<Set>>::new(), 0);
    for (set, bytes) in sets {
        match parts.last_mut() {
            Some(part) if part.len() < caps::SWEPT_TENANTS_MAX && bytes_so_far + bytes <= caps::SWEPT_BYTES_MAX => {
                part.push(set);
                bytes_so_far += bytes;
            }
            _ => {
                parts.push(vec![set]);
                bytes_so_far = bytes;
            }
        }
    }
    parts
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
            (set("silo", &Layout::Silo { database: "s".into() }), None),
            (set("a", &pool("app")), Some(1)),
            (set("large", &pool("app")), None),
            (set("elsewhere", &pool("other")), Some(1)),
            (set("b", &pool("app")), Some(1)),
        ];
        assert_eq!(names(&group(judged)), ["[a b]", "silo", "large", "elsewhere"]);
    }

    #[test]
    fn a_sweep_has_so_many_tenants_and_bytes_and_the_next_one_the_others() {
        let sizes = |count: usize, bytes: u64| {
            let judged = (0..count).map(|n| (set(&format!("t{n}"), &pool("app")), Some(bytes))).collect();
            let sizes = |work: &Work| if let Work::Sweep(sets) = work { sets.len() } else { 1 };
            group(judged).iter().map(sizes).collect::<Vec<_>>()
        };
        let most = caps::SWEPT_TENANTS_MAX;
        assert_eq!(
            [sizes(most, 0), sizes(most + 1, 0), sizes(2 * most + 2, 0)],
            [vec![most], vec![most, 1], vec![most, most, 2]]
        );
        let third = caps::SWEPT_BYTES_MAX / 3;
        assert_eq!([sizes(3, third), sizes(4, third), sizes(6, third)], [vec![3], vec![3, 1], vec![3, 3]]);
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
        let fits = |points: &[RecoveryPoint]| fits_a_sweep(&item("a", pool("app"), Kind::Database), points.iter()).is_some();
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
