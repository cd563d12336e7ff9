//! The sweep: deletes what no recovery point needs, by the protocol of `domain::sweep`, tenant by tenant, and each under every name that
//! it has in the vault.
//!
//! Nothing is decrypted, and the catalog is not trusted to say what is needed: every link in the vault counts, unless the catalog says
//! of its very recovery point that it was let go. The vault's own lock is the second guard.

mod survey;
mod tenant;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use catalog::tenants::TenantRecord;
use domain::{ErrorCode, ErrorReport, VaultTenantId, caps, order::from_the_days_start, sweep::Named};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use runtime::{Invocation, services::Services};
use serde_json::{Value, json};

use crate::policy;
pub(crate) use tenant::{Of, Sweeper, Tally};

/// The built-in rule of the sweep's schedule.
pub(crate) const DAILY: &str = "sweep-daily";

/// Sweeps every tenant that the tick has not swept yet.
pub(crate) async fn daily(services: &Services, invocation: &Invocation, scheduled_time: Timestamp) -> Result<Value, ErrorReport> {
    let in_force = policy::take(services, &services.plan().await?).await?;
    let apply = in_force.terms.policy.apply;
    let store = services.clients.store(&services.config.vault_bucket);
    let sweeper = Sweeper {
        catalog: &services.catalog,
        vault: &services.vault,
        store: &store,
        clock: services.clock.as_ref(),
        fresh: services.fresh.as_ref(),
        deadline: &invocation.deadline,
        lock_for: services.config.vault_lock,
        apply,
        scheduled_time,
    };
    let tenants = services.catalog.tenants().await?;
    let swept = round(&sweeper, &tenants).await?;
    Ok(json!({ "applied": apply, "tenants": tenants.len(), "swept": swept }))
}

/// Sweeps tenants, beginning with other ones every day.
async fn round(sweeper: &Sweeper<'_>, tenants: &[TenantRecord]) -> Result<Tally, ErrorReport> {
    let claims = claims(tenants);
    let one = |tenant: &TenantRecord| {
        let (tenant, claims) = (tenant.clone(), &claims);
        async move {
            let (id, all, is_erased) = (&tenant.tenant.id, &tenant.names()[..], tenant.erased.is_some());
            let (mut tally, mut first_failure) = (Tally::default(), None);
            // One name's trouble is not the others', and they take turns: they wait for, and end, the same runs.
            for name in all.iter().copied() {
                let swept = match claims[&name] {
                    1 => sweeper.sweep(Of { tenant: id, named: Named { name, all, is_erased } }).await,
                    _ => Err(claimed_twice(name)),
                };
                match swept {
                    Ok(swept) => tally += swept,
                    Err(report) => {
                        tracing::error!(error.code = report.code.name(), tenant.id = %id, name = %name, "{}", report.message);
                        first_failure.get_or_insert(ErrorReport::new(report.code, format!("tenant {id}: {}", report.message)));
                    }
                }
            }
            first_failure.map_or(Ok(tally), Err)
        }
    };
    let in_order = from_the_days_start(tenants.iter().collect(), sweeper.scheduled_time);
    // One tenant's trouble is not the others': they go on, and the invocation fails at its end.
    let swept: Vec<Result<Tally, ErrorReport>> =
        stream::iter(in_order.into_iter().map(one).collect::<Vec<_>>()).buffer_unordered(caps::SWEPT_AT_ONCE).collect().await;
    let (mut tally, mut failures) = (Tally::default(), Vec::new());
    for one in swept {
        match one {
            Ok(one) => tally += one,
            Err(report) => failures.push(report),
        }
    }
    if let Some(first) = failures.first() {
        let message = format!("{} tenants were not swept, of which the first: {}", failures.len(), first.message);
        return Err(ErrorReport::new(first.code, message));
    }
    Ok(tally)
}

/// How many tenants have, or had, each name in the vault: more than one is a wrong row, and nobody could say whose garbage it is.
fn claims(tenants: &[TenantRecord]) -> HashMap<VaultTenantId, usize> {
    let mut claims = HashMap::new();
    for name in tenants.iter().flat_map(TenantRecord::names) {
        *claims.entry(name).or_default() += 1;
    }
    claims
}

fn claimed_twice(tenant: VaultTenantId) -> ErrorReport {
    let message = format!(
        "the catalog gives its name in the vault, {tenant}, or a former one, to another tenant too; correct the catalog's rows of both"
    );
    ErrorReport::new(ErrorCode::NotAuthentic, message)
}
