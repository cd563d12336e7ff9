//! Reads the facts of a scope from the system catalogs.

use domain::tenant::Layout;
use serde::Deserialize;

use super::{
    facts::{
        ColumnFacts, DatabaseFacts, DatabaseProperties, ForeignKeyFacts, LeftOut, MaterialisedView, SequenceFacts, TableFacts,
    },
    ident::{Ident, QualifiedName, literal},
    inventory,
    scope::Scope,
    session::Session,
    structure,
};
use crate::error::SourceError;

/// Tables of one scope; far beyond what one function could export in its time.
const TABLES_MAX: usize = 20_000;

#[derive(Deserialize)]
struct FoundTable {
    schema: Ident,
    name: Ident,
    partitioned: bool,
    unlogged: bool,
    owner: String,
    extension: Option<String>,
    has_tenant_column: bool,
    columns: Vec<ColumnFacts>,
    key: Option<Vec<Ident>>,
}

#[derive(Deserialize)]
struct FoundSequence {
    schema: Ident,
    name: Ident,
    increment: i64,
    owner_schema: Option<Ident>,
    owner_table: Option<Ident>,
    owner_column: Option<Ident>,
}

#[derive(Deserialize)]
struct FoundForeignKey {
    name: Ident,
    schema: Ident,
    table: Ident,
    columns: Vec<Ident>,
    referenced_schema: Ident,
    referenced_table: Ident,
    referenced_columns: Vec<Ident>,
    deferrable: bool,
}

#[derive(Deserialize)]
struct SequenceValue {
    last_value: i64,
    is_called: bool,
}

#[derive(Deserialize)]
struct Server {
    version: String,
    version_num: String,
    lsn: Option<String>,
    read_at: String,
}

/// Everything about the scope but its rows.
pub(crate) async fn read_facts(session: &Session, scope: &Scope) -> Result<DatabaseFacts, SourceError> {
    let server: Server = session.select_one("asking for the server's version", SERVER).await?;
    let version_num = server
        .version_num
        .parse()
        .map_err(|error| SourceError::answer(session.place(), "reading the server's version", error))?;
    let (tables, mut left_out) = read_tables(session, scope).await?;
    left_out.extend(read_left_out_objects(session, scope).await?);
    left_out.sort();
    Ok(DatabaseFacts {
        version: DatabaseFacts::VERSION,
        server_version: server.version,
        server_version_num: version_num,
        pg_dump_version: None,
        lsn: server.lsn.unwrap_or_default(),
        read_at: server.read_at,
        standby: None,
        layout: scope.layout.clone(),
        properties: read_properties(session).await?,
        schema_owner: read_schema_owner(session, scope).await?,
        sequences: read_sequences(session, scope, &tables, scope.is_pool()).await?,
        foreign_keys: read_foreign_keys(session, scope).await?,
        materialised_views: read_materialised_views(session, scope).await?,
        extensions: session.select("listing extensions", EXTENSIONS).await?,
        default_grants: if scope.is_pool() { Vec::new() } else { inventory::read_default_grants(session, scope).await? },
        inventory: if scope.is_pool() { Vec::new() } else { inventory::read(session, scope).await? },
        fingerprint: structure::fingerprint(&tables),
        left_out,
        tables,
    })
}

const SERVER: &str = "SELECT version() AS version, current_setting('server_version_num') AS version_num, \
    CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END AS lsn, now() AS read_at";

const EXTENSIONS: &str = "SELECT e.extname AS name, e.extversion AS version, n.nspname AS schema \
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname <> 'plpgsql' ORDER BY 1";

/// Whether the scope's schema is there; databases always have theirs.
pub(crate) async fn is_there(session: &Session, scope: &Scope) -> Result<bool, SourceError> {
    match &scope.schema {
        None => Ok(true),
        Some(schema) => has_schema(session, schema).await,
    }
}

pub(crate) async fn has_schema(session: &Session, schema: &Ident) -> Result<bool, SourceError> {
    let sql = format!("SELECT nspname FROM pg_namespace WHERE nspname = {}", literal(schema.as_str()));
    let found: Vec<serde_json::Value> = session.select(format!("looking for schema {schema}"), &sql).await?;
    Ok(!found.is_empty())
}

/// The tables whose rows belong to the scope, and those that do not, with the reason.
pub(crate) async fn read_tables(session: &Session, scope: &Scope) -> Result<(Vec<TableFacts>, Vec<LeftOut>), SourceError> {
    let tenant_column = scope.tenant_column.as_ref().map_or("''".to_owned(), |column| literal(column.as_str()));
    let sql = format!(
        "SELECT n.nspname AS schema, c.relname AS name, c.relkind = 'p' AS partitioned, c.relpersistence = 'u' AS unlogged,
            pg_get_userbyid(c.relowner) AS owner,
            (SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
             WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e') AS extension,
            EXISTS (SELECT FROM pg_attribute a
                WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname = {tenant_column}) AS has_tenant_column,
            (SELECT coalesce(json_agg(json_build_object('name', a.attname, 'type_name', format_type(a.atttypid, a.atttypmod),
                'not_null', a.attnotnull, 'generated', a.attgenerated <> '', 'identity', a.attidentity)
                ORDER BY CASE WHEN c.is_child THEN a.attname END, a.attnum), '[]')
             FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
            (SELECT json_agg(a.attname ORDER BY k.place)
             FROM pg_constraint p CROSS JOIN unnest(p.conkey) WITH ORDINALITY k(attnum, place)
             JOIN pg_attribute a ON a.attrelid = p.conrelid AND a.attnum = k.attnum
             WHERE p.conrelid = c.oid AND p.contype = 'p') AS key
         -- A child's columns stand behind those of its parents once it is made anew, wherever they stood. By name they stay as they are.
         FROM (SELECT *, EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = pg_class.oid) AS is_child FROM pg_class) c
         JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't' AND {}
         ORDER BY 1, 2",
        scope.schema_condition("n.nspname")
    );
    let found: Vec<FoundTable> = session.select("listing tables", &sql).await?;
    if found.len() > TABLES_MAX {
        let what = format!("it has {} tables, more than {TABLES_MAX}", found.len());
        return Err(SourceError::refused(session.place(), what, "split the tenant over several databases"));
    }
    let (mut tables, mut left_out) = (Vec::new(), Vec::new());
    for table in found {
        let name = QualifiedName { schema: table.schema, name: table.name };
        let reason = if scope.is_pool() && !table.has_tenant_column {
            Some("it has no tenant column: its rows are everybody's".to_owned())
        } else if let Some(extension) = table.extension {
            Some(format!("it belongs to extension {extension}, which makes it anew"))
        } else if let Some(reason) = scope.exclusion_of(name.name.as_str()) {
            Some(reason.to_owned())
        } else {
            table.unlogged.then(|| "it is unlogged: its rows do not survive a crash either".to_owned())
        };
        match reason {
            Some(reason) => left_out.push(LeftOut { kind: "table".to_owned(), name: name.to_string(), reason }),
            None => tables.push(TableFacts {
                name,
                partitioned: table.partitioned,
                owner: table.owner,
                columns: table.columns,
                key: table.key.unwrap_or_default(),
                rows: 0,
            }),
        }
    }
    Ok((tables, left_out))
}

/// Objects of a whole database that a restore cannot make as an ordinary role.
async fn read_left_out_objects(session: &Session, scope: &Scope) -> Result<Vec<LeftOut>, SourceError> {
    if !matches!(scope.layout, Layout::Silo { .. } | Layout::Database { .. }) {
        return Ok(Vec::new());
    }
    let sql = "SELECT 'event trigger' AS kind, evtname AS name, 'it would run with the rights of whoever changes a definition' AS reason FROM pg_event_trigger
        UNION ALL SELECT 'publication', pubname, 'replication is set up anew after a restore' FROM pg_publication
        UNION ALL SELECT 'subscription', subname, 'replication is set up anew after a restore'
            FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
        UNION ALL SELECT 'foreign-data wrapper', fdwname, 'its rows live elsewhere' FROM pg_foreign_data_wrapper w WHERE NOT EXISTS (
            SELECT FROM pg_depend d WHERE d.classid = 'pg_foreign_data_wrapper'::regclass AND d.objid = w.oid AND d.deptype = 'e')
        UNION ALL SELECT 'foreign server', srvname, 'its rows live elsewhere' FROM pg_foreign_server
        UNION ALL SELECT 'privileges', i.type || ' ' || i.identity, 'an object of the server or of an extension comes with it, and with its privileges' FROM (
            SELECT 'pg_class'::regclass AS classid, oid AS objid, 0 AS objsubid, coalesce(relacl, acldefault('r', relowner)) AS acl, acldefault('r', relowner) AS usual
                FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace OR oid IN (SELECT objid FROM pg_depend WHERE classid = 'pg_class'::regclass AND deptype = 'e')
            UNION ALL SELECT 'pg_class'::regclass, attrelid, attnum, attacl, '{}' FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
                WHERE attacl IS NOT NULL AND (relnamespace = 'pg_catalog'::regnamespace OR c.oid IN (SELECT objid FROM pg_depend WHERE classid = 'pg_class'::regclass AND deptype = 'e'))
            UNION ALL SELECT 'pg_proc'::regclass, oid, 0, coalesce(proacl, acldefault('f', proowner)), acldefault('f', proowner)
                FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace OR oid IN (SELECT objid FROM pg_depend WHERE classid = 'pg_proc'::regclass AND deptype = 'e')
            UNION ALL SELECT 'pg_type'::regclass, oid, 0, coalesce(typacl, acldefault('T', typowner)), acldefault('T', typowner)
                FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace OR oid IN (SELECT objid FROM pg_depend WHERE classid = 'pg_type'::regclass AND deptype = 'e')
            UNION ALL SELECT 'pg_language'::regclass, oid, 0, coalesce(lanacl, acldefault('l', lanowner)), acldefault('l', lanowner) FROM pg_language
            UNION ALL SELECT 'pg_namespace'::regclass, oid, 0, coalesce(nspacl, acldefault('n', nspowner)), acldefault('n', nspowner)
                FROM pg_namespace WHERE nspname = 'pg_catalog') o
            LEFT JOIN pg_init_privs p ON (p.classoid, p.objoid, p.objsubid) = (o.classid, o.objid, o.objsubid)
            CROSS JOIN LATERAL pg_identify_object(o.classid, o.objid, o.objsubid) i
            WHERE ARRAY(SELECT a::text FROM unnest(o.acl) a ORDER BY 1) <> ARRAY(SELECT a::text FROM unnest(coalesce(p.initprivs, o.usual)) a ORDER BY 1)
        UNION ALL SELECT 'schema', nspname, 'a restore made it: what it replaced, or had not finished' FROM pg_namespace WHERE nspname ~ '^hf_(stage|undo|side)_[0-9a-f]{16}$'
        UNION ALL SELECT 'user mapping', usename || ' on ' || srvname, 'its rows live elsewhere' FROM pg_user_mappings";
    session.select("listing event triggers, publications, subscriptions and foreign servers", sql).await
}

async fn read_schema_owner(session: &Session, scope: &Scope) -> Result<Option<String>, SourceError> {
    #[derive(Deserialize)]
    struct Owner {
        owner: String,
    }
    let Some(schema) = &scope.schema else { return Ok(None) };
    let sql = format!("SELECT pg_get_userbyid(nspowner) AS owner FROM pg_namespace WHERE nspname = {}", literal(schema.as_str()));
    let owners: Vec<Owner> = session.select("asking for the schema's owner", &sql).await?;
    Ok(owners.into_iter().next().map(|found| found.owner))
}

async fn read_properties(session: &Session) -> Result<DatabaseProperties, SourceError> {
    // Through JSON, because the columns for ICU locales were named differently in three major versions.
    let sql = "SELECT pg_get_userbyid(d.datdba) AS owner, pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS collate, d.datctype AS ctype,
            coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') AS locale_provider,
            coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') AS locale, d.datconnlimit AS connection_limit,
            shobj_description(d.oid, 'pg_database') AS comment,
            CASE WHEN d.datacl IS NOT NULL THEN (SELECT coalesce(json_agg(json_build_object('grantee', CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee) END,
                'privilege', a.privilege_type, 'grantable', a.is_grantable) ORDER BY a.grantee, a.privilege_type), '[]')
             FROM aclexplode(d.datacl) a) END AS grants,
            (SELECT coalesce(json_agg(json_build_array(CASE WHEN s.setrole <> 0 THEN pg_get_userbyid(s.setrole) END, setting)), '[]')
             FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) setting WHERE s.setdatabase = d.oid) AS settings
         FROM pg_database d WHERE d.datname = current_database()";
    let mut properties: DatabaseProperties = session.select_one("reading the database's properties", sql).await?;
    if let Some(grants) = &mut properties.grants {
        grants.sort();
    }
    properties.settings.sort();
    Ok(properties)
}

/// The sequences that columns of these tables own.
pub(crate) async fn read_owned_sequences(
    session: &Session,
    scope: &Scope,
    tables: &[TableFacts],
) -> Result<Vec<SequenceFacts>, SourceError> {
    read_sequences(session, scope, tables, true).await
}

/// Sequences and where they stand. A pool's are everybody's: only those that its tenants' tables own count.
async fn read_sequences(
    session: &Session,
    scope: &Scope,
    tables: &[TableFacts],
    only_owned: bool,
) -> Result<Vec<SequenceFacts>, SourceError> {
    let sql = format!(
        "SELECT n.nspname AS schema, c.relname AS name, s.seqincrement AS increment,
            own.nspname AS owner_schema, owt.relname AS owner_table, owa.attname AS owner_column
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_sequence s ON s.seqrelid = c.oid
         LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass
             AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
         LEFT JOIN pg_class owt ON owt.oid = d.refobjid LEFT JOIN pg_namespace own ON own.oid = owt.relnamespace
         LEFT JOIN pg_attribute owa ON owa.attrelid = d.refobjid AND owa.attnum = d.refobjsubid
         WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND {} AND NOT EXISTS (SELECT FROM pg_depend e
             WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.refclassid = 'pg_extension'::regclass AND e.deptype = 'e')
         ORDER BY 1, 2",
        scope.schema_condition("n.nspname")
    );
    let found: Vec<FoundSequence> = session.select("listing sequences", &sql).await?;
    let mut sequences = Vec::new();
    for sequence in found {
        let owned_by = match (sequence.owner_schema, sequence.owner_table, sequence.owner_column) {
            (Some(schema), Some(name), Some(column)) => Some((QualifiedName { schema, name }, column)),
            _ => None,
        };
        let in_scope = owned_by.as_ref().is_some_and(|(owner, _)| tables.iter().any(|table| table.name == *owner));
        if only_owned && !in_scope {
            continue;
        }
        let name = QualifiedName { schema: sequence.schema, name: sequence.name };
        let (last_value, is_called) = read_sequence_value(session, &name).await?;
        sequences.push(SequenceFacts { name, increment: sequence.increment, owned_by, last_value, is_called });
    }
    Ok(sequences)
}

pub(crate) async fn read_sequence_value(session: &Session, name: &QualifiedName) -> Result<(i64, bool), SourceError> {
    let value: SequenceValue =
        session.select_one(format!("reading sequence {name}"), &format!("SELECT last_value, is_called FROM {name}")).await?;
    Ok((value.last_value, value.is_called))
}

/// Foreign keys from the scope or into it.
pub(crate) async fn read_foreign_keys(session: &Session, scope: &Scope) -> Result<Vec<ForeignKeyFacts>, SourceError> {
    let sql = format!(
        "SELECT p.conname AS name, n.nspname AS schema, c.relname AS table, rn.nspname AS referenced_schema, rc.relname AS referenced_table,
            (SELECT json_agg(a.attname ORDER BY k.place) FROM unnest(p.conkey) WITH ORDINALITY k(attnum, place)
             JOIN pg_attribute a ON a.attrelid = p.conrelid AND a.attnum = k.attnum) AS columns,
            (SELECT json_agg(a.attname ORDER BY k.place) FROM unnest(p.confkey) WITH ORDINALITY k(attnum, place)
             JOIN pg_attribute a ON a.attrelid = p.confrelid AND a.attnum = k.attnum) AS referenced_columns,
            p.condeferrable AS deferrable
         FROM pg_constraint p JOIN pg_class c ON c.oid = p.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_class rc ON rc.oid = p.confrelid JOIN pg_namespace rn ON rn.oid = rc.relnamespace
         WHERE p.contype = 'f' AND p.conparentid = 0 AND ({} OR {}) ORDER BY 2, 3, 1",
        scope.schema_condition("n.nspname"),
        scope.schema_condition("rn.nspname")
    );
    let found: Vec<FoundForeignKey> = session.select("listing foreign keys", &sql).await?;
    let keys = found.into_iter().map(|key| ForeignKeyFacts {
        name: key.name,
        table: QualifiedName { schema: key.schema, name: key.table },
        columns: key.columns,
        referenced: QualifiedName { schema: key.referenced_schema, name: key.referenced_table },
        referenced_columns: key.referenced_columns,
        deferrable: key.deferrable,
    });
    Ok(keys.collect())
}

async fn read_materialised_views(session: &Session, scope: &Scope) -> Result<Vec<MaterialisedView>, SourceError> {
    let sql = format!(
        "SELECT n.nspname AS schema, c.relname AS name, c.relispopulated AS populated
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'm' AND {} ORDER BY 1, 2",
        scope.schema_condition("n.nspname")
    );
    session.select("listing materialised views", &sql).await
}
