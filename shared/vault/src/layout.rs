//! Where objects lie: the keys of the format, made of opaque ids only.

use domain::{PackId, RecoveryPointId, RunId, VaultTenantId};

/// The record of a tenant's dedup secret.
pub(crate) fn dedup_record(tenant: VaultTenantId) -> String {
    format!("v1/t/{tenant}/keys/dedup")
}

/// The record of a run's content key.
pub(crate) fn content_record(tenant: VaultTenantId, run: RunId) -> String {
    format!("v1/t/{tenant}/keys/{run}")
}

/// A pack of sealed chunks.
pub(crate) fn pack(tenant: VaultTenantId, pack: PackId) -> String {
    format!("v1/t/{tenant}/packs/{pack}")
}

/// The manifest that one run wrote for a recovery point.
pub(crate) fn manifest(tenant: VaultTenantId, point: RecoveryPointId, run: RunId) -> String {
    format!("v1/t/{tenant}/points/{point}/{run}")
}

/// Whether a key is that of a manifest.
pub(crate) fn is_manifest(key: &str) -> bool {
    key.strip_prefix(TENANTS).and_then(|rest| rest.split_once('/')).is_some_and(|(_, rest)| rest.starts_with("points/"))
}

/// A list of chunks, one of several of a run.
pub(crate) fn list(tenant: VaultTenantId, run: RunId, number: u32) -> String {
    format!("v1/t/{tenant}/lists/{run}/{number:08}")
}

/// What a run had done when it stopped.
pub(crate) fn progress(tenant: VaultTenantId, run: RunId) -> String {
    format!("v1/t/{tenant}/progress/{run}")
}

/// Where the tenants are.
pub(crate) const TENANTS: &str = "v1/t/";

/// The tenant whose folder this is, if it is one in our spelling.
pub(crate) fn tenant_of_folder(folder: &str) -> Option<VaultTenantId> {
    let id = folder.strip_prefix(TENANTS)?.strip_suffix('/')?.parse().ok()?;
    (tenant(id) == folder).then_some(id)
}

/// Where everything of a tenant is.
pub(crate) fn tenant(tenant: VaultTenantId) -> String {
    format!("v1/t/{tenant}/")
}

/// Where all packs of a tenant are.
pub(crate) fn packs(tenant: VaultTenantId) -> String {
    format!("v1/t/{tenant}/packs/")
}

/// Whether an object goes once no recovery point needs it: what has a name of one of these kinds, but not links and the tenant's secret.
pub(crate) fn is_collected(key: &str, tenant: VaultTenantId) -> bool {
    let Some(name) = key.strip_prefix(&self::tenant(tenant)) else { return false };
    ["packs/pk_", "lists/run_", "points/rp_", "progress/run_", "keys/run_"].iter().any(|kind| name.starts_with(kind))
}

/// Where all links of a tenant's chain are.
pub(crate) fn chain(tenant: VaultTenantId) -> String {
    format!("v1/t/{tenant}/chain/")
}

/// A link of a tenant's chain.
pub(crate) fn link(tenant: VaultTenantId, sequence: u64) -> String {
    format!("v1/t/{tenant}/chain/{sequence:012}")
}

/// The sequence of a link's key, if it is one: twelve digits, so that keys sort as sequences do.
pub(crate) fn sequence_of_link(key: &str, tenant: VaultTenantId) -> Option<u64> {
    let digits = key.strip_prefix(&chain(tenant))?;
    let sequence = digits.parse().ok()?;
    (digits.len() == 12 && sequence > 0 && link(tenant, sequence) == key).then_some(sequence)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn keys_are_as_the_format_says() {
        let tenant = VaultTenantId::from_uuid(Uuid::from_u128(1));
        let (point, run) = (RecoveryPointId::from_uuid(Uuid::from_u128(2)), RunId::from_uuid(Uuid::from_u128(3)));
        let t = "v1/t/vt_00000000-0000-0000-0000-000000000001";
        assert_eq!(dedup_record(tenant), format!("{t}/keys/dedup"));
        assert_eq!(content_record(tenant, run), format!("{t}/keys/run_00000000-0000-0000-0000-000000000003"));
        assert_eq!(
            pack(tenant, PackId::from_uuid(Uuid::from_u128(4))),
            format!("{t}/packs/pk_00000000-0000-0000-0000-000000000004")
        );
        let run_name = "run_00000000-0000-0000-0000-000000000003";
        assert_eq!(manifest(tenant, point, run), format!("{t}/points/rp_00000000-0000-0000-0000-000000000002/{run_name}"));
        assert_eq!(list(tenant, run, 7), format!("{t}/lists/{run_name}/00000007"));
        assert_eq!(progress(tenant, run), format!("{t}/progress/{run_name}"));
        assert_eq!(link(tenant, 12), format!("{t}/chain/000000000012"));
        assert!(is_manifest(&manifest(tenant, point, run)) && !is_manifest(&link(tenant, 12)));
    }

    #[test]
    fn a_folder_is_a_tenants_in_our_spelling_only() {
        let id = VaultTenantId::from_uuid(Uuid::from_u128(0xabc));
        assert_eq!(tenant_of_folder(&tenant(id)), Some(id));
        let upper = tenant(id).to_uppercase().replace("V1/T/VT_", "v1/t/vt_");
        for folder in ["v1/t/", "v1/t/acme/", "v1/t/vt_/", &upper, tenant(id).trim_end_matches('/')] {
            assert_eq!(tenant_of_folder(folder), None, "{folder}");
        }
    }

    #[test]
    fn what_is_for_recovery_points_is_collected_and_nothing_else() {
        let [tenant, other] = [1, 9].map(|n| VaultTenantId::from_uuid(Uuid::from_u128(n)));
        let (point, run) = (RecoveryPointId::from_uuid(Uuid::from_u128(2)), RunId::from_uuid(Uuid::from_u128(3)));
        let of = |tenant| {
            let pack = pack(tenant, PackId::from_uuid(Uuid::from_u128(4)));
            [pack, list(tenant, run, 7), manifest(tenant, point, run), progress(tenant, run), content_record(tenant, run)]
        };
        assert!(of(tenant).iter().all(|key| is_collected(key, tenant)));
        assert!(!of(other).iter().any(|key| is_collected(key, tenant)), "another tenant's");
        let strange =
            [format!("{}evidence/1", self::tenant(tenant)), format!("{}packs/x", self::tenant(tenant)), "v1/t/".to_owned()];
        let kept = [link(tenant, 12), dedup_record(tenant)].into_iter().chain(strange);
        for key in kept {
            assert!(!is_collected(&key, tenant), "{key}");
        }
    }

    #[test]
    fn only_a_link_of_this_tenant_in_our_spelling_has_a_sequence() {
        let [ours, theirs] = [1, 9].map(|n| VaultTenantId::from_uuid(Uuid::from_u128(n)));
        assert_eq!(sequence_of_link(&link(ours, 12), ours), Some(12));
        let names = ["12", "+00000000012", "", "000000000000", "1000000000000", "18446744073709551615", "00000000000x"];
        let strange = names.map(|name| format!("{}{name}", chain(ours)));
        for key in strange.iter().chain([&link(theirs, 12)]) {
            assert_eq!(sequence_of_link(key, ours), None, "{key}");
        }
    }
}
