//! E-mail by SMTP. Nothing is sent to a server that does not offer the encryption which the configuration asks for.

use std::time::Duration;
use std::time::UNIX_EPOCH;

use lettre::AsyncSmtpTransport;
use lettre::AsyncTransport as _;
use lettre::Tokio1Executor;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::message::header::HeaderName;
use lettre::message::header::HeaderValue;
use lettre::message::header::MIME_VERSION_1_0;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::Certificate;
use lettre::transport::smtp::client::Tls;
use lettre::transport::smtp::client::TlsParameters;
use text::Mask;

use crate::clock;
use crate::config::Email;
use crate::config::MailEncryption;
use crate::notify::Message;
use crate::notify::error::NotifyError;
use crate::notify::error::NotifyErrorKind;
use crate::notify::fit::line;
use crate::notify::fit::lines;
use crate::notify::wire::masked;
use crate::notify::wire::secret;

/// For one answer of the server.
const ANSWER: Duration = Duration::from_secs(10);
/// For the whole exchange.
const EXCHANGE: Duration = Duration::from_secs(30);
const TEXT_BYTES: usize = 100_000;
const SUBJECT_BYTES: usize = 150;

/// Sends `message`, and gives what the server answered, as a sentence.
pub(super) async fn send(plan: &Email, message: &Message, mask: &Mask) -> Result<String, NotifyError> {
    let mail = mail(plan, message)?;
    let transport = transport(plan)?;
    let place = format!("{}:{}", plan.server, plan.port);
    let Ok(sent) = tokio::time::timeout(EXCHANGE, transport.send(mail)).await else {
        return Err(NotifyError::unreachable(format!("{place} did not answer within {} s.", EXCHANGE.as_secs())));
    };
    let answer = sent.map_err(|error| {
        NotifyError::new(kind_of(&error), format!("{place} did not take the message: {}", masked(mask, &error.to_string())))
    })?;
    let words: Vec<&str> = answer.message().collect();
    Ok(format!("{place} answered {}: {}", answer.code(), masked(mask, &words.join(" "))))
}

/// The mail. Its id is that of the message, so that one that is sent twice is known again.
fn mail(plan: &Email, message: &Message) -> Result<lettre::Message, NotifyError> {
    let now = UNIX_EPOCH + Duration::from_millis(u64::try_from(clock::now_ms()).unwrap_or_default());
    let head = lettre::Message::builder()
        .from(plan.from.clone())
        .subject(line(&message.title, SUBJECT_BYTES))
        .date(now)
        .header(MIME_VERSION_1_0)
        .message_id(Some(format!("<{}@{}>", message.id, plan.from.email.domain())))
        // RFC 3834: nobody's absence is answered to it.
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()));
    let head = plan.to.iter().fold(head, |head, to: &Mailbox| head.to(to.clone()));
    let text = format!("{}\r\n\r\n{}\r\n", line(&message.title, 500), lines(message, TEXT_BYTES).replace('\n', "\r\n"));
    let mail = head.header(ContentType::TEXT_PLAIN).body(text);
    mail.map_err(|error| NotifyError::refused(format!("The e-mail could not be written: {error}.")))
}

fn transport(plan: &Email) -> Result<AsyncSmtpTransport<Tokio1Executor>, NotifyError> {
    let tls = match plan.encryption {
        MailEncryption::StartTls => Tls::Required(parameters(plan)?),
        MailEncryption::Tls => Tls::Wrapper(parameters(plan)?),
        MailEncryption::None => Tls::None,
    };
    let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&plan.server).port(plan.port).tls(tls).timeout(Some(ANSWER));
    let transport = match &plan.login {
        Some((user, password)) => transport.credentials(Credentials::new(user.clone(), secret(password)?.reveal().to_owned())),
        None => transport,
    };
    Ok(transport.build())
}

fn parameters(plan: &Email) -> Result<TlsParameters, NotifyError> {
    let odd = |why: String| NotifyError::unreachable(format!("TLS for {} could not be set up: {why}.", plan.server));
    let mut builder = TlsParameters::builder(plan.server.clone());
    if let Some(file) = &plan.ca_file {
        let pem = std::fs::read(file).map_err(|error| odd(format!("{} cannot be read: {error}", file.display())))?;
        builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(|error| odd(error.to_string()))?);
    }
    builder.build_rustls().map_err(|error| odd(error.to_string()))
}

/// What a login is refused for may be another tomorrow; what finds fault with the message itself stays as it is.
fn kind_of(error: &Error) -> NotifyErrorKind {
    let code = error.status().map(u16::from);
    if error.is_permanent() && !matches!(code, Some(530 | 534 | 535 | 538)) {
        NotifyErrorKind::Refused
    } else {
        NotifyErrorKind::Unreachable
    }
}
