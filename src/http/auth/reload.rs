//! Authentication of `/api/_internal/reload-data`, in the order that its users rely on: a caller without a secret learns nothing, not even
//! whether one is configured; then whether one is configured; then whether it is the right one; only then is the body read.

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::http::header::CONTENT_TYPE;
use text::Secret;

use crate::config::Config;
use crate::config::Rotating;
use crate::http::Shared;
use crate::http::auth::attempt::Attempt;
use crate::http::auth::same_origin::is_had_by_another_site;
use crate::http::auth::scheme;
use crate::http::auth::scheme::Shown;
use crate::http::error::ApiError;
use crate::http::refused::Check;
use crate::model::DatasetName;

/// A secret that can be guessed is treated as missing, even if a rotation left it so.
const SHORTEST_SECRET: usize = 24;

/// Why a call is not answered.
#[derive(Debug)]
pub(in crate::http) enum Unproven {
    /// The secret is missing or wrong: both get the same answer.
    Unauthorized,
    /// The call has a secret, but no dataset has one.
    NotConfigured,
    /// An error that an ordinary call would get as well.
    Other(ApiError),
}

impl From<ApiError> for Unproven {
    fn from(error: ApiError) -> Self {
        Self::Other(error)
    }
}

/// A call about a dataset by somebody who has its secret.
#[derive(Debug)]
pub(in crate::http) struct Told {
    dataset: DatasetName,
    body: Vec<u8>,
    content_type: Option<String>,
}

impl Told {
    /// The dataset whose secret the call has, and the call's body.
    ///
    /// # Errors
    /// [`Unproven`], in the order above.
    pub(super) async fn of(request: &HttpRequest, payload: Payload, shared: &Shared) -> Result<Self, Unproven> {
        let attempt = Attempt::of(request, shared)?;
        let (Shown::Bearer(token), false) = (Shown::of(request), is_had_by_another_site(&attempt)) else {
            attempt.showed_nothing(Check::ReloadSecret);
            return Err(Unproven::Unauthorized);
        };
        if token.is_empty() || token.contains(char::is_whitespace) {
            return Err(refused(&attempt));
        }
        attempt.keep_place()?;
        if attempt.is_spent() {
            return Err(ApiError::too_many().into());
        }
        let secrets = secrets(&attempt.config);
        if secrets.is_empty() {
            return Err(Unproven::NotConfigured);
        }
        // All of them are compared, whatever the first results are, so that timing reveals nothing.
        let meant = secrets.iter().fold(None, |found, (name, both)| {
            let Rotating { newest, older } = both.map(|right| scheme::is_secret(&token, right));
            if newest | older.unwrap_or(false) { found.or(Some((*name, both, newest))) } else { found }
        });
        let Some((name, both, by_newest)) = meant else { return Err(refused(&attempt)) };
        if by_newest && both.older.is_some() {
            shared.rotations.reload_secret_used(&shared.store, name, &both.newest);
        }
        if !attempt.origin.is_private() {
            let why = "The secret must not be sent unencrypted; use https, or call from this host.";
            return Err(ApiError::forbidden(why).into());
        }
        attempt.hold();
        let body = attempt.body(payload, false).await?.bytes;
        let content_type = attempt.header(CONTENT_TYPE.as_str()).map(str::to_owned);
        Ok(Self { dataset: name.clone(), body, content_type })
    }

    pub(in crate::http) fn dataset(&self) -> &DatasetName {
        &self.dataset
    }

    pub(in crate::http) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(in crate::http) fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }
}

/// The secrets as they are now, by dataset.
fn secrets(config: &Config) -> Vec<(&DatasetName, Rotating<Secret>)> {
    let sources = config.datasets.iter().filter_map(|(name, dataset)| dataset.secret.as_ref().map(|source| (name, source)));
    sources
        .filter_map(|(name, source)| match source.read_both() {
            Ok(both) if both.iter().all(|secret| secret.reveal().len() >= SHORTEST_SECRET) => Some((name, both)),
            Ok(_) => {
                tracing::warn!(dataset = %name, "the reload secret is ignored, because it is shorter than 24 bytes");
                None
            }
            Err(why) => {
                tracing::warn!(dataset = %name, %why, "the reload secret cannot be read");
                None
            }
        })
        .collect()
}

fn refused(attempt: &Attempt<'_>) -> Unproven {
    attempt.refused(Check::ReloadSecret, || (Check::ReloadSecret, None));
    attempt.fail();
    Unproven::Unauthorized
}
