//! The TLS side of one check: whom to trust, and a verifier that remembers what it was shown.

use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use rustls::CertificateError;
use rustls::ClientConfig;
use rustls::DigitallySignedStruct;
use rustls::Error as TlsError;
use rustls::SignatureScheme;
use rustls::client::Resumption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::ServerName;
use rustls_pki_types::UnixTime;
use rustls_pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::catalogue;
use crate::report::Finding;

/// One handshake: the leaf that was shown, for which name, when, and what the verifier said.
#[derive(Debug, Clone)]
pub(super) struct Handshake {
    /// The name or address that was asked for.
    pub(super) host: String,
    /// The leaf certificate.
    pub(super) leaf: CertificateDer<'static>,
    /// When, in seconds since 1970.
    pub(super) at_s: i64,
    /// What the verifier said.
    pub(super) verdict: Result<(), TlsError>,
}

/// The handshakes of one look, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Handshakes(Arc<Mutex<Vec<Handshake>>>);

impl Handshakes {
    /// What was seen since the last call.
    pub(super) fn take(&self) -> Vec<Handshake> {
        std::mem::take(&mut *self.handshakes())
    }

    fn handshakes(&self) -> MutexGuard<'_, Vec<Handshake>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the platform's verifier and remembers: rustls itself forgets the chain when the verdict is bad.
#[derive(Debug)]
struct Recorder {
    inner: Verifier,
    /// Those of `ca_file`.
    extra: Vec<CertificateDer<'static>>,
    seen: Handshakes,
}

impl Recorder {
    /// A certificate that `ca_file` holds itself is trusted for its own names and time, also one that says it is an authority,
    /// as those made at home mostly do: what is named there needs nobody who vouches for it. `refused` is what the verifier
    /// of chains makes of it, which takes no authority for a server.
    fn named_itself(
        &self,
        leaf: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
        refused: TlsError,
    ) -> Result<ServerCertVerified, TlsError> {
        if !self.extra.iter().any(|root| root == leaf) {
            return Err(refused);
        }
        let (_, read) = X509Certificate::from_der(leaf).map_err(|_| refused)?;
        let validity = read.validity();
        let now_s = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now_s > validity.not_after.timestamp() {
            return Err(CertificateError::Expired.into());
        }
        if now_s < validity.not_before.timestamp() {
            return Err(CertificateError::NotValidYet.into());
        }
        verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
        Ok(ServerCertVerified::assertion())
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let verdict = self.inner.verify_server_cert(leaf, intermediates, name, ocsp, now);
        let verdict = verdict.or_else(|refused| self.named_itself(leaf, name, now, refused));
        let handshake = Handshake {
            host: name.to_str().into_owned(),
            leaf: leaf.clone().into_owned(),
            at_s: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
            verdict: verdict.as_ref().map(|_| ()).map_err(Clone::clone),
        };
        self.seen.handshakes().push(handshake);
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.inner.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.inner.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// A configuration that trusts the host's roots and those in `ca_file`, and notes every handshake in `seen`.
pub(super) async fn client_config(ca_file: Option<&Path>, seen: Handshakes) -> Result<ClientConfig, Box<Finding>> {
    let extra = match ca_file {
        Some(path) => read_roots(path).await?,
        None => Vec::new(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    build(extra, provider, seen).map_err(|error| {
        let message = format!("TLS could not be set up: {error}.");
        let mut finding = catalogue::SETUP.finding(message);
        "Install the host's root certificates (the package ca-certificates), or name a PEM file in ca_file.".clone_into(&mut finding.fix);
        Box::new(finding)
    })
}

fn build(extra: Vec<CertificateDer<'static>>, provider: Arc<CryptoProvider>, seen: Handshakes) -> Result<ClientConfig, TlsError> {
    let inner = Verifier::new_with_extra_roots(extra.clone(), Arc::clone(&provider))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Recorder { inner, extra, seen }))
        .with_no_client_auth();
    // A resumed session shows no certificate, and we want to see it on every look.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

async fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, Box<Finding>> {
    let refuse = |why: String| {
        let mut finding = catalogue::SETUP.finding(format!("The file {} in ca_file cannot be used: {why}.", path.display()));
        "Set ca_file to a readable PEM file with at least one certificate.".clone_into(&mut finding.fix);
        Box::new(finding)
    };
    let bytes = tokio::fs::read(path).await.map_err(|error| refuse(error.to_string()))?;
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match roots {
        Ok(roots) if roots.is_empty() => Err(refuse("it contains no certificate".to_owned())),
        Ok(roots) => Ok(roots),
        Err(error) => Err(refuse(error.to_string())),
    }
}
