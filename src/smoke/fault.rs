//! Why no answer came: the transport's errors as findings.

use std::error::Error;
use std::io;

use rustls::AlertDescription;
use rustls::Error as TlsError;
use url::Url;

use crate::model::Finding;

use crate::smoke::rules;

/// What stopped a request to `url`.
pub(super) fn finding(url: &Url, error: &reqwest::Error) -> Finding {
    let place = place(url);
    if let Some(tls) = tls_error(error) {
        return tls_finding(&place, &tls);
    }
    if error.is_dns() {
        return rules::dns::RULE.finding(format!("The name in {place} does not resolve: {}.", innermost(error)));
    }
    if error.is_connect() {
        return rules::unreachable::RULE.finding(format!("No connection to {place} was made: {}.", innermost(error)));
    }
    rules::unreachable::RULE.finding(format!("The answer of {place} broke off: {}.", innermost(error)))
}

/// The same as the end of a sentence about something at `url`.
pub(super) fn told(url: &Url, error: &reqwest::Error) -> String {
    let message = finding(url, error).message;
    let mut letters = message.trim_end_matches('.').chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// Scheme, host and port: paths and queries may carry secrets and are not repeated.
pub(super) fn place(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{}://{host}:{port}", url.scheme()),
        (Some(host), None) => format!("{}://{host}", url.scheme()),
        (None, _) => format!("{}:", url.scheme()),
    }
}

fn tls_finding(place: &str, error: &TlsError) -> Finding {
    match error {
        // Caddy, Traefik with strict SNI, nginx with ssl_reject_handshake: no certificate for this name yet.
        TlsError::AlertReceived(
            alert @ (AlertDescription::InternalError | AlertDescription::UnrecognisedName | AlertDescription::HandshakeFailure),
        ) => rules::certificate_pending::RULE
            .finding(format!("{place} has no certificate to show for this name yet: it ended the handshake with the alert {alert:?}.")),
        TlsError::InvalidMessage(_) => {
            let mut finding = rules::unreachable::RULE.finding(format!("{place} does not speak TLS: {error}."));
            "Give the proxy's port this name over https, or correct the scheme or port of the address.".clone_into(&mut finding.fix);
            finding
        }
        other => rules::unreachable::RULE.finding(format!("The TLS handshake with {place} failed: {other}.")),
    }
}

/// The TLS error somewhere inside. An `io::Error` hides what it wraps from `source`, so it is opened by hand.
fn tls_error(error: &(dyn Error + 'static)) -> Option<TlsError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<TlsError>() {
            return Some(tls.clone());
        }
        if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            return tls_error(inner);
        }
        next = error.source();
    }
    None
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string().trim_end_matches('.').to_owned()
}
