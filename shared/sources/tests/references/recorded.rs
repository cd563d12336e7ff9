//! A case as two recovery points record it.

use std::{collections::BTreeMap, sync::Arc};

use domain::{RecoveryPointId, RunId, VaultTenantId};
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sources::{
    SourceError,
    media::{self, ObjectVersion},
    postgres::DatabaseFacts,
};
use uuid::Uuid;
use vault::{MemoryKeys, MemorySigning, MemoryStore, PointReader, StreamHeader, StreamSink, Vault};

use crate::model::{Case, Table};

const VIEW: &str = "2026-11-23T12:00:00.734512+00:00";

pub(crate) struct Recorded {
    pub(crate) database: PointReader,
    pub(crate) media: PointReader,
}

impl Recorded {
    pub(crate) async fn of(case: &Case) -> Self {
        let vault = Vault::new(
            Arc::new(MemoryStore::new()),
            Arc::new(MemoryKeys::new()),
            Arc::new(MemorySigning::new()),
            "test".parse().unwrap(),
        );
        Self { database: database(&vault, case).await, media: objects(&vault, case).await }
    }
}

async fn database(vault: &Vault, case: &Case) -> PointReader {
    let (tenant, point) = (VaultTenantId::from_uuid(Uuid::from_u128(1)), RecoveryPointId::from_uuid(Uuid::from_u128(2)));
    let writer = vault.begin(tenant, point, RunId::from_uuid(Uuid::from_u128(3)), None).await.unwrap();
    let mut tables = Vec::new();
    for table in &case.tables {
        let name = format!("\"{}\".\"{}\"", table.schema, table.name.replace('"', "\"\""));
        let columns: Vec<String> = table.columns.iter().map(|column| (*column).to_owned()).collect();
        let open = writer.open(StreamHeader { name: name.clone(), digest_name: name, columns, key_columns: Vec::new() }).unwrap();
        let mut slice = open.slice().unwrap();
        slice.rows(lines(table).into()).await.unwrap();
        slice.end().await.unwrap();
        open.end().await.unwrap();
        // A computed column is no field of the stream.
        let computed = json!({ "name": "computed", "type_name": "text", "not_null": false, "generated": true, "identity": "" });
        let stored = table.columns.iter().map(
            |column| json!({ "name": column, "type_name": table.of_type, "not_null": false, "generated": false, "identity": "" }),
        );
        let columns: Vec<_> = std::iter::once(computed).chain(stored).collect();
        tables.push(json!({
            "schema": table.schema, "name": table.name, "partitioned": false, "owner": "o", "columns": columns, "key": [], "rows": table.rows.len(),
        }));
    }
    let facts = json!({
        "version": 1, "server_version": "", "server_version_num": 150018, "pg_dump_version": null, "lsn": "", "read_at": VIEW,
        "layout": "database", "database": "app", "schema_owner": null, "tables": tables, "sequences": [], "foreign_keys": [],
        "materialised_views": [], "extensions": [], "default_grants": [], "left_out": [], "inventory": [], "fingerprint": "",
        "properties": {
            "owner": "o", "encoding": "UTF8", "collate": "C", "ctype": "C", "locale_provider": "c", "locale": null, "connection_limit": -1,
            "comment": null, "grants": null, "settings": [],
        },
    });
    DatabaseFacts::decode(&facts).unwrap();
    let written = writer.finish(facts, Timestamp::UNIX_EPOCH).await.unwrap();
    vault.open(tenant, point, &written.point).await.unwrap()
}

/// Rows as `COPY` writes them.
fn lines(table: &Table) -> Vec<u8> {
    let mut lines = String::new();
    for row in &table.rows {
        let fields: Vec<String> =
            row.iter().map(|value| value.as_ref().map_or("\\N".to_owned(), |value| escaped(table, value))).collect();
        lines.push_str(&fields.join("\t"));
        lines.push('\n');
    }
    lines.into_bytes()
}

fn escaped(table: &Table, value: &str) -> String {
    let padding = if table.of_type.starts_with("character(") { 300 - value.chars().count() } else { 0 };
    let escaped = value.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n");
    escaped + &" ".repeat(padding)
}

async fn objects(vault: &Vault, case: &Case) -> PointReader {
    let view: Timestamp = VIEW.parse().unwrap();
    let mut versions = Vec::new();
    for (key, story) in &case.stories {
        for (age, happened) in story.iter().rev().enumerate() {
            let modified_at = view + SignedDuration::from_secs(happened.at_s);
            versions.push(ObjectVersion {
                key: key.clone(),
                age: age as u32,
                version_id: format!("v{age}"),
                delete_marker: happened.is_delete,
                modified_at: modified_at.to_string(),
                size_bytes: 1,
                etag: None,
                checksums: BTreeMap::new(),
                storage_class: None,
                content_type: None,
                encryption: None,
                metadata: [("a\\b".to_owned(), "line\nbreak\t\"".to_owned())].into(),
                tags: BTreeMap::new(),
            });
        }
    }
    let (tenant, point) = (VaultTenantId::from_uuid(Uuid::from_u128(1)), RecoveryPointId::from_uuid(Uuid::from_u128(4)));
    let writer = vault.begin(tenant, point, RunId::from_uuid(Uuid::from_u128(5)), None).await.unwrap();
    media::write(stream::iter(versions).map(Ok::<_, SourceError>), &writer).await.unwrap();
    let written = writer.finish(serde_json::Value::Null, Timestamp::UNIX_EPOCH).await.unwrap();
    vault.open(tenant, point, &written.point).await.unwrap()
}
