//! The proof of a native webhook: the forge's own signature over the bytes of its body, before any of it is parsed.
//!
//! Which forge it is, its headers say: Gitea sends those of GitHub as well, and Forgejo those of Gitea. A forge without a secret sends
//! them empty. Every signature that is there must be right, so a bad one is never rescued by a good one.

use std::net::IpAddr;
use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::http::header::CONTENT_TYPE;
use sha2::Digest as _;

use crate::config::Config;
use crate::config::Forge;
use crate::config::ForgeKind;
use crate::http::Shared;
use crate::http::auth::attempt::Attempt;
use crate::http::auth::attempt::ReadBody;
use crate::http::auth::same_origin::is_had_by_another_site;
use crate::http::auth::scheme;
use crate::http::error::ApiError;
use crate::http::refused::Check;
use crate::model::Caller;
use crate::store::Delivery;
use crate::webhooks::payload_of_form;

/// A secret that can be guessed is none, even if a rotation left it so.
const SHORTEST_SECRET: usize = 24;

/// The headers of each forge: event, its type, signature and delivery; in the order in which they say which forge it is. Forgejo and
/// older versions of Gitea leave the event empty where GitHub has none of that kind (for images), and name only its type.
const HEADERS: [(ForgeKind, [&str; 4]); 3] = [
    (ForgeKind::Forgejo, ["x-forgejo-event", "x-forgejo-event-type", "x-forgejo-signature", "x-forgejo-delivery"]),
    (ForgeKind::Gitea, ["x-gitea-event", "x-gitea-event-type", "x-gitea-signature", "x-gitea-delivery"]),
    (ForgeKind::GitHub, ["x-github-event", "x-github-event-type", "x-hub-signature-256", "x-github-delivery"]),
];

/// A native webhook that a forge of the configuration has signed. Nobody else can make one.
#[derive(Debug)]
pub(in crate::http) struct Delivered {
    config: Arc<Config>,
    forge: Arc<Forge>,
    event: String,
    /// The id that the forge gave it, which is not signed.
    id: Option<String>,
    /// The payload, and the room that it takes.
    body: ReadBody,
    body_sha256: String,
    address: Option<IpAddr>,
}

/// What a request shows for a signature of a forge.
struct Shown<'r> {
    kind: ForgeKind,
    event: &'r str,
    /// In hex, without a prefix.
    signatures: Vec<&'r str>,
    delivery: &'static str,
    is_form: bool,
}

impl Delivered {
    /// The webhook, once it is proven which forge of the configuration sent it.
    ///
    /// # Errors
    /// 401 with one body whatever is wrong with the signature; 400 for one that is right over something that is no webhook; 408, 413,
    /// 429, 503.
    pub(super) async fn of(request: &HttpRequest, payload: Payload, shared: &Shared) -> Result<Self, ApiError> {
        let attempt = Attempt::of(request, shared)?;
        let config = Arc::clone(&attempt.config);
        let has_secret = config.forges.iter().any(|forge| forge.webhook_secret.is_some());
        let shown = Shown::of(request).filter(|_| has_secret && !is_had_by_another_site(&attempt));
        let shown = shown.ok_or_else(|| attempt.showed_nothing(Check::ForgeSignature))?;
        let body = attempt.body_of_forge(payload).await;
        let mut body = body.inspect_err(|_| attempt.refused(Check::Body, || (Check::Body, None)))?;
        attempt.keep_place()?;
        // Forgejo and Gitea sign the payload that is in a form, GitHub signs the form.
        let is_signed_within = shown.is_form && shown.kind != ForgeKind::GitHub;
        if is_signed_within {
            body.bytes = payload_of_form(std::mem::take(&mut body.bytes)).map_err(|_| unproven(&attempt))?;
        }
        let Some(forge) = shown.signer(&config.forges, &body.bytes) else { return Err(unproven(&attempt)) };
        attempt.hold();
        if shown.is_form && !is_signed_within {
            let payload = payload_of_form(std::mem::take(&mut body.bytes));
            body.bytes = payload.map_err(|why| ApiError::bad_request(format!("The body is not valid: {why}.")))?;
        }
        let id = delivery_id(request, shown.delivery)?;
        let body_sha256 = text::hex(&sha2::Sha256::digest(&body.bytes));
        let event = shown.event.to_owned();
        Ok(Self { forge: Arc::clone(forge), config, event, id, body, body_sha256, address: attempt.origin.address() })
    }

    /// The configuration that it was proven by.
    pub(in crate::http) fn config(&self) -> &Arc<Config> {
        &self.config
    }

    pub(in crate::http) fn forge(&self) -> &Forge {
        &self.forge
    }

    pub(in crate::http) fn caller(&self) -> Caller {
        Caller::Forge(self.forge.id.clone())
    }

    /// What the forge calls it.
    pub(in crate::http) fn event(&self) -> &str {
        &self.event
    }

    pub(in crate::http) fn payload(&self) -> &[u8] {
        &self.body.bytes
    }

    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The delivery by the id that the forge gave it.
    pub(in crate::http) fn by_id(&self) -> Option<Delivery> {
        let id = self.id.clone()?;
        Some(Delivery { caller: self.caller().to_string(), id, body_sha256: self.body_sha256.clone() })
    }

    /// What is done to `target` because of it, by what is signed: the same body under another id is the same call.
    pub(in crate::http) fn to(&self, target: &str) -> Delivery {
        Delivery::of_timeless_body(&self.forge.id, target, self.body_sha256.clone())
    }
}

impl<'r> Shown<'r> {
    /// What `request` shows; none when it is incomplete, or shows something else as well.
    fn of(request: &'r HttpRequest) -> Option<Self> {
        let headers = request.headers();
        if scheme::HEADERS.iter().any(|name| headers.contains_key(name)) {
            return None;
        }
        let (kind, [event, event_type, _, delivery]) = HEADERS.into_iter().find(|(_, [event, ..])| headers.contains_key(*event))?;
        let mut signatures = Vec::new();
        for (other, [.., name, _]) in HEADERS {
            let Some(value) = single(request, name)? else {
                // That of the forge itself cannot be missing.
                if other == kind {
                    return None;
                }
                continue;
            };
            signatures.push(if other == ForgeKind::GitHub { value.strip_prefix("sha256=")? } else { value });
        }
        let content_type = single(request, CONTENT_TYPE.as_str())?.unwrap_or_default();
        let is_form = content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded");
        let event = match single(request, event)?? {
            "" => single(request, event_type)?.unwrap_or_default(),
            event => event,
        };
        Some(Self { kind, event, signatures, delivery, is_form })
    }

    /// The forge whose secret made every signature. All secrets are tried, whatever the first results are, so that timing reveals
    /// nothing.
    fn signer<'f>(&self, forges: &'f [Arc<Forge>], body: &[u8]) -> Option<&'f Arc<Forge>> {
        let is_of_github = self.kind == ForgeKind::GitHub;
        let of_kind = forges.iter().filter(|forge| (forge.kind == ForgeKind::GitHub) == is_of_github);
        of_kind.fold(None, |found, forge| if self.is_signed_by(forge, body) { found.or(Some(forge)) } else { found })
    }

    fn is_signed_by(&self, forge: &Forge, body: &[u8]) -> bool {
        let secret = forge.webhook_secret.as_ref().map(crate::config::SecretSource::read);
        let secret = match secret {
            Some(Ok(secret)) => secret,
            Some(Err(why)) => {
                tracing::warn!(forge = %forge.id, %why, "the webhook secret cannot be read");
                return false;
            }
            None => return false,
        };
        // While a secret is rotated, its file has both, one a line.
        let lines = secret.reveal().lines().filter(|line| line.len() >= SHORTEST_SECRET);
        lines.fold(false, |any, line| {
            any | self.signatures.iter().fold(true, |all, given| all & scheme::is_forge_signature(given, line, body))
        })
    }
}

/// The value of a header that may be there once; the outer none: it is there twice, or is no text.
#[allow(clippy::option_option, reason = "missing and wrong are two things")]
fn single<'r>(request: &'r HttpRequest, name: &str) -> Option<Option<&'r str>> {
    let mut values = request.headers().get_all(name);
    let Some(value) = values.next() else { return Some(None) };
    if values.next().is_some() { None } else { value.to_str().ok().map(Some) }
}

fn delivery_id(request: &HttpRequest, name: &'static str) -> Result<Option<String>, ApiError> {
    let is_id = |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    match single(request, name) {
        Some(None) => Ok(None),
        Some(Some(id)) if is_id(&id) => Ok(Some(id.to_owned())),
        _ => Err(ApiError::bad_request(format!("The header {name} must be there once, with up to 128 letters, digits, - and _."))),
    }
}

/// The proof failed. If the address has used up its attempts, it is told so, and nothing more is counted.
fn unproven(attempt: &Attempt<'_>) -> ApiError {
    if attempt.is_spent() {
        return attempt.too_many();
    }
    attempt.refused(Check::ForgeSignature, || (Check::ForgeSignature, None));
    attempt.fail();
    ApiError::unauthorized()
}
