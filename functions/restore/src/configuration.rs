//! A tenant's settings: what is missing is made again, what differs is put right, and values are never touched (ADR 8).

use aws::{AwsError, Started};
use domain::{ErrorCode, ErrorReport, RequestId, request::Findings};
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
pub(crate) async fn carry_out(work: &Work<'_>, _: RequestId, approved: &str) -> Result<Carried, ErrorReport> {
    let before = hold(work).await?;
    let mut notes = before.reissues(approved);
    // Settings about which nothing more is done: refused by their service, or suddenly there.
    let (mut refused, mut appeared) = (Vec::new(), Vec::new());
    let changes = before.remaining(approved)?;
    for change in &changes {
        let subject = subject(change);
        if refused.contains(&subject) || appeared.contains(&subject) {
            continue;
        }
        match make(work, change).await {
            Ok(Started::Now) => {}
            // Made by another delivery of this step, which goes on with it, or by somebody else: the last look tells.
            Ok(Started::Before) => appeared.push(subject),
            // Trying again would not help, and the other settings are none the worse for it.
            Err(error @ (AwsError::KeyUnusable { .. } | AwsError::Unusable { .. })) => {
                notes.push(format!("by hand: {subject} could not be put right: {}", ErrorReport::from(error).message));
                refused.push(subject);
            }
            Err(error) => return Err(error.into()),
        }
    }
    let after = hold(work).await?;
    let unfinished: Vec<String> =
        after.unfinished(approved).into_iter().filter(|name| !refused.contains(&name.as_str())).collect();
    if !unfinished.is_empty() {
        let message = format!(
            "settings are not what this restore made of them: {}; somebody else may be changing them; look, and make a new request",
            first_few(&unfinished)
        );
        return Err(ErrorReport::new(ErrorCode::ContentMismatch, message));
    }
    notes.extend(after.notes());
    Ok(Carried { changed: changes.len() > refused.len(), rows: after.matching(), undo_copy: None, notes })
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
