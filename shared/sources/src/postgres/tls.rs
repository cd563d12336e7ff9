//! TLS to the database: the host name is verified against the given roots, always.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::SourceError;

pub(crate) fn connector(ca_file: &Path) -> Result<MakeRustlsConnect, SourceError> {
    let unusable = |source: Box<dyn std::error::Error + Send + Sync>| SourceError::CaBundle {
        ca_file: ca_file.display().to_string(),
        source,
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca_file).map_err(|error| unusable(Box::new(error)))? {
        let certificate = certificate.map_err(|error| unusable(Box::new(error)))?;
        roots.add(certificate).map_err(|error| unusable(Box::new(error)))?;
    }
    if roots.is_empty() {
        return Err(unusable("it holds no certificate".into()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(Box::new(error)))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// Whether a connection failed because the server did not prove who it is.
pub(crate) fn is_certificate_failure(error: &tokio_postgres::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(rustls::Error::InvalidCertificate(_)) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return true;
        }
        cause = error.source();
    }
    false
}
