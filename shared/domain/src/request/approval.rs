//! Who agreed to what: enough other people, or one who broke the glass.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use crate::identity::Identity;

/// One person's agreement to one preview.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who agreed.
    pub by: Identity,
    /// When.
    pub at: Timestamp,
    /// The digest of the preview they saw.
    pub preview_digest: String,
    /// Why one person went ahead alone; none for an ordinary approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<String>,
}

/// What is still missing, or wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// Two of those who asked or agreed cannot be told apart.
    SamePerson,
    /// An approval is of another preview.
    OtherPreview,
    /// There are too few.
    More,
}

/// Whether these approvals of the preview with this digest suffice: at least `needed`, each by another person than the one who asked and
/// all the others. One that broke the glass suffices by itself.
///
/// # Errors
/// What is wrong with them, or that more are needed.
pub fn suffices(approvals: &[Approval], requester: &Identity, digest: &str, needed: u8) -> Result<(), Lack> {
    if approvals.iter().any(|approval| approval.preview_digest != digest) {
        return Err(Lack::OtherPreview);
    }
    if approvals.iter().any(|approval| approval.break_glass.is_some()) {
        return Ok(());
    }
    for (n, approval) in approvals.iter().enumerate() {
        let mut others = approvals[..n].iter().map(|other| &other.by).chain([requester]);
        if others.any(|other| approval.by.is_same_person(other)) {
            return Err(Lack::SamePerson);
        }
    }
    // However few a policy asks for, a restore that nobody else has agreed to is no restore.
    if approvals.len() < usize::from(needed.max(1)) { Err(Lack::More) } else { Ok(()) }
}

/// Reads the list, or the single approval of records that were written when one was all there could be.
pub(super) fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Approval>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(Approval),
        Many(Vec<Approval>),
    }
    Ok(match OneOrMany::deserialize(from)? {
        OneOrMany::One(approval) => vec![approval],
        OneOrMany::Many(approvals) => approvals,
    })
}
