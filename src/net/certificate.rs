//! What is wrong with a server's certificate, and what an operator does about it.

use std::error::Error as StdError;
use std::io;

use rustls::pki_types::UnixTime;
use rustls::{CertificateError, Error, OtherError};

use crate::rfc3339::Rfc3339;

/// Names of a certificate that are shown; some have hundreds.
const MAX_NAMES: usize = 5;

/// `None`: the connection failed for another reason than the certificate of `server`. `ca_key` is
/// the key of the config that names further authorities.
pub(crate) fn explain(
    error: &(dyn StdError + 'static),
    server: &str,
    ca_key: &str,
) -> Option<String> {
    match tls_error(error)? {
        Error::InvalidCertificate(reason) => Some(format!(
            "the certificate of {server} is not trusted: {}",
            what_to_do(reason, server, ca_key)
        )),
        _ => None,
    }
}

/// The error of TLS that is the cause of another one.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    if let Some(found) = error.downcast_ref() {
        return Some(found);
    }
    let inner = match error.downcast_ref::<io::Error>() {
        // Its source is that of the error in it.
        Some(error) => error
            .get_ref()
            .map(|inner| inner as &(dyn StdError + 'static)),
        None => error.source(),
    };
    tls_error(inner?)
}

fn what_to_do(reason: &CertificateError, server: &str, ca_key: &str) -> String {
    match reason {
        CertificateError::ExpiredContext { time, not_after } => format!(
            "it expired at {} and this machine's clock says {} (renew the certificate, or set the \
             clock right)",
            instant(*not_after),
            instant(*time)
        ),
        CertificateError::Expired => {
            "it has expired (renew the certificate, or set this machine's clock right)".to_owned()
        }
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "it is valid from {} and this machine's clock says {} (set the clock right, or wait)",
            instant(*not_before),
            instant(*time)
        ),
        CertificateError::NotValidYet => {
            "it is not valid yet (set this machine's clock right, or wait)".to_owned()
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => format!(
            "it is {}, not for {} (write a name that it has into the URL, or give the server a \
             certificate for this name)",
            names(presented),
            expected.to_str()
        ),
        CertificateError::NotValidForName => format!(
            "it is not for the name of {server} (write a name that it has into the URL, or give the \
             server a certificate for this name)"
        ),
        CertificateError::UnknownIssuer => format!(
            "no authority that this machine trusts has issued it (if it comes from an authority of \
             your own, name that in {ca_key})"
        ),
        CertificateError::BadSignature => format!(
            "its signature is not that of the authority that it names (if that is an authority of \
             your own, {ca_key} has another certificate of the same name: name the current one)"
        ),
        CertificateError::Revoked => {
            "its authority has revoked it (give the server a new certificate)".to_owned()
        }
        CertificateError::BadEncoding => {
            "it cannot be read (give the server a well-formed certificate)".to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not for servers (give the server a certificate with the extended key usage \
             serverAuth)"
                .to_owned()
        }
        CertificateError::Other(OtherError(other))
            if other.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity) =>
        {
            format!(
                "it is the certificate of an authority, which the server shows as its own (issue the \
                 server a certificate with that authority, and name the authority in {ca_key})"
            )
        }
        other => other.to_string(),
    }
}

fn instant(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).ok();
    let text = seconds.and_then(|seconds| Rfc3339::new(seconds, 0, 0));
    text.map_or_else(|| "an unknown time".to_owned(), |text| text.to_string())
}

/// The library gives them as `DnsName("broker.example")` and `IpAddress(127.0.0.1)`.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| {
        let inside = name
            .split_once('(')
            .and_then(|(_, rest)| rest.strip_suffix(')'));
        inside.map_or_else(
            || name.clone(),
            |inside| inside.trim_matches('"').to_owned(),
        )
    };
    let mut shown: Vec<String> = presented.iter().take(MAX_NAMES).map(bare).collect();
    if shown.is_empty() {
        return "for no name at all".to_owned();
    }
    if presented.len() > MAX_NAMES {
        shown.push(format!("{} more", presented.len() - MAX_NAMES));
    }
    format!("for {}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa,
        Issuer, KeyPair, date_time_ymd,
    };
    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::crypto::ring;
    use rustls::pki_types::{CertificateDer, ServerName};

    use super::*;

    /// 2026-11-30T00:00:00Z
    const NOW: u64 = 1_796_000_000;

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn issue(
        authority: &Issuer<'static, KeyPair>,
        params: &CertificateParams,
    ) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, authority).unwrap().der().clone()
    }

    fn params() -> CertificateParams {
        CertificateParams::new(["broker.example".to_owned(), "127.0.0.1".to_owned()]).unwrap()
    }

    /// What is said of a certificate where `trusted` is the only authority.
    fn said(
        certificate: &CertificateDer<'static>,
        trusted: &CertificateDer<'static>,
        name: &'static str,
    ) -> String {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let error = verifier
            .build()
            .unwrap()
            .verify_server_cert(
                certificate,
                &[],
                &ServerName::try_from(name).unwrap(),
                &[],
                UnixTime::since_unix_epoch(Duration::from_secs(NOW)),
            )
            .unwrap_err();
        let error = io::Error::other(error);
        explain(&error, &format!("{name}:8883"), "tls.ca_file").unwrap()
    }

    #[test]
    fn each_fault_has_its_own_advice() {
        let authority = authority();
        let ca = authority.der().clone();
        let of = |params: &CertificateParams| issue(&authority, params);
        let mut expired = params();
        expired.not_after = date_time_ymd(2026, 1, 1);
        let mut early = params();
        early.not_before = date_time_ymd(2027, 1, 1);
        let mut for_clients = params();
        for_clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let stranger = self::authority();
        for (certificate, name, expected) in [
            (
                of(&expired),
                "broker.example",
                "it expired at 2026-01-01T00:00:00Z and this machine's clock says \
                 2026-11-30T00:53:20Z (renew the certificate, or set the clock right)",
            ),
            (
                of(&early),
                "broker.example",
                "it is valid from 2027-01-01T00:00:00Z and this machine's clock says \
                 2026-11-30T00:53:20Z (set the clock right, or wait)",
            ),
            (
                of(&params()),
                "other.example",
                "it is for broker.example, 127.0.0.1, not for other.example (write a name that it \
                 has into the URL, or give the server a certificate for this name)",
            ),
            (
                ca.clone(),
                "broker.example",
                "it is the certificate of an authority, which the server shows as its own (issue the \
                 server a certificate with that authority, and name the authority in tls.ca_file)",
            ),
            (
                of(&for_clients),
                "broker.example",
                "it is not for servers (give the server a certificate with the extended key usage \
                 serverAuth)",
            ),
            (
                issue(&stranger, &params()),
                "broker.example",
                "its signature is not that of the authority that it names (if that is an authority \
                 of your own, tls.ca_file has another certificate of the same name: name the \
                 current one)",
            ),
            (
                CertificateDer::from(vec![0]),
                "broker.example",
                "it cannot be read (give the server a well-formed certificate)",
            ),
        ] {
            let text = said(&certificate, &ca, name);
            let whole = format!("the certificate of {name}:8883 is not trusted: {expected}");
            assert_eq!(text, whole);
        }
    }

    #[test]
    fn ca_file_is_the_advice_where_the_authority_is_unknown() {
        let error = Error::from(CertificateError::UnknownIssuer);
        let text = explain(&error, "broker", "sasl.ca_file").unwrap();
        assert!(text.ends_with("name that in sasl.ca_file)"), "{text}");
        for other in [CertificateError::Revoked, CertificateError::Expired] {
            let text = explain(&Error::from(other), "broker", "tls.ca_file").unwrap();
            assert!(!text.contains("ca_file"), "{text}");
        }
        let other = io::Error::other("connection reset");
        assert_eq!(explain(&other, "broker", "tls.ca_file"), None);
    }

    #[test]
    fn long_lists_of_names_are_cut() {
        let many: Vec<String> = (0..7)
            .map(|n| format!("DnsName(\"n{n}.example\")"))
            .collect();
        assert!(names(&many).ends_with("n4.example, 2 more"));
        assert_eq!(names(&[]), "for no name at all");
    }
}
