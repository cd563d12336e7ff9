//! How long it may take, as far as restore tests tell.

use domain::{
    forecast::{Forecast, Sample},
    point::{Content, Proof, RecoveryPoint},
    recovery::Known,
};

/// What the proven recovery points say of the tenant whose newest is the largest, with its instance: a restore test makes one, too.
pub(super) fn forecast(tenants: &[Known]) -> Forecast {
    let proven = |point: &RecoveryPoint| match point.proof {
        Proof::Proven { rto_ms, .. } => Some(Sample { rows: rows(point), ms: u64::try_from(rto_ms).ok()? }),
        Proof::Unproven | Proof::Refuted { .. } => None,
    };
    let samples: Vec<Sample> = tenants.iter().flat_map(|known| &known.exports).filter_map(proven).collect();
    let newest = tenants.iter().filter_map(|known| known.exports.iter().max_by_key(|point| point.as_of()));
    Forecast::of(newest.map(rows).max().unwrap_or(0), &samples)
}

fn rows(point: &RecoveryPoint) -> u64 {
    match point.content() {
        Some(Content::Export { rows, .. }) => *rows,
        _ => 0,
    }
}
