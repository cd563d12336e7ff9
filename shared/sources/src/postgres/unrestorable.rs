//! Things that only a superuser can make. A restore makes everything as an ordinary role, so what needs more could not come back, and
//! neither could what depends on it: an export of it would be a promise that nobody can keep, and is refused by name.
//!
//! No managed server lets its users make these, so on one they are found only as members of extensions, which come back with those.

use serde::Deserialize;

use super::{ident::literal, scope::Scope, session::Session};
use crate::error::SourceError;

/// The first number of an object that did not come with the server.
const FIRST_OWN: u32 = 16_384;

/// Catalog, the column with its schema (NULL for what is in none), and which of its objects need a superuser, with the reason.
const KINDS: &[(&str, &str, &str, &str)] = &[
    (
        "pg_proc",
        "o.pronamespace",
        "o.prokind <> 'a' AND NOT (SELECT lanpltrusted FROM pg_language WHERE oid = o.prolang)",
        "its language is not a trusted one",
    ),
    ("pg_proc", "o.pronamespace", "o.proleakproof", "it is LEAKPROOF"),
    ("pg_proc", "o.pronamespace", "o.prosupport <> 0", "it has a support function"),
    (
        "pg_proc",
        "o.pronamespace",
        "EXISTS (SELECT FROM unnest(o.proconfig) s JOIN pg_settings g ON lower(g.name) = lower(split_part(s, '=', 1)) WHERE g.context = 'superuser')",
        "it sets what only a superuser may",
    ),
    (
        "pg_proc",
        "o.pronamespace",
        "EXISTS (SELECT FROM pg_aggregate a WHERE a.aggfnoid = o.oid AND 'internal'::regtype IN (a.aggtranstype, a.aggmtranstype))",
        "its state is the server's own memory",
    ),
    (
        "pg_type",
        "o.typnamespace",
        "(o.typtype = 'b' AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = o.oid)) OR NOT o.typisdefined",
        "base types are made of functions in C",
    ),
    (
        "pg_type",
        "o.typnamespace",
        "EXISTS (SELECT FROM pg_range r WHERE r.rngtypid = o.oid AND r.rngcanonical <> 0)",
        "a range with a canonical function begins as a base type",
    ),
    ("pg_opclass", "o.opcnamespace", "true", "a wrong one brings the server down"),
    ("pg_opfamily", "o.opfnamespace", "true", "a wrong one brings the server down"),
    ("pg_ts_parser", "o.prsnamespace", "true", "it is made of functions in C"),
    ("pg_ts_template", "o.tmplnamespace", "true", "it is made of functions in C"),
    ("pg_am", "NULL::oid", "true", "it is made of functions in C"),
    ("pg_language", "NULL::oid", "true", "it is no member of an extension"),
    ("pg_cast", "NULL::oid", "o.castmethod = 'b'", "it takes one type's bytes for another's"),
    (
        "pg_cast",
        "NULL::oid",
        "o.castmethod <> 'b' AND o.castsource < {first} AND o.casttarget < {first}",
        "both its types are the server's own",
    ),
    ("pg_transform", "NULL::oid", "o.trftype < {first}", "its type is the server's own"),
];

#[derive(Deserialize)]
struct Found {
    kind: String,
    identity: String,
    reason: String,
}

/// Refuses a scope that holds what an ordinary role cannot make.
pub(crate) async fn refuse(session: &Session, scope: &Scope) -> Result<(), SourceError> {
    let kinds = KINDS.iter().filter(|(_, schema, ..)| scope.schema.is_none() || *schema != "NULL::oid");
    let parts: Vec<_> = kinds
        .map(|(catalog, schema, condition, reason)| {
            format!(
                "SELECT '{catalog}'::regclass AS classid, o.oid AS objid, {schema} AS schema, {} AS reason
                 FROM {catalog} o WHERE o.oid >= {FIRST_OWN} AND ({condition})",
                literal(reason)
            )
        })
        .collect();
    let sql = format!(
        "SELECT i.type AS kind, i.identity, min(o.reason) AS reason FROM ({}) o LEFT JOIN pg_namespace n ON n.oid = o.schema
         CROSS JOIN LATERAL pg_identify_object(o.classid, o.objid, 0) i
         WHERE (n.oid IS NULL OR {}) AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = o.classid AND d.objid = o.objid
             -- Members of extensions, and what the server makes by itself with something else, such as the functions of a range type.
             AND d.deptype IN ('e', 'i'))
         GROUP BY 1, 2 ORDER BY 1, 2",
        parts.join(" UNION ALL ").replace("{first}", &FIRST_OWN.to_string()),
        scope.schema_condition("n.nspname")
    );
    let found: Vec<Found> = session.select("looking for what only a superuser can make", &sql).await?;
    if found.is_empty() {
        return Ok(());
    }
    let what = format!("it holds what only a superuser can make, which a restore never is: {}", summary(&found));
    let remedy =
        "drop it, with what depends on it, or make it a member of an extension, or protect this database by snapshots only";
    Err(SourceError::refused(session.place(), what, remedy))
}

/// The first of each kind by name and with the reason, then how many of each kind.
fn summary(found: &[Found]) -> String {
    let mut kinds: Vec<(&str, usize)> = Vec::new();
    let mut named = Vec::new();
    for one in found {
        match kinds.last_mut() {
            Some((kind, count)) if *kind == one.kind => *count += 1,
            _ => {
                kinds.push((&one.kind, 1));
                named.push(format!("{} {} ({})", one.kind, one.identity, one.reason));
            }
        }
    }
    let counts: Vec<_> = kinds.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
    format!("{}; in all {}", named.join(", "), counts.join(", "))
}
