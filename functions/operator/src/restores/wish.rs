//! What a person asks for, and whether it makes sense.

use domain::{
    ErrorCode, ErrorReport, RecoveryId, RecoveryPointId, TenantId, caps,
    point::Kind,
    request::{ColumnNow, Mode, Selection},
};
use jiff::Timestamp;
use serde::Deserialize;

/// The body of `restore-request`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    pub(crate) tenant: TenantId,
    /// This recovery point; the newest usable one if there is no time either.
    pub(crate) point: Option<RecoveryPointId>,
    /// The newest usable recovery point at or before this instant, or with `native` the instant itself.
    pub(crate) time: Option<Timestamp>,
    /// Whether the engine's own log is to lead to the very instant.
    #[serde(default)]
    pub(crate) native: bool,
    /// What to restore; what a named recovery point holds, and otherwise the database, if left out.
    pub(crate) kind: Option<Kind>,
    #[serde(default)]
    mode: ModeName,
    /// The environment recovery whose instances it goes to.
    recovery: Option<RecoveryId>,
    #[serde(default)]
    tables: Vec<String>,
    #[serde(default)]
    columns: Vec<ColumnNow>,
    pub(crate) reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ModeName {
    #[default]
    InPlace,
    SideBySide,
    NewEnvironment,
}

impl Wish {
    /// Where it is to be written.
    ///
    /// # Errors
    /// If a recovery is named that the mode does not need, or none that it needs.
    pub(crate) fn mode(&self) -> Result<Mode, ErrorReport> {
        match (self.mode, self.recovery) {
            (ModeName::InPlace, None) => Ok(Mode::InPlace),
            (ModeName::SideBySide, None) => Ok(Mode::SideBySide),
            (ModeName::NewEnvironment, Some(recovery)) => Ok(Mode::NewEnvironment { recovery }),
            (ModeName::NewEnvironment, None) => {
                Err(malformed("a restore to a new environment needs the recovery that made its instances, as `--recovery rc_…`"))
            }
            (ModeName::InPlace | ModeName::SideBySide, Some(recovery)) => {
                Err(malformed(format!("only a restore with mode new-environment goes to the instances of recovery {recovery}")))
            }
        }
    }

    /// How much of the recovery point is wanted. Whether the tables are there is the preview's to say.
    ///
    /// # Errors
    /// If a name is empty, too long or given twice, or there are too many.
    pub(crate) fn selection(&self) -> Result<Selection, ErrorReport> {
        let Self { tables, columns, .. } = self;
        for (what, count) in [("tables", tables.len()), ("columns", columns.len())] {
            if count > caps::SELECTED_MAX {
                return Err(malformed(format!("{count} {what} are named; one request takes at most {}", caps::SELECTED_MAX)));
            }
        }
        let of_columns = columns.iter().flat_map(|column| [&column.table, &column.column].into_iter().chain(&column.now));
        for name in tables.iter().chain(of_columns) {
            if name.trim().is_empty() || name.len() > caps::SELECTED_NAME_BYTES_MAX {
                return Err(malformed(format!("`{name}` is not the name of a table or column")));
            }
        }
        if let Some(twice) = first_twice(tables.iter().map(String::as_str)) {
            return Err(malformed(format!("table `{twice}` is named twice")));
        }
        if let Some((table, column)) = first_twice(columns.iter().map(|column| (column.table.as_str(), column.column.as_str()))) {
            return Err(malformed(format!("column `{column}` of table `{table}` is named twice")));
        }
        Ok(Selection { tables: tables.clone(), columns: columns.clone() })
    }

    /// Whether the recovery point can be found as asked: by one name, or by an instant.
    ///
    /// # Errors
    /// If two ways of finding it are asked for, or half of one.
    pub(crate) fn check_point(&self) -> Result<(), ErrorReport> {
        if self.kind == Some(Kind::Snapshot) {
            let message =
                "snapshots are of instances, and no tenant is restored from one: choose database, media or configuration";
            return Err(malformed(message));
        }
        if self.point.is_some() && self.time.is_some() {
            return Err(malformed("name either a recovery point or a time, not both"));
        }
        if self.native && self.time.is_none() {
            return Err(malformed("point-in-time recovery needs the time"));
        }
        if self.native && self.kind.is_some_and(|kind| kind != Kind::Database) {
            return Err(malformed(
                "point-in-time recovery is of databases: files and settings have no log; leave the kind out, or leave `native` out",
            ));
        }
        Ok(())
    }
}

/// Whether a recovery point of this kind can be restored in this way.
///
/// # Errors
/// If only databases can.
pub(super) fn check_kind(kind: Kind, mode: Mode, selection: &Selection) -> Result<(), ErrorReport> {
    if kind == Kind::Database {
        return Ok(());
    }
    if !selection.is_everything() {
        let what = kind.unit();
        return Err(malformed(format!("tables and columns are of databases; a restore of {what} takes all of a recovery point")));
    }
    match mode {
        Mode::InPlace => Ok(()),
        Mode::SideBySide if kind == Kind::Media => Err(malformed(
            "files are not restored side by side: a version of a key has no second place, and every version stays readable as it is",
        )),
        Mode::SideBySide => Err(malformed("settings are not restored side by side: their names are what reads them")),
        Mode::NewEnvironment { .. } => {
            Err(malformed(format!("a new environment has new instances of databases; {} are restored in place", kind.unit())))
        }
    }
}

fn first_twice<T: Ord + Copy>(names: impl Iterator<Item = T>) -> Option<T> {
    let mut seen = std::collections::BTreeSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}

fn malformed(message: impl Into<String>) -> ErrorReport {
    ErrorReport::new(ErrorCode::MalformedEvent, message)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn wish(of: Value) -> Result<(Mode, Selection), String> {
        let mut body = json!({ "tenant": "acme", "reason": "gone" });
        body.as_object_mut().unwrap().extend(of.as_object().unwrap().clone());
        let wish: Wish = serde_json::from_value(body).map_err(|error| error.to_string())?;
        let checked = || {
            wish.check_point()?;
            let (mode, selection) = (wish.mode()?, wish.selection()?);
            check_kind(wish.kind.unwrap_or_default(), mode, &selection)?;
            Ok((mode, selection))
        };
        checked().map_err(|report: ErrorReport| report.to_string())
    }

    const RECOVERY: &str = "rc_00000000-0000-0000-0000-000000000004";

    #[test]
    fn a_wish_says_where_and_how_much() {
        assert_eq!(wish(json!({})), Ok((Mode::InPlace, Selection::default())));
        assert_eq!(wish(json!({ "kind": "media", "mode": "in-place" })), Ok((Mode::InPlace, Selection::default())));
        let renamed = json!({ "table": "app.orders", "column": "note", "now": "remark" });
        let (mode, selection) =
            wish(json!({ "mode": "side-by-side", "tables": ["app.orders", "app.Order Lines"], "columns": [renamed] })).unwrap();
        assert_eq!((mode, selection.tables.len()), (Mode::SideBySide, 2));
        assert_eq!(selection.columns[0].now.as_deref(), Some("remark"));
        let (mode, _) = wish(json!({ "mode": "new-environment", "recovery": RECOVERY })).unwrap();
        assert_eq!(mode, Mode::NewEnvironment { recovery: RECOVERY.parse().unwrap() });
        assert!(wish(json!({ "time": "2026-11-23T03:00:00Z", "native": true })).is_ok());
    }

    #[test]
    fn what_makes_no_sense_together_is_refused_in_words() {
        let point = "rp_00000000-0000-0000-0000-000000000002";
        let column = |now: Value| json!({ "table": "orders", "column": "note", "now": now });
        for (of, about) in [
            (json!({ "mode": "elsewhere" }), "unknown variant"),
            (json!({ "mode": "new-environment" }), "needs the recovery"),
            (json!({ "recovery": RECOVERY }), RECOVERY),
            (json!({ "mode": "side-by-side", "recovery": RECOVERY }), RECOVERY),
            (json!({ "kind": "media", "mode": "side-by-side" }), "files are not restored side by side"),
            (json!({ "kind": "configuration", "mode": "side-by-side" }), "settings are not restored side by side"),
            (json!({ "kind": "media", "mode": "new-environment", "recovery": RECOVERY }), "objects are restored in place"),
            (json!({ "kind": "media", "tables": ["orders"] }), "tables and columns are of databases"),
            (json!({ "kind": "configuration", "columns": [column(Value::Null)] }), "tables and columns are of databases"),
            (json!({ "kind": "snapshot" }), "snapshots are of instances"),
            (json!({ "point": point, "time": "2026-11-23T03:00:00Z" }), "not both"),
            (json!({ "native": true }), "needs the time"),
            (json!({ "native": true, "time": "2026-11-23T03:00:00Z", "kind": "media" }), "of databases"),
            (json!({ "tables": ["orders", "orders"] }), "`orders` is named twice"),
            (json!({ "columns": [column(Value::Null), column(json!("remark"))] }), "`note` of table `orders` is named twice"),
            (json!({ "tables": [" "] }), "not the name"),
            (json!({ "tables": ["x".repeat(caps::SELECTED_NAME_BYTES_MAX + 1)] }), "not the name"),
            (json!({ "tables": vec!["x"; caps::SELECTED_MAX + 1] }), "at most 500"),
            (json!({ "requested_by": "ana" }), "unknown field"),
        ] {
            let refused = wish(of.clone()).expect_err(&of.to_string());
            assert!(refused.contains(about), "{of}: {refused}");
        }
    }
}
