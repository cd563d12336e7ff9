//! Lets every recovery point of a tenant go, whatever the policy says: each is an act of its own in the audit trail.

use catalog::{PointError, TableError, Versioned, audit::Phase};
use domain::{
    ErrorCode, ErrorReport,
    alert::AlertClass,
    caps,
    erasure::{Erasure, held_by},
    point::{Kind, RecoveryPoint, State},
    slot::Subject,
};
use runtime::{Invocation, services::Services};

/// How often the tenant's recovery points are listed again because some changed meanwhile.
const ROUNDS_MAX: usize = 3;

/// Expires what is available and stops what is being made, until nothing of either is left.
///
/// # Errors
/// `ErasureRefused` if something is held, also if that came to be in the middle: the hold wins, and what is held stays.
pub(crate) async fn let_go(services: &Services, erasure: &Erasure, invocation: &Invocation) -> Result<(), ErrorReport> {
    let tenant = &erasure.asked.tenant;
    for _ in 0..ROUNDS_MAX {
        let left = left(services, erasure).await?;
        if left.is_empty() {
            return Ok(());
        }
        for point in left {
            invocation.deadline.check("the next recovery point's expiry")?;
            let (held, now) = (point.value.clone(), services.clock.now());
            if let Some(holds) = held_by(&[held], now) {
                let message = format!(
                    "recovery point {} of tenant {tenant} is held: {holds}. A hold outweighs an erasure; what is held stays until it is released",
                    point.value.id
                );
                return Err(ErrorReport::new(ErrorCode::ErasureRefused, message));
            }
            end(services, erasure, &point).await?;
        }
    }
    let message = format!("recovery points of tenant {tenant} keep changing while they are let go; try again");
    Err(ErrorReport::new(ErrorCode::Fenced, message))
}

async fn left(services: &Services, erasure: &Erasure) -> Result<Vec<Versioned<RecoveryPoint>>, ErrorReport> {
    let subject = Subject::Tenant(erasure.asked.tenant.clone());
    let mut left = Vec::new();
    for kind in Kind::EXPORTED {
        let points = services.catalog.points(&subject, Some(kind), caps::POINTS_OF_A_KIND_MAX).await?;
        left.extend(points.into_iter().filter(|point| matches!(point.value.state, State::Available { .. } | State::Running)));
    }
    Ok(left)
}

/// Ends one: what is available expires, and a run that is making one finds its slot taken away when it wants to publish.
async fn end(services: &Services, erasure: &Erasure, point: &Versioned<RecoveryPoint>) -> Result<(), ErrorReport> {
    let (id, now) = (point.value.id, services.clock.now());
    let (act, ended) = match point.value.state {
        State::Running => {
            let erased = ErrorReport::new(ErrorCode::TenantErased, format!("tenant {} is being erased", erasure.asked.tenant));
            ("point.stop", point.value.clone().fail(&erased, now))
        }
        _ => ("point.expire", point.value.clone().expire(now)),
    };
    let ended = ended.map_err(PointError::from)?;
    let (subject, what) = (erasure.asked.tenant.as_str(), format!("{id}: by erasure {}", erasure.asked.id));
    services.audit(Phase::Intent, "shred", act, subject, &what).await?;
    let written = services.catalog.update(point, ended).await;
    let outcome = match &written {
        Ok(_) => format!("{what}: done"),
        Err(TableError::Conflict { .. }) => format!("{what}: changed meanwhile, looked at again"),
        Err(error) => format!("{what}: perhaps not done: {error}"),
    };
    services.audit(Phase::Outcome, "shred", act, subject, &outcome).await?;
    match written {
        // What is gone cannot be a bad backup any more.
        Ok(_) => services.all_clear(AlertClass::BackupBad, &id.to_string()).await,
        Err(TableError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
