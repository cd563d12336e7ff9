//! Names of snapshots: derived from the recovery point, so that asking twice asks for the same one.

use domain::RecoveryPointId;

/// How every name begins; roles and event rules go by it.
pub(crate) const PREFIX: &str = "holdfast-";

/// The RDS identifiers of a recovery point's snapshots: letters, digits and single hyphens, at most 63 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    /// Of the one that is taken beside the instance.
    pub(crate) taken: String,
    /// Of its copy under the vault's key.
    pub(crate) copy: String,
}

impl Names {
    /// A recovery point's names.
    pub(crate) fn of(point: RecoveryPointId) -> Self {
        let taken = format!("{PREFIX}{}", point.uuid().hyphenated());
        Self { copy: format!("{taken}-copy"), taken }
    }
}
