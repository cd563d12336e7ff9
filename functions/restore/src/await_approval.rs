//! The runbook waits: its token is kept for the approval, and the subscribers are told.

use domain::{
    ErrorReport, RequestId,
    alert::AlertClass,
    request::{Preview, RequestState, RestoreRequest},
};
use runtime::services::{Said, Services};

use crate::audited::audited;

/// Records the token that lets the runbook go on.
pub(crate) async fn await_approval(services: &Services, id: RequestId, task_token: String) -> Result<&'static str, ErrorReport> {
    let asked = services.catalog.request(id).await?.value;
    let waits = Box::pin(wait(services, &asked, task_token));
    let request = audited(services, "restore.await_approval", &asked, waits, |request| request.state.name().to_owned()).await?;
    Ok(request.state.name())
}

async fn wait(services: &Services, asked: &RestoreRequest, task_token: String) -> Result<RestoreRequest, ErrorReport> {
    let plan = services.plan().await?;
    let needed = services.approvals_needed(&plan, asked).await?;
    let request = services.catalog.advance(asked.id, |request| request.await_approval(task_token)).await?.value;
    if let RequestState::AwaitingApproval { preview, .. } = &request.state {
        let (id, said) = (request.id.to_string(), said(&request, preview, needed));
        if let Err(report) = services.raise(&plan, AlertClass::RestoreAwaitsApproval, &id, said).await {
            // The request waits all the same, and reconcile tells what could not be told. With this step the token would fail that is kept
            // by now, and whoever agrees before it is begun again would agree to nothing.
            tracing::error!(request.id = id, error.code = report.code.name(), "nobody was asked to agree: {}", report.message);
        }
    }
    Ok(request)
}

fn said(request: &RestoreRequest, preview: &Preview, needed: u8) -> Said {
    let (all, unit) = (preview.totals(), request.kind.unit());
    let RestoreRequest { id, requested_by, reason, .. } = request;
    let others = if needed == 1 { "another person agrees".to_owned() } else { format!("{needed} other people agree") };
    let takes = preview.forecast.map_or_else(String::new, |forecast| format!("; how long it will take: {}", forecast.in_words()));
    Said {
        summary: format!("{} asks: {}, because: {reason}", requested_by.arn, request.in_words()),
        meaning: format!(
            "{} {unit} would come back, {} be overwritten, {} be destroyed; nothing happens until {others}{takes}",
            all.returned, all.overwritten, all.destroyed
        ),
        remedy: format!(
            "look at `holdfast restore preview {id}`, then, as another person, `holdfast restore approve {id}`; without it the request lapses"
        ),
    }
}

#[cfg(test)]
mod tests {
    use domain::{
        forecast::Forecast,
        identity::Identity,
        point::Kind,
        request::{Findings, Selection, TableEffect},
    };
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn those_who_are_asked_are_told_who_asks_what_why_how_long_and_what_to_type() {
        let ana = Identity { arn: "arn:aws:iam::1:user/ana".into(), principal: "ana".into(), account: "1".into() };
        let id = "rq_00000000-0000-0000-0000-000000000001".parse().unwrap();
        let point = ("rp_00000000-0000-0000-0000-000000000002".parse().unwrap(), Kind::Database);
        let asked = RestoreRequest::new(id, "acme".parse().unwrap(), point, "ticket 4711".into(), ana, Timestamp::UNIX_EPOCH);
        let selection = Selection { tables: vec!["app.orders".into()], columns: vec![] };
        let asked = RestoreRequest { selection, ..asked };
        let table = TableEffect { table: "app.orders".into(), returned: 1, overwritten: 2, destroyed: 3, unchanged: 4 };
        let found = Findings { tables: vec![table.clone(), table], notes: vec![], live_digest: "l".into() };
        let forecast = Some(Forecast::TooFew { samples: 3, needed: 5 });
        let preview = Preview::new(&asked, "sha", found, forecast, Timestamp::UNIX_EPOCH);
        let said = said(&asked, &preview, 2);
        assert_eq!(
            said.summary,
            "arn:aws:iam::1:user/ana asks: restore tenant acme in place from database recovery point \
             rp_00000000-0000-0000-0000-000000000002, only app.orders, because: ticket 4711"
        );
        assert_eq!(
            said.meaning,
            "2 rows would come back, 4 be overwritten, 6 be destroyed; nothing happens until 2 other people agree; \
             how long it will take: unknown: 3 measured, 5 needed"
        );
        assert!(said.remedy.contains("holdfast restore approve rq_"), "{}", said.remedy);
    }
}
