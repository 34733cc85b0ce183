//! Whom a client trusts: the public authorities, one more that is given, or one certificate alone.

use super::{Error, io_error};
use crate::units::Hex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

/// SHA-256 of a certificate in DER, as `openssl x509 -fingerprint -sha256` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// Text that is not a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not the SHA-256 fingerprint of a certificate; it has 32 bytes in hexadecimal, with or without colons"
)]
pub struct ParseFingerprintError(String);

impl FromStr for Fingerprint {
    type Err = ParseFingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseFingerprintError(text.chars().take(120).collect());
        let Hex(bytes) = text.trim().replace(':', "").parse().map_err(|_| error())?;
        bytes.try_into().map(Self).map_err(|_| error())
    }
}

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(self.0.into()).fmt(f)
    }
}

/// The TLS settings of a client. A fingerprint replaces all authorities.
pub(super) fn client_config(ca: Option<&Path>, pin: Option<Fingerprint>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let failed = |error: rustls::Error| io_error("preparing TLS")(io::Error::other(error));
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    if let Some(pin) = pin {
        let verifier = Arc::new(PinnedCertificate { pin: Some(pin), provider });
        return Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth());
    }
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = ca {
        for certificate in read_certificates(path)? {
            roots.add(certificate).map_err(|error| Error::Refused {
                fact: format!("{} holds a certificate that no authority can have: {error}", path.display()),
            })?;
        }
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// TLS settings that believe anybody. What is learned this way must not be relied on.
pub(super) fn unverified_config() -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| io_error("preparing TLS")(io::Error::other(error)))?;
    let verifier = Arc::new(PinnedCertificate { pin: None, provider });
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let bytes = std::fs::read(path).map_err(io_error(format!("reading {}", path.display())))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(Error::Refused { fact: format!("{} holds no certificates in PEM", path.display()) }),
    }
}

/// Another certificate than the one that is trusted.
#[derive(Debug, thiserror::Error)]
#[error("its certificate is another one than the one to trust, with the fingerprint {shown}")]
struct Stranger {
    shown: Fingerprint,
}

/// Trusts one certificate, whoever signed it and whatever name it bears; or any, where none is named.
#[derive(Debug)]
struct PinnedCertificate {
    pin: Option<Fingerprint>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = Fingerprint::of(end_entity);
        match self.pin {
            Some(expected) if expected != shown => {
                let stranger = OtherError(Arc::new(Stranger { shown }));
                Err(rustls::Error::InvalidCertificate(CertificateError::Other(stranger)))
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What TLS found wrong with the certificate, where that is why a connection failed.
pub(super) fn certificate_problem(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(cause) = next {
        let inner = cause.downcast_ref::<io::Error>().and_then(|error| error.get_ref());
        let found = cause
            .downcast_ref::<rustls::Error>()
            .or_else(|| inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()));
        if let Some(rustls::Error::InvalidCertificate(problem)) = found {
            return Some(in_words(problem));
        }
        // An io::Error hides its inner error from `source`.
        next = match inner {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    None
}

fn in_words(problem: &CertificateError) -> String {
    use CertificateError as Problem;
    match problem {
        Problem::Expired | Problem::ExpiredContext { .. } => {
            format!("its certificate has expired, by the clock of this machine ({problem})")
        }
        Problem::NotValidYet | Problem::NotValidYetContext { .. } => {
            format!("its certificate is not valid yet, by the clock of this machine ({problem})")
        }
        Problem::UnknownIssuer => "nobody who is trusted here signed its certificate".to_owned(),
        Problem::NotValidForName | Problem::NotValidForNameContext { .. } => {
            format!("its certificate is for another name ({problem})")
        }
        Problem::Revoked => "its certificate was revoked".to_owned(),
        Problem::BadSignature | Problem::BadEncoding => "its certificate is damaged or forged".to_owned(),
        Problem::Other(OtherError(other)) if other.is::<Stranger>() => other.to_string(),
        other => format!("its certificate is not accepted ({other})"),
    }
}
