//! Names of snapshots: derived from the recovery point, so that asking twice asks for the same one.

use domain::point::RecoveryPoint;

/// The RDS identifier of a recovery point's snapshot: letters, digits and single hyphens, at most 63 characters.
pub(crate) fn snapshot_name(point: &RecoveryPoint) -> String {
    format!("holdfast-{}", point.id.uuid().hyphenated())
}
