//! What one restore is about, and where.

use bytes::Bytes;
use domain::{assertion::Assertion, request::Selection};
use vault::{Digester, PointReader, StreamSummary};

use super::{
    super::{
        chosen,
        digest::{self, LiveDigest},
        endpoint::Endpoint,
        facts::DatabaseFacts,
        fit::Fit,
        ident::Ident,
        scope::Scope,
        session::Session,
        tools::Tools,
    },
    Names, RestoreId,
};
use crate::error::{Phase, Place, SourceError};

/// The database every server has, from which others are made and renamed.
const MAINTENANCE_DATABASE: &str = "postgres";

/// One restore: which recovery point, into which scope, on which server.
#[derive(Clone)]
pub struct Job<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) tools: &'a Tools,
    pub(super) scope: &'a Scope,
    pub(super) point: &'a PointReader,
    pub(super) facts: DatabaseFacts,
    pub(super) names: Names,
    pub(super) approved_live: Option<String>,
    pub(super) selection: Selection,
    pub(super) goal: Goal,
    pub(super) assertions: Vec<Assertion>,
}

/// What the live rows must be in the end.
#[derive(Clone)]
pub(super) enum Goal {
    /// The recovery point's.
    Point,
    /// Those of a copy that was kept, table by table.
    Copy(Vec<StreamSummary>),
}

impl<'a> Job<'a> {
    /// Prepares a restore.
    ///
    /// `endpoint` names the server and the account that makes roles, databases and schemas there; `scope` is the tenant's present
    /// one, and the only target.
    ///
    /// # Errors
    /// If the recovery point does not hold the export of a database.
    pub fn new(
        endpoint: &'a Endpoint,
        tools: &'a Tools,
        scope: &'a Scope,
        id: &RestoreId,
        point: &'a PointReader,
    ) -> Result<Self, SourceError> {
        let facts = DatabaseFacts::decode(&point.manifest().facts)?;
        Ok(Self {
            endpoint,
            tools,
            scope,
            point,
            facts,
            names: Names::of(id)?,
            approved_live: None,
            selection: Selection::default(),
            goal: Goal::Point,
            assertions: Vec::new(),
        })
    }

    /// Binds the restore to what was previewed: any other live data is [`SourceError::Drifted`].
    #[must_use]
    pub fn approved_for(mut self, live_digest: impl Into<String>) -> Self {
        self.approved_live = Some(live_digest.into());
        self
    }

    /// Limits the restore to tables, whose rows are then put into the live ones, and says what became of columns.
    #[must_use]
    pub fn selecting(mut self, selection: &Selection) -> Self {
        self.selection = selection.clone();
        self
    }

    /// Asks these of the staging copy in a restore test.
    #[must_use]
    pub fn asserting(mut self, assertions: Vec<Assertion>) -> Self {
        self.assertions = assertions;
        self
    }

    /// The same job with the facts of the selected tables alone.
    pub(super) fn narrowed(&self) -> Result<Self, SourceError> {
        let facts = chosen::narrow(&self.live_place(), &self.facts, &self.selection)?;
        chosen::check(&self.live_place(), self.scope, &facts, &self.selection)?;
        Ok(Self { facts, ..self.clone() })
    }

    /// Whether rows are put into live tables, instead of tables in the place of others.
    pub(super) fn is_difference(&self) -> bool {
        chosen::is_difference(self.scope, &self.selection)
    }

    /// The recovery point's facts.
    #[must_use]
    pub fn facts(&self) -> &DatabaseFacts {
        &self.facts
    }

    pub(super) fn maintenance(&self) -> Endpoint {
        self.endpoint.with_database(MAINTENANCE_DATABASE)
    }

    pub(super) fn live(&self) -> Endpoint {
        self.endpoint.with_database(self.scope.database.as_str())
    }

    pub(super) fn live_place(&self) -> Place {
        self.live().place()
    }

    pub(super) async fn live_digest(&self) -> Result<Option<LiveDigest>, SourceError> {
        digest::digest(self.endpoint, self.scope, &Digester::against(self.point).await?).await
    }

    /// A tenant that moved cannot be restored to where it was, nor its old shape to where it is.
    pub(super) fn check_layout(&self) -> Result<(), SourceError> {
        if self.facts.layout == self.scope.layout {
            return Ok(());
        }
        let what = format!("the recovery point is of {:?}, the tenant now lives in {:?}", self.facts.layout, self.scope.layout);
        Err(SourceError::restore_refused(&self.live_place(), what, "choose a recovery point made after the tenant moved"))
    }

    /// Refuses a target that lacks a role which owned or was granted something.
    pub(super) async fn check_roles(&self, session: &Session) -> Result<(), SourceError> {
        #[derive(serde::Deserialize)]
        struct Role {
            name: String,
        }
        let found: Vec<Role> = session.select("listing roles", "SELECT rolname AS name FROM pg_roles").await?;
        let missing = self.facts.roles().into_iter().find(|role| !found.iter().any(|found| found.name == *role));
        match missing {
            None => Ok(()),
            Some(role) => {
                let what = format!("role `{role}`, which owned or was granted something, does not exist on this server");
                Err(SourceError::restore_refused(session.place(), what, "create it, then run the restore again"))
            }
        }
    }
}

/// A staging copy, and the login that owns it.
pub(super) struct Staged {
    /// The staging copy's database, as the restore's role.
    pub(super) endpoint: Endpoint,
    /// The schema that stands in for the tables' own, if one does.
    pub(super) schema: Option<Ident>,
    /// Definitions that are made once the rows were compared.
    pub(super) held_back: HeldBack,
    /// How the recorded tables fit the live ones, where rows are put into these.
    pub(super) fits: Vec<Fit>,
    /// Whether the role puts them there itself.
    pub(super) writes_itself: bool,
}

/// Entries of an archive, as `pg_restore` lists them.
#[derive(Default)]
pub(super) struct HeldBack {
    pub(super) archive: Bytes,
    pub(super) entries: String,
}

impl Staged {
    /// A staging copy of tables that take the place of others.
    pub(super) fn of_tables(endpoint: Endpoint, schema: Option<Ident>) -> Self {
        Self { endpoint, schema, held_back: HeldBack::default(), fits: Vec::new(), writes_itself: false }
    }

    /// A session that loads the staging copy.
    ///
    /// It does not wait for its commits to be durable: until the cutover nobody relies on them, and a copy that a crash cut short is
    /// cleared and loaded again. The cutover does wait, and with its own commit everything that was written before it is durable.
    pub(super) async fn session(&self) -> Result<Session, SourceError> {
        let session = Session::open(&self.endpoint, Phase::Restoring).await?;
        session.batch("letting commits be lazy", "SET synchronous_commit = off").await?;
        Ok(session)
    }
}

/// What a cutover left behind.
pub(super) struct CutOver {
    /// The database or schema that keeps what was replaced.
    pub(super) undo_copy: Option<String>,
    /// What could not be set as recorded, one line each.
    pub(super) notes: Vec<String>,
}
