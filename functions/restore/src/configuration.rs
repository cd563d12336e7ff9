//! A tenant's settings: what is missing is made again, what differs is put right, and values are never touched (ADR 8).

use aws::{AwsError, Started};
use domain::{Coded, ErrorCode, ErrorReport, request::Findings};
use runtime::services::first_few;
use sources::configuration::{self, Change, Comparison, Prefixes, Setting};

use crate::work::{Carried, Work};

/// Counts what a restore would do.
pub(crate) async fn compare(work: &Work<'_>) -> Result<Findings, ErrorReport> {
    let found = hold(work).await?;
    Ok(Findings { tables: found.tables(), notes: found.notes(), live_digest: found.live_digest()? })
}

/// Brings them back, and describes them again to see that they are.
///
/// There is no lock here: every change is one that may be made twice, none is made to a setting that is not on the way that was
/// approved, and the last look is at what is there in the end, whoever made it.
pub(crate) async fn carry_out(work: &Work<'_>, approved: &str) -> Result<Carried, ErrorReport> {
    let before = hold(work).await?;
    // Settings about which nothing more is done: refused by their service, or suddenly there.
    let (mut refused, mut appeared) = (Vec::new(), Vec::new());
    let (mut done, mut refusals) = (0_u64, Vec::new());
    let changes = before.remaining(approved)?;
    for change in &changes {
        let subject = subject(change);
        if refused.contains(&subject) || appeared.contains(&subject) {
            continue;
        }
        match make(work, change).await {
            Ok(Started::Now) => done += 1,
            // Made by another delivery, by this one if the answer was lost, or by somebody else: the last look tells.
            Ok(Started::Before) => appeared.push(subject),
            Err(error) => {
                refusals.push(refusal(subject, error)?);
                refused.push(subject);
            }
        }
    }
    let after = hold(work).await?;
    if let Some(first) = refusals.first().filter(|_| done == 0 && !after.has_begun(approved)) {
        let told: Vec<String> = refusals.iter().map(|refusal| refusal.message.clone()).collect();
        return Err(ErrorReport::new(first.code, format!("nothing of this restore was done: {}", first_few(&told))));
    }
    let unfinished: Vec<String> =
        after.unfinished(approved).into_iter().filter(|name| !refused.contains(&name.as_str())).collect();
    if let Some(name) = unfinished.iter().find(|name| appeared.contains(&name.as_str())) {
        let message = format!(
            "secret {name} was made while this restore was about to make it: by another delivery, or by a call of this one whose \
             answer was lost; the next delivery goes on from what is there"
        );
        return Err(ErrorReport::new(ErrorCode::Fenced, message));
    }
    if !unfinished.is_empty() {
        let message = format!(
            "settings are not what this restore made of them: {}; somebody else may be changing them; look, and make a new request",
            first_few(&unfinished)
        );
        return Err(ErrorReport::new(ErrorCode::ContentMismatch, message));
    }
    let by_hand = refusals.into_iter().map(|refusal| format!("by hand: {}", refusal.message));
    let notes = after.reissues(approved).into_iter().chain(by_hand).chain(after.left()).collect();
    let not_as_recorded = after.not_as_recorded();
    Ok(Carried { changed: done > 0, rows: after.matching(), not_as_recorded, undo_copy: None, notes })
}

/// What there is to say about a setting that its service refuses to change: trying again would not help, and the other
/// settings are none the worse for it.
///
/// # Errors
/// The error itself, if it is not about this one setting.
fn refusal(subject: &str, error: AwsError) -> Result<ErrorReport, ErrorReport> {
    let code = error.code();
    let why = match error {
        AwsError::Unusable { call, answer } => format!("{} was refused: {answer}", call.action),
        AwsError::KeyUnusable { .. } | AwsError::Denied { .. } | AwsError::NotFound { .. } | AwsError::QuotaReached { .. } => {
            ErrorReport::from(error).message
        }
        AwsError::Throttled { .. } | AwsError::Unavailable { .. } => return Err(error.into()),
    };
    Ok(ErrorReport::new(code, format!("{subject} could not be put right: {why}")))
}

/// The recovery point's settings against those that are live under the tenant's names by the present plan.
async fn hold(work: &Work<'_>) -> Result<Comparison, ErrorReport> {
    let prefixes = prefixes(work)?;
    let recorded = configuration::read(&work.reader).await?;
    let known = recorded.iter().filter_map(|setting| match setting {
        // Others are refused below, unasked for.
        Setting::Secret(secret) if secret.name.starts_with(&prefixes.secrets) => Some(secret.name.clone()),
        _ => None,
    });
    let clients = &work.services.clients;
    let secrets = clients.secrets().metadata(&prefixes.secrets, known).await?;
    let parameters = clients.parameters().metadata(&prefixes.parameters).await?;
    let live = parameters.into_iter().map(Setting::Parameter).chain(secrets.into_iter().map(Setting::Secret)).collect();
    Ok(configuration::compare(&prefixes, recorded, live)?)
}

fn prefixes(work: &Work<'_>) -> Result<Prefixes, ErrorReport> {
    let scope = work.plan.configuration.as_ref().ok_or_else(|| {
        let message =
            "the backup plan has no `configuration`, so nobody can say which settings are the tenant's; nothing was done";
        ErrorReport::new(ErrorCode::PlanInvalid, message)
    })?;
    let of = |prefix: &str| prefix.replace("{tenant}", work.tenant.id.as_str());
    Ok(Prefixes { parameters: of(&scope.parameters), secrets: of(&scope.secrets) })
}

async fn make(work: &Work<'_>, change: &Change) -> Result<Started, AwsError> {
    let (parameters, secrets) = (work.services.clients.parameters(), work.services.clients.secrets());
    match change {
        Change::Create(secret) => return secrets.create(secret).await,
        Change::TakeBack { secret } => secrets.take_back(secret).await?,
        Change::TagSecret { secret, tags } => secrets.tag(secret, tags).await?,
        Change::TagParameter { parameter, tags } => parameters.tag(parameter, tags).await?,
        Change::SetPolicy { secret, policy } => secrets.set_policy(secret, policy).await?,
    }
    Ok(Started::Now)
}

fn subject(change: &Change) -> &str {
    match change {
        Change::Create(secret) => &secret.name,
        Change::TakeBack { secret } | Change::TagSecret { secret, .. } | Change::SetPolicy { secret, .. } => secret,
        Change::TagParameter { parameter, .. } => parameter,
    }
}

#[cfg(test)]
mod tests {
    use aws::{Answer, Call};

    use super::*;

    fn failed(sort: fn(Call, Answer) -> AwsError) -> Result<ErrorReport, ErrorReport> {
        let call = Call { action: "secretsmanager:TagResource", subject: "p/acme/mail".to_owned() };
        let answer = Answer { code: "SomeException".to_owned(), message: "no".to_owned(), status: Some(400) };
        refusal("p/acme/mail", sort(call, answer))
    }

    #[test]
    fn what_one_setting_is_refused_for_is_noted_and_what_may_pass_ends_the_delivery() {
        let noted = failed(|call, answer| AwsError::Unusable { call, answer }).unwrap();
        assert_eq!(
            noted.message,
            "p/acme/mail could not be put right: secretsmanager:TagResource was refused: SomeException: no"
        );
        let noted = failed(|call, answer| AwsError::Denied { call, answer }).unwrap();
        assert_eq!(noted.code, ErrorCode::NotPermitted);
        assert!(noted.message.contains("is not permitted"), "{noted}");
        assert!(failed(|call, answer| AwsError::KeyUnusable { call, answer }).is_ok());
        assert!(failed(|call, answer| AwsError::NotFound { call, answer }).is_ok());
        assert_eq!(failed(|call, answer| AwsError::Throttled { call, answer }).unwrap_err().code, ErrorCode::Throttled);
        assert_eq!(failed(|call, answer| AwsError::Unavailable { call, answer }).unwrap_err().code, ErrorCode::StoreUnavailable);
    }
}
