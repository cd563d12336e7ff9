//! What one person carried out alone is looked at by another, in time: who does not is told of, and told of again.

use domain::{Coded, ErrorCode, ErrorReport, RequestId, alert::AlertClass, caps, plan::Plan, request::RestoreRequest};
use runtime::services::{Said, Services};

/// Tells of every review that is overdue, once for each time that it should have been done, and closes what demanded one that is not needed.
pub(crate) async fn look(services: &Services, plan: &Plan) -> Result<(), ErrorReport> {
    for listed in services.catalog.requests_to_review(caps::LISTED_POINTS_MAX).await? {
        // The listing may lag behind; the decision is made on the record itself.
        let request = services.catalog.request(listed.id).await?.value;
        overdue(services, plan, &request).await?;
    }
    settle(services).await
}

async fn overdue(services: &Services, plan: &Plan, request: &RestoreRequest) -> Result<(), ErrorReport> {
    let Some(review) = &request.review else { return Ok(()) };
    let times = review.times_overdue(services.clock.now());
    if times == 0 {
        return Ok(());
    }
    let id = request.id.to_string();
    let last_told = services.catalog.alert(AlertClass::ReviewOverdue, &id).await?;
    if last_told.is_some_and(|last| review.times_overdue(last.alert.opened_at) < times) {
        // A new one is told, where one that is still open would be known already.
        services.all_clear(AlertClass::ReviewOverdue, &id).await?;
    }
    let again = if times == 1 { String::new() } else { format!(" (overdue for {times} days)") };
    let said = Said {
        summary: format!(
            "nobody has reviewed since {} what {} did alone: {}{again}",
            review.demanded_at,
            review.of.arn,
            request.in_words()
        ),
        meaning: "a tenant's data was restored on one person's word, and no other has looked at it".to_owned(),
        remedy: format!(
            "look at `holdfast restore watch {id}` and the audit trail; then, as another person, `holdfast restore review {id} --finding …`"
        ),
    };
    services.raise(plan, AlertClass::ReviewOverdue, &id, said).await
}

/// Closes alerts whose request was reviewed while the alert could not be closed, or ended without anybody having gone ahead alone.
async fn settle(services: &Services) -> Result<(), ErrorReport> {
    for record in services.catalog.open_alerts(caps::LISTED_POINTS_MAX).await? {
        let (class, subject) = (record.alert.class, &record.alert.subject);
        if !matches!(class, AlertClass::BreakGlass | AlertClass::ReviewOverdue) {
            continue;
        }
        // Of something else than a restore request: not ours to settle.
        let Ok(id) = subject.parse::<RequestId>() else { continue };
        match services.catalog.request(id).await {
            Ok(request) if is_settled(&request.value) => services.all_clear(class, subject).await?,
            Ok(_) => {}
            Err(error) if error.code() == ErrorCode::UnknownRequest => {
                tracing::warn!(alert.class = class.name(), alert.subject = subject, "an alert of a request that is not there");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Whether nobody has to look at it, or somebody did. One that may still go ahead is left alone: its page comes before its record.
fn is_settled(request: &RestoreRequest) -> bool {
    match &request.review {
        Some(review) => !review.is_pending(),
        None => request.state.is_final(),
    }
}

#[cfg(test)]
mod tests {
    use domain::{
        identity::Identity,
        point::Kind,
        request::{Findings, Preview},
    };
    use jiff::Timestamp;

    use super::*;

    fn person(name: &str) -> Identity {
        Identity { arn: format!("arn:aws:iam::1:user/{name}"), principal: name.into(), account: "1".into() }
    }

    #[test]
    fn a_page_stays_open_until_the_review_and_goes_if_there_was_nothing_to_review() {
        let at: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let point = ("rp_00000000-0000-0000-0000-000000000002".parse().unwrap(), Kind::Database);
        let id = "rq_00000000-0000-0000-0000-000000000001".parse().unwrap();
        let asked = RestoreRequest::new(id, "acme".parse().unwrap(), point, "gone".into(), person("ana"), at);
        let found = Findings { tables: vec![], notes: vec![], live_digest: "live".into() };
        let preview = Preview::new(&asked, "sha", found, None, at);
        let digest = preview.digest.clone();
        let waiting = asked.preview(preview).unwrap().await_approval("token".into()).unwrap();
        assert!(!is_settled(&waiting), "told, and perhaps about to be recorded");
        let report = ErrorReport::new(ErrorCode::ApprovalInvalid, "m");
        assert!(is_settled(&waiting.clone().fail(&report, at).unwrap()), "it was told and never recorded");
        let broken = waiting.break_glass(person("ana"), &digest, "down".into(), at).unwrap();
        let failed = broken.fail(&report, at).unwrap();
        assert!(!is_settled(&failed));
        assert!(is_settled(&failed.reviewed(person("ben"), "fine".into(), at).unwrap()));
    }
}
