//! Settings that a restore of an instance loses, given back as far as calls of this function can.

use aws::{Instance, InstanceSettings, Remedy, settings_lost};
use catalog::audit::Phase;
use domain::{Class, ErrorReport};
use runtime::services::Services;

/// What needs a role to be passed to RDS, which this function may not: whoever may pass any role could take any right.
fn without_roles(recorded: &InstanceSettings, found: &InstanceSettings) -> InstanceSettings {
    InstanceSettings {
        roles: found.roles.clone(),
        monitoring_role: found.monitoring_role.clone(),
        monitoring_interval_s: found.monitoring_interval_s,
        // What groups set is asked of RDS elsewhere; the groups' names are given back here.
        parameters: found.parameters.clone(),
        ..recorded.clone()
    }
}

/// Whether there is anything that a call could give back.
pub(super) fn is_wanted(recorded: &InstanceSettings, instance: &Instance) -> bool {
    let lost = settings_lost(&without_roles(recorded, &instance.settings), &instance.settings);
    lost.iter().any(|lost| matches!(lost.remedy, Remedy::Modify | Remedy::Tag))
}

/// Asks RDS to give back what was recorded. What it refuses is told, and the recovery goes on: data matters more.
///
/// # Errors
/// If the call failed for a reason that may pass.
pub(super) async fn give_back(
    services: &Services,
    subject: &str,
    instance: &Instance,
    recorded: &InstanceSettings,
) -> Result<Option<String>, ErrorReport> {
    let wanted = without_roles(recorded, &instance.settings);
    let names: Vec<&str> = settings_lost(&wanted, &instance.settings).iter().map(|lost| lost.setting).collect();
    let what = format!("{}: {}", instance.name, names.join(", "));
    services.audit(Phase::Intent, "restore", "recover.settings", subject, &what).await?;
    let asked = services.clients.instances().reapply(instance, &wanted).await.map_err(ErrorReport::from);
    let outcome = asked.as_ref().map_or_else(ToString::to_string, |()| "accepted".to_owned());
    services.audit(Phase::Outcome, "restore", "recover.settings", subject, &outcome).await?;
    match asked {
        Ok(()) => Ok(None),
        Err(report) => match report.code.class() {
            Class::Transient | Class::Throttled | Class::Conflict => Err(report),
            Class::Permanent | Class::Integrity | Class::Denied => Ok(Some(report.to_string())),
        },
    }
}

/// What it still lacks, one line each, with who can give it back.
pub(super) fn lacks(recorded: &InstanceSettings, instance: &Instance) -> Vec<String> {
    let recorded = InstanceSettings { parameters: instance.settings.parameters.clone(), ..recorded.clone() };
    let line = |lost: &aws::Lost| {
        let shown = |text: &str| if text.is_empty() { "nothing".to_owned() } else { format!("`{text}`") };
        let how = match lost.remedy {
            Remedy::Modify | Remedy::Tag => "asked for; look again later, then by hand",
            Remedy::AddRole | Remedy::ByHand => "by hand",
            Remedy::RestoreAnew => "only by another restore",
        };
        format!("{} was {} and is {} ({how})", lost.setting, shown(&lost.recorded), shown(&lost.found))
    };
    settings_lost(&recorded, &instance.settings).iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use aws::Tags;

    use super::*;

    fn instance(settings: InstanceSettings) -> Instance {
        Instance {
            name: "i".into(),
            arn: "a".into(),
            resource_id: "r".into(),
            status: "available".into(),
            endpoint: None,
            engine: "postgres".into(),
            engine_version: "15".into(),
            created_at: None,
            settings,
            tags: Tags::new(),
        }
    }

    #[test]
    fn no_role_is_ever_passed_and_what_needs_one_is_listed() {
        let recorded = InstanceSettings {
            roles: BTreeMap::from([("s3Import".to_owned(), "arn:role".to_owned())]),
            monitoring_role: Some("arn:monitor".into()),
            monitoring_interval_s: 60,
            ..InstanceSettings::default()
        };
        let found = instance(InstanceSettings::default());
        assert!(!is_wanted(&recorded, &found), "nothing is left that a call could give back");
        let lacks = lacks(&recorded, &found);
        assert!(lacks.iter().any(|line| line.starts_with("roles was `s3Import=arn:role` and is nothing")), "{lacks:?}");
        assert!(lacks.iter().any(|line| line.starts_with("monitoring_role")), "{lacks:?}");

        let protected = InstanceSettings { deletion_protection: true, ..recorded };
        assert!(is_wanted(&protected, &found));
    }
}
