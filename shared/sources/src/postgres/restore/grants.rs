//! Sets the privileges that the recovery point recorded, once everything has its owner.
//!
//! An archive's own grants would be made by the restore's role. They would merge with the owners' rights when these are handed over:
//! what an owner gave up would come back, and what a later owner's predecessor was granted would go.

use std::collections::BTreeMap;

use super::{
    super::{
        facts::{DefaultGrant, InventoryEntry},
        ident::Ident,
        inventory,
        session::Session,
    },
    Job,
    owners::grantee,
};
use crate::error::SourceError;

/// Kinds with privileges, with the word that names them in `GRANT`. Of the columns of each, too.
const GRANTED_KINDS: &[(&str, &str)] = &[
    ("table", "TABLE"),
    ("view", "TABLE"),
    ("materialized view", "TABLE"),
    ("foreign table", "TABLE"),
    ("sequence", "SEQUENCE"),
    ("function", "FUNCTION"),
    ("procedure", "PROCEDURE"),
    ("aggregate", "FUNCTION"),
    ("type", "TYPE"),
    ("schema", "SCHEMA"),
];

/// Sets the recorded grants wherever others stand. Returns what could not be granted, one line each.
///
/// Runs in a transaction.
pub(super) async fn set(job: &Job<'_>, session: &Session) -> Result<Vec<String>, SourceError> {
    let found = inventory::read(session, job.scope).await?;
    let mut recorded: Vec<_> = job.facts.inventory.iter().filter(|entry| entry.grants.is_some()).collect();
    // Taking away what a table has takes away what its columns have.
    recorded.sort_by_key(|entry| entry.kind.ends_with(" column"));
    let mut notes = Vec::new();
    for entry in recorded {
        let same = |other: &&InventoryEntry| (&other.kind, &other.identity) == (&entry.kind, &entry.identity);
        if found.iter().find(same).is_some_and(|found| (&found.grants, &found.passed_on) == (&entry.grants, &entry.passed_on)) {
            continue;
        }
        notes.extend(set_one(session, entry).await?);
    }
    Ok(notes)
}

/// Sets the grants of one object. Those that were passed on come last, and among them those that others rest on first.
async fn set_one(session: &Session, entry: &InventoryEntry) -> Result<Option<String>, SourceError> {
    let Some(subject) = Subject::of(entry) else {
        return Ok(Some(format!("the privileges of {} {} are not known how to set", entry.kind, entry.identity)));
    };
    let doing = format!("granting privileges on {} {}", entry.kind, entry.identity);
    let mut own = subject.clearing(entry)?;
    for grant in entry.grants.iter().flatten().filter(|grant| entry.passed_on.iter().all(|passed| passed.grant != **grant)) {
        own.push(subject.granting(grant)?);
    }
    if let Some(refused) = attempt(session, &doing, &own.join("; ")).await? {
        return Ok(Some(format!("privileges on {} {} are not as recorded: {refused}", entry.kind, entry.identity)));
    }
    let mut waiting = Vec::new();
    for passed in &entry.passed_on {
        let grantor = Ident::new(passed.grantor.clone())?;
        waiting.push(format!("SET LOCAL ROLE {grantor}; {}; SET LOCAL ROLE NONE", subject.granting(&passed.grant)?));
    }
    while !waiting.is_empty() {
        let (mut left, mut refused) = (Vec::new(), None);
        for sql in &waiting {
            if let Some(why) = attempt(session, &doing, sql).await? {
                left.push(sql.clone());
                refused = Some(why);
            }
        }
        if let Some(refused) = refused
            && left.len() == waiting.len()
        {
            return Ok(Some(format!("privileges on {} {} are not as recorded: {refused}", entry.kind, entry.identity)));
        }
        waiting = left;
    }
    Ok(None)
}

/// Runs statements, or none of them if one is refused, and says why.
async fn attempt(session: &Session, doing: &str, sql: &str) -> Result<Option<String>, SourceError> {
    match session.batch(doing, &format!("SAVEPOINT granting; {sql}; RELEASE granting")).await {
        Err(SourceError::Statement { source, .. }) => {
            session.batch("going on without a privilege", "ROLLBACK TO SAVEPOINT granting").await?;
            Ok(Some(source.to_string()))
        }
        other => other.map(|()| None),
    }
}

/// What privileges are on, as `GRANT` spells it.
struct Subject {
    on: String,
    /// The column, if it is one.
    column: Option<String>,
}

impl Subject {
    fn of(entry: &InventoryEntry) -> Option<Self> {
        let kind = entry.kind.strip_suffix(" column").unwrap_or(&entry.kind);
        let (_, word) = GRANTED_KINDS.iter().find(|(known, _)| *known == kind)?;
        // An identity comes quoted and qualified from the server; a column's ends in its name.
        let (identity, column) = if kind == entry.kind { (entry.identity.as_str(), None) } else { last_part(&entry.identity)? };
        Some(Self { on: format!("{word} {identity}"), column: column.map(str::to_owned) })
    }

    /// Takes away what a new object has: everything from its owner, and what everybody may do.
    fn clearing(&self, entry: &InventoryEntry) -> Result<Vec<String>, SourceError> {
        let Some(owner) = entry.owner.as_ref().filter(|_| self.column.is_none()) else {
            return Ok(if self.column.is_none() { vec![format!("REVOKE ALL ON {} FROM PUBLIC", self.on)] } else { Vec::new() });
        };
        Ok(vec![format!("REVOKE ALL ON {} FROM PUBLIC, {}", self.on, Ident::new(owner.clone())?)])
    }

    fn granting(&self, grant: &str) -> Result<String, SourceError> {
        let (grantee, privilege) = grant.rsplit_once(':').unwrap_or(("", grant));
        let (privilege, option) = match privilege.strip_suffix(" WITH GRANT OPTION") {
            Some(privilege) => (privilege, " WITH GRANT OPTION"),
            None => (privilege, ""),
        };
        let grantee = if grantee.is_empty() { "PUBLIC".to_owned() } else { Ident::new(grantee)?.to_string() };
        let column = self.column.as_ref().map(|column| format!(" ({column})")).unwrap_or_default();
        Ok(format!("GRANT {privilege}{column} ON {} TO {grantee}{option}", self.on))
    }
}

/// Parts an identity before its last name, which may be quoted and hold dots.
fn last_part(identity: &str) -> Option<(&str, Option<&str>)> {
    let mut is_quoted = false;
    let dots = identity.char_indices().filter(|(_, character)| {
        is_quoted ^= *character == '"';
        *character == '.' && !is_quoted
    });
    let dot = dots.last()?.0;
    Some((&identity[..dot], Some(&identity[dot + 1..])))
}

/// Sets the privileges that future objects get. What a database-wide entry says stands in the place of the server's own defaults.
pub(super) async fn set_defaults(job: &Job<'_>, session: &Session) -> Result<(), SourceError> {
    let mut groups: BTreeMap<_, Vec<&DefaultGrant>> = BTreeMap::new();
    for default in &job.facts.default_grants {
        groups.entry((&default.role, &default.schema, &default.objects)).or_default().push(default);
    }
    for ((role, schema, objects), grants) in groups {
        let role = Ident::new(role.clone())?;
        let place = match schema {
            Some(schema) => format!(" IN SCHEMA {}", Ident::new(schema.clone())?),
            None => String::new(),
        };
        let alter = format!("ALTER DEFAULT PRIVILEGES FOR ROLE {role}{place}");
        let mut statements = Vec::new();
        if schema.is_none() {
            statements.push(format!("{alter} REVOKE ALL ON {objects} FROM PUBLIC, {role}"));
        }
        for default in grants.into_iter().filter(|default| !default.grant.privilege.is_empty()) {
            let option = if default.grant.grantable { " WITH GRANT OPTION" } else { "" };
            statements.push(format!(
                "{alter} GRANT {} ON {objects} TO {}{option}",
                default.grant.privilege,
                grantee(&default.grant)?
            ));
        }
        session.batch("setting default privileges", &statements.join("; ")).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_name_of_an_identity_may_be_quoted() {
        for (identity, expected) in [
            ("app.t.c", Some(("app.t", Some("c")))),
            (r#"app."a.b"."c.d""#, Some((r#"app."a.b""#, Some(r#""c.d""#)))),
            (r#"app.t."say ""a.b""""#, Some(("app.t", Some(r#""say ""a.b""""#)))),
            ("bare", None),
        ] {
            assert_eq!(last_part(identity), expected, "{identity}");
        }
    }
}
