//! Whom the client takes for the server: whoever has a certificate of an authority that this system trusts, or where it names
//! none (Android, iOS), of one that the library brings along; and, if the app pins keys, one of those.

use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};

/// Keys and authorities that an app may name.
const PINS_MAX: usize = 16;
const ROOTS_MAX: usize = 16;

/// Which servers are trusted beyond, or less than, what the system says.
///
/// ```
/// # use sync_client_ffi::Trust;
/// let trust = Trust::default().pin("sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")?;
/// # Ok::<(), sync_client_ffi::BadTrust>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    pins: Vec<[u8; 32]>,
    roots: Vec<CertificateDer<'static>>,
}

/// That is nothing to trust in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTrust {
    /// Not a pin.
    #[error("not a pin: {pin} (expected the base64 of the SHA-256 of a public key, as in sha256/…=)")]
    Pin {
        /// What was given.
        pin: String,
    },
    /// Not a certificate of an authority.
    #[error("not the certificate of an authority: give it in DER")]
    Root,
    /// More than are looked at.
    #[error("at most {PINS_MAX} pins and {ROOTS_MAX} authorities")]
    TooMany,
}

impl Trust {
    /// Takes only servers whose own certificate has one of the pinned keys, after all else has been checked: the base64 of the
    /// SHA-256 of its `SubjectPublicKeyInfo`, with or without `sha256/` in front. Pin a second key that is kept elsewhere,
    /// or an app cannot reach its server any more once the first is lost.
    ///
    /// Keys of authorities cannot be pinned: which of the certificates that a server sends were needed is not known.
    pub fn pin(mut self, pin: &str) -> Result<Self, BadTrust> {
        let bad = || BadTrust::Pin { pin: pin.to_owned() };
        let bytes = STANDARD.decode(pin.trim().trim_start_matches("sha256/")).map_err(|_| bad())?;
        if self.pins.len() >= PINS_MAX {
            return Err(BadTrust::TooMany);
        }
        self.pins.push(bytes.try_into().map_err(|_| bad())?);
        Ok(self)
    }

    /// Takes servers with a certificate of that authority too, such as a company's own. In DER.
    pub fn root(mut self, der: impl Into<Vec<u8>>) -> Result<Self, BadTrust> {
        let der = CertificateDer::from(der.into());
        if self.roots.len() >= ROOTS_MAX {
            return Err(BadTrust::TooMany);
        }
        RootCertStore::empty().add(der.clone()).map_err(|_| BadTrust::Root)?;
        self.roots.push(der);
        Ok(self)
    }

    /// Whether nothing is said.
    pub(in crate::client) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What TLS needs to know.
    pub(in crate::client) fn config(&self) -> Option<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = authorities().clone();
        for root in &self.roots {
            roots.add(root.clone()).ok()?;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        let inner = verifier.inspect_err(|error| tracing::error!(%error, "no certificates to trust in")).ok()?;
        let verifier = Pinned { inner, pins: self.pins.clone() };
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.inspect_err(|error| tracing::error!(%error, "no TLS")).ok()?;
        let mut config = config.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Some(config)
    }
}

/// The authorities that the system trusts, or those that came along. Read once: there are more than a hundred.
fn authorities() -> &'static RootCertStore {
    static AUTHORITIES: OnceLock<RootCertStore> = OnceLock::new();
    AUTHORITIES.get_or_init(|| or_bundled(rustls_native_certs::load_native_certs().certs))
}

fn or_bundled(certificates: Vec<CertificateDer<'static>>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// Checks what is always checked, and then the key.
#[derive(Debug)]
struct Pinned {
    inner: Arc<WebPkiServerVerifier>,
    pins: Vec<[u8; 32]>,
}

impl Pinned {
    fn is_pinned(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else { return false };
        let key = certificate.subject_public_key_info();
        let hash = digest::digest(&digest::SHA256, key.as_ref());
        self.pins.iter().any(|pin| pin == hash.as_ref())
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let verified = self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        if !self.pins.is_empty() && !self.is_pinned(end_entity) {
            tracing::warn!("the server's key is none of those that the app has pinned");
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// So that what is installed for the process and what is used here are the same, where nobody has chosen.
pub(in crate::client) fn settle_provider() {
    if CryptoProvider::get_default().is_none() {
        // Lost races are fine: then the app, or another client, has installed one.
        rustls::crypto::ring::default_provider().install_default().ok();
    }
}

#[cfg(test)]
mod tests;
