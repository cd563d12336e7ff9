//! A sweep: the rows of a pool's due tenants, read once for all and one tenant after the other.

use std::collections::HashMap;

use domain::{ErrorCode, ErrorReport, plan::Plan, point::Kind};
use runtime::{Invocation, services::Services};
use sources::postgres::{Pool, Standing, Sweep};

use crate::{
    handler::{Done, run_item, run_set, to_begin},
    item::{Item, located},
    plan_items::Set,
    source,
};

/// Sweeps tenants of one pool. Each tenant's files and settings are listed right after its rows were read, while the next one's are.
///
/// What cannot be swept is exported tenant by tenant, so that the fault of one is told of that one.
pub(crate) async fn run_sweep(services: &Services, plan: &Plan, sets: Vec<Set>, invocation: &Invocation) -> Vec<Done> {
    let pool = match open(services, plan, &sets, invocation).await {
        Ok(pool) => pool,
        Err(report) => {
            tracing::warn!(error.code = report.code.name(), "the pool is read tenant by tenant: {}", report.message);
            return run_alone(services, plan, sets, invocation).await;
        }
    };
    let done = run_pool(services, plan, &pool, sets, invocation).await;
    pool.close().await;
    done
}

async fn open(services: &Services, plan: &Plan, sets: &[Set], invocation: &Invocation) -> Result<Pool, ErrorReport> {
    invocation.deadline.check("a sweep")?;
    let first = sets.iter().flatten().find(|item| item.kind == Kind::Database);
    let first = first.ok_or_else(|| ErrorReport::new(ErrorCode::MalformedEvent, "a sweep of nothing"))?;
    let scopes: Result<Vec<_>, _> =
        sets.iter().filter_map(|set| set.first()).map(|item| runtime::services::scope(plan, &item.tenant)).collect();
    let endpoint = source::endpoint(services, plan, first).await?;
    Pool::open(&endpoint, &scopes?).await.map_err(|error| located(plan, first, error))
}

async fn run_pool(services: &Services, plan: &Plan, pool: &Pool, sets: Vec<Set>, invocation: &Invocation) -> Vec<Done> {
    // A server that has to sort whole tables first may take longer than an invocation: then the tenants' own reads are the faster way.
    let mut sweep = match tokio::time::timeout(invocation.deadline.remaining() / 3, pool.sweep()).await {
        Ok(Ok(sweep)) => sweep,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the pool is read tenant by tenant");
            return run_alone(services, plan, sets, invocation).await;
        }
        Err(_) => {
            tracing::warn!("no row came in a third of the time there is; the pool is read tenant by tenant");
            return run_alone(services, plan, sets, invocation).await;
        }
    };
    let by_tenant = |set: Set| Some((set.first()?.tenant.id.clone(), set));
    let mut sets: HashMap<_, Set> = sets.into_iter().filter_map(by_tenant).collect();
    let (mut done, mut listings) = (Vec::new(), Set::new());
    let mut swept = 0;
    for tenant in pool.tenants() {
        // What is left is exported alone, or left to the next delivery.
        if sweep.standing() != Standing::Going {
            break;
        }
        let Some(set) = sets.remove(tenant) else { continue };
        let set = match to_begin(services, plan, set).await {
            Ok(set) => set,
            Err(told) => {
                done.extend(told);
                continue;
            }
        };
        let (rows, others): (Set, Set) = set.into_iter().partition(|item| item.kind == Kind::Database);
        let reading = run_rows(services, plan, rows, &mut sweep, invocation);
        let listing = run_set(services, plan, std::mem::replace(&mut listings, others), invocation);
        let (of_rows, of_listings) = futures::join!(reading, listing);
        done.extend(of_listings.into_iter().chain(of_rows));
        swept += 1;
    }
    done.extend(run_set(services, plan, listings, invocation).await);
    tracing::info!(tenants = swept, left = sets.len(), standing = ?sweep.standing(), "swept");
    let left = sets.into_values().collect();
    match sweep.standing() {
        Standing::Lost => done.extend(left_to_the_next(left)),
        Standing::Going | Standing::Broken => done.extend(run_alone(services, plan, left, invocation).await),
    }
    done
}

async fn run_rows(services: &Services, plan: &Plan, rows: Set, sweep: &mut Sweep<'_>, invocation: &Invocation) -> Vec<Done> {
    let mut done = Vec::new();
    for item in rows {
        done.push(run_item(services, plan, item, Some(sweep), invocation).await);
    }
    done
}

async fn run_alone(services: &Services, plan: &Plan, sets: Vec<Set>, invocation: &Invocation) -> Vec<Done> {
    let mut done = Vec::new();
    for set in sets {
        done.extend(run_set(services, plan, set, invocation).await);
    }
    done
}

/// Nothing of these was begun and nothing is told of them: the tenant whose rows were being read is, and the next delivery begins here.
fn left_to_the_next(sets: Vec<Set>) -> impl Iterator<Item = Done> {
    sets.into_iter().flatten().map(|item: Item| {
        let message = "the sweep of its pool lost its connection before its turn; the next delivery begins with it";
        (item, Err(ErrorReport::new(ErrorCode::SourceUnreachable, message)))
    })
}
