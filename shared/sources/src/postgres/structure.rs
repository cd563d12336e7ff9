//! Comparing what tables look like: a pooled tenant's rows only fit tables that still have the same columns and keys.

use super::facts::{DatabaseFacts, InventoryEntry, TableFacts};

/// Lines about structures in one preview, which is one record of at most 400 KB.
const LINES_MAX: usize = 200;

/// Hash over the names, columns, types and keys of tables; equal for equal structures, whatever the rows.
pub(crate) fn fingerprint(tables: &[TableFacts]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("holdfast schema fingerprint v1");
    for table in tables {
        let description = describe(table);
        hasher.update(&(description.len() as u64).to_be_bytes());
        hasher.update(description.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

fn describe(table: &TableFacts) -> String {
    let columns: Vec<_> = table
        .columns
        .iter()
        .map(|column| {
            format!("{} {} {} {} {:?}", column.name, column.type_name, column.not_null, column.generated, column.identity)
        })
        .collect();
    format!("{} ({}) key ({})", table.name, columns.join(", "), super::ident::list(&table.key))
}

/// What differs between the tables of a recovery point and the live ones, one line each.
pub(crate) fn differences(recorded: &[TableFacts], live: &[TableFacts]) -> Vec<String> {
    let mut lines = Vec::new();
    for table in recorded {
        match live.iter().find(|other| other.name == table.name) {
            None => lines.push(format!("table {} is gone", table.name)),
            Some(other) => lines.extend(table_differences(table, other)),
        }
    }
    let is_new = |table: &&TableFacts| !recorded.iter().any(|other| other.name == table.name);
    lines.extend(live.iter().filter(is_new).map(|table| format!("table {} is new", table.name)));
    lines
}

/// What an application gained and lost since a recovery point, where tables take the place of tables: what is new will be gone, what is
/// gone comes back. One line each, at most [`LINES_MAX`].
pub(crate) fn what_changes(recorded: &DatabaseFacts, live: &DatabaseFacts) -> Vec<String> {
    let mut lines: Vec<_> = differences(&recorded.tables, &live.tables)
        .into_iter()
        .map(|line| match () {
            () if line.contains(" gained column ") || line.ends_with(" is new") => format!("{line}, and will be gone"),
            () if line.contains(" lost column ") || line.ends_with(" is gone") => format!("{line}, and comes back"),
            () => format!("{line}, and becomes what it was"),
        })
        .collect();
    let is_in = |inventory: &[InventoryEntry], entry: &InventoryEntry| {
        inventory.iter().any(|other| (&other.kind, &other.identity) == (&entry.kind, &entry.identity))
    };
    // A table's columns come with privileges of their own; the table's line says enough.
    let others = |entry: &&InventoryEntry| !matches!(entry.kind.as_str(), "table" | "table column");
    let new = live.inventory.iter().filter(others).filter(|entry| !is_in(&recorded.inventory, entry));
    lines.extend(new.map(|entry| format!("{} {} is new, and will be gone", entry.kind, entry.identity)));
    let gone = recorded.inventory.iter().filter(others).filter(|entry| !is_in(&live.inventory, entry));
    lines.extend(gone.map(|entry| format!("{} {} is gone, and comes back", entry.kind, entry.identity)));
    let more = lines.len().saturating_sub(LINES_MAX);
    lines.truncate(LINES_MAX);
    if more > 0 {
        lines.push(format!("and {more} more differences of structure"));
    }
    lines
}

fn table_differences(recorded: &TableFacts, live: &TableFacts) -> Vec<String> {
    let mut lines = Vec::new();
    for column in &recorded.columns {
        match live.columns.iter().find(|other| other.name == column.name) {
            None => lines.push(format!("{} lost column {}", live.name, column.name)),
            Some(other) if other.type_name != column.type_name => {
                lines.push(format!("{}.{} became {} (was {})", live.name, column.name, other.type_name, column.type_name));
            }
            Some(other) if other != column => lines.push(format!("{}.{} changed its constraints", live.name, column.name)),
            Some(_) => {}
        }
    }
    let is_new = |name: &super::ident::Ident| !recorded.columns.iter().any(|column| column.name == *name);
    lines.extend(
        live.columns
            .iter()
            .filter(|column| is_new(&column.name))
            .map(|column| format!("{} gained column {}", live.name, column.name)),
    );
    if lines.is_empty() && recorded.columns.iter().map(|column| &column.name).ne(live.columns.iter().map(|column| &column.name)) {
        lines.push(format!("{} has its columns in another order", live.name));
    }
    if recorded.key != live.key {
        lines.push(format!("{} has another primary key", live.name));
    }
    lines
}
