//! A pool's cutover: in one transaction the tenant's rows become the recovery point's, by the smallest difference, and no other row
//! changes. Any doubt rolls the whole back.
//!
//! Writers of the pool's tables wait until it is over, readers do not. Triggers are off meanwhile, as they would rewrite what is
//! being restored; foreign keys stay on, and are checked at the end.

use serde::Deserialize;
use vault::Digester;

use super::{
    super::{
        catalog,
        copy_out::{self, Placement},
        digest,
        facts::{DatabaseFacts, ForeignKeyFacts, SequenceFacts, TableFacts},
        ident::{Ident, QualifiedName, list, literal},
        order, readers,
        session::Session,
    },
    CutOver, Job,
    check::summarise,
    lock::RestoreLock,
    pool,
    pool_sql::TableSql,
};
use crate::error::{Phase, SourceError};

#[derive(Deserialize)]
struct Count {
    rows: u64,
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
pub(super) async fn cut_over(job: &Job<'_>, lock: &RestoreLock) -> Result<CutOver, SourceError> {
    let session = Session::open(&job.live(), Phase::Restoring).await?;
    let done = apply_difference(job, lock, &session).await;
    session.close().await;
    done.map(|()| CutOver::keeping(Some(job.names.undo.as_str().to_owned())))
}

async fn apply_difference(job: &Job<'_>, lock: &RestoreLock, session: &Session) -> Result<(), SourceError> {
    session.batch("starting the cutover", "BEGIN").await?;
    let cutover = Cutover::lock(job, session).await?;
    cutover.refuse_drift().await?;
    cutover.keep_present_rows().await?;
    cutover.refuse_collisions().await?;
    cutover.refuse_foreign_references().await?;
    let before = cutover.read_guards().await?;
    cutover.set_triggers_off(&before.triggers).await?;
    cutover.defer_foreign_keys(true).await?;
    cutover.apply().await?;
    session.batch("checking the foreign keys", "SET CONSTRAINTS ALL IMMEDIATE").await?;
    cutover.defer_foreign_keys(false).await?;
    cutover.set_triggers_back(&before.triggers).await?;
    cutover.move_sequences().await?;
    cutover.refuse_changes_elsewhere().await?;
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
    /// The live facts, read under the lock.
    live: DatabaseFacts,
    tables: Vec<TableSql<'a>>,
}

impl<'a> Cutover<'a> {
    async fn lock(job: &'a Job<'a>, session: &'a Session) -> Result<Self, SourceError> {
        let names = list(job.facts.tables.iter().map(|table| &table.name));
        session.batch("locking the pool's tables", &format!("LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE")).await?;
        pool::refuse_changed_structure(job, session).await?;
        let live = catalog::read_facts(session, job.scope).await?;
        let stage = pool::stage_schema(job);
        let mut tables = Vec::with_capacity(job.facts.tables.len());
        for table in &job.facts.tables {
            let equalities = order::equalities_of_key(session, table).await?;
            tables.push(TableSql::new(session.place(), job.scope, table, stage, &job.names.undo, &equalities)?);
        }
        Ok(Self { job, session, live, tables })
    }

    async fn digest(&self) -> Result<Vec<vault::StreamSummary>, SourceError> {
        let digester = Digester::against(self.job.point).await?;
        readers::read_alone(self.session, &self.job.facts.tables, Placement::live(self.job.scope), &digester).await
    }

    /// The tables are locked now: what was approved must still be what is there.
    async fn refuse_drift(&self) -> Result<(), SourceError> {
        match &self.job.approved_live {
            Some(approved) if digest::identity(&self.digest().await?) != *approved => {
                Err(SourceError::Drifted { place: self.session.place().clone() })
            }
            _ => Ok(()),
        }
    }

    async fn keep_present_rows(&self) -> Result<(), SourceError> {
        let mut statements = vec![format!("CREATE SCHEMA {}", self.job.names.undo)];
        statements.extend(self.tables.iter().map(TableSql::keep));
        self.session.batch("keeping the tenant's present rows", &statements.join("; ")).await
    }

    async fn refuse_collisions(&self) -> Result<(), SourceError> {
        for (table, sql) in self.job.facts.tables.iter().zip(&self.tables) {
            let count: Count =
                self.session.select_one(format!("looking for taken keys in {}", table.name), &sql.collisions()).await?;
            if count.rows > 0 {
                let what = format!("{} keys of {} now belong to rows of other tenants", count.rows, table.name);
                return Err(self.refusal(what, "free these keys, or restore the tenant side by side"));
            }
        }
        Ok(())
    }

    async fn refuse_foreign_references(&self) -> Result<(), SourceError> {
        for key in &self.live.foreign_keys {
            let Some(index) = self.job.facts.tables.iter().position(|table| table.name == key.referenced) else { continue };
            let referrer = self.live.tables.iter().find(|table| table.name == key.table);
            let condition = match referrer {
                Some(table) => Some(format!("r.{}", copy_out::tenant_value(self.session.place(), self.job.scope, table)?.1)),
                None => None,
            };
            let equalities = order::equalities_of_reference(self.session, key).await?;
            let sql = self.tables[index].foreign_references(key, &equalities, condition.as_deref());
            let count: Count = self.session.select_one(format!("looking for foreign references by {}", key.name), &sql).await?;
            if count.rows > 0 {
                let what = format!(
                    "{} rows of {} that are not this tenant's reference rows that would go, by {}",
                    count.rows, key.table, key.name
                );
                return Err(self.refusal(what, "remove these references, or restore the tenant side by side"));
            }
        }
        Ok(())
    }

    /// The relations that may change: the tables and their partitions.
    fn relations(&self) -> String {
        let roots: Vec<_> =
            self.job.facts.tables.iter().map(|table| format!("{}::regclass", literal(&table.name.to_string()))).collect();
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
        let foreign_keys = format!(
            "SELECT p.conrelid::regclass AS table, p.conname AS name, p.condeferrable, p.condeferred, p.convalidated
             FROM pg_constraint p WHERE p.contype = 'f' AND p.conrelid IN {relations} ORDER BY 1, 2"
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

    /// Lets foreign keys between the pool's tables be checked at the end, so that no order of changes is wrong; or not any more.
    async fn defer_foreign_keys(&self, deferred: bool) -> Result<(), SourceError> {
        let is_ours = |name: &QualifiedName| self.live.tables.iter().any(|table| table.name == *name);
        let between = |key: &&ForeignKeyFacts| !key.deferrable && is_ours(&key.table) && is_ours(&key.referenced);
        let mode = if deferred { "DEFERRABLE INITIALLY DEFERRED" } else { "NOT DEFERRABLE" };
        let mut statements: Vec<_> = self
            .live
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

    /// First what goes, then what changes, then what comes: a unique value that moves from one row to another is free in time.
    async fn apply(&self) -> Result<(), SourceError> {
        let each = || self.job.facts.tables.iter().zip(&self.tables);
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
        tracing::info!(deleted, updated, inserted, "difference applied");
        Ok(())
    }

    /// Moves sequences past the restored values, never back: other tenants draw from them, too.
    async fn move_sequences(&self) -> Result<(), SourceError> {
        for sequence in &self.live.sequences {
            let Some((owner, column)) = &sequence.owned_by else { continue };
            let Some(table) = self.job.facts.tables.iter().find(|table| table.name == *owner) else { continue };
            self.move_sequence(sequence, table, column).await?;
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

    /// The server counts what a transaction changes in each table: outside the pool's tables and the undo copy it must be nothing.
    async fn refuse_changes_elsewhere(&self) -> Result<(), SourceError> {
        #[derive(Deserialize)]
        struct Changed {
            table: String,
        }
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
                let what = format!("table {} outside the tenant's scope would change, by a foreign key's action", changed.table);
                Err(self.refusal(what, "remove its references to the rows that would go"))
            }
        }
    }

    async fn prove(&self) -> Result<(), SourceError> {
        let lines = digest::differences(&self.digest().await?, self.job.point.manifest());
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
