//! Which authorities are trusted, and the certificate that a client presents.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::config::{PemFile, Tls};

/// The system's authorities: read once, since a store of them is large and accounts are many.
static SYSTEM_ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "cannot read some of the system's certificate authorities");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    Arc::new(roots)
});

/// Characters in a line of PEM.
const PEM_LINE: usize = 64;

/// Why what the config says of TLS or of a proxy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidConfig {
    #[error("the CA file {}: {reason}", path.display())]
    CaFile { path: PathBuf, reason: String },
    #[error("the client certificate {}: {reason}", path.display())]
    Certificate { path: PathBuf, reason: String },
    #[error("the key {} of the client certificate: {reason}", path.display())]
    Key { path: PathBuf, reason: String },
    #[error("{0}")]
    Proxy(String),
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// `identity` is the certificate that the client presents and its key; `alpn` names the protocols that
/// are spoken inside.
///
/// # Errors
/// A file cannot be read, or does not hold what it should.
pub(crate) fn client_config(
    tls: &Tls,
    identity: Option<&(PemFile, PemFile)>,
    alpn: &[&[u8]],
) -> Result<Arc<ClientConfig>, InvalidConfig> {
    let provider = Arc::new(ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider) as Arc<CryptoProvider>)
        .with_safe_default_protocol_versions()?;
    let builder = if tls.insecure {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate(algorithms)))
    } else {
        builder.with_root_certificates(roots(tls.ca_file.as_ref().map(PemFile::path))?)
    };
    let mut config = match identity {
        Some((certificate, key)) => {
            let (chain, key) = read_identity(certificate.path(), key.path())?;
            builder.with_client_auth_cert(chain, key)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

type Chain = Vec<CertificateDer<'static>>;

fn read_identity(
    certificate: &Path,
    key: &Path,
) -> Result<(Chain, PrivateKeyDer<'static>), InvalidConfig> {
    let invalid = |reason: String| InvalidConfig::Certificate {
        path: certificate.to_owned(),
        reason,
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Chain, _>>)
        .map_err(|error| invalid(error.to_string()))?;
    if chain.is_empty() {
        return Err(invalid("holds no certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| InvalidConfig::Key {
        path: key.to_owned(),
        reason: error.to_string(),
    })?;
    Ok((chain, key))
}

/// The system's authorities and those of a file, all PEM: for libraries that would trust the file's
/// alone.
pub(crate) fn authorities(ca_file: &Path) -> Result<String, InvalidConfig> {
    roots(Some(ca_file))?;
    let own = fs::read_to_string(ca_file).map_err(|error| InvalidConfig::CaFile {
        path: ca_file.to_owned(),
        reason: error.to_string(),
    })?;
    let mut all = own + "\n";
    for certificate in rustls_native_certs::load_native_certs().certs {
        all.push_str("-----BEGIN CERTIFICATE-----\n");
        let text = STANDARD.encode(&certificate);
        for line in text.as_bytes().chunks(PEM_LINE) {
            all.extend(line.iter().map(|byte| char::from(*byte)));
            all.push('\n');
        }
        all.push_str("-----END CERTIFICATE-----\n");
    }
    Ok(all)
}

fn roots(ca_file: Option<&Path>) -> Result<Arc<RootCertStore>, InvalidConfig> {
    let Some(path) = ca_file else {
        return Ok(Arc::clone(&SYSTEM_ROOTS));
    };
    let invalid = |reason: String| InvalidConfig::CaFile {
        path: path.to_owned(),
        reason,
    };
    let mut roots = RootCertStore::clone(&SYSTEM_ROOTS);
    let known = roots.len();
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| invalid(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| invalid(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| invalid(error.to_string()))?;
    }
    if roots.len() == known {
        return Err(invalid("holds no certificate".to_owned()));
    }
    Ok(Arc::new(roots))
}

/// `tls.verify = false`: whoever answers is taken for the right server.
#[derive(Debug)]
struct AcceptAnyCertificate(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_given_the_systems_authorities_and_our_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let key = rcgen::KeyPair::generate().unwrap();
        let own = rcgen::CertificateParams::default()
            .self_signed(&key)
            .unwrap();
        std::fs::write(&path, own.pem()).unwrap();
        let all = authorities(&path).unwrap();
        let all = CertificateDer::pem_slice_iter(all.as_bytes());
        let all: Vec<_> = all.map(Result::unwrap).collect();
        assert_eq!(all[0], *own.der());
        assert_eq!(all[1..], rustls_native_certs::load_native_certs().certs);
    }

    #[test]
    fn a_ca_file_without_a_certificate_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, "nothing").unwrap();
        let tls = Tls {
            ca_file: Some(PemFile::new(path)),
            insecure: false,
        };
        let error = client_config(&tls, None, &[]).unwrap_err().to_string();
        assert!(error.contains("ca.pem") && error.contains("holds no certificate"));
    }
}
