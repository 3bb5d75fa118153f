//! Turns errors of the transport into findings.

use std::error::Error;
use std::io;

use rustls::AlertDescription;
use rustls::Error as TlsError;
use text::root_cause;
use url::Url;

use crate::catalogue;
use crate::hosts::LeadsHome;
use crate::report::Finding;
use crate::rules;
use crate::written;

/// What stopped a request to `url`.
pub(super) fn finding(url: &Url, error: &reqwest::Error) -> Finding {
    let place = written::origin_text(url);
    if let Some(tls) = inside::<TlsError>(error) {
        return tls_finding(&place, tls);
    }
    if let Some(home) = inside::<LeadsHome>(error) {
        return rules::redirect_elsewhere::by_name(url, home);
    }
    if error.is_dns() {
        return catalogue::DNS.finding(format!("The name in {place} does not resolve: {}.", root_cause(error)));
    }
    if error.is_connect() {
        return catalogue::UNREACHABLE.finding(format!("Connecting to {place} failed: {}.", root_cause(error)));
    }
    broken_off(&place, error)
}

/// The same where the plan says to connect `to` somewhere else.
pub(super) fn on_the_detour(url: &Url, to: Option<&str>, error: &reqwest::Error) -> Finding {
    let Some(to) = to.filter(|_| error.is_connect() && inside::<TlsError>(error).is_none()) else { return finding(url, error) };
    let (rule, what) =
        if error.is_dns() { (catalogue::DNS, "does not resolve") } else { (catalogue::UNREACHABLE, "refuses the connection") };
    let mut finding = rule.finding(format!("{to}, the address in connect_to, {what}: {}.", root_cause(error)));
    "Correct connect_to, or remove it to connect to the address itself.".clone_into(&mut finding.fix);
    finding
}

/// The connection was made, and the answer is none or not whole: nothing keeps us away.
fn broken_off(place: &str, error: &reqwest::Error) -> Finding {
    let why = if is_cut_off(error) { "the connection was closed without a TLS close_notify".to_owned() } else { root_cause(error) };
    let mut finding = catalogue::UNREACHABLE.finding(format!("The response of {place} broke off: {why}."));
    "Find out why the app or the proxy ends its response early (a crash, a time or size limit); the connection itself works."
        .clone_into(&mut finding.fix);
    finding
}

/// Whether the other side closed the connection without saying so to TLS.
pub(super) fn is_cut_off(error: &reqwest::Error) -> bool {
    inside::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
}

/// The same as the end of a sentence about something at `url`.
pub(super) fn clause(url: &Url, error: &reqwest::Error) -> String {
    let message = finding(url, error).message;
    let mut letters = message.trim_end_matches('.').chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

fn tls_finding(place: &str, error: &TlsError) -> Finding {
    match error {
        // Caddy, Traefik with strict SNI, nginx with ssl_reject_handshake: no certificate for this name yet.
        TlsError::AlertReceived(
            alert @ (AlertDescription::InternalError | AlertDescription::UnrecognisedName | AlertDescription::HandshakeFailure),
        ) => catalogue::CERTIFICATE_PENDING
            .finding(format!("{place} has no certificate for this name yet: it ended the TLS handshake with the alert {alert:?}.")),
        TlsError::InvalidMessage(_) => {
            let mut finding = catalogue::UNREACHABLE.finding(format!("{place} does not speak TLS: {error}."));
            "Let the proxy serve this name over https on this port, or correct the scheme or port of the address."
                .clone_into(&mut finding.fix);
            finding
        }
        other => catalogue::UNREACHABLE.finding(format!("The TLS handshake with {place} failed: {other}.")),
    }
}

/// The error of this type somewhere inside. An `io::Error` hides what it wraps from `source`, so it is opened by hand.
fn inside<'e, T: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            return inside(inner);
        }
        next = error.source();
    }
    None
}
