//! The proof of `/approve/{id}`: the address of the form itself, which nobody has but who was sent it. It shows one order to one approver
//! and takes a code; it approves nothing, so a program that opens every address of a message does no harm.

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;

use crate::http::Shared;
use crate::http::auth::attempt::Attempt;
use crate::http::auth::same_origin::is_from_here;
use crate::http::auth::same_origin::is_had_by_another_site;
use crate::http::error::ApiError;
use crate::http::refused::Check;
use crate::orders::Form;

/// How long a code that is typed may be, with all that a person puts around it.
const LONGEST: usize = 200;

/// Somebody who has the address of a form.
#[derive(Debug)]
pub(in crate::http) struct Visit {
    pub(in crate::http) form: Form,
    /// What was typed; none: the form is only looked at.
    pub(in crate::http) typed: Option<String>,
    /// Under which name wrong codes from there are counted.
    limit_key: String,
}

/// Why the form is not shown.
#[derive(Debug)]
pub(in crate::http) struct Unwelcome {
    pub(in crate::http) status: StatusCode,
    pub(in crate::http) why: &'static str,
}

const fn unwelcome(status: StatusCode, why: &'static str) -> Unwelcome {
    Unwelcome { status, why }
}

const TOO_MANY: Unwelcome =
    unwelcome(StatusCode::TOO_MANY_REQUESTS, "Too many wrong attempts came from your address; wait a minute and try again.");
const IN_THE_CLEAR: Unwelcome = unwelcome(
    StatusCode::FORBIDDEN,
    "A code must not be sent unencrypted; open this address with https, or ask the operator to set that up.",
);
const UNKNOWN: Unwelcome =
    unwelcome(StatusCode::NOT_FOUND, "This address does not lead to an order that you can approve; open the newest message once more.");
const ELSEWHERE: Unwelcome = unwelcome(
    StatusCode::FORBIDDEN,
    "The code was sent from another page than this form; open the address in the message and enter it there.",
);
const LATER: Unwelcome = unwelcome(StatusCode::SERVICE_UNAVAILABLE, "The server cannot look the order up at the moment; try again later.");
const NO_FORM: Unwelcome =
    unwelcome(StatusCode::BAD_REQUEST, "What was sent is not this form; open the address in the message and enter the code there.");

impl From<ApiError> for Unwelcome {
    fn from(_: ApiError) -> Self {
        NO_FORM
    }
}

impl Visit {
    /// Whoever has the address of a form, and what they typed into it.
    ///
    /// # Errors
    /// [`Unwelcome`]; an address that is none counts as a failed attempt.
    pub(super) async fn of(request: &HttpRequest, payload: Payload, shared: &Shared) -> Result<Self, Unwelcome> {
        let attempt = Attempt::of(request, shared)?;
        if attempt.is_spent() {
            attempt.refused(Check::TooMany, || (Check::TooMany, None));
            return Err(TOO_MANY);
        }
        if !attempt.origin.is_private() {
            return Err(IN_THE_CLEAR);
        }
        if is_had_by_another_site(&attempt) {
            return Err(ELSEWHERE);
        }
        attempt.keep_place()?;
        let address = request.match_info().get("id").unwrap_or_default();
        let Some(form) = shared.deployer.form(address).await.map_err(|_| LATER)? else {
            attempt.refused(Check::Form, || (Check::Form, None));
            attempt.fail();
            return Err(UNKNOWN);
        };
        let typed = if attempt.is_bodiless() { None } else { Some(typed(&attempt, payload).await?) };
        Ok(Self { form, typed, limit_key: attempt.limit_key().to_owned() })
    }

    /// The code was wrong, which counts as a failed attempt.
    pub(in crate::http) fn was_wrong(&self, shared: &Shared) {
        shared.metrics.refused_call();
        shared.store.count_failed(&self.limit_key);
    }
}

/// What was typed into the form of this very page.
async fn typed(attempt: &Attempt<'_>, payload: Payload) -> Result<String, Unwelcome> {
    if !is_from_here(attempt) {
        return Err(ELSEWHERE);
    }
    let is_form = attempt.header(CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    let body = attempt.body(payload, true).await?.bytes;
    let code = url::form_urlencoded::parse(&body).find(|(name, _)| name == "code").map(|(_, value)| value.into_owned());
    code.filter(|code| is_form && code.len() <= LONGEST).ok_or(NO_FORM)
}
