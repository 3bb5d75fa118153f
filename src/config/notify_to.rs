//! Where notifiers lead: which kinds there are, and what each needs.

use std::path::PathBuf;

use lettre::message::Mailbox;
use text::Secret;
use url::Url;

use crate::config::SecretSource;
use crate::config::key::signing_secrets;
use crate::config::reader::Section;
use crate::model::is_in_the_clear;

/// Where a notifier leads. Nothing that happens changes an address: they come from here alone.
#[derive(Debug, Clone)]
pub enum NotifyTo {
    /// A program that takes Standard Webhooks.
    Webhook {
        /// Its address.
        url: NotifyAddress,
        /// What is signed with.
        secret: SecretSource,
    },
    /// An incoming webhook of Slack, or of what takes the same.
    Slack(NotifyAddress),
    /// A webhook of Discord.
    Discord(NotifyAddress),
    /// A webhook of a workflow in Microsoft Teams.
    Teams(NotifyAddress),
    /// A room of Matrix.
    Matrix {
        /// The home server.
        url: Url,
        /// The room's id.
        room: String,
        /// The access token of who writes.
        token: SecretSource,
    },
    /// A chat of Telegram.
    Telegram {
        /// The server of the Bot API.
        url: Url,
        /// The chat's number or `@name`.
        chat: String,
        /// The topic within it.
        topic: Option<i64>,
        /// The bot's token.
        token: SecretSource,
    },
    /// A topic of ntfy.
    Ntfy {
        /// The server.
        url: Url,
        /// The topic.
        topic: String,
        /// The access token; none: the topic is open.
        token: Option<SecretSource>,
    },
    /// An application of Gotify.
    Gotify {
        /// The server.
        url: Url,
        /// The application's token.
        token: SecretSource,
    },
    /// E-mail.
    Email(Email),
}

impl NotifyTo {
    /// The word of the configuration.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Slack(_) => "slack",
            Self::Discord(_) => "discord",
            Self::Teams(_) => "teams",
            Self::Matrix { .. } => "matrix",
            Self::Telegram { .. } => "telegram",
            Self::Ntfy { .. } => "ntfy",
            Self::Gotify { .. } => "gotify",
            Self::Email(_) => "email",
        }
    }
}

/// An address that may be a credential itself.
#[derive(Debug, Clone)]
pub enum NotifyAddress {
    /// It stands in the configuration.
    Written(Url),
    /// It is kept as secrets are, and read again for each use.
    Kept {
        /// Where.
        source: SecretSource,
        /// Whether it may be plain http.
        plain_http: bool,
    },
}

impl NotifyAddress {
    /// The address as it is now.
    ///
    /// # Errors
    /// One sentence without a word of the address, when it cannot be read or is none.
    pub fn read(&self) -> Result<Url, String> {
        match self {
            Self::Written(url) => Ok(url.clone()),
            Self::Kept { source, plain_http } => address(source.read()?.reveal(), *plain_http).map_err(|why| format!("the address {why}.")),
        }
    }
}

/// How e-mail is sent.
#[derive(Debug, Clone)]
pub struct Email {
    /// The mail server.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// How what is sent to it is encrypted.
    pub encryption: MailEncryption,
    /// User and password, if it wants any.
    pub login: Option<(String, SecretSource)>,
    /// From whom.
    pub from: Mailbox,
    /// To whom.
    pub to: Vec<Mailbox>,
    /// A file with root certificates (PEM) that are trusted beside the host's own.
    pub ca_file: Option<PathBuf>,
}

/// How what is sent to a mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailEncryption {
    /// By STARTTLS; a server that does not offer it gets nothing.
    StartTls,
    /// From the first byte on.
    Tls,
    /// Not at all.
    None,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Webhook,
    Slack,
    Discord,
    Teams,
    Matrix,
    Telegram,
    Ntfy,
    Gotify,
    Email,
}

/// The words of the configuration.
pub(super) const KINDS: [(&str, Kind); 9] = [
    ("webhook", Kind::Webhook),
    ("slack", Kind::Slack),
    ("discord", Kind::Discord),
    ("teams", Kind::Teams),
    ("matrix", Kind::Matrix),
    ("telegram", Kind::Telegram),
    ("ntfy", Kind::Ntfy),
    ("gotify", Kind::Gotify),
    ("email", Kind::Email),
];

/// Reads the keys of `kind`.
pub(super) fn read_to(kind: Kind, from: &mut Section, secrets: &mut Vec<Secret>) -> Option<NotifyTo> {
    if let Kind::Email = kind {
        return read_email(from, secrets).map(NotifyTo::Email);
    }
    let plain_http = from.flag("plain_http", false);
    match kind {
        Kind::Webhook => {
            let url = read_address(from, plain_http, secrets);
            let has_secret = from.has_any(&["secret_file", "secret_env"]);
            let secret = from.secret_source("secret_file", "secret_env", secrets);
            match secret.as_ref().map(signing_secrets) {
                Some(Err(why)) => from.problem("secret_file", why),
                None if !has_secret => {
                    from.problem(
                        "secret_file",
                        "a webhook is signed; make a secret with `tagalong key new`, and give it to the receiver as well.",
                    );
                }
                _ => {}
            }
            Some(NotifyTo::Webhook { url: url?, secret: secret? })
        }
        Kind::Slack => read_kept(from, plain_http, secrets).map(NotifyTo::Slack),
        Kind::Discord => read_kept(from, plain_http, secrets).map(NotifyTo::Discord),
        Kind::Teams => read_kept(from, plain_http, secrets).map(NotifyTo::Teams),
        Kind::Matrix => {
            let missing = "a notifier for Matrix needs the address of the home server; write url = \"https://matrix.example.com\".";
            let url = from.needed("url", missing, |text| base(text, plain_http));
            let missing = "a notifier for Matrix needs the id of the room; write room = \"!abc:example.com\".";
            let room = from.needed("room", missing, room);
            let token = read_token(from, "the access token of the user who posts to the room", secrets);
            Some(NotifyTo::Matrix { url: url?, room: room?, token: token? })
        }
        Kind::Telegram => {
            let url = from.parsed("url", |text| base(text, plain_http)).or_else(|| Url::parse("https://api.telegram.org").ok());
            let missing = "a notifier for Telegram needs the chat; write chat = \"-1001234567890\" or chat = \"@channel\".";
            let chat = from.needed("chat", missing, chat);
            let topic = Some(from.whole("topic", 0, 1..=i64::MAX)).filter(|topic| *topic > 0);
            let token = read_token(from, "the bot's token", secrets);
            Some(NotifyTo::Telegram { url: url?, chat: chat?, topic, token: token? })
        }
        Kind::Ntfy => {
            let url = from.parsed("url", |text| base(text, plain_http)).or_else(|| Url::parse("https://ntfy.sh").ok());
            let topic = from.needed("topic", "a notifier for ntfy needs a topic; write topic = \"deployments\".", topic);
            let token = from.has_any(&["token_file", "token_env"]).then(|| read_token(from, "", secrets));
            let _ = token.is_none().then(|| from.secret_source("token_file", "token_env", secrets));
            Some(NotifyTo::Ntfy { url: url?, topic: topic?, token: token.flatten() })
        }
        Kind::Gotify => {
            let missing = "a notifier for Gotify needs the address of the server; write url = \"https://gotify.example.com\".";
            let url = from.needed("url", missing, |text| base(text, plain_http));
            let token = read_token(from, "the application's token", secrets);
            Some(NotifyTo::Gotify { url: url?, token: token? })
        }
        Kind::Email => None,
    }
}

/// A token, which goes into a header or an address.
fn read_token(from: &mut Section, what: &str, secrets: &mut Vec<Secret>) -> Option<SecretSource> {
    let is_there = from.has_any(&["token_file", "token_env"]);
    let token = from.secret_source("token_file", "token_env", secrets);
    if !is_there {
        from.problem("token_file", format!("this notifier needs {what}; name the file that holds it."));
    }
    if let Some(Ok(token)) = token.as_ref().map(SecretSource::read)
        && !token.reveal().bytes().all(|b| b.is_ascii_graphic())
    {
        from.problem("token_file", "it must contain a token and nothing else, but it has spaces, line ends or other characters.");
    }
    token
}

/// An address that may stand in the configuration.
fn read_address(from: &mut Section, plain_http: bool, secrets: &mut Vec<Secret>) -> Option<NotifyAddress> {
    let written = from.has("url");
    if written && from.has_any(&["url_file", "url_env"]) {
        from.problem("url", "set either url, or url_file or url_env, not both.");
    }
    if written {
        let url =
            from.parsed("url", |text| address(text, plain_http).map_err(|why| format!("the address {why}."))).map(NotifyAddress::Written);
        let _ = from.secret_source("url_file", "url_env", secrets);
        return url;
    }
    let _ = from.text("url");
    read_kept(from, plain_http, secrets)
}

/// An address by which anybody who knows it may write.
fn read_kept(from: &mut Section, plain_http: bool, secrets: &mut Vec<Secret>) -> Option<NotifyAddress> {
    if from.has("url") {
        let why =
            "whoever knows this address may write there, so it does not belong in this file; put it into a file and name that in url_file.";
        from.problem("url", why);
        let _ = from.text("url");
    } else if !from.has_any(&["url_file", "url_env"]) {
        from.problem("url_file", "this notifier needs an address; put it into a file and name that here.");
    }
    let source = from.secret_source("url_file", "url_env", secrets)?;
    let kept = NotifyAddress::Kept { source, plain_http };
    match kept.read() {
        Ok(url) => secrets.extend(secret_parts(&url)),
        Err(why) => from.problem("url_file", why),
    }
    Some(kept)
}

/// What of an address is its secret, for who quotes a part of it: no word of a path is that long.
fn secret_parts(url: &Url) -> Vec<Secret> {
    const SHORTEST: usize = 16;
    let values = url.query_pairs().map(|(_, value)| value.into_owned());
    let parts = url.path_segments().into_iter().flatten().map(str::to_owned).chain(values);
    parts.filter(|part| part.len() >= SHORTEST).map(Secret::new).collect()
}

/// An address to which messages may be sent. What is wrong is said without a word of it, since it may be a secret.
fn address(text: &str, plain_http: bool) -> Result<Url, &'static str> {
    let url = Url::parse(text.trim()).map_err(|_| "is not valid: it must begin with https://")?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("is not an https address");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("contains a user or password; use an address without them");
    }
    if is_in_the_clear(&url) && !plain_http {
        return Err(
            "uses plain http, so anybody on the way could read what is sent: use https, or set plain_http = true if you trust every machine on the way",
        );
    }
    Ok(url)
}

/// The address of a server, behind which paths are put.
fn base(text: &str, plain_http: bool) -> Result<Url, String> {
    let error = |why: &str| format!("the address \"{}\" {why}.", text.escape_default());
    let url = address(text, plain_http).map_err(error)?;
    if url.query().is_none() && url.fragment().is_none() { Ok(url) } else { Err(error("has more than a host and a path")) }
}

fn room(text: &str) -> Result<String, String> {
    let is_room = text.starts_with('!') && text.len() > 2 && text.len() <= 255 && !text.contains(|c: char| c.is_control() || c == ' ');
    let why = "is not the id of a room: an id begins with ! and is shown in the room's settings; an alias (#…) cannot be used";
    if is_room { Ok(text.to_owned()) } else { Err(format!("\"{}\" {why}.", text.escape_default())) }
}

fn chat(text: &str) -> Result<String, String> {
    let is_number = |text: &str| !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit());
    let is_name = |text: &str| (4..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let is_chat = text.strip_prefix('@').map_or_else(|| is_number(text.strip_prefix('-').unwrap_or(text)), is_name);
    if is_chat {
        Ok(text.to_owned())
    } else {
        Err(format!("\"{}\" is neither a number of a chat nor @ and a name.", text.escape_default()))
    }
}

fn topic(text: &str) -> Result<String, String> {
    let is_topic = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if is_topic {
        Ok(text.to_owned())
    } else {
        Err(format!("\"{}\" is not a topic: it has up to 64 letters, digits, - and _.", text.escape_default()))
    }
}

fn read_email(from: &mut Section, secrets: &mut Vec<Secret>) -> Option<Email> {
    let server = from.needed("server", "e-mail needs the name of the mail server; write server = \"smtp.example.com\".", host);
    let choices = [("starttls", MailEncryption::StartTls), ("tls", MailEncryption::Tls), ("none", MailEncryption::None)];
    let encryption = from.choice("encryption", &choices);
    let port = match encryption {
        MailEncryption::StartTls => 587,
        MailEncryption::Tls => 465,
        MailEncryption::None => 25,
    };
    let port = u16::try_from(from.whole("port", port, 1..=65_535)).unwrap_or_default();
    if from.has("user") != from.has_any(&["password_file", "password_env"]) {
        from.problem("user", "a login needs both user and password_file.");
    }
    let user = from.text("user");
    let login = user.zip(from.secret_source("password_file", "password_env", secrets));
    if login.is_some() && encryption == MailEncryption::None {
        from.problem("encryption", "a password is only sent over an encrypted connection; use \"starttls\" or \"tls\".");
    }
    let sender = from.needed("from", "e-mail needs a sender; write from = \"tagalong <tagalong@example.com>\".", mailbox);
    if !from.has("to") || from.is_empty_list("to") {
        from.problem("to", "e-mail needs at least one receiver; write to = [\"ops@example.com\"].");
    }
    let to = from.list("to", mailbox);
    let ca_file = from.path("ca_file");
    if let Some(Err(error)) = ca_file.as_ref().map(std::fs::read) {
        from.problem("ca_file", format!("it cannot be read: {error}."));
    }
    Some(Email { server: server?, port, encryption, login, from: sender?, to, ca_file })
}

fn host(text: &str) -> Result<String, String> {
    url::Host::parse(text)
        .map(|_| text.to_owned())
        .map_err(|_| format!("\"{}\" is not the name or address of a server; the port has a key of its own.", text.escape_default()))
}

fn mailbox(text: &str) -> Result<Mailbox, String> {
    let error = || format!("\"{}\" is not an e-mail address; write ops@example.com or Ops <ops@example.com>.", text.escape_default());
    if text.contains(char::is_control) { Err(error()) } else { text.parse().map_err(|_| error()) }
}
