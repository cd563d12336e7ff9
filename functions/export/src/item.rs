//! One export: take the slot, read the source, write the vault, publish.

use std::{fmt, time::Duration};

use catalog::{Held, Taken};
use domain::{
    Coded, ErrorCode, ErrorReport, RecoveryPointId, caps,
    plan::Plan,
    point::{Content, Kind},
    register::Tenant,
    slot::{Slot, Subject},
};
use jiff::Timestamp;
use runtime::{
    Deadline,
    services::{REGISTER_FACT, Services},
};
use serde_json::{Value, json};
use sources::{
    configuration::{self, Setting},
    media, postgres,
};
use tracing::Instrument;
use vault::{PointWriter, Written};

/// What an invocation keeps back to record what it did.
const RESERVE: Duration = Duration::from_millis(caps::DEADLINE_RESERVE_MS);
/// Time in which an export that fits into an invocation at all should have finished.
const ENOUGH: Duration = Duration::from_secs(600);

/// One tenant and kind at one instant.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) tenant: Tenant,
    pub(crate) kind: Kind,
    pub(crate) rule: String,
    pub(crate) scheduled_time: Timestamp,
}

/// What became of an item.
#[derive(Debug)]
pub(crate) enum Made {
    /// This run made and published its recovery point.
    New(RecoveryPointId),
    /// An earlier delivery had.
    Already,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} export of tenant {}", self.kind.name(), self.tenant.id)
    }
}

impl Item {
    /// Makes the recovery point of this item's slot, unless it is there.
    pub(crate) async fn run(&self, services: &Services, plan: &Plan, deadline: &Deadline) -> Result<Made, ErrorReport> {
        let slot = Slot {
            rule: self.rule.clone(),
            scheduled_time: self.scheduled_time,
            subject: Subject::Tenant(self.tenant.id.clone()),
            kind: self.kind,
        };
        let held = match services.catalog.take_slot(&slot, services.fresh.run_id(), services.clock.now()).await? {
            Taken::Held(held) => held,
            Taken::Done(_) => return Ok(Made::Already),
        };
        let span = tracing::info_span!(
            "export", tenant.id = %self.tenant.id, run.id = %held.value.run, recovery_point.id = %held.value.id, kind = self.kind.name()
        );
        self.fill(services, plan, &held, deadline).instrument(span).await
    }

    async fn fill(&self, services: &Services, plan: &Plan, held: &Held, deadline: &Deadline) -> Result<Made, ErrorReport> {
        let started_at = services.clock.now();
        let budget = deadline.remaining().saturating_sub(RESERVE);
        let written = tokio::time::timeout(budget, Box::pin(self.write(services, plan, held))).await;
        match written.unwrap_or_else(|_| Err(out_of_time(budget))) {
            Ok(content) => {
                let point = services.catalog.publish(held, content, services.clock.now()).await?;
                tracing::info!(elapsed_ms = services.ms_since(started_at), "published");
                Ok(Made::New(point.id))
            }
            Err(report) => {
                tracing::error!(error.code = report.code.name(), "{}", report.message);
                match services.catalog.fail(held, &report, services.clock.now()).await {
                    // An heir has the slot: its outcome counts, not ours.
                    Err(error) if error.code() == ErrorCode::Fenced => {}
                    Err(error) => {
                        tracing::warn!(%error, "the failure could not be recorded; the slot stays running until it is retried")
                    }
                    Ok(()) => {}
                }
                Err(report)
            }
        }
    }

    async fn write(&self, services: &Services, plan: &Plan, held: &Held) -> Result<Content, ErrorReport> {
        let vault_tenant = services.tenant(&self.tenant.id).await?.vault_tenant;
        let mut writer = services.vault.begin(vault_tenant, held.value.id, held.value.run).await?;
        let mut facts = match self.kind {
            Kind::Database => {
                let (endpoint, scope) = services.live(plan, &self.tenant).await?;
                let exported = postgres::export(&endpoint, &services.tools(), &scope, &mut writer).await;
                exported.map_err(|error| located(plan, &self.tenant, error.into()))?.encode()?
            }
            Kind::Media => self.write_media(services, plan, &mut writer).await?,
            Kind::Configuration => self.write_configuration(services, plan, &mut writer).await?,
            Kind::Snapshot => {
                let message = "snapshots are made by the snapshot function, not by export".to_owned();
                return Err(ErrorReport::new(ErrorCode::MalformedEvent, message));
            }
        };
        facts[REGISTER_FACT] = json!(self.tenant);
        let written = writer.finish(facts, services.clock.now()).await?;
        Ok(content(vault_tenant, written))
    }

    async fn write_media(&self, services: &Services, plan: &Plan, writer: &mut PointWriter) -> Result<Value, ErrorReport> {
        let media = plan.media.as_ref().ok_or_else(|| not_in_plan("media"))?;
        let prefix = media.prefix.replace("{tenant}", self.tenant.id.as_str());
        let versions = services.clients.media(&media.bucket).versions(&prefix).await?;
        media::write(versions, writer).await?;
        Ok(json!({ "bucket": media.bucket, "prefix": prefix }))
    }

    async fn write_configuration(
        &self,
        services: &Services,
        plan: &Plan,
        writer: &mut PointWriter,
    ) -> Result<Value, ErrorReport> {
        let scope = plan.configuration.as_ref().ok_or_else(|| not_in_plan("configuration"))?;
        let parameters = scope.parameters.replace("{tenant}", self.tenant.id.as_str());
        let secrets = scope.secrets.replace("{tenant}", self.tenant.id.as_str());
        let found_parameters = services.clients.parameters().metadata(&parameters).await?.into_iter().map(Setting::Parameter);
        let found_secrets = services.clients.secrets().metadata(&secrets).await?.into_iter().map(Setting::Secret);
        configuration::write(found_parameters.chain(found_secrets).collect(), writer).await?;
        Ok(json!({ "parameters": parameters, "secrets": secrets }))
    }
}

fn content(vault_tenant: domain::VaultTenantId, written: Written) -> Content {
    Content::Export {
        vault_tenant,
        manifest_key: written.manifest.key,
        manifest_sha256: written.manifest.sha256,
        rows: written.rows,
        plaintext_bytes: written.plaintext_bytes,
        stored_bytes: written.stored_bytes,
    }
}

/// A whole invocation that was not enough will not be enough the next time; what was begun late may well fit then.
fn out_of_time(budget: Duration) -> ErrorReport {
    let seconds = budget.as_secs();
    if budget < ENOUGH {
        return ErrorReport::new(
            ErrorCode::DeadlineNear,
            format!("it was begun with {seconds} s left and not finished; the next invocation begins it anew"),
        );
    }
    let message = format!(
        "it did not finish within {seconds} s, all that an invocation has; give the function more memory, or the tenant a place of its own"
    );
    ErrorReport::new(ErrorCode::SourceRefused, message)
}

/// Adds to a database's error what a person has to look at: the instance and the secret, which a host name does not tell.
fn located(plan: &Plan, tenant: &Tenant, report: ErrorReport) -> ErrorReport {
    match plan.database(&tenant.database_id) {
        Some(database) => {
            let message = format!("instance {}, login in secret {}: {}", database.instance, database.secret, report.message);
            ErrorReport::new(report.code, message)
        }
        None => report,
    }
}

fn not_in_plan(what: &str) -> ErrorReport {
    ErrorReport::new(ErrorCode::PlanInvalid, format!("the backup plan has no `{what}`, so there is none to export"))
}
