//! A login by a forge. The browser keeps what has begun in a cookie that only we can make: the secret of this login (PKCE), what the forge
//! must send back (`state`), the forge, until when, and where to go then. So nothing is stored for people who have proven nothing, and what
//! one browser began no other one ends.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock;
use crate::config::Config;
use crate::forge::ForgeErrorKind;
use crate::forge::OAuth;
use crate::http::Shared;
use crate::http::auth::arrival::Arrival;
use crate::http::auth::arrival::LATER;
use crate::http::auth::arrival::NotIn;
use crate::http::auth::token;
use crate::model::UserName;
use crate::store::LoginProof;

/// How long somebody may take at the forge.
const LIFE: Duration = Duration::from_mins(10);

const NOT_OFFERED: NotIn = NotIn { status: StatusCode::NOT_FOUND, why: "Nobody can log in by that forge here." };
const NOT_BEGUN: NotIn = NotIn {
    status: StatusCode::BAD_REQUEST,
    why: "This login was not begun in this browser, or too long ago; begin it again, by the same address.",
};
const NOT_ALLOWED: NotIn = NotIn {
    status: StatusCode::FORBIDDEN,
    why: "The forge knows you, but you are not among those who may log in here; ask the operator (the tables [[dashboard.login.allow]]).",
};
const SAID_NO: NotIn = NotIn { status: StatusCode::FORBIDDEN, why: "The forge did not confirm who you are; begin the login again." };

/// A login by a forge that has begun in a browser.
struct Begun {
    verifier: String,
    state: String,
    forge: String,
    until_ms: i64,
    next: String,
}

impl Begun {
    fn text(&self) -> String {
        let next = URL_SAFE_NO_PAD.encode(&self.next);
        [&self.verifier, &self.state, &self.forge, &self.until_ms.to_string(), &next].map(String::as_str).join(".")
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(str::to_owned);
        let verifier = parts.next()?;
        let state = parts.next()?;
        let forge = parts.next()?;
        let until_ms = parts.next()?.parse().ok()?;
        let next = String::from_utf8(URL_SAFE_NO_PAD.decode(parts.next()?).ok()?).ok()?;
        Some(Self { verifier, state, forge, until_ms, next })
    }
}

fn oauth<'c>(config: &'c Config, forge: &str) -> Option<OAuth<'c>> {
    let users = config.dashboard.login(forge)?;
    let forge = config.forge(&users.forge)?;
    let redirect = format!("{}/login/{}/callback", config.server.public()?, users.forge);
    Some(OAuth { forge, users, redirect })
}

fn random() -> String {
    URL_SAFE_NO_PAD.encode(clock::random_bytes::<32>())
}

impl Arrival {
    /// Sends the browser to the forge in the path.
    ///
    /// # Errors
    /// [`NotIn`], when nobody can log in by that forge, or nothing can be taken from there.
    pub(in crate::http) fn goes_to_forge(&self, shared: &Shared) -> Result<HttpResponse, NotIn> {
        if let Some(closed) = self.closed {
            return Err(closed);
        }
        let config = shared.config.now();
        let oauth = oauth(&config, self.part("forge")).ok_or(NOT_OFFERED)?;
        let begun = Begun {
            verifier: random(),
            state: random(),
            forge: oauth.users.forge.to_string(),
            until_ms: clock::now_ms() + LIFE.as_millis() as i64,
            next: self.next.clone(),
        };
        let there = oauth.begins_at(&begun.state, &begun.verifier).map_err(|_| NOT_OFFERED)?;
        Ok(self.begins(there.as_str(), &token::sealed(&shared.token_key, "login", &begun.text()), LIFE))
    }

    /// Logs in whom the forge in the path sends back.
    ///
    /// # Errors
    /// [`NotIn`], when this browser did not begin it, the forge does not confirm it, or the user may not log in here.
    pub(in crate::http) async fn comes_from_forge(mut self, shared: &Shared) -> Result<HttpResponse, NotIn> {
        if let Some(closed) = self.closed {
            return Err(closed);
        }
        let config = shared.config.now();
        let oauth = oauth(&config, self.part("forge")).ok_or(NOT_OFFERED)?;
        let begun = self.begun.as_deref().and_then(Begun::parse);
        let begun = begun.filter(|begun| clock::now_ms() < begun.until_ms && begun.forge == oauth.users.forge.as_str());
        let begun = begun.filter(|begun| self.field("state").is_some_and(|given| token::is_same(given.reveal(), &begun.state)));
        // Nothing was guessed before the forge is asked, and any page of another site can lead a browser here.
        let begun = begun.ok_or(NOT_BEGUN)?;
        if self.field("iss").is_some_and(|issuer| !oauth.is_issuer(issuer.reveal())) {
            return Err(SAID_NO);
        }
        let Some(code) = self.field("code").cloned() else { return Err(SAID_NO) };
        let proven = oauth.prove(&code, &begun.verifier).await.map_err(|error| {
            tracing::warn!(forge = begun.forge, %error, "nobody was logged in by a forge");
            if matches!(error.kind, ForgeErrorKind::Refused) {
                self.was_wrong(shared);
                SAID_NO
            } else {
                LATER
            }
        })?;
        let user = UserName::at_forge(&proven.login, &oauth.users.forge).map_err(|_| SAID_NO)?;
        if oauth.users.scopes(&proven.member_of).is_empty() {
            tracing::warn!(%user, "somebody whom the configuration does not name wanted to log in by a forge");
            return Err(NOT_ALLOWED);
        }
        self.next = begun.next;
        self.begin(shared, user, LoginProof::Forge(proven.member_of), &begun.forge).await
    }
}
