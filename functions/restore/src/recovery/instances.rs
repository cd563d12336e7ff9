//! New instances from snapshots or of an instant: asked for, followed to available, given their settings back.

use aws::{AutomatedBackup, InstanceSettings, Origin, Started};
use catalog::audit::Phase;
use domain::{
    Class, ErrorCode, ErrorReport, RecoveryId,
    alert::AlertClass,
    caps,
    plan::Plan,
    point::{Content, Kind},
    recovery::{FromInstant, MadeFrom, MadeInstance, PlannedInstance, RecoveryState, Stage},
    slot::Subject,
};
use jiff::Timestamp;
use runtime::{
    instants::{Reach, source_of},
    recovered,
    services::Services,
    trouble::Trouble,
};
use tokio::sync::OnceCell;

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
    let (mut instances, mut trouble, backups) = (Vec::new(), Trouble::default(), OnceCell::new());
    for made in &work.instances {
        let wanted = plan.instances.iter().find(|planned| planned.database == made.database);
        let stage = match wanted.and_then(|wanted| Some((wanted, wanted.from.as_ref()?))) {
            Some((wanted, from)) => {
                Maker { services, recovery: id, wanted, from, backups: &backups }.next(made.stage.clone()).await
            }
            None => Ok(made.stage.clone()),
        };
        // One instance's trouble is its own: the others go on, and what they have become is recorded.
        let stage = stage.unwrap_or_else(|report| {
            if is_for_good(&report) {
                tracing::error!(instance = made.name, error.code = report.code.name(), "{}", report.message);
                Stage::Failed { at: services.clock.now(), message: report.to_string() }
            } else {
                trouble.note(&format!("instance {}", made.name), report);
                made.stage.clone()
            }
        });
        instances.push(MadeInstance { stage, ..made.clone() });
    }
    let (hopeless, now) = (refuse_hopeless(&opened.plan, &instances), services.clock.now());
    let recovery = services.catalog.advance_recovery(id, |recovery| recovery.made(instances, now)).await?.value;
    hopeless?;
    trouble.into_result()?;
    Ok(recovery.state.name())
}

/// Without the register nobody can say where a tenant lives: once its instance cannot be made, no other is waited for.
fn refuse_hopeless(plan: &Plan, instances: &[MadeInstance]) -> Result<(), ErrorReport> {
    let register = &plan.register.database;
    let subject = plan.snapshot_subject_of(register).unwrap_or(register);
    match instances.iter().find(|made| made.database == subject).map(|made| &made.stage) {
        Some(Stage::Failed { message, .. }) => {
            let message = format!(
                "the instance of the register's database {register} cannot be made, so nobody could say where the tenants live: {message}; \
                 mend that, or choose another time, and ask for another recovery"
            );
            Err(ErrorReport::new(ErrorCode::RestoreRefused, message))
        }
        _ => Ok(()),
    }
}

fn is_for_good(report: &ErrorReport) -> bool {
    match report.code.class() {
        Class::Transient | Class::Throttled | Class::Conflict => false,
        Class::Permanent | Class::Integrity | Class::Denied => true,
    }
}

struct Maker<'a> {
    services: &'a Services,
    recovery: RecoveryId,
    wanted: &'a PlannedInstance,
    from: &'a MadeFrom,
    /// Every instance's automated backups, once one asked for them.
    backups: &'a OnceCell<Vec<AutomatedBackup>>,
}

impl Maker<'_> {
    async fn next(&self, stage: Stage) -> Result<Stage, ErrorReport> {
        let now = self.services.clock.now();
        let asked_at = match stage {
            Stage::Due => return self.ask(now).await,
            Stage::Asked { at } | Stage::GivenBack { asked_at: at, .. } => at,
            Stage::Ready { .. } | Stage::Failed { .. } => return Ok(stage),
        };
        let name = &self.wanted.name;
        let instance = match self.services.clients.instances().describe(name).await {
            Ok(instance) => instance,
            // The call was lost on the way; asking again is asking for the same one.
            Err(error) if error.is_not_found() => return self.ask(asked_at).await,
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

    /// Asks RDS for it. Two deliveries ask for one: what the first made is there, whatever RDS says of its source by now.
    async fn ask(&self, at: Timestamp) -> Result<Stage, ErrorReport> {
        match self.begin(at).await {
            Err(refused) if is_for_good(&refused) && self.is_there().await? => Ok(Stage::Asked { at }),
            begun => begun,
        }
    }

    async fn is_there(&self) -> Result<bool, ErrorReport> {
        match self.services.clients.instances().describe(&self.wanted.name).await {
            Ok(instance) => recovered::check_ours(self.services, self.recovery, &instance).map(|()| true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Has RDS make it, with the settings of the instance that it replaces; due it stays until RDS has the log of its instant.
    async fn begin(&self, at: Timestamp) -> Result<Stage, ErrorReport> {
        let from = match self.from {
            MadeFrom::Snapshot(from) => Origin::Snapshot(&from.identifier),
            MadeFrom::Instant(from) => {
                let instances = self.services.clients.instances();
                let backups = self.backups.get_or_try_init(|| async { instances.automated_backups().await }).await?;
                match source(backups, self.wanted, from, self.services.clock.now())? {
                    Some(origin) => origin,
                    None => {
                        tracing::info!(instance = self.wanted.name, "RDS does not have the log of {} yet", from.as_of);
                        return Ok(Stage::Due);
                    }
                }
            }
        };
        let settings = self.settings().await?;
        let mut tags = settings.tags.clone();
        tags.extend(recovered::tags(&self.services.config.vault_id.to_string(), self.recovery));
        let restoration = aws::Restoration {
            purpose: aws::Purpose::Replacement,
            name: &self.wanted.name,
            from,
            settings: &settings,
            tags: &tags,
        };
        let (services, subject) = (self.services, self.wanted.database.as_str());
        let what = format!("{}: {} from {from}", self.recovery, self.wanted.name);
        services.audit(Phase::Intent, "restore", "recover.instance", subject, &what).await?;
        let asked = services.clients.instances().restore(&restoration).await;
        let outcome = asked.as_ref().map_or_else(ToString::to_string, |_| "accepted".to_owned());
        services.audit(Phase::Outcome, "restore", "recover.instance", subject, &outcome).await?;
        if asked? == Started::Before {
            recovered::check_ours(services, self.recovery, &services.clients.instances().describe(&self.wanted.name).await?)?;
        }
        Ok(Stage::Asked { at })
    }

    /// The recorded settings, less what no call of ours can give: tags of AWS's own.
    async fn settings(&self) -> Result<InstanceSettings, ErrorReport> {
        let Some(of) = self.from.settings_of() else { return Ok(InstanceSettings::default()) };
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

/// What RDS restores an instance to its instant from, if it can by now. It must be the instance that was agreed to, and is asked for by its
/// id: RDS may have let its backups go since, and another may have taken its name.
fn source<'a>(
    backups: &'a [AutomatedBackup],
    wanted: &PlannedInstance,
    from: &FromInstant,
    now: Timestamp,
) -> Result<Option<Origin<'a>>, ErrorReport> {
    let (instance, at) = (wanted.replaces.as_str(), from.as_of);
    let gone = |why: &str| {
        let message = format!(
            "instance {instance} cannot be made as of {at} any more, as was agreed to: {why}; ask for another recovery, whose plan says what \
             it can be made from now"
        );
        ErrorReport::new(ErrorCode::RestoreRefused, message)
    };
    match source_of(backups, instance, at, now) {
        Err(why) => Err(gone(&why)),
        Ok((backup, _)) if backup.resource_id != from.resource_id => {
            Err(gone(&format!("its backups are of {} by now, and not of {}", backup.resource_id, from.resource_id)))
        }
        Ok((_, Reach::Soon)) => Ok(None),
        Ok((backup, Reach::Now)) => Ok(Some(Origin::InstantOf { resource_id: &backup.resource_id, at })),
    }
}

fn ms(from: Timestamp, to: Timestamp) -> i64 {
    i64::try_from(to.duration_since(from).as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use aws::RestoreWindow;
    use serde_json::json;

    use super::*;

    fn at(time: &str) -> Timestamp {
        format!("2026-11-23T{time}:00Z").parse().unwrap()
    }

    fn backup(resource_id: &str, is_kept: bool, latest: &str) -> AutomatedBackup {
        let window = RestoreWindow { earliest: at("02:00"), latest: at(latest) };
        AutomatedBackup { instance: "pool".into(), resource_id: resource_id.into(), is_kept, window }
    }

    /// What becomes of an instance that was planned to be made of db-1 as it was at 09:00, at 09:10.
    fn asked(backups: &[AutomatedBackup]) -> Result<Option<String>, String> {
        let from = FromInstant { resource_id: "db-1".into(), as_of: at("09:00"), settings_of: None };
        let made_from = Some(MadeFrom::Instant(from.clone()));
        let wanted = PlannedInstance {
            database: "d".into(),
            replaces: "pool".into(),
            name: "holdfast-recovery-1".into(),
            from: made_from,
        };
        match source(backups, &wanted, &from, at("09:10")) {
            Ok(origin) => Ok(origin.map(|origin| origin.to_string())),
            Err(report) => Err(report.to_string()),
        }
    }

    #[test]
    fn an_instance_of_an_instant_is_asked_for_by_its_id_whether_it_runs_or_is_gone() {
        let made = |of: &str| Ok(Some(format!("{of} at 2026-11-23T09:00:00Z")));
        assert_eq!(asked(&[backup("db-1", false, "09:05")]), made("db-1"));
        assert_eq!(asked(&[backup("db-1", true, "09:05")]), made("db-1"));
        assert_eq!(asked(&[backup("db-1", false, "08:55")]), Ok(None), "its log of then is on its way");
    }

    #[test]
    fn once_the_instance_of_the_register_cannot_be_made_no_other_is_waited_for() {
        let database = |id: &str| json!({ "id": id, "instance": format!("i-{id}"), "database": "d", "secret": "s" });
        let plan = Plan::parse(
            &json!({
                "version": 1, "environment": "test", "time_zone": "UTC",
                "register": { "database": "central", "query": "SELECT" },
                "databases": [database("central"), database("pool")],
                "rules": [{ "id": "r", "kind": "export", "classes": ["c"], "schedule": { "daily_at": "03:15" }, "rpo_minutes": 1500 }],
                "retention": { "keep_all_days": 7, "daily": 14, "weekly": 8, "monthly": 12, "yearly": 3, "min_proven": 1,
                               "max_expire_per_run": 100, "apply": false }
            })
            .to_string(),
        )
        .unwrap();
        let failed = || Stage::Failed { at: at("09:10"), message: "RDS keeps no automated backups of i-central".into() };
        let made = |database: &str, stage: Stage| MadeInstance { database: database.into(), name: "n".into(), stage };
        let refused = |central: Stage, pool: Stage| refuse_hopeless(&plan, &[made("pool", pool), made("central", central)]);
        refused(Stage::Asked { at: at("09:05") }, failed()).unwrap();
        let report = refused(failed(), Stage::Asked { at: at("09:05") }).unwrap_err();
        assert_eq!(report.code, ErrorCode::RestoreRefused);
        assert!(report.message.contains("database central cannot be made"), "{report}");
        assert!(report.message.contains("RDS keeps no automated backups of i-central"), "{report}");
    }

    #[test]
    fn an_instant_that_cannot_be_had_any_more_fails_by_name_and_no_other_instance_is_taken_for_it() {
        let refused = |backups: &[AutomatedBackup]| asked(backups).unwrap_err();
        assert!(refused(&[]).contains("instance pool cannot be made as of 2026-11-23T09:00:00Z any more"));
        assert!(refused(&[]).contains("RDS keeps no automated backups of pool"));
        assert!(refused(&[backup("db-1", true, "08:55")]).contains("pool is gone"));
        for other in [backup("db-2", false, "09:05"), backup("db-2", false, "08:55"), backup("db-2", true, "09:05")] {
            assert!(refused(&[other]).contains("its backups are of db-2 by now, and not of db-1"));
        }
    }
}
