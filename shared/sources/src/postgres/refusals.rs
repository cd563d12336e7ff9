//! What this version cannot carry completely is refused by name: a backup that leaves something out in silence is none.

use serde::Deserialize;

use super::{copy_out, facts::DatabaseFacts, ident::literal, names_in_rows, scope::Scope, session::Session, unrestorable};
use crate::error::SourceError;

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// Refuses a scope that cannot be exported completely.
pub(crate) async fn check(session: &Session, scope: &Scope, facts: &DatabaseFacts) -> Result<(), SourceError> {
    check_structure(session, scope, facts).await?;
    names_in_rows::refuse(session, scope, facts).await
}

/// Refuses what does not depend on the rows: of a pool, for all its tenants alike.
pub(crate) async fn check_structure(session: &Session, scope: &Scope, facts: &DatabaseFacts) -> Result<(), SourceError> {
    if !scope.is_pool() {
        unrestorable::refuse(session, scope).await?;
    }
    refuse_large_objects(session, scope).await?;
    if scope.is_pool() {
        check_pool(session, scope, facts).await
    } else {
        refuse_foreign_tables(session, scope).await?;
        refuse_extension_data(session, facts).await?;
        refuse_references_to_left_out(session, facts)?;
        match &scope.schema {
            Some(_) => {
                names_in_rows::refuse_outside_schemas(session, scope).await?;
                check_schema(session, scope, facts).await
            }
            None => Ok(()),
        }
    }
}

async fn refuse_large_objects(session: &Session, scope: &Scope) -> Result<(), SourceError> {
    // In a shared database they have no owner scope; there they count when a table of the tenant could refer to them.
    let reachable = match &scope.schema {
        None => "true".to_owned(),
        Some(_) => format!(
            "EXISTS (SELECT FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
             JOIN pg_type t ON t.oid = a.atttypid
             WHERE {} AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND 'oid'::regtype IN (t.oid, t.typbasetype))",
            scope.schema_condition("n.nspname")
        ),
    };
    let sql = format!("SELECT count(*)::text AS name FROM pg_largeobject_metadata HAVING count(*) > 0 AND {reachable}");
    let found: Vec<Named> = session.select("looking for large objects", &sql).await?;
    match found.first() {
        None => Ok(()),
        Some(count) => Err(SourceError::refused(
            session.place(),
            format!("it holds {} large objects, which this version does not carry", count.name),
            "move them to bytea columns or to object storage",
        )),
    }
}

async fn refuse_foreign_tables(session: &Session, scope: &Scope) -> Result<(), SourceError> {
    let sql = format!(
        "SELECT c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'f' AND {} ORDER BY 1",
        scope.schema_condition("n.nspname")
    );
    let found: Vec<Named> = session.select("looking for foreign tables", &sql).await?;
    match found.iter().find(|table| scope.exclusion_of(&table.name).is_none()) {
        None => Ok(()),
        Some(table) => Err(SourceError::refused(
            session.place(),
            format!("foreign table `{}` has its rows elsewhere", table.name),
            "name it in the plan's `exclusions`, and protect the place its rows live in",
        )),
    }?;
    if found.is_empty() { Ok(()) } else { refuse_users_of_foreign_tables(session, scope).await }
}

/// A foreign table does not come back, and so what is made of it could not.
async fn refuse_users_of_foreign_tables(session: &Session, scope: &Scope) -> Result<(), SourceError> {
    let sql = format!(
        "SELECT DISTINCT used.kind || ' is made of foreign table ' || c.oid::regclass AS name
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL (
            SELECT 'view ' || r.ev_class::regclass AS kind FROM pg_depend d JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
            WHERE (d.refclassid, d.refobjid) IN (('pg_class'::regclass, c.oid), ('pg_type'::regclass, c.reltype)) AND r.ev_class <> c.oid
            UNION ALL SELECT 'function ' || d.objid::regprocedure FROM pg_depend d
            WHERE d.classid = 'pg_proc'::regclass AND (d.refclassid, d.refobjid) IN (('pg_class'::regclass, c.oid), ('pg_type'::regclass, c.reltype))
            UNION ALL SELECT 'table ' || a.attrelid::regclass FROM pg_attribute a WHERE a.atttypid = c.reltype AND NOT a.attisdropped
            UNION ALL SELECT 'table ' || i.inhparent::regclass FROM pg_inherits i WHERE i.inhrelid = c.oid
            UNION ALL SELECT 'table ' || i.inhrelid::regclass FROM pg_inherits i WHERE i.inhparent = c.oid) used
         WHERE c.relkind = 'f' AND {} ORDER BY 1",
        scope.schema_condition("n.nspname")
    );
    let found: Vec<Named> = session.select("looking for what is made of foreign tables", &sql).await?;
    match found.first() {
        None => Ok(()),
        Some(user) => Err(SourceError::refused(
            session.place(),
            format!("{}, which does not come back", user.name),
            "drop it, or copy the rows into a table of the tenant's",
        )),
    }
}

/// Rows that a user added to an extension's own configuration table would not come back with the extension.
async fn refuse_extension_data(session: &Session, facts: &DatabaseFacts) -> Result<(), SourceError> {
    #[derive(Deserialize)]
    struct ConfigTable {
        extension: String,
        table: String,
        condition: String,
    }
    if facts.extensions.is_empty() {
        return Ok(());
    }
    let sql =
        "SELECT e.extname AS extension, format('%I.%I', n.nspname, c.relname) AS table, coalesce(condition, '') AS condition
        FROM pg_extension e CROSS JOIN unnest(e.extconfig, e.extcondition) AS config(relation, condition)
        JOIN pg_class c ON c.oid = config.relation JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')";
    let tables: Vec<ConfigTable> = session.select("listing extensions' configuration tables", sql).await?;
    for config in tables {
        let sql = format!("SELECT 'x' AS name WHERE EXISTS (SELECT FROM {} {})", config.table, config.condition);
        let found: Vec<Named> = session.select(format!("looking for rows in {}", config.table), &sql).await?;
        if !found.is_empty() {
            let what = format!("extension `{}` keeps rows of its users in {}", config.extension, config.table);
            return Err(SourceError::refused(
                session.place(),
                what,
                "remove these rows, or protect this database by snapshots only",
            ));
        }
    }
    Ok(())
}

/// A table that comes back empty cannot be referenced by one that comes back full.
fn refuse_references_to_left_out(session: &Session, facts: &DatabaseFacts) -> Result<(), SourceError> {
    let is_kept = |name: &super::ident::QualifiedName| facts.tables.iter().any(|table| table.name == *name);
    let is_left_out = |name: &super::ident::QualifiedName| {
        let name = name.to_string();
        facts.left_out.iter().any(|left| left.kind == "table" && left.name == name)
    };
    match facts.foreign_keys.iter().find(|key| is_kept(&key.table) && is_left_out(&key.referenced)) {
        None => Ok(()),
        Some(key) => Err(SourceError::refused(
            session.place(),
            format!("{} is left out, but {} references it by {}", key.referenced, key.table, key.name),
            "do not exclude a table that others reference",
        )),
    }
}

async fn check_schema(session: &Session, scope: &Scope, facts: &DatabaseFacts) -> Result<(), SourceError> {
    let outward = |key: &&super::facts::ForeignKeyFacts| {
        scope.schema.as_ref() == Some(&key.table.schema) && key.referenced.schema != key.table.schema
    };
    if let Some(key) = facts.foreign_keys.iter().find(outward) {
        let what = format!("foreign key {} of {} leads out of the tenant's schema to {}", key.name, key.table, key.referenced);
        return Err(SourceError::refused(session.place(), what, "keep what a tenant needs inside its schema"));
    }
    if let Some(extension) = facts.extensions.iter().find(|extension| scope.schema.as_ref() == Some(&extension.schema)) {
        let what = format!("extension {} is installed in the tenant's schema", extension.name);
        return Err(SourceError::refused(
            session.place(),
            what,
            "move it with ALTER EXTENSION … SET SCHEMA, because it belongs to all tenants",
        ));
    }
    let sql = format!(
        "SELECT format('%I.%I and %I.%I', n.nspname, c.relname, pn.nspname, p.relname) AS name
         FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_class p ON p.oid = i.inhparent JOIN pg_namespace pn ON pn.oid = p.relnamespace
         WHERE n.oid <> pn.oid AND ({} OR {}) ORDER BY 1",
        scope.schema_condition("n.nspname"),
        scope.schema_condition("pn.nspname")
    );
    let across: Vec<Named> = session.select("looking for partitions in other schemas", &sql).await?;
    match across.first() {
        None => Ok(()),
        Some(pair) => Err(SourceError::refused(
            session.place(),
            format!("{} are partition or child and parent in different schemas", pair.name),
            "keep a partitioned table's partitions in the tenant's schema",
        )),
    }
}

async fn check_pool(session: &Session, scope: &Scope, facts: &DatabaseFacts) -> Result<(), SourceError> {
    for table in &facts.tables {
        let key_is_stored = table.key.iter().all(|key| table.stored_columns().any(|column| column.name == *key));
        if table.key.is_empty() || !key_is_stored {
            let what = format!("pooled table {} has no primary key of stored columns", table.name);
            return Err(SourceError::refused(session.place(), what, "add one, because a pooled tenant is restored row by row"));
        }
        // One tenant id must be exactly one value of the column: `7` and `007` of an integer column would be two tenants' rows in one.
        let (value, _) = copy_out::tenant_value(session.place(), scope, table)?;
        let sql = format!("SELECT 'same' AS name WHERE ({value})::text = {}", literal(scope.tenant.as_str()));
        let found: Vec<Named> = session.select(format!("reading the tenant id as a value of {}", table.name), &sql).await?;
        if found.is_empty() {
            let what = format!("tenant id `{}` is spelt differently in {}", scope.tenant, table.name);
            return Err(SourceError::refused(
                session.place(),
                what,
                "spell tenant ids in the register as the tenant column prints them",
            ));
        }
    }
    let tenant_column = scope.tenant_column.as_ref().map_or("''".to_owned(), |column| literal(column.as_str()));
    let sql = format!(
        "SELECT c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
         JOIN pg_collation l ON l.oid = a.attcollation
         WHERE c.relkind IN ('r', 'p') AND a.attname = {tenant_column} AND NOT l.collisdeterministic AND {} ORDER BY 1",
        scope.schema_condition("n.nspname")
    );
    let loose: Vec<Named> = session.select("looking at the tenant column's collation", &sql).await?;
    match loose.first() {
        None => Ok(()),
        Some(table) => Err(SourceError::refused(
            session.place(),
            format!("the tenant column of `{}` has a collation under which different ids are equal", table.name),
            "give the column a deterministic collation",
        )),
    }
}
