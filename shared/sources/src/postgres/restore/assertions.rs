//! Asks what the plan asserts of restored data, where nothing can be written: as a role without rights worth having, in a transaction that
//! only reads, with a time limit. The data may hold functions of a tenant that the question calls.

use std::collections::BTreeSet;

use domain::{
    TenantId,
    assertion::{Assertion, TENANT},
    caps,
};
use serde::Deserialize;
use tokio_postgres::types::ToSql;

use super::{
    super::{
        endpoint::Endpoint,
        ident::{Ident, list, literal},
        random,
        session::Session,
    },
    Job, RestoreId, Staged,
    check::summarise,
    names, role,
};
use crate::error::{Phase, SourceError};

/// The role that asks on a clone. It goes with the clone.
const ROLE: &str = "hf_ask_";

/// Asks a job's assertions of its staging copy, as the restore's role.
pub(super) async fn ask_staged(job: &Job<'_>, staged: &Staged) -> Result<(), SourceError> {
    if job.assertions.is_empty() {
        return Ok(());
    }
    // Whatever the staging schema is called, a table's bare name finds it.
    let schemas: BTreeSet<_> = match &staged.schema {
        Some(schema) => BTreeSet::from([schema.to_string()]),
        None => job.facts.tables.iter().map(|table| table.name.schema.to_string()).collect(),
    };
    let schemas: Vec<String> = schemas.into_iter().collect();
    ask_all(&staged.endpoint, &job.assertions, Some(job.scope.tenant()), &schemas).await
}

/// Asks assertions of a database on a clone that nobody else uses, as a role made for this that may read everything and nothing else.
///
/// Without assertions it only makes sure that the database answers.
///
/// # Errors
/// [`SourceError::Asserted`] if an answer is wrong, [`SourceError::Unasked`] if a question cannot be asked.
pub async fn ask_clone(endpoint: &Endpoint, id: &RestoreId, assertions: &[Assertion]) -> Result<(), SourceError> {
    let session = Session::open(endpoint, Phase::Reading).await?;
    let made = async {
        match assertions {
            [] => Ok(None),
            _ => make_role(&session, endpoint, id).await.map(Some),
        }
    }
    .await;
    session.close().await;
    match made? {
        Some(reader) => ask_all(&reader, assertions, None, &[]).await,
        None => Ok(()),
    }
}

async fn make_role(session: &Session, endpoint: &Endpoint, id: &RestoreId) -> Result<Endpoint, SourceError> {
    let role = Ident::new(format!("{ROLE}{id}"))?;
    let password = random::hex(32).map_err(|error| SourceError::answer(session.place(), "drawing a password", error))?;
    let verifier = literal(&postgres_protocol::password::scram_sha_256(password.as_bytes()));
    // Who is no superuser may not even repeat that a role is none: one that is left from an earlier attempt only gets a new password.
    let made = match names::has_role(session, &role).await? {
        true => format!("ALTER ROLE {role} PASSWORD {verifier}"),
        false => {
            format!("CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD {verifier}")
        }
    };
    let sql = format!("{made}; GRANT pg_read_all_data TO {role}");
    session.batch("making the role that asks assertions", &sql).await?;
    role::let_connect(session, &role, endpoint).await?;
    Ok(endpoint.with_login(role.as_str(), super::super::endpoint::Password::new(password)))
}

async fn ask_all(
    endpoint: &Endpoint,
    assertions: &[Assertion],
    tenant: Option<&TenantId>,
    schemas: &[String],
) -> Result<(), SourceError> {
    let session = Session::open(endpoint, Phase::Reading).await?;
    let asked = async {
        let mut wrong = Vec::new();
        for assertion in assertions {
            let found = ask(&session, assertion, tenant, schemas).await.map_err(|source| SourceError::Unasked {
                place: session.place().clone(),
                assertion: assertion.name.clone(),
                source: Box::new(source),
            })?;
            wrong.extend(assertion.failure(found.as_deref()));
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(SourceError::Asserted { place: session.place().clone(), what: summarise(&wrong) })
        }
    }
    .await;
    session.close().await;
    asked
}

/// The answer to one question, cut to what may be told; `None` is null.
async fn ask(
    session: &Session,
    assertion: &Assertion,
    tenant: Option<&TenantId>,
    schemas: &[String],
) -> Result<Option<String>, SourceError> {
    #[derive(Deserialize)]
    struct Answer {
        value: Option<String>,
    }
    let path: Vec<&str> = ["pg_catalog"].into_iter().chain(schemas.iter().map(String::as_str)).collect();
    let begin = format!(
        "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {}; SET LOCAL search_path = {}",
        caps::ASSERTION_AT_MOST_MS,
        list(path)
    );
    session.batch("beginning to ask", &begin).await?;
    // The line break ends a comment that the question may end with. One more character than is told would tell that it was cut.
    let question = assertion.sql.replace(TENANT, "($1::text)");
    let sql = format!("SELECT left(({question}\n)::text, {}) AS value", caps::ASSERTED_VALUE_CHARS_MAX);
    let tenant = tenant.filter(|_| assertion.sql.contains(TENANT)).map(|tenant| tenant.as_str().to_owned());
    let parameters: Vec<&(dyn ToSql + Sync)> = tenant.iter().map(|tenant| tenant as &(dyn ToSql + Sync)).collect();
    let answers: Result<Vec<Answer>, _> = session.select_with("asking it", &sql, &parameters).await;
    session.batch("ending to ask", "ROLLBACK").await?;
    Ok(answers?.into_iter().next().and_then(|answer| answer.value))
}
