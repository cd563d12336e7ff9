//! What somebody wants to do, and to what.

use domain::{TenantId, point::Kind, register::Tenant};

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// What can be asked of the policies. The names are those of `infra/policy/holdfast.cedarschema`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Action { $($(#[$doc])* $name,)+ }

        impl Action {
            /// Every action there is.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its name in the policies, the log and the audit trail.
            #[must_use]
            pub fn name(self) -> &'static str { match self { $(Self::$name => $text,)+ } }
        }
    };
}

actions! {
    /// To see what there is.
    Look = "look",
    /// To read who did what.
    Audit = "audit",
    /// To start a backup or a check.
    Run = "run",
    /// To have a lost catalog made again from the vault.
    RebuildCatalog = "rebuild_catalog",
    /// To keep a recovery point from retention.
    PlaceHold = "place_hold",
    /// To let retention judge it again.
    ReleaseHold = "release_hold",
    /// To agree to a retention policy that lets more go.
    ShortenRetention = "shorten_retention",
    /// To ask for a restore, or to wake an approved one again.
    RequestRestore = "request_restore",
    /// To agree to one.
    ApproveRestore = "approve_restore",
    /// To go ahead alone.
    BreakGlass = "break_glass",
    /// To look at what one person did alone.
    ReviewRestore = "review_restore",
    /// To have one carried out with so many approvals; asked of whoever asked for it.
    CarryOut = "carry_out",
    /// To ask for the erasure of a tenant, or to take that back.
    RequestErasure = "request_erasure",
    /// To agree to one.
    ApproveErasure = "approve_erasure",
    /// To have one carried out with so many approvals; asked of whoever asked for it.
    CarryOutErasure = "carry_out_erasure",
    /// To ask for the recovery of the environment.
    RequestRecovery = "request_recovery",
    /// To agree to one.
    ApproveRecovery = "approve_recovery",
    /// To have one carried out with so many approvals; asked of whoever asked for it.
    CarryOutRecovery = "carry_out_recovery",
}

/// A tenant, as policies see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// Its id.
    pub tenant: &'a TenantId,
    /// Its criticality class.
    pub class: &'a str,
    /// Its layout's name.
    pub layout: &'a str,
}

impl<'a> From<&'a Tenant> for Place<'a> {
    fn from(tenant: &'a Tenant) -> Self {
        Self { tenant: &tenant.id, class: &tenant.criticality, layout: tenant.layout.name() }
    }
}

/// What is asked of a restore or a recovery; for other acts the default will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The mode's name.
    pub mode: &'a str,
    /// What is restored.
    pub kind: Kind,
    /// Whether the caller is, or cannot be told from, who asked for it or went ahead with it.
    pub own: bool,
    /// How many other people have agreed.
    pub approvals: u8,
}

impl Default for Asked<'_> {
    fn default() -> Self {
        Self { mode: "in-place", kind: Kind::Database, own: true, approvals: 0 }
    }
}

/// One act, as it is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Act<'a> {
    /// What is done.
    pub action: Action,
    /// The plan's name of the environment.
    pub environment: &'a str,
    /// To which tenant; to the environment itself if none.
    pub tenant: Option<Place<'a>>,
    /// What is asked of a restore or a recovery.
    pub asked: Asked<'a>,
}
