//! The cutover of rows that go into live tables: in one transaction they become the recovery point's, by the smallest difference, and no
//! other row changes. Any doubt rolls the whole back.
//!
//! Writers of the tables wait until it is over, readers do not. Triggers are off meanwhile, as they would rewrite what is
//! being restored; foreign keys stay on, and are checked at the end.

use serde::Deserialize;
use vault::{Digester, StreamSummary};

use super::{
    super::{
        catalog, chosen,
        copy_out::{self, Placement},
        digest,
        facts::{ForeignKeyFacts, SequenceFacts, TableFacts},
        ident::{Ident, QualifiedName, list, literal},
        order, projected, readers,
        scope::Scope,
        session::Session,
    },
    CutOver, Job, Staged,
    check::summarise,
    copy, difference,
    difference_sql::TableSql,
    job::Goal,
    lock::RestoreLock,
};
use crate::error::{Phase, SourceError};

#[derive(Deserialize)]
struct Count {
    rows: u64,
}

/// Rows that are not to change, and those of them that were written all the same.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Others {
    rows: u64,
    written: u64,
}

/// A trigger and when it fires, as `pg_trigger.tgenabled` spells it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Trigger {
    schema: Ident,
    table: Ident,
    name: Ident,
    enabled: String,
}

/// Applies the difference and returns the name of the schema that keeps what was replaced.
pub(super) async fn cut_over(job: &Job<'_>, lock: &RestoreLock, staged: &Staged) -> Result<CutOver, SourceError> {
    let endpoint = if staged.writes_itself { staged.endpoint.clone() } else { job.live() };
    let session = Session::open(&endpoint, Phase::Restoring).await?;
    let done = apply_difference(job, lock, staged, &session).await;
    session.close().await;
    // What became of columns is in the preview's notes and in the proof's.
    done.map(|()| CutOver { undo_copy: Some(job.names.undo.as_str().to_owned()), notes: Vec::new() })
}

async fn apply_difference(job: &Job<'_>, lock: &RestoreLock, staged: &Staged, session: &Session) -> Result<(), SourceError> {
    session.batch("starting the cutover", "BEGIN").await?;
    let cutover = Cutover::lock(job, staged, session).await?;
    cutover.refuse_drift().await?;
    cutover.refuse_uncounted().await?;
    difference::refuse_rules(session, &staged.fits).await?;
    cutover.keep_present_rows(staged.writes_itself).await?;
    cutover.refuse_collisions().await?;
    cutover.refuse_foreign_references().await?;
    cutover.refuse_dangling().await?;
    cutover.refuse_needing().await?;
    let within_reach = cutover.others_within_reach().await?;
    let before = cutover.read_guards().await?;
    cutover.set_triggers_off(&before.triggers).await?;
    cutover.defer_foreign_keys(true).await?;
    cutover.apply().await?;
    session.batch("checking the foreign keys", "SET CONSTRAINTS ALL IMMEDIATE").await?;
    cutover.defer_foreign_keys(false).await?;
    cutover.set_triggers_back(&before.triggers).await?;
    cutover.move_sequences().await?;
    cutover.refuse_changes_elsewhere().await?;
    cutover.refuse_changed_others(&within_reach).await?;
    if cutover.read_guards().await? != before {
        let what = "triggers or foreign keys could not be put back as they were";
        return Err(SourceError::restore_refused(session.place(), what, "report this with the server's version"));
    }
    cutover.prove().await?;
    lock.still_held().await?;
    session.batch("committing the cutover", "COMMIT").await
}

/// What must be the same before and after: triggers and the foreign keys' modes.
#[derive(Debug, PartialEq, Eq)]
struct Guards {
    triggers: Vec<Trigger>,
    foreign_keys: Vec<serde_json::Value>,
}

struct Cutover<'a> {
    job: &'a Job<'a>,
    session: &'a Session,
    /// The tables that are restored, as they are under the lock.
    live: Vec<TableFacts>,
    /// All tables of the scope.
    scope: Vec<TableFacts>,
    sequences: Vec<SequenceFacts>,
    /// The foreign keys from or to the tables that are restored.
    foreign_keys: Vec<ForeignKeyFacts>,
    tables: Vec<TableSql<'a>>,
}

impl<'a> Cutover<'a> {
    async fn lock(job: &'a Job<'a>, staged: &'a Staged, session: &'a Session) -> Result<Self, SourceError> {
        let names = list(staged.fits.iter().map(|fit| &fit.live.name));
        session.batch("locking the tables", &format!("LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE")).await?;
        let (scope, _) = catalog::read_tables(session, job.scope).await?;
        if chosen::fits(session, job.scope, &job.facts, &scope, &job.selection).await? != staged.fits {
            let what = "the tables changed while the recovery point was being loaded";
            return Err(SourceError::restore_refused(session.place(), what, "restore when no migration is running"));
        }
        let live: Vec<_> = staged.fits.iter().map(|fit| fit.live.clone()).collect();
        let is_chosen = |name: &QualifiedName| live.iter().any(|table| table.name == *name);
        let mut foreign_keys = catalog::read_foreign_keys(session, job.scope).await?;
        foreign_keys.retain(|key| is_chosen(&key.table) || is_chosen(&key.referenced));
        let sequences = catalog::read_owned_sequences(session, job.scope, &live).await?;
        let mut tables = Vec::with_capacity(staged.fits.len());
        for fit in &staged.fits {
            let equalities = if fit.key.is_empty() { Vec::new() } else { order::equalities_of_key(session, &fit.live).await? };
            let uniques = if fit.key.is_empty() { Vec::new() } else { order::unique_indexes(session, &fit.live.name).await? };
            let schemas = [&job.names.stage, &job.names.undo];
            tables.push(TableSql::new(session.place(), job.scope, fit, schemas, &equalities)?.with_uniques(uniques));
        }
        Ok(Self { job, session, live, scope, sequences, foreign_keys, tables })
    }

    fn is_chosen(&self, name: &QualifiedName) -> bool {
        self.live.iter().any(|table| table.name == *name)
    }

    async fn read(&self, digester: &Digester) -> Result<Vec<StreamSummary>, SourceError> {
        readers::read_alone(self.session, &self.live, Placement::live(self.job.scope), digester).await
    }

    /// The tables are locked now: what was approved must still be what is there.
    async fn refuse_drift(&self) -> Result<(), SourceError> {
        let Some(approved) = &self.job.approved_live else { return Ok(()) };
        let digester = Digester::against(self.job.point).await?;
        if digest::identity(&self.read(&digester).await?) == *approved {
            return Ok(());
        }
        Err(SourceError::Drifted { place: self.session.place().clone() })
    }

    async fn keep_present_rows(&self, by_role: bool) -> Result<(), SourceError> {
        let undo = &self.job.names.undo;
        let mut statements = vec![format!("CREATE SCHEMA {undo}")];
        statements.extend(self.tables.iter().map(TableSql::keep));
        // What the restore's role owns goes with it; the copy stays. Each table's rows are for its own owner alone.
        if let Some(first) = self.live.first().filter(|_| by_role) {
            let main_owner = Ident::new(first.owner.clone())?;
            statements.push(format!("ALTER SCHEMA {undo} OWNER TO {main_owner}"));
            for table in &self.live {
                let (name, owner) = (table.name.in_schema(undo), Ident::new(table.owner.clone())?);
                if owner == main_owner {
                    statements.push(format!("ALTER TABLE {name} OWNER TO {owner}"));
                } else {
                    // An owner has to be one who could have made the table there.
                    statements.push(format!(
                        "GRANT USAGE, CREATE ON SCHEMA {undo} TO {owner}; ALTER TABLE {name} OWNER TO {owner};
                         REVOKE CREATE ON SCHEMA {undo} FROM {owner}"
                    ));
                }
            }
        }
        self.session.batch("keeping the present rows", &statements.join("; ")).await
    }

    async fn count(&self, doing: String, sql: &str) -> Result<u64, SourceError> {
        self.session.select_one::<Count>(doing, sql).await.map(|count| count.rows)
    }

    async fn refuse_collisions(&self) -> Result<(), SourceError> {
        for (table, sql) in self.live.iter().zip(&self.tables) {
            let Some(collisions) = sql.collisions() else { continue };
            let rows = self.count(format!("looking for taken keys in {}", table.name), &collisions).await?;
            if rows > 0 {
                let what = format!("{rows} keys of {} now belong to rows of other tenants", table.name);
                return Err(self.refusal(what, "free these keys, or restore the tenant side by side"));
            }
        }
        Ok(())
    }

    async fn refuse_foreign_references(&self) -> Result<(), SourceError> {
        for key in &self.foreign_keys {
            let Some(index) = self.live.iter().position(|table| table.name == key.referenced) else { continue };
            let referrer = self.live.iter().find(|table| table.name == key.table);
            let condition = match referrer {
                Some(_) if !self.job.scope.is_pool() => continue,
                Some(table) => Some(format!("r.{}", copy_out::tenant_value(self.session.place(), self.job.scope, table)?.1)),
                None => None,
            };
            let equalities = order::equalities_of_reference(self.session, key).await?;
            let sql = self.tables[index].foreign_references(key, &equalities, condition.as_deref());
            let rows = self.count(format!("looking for foreign references by {}", key.name), &sql).await?;
            if rows > 0 {
                let whose = if self.job.scope.is_pool() { "not this tenant's" } else { "not restored" };
                // Rows of a pool's table that is not selected may be the tenant's own.
                let whose = if self.job.selection.tables.is_empty() { whose } else { "not restored" };
                let what = format!("{rows} rows of {} that are {whose} reference rows that would go, by {}", key.table, key.name);
                return Err(self.refusal(what, "remove these references, or restore the tenant side by side"));
            }
        }
        Ok(())
    }

    /// Rows that come back must find what they refer to in tables that stay as they are.
    async fn refuse_dangling(&self) -> Result<(), SourceError> {
        // A table that the plan excludes has tenants as well.
        let all = Scope { exclusions: Vec::new(), ..self.job.scope.clone() };
        let (all, _) = catalog::read_tables(self.session, &all).await?;
        for key in self.foreign_keys.iter().filter(|key| !self.is_chosen(&key.referenced)) {
            let Some(index) = self.live.iter().position(|table| table.name == key.table) else { continue };
            let equalities = order::equalities_of_reference(self.session, key).await?;
            // Of a pool only tables that have the tenant column are listed.
            let of_tenants = all.iter().find(|table| self.job.scope.is_pool() && table.name == key.referenced);
            let condition = match of_tenants {
                Some(table) => Some(format!("r.{}", copy_out::tenant_value(self.session.place(), self.job.scope, table)?.1)),
                None => None,
            };
            let Some(sql) = self.tables[index].dangling(key, &equalities, condition.as_deref()) else { continue };
            let rows = self.count(format!("looking for what {} refers to", key.name), &sql).await?;
            if rows > 0 {
                let missing = if condition.is_some() { "not there, or not this tenant's" } else { "not there" };
                let what = format!(
                    "{rows} rows of {} would refer to rows of {} that are {missing}, by {}",
                    key.table, key.referenced, key.name
                );
                return Err(self.refusal(what, "restore that table as well, or bring these rows back before"));
            }
        }
        Ok(())
    }

    async fn refuse_needing(&self) -> Result<(), SourceError> {
        for sql in self.tables.iter().filter(|sql| !sql.fit().needing.is_empty()) {
            let rows = self.count(format!("counting what comes back into {}", sql.fit().live.name), &sql.missing()).await?;
            chosen::refuse_needing(self.session.place(), sql.fit(), rows)?;
        }
        Ok(())
    }

    /// Counts the rows of others in tables where a foreign key's action could reach them: one that does something, and does not have the
    /// tenant in it.
    async fn others_within_reach(&self) -> Result<Vec<(usize, u64)>, SourceError> {
        #[derive(Deserialize)]
        struct Acting {
            schema: Ident,
            table: Ident,
        }
        let Some(tenant) = &self.job.scope.tenant_column else { return Ok(Vec::new()) };
        let sql = format!(
            "SELECT DISTINCT n.nspname AS schema, c.relname AS table FROM pg_constraint p JOIN pg_class c ON c.oid = p.conrelid
             JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE p.contype = 'f' AND p.conparentid = 0 AND p.conrelid IN {} AND (p.confdeltype IN ('c', 'n', 'd') OR p.confupdtype IN ('c', 'n', 'd'))
                 AND NOT EXISTS (SELECT FROM unnest(p.conkey, p.confkey) AS k(own, referenced)
                     JOIN pg_attribute a ON a.attrelid = p.conrelid AND a.attnum = k.own AND a.attname = {1}
                     JOIN pg_attribute r ON r.attrelid = p.confrelid AND r.attnum = k.referenced AND r.attname = {1})",
            self.relations(),
            literal(tenant.as_str())
        );
        let acting: Vec<Acting> = self.session.select("looking for foreign keys that reach other tenants", &sql).await?;
        let mut counted = Vec::new();
        for Acting { schema, table } in acting {
            let name = QualifiedName { schema, name: table };
            let Some(index) = self.live.iter().position(|table| table.name == name) else { continue };
            counted.push((index, self.others(index).await?.rows));
        }
        Ok(counted)
    }

    async fn others(&self, index: usize) -> Result<Others, SourceError> {
        let doing = format!("counting the rows of others in {}", self.live[index].name);
        self.session.select_one(doing, &self.tables[index].others()).await
    }

    async fn refuse_changed_others(&self, before: &[(usize, u64)]) -> Result<(), SourceError> {
        for (index, rows) in before {
            if self.others(*index).await? != (Others { rows: *rows, written: 0 }) {
                let what = format!("rows of other tenants in {} would change, by a foreign key's action", self.live[*index].name);
                return Err(self.refusal(what, "remove their references to the rows that would go"));
            }
        }
        Ok(())
    }

    /// The relations that may change: the tables and their partitions.
    fn relations(&self) -> String {
        self.relations_of(self.live.iter().map(|table| &table.name))
    }

    fn relations_of<'b>(&self, names: impl Iterator<Item = &'b QualifiedName>) -> String {
        let roots: Vec<_> = names.map(|name| format!("{}::regclass", literal(&name.to_string()))).collect();
        format!(
            "(SELECT root::oid FROM unnest(ARRAY[{0}]) root UNION SELECT t.relid::oid FROM unnest(ARRAY[{0}]) root, pg_partition_tree(root) t)",
            roots.join(", ")
        )
    }

    async fn read_guards(&self) -> Result<Guards, SourceError> {
        let relations = self.relations();
        // Parents come first, because switching a trigger of a partitioned table switches its partitions' too.
        let triggers = format!(
            "SELECT n.nspname AS schema, c.relname AS table, g.tgname AS name, g.tgenabled AS enabled
             FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE NOT g.tgisinternal AND g.tgrelid IN {relations} ORDER BY c.relispartition, c.relkind DESC, 1, 2, 3"
        );
        let referring = self.foreign_keys.iter().map(|key| &key.table);
        let foreign_keys = format!(
            "SELECT p.conrelid::regclass AS table, p.conname AS name, p.condeferrable, p.condeferred, p.convalidated
             FROM pg_constraint p WHERE p.contype = 'f' AND p.conrelid IN {} ORDER BY 1, 2",
            self.relations_of(self.live.iter().map(|table| &table.name).chain(referring))
        );
        Ok(Guards {
            triggers: self.session.select("reading triggers", &triggers).await?,
            foreign_keys: self.session.select("reading foreign keys", &foreign_keys).await?,
        })
    }

    async fn set_triggers_off(&self, triggers: &[Trigger]) -> Result<(), SourceError> {
        let statements = triggers.iter().filter(|trigger| trigger.enabled != "D").map(|trigger| trigger.switch("DISABLE"));
        self.session.batch("switching triggers off", &statements.collect::<Vec<_>>().join("; ")).await
    }

    async fn set_triggers_back(&self, triggers: &[Trigger]) -> Result<(), SourceError> {
        let statements = triggers.iter().map(|trigger| {
            trigger.switch(match trigger.enabled.as_str() {
                "D" => "DISABLE",
                "R" => "ENABLE REPLICA",
                "A" => "ENABLE ALWAYS",
                _ => "ENABLE",
            })
        });
        self.session.batch("switching triggers back", &statements.collect::<Vec<_>>().join("; ")).await
    }

    /// Lets foreign keys between the scope's tables be checked at the end, so that no order of changes is wrong; or not any more.
    async fn defer_foreign_keys(&self, deferred: bool) -> Result<(), SourceError> {
        let is_ours = |name: &QualifiedName| self.scope.iter().any(|table| table.name == *name);
        let between = |key: &&ForeignKeyFacts| !key.deferrable && is_ours(&key.table) && is_ours(&key.referenced);
        let mode = if deferred { "DEFERRABLE INITIALLY DEFERRED" } else { "NOT DEFERRABLE" };
        let mut statements: Vec<_> = self
            .foreign_keys
            .iter()
            .filter(between)
            .map(|key| format!("ALTER TABLE {} ALTER CONSTRAINT {} {mode}", key.table, key.name))
            .collect();
        if deferred {
            statements.push("SET CONSTRAINTS ALL DEFERRED".to_owned());
        }
        self.session.batch("switching when foreign keys are checked", &statements.join("; ")).await
    }

    /// First what goes, then what changes, then what comes: a unique value that moves from one row to another is free in time, because
    /// a row that is to have what another one holds now goes and comes back. Of values that an index computes this is not known: one that
    /// moves between rows that stay fails, and nothing is changed.
    async fn apply(&self) -> Result<(), SourceError> {
        let each = || self.live.iter().zip(&self.tables);
        let (mut deleted, mut updated, mut inserted) = (0, 0, 0);
        for (table, sql) in each() {
            deleted += self.session.execute(format!("deleting from {}", table.name), &sql.delete()).await?;
        }
        for (table, sql) in each() {
            if let Some(update) = sql.update() {
                updated += self.session.execute(format!("updating {}", table.name), &update).await?;
            }
        }
        for (table, sql) in each() {
            inserted += self.session.execute(format!("inserting into {}", table.name), &sql.insert()).await?;
        }
        for (table, sql) in each() {
            let doing = || format!("keeping what new columns of {} hold", table.name);
            if let Some(keep) = sql.keep_gained() {
                self.session.execute(doing(), &keep).await?;
            }
            if let Some(count) = sql.count_lost_gained() {
                let rows = self.count(doing(), &count).await?;
                if rows > 0 {
                    let what = format!("{rows} rows of {} would lose what a new identity column of theirs holds", table.name);
                    return Err(self.refusal(what, "restore side by side"));
                }
            }
        }
        tracing::info!(deleted, updated, inserted, "difference applied");
        Ok(())
    }

    /// Moves sequences past the restored values, never back: other rows were numbered by them since, a pool's for other tenants.
    async fn move_sequences(&self) -> Result<(), SourceError> {
        for sequence in &self.sequences {
            let Some((owner, column)) = &sequence.owned_by else { continue };
            let Some(fit) = self.tables.iter().map(TableSql::fit).find(|fit| fit.live.name == *owner) else { continue };
            if let Some(recorded) = fit.recorded_name(column) {
                self.move_sequence(sequence, &fit.live, recorded).await?;
            }
        }
        Ok(())
    }

    async fn move_sequence(&self, sequence: &SequenceFacts, table: &TableFacts, column: &Ident) -> Result<(), SourceError> {
        #[derive(Deserialize)]
        struct Extreme {
            value: Option<i64>,
        }
        let (extreme, is_past): (_, fn(i64, i64) -> bool) =
            if sequence.increment < 0 { ("min", |value, last| value < last) } else { ("max", |value, last| value > last) };
        let staged = table.name.in_schema(&self.job.names.stage);
        let doing = format!("moving sequence {}", sequence.name);
        let found: Extreme =
            self.session.select_one(&doing, &format!("SELECT {extreme}({column}) AS value FROM {staged}")).await?;
        let Some(value) = found.value else { return Ok(()) };
        if !is_past(value, catalog::read_sequence_value(self.session, &sequence.name).await?.0) {
            return Ok(());
        }
        // Setting its increment to itself keeps others from drawing until the end of the transaction, and makes what follows part of it.
        let lock = format!("ALTER SEQUENCE {} INCREMENT BY {}", sequence.name, sequence.increment);
        self.session.batch(&doing, &lock).await?;
        if is_past(value, catalog::read_sequence_value(self.session, &sequence.name).await?.0) {
            let name = literal(&sequence.name.to_string());
            self.session.batch(&doing, &format!("SELECT setval({name}::regclass, {value}, true)")).await?;
        }
        Ok(())
    }

    /// What changes elsewhere is told by the server's counters, which say nothing where they are switched off.
    async fn refuse_uncounted(&self) -> Result<(), SourceError> {
        #[derive(Deserialize)]
        struct Setting {
            value: String,
        }
        let sql = "SELECT current_setting('track_counts') AS value";
        let setting: Setting = self.session.select_one("asking whether the server counts changes", sql).await?;
        if setting.value == "on" {
            return Ok(());
        }
        let what = "track_counts is off, so that changes outside of what is restored would not be seen".to_owned();
        Err(self.refusal(what, "set track_counts to on for this server, database and account until the restore is over"))
    }

    /// The server counts what a transaction changes in each table: outside the restored tables and the undo copy it must be nothing.
    async fn refuse_changes_elsewhere(&self) -> Result<(), SourceError> {
        #[derive(Deserialize)]
        struct Changed {
            table: String,
        }
        // A setting may change while the transaction runs.
        self.refuse_uncounted().await?;
        let sql = format!(
            "SELECT schemaname || '.' || relname AS table FROM pg_stat_xact_user_tables
             WHERE n_tup_ins + n_tup_upd + n_tup_del > 0 AND schemaname <> {} AND relid NOT IN {} ORDER BY 1",
            literal(self.job.names.undo.as_str()),
            self.relations()
        );
        let changed: Vec<Changed> = self.session.select("looking for changes elsewhere", &sql).await?;
        match changed.first() {
            None => Ok(()),
            Some(changed) => {
                let what = format!("table {} outside of what is restored would change, by a foreign key's action", changed.table);
                Err(self.refusal(what, "remove its references to the rows that would go"))
            }
        }
    }

    async fn prove(&self) -> Result<(), SourceError> {
        let (digester, at) = (Digester::against(self.job.point).await?, Placement::live(self.job.scope));
        let (read, fits) = (self.read(&digester).await?, self.tables.iter().map(TableSql::fit).cloned().collect::<Vec<_>>());
        let lines = match &self.job.goal {
            Goal::Point => projected::differences(self.session, at, &fits, &read, self.job.point, &digester).await?,
            Goal::Copy(kept) => copy::differences(&read, kept),
        };
        if lines.is_empty() {
            return Ok(());
        }
        let state = "the cutover was rolled back".to_owned();
        Err(SourceError::Mismatch { place: self.session.place().clone(), what: summarise(&lines), state })
    }

    fn refusal(&self, what: String, remedy: &str) -> SourceError {
        SourceError::restore_refused(self.session.place(), what, remedy)
    }
}

impl Trigger {
    fn switch(&self, how: &str) -> String {
        format!("ALTER TABLE {}.{} {how} TRIGGER {}", self.schema, self.table, self.name)
    }
}
