//! New instances from snapshots: asked for, followed to available, given their settings back.

use aws::{InstanceSettings, Started};
use catalog::audit::Phase;
use domain::{
    Class, ErrorCode, ErrorReport, RecoveryId,
    alert::AlertClass,
    caps,
    point::{Content, Kind},
    recovery::{FromSnapshot, MadeInstance, PlannedInstance, RecoveryState, Stage},
    slot::Subject,
};
use jiff::Timestamp;
use runtime::{recovered, services::Services, trouble::Trouble};

use super::{opened::Opened, reapply};

/// How RDS names states that an instance does not leave by itself.
const HOPELESS: [&str; 5] = ["failed", "incompatible-", "inaccessible-", "restore-error", "storage-full"];

/// Moves every instance on by one step. It is delivered again until the recovery is `restoring`.
pub(super) async fn instances(services: &Services, id: RecoveryId) -> Result<&'static str, ErrorReport> {
    let opened = Opened::read(services, id).await?;
    if !matches!(opened.recovery.state, RecoveryState::Approved { .. } | RecoveryState::Making { .. }) {
        return Ok(opened.recovery.state.name());
    }
    let needed = match opened.recovery.state {
        RecoveryState::Approved { .. } => opened.needed(services).await?,
        // The policies were asked when it was begun, and are again before any tenant is restored: not at every look.
        _ => 1,
    };
    let (planned, now) = (opened.planned(), services.clock.now());
    let recovery = services.catalog.advance_recovery(id, |recovery| recovery.begin(&planned, needed, now)).await?.value;
    services.all_clear(AlertClass::RecoveryAwaitsApproval, &id.to_string()).await?;
    let RecoveryState::Making { plan, work, .. } = &recovery.state else { return Ok(recovery.state.name()) };
    let (mut instances, mut trouble) = (Vec::new(), Trouble::default());
    for made in &work.instances {
        let wanted = plan.instances.iter().find(|planned| planned.database == made.database);
        let stage = match wanted.and_then(|wanted| Some((wanted, wanted.from.as_ref()?))) {
            Some((wanted, from)) => Maker { services, recovery: id, wanted, from }.next(made.stage.clone()).await,
            None => Ok(made.stage.clone()),
        };
        // One instance's trouble is its own: the others go on, and what they have become is recorded.
        let stage = stage.unwrap_or_else(|report| match report.code.class() {
            Class::Transient | Class::Throttled | Class::Conflict => {
                trouble.note(&format!("instance {}", made.name), report);
                made.stage.clone()
            }
            Class::Permanent | Class::Integrity | Class::Denied => {
                tracing::error!(instance = made.name, error.code = report.code.name(), "{}", report.message);
                Stage::Failed { at: services.clock.now(), message: report.to_string() }
            }
        });
        instances.push(MadeInstance { stage, ..made.clone() });
    }
    let now = services.clock.now();
    let recovery = services.catalog.advance_recovery(id, |recovery| recovery.made(instances, now)).await?.value;
    trouble.into_result()?;
    Ok(recovery.state.name())
}

struct Maker<'a> {
    services: &'a Services,
    recovery: RecoveryId,
    wanted: &'a PlannedInstance,
    from: &'a FromSnapshot,
}

impl Maker<'_> {
    async fn next(&self, stage: Stage) -> Result<Stage, ErrorReport> {
        let now = self.services.clock.now();
        let asked_at = match stage {
            Stage::Due => {
                self.ask().await?;
                return Ok(Stage::Asked { at: now });
            }
            Stage::Asked { at } | Stage::GivenBack { asked_at: at, .. } => at,
            Stage::Ready { .. } | Stage::Failed { .. } => return Ok(stage),
        };
        let name = &self.wanted.name;
        let instance = match self.services.clients.instances().describe(name).await {
            Ok(instance) => instance,
            Err(error) if error.is_not_found() => {
                // The call was lost on the way; asking again is asking for the same one.
                self.ask().await?;
                return Ok(Stage::Asked { at: asked_at });
            }
            Err(error) => return Err(error.into()),
        };
        recovered::check_ours(self.services, self.recovery, &instance)?;
        let late = now.duration_since(asked_at).as_secs() > caps::RECOVERY_INSTANCE_AT_MOST_S;
        if late || HOPELESS.iter().any(|status| instance.status.starts_with(status)) {
            let hours = now.duration_since(asked_at).as_hours();
            let message = format!("RDS has it as {} after {hours} hours; its events say why", instance.status);
            return Ok(Stage::Failed { at: now, message });
        }
        if !instance.is_available() {
            return Ok(stage);
        }
        let recorded = self.settings().await?;
        match stage {
            Stage::Asked { at } if reapply::is_wanted(&recorded, &instance) => {
                let refused = reapply::give_back(self.services, &self.wanted.database, &instance, &recorded).await?;
                // What was refused is listed once it is ready, as it is still lacking then.
                if let Some(refused) = refused {
                    tracing::warn!(instance = name, "settings are not given back: {refused}");
                }
                Ok(Stage::GivenBack { asked_at: at, available_at: now })
            }
            _ => Ok(Stage::Ready { rto_ms: ms(asked_at, now), at: now, lacks: reapply::lacks(&recorded, &instance) }),
        }
    }

    /// Asks RDS for it, with the settings of the instance that it replaces. Two deliveries ask for one.
    async fn ask(&self) -> Result<(), ErrorReport> {
        let settings = self.settings().await?;
        let mut tags = settings.tags.clone();
        tags.extend(recovered::tags(&self.services.config.vault_id.to_string(), self.recovery));
        let restoration = aws::Restoration {
            purpose: aws::Purpose::Replacement,
            name: &self.wanted.name,
            from: aws::Origin::Snapshot(&self.from.identifier),
            settings: &settings,
            tags: &tags,
        };
        let (services, subject) = (self.services, self.wanted.database.as_str());
        let what = format!("{}: {} from {}", self.recovery, self.wanted.name, self.from.identifier);
        services.audit(Phase::Intent, "restore", "recover.instance", subject, &what).await?;
        let asked = services.clients.instances().restore(&restoration).await;
        let outcome = asked.as_ref().map_or_else(ToString::to_string, |_| "accepted".to_owned());
        services.audit(Phase::Outcome, "restore", "recover.instance", subject, &outcome).await?;
        if asked? == Started::Before {
            recovered::check_ours(services, self.recovery, &services.clients.instances().describe(&self.wanted.name).await?)?;
        }
        Ok(())
    }

    /// The recorded settings, less what no call of ours can give: tags of AWS's own.
    async fn settings(&self) -> Result<InstanceSettings, ErrorReport> {
        let Some(of) = self.from.settings_of else { return Ok(InstanceSettings::default()) };
        let subject = Subject::Instance(self.wanted.database.clone());
        let points = self.services.catalog.points(&subject, Some(Kind::Snapshot), caps::LISTED_POINTS_MAX).await?;
        let recorded = points.iter().find(|point| point.value.id == of).and_then(|point| match point.value.content() {
            Some(Content::Snapshot { settings, .. }) => serde_json::from_value::<InstanceSettings>(settings.clone()).ok(),
            _ => None,
        });
        let Some(mut settings) = recorded else {
            let message = format!("recovery point {of} no longer has the settings of instance {}", self.wanted.replaces);
            return Err(ErrorReport::new(ErrorCode::UnknownRecoveryPoint, message));
        };
        settings.tags.retain(|tag, _| !tag.starts_with("aws:"));
        Ok(settings)
    }
}

fn ms(from: Timestamp, to: Timestamp) -> i64 {
    i64::try_from(to.duration_since(from).as_millis()).unwrap_or(i64::MAX)
}
