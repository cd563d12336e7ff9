//! Gives a staged copy to the owners, grants and settings that the recovery point recorded.
//!
//! The archive is replayed without owners, by a role that could not give things away. These statements run as the account
//! that carries the restore out, and are made from recorded names alone: no text of the tenant's is replayed.

use super::{
    super::{
        facts::{Grant, InventoryEntry},
        ident::{Ident, literal},
        inventory,
        session::Session,
    },
    Job, grants,
};
use crate::error::SourceError;

/// Kinds whose owner can be changed on their own, with the word that names them in `ALTER`.
const OWNED_KINDS: &[(&str, &str)] = &[
    ("table", "TABLE"),
    ("view", "VIEW"),
    ("materialized view", "MATERIALIZED VIEW"),
    ("sequence", "SEQUENCE"),
    ("function", "FUNCTION"),
    ("procedure", "PROCEDURE"),
    ("aggregate", "AGGREGATE"),
    ("type", "TYPE"),
    ("schema", "SCHEMA"),
    ("collation", "COLLATION"),
    ("statistics object", "STATISTICS"),
    ("operator", "OPERATOR"),
    ("conversion", "CONVERSION"),
    ("text search configuration", "TEXT SEARCH CONFIGURATION"),
    ("text search dictionary", "TEXT SEARCH DICTIONARY"),
];

/// Hands everything that the restore's role owns in this database to the main owner, then what had another owner to that one.
///
/// Runs in a transaction, when the scope's names are the recorded ones. Returns what could not be granted, one line each.
pub(super) async fn hand_over(job: &Job<'_>, session: &Session, main_owner: &str) -> Result<Vec<String>, SourceError> {
    let owner = Ident::new(main_owner)?;
    containers_first(job, session, &owner).await?;
    session.batch("handing the staged copy to its owner", &format!("REASSIGN OWNED BY {} TO {owner}", job.names.role)).await?;
    let found = inventory::read(session, job.scope).await?;
    for entry in &job.facts.inventory {
        let same = |other: &&InventoryEntry| (&other.kind, &other.identity) == (&entry.kind, &entry.identity);
        let (Some(found), Some(recorded)) = (found.iter().find(same), &entry.owner) else { continue };
        let word = OWNED_KINDS.iter().find(|(kind, _)| *kind == entry.kind).map(|(_, word)| word);
        if let Some(word) = word
            && found.owner.as_ref() != Some(recorded)
        {
            give_to(session, entry, word, &Ident::new(recorded.clone())?).await?;
        }
    }
    let notes = grants::set(job, session).await?;
    grants::set_defaults(job, session).await?;
    Ok(notes)
}

/// Gives the database and the schemas to the owner. Functions and types only go to somebody who may create in their schema, and
/// `REASSIGN OWNED` takes what it finds in no particular order.
pub(super) async fn containers_first(job: &Job<'_>, session: &Session, owner: &Ident) -> Result<(), SourceError> {
    #[derive(serde::Deserialize)]
    struct Container {
        kind: String,
        name: Ident,
    }
    let role = literal(job.names.role.as_str());
    let sql = format!(
        "SELECT 'DATABASE' AS kind, datname AS name FROM pg_database JOIN pg_roles r ON r.oid = datdba
         WHERE datname = current_database() AND rolname = {role}
         UNION ALL
         SELECT 'SCHEMA', nspname FROM pg_namespace JOIN pg_roles r ON r.oid = nspowner WHERE rolname = {role}
         ORDER BY 1, 2"
    );
    let containers: Vec<Container> = session.select("looking for the staged copy's schemas", &sql).await?;
    for Container { kind, name } in containers {
        session.batch(format!("handing {name} to its owner"), &format!("ALTER {kind} {name} OWNER TO {owner}")).await?;
    }
    Ok(())
}

/// Gives one object to its owner. The server wants an owner who could have made it there, which need not be so: the right is
/// granted for the moment.
async fn give_to(session: &Session, entry: &InventoryEntry, word: &str, owner: &Ident) -> Result<(), SourceError> {
    #[derive(serde::Deserialize)]
    struct May {
        may: bool,
    }
    let (schema, owner_literal) = (&entry.schema, literal(owner.as_str()));
    let sql = format!("SELECT has_schema_privilege({owner_literal}, {}, 'CREATE') AS may", literal(schema.as_str()));
    let doing = format!("giving {} {} to its owner", entry.kind, entry.identity);
    let may: May = session.select_one(&doing, &sql).await?;
    // An identity comes quoted and qualified from the server.
    let mut sql = format!("ALTER {word} {} OWNER TO {owner}", entry.identity);
    if !may.may && entry.kind != "schema" {
        sql = format!("GRANT CREATE ON SCHEMA {schema} TO {owner}; {sql}; REVOKE CREATE ON SCHEMA {schema} FROM {owner}");
    }
    session.batch(doing, &sql).await
}

pub(super) fn grantee(grant: &Grant) -> Result<String, SourceError> {
    Ok(match &grant.grantee {
        Some(name) => Ident::new(name.clone())?.to_string(),
        None => "PUBLIC".to_owned(),
    })
}

/// Gives a staging database the recorded privileges, settings, limit and comment, which no archive of its content holds.
///
/// Runs in a transaction. Returns what could not be set, one line each.
pub(super) async fn database_properties(job: &Job<'_>, session: &Session, database: &Ident) -> Result<Vec<String>, SourceError> {
    let properties = &job.facts.properties;
    let mut statements = Vec::new();
    if let Some(grants) = &properties.grants {
        statements.push(format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC, {}", Ident::new(properties.owner.clone())?));
        for grant in grants {
            let option = if grant.grantable { " WITH GRANT OPTION" } else { "" };
            statements.push(format!("GRANT {} ON DATABASE {database} TO {}{option}", grant.privilege, grantee(grant)?));
        }
    }
    statements.push(format!("ALTER DATABASE {database} CONNECTION LIMIT {}", properties.connection_limit));
    if let Some(comment) = &properties.comment {
        statements.push(format!("COMMENT ON DATABASE {database} IS {}", literal(comment)));
    }
    session.batch("giving the database its privileges", &statements.join("; ")).await?;
    let mut notes = Vec::new();
    for (role, setting) in &properties.settings {
        let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
        let subject = match role {
            Some(role) => format!("ROLE {} IN DATABASE {database}", Ident::new(role.clone())?),
            None => format!("DATABASE {database}"),
        };
        let sql = format!("SAVEPOINT setting; ALTER {subject} SET {} = {}", setting_name(name)?, setting_value(name, value));
        match session.batch(format!("setting {name}"), &sql).await {
            // Some settings only a superuser may make. The data does not depend on them.
            Err(SourceError::Statement { source, .. }) => {
                session.batch("going on without a setting", "ROLLBACK TO SAVEPOINT setting").await?;
                notes.push(format!("setting {} of the database was not made: {source}", name.escape_debug()));
            }
            other => other?,
        }
    }
    Ok(notes)
}

/// A custom setting's name has a dot between two names.
fn setting_name(name: &str) -> Result<String, SourceError> {
    let parts: Result<Vec<_>, _> = name.split('.').map(Ident::new).collect();
    Ok(parts?.iter().map(ToString::to_string).collect::<Vec<_>>().join("."))
}

/// Settings that are lists are recorded as one text that is already quoted for a list; any other is one literal.
fn setting_value(name: &str, value: &str) -> String {
    const LISTS: [&str; 5] =
        ["search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries", "DateStyle"];
    if !LISTS.contains(&name) {
        return literal(value);
    }
    let items: Vec<_> = value.split(',').map(|item| literal(item.trim().trim_matches('"'))).collect();
    items.join(", ")
}
