//! What the vault says of a tenant's recovery points: their signed links. Read and verified here, without any right to decrypt.

use std::{cmp::Reverse, collections::BTreeMap};

use catalog::tenants::TenantRecord;
use domain::{
    Coded, ErrorCode, ErrorReport, RecoveryPointId, TenantId, VaultTenantId, caps,
    point::{Content, Kind, RecoveryPoint},
    slot::Subject,
};
use runtime::services::{Services, place_in_chain, point_ref};
use serde::Deserialize;
use serde_json::{Value, json};
use vault::Link;

use crate::look::cut;

/// Links that are read for one listing, to count their packs: each takes a call.
const LINKS_READ_MAX: usize = 50;
/// Packs in one answer, each of about 100 bytes: a Lambda answer holds 6 MB.
const PACKS_SHOWN_MAX: usize = 20_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinksOf {
    tenant: Option<TenantId>,
    kind: Option<Kind>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinkOf {
    tenant: TenantId,
    point: RecoveryPointId,
}

/// The links of one tenant, or the newest few of every tenant, the newest first. Of one tenant's the newest are read.
pub(crate) async fn list(services: &Services, asked: LinksOf) -> Result<Value, ErrorReport> {
    if asked.kind == Some(Kind::Snapshot) {
        let message = "snapshots are kept by RDS and not in the vault; see `holdfast points`".to_owned();
        return Err(ErrorReport::new(ErrorCode::MalformedEvent, message));
    }
    let (mut links, mut truncated) = (Vec::new(), false);
    match &asked.tenant {
        Some(tenant) => {
            let record = services.tenant(tenant).await?;
            let points = placed(services, &record, record.vault_tenant, asked.kind, caps::LISTED_POINTS_MAX).await?;
            truncated = points.cut_off;
            for (n, (sequence, point)) in points.newest_first.iter().enumerate() {
                let mut line = line(&record, *sequence, point);
                if n < LINKS_READ_MAX && point.content().is_some() {
                    match read(services, point).await? {
                        Ok(link) => line["packs"] = json!(link.packs.len()),
                        Err(problem) => line["problem"] = json!(problem),
                    }
                }
                links.push(line);
            }
        }
        None => {
            for record in services.catalog.tenants().await? {
                for kind in asked.kind.map_or(Kind::EXPORTED.to_vec(), |kind| vec![kind]) {
                    let points = placed(services, &record, record.vault_tenant, Some(kind), caps::POINTS_OF_EACH_MAX).await?;
                    links.extend(points.newest_first.iter().map(|(sequence, point)| line(&record, *sequence, point)));
                }
            }
        }
    }
    truncated |= cut(&mut links, caps::LISTED_POINTS_MAX);
    Ok(json!({ "links": links, "truncated": truncated }))
}

/// A tenant's recovery points that have a place in one of its chains.
pub(crate) struct Placed {
    /// Each with its place.
    pub(crate) newest_first: Vec<(u64, RecoveryPoint)>,
    /// Whether there may be more.
    pub(crate) cut_off: bool,
}

impl Placed {
    /// The newest place that the catalog knows of.
    pub(crate) fn published(&self) -> u64 {
        self.newest_first.first().map_or(0, |(place, _)| *place)
    }
}

/// The recovery points of a tenant under one of its names, of one kind or all that lie in the vault, by their places in the chain.
pub(crate) async fn placed(
    services: &Services,
    record: &TenantRecord,
    name: VaultTenantId,
    kind: Option<Kind>,
    limit: usize,
) -> Result<Placed, ErrorReport> {
    let points = services.catalog.points(&Subject::Tenant(record.tenant.id.clone()), kind, limit).await?;
    let cut_off = points.len() >= limit;
    let points = points.into_iter().map(|point| point.value);
    let mut newest_first: Vec<(u64, RecoveryPoint)> =
        points.filter_map(|point| Some((place_in_chain(&point, name)?, point))).collect();
    newest_first.sort_by_key(|(place, _)| Reverse(*place));
    Ok(Placed { newest_first, cut_off })
}

fn line(record: &TenantRecord, sequence: u64, point: &RecoveryPoint) -> Value {
    let (parent, stored_bytes) = match point.last_content() {
        Some(Content::Export { parent, stored_bytes, .. }) => (*parent, Some(*stored_bytes)),
        _ => (None, None),
    };
    json!({
        "tenant": record.tenant.id, "sequence": sequence, "point": point.id, "kind": point.kind, "scheduled_time": point.scheduled_time,
        "state": point.state.name(), "proof": point.proof.name(), "stored_bytes": stored_bytes, "parent": parent,
    })
}

/// The published link of a recovery point, or why it is not that.
async fn read(services: &Services, point: &RecoveryPoint) -> Result<Result<Link, String>, ErrorReport> {
    let (vault_tenant, reference) = point_ref(point)?;
    match services.vault.link(vault_tenant, point.id, &reference).await {
        Ok(link) => Ok(Ok(link)),
        Err(error) if error.code() == ErrorCode::NotAuthentic => Ok(Err(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// One recovery point's link. Of one that is not authentic nothing is repeated but what the catalog recorded.
pub(crate) async fn show(services: &Services, which: LinkOf) -> Result<Value, ErrorReport> {
    let record = services.tenant(&which.tenant).await?;
    let point = services.catalog.point(&which.tenant, which.point).await?.value;
    let (vault_tenant, reference) = point_ref(&point)?;
    let mut shown = line(&record, reference.sequence, &point);
    shown["vault_tenant"] = json!(vault_tenant);
    shown["link_sha256"] = json!(reference.link_sha256);
    match read(services, &point).await? {
        Ok(link) => {
            shown["authentic"] = json!(true);
            shown["link"] = content(&link);
        }
        Err(problem) => {
            shown["authentic"] = json!(false);
            shown["problem"] = json!(problem);
        }
    }
    Ok(shown)
}

/// What a link says, and its packs in numbers: how many, and which run wrote how much of what is needed.
fn content(link: &Link) -> Value {
    let mut runs: BTreeMap<String, (usize, u64)> = BTreeMap::new();
    for pack in &link.packs {
        let (packs, stored_bytes) = runs.entry(pack.run.to_string()).or_default();
        *packs += 1;
        *stored_bytes += pack.stored_bytes;
    }
    let runs: Vec<Value> = runs
        .into_iter()
        .map(|(run, (packs, stored_bytes))| {
            json!({ "own": run == link.run.to_string(), "run": run, "packs": packs, "stored_bytes": stored_bytes })
        })
        .collect();
    let mut packs: Vec<Value> =
        link.packs.iter().map(|pack| json!({ "pack": pack.id, "run": pack.run, "stored_bytes": pack.stored_bytes })).collect();
    let packs_left_off = cut(&mut packs, PACKS_SHOWN_MAX);
    json!({
        "run": link.run, "previous": link.previous, "manifest": link.manifest, "lists": link.lists, "runs": runs,
        "packs_count": link.packs.len(), "packs": packs, "packs_truncated": packs_left_off,
    })
}
