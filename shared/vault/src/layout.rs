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

/// The run of a manifest's key, if the key is one of this tenant and recovery point.
pub(crate) fn run_of_manifest(key: &str, tenant: VaultTenantId, point: RecoveryPointId) -> Option<RunId> {
    key.strip_prefix(&format!("v1/t/{tenant}/points/{point}/"))?.parse().ok()
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
        let key = manifest(tenant, point, run);
        assert_eq!(key, format!("{t}/points/rp_00000000-0000-0000-0000-000000000002/run_00000000-0000-0000-0000-000000000003"));
        assert_eq!(run_of_manifest(&key, tenant, point), Some(run));
    }

    #[test]
    fn a_manifest_key_of_another_tenant_or_point_names_no_run() {
        let (tenant, point) = (VaultTenantId::from_uuid(Uuid::from_u128(1)), RecoveryPointId::from_uuid(Uuid::from_u128(2)));
        let key = manifest(tenant, point, RunId::from_uuid(Uuid::from_u128(3)));
        assert_eq!(run_of_manifest(&key, VaultTenantId::from_uuid(Uuid::from_u128(9)), point), None);
        assert_eq!(run_of_manifest(&key, tenant, RecoveryPointId::from_uuid(Uuid::from_u128(9))), None);
        assert_eq!(run_of_manifest(&format!("{key}/x"), tenant, point), None);
    }
}
