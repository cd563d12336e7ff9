//! Where and as whom to connect.

use std::{fmt, path::PathBuf};

use zeroize::Zeroizing;

use crate::error::Place;

/// A password. It is wiped when dropped and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes a password.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// One database and a login to it. The connection is always TLS with the host name verified against `ca_file`.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Host name, as the instance's description gives it.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Database.
    pub database: String,
    /// User.
    pub user: String,
    /// The user's password.
    pub password: Password,
    /// PEM file with the roots that may vouch for the host.
    pub ca_file: PathBuf,
}

impl Endpoint {
    /// The same server and login, another database.
    #[must_use]
    pub fn with_database(&self, database: impl Into<String>) -> Self {
        Self { database: database.into(), ..self.clone() }
    }

    /// The same database, another login.
    #[must_use]
    pub fn with_login(&self, user: impl Into<String>, password: Password) -> Self {
        Self { user: user.into(), password, ..self.clone() }
    }

    /// The endpoint as messages name it.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { host: self.host.clone(), port: self.port, database: self.database.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_shown() {
        let endpoint = Endpoint {
            host: "h".into(),
            port: 1,
            database: "d".into(),
            user: "u".into(),
            password: Password::new("canary"),
            ca_file: "ca".into(),
        };
        assert!(!format!("{endpoint:?} {}", endpoint.place()).contains("canary"));
    }
}
