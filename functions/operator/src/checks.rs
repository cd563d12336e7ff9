//! Checks of the vault that an operator asks for: of names, sizes and signatures here and at once, of the data itself by `verify`.

use std::collections::BTreeMap;

use aws::Execution;
use catalog::tenants::TenantRecord;
use domain::{
    ErrorCode, ErrorReport, RecoveryPointId, RunId, TenantId, VaultTenantId, caps,
    identity::Identity,
    point::{Kind, Proof, RecoveryPoint},
};
use runtime::services::{Services, point_ref};
use serde::Deserialize;
use serde_json::{Value, json};
use vault::{CheckReport, Share};

use crate::{links::placed, look::cut, runs};

/// Recovery points, the newest, that are looked at in one call: a call has a minute, and each takes a request.
const POINTS_CHECKED_MAX: usize = 100;
/// Places of the chain, the last, that are followed in one call, for the same reason.
const PLACES_FOLLOWED_MAX: u64 = 500;
/// Findings in one answer.
const FINDINGS_SHOWN_MAX: usize = 1_000;
/// Recovery points that are named with each finding; how many there are is told besides.
const NEEDED_BY_SHOWN_MAX: usize = 10;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Check {
    tenant: TenantId,
    point: Option<RecoveryPointId>,
    /// Which share of the data is read, as `n/t`; none if left out.
    read_data: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Started {
    tenant: TenantId,
    point: RecoveryPointId,
    execution: RunId,
}

/// Looks for what a tenant's recovery points need, or has `verify` read their data.
pub(crate) async fn check(services: &Services, caller: &Identity, asked: Check) -> Result<Value, ErrorReport> {
    let record = services.tenant(&asked.tenant).await?;
    match &asked.read_data {
        None => look(services, &record, asked.point).await,
        Some(share) => {
            let share: Share = share.parse().map_err(|problem| ErrorReport::new(ErrorCode::MalformedEvent, problem))?;
            start(services, caller, &record, asked.point, share).await
        }
    }
}

/// Follows the chain, and looks for everything that the recovery points need: under the tenant's present name, and under former ones that it
/// has recovery points under.
async fn look(services: &Services, record: &TenantRecord, named: Option<RecoveryPointId>) -> Result<Value, ErrorReport> {
    let named = match named {
        Some(id) => Some(services.catalog.point(&record.tenant.id, id).await?.value),
        None => None,
    };
    if let Some(point) = &named
        && !record.names().contains(&point_ref(point)?.0)
    {
        return Err(ErrorReport::new(ErrorCode::UnknownRecoveryPoint, of_another_name(record, point)));
    }
    let mut parts = Vec::new();
    for name in record.names() {
        let placed = placed(services, record, name, None, caps::LISTED_POINTS_MAX).await?;
        if name == record.vault_tenant || !placed.newest_first.is_empty() {
            parts.push((name, placed));
        }
    }
    // Each has its share of what one call can do, so that none is left out for good.
    let (points_max, places_max) = (POINTS_CHECKED_MAX / parts.len(), PLACES_FOLLOWED_MAX / parts.len() as u64);
    let (mut findings, mut chains, mut checked) = (Findings::default(), Vec::new(), Vec::new());
    let (mut objects, mut truncated) = (0, false);
    for (name, all) in parts {
        let published = all.published();
        let cut_off = all.cut_off;
        let mut points: Vec<RecoveryPoint> = match &named {
            Some(point) => Vec::from_iter((point_ref(point)?.0 == name).then(|| point.clone())),
            None => all.newest_first.into_iter().map(|(_, point)| point).filter(|point| point.content().is_some()).collect(),
        };
        truncated |= cut(&mut points, points_max) || cut_off;
        let after = published.saturating_sub(places_max);
        let chain = services.vault.check_chain(name, after, published).await?;
        let stored = services.vault.stored(name).await?;
        findings.add(&chain, None);
        for point in &points {
            let (_, reference) = point_ref(point)?;
            let report = services.vault.check_presence(name, point.id, &reference, &stored).await?;
            findings.add(&report, Some(point.id));
            checked.push(json!({
                "point": point.id, "kind": point.kind, "scheduled_time": point.scheduled_time, "sequence": reference.sequence,
                "vault_tenant": name, "findings": report.findings.len() as u64 + report.findings_left_off,
            }));
        }
        objects += stored.objects();
        chains.push((name, json!({ "after": after, "links": chain.links, "published": published })));
    }
    let mut chains = chains.into_iter();
    let chain = chains.next().map(|(_, chain)| chain);
    let with_name = |(name, mut chain): (VaultTenantId, Value)| {
        chain["vault_tenant"] = json!(name);
        chain
    };
    Ok(json!({
        "tenant": record.tenant.id, "chain": chain, "former": chains.map(with_name).collect::<Vec<_>>(), "objects": objects,
        "points": checked, "truncated": truncated, "findings": findings.shown(), "findings_count": findings.count(),
    }))
}

fn of_another_name(record: &TenantRecord, point: &RecoveryPoint) -> String {
    format!(
        "recovery point {} lies under an opaque name that is not known as tenant {}'s; check it with --read-data, which follows its own",
        point.id, record.tenant.id
    )
}

/// What is wrong, each once, with the recovery points that suffer from it.
#[derive(Default)]
struct Findings {
    found: BTreeMap<(String, String), Vec<RecoveryPointId>>,
    left_off: u64,
}

impl Findings {
    fn add(&mut self, report: &CheckReport, point: Option<RecoveryPointId>) {
        for finding in &report.findings {
            let needed_by = self.found.entry((finding.object.clone(), finding.defect.to_string())).or_default();
            needed_by.extend(point);
        }
        self.left_off += report.findings_left_off;
    }

    fn count(&self) -> u64 {
        self.found.len() as u64 + self.left_off
    }

    fn shown(&self) -> Vec<Value> {
        let shown = self.found.iter().take(FINDINGS_SHOWN_MAX).map(|((object, problem), points)| {
            let few: Vec<_> = points.iter().take(NEEDED_BY_SHOWN_MAX).collect();
            json!({ "object": object, "problem": problem, "needed_by": few, "needed_by_count": points.len() })
        });
        shown.collect()
    }
}

/// Has `verify` read a share of the data of one recovery point, or of the newest of each kind.
async fn start(
    services: &Services,
    caller: &Identity,
    record: &TenantRecord,
    named: Option<RecoveryPointId>,
    share: Share,
) -> Result<Value, ErrorReport> {
    let tenant = &record.tenant.id;
    let points = match named {
        Some(id) => vec![services.catalog.point(tenant, id).await?.value],
        None => newest(services, record).await?,
    };
    let mut checks = Vec::new();
    for point in &points {
        point_ref(point)?;
        let item = json!({ "tenant": tenant, "recovery_point": point.id, "read_data": share.to_string(), "restore_test": false });
        let execution = runs::start(services, caller, runs::VERIFY, tenant.as_str(), item).await?;
        checks.push(json!({ "point": point.id, "kind": point.kind, "execution": execution }));
    }
    Ok(json!({ "tenant": tenant, "read_data": share.to_string(), "checks": checks }))
}

async fn newest(services: &Services, record: &TenantRecord) -> Result<Vec<RecoveryPoint>, ErrorReport> {
    let tenant = &record.tenant.id;
    let subject = domain::slot::Subject::Tenant(tenant.clone());
    let mut points = Vec::new();
    for kind in Kind::EXPORTED {
        points.extend(services.catalog.newest_available(&subject, kind).await?.map(|point| point.value));
    }
    if points.is_empty() {
        let message = format!("tenant {tenant} has nothing in the vault to check; `holdfast run --tenant {tenant}` backs it up");
        return Err(ErrorReport::new(ErrorCode::UnknownRecoveryPoint, message));
    }
    Ok(points)
}

/// How a check stands that `verify` was started for.
pub(crate) async fn status(services: &Services, started: Started) -> Result<Value, ErrorReport> {
    let Started { tenant, point, execution } = started;
    let unknown = format!(
        "there is no check {execution}, or not yet; start one with `holdfast vault check --tenant {tenant} --read-data 1/1`"
    );
    let is_it = |item: &Value| item["tenant"] == json!(tenant) && item["recovery_point"] == json!(point);
    let stands = runs::standing(services, (execution, unknown), runs::VERIFY, is_it).await?;
    let mut answer = json!({ "tenant": tenant, "point": point, "execution": execution });
    match stands {
        Execution::Running => answer["state"] = json!("running"),
        Execution::Succeeded(output) => {
            answer["state"] = json!("sound");
            answer["read"] = output["read"].clone();
        }
        Execution::Failed { error, cause } if error == ErrorCode::NotAuthentic.name() => {
            answer["state"] = json!("damaged");
            answer["error"] = json!({ "code": error, "message": said(&cause) });
            // An error holds a few of the findings, the record all of them.
            let point = services.catalog.point(&tenant, point).await?.value;
            if let Proof::Refuted { findings, .. } = &point.proof {
                answer["findings"] = json!(findings);
            }
        }
        Execution::Failed { error, cause } => {
            answer["state"] = json!("failed");
            answer["error"] = json!({ "code": error, "message": said(&cause) });
        }
    }
    Ok(answer)
}

/// A cause in words: that of a function's error is JSON around them.
pub(crate) fn said(cause: &str) -> String {
    let function_error: Option<Value> = serde_json::from_str(cause).ok();
    let message = function_error.as_ref().and_then(|error| error["errorMessage"].as_str());
    match message.unwrap_or(cause) {
        "" => "Step Functions gave no cause; see the log of verify".to_owned(),
        message => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use vault::{Defect, Finding};

    use super::*;

    fn point(n: usize) -> RecoveryPointId {
        format!("rp_00000000-0000-0000-0000-{n:012}").parse().unwrap()
    }

    fn report(objects: &[&str]) -> CheckReport {
        let finding = |object: &&str| Finding { object: (*object).to_owned(), entry: None, defect: Defect::Missing };
        CheckReport { findings: objects.iter().map(finding).collect(), ..CheckReport::default() }
    }

    #[test]
    fn what_several_recovery_points_miss_is_told_once_and_by_whom_it_is_missed() {
        let mut findings = Findings::default();
        findings.add(&report(&["chain/3"]), None);
        findings.add(&report(&["packs/a", "packs/b"]), Some(point(1)));
        for n in 2..=30 {
            findings.add(&report(&["packs/a"]), Some(point(n)));
        }
        assert_eq!(findings.count(), 3);
        let shown = findings.shown();
        let told: Vec<(&str, u64, usize)> = shown
            .iter()
            .map(|found| {
                let needed_by = found["needed_by"].as_array().unwrap().len();
                (found["object"].as_str().unwrap(), found["needed_by_count"].as_u64().unwrap(), needed_by)
            })
            .collect();
        assert_eq!(told, [("chain/3", 0, 0), ("packs/a", 30, NEEDED_BY_SHOWN_MAX), ("packs/b", 1, 1)]);
        assert_eq!(shown[1]["needed_by"][0], point(1).to_string());
        assert_eq!(shown[0]["problem"], "it is missing");
    }

    #[test]
    fn a_cause_is_told_in_its_own_words() {
        let cause = json!({ "errorType": "NotAuthentic", "errorMessage": "recovery point rp_1 is damaged" }).to_string();
        assert_eq!(said(&cause), "recovery point rp_1 is damaged");
        assert_eq!(said("the state was aborted"), "the state was aborted");
        assert!(said("").contains("no cause"));
    }
}
