//! What the catalog knows of a link's recovery point already.

use std::collections::BTreeMap;

use domain::{
    RecoveryPointId, VaultTenantId,
    point::{Content, RecoveryPoint, State},
};
use vault::{ChainLink, PointRef};

/// How a record stands to the links of its recovery point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// It names one of them, or what was stored of the same slot under another of the tenant's names.
    Same,
    /// No run has published it.
    Unpublished,
    /// It names something else: this.
    Other(String),
}

/// The links of each recovery point, in the order of the chain. A run that was overtaken may have left one beside its heir's.
pub(crate) fn by_point(links: Vec<ChainLink>) -> BTreeMap<RecoveryPointId, Vec<ChainLink>> {
    let mut by_point: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for link in links {
        by_point.entry(link.point).or_default().push(link);
    }
    by_point
}

/// Where a record says that its content is, if it is an export: under which name, and what of it.
fn placed(record: &RecoveryPoint) -> Option<(VaultTenantId, PointRef)> {
    match record.last_content() {
        Some(Content::Export { vault_tenant, sequence, link_sha256, .. }) => {
            Some((*vault_tenant, PointRef { sequence: *sequence, link_sha256: link_sha256.clone() }))
        }
        _ => None,
    }
}

/// Where a record says that its content is, if it is an export of this name.
pub(crate) fn named(record: &RecoveryPoint, of: VaultTenantId) -> Option<PointRef> {
    placed(record).filter(|(name, _)| *name == of).map(|(_, reference)| reference)
}

/// Compares a record with the links of the same recovery point in the chain of `of`, which is one of the tenant's `names`. A slot whose
/// record was lost may have been filled again under the name that the tenant was given then; the other link is left to the sweep.
pub(crate) fn compare(record: &RecoveryPoint, links: &[ChainLink], of: VaultTenantId, names: &[VaultTenantId]) -> Known {
    match (named(record, of), &record.state) {
        (_, State::Running | State::Failed { .. }) => Known::Unpublished,
        (Some(reference), _) if links.iter().any(|link| link.reference == reference) => Known::Same,
        (Some(PointRef { sequence, .. }), _) => {
            Known::Other(format!("the catalog has it at place {sequence} of the chain, with another link than the vault's"))
        }
        (None, _) if placed(record).is_some_and(|(name, _)| names.contains(&name)) => Known::Same,
        (None, _) => Known::Other("the catalog has it under another opaque name".to_owned()),
    }
}

/// The recovery points that the catalog calls available and whose links are not in the chain.
pub(crate) fn without_link<'a>(
    records: impl Iterator<Item = &'a RecoveryPoint>,
    links: &BTreeMap<RecoveryPointId, Vec<ChainLink>>,
    of: VaultTenantId,
) -> Vec<(RecoveryPointId, u64)> {
    let is_there = |record: &RecoveryPoint, reference: &PointRef| {
        links.get(&record.id).is_some_and(|links| links.iter().any(|link| link.reference == *reference))
    };
    let available = records.filter(|record| record.content().is_some());
    let named = available.filter_map(|record| Some((record, named(record, of)?)));
    named.filter(|(record, place)| !is_there(record, place)).map(|(record, place)| (record.id, place.sequence)).collect()
}

#[cfg(test)]
mod tests {
    use domain::{
        ErrorCode, ErrorReport,
        point::Kind,
        slot::{Slot, Subject},
    };
    use jiff::Timestamp;

    use super::*;

    fn name(n: u8) -> VaultTenantId {
        format!("vt_00000000-0000-0000-0000-0000000000{n:02}").parse().unwrap()
    }

    fn running() -> RecoveryPoint {
        let subject = Subject::Tenant("acme".parse().unwrap());
        let slot = Slot { rule: "daily".into(), scheduled_time: Timestamp::UNIX_EPOCH, subject, kind: Kind::Database };
        RecoveryPoint::begin(&slot, "run_00000000-0000-0000-0000-000000000001".parse().unwrap(), Timestamp::UNIX_EPOCH)
    }

    fn published(sequence: u64) -> RecoveryPoint {
        let content = Content::Export {
            vault_tenant: name(1),
            sequence,
            link_sha256: format!("s{sequence}"),
            parent: None,
            rows: 1,
            plaintext_bytes: 1,
            stored_bytes: 1,
            read: None,
        };
        running().publish(content, Timestamp::UNIX_EPOCH).unwrap()
    }

    fn link(sequence: u64) -> ChainLink {
        let reference = PointRef { sequence, link_sha256: format!("s{sequence}") };
        ChainLink { reference, point: running().id, own_bytes: 1 }
    }

    #[test]
    fn a_record_is_known_if_it_names_any_of_its_links() {
        let links = [link(3), link(5)];
        let compare = |record: &RecoveryPoint, links: &[ChainLink], of| compare(record, links, of, &[of]);
        assert_eq!(compare(&published(3), &links, name(1)), Known::Same);
        assert_eq!(compare(&published(5).expire(Timestamp::UNIX_EPOCH).unwrap(), &links, name(1)), Known::Same);
        assert_eq!(compare(&running(), &links, name(1)), Known::Unpublished);
        let failed = running().fail(&ErrorReport::new(ErrorCode::Throttled, "m"), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(compare(&failed, &links, name(1)), Known::Unpublished);
        for (record, of, said) in [(published(4), 1, "place 4"), (published(3), 2, "another opaque name")] {
            let Known::Other(what) = compare(&record, &links, name(of)) else { panic!("{said}") };
            assert!(what.contains(said), "{what}");
        }
        let forged = ChainLink { reference: PointRef { link_sha256: "x".into(), ..link(3).reference }, ..link(3) };
        assert!(matches!(compare(&published(3), &[forged], name(1)), Known::Other(_)));
    }

    #[test]
    fn a_record_of_a_slot_that_was_filled_again_under_another_of_the_tenants_names_is_known() {
        let links = [link(3)];
        assert_eq!(compare(&published(7), &links, name(2), &[name(2), name(1)]), Known::Same);
        assert!(
            matches!(compare(&published(7), &links, name(2), &[name(2), name(3)]), Known::Other(_)),
            "nobody's it is known of"
        );
        assert!(
            matches!(compare(&published(7), &links, name(1), &[name(2), name(1)]), Known::Other(_)),
            "another link of this chain"
        );
    }

    #[test]
    fn an_available_point_whose_link_is_gone_is_found_and_an_expired_one_is_not() {
        let links = by_point(vec![link(3)]);
        let records = [published(3), published(4), published(6).expire(Timestamp::UNIX_EPOCH).unwrap(), running()];
        assert_eq!(without_link(records.iter(), &links, name(1)), [(running().id, 4)]);
        assert_eq!(without_link(records.iter(), &links, name(2)), []);
    }
}
