//! Judges what a handshake showed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::CertificateError;
use rustls::Error as TlsError;
use sha2::Digest as _;
use sha2::Sha256;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::catalogue;
use crate::report::Certificate;
use crate::report::Finding;
use crate::tls::Handshake;

const DAY_S: i64 = 86_400;

/// Names that proxies put into a certificate which only fills the time until the real one has come.
const PLACEHOLDERS: [&str; 6] = [
    "traefik default cert",
    "kubernetes ingress controller fake certificate",
    "caddy local authority",
    "(staging)",
    "letsencrypt-nginx-proxy-companion",
    "temporary certificate",
];

/// What a leaf certificate says about itself.
#[derive(Debug, Clone, Default)]
struct Leaf {
    subject: String,
    issuer: String,
    names: Vec<String>,
    not_before_s: i64,
    not_after_s: i64,
}

impl Leaf {
    /// Reads the certificate; one that cannot be read has empty names and dates of 1970.
    fn read(der: &[u8]) -> Self {
        let Ok((_, parsed)) = X509Certificate::from_der(der) else {
            return Self { subject: "unreadable".to_owned(), issuer: "unreadable".to_owned(), ..Self::default() };
        };
        let names = alternative_names(&parsed);
        let common =
            |name: &x509_parser::x509::X509Name<'_>| name.iter_common_name().next().and_then(|cn| cn.as_str().ok()).map(str::to_owned);
        Self {
            subject: common(parsed.subject()).or_else(|| names.first().cloned()).unwrap_or_else(|| parsed.subject().to_string()),
            issuer: issuer_text(&parsed),
            names,
            not_before_s: parsed.validity().not_before.timestamp(),
            not_after_s: parsed.validity().not_after.timestamp(),
        }
    }

    fn is_placeholder(&self) -> bool {
        let about = format!("{}\n{}", self.subject, self.issuer).to_lowercase();
        PLACEHOLDERS.iter().any(|mark| about.contains(mark))
    }
}

fn issuer_text(parsed: &X509Certificate<'_>) -> String {
    let issuer = parsed.issuer();
    let mut parts: Vec<&str> = issuer.iter_organization().chain(issuer.iter_common_name()).filter_map(|a| a.as_str().ok()).collect();
    parts.dedup();
    if parts.is_empty() { issuer.to_string() } else { parts.join(", ") }
}

fn alternative_names(parsed: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = parsed.subject_alternative_name() else { return Vec::new() };
    let as_text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address_text(bytes),
        _ => None,
    };
    extension.value.general_names.iter().filter_map(as_text).collect()
}

fn address_text(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(|b| std::net::Ipv4Addr::from(b).to_string());
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(|b| std::net::Ipv6Addr::from(b).to_string()))
}

/// The certificate for the report.
pub(super) fn describe(handshake: &Handshake) -> Certificate {
    let leaf = Leaf::read(&handshake.leaf);
    Certificate {
        subject: leaf.subject,
        issuer: leaf.issuer,
        days_left: (leaf.not_after_s.saturating_sub(handshake.at_s)).div_euclid(DAY_S),
    }
}

/// The SHA-256 of the leaf's public key (its `SubjectPublicKeyInfo`, RFC 5280), in base64.
pub(super) fn key_hash(handshake: &Handshake) -> Option<String> {
    let (_, leaf) = X509Certificate::from_der(&handshake.leaf).ok()?;
    Some(STANDARD.encode(Sha256::digest(leaf.public_key().raw)))
}

fn is_authority(refused: &CertificateError) -> bool {
    matches!(refused, CertificateError::Other(_)) && format!("{refused:?}").contains("CaUsedAsEndEntity")
}

/// What is wrong with the certificate, if anything is; `fewest_days` is what the plan asks for.
pub(super) fn judge(handshake: &Handshake, fewest_days: i64) -> Option<Finding> {
    match &handshake.verdict {
        Ok(()) => too_few_days(handshake, fewest_days),
        Err(error) => Some(refused(handshake, error)),
    }
}

fn too_few_days(handshake: &Handshake, fewest_days: i64) -> Option<Finding> {
    let Certificate { subject, days_left, .. } = describe(handshake);
    (days_left < fewest_days).then(|| {
        let ends = match days_left {
            ..0 => "has expired".to_owned(),
            0 => "expires today".to_owned(),
            1 => "expires in 1 day".to_owned(),
            _ => format!("expires in {days_left} days"),
        };
        catalogue::CERTIFICATE_DAYS.finding(format!("The certificate of {subject} {ends}; the plan requires at least {fewest_days} days."))
    })
}

fn refused(handshake: &Handshake, error: &TlsError) -> Finding {
    let leaf = Leaf::read(&handshake.leaf);
    let host = &handshake.host;
    let subject = &leaf.subject;
    let issuer = &leaf.issuer;
    if leaf.is_placeholder() {
        return catalogue::CERTIFICATE_PENDING.finding(format!(
            "{host} serves a placeholder certificate ({subject}, issued by {issuer}): the real one has not been issued yet."
        ));
    }
    let days = |seconds: i64| (seconds / DAY_S).max(0);
    match error {
        TlsError::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            let ago = match days(handshake.at_s.saturating_sub(leaf.not_after_s)) {
                0 => "today".to_owned(),
                1 => "1 day ago".to_owned(),
                days => format!("{days} days ago"),
            };
            catalogue::CERTIFICATE_EXPIRED.finding(format!("The certificate of {host} expired {ago} (issued by {issuer})."))
        }
        TlsError::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            let begins = match days(leaf.not_before_s.saturating_sub(handshake.at_s)) {
                0 => "later today".to_owned(),
                1 => "in 1 day".to_owned(),
                days => format!("in {days} days"),
            };
            catalogue::CERTIFICATE_EXPIRED.finding(format!("The certificate of {host} is not valid yet: it becomes valid {begins}."))
        }
        TlsError::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
            let names = if leaf.names.is_empty() { leaf.subject.clone() } else { leaf.names.join(", ") };
            catalogue::CERTIFICATE_NAME.finding(format!("The certificate that {host} serves is for {names}, not for {host}."))
        }
        // An authority that answers by itself: the verifier minds that first, and a browser that nobody vouches for it.
        TlsError::InvalidCertificate(refused) if *refused == CertificateError::UnknownIssuer || is_authority(refused) => {
            let who = if subject == issuer { "itself".to_owned() } else { issuer.clone() };
            catalogue::CERTIFICATE_UNTRUSTED.finding(format!(
                "The certificate of {host} ({subject}) was issued by {who}, which is not a trusted authority on this host."
            ))
        }
        other => catalogue::CERTIFICATE_UNTRUSTED
            .finding(format!("The certificate of {host} ({subject}, issued by {issuer}) is not accepted: {other}.")),
    }
}
