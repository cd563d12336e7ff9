//! A connection whose every setting that could change what is read or written is pinned.

use std::{
    fmt::Display,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures::{SinkExt, StreamExt, stream::Fuse};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, CopyInSink, config::SslMode, types::ToSql};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{endpoint::Endpoint, tls};
use crate::error::{PgFailure, Phase, Place, SourceError};

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for a connection's end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// A statement never outlives the longest invocation (15 minutes).
const STATEMENT_TIMEOUT_MS: u64 = 14 * 60_000;
/// How long to wait behind somebody else's lock before giving up.
const LOCK_TIMEOUT_MS: u64 = 30_000;
/// An export's transaction idles while `pg_dump` runs in its snapshot.
const IDLE_IN_TRANSACTION_TIMEOUT_MS: u64 = 14 * 60_000;

/// Settings whose defaults a database, a role or a tenant may have changed.
///
/// `row_security = off` turns a filtered read into an error; `search_path` keeps a tenant's functions from standing in for
/// the system's, and `SET ROLE NONE` another role from standing in for the account; `synchronize_seqscans` would begin a large table wherever another reader is; the rest makes the text of a value
/// the same on every server and exact when read back.
const PINNED: &str = "SET ROLE NONE; SET row_security = off; SET search_path = pg_catalog; SET client_encoding = 'UTF8'; SET DateStyle = 'ISO, MDY'; \
    SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; SET extra_float_digits = 3; SET bytea_output = 'hex'; \
    SET lc_monetary = 'C'; SET lc_numeric = 'C'; SET xmloption = 'content'; SET array_nulls = on; SET quote_all_identifiers = off; \
    SET standard_conforming_strings = on; SET client_min_messages = warning; SET jit = off; \
    SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off; \
    SET default_transaction_deferrable = off; SET default_tablespace = ''; SET default_table_access_method = 'heap'; \
    SET synchronous_commit = on; SET check_function_bodies = on; SET constraint_exclusion = 'partition'; \
    SET synchronize_seqscans = off";

/// An open connection with its settings pinned.
pub struct Session {
    client: Client,
    driver: JoinHandle<Result<(), tokio_postgres::Error>>,
    place: Place,
    phase: Phase,
    tls: MakeRustlsConnect,
    /// Whether a `COPY … TO STDOUT` has more to give.
    is_copying_out: AtomicBool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Session {
    /// Connects and pins every setting.
    ///
    /// # Errors
    /// Naming the host and the database: unreachable, refused, or without a valid certificate.
    pub async fn open(endpoint: &Endpoint, phase: Phase) -> Result<Self, SourceError> {
        let place = endpoint.place();
        let mut config = Config::new();
        config
            .host(&endpoint.host)
            .port(endpoint.port)
            .dbname(&endpoint.database)
            .user(&endpoint.user)
            .password(endpoint.password.expose())
            .application_name("holdfast")
            // From the first moment: a database's own setting could be too short to change it.
            .options(format!("-c statement_timeout={STATEMENT_TIMEOUT_MS}"))
            .ssl_mode(SslMode::Require)
            .connect_timeout(CONNECT_TIMEOUT)
            .keepalives_idle(Duration::from_secs(30));
        let tls = tls::connector(&endpoint.ca_file)?;
        let connecting = config.connect(tls.clone());
        let connected = tokio::time::timeout(CONNECT_TIMEOUT * 2, connecting).await;
        let (client, connection) = match connected {
            Ok(Ok(pair)) => pair,
            Ok(Err(error)) => return Err(connect_error(endpoint, phase, error)),
            Err(elapsed) => {
                return Err(SourceError::Unreachable { place, doing: "connecting".to_owned(), source: Box::new(elapsed) });
            }
        };
        // Ends by itself when the client is dropped; errors reach the client's own calls.
        let driver = tokio::spawn(connection);
        let session = Self { client, driver, place, phase, tls, is_copying_out: AtomicBool::new(false) };
        let timeouts = format!(
            "; SET statement_timeout = {STATEMENT_TIMEOUT_MS}; SET lock_timeout = {LOCK_TIMEOUT_MS}; \
             SET idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_TIMEOUT_MS}"
        );
        session.batch("pinning the session's settings", &format!("{PINNED}{timeouts}")).await?;
        Ok(session)
    }

    /// Like [`Session::open`], with `None` for a database that does not exist.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub async fn open_if_there(endpoint: &Endpoint, phase: Phase) -> Result<Option<Self>, SourceError> {
        match Self::open(endpoint, phase).await {
            Ok(session) => Ok(Some(session)),
            Err(SourceError::NoDatabase { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Ends the connection, and whatever transaction is open on it, before returning.
    ///
    /// A session that is merely dropped ends when the runtime gets to it. A function that is frozen first would keep its locks
    /// until it is thawed or the server loses patience.
    pub async fn close(mut self) {
        if self.is_copying_out.load(Ordering::Relaxed) {
            // The connection would end only after the rest of the table has come.
            let cancel = self.client.cancel_token();
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, cancel.cancel_query(self.tls)).await;
        }
        drop(self.client);
        if tokio::time::timeout(CLOSE_TIMEOUT, &mut self.driver).await.is_err() {
            self.driver.abort();
        }
    }

    /// The database this session is connected to.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What this session is for.
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn error(&self, doing: impl Display, error: tokio_postgres::Error) -> SourceError {
        SourceError::from_pg(&self.place, self.phase, doing, error)
    }

    /// Runs statements that return nothing.
    pub(crate) async fn batch(&self, doing: impl Display, sql: &str) -> Result<(), SourceError> {
        self.client.batch_execute(sql).await.map_err(|error| self.error(doing, error))
    }

    /// Runs one statement and returns the number of rows it touched.
    pub(crate) async fn execute(&self, doing: impl Display, sql: &str) -> Result<u64, SourceError> {
        self.client.execute(sql, &[]).await.map_err(|error| self.error(doing, error))
    }

    /// Runs a query and reads each row by its column names.
    ///
    /// The rows travel as JSON text, so one decoder serves every catalog query and a surprise is an error, never a panic.
    pub(crate) async fn select<T: DeserializeOwned>(&self, doing: impl Display, sql: &str) -> Result<Vec<T>, SourceError> {
        self.select_with(doing, sql, &[]).await
    }

    /// [`Session::select`] with parameters.
    pub(crate) async fn select_with<T: DeserializeOwned>(
        &self,
        doing: impl Display,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<T>, SourceError> {
        let sql = format!("SELECT to_json(found)::text FROM ({sql}) AS found");
        let rows = self.client.query(&sql, parameters).await.map_err(|error| self.error(&doing, error))?;
        rows.iter()
            .map(|row| {
                let text: &str = row.try_get(0).map_err(|error| SourceError::answer(&self.place, &doing, error))?;
                serde_json::from_str(text).map_err(|error| SourceError::answer(&self.place, &doing, error))
            })
            .collect()
    }

    /// Runs a query that gives exactly one row.
    pub(crate) async fn select_one<T: DeserializeOwned>(&self, doing: impl Display, sql: &str) -> Result<T, SourceError> {
        let mut rows = self.select(&doing, sql).await?;
        match (rows.pop(), rows.is_empty()) {
            (Some(row), true) => Ok(row),
            (row, _) => {
                let found = rows.len() + usize::from(row.is_some());
                Err(SourceError::answer(&self.place, doing, format!("expected one row, found {found}")))
            }
        }
    }

    /// Starts a `COPY … TO STDOUT`.
    pub(crate) async fn copy_out(&self, doing: impl Display, sql: &str) -> Result<CopyOut<'_>, SourceError> {
        let doing = doing.to_string();
        self.is_copying_out.store(true, Ordering::Relaxed);
        let stream = self.client.copy_out(sql).await.map_err(|error| self.error(&doing, error))?;
        Ok(CopyOut { session: self, doing, stream: Box::pin(stream.fuse()) })
    }

    /// Starts a `COPY … FROM STDIN`.
    pub(crate) async fn copy_in(&self, doing: impl Display, sql: &str) -> Result<CopyIn<'_>, SourceError> {
        let doing = doing.to_string();
        let sink = self.client.copy_in(sql).await.map_err(|error| self.error(&doing, error))?;
        Ok(CopyIn { session: self, doing, sink: Box::pin(sink) })
    }
}

/// Data coming out of a table.
pub(crate) struct CopyOut<'a> {
    session: &'a Session,
    doing: String,
    // Fused: asking again after the end would read the next message of the protocol as data.
    stream: Pin<Box<Fuse<tokio_postgres::CopyOutStream>>>,
}

impl CopyOut<'_> {
    /// The next piece, which need not end at a line's end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        let piece = self.stream.next().await.transpose().map_err(|error| self.session.error(&self.doing, error))?;
        if piece.is_none() {
            self.session.is_copying_out.store(false, Ordering::Relaxed);
        }
        Ok(piece)
    }
}

/// Data going into a table. Nothing of it stays unless [`CopyIn::finish`] is reached.
pub(crate) struct CopyIn<'a> {
    session: &'a Session,
    doing: String,
    sink: Pin<Box<CopyInSink<Bytes>>>,
}

impl CopyIn<'_> {
    pub(crate) async fn send(&mut self, lines: Bytes) -> Result<(), SourceError> {
        self.sink.send(lines).await.map_err(|error| self.session.error(&self.doing, error))
    }

    /// Ends the data and returns the number of rows.
    pub(crate) async fn finish(mut self) -> Result<u64, SourceError> {
        self.sink.as_mut().finish().await.map_err(|error| self.session.error(&self.doing, error))
    }
}

fn connect_error(endpoint: &Endpoint, phase: Phase, error: tokio_postgres::Error) -> SourceError {
    let place = endpoint.place();
    if tls::is_certificate_failure(&error) {
        return SourceError::Certificate { place, ca_file: endpoint.ca_file.display().to_string(), source: Box::new(error) };
    }
    match error.as_db_error().map(PgFailure::of) {
        Some(said) if said.code == "3D000" => SourceError::NoDatabase { place },
        Some(said) if said.code.starts_with("28") => SourceError::Login { place, user: endpoint.user.clone(), source: said },
        _ => SourceError::from_pg(&place, phase, "connecting", error),
    }
}
