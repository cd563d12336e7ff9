//! Every object of a scope with its owner and its grants, so that a restore can give them back and prove it did.

use std::collections::BTreeSet;

use super::{
    facts::{DefaultGrant, InventoryEntry},
    ident::literal,
    scope::Scope,
    session::Session,
};
use crate::error::SourceError;

/// Kinds of objects: catalog, its schema column, owner and privileges (NULL where it has none), and a condition.
///
/// Objects of extensions are left out, and so is what follows from another object (row types, array types, sequences'
/// types, internal triggers, the rules of views).
const KINDS: &[(&str, &str, &str, &str, &str)] = &[
    (
        "pg_class",
        "o.relnamespace",
        // A sequence that a column owns follows its table's owner.
        "CASE WHEN o.relkind <> 'S' OR NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = o.oid
            AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')) THEN o.relowner END",
        "o.relacl",
        "o.relkind NOT IN ('t', 'I', 'i')",
    ),
    ("pg_class", "o.relnamespace", "NULL::oid", "NULL::aclitem[]", "o.relkind IN ('I', 'i') AND NOT o.relispartition"),
    ("pg_proc", "o.pronamespace", "o.proowner", "o.proacl", "true"),
    (
        "pg_type",
        "o.typnamespace",
        "o.typowner",
        "o.typacl",
        "o.typtype IN ('e', 'd', 'r') OR o.typtype = 'c' AND EXISTS (SELECT FROM pg_class c WHERE c.oid = o.typrelid AND c.relkind = 'c')",
    ),
    ("pg_namespace", "o.oid", "o.nspowner", "o.nspacl", "true"),
    (
        "pg_constraint",
        "o.connamespace",
        "NULL::oid",
        "NULL::aclitem[]",
        "o.contype <> 'n' AND o.conparentid = 0 AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = o.conrelid AND c.relispartition)",
    ),
    (
        "pg_trigger",
        "(SELECT relnamespace FROM pg_class WHERE oid = o.tgrelid)",
        "NULL::oid",
        "NULL::aclitem[]",
        "NOT o.tgisinternal AND o.tgparentid = 0",
    ),
    ("pg_policy", "(SELECT relnamespace FROM pg_class WHERE oid = o.polrelid)", "NULL::oid", "NULL::aclitem[]", "true"),
    ("pg_rewrite", "(SELECT relnamespace FROM pg_class WHERE oid = o.ev_class)", "NULL::oid", "NULL::aclitem[]", "o.rulename <> '_RETURN'"),
    ("pg_statistic_ext", "o.stxnamespace", "o.stxowner", "NULL::aclitem[]", "true"),
    ("pg_collation", "o.collnamespace", "o.collowner", "NULL::aclitem[]", "true"),
    // One without a function is only spoken of by another, which brings it along.
    ("pg_operator", "o.oprnamespace", "o.oprowner", "NULL::aclitem[]", "o.oprcode <> 0"),
    ("pg_conversion", "o.connamespace", "o.conowner", "NULL::aclitem[]", "true"),
    ("pg_ts_config", "o.cfgnamespace", "o.cfgowner", "NULL::aclitem[]", "true"),
    ("pg_ts_dict", "o.dictnamespace", "o.dictowner", "NULL::aclitem[]", "true"),
];

/// Lists the scope's objects in order.
pub(crate) async fn read(session: &Session, scope: &Scope) -> Result<Vec<InventoryEntry>, SourceError> {
    let kinds: Vec<_> = KINDS
        .iter()
        .map(|(catalog, schema, owner, acl, condition)| {
            format!(
                "SELECT '{catalog}'::regclass AS classid, o.oid AS objid, 0 AS objsubid, {schema} AS schema, {owner} AS owner, {acl} AS acl, {} AS grantor
                 FROM {catalog} o WHERE ({condition})",
                // A sequence that a column owns has an owner all the same.
                if *catalog == "pg_class" { "o.relowner" } else { owner }
            )
        })
        .collect();
    let sql = format!(
        "SELECT i.type AS kind, i.identity, n.nspname AS schema, CASE WHEN o.owner IS NOT NULL THEN pg_get_userbyid(o.owner) END AS owner,
            CASE WHEN o.acl IS NOT NULL THEN (SELECT coalesce(json_agg(g.text ORDER BY g.text), '[]') FROM (
                SELECT CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee) ELSE '' END || ':' || a.privilege_type
                    || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END COLLATE \"C\" AS text
                FROM aclexplode(o.acl) a) g) END AS grants,
            (SELECT coalesce(json_agg(json_build_object('grantor', g.grantor, 'grant', g.text) ORDER BY g.grantor, g.text), '[]') FROM (
                SELECT pg_get_userbyid(a.grantor)::text COLLATE \"C\" AS grantor,
                    CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee) ELSE '' END || ':' || a.privilege_type
                    || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END COLLATE \"C\" AS text
                FROM aclexplode(o.acl) a WHERE a.grantor <> o.grantor) g) AS passed_on
         FROM ({} UNION ALL
             SELECT 'pg_class'::regclass, a.attrelid, a.attnum, c.relnamespace, NULL::oid, a.attacl, c.relowner
             FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE a.attacl IS NOT NULL AND a.attnum > 0) o
         JOIN pg_namespace n ON n.oid = o.schema CROSS JOIN LATERAL pg_identify_object(o.classid, o.objid, o.objsubid) i
         WHERE {} AND NOT EXISTS (SELECT FROM pg_depend d
             WHERE d.classid = o.classid AND d.objid = o.objid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')",
        kinds.join(" UNION ALL "),
        scope.schema_condition("n.nspname")
    );
    let mut entries: Vec<InventoryEntry> = session.select("listing the scope's objects", &sql).await?;
    entries.sort();
    Ok(entries)
}

/// Default privileges inside the scope.
pub(crate) async fn read_default_grants(session: &Session, scope: &Scope) -> Result<Vec<DefaultGrant>, SourceError> {
    let schemas = match &scope.schema {
        Some(schema) => format!("n.nspname = {}", literal(schema.as_str())),
        // Without a schema they hold in the whole database.
        None => format!("(n.nspname IS NULL OR {})", scope.schema_condition("n.nspname")),
    };
    let sql = format!(
        "SELECT pg_get_userbyid(d.defaclrole) AS role, n.nspname AS schema,
            CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES' ELSE 'SCHEMAS' END AS objects,
            CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee) END AS grantee, coalesce(a.privilege_type, '') AS privilege, coalesce(a.is_grantable, false) AS grantable
         FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace LEFT JOIN LATERAL aclexplode(d.defaclacl) a ON true
         WHERE {schemas}"
    );
    let mut grants: Vec<DefaultGrant> = session.select("listing default privileges", &sql).await?;
    grants.sort();
    Ok(grants)
}

/// What differs between two inventories, one line each: objects that are missing, surplus, or have another owner or grants.
pub(crate) fn differences(expected: &[InventoryEntry], found: &[InventoryEntry]) -> Vec<String> {
    let key = |entry: &InventoryEntry| (entry.kind.clone(), entry.identity.clone());
    let found_by_key: std::collections::BTreeMap<_, _> = found.iter().map(|entry| (key(entry), entry)).collect();
    let expected_keys: BTreeSet<_> = expected.iter().map(key).collect();
    let mut lines = Vec::new();
    for entry in expected {
        let name = format!("{} {}", entry.kind, entry.identity);
        match found_by_key.get(&key(entry)) {
            None => lines.push(format!("{name} is missing")),
            Some(other) if other.owner != entry.owner => {
                let owner = |entry: &InventoryEntry| entry.owner.clone().unwrap_or_default();
                lines.push(format!("{name} is owned by {} instead of {}", owner(other), owner(entry)));
            }
            Some(other) if (&other.grants, &other.passed_on) != (&entry.grants, &entry.passed_on) => {
                lines.push(format!("{name} has other grants"))
            }
            Some(_) => {}
        }
    }
    lines.extend(
        found
            .iter()
            .filter(|entry| !expected_keys.contains(&key(entry)))
            .map(|entry| format!("{} {} is surplus", entry.kind, entry.identity)),
    );
    lines
}
