//! The login role of one restore: it owns the staging copy and nothing else, and it goes with the restore.

use super::{
    super::{
        endpoint::{Endpoint, Password},
        ident::{Ident, literal},
        random,
        session::Session,
    },
    Job, names,
};
use crate::error::SourceError;

/// Bytes of randomness in its password.
const PASSWORD_BYTES: usize = 32;

/// Makes the role, or gives the one that is left from an earlier attempt a new password, and returns its login.
///
/// The account that runs the restore becomes a member, so that it may make databases and schemas the role's own; the role is a
/// member of nothing. The server gets the password's SCRAM verifier only, so that it cannot stand in a statement log.
pub(super) async fn create(job: &Job<'_>, session: &Session) -> Result<(String, Password), SourceError> {
    let role = &job.names.role;
    let password =
        random::hex(PASSWORD_BYTES).map_err(|error| SourceError::answer(session.place(), "drawing a password", error))?;
    let verifier = literal(&postgres_protocol::password::scram_sha_256(password.as_bytes()));
    let verb = if names::has_role(session, role).await? { "ALTER" } else { "CREATE" };
    let sql = format!(
        "{verb} ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD {verifier}; GRANT {role} TO CURRENT_USER"
    );
    session.batch("making the restore's role", &sql).await?;
    Ok((role.as_str().to_owned(), Password::new(password)))
}

/// Lets the role connect to a database that does not let everybody.
pub(super) async fn let_connect(session: &Session, role: &Ident, endpoint: &Endpoint) -> Result<(), SourceError> {
    let database = Ident::new(endpoint.database.clone())?;
    #[derive(serde::Deserialize)]
    struct May {
        may: bool,
    }
    let sql = format!("SELECT has_database_privilege({}, current_database(), 'CONNECT') AS may", literal(role.as_str()));
    let may: May = session.select_one("asking whether the restore's role may connect", &sql).await?;
    if may.may {
        return Ok(());
    }
    session.batch("letting the restore's role connect", &format!("GRANT CONNECT ON DATABASE {database} TO {role}")).await
}
