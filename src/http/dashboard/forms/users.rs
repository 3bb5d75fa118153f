//! What is done about users by whoever may do everything.

use actix_web::HttpResponse;
use actix_web::web;
use serde::Deserialize;

use crate::http::Shared;
use crate::http::auth::Change;
use crate::http::auth::Page;
use crate::http::auth::PageError;
use crate::http::auth::Viewer;
use crate::http::dashboard::answered::to;
use crate::http::dashboard::asks::ByOperator;
use crate::http::dashboard::asks::OverUser;
use crate::http::dashboard::confirm::Confirm;
use crate::http::dashboard::named::Named;
use crate::http::dashboard::named::Shown;
use crate::http::dashboard::page::Place;
use crate::http::error::ApiError;
use crate::http::people;
use crate::http::people::Changed;
use crate::model::Scope;
use crate::model::UserName;

/// A user as they are typed.
#[derive(Debug, Default, Clone, Deserialize)]
pub(in crate::http) struct Form {
    #[serde(default)]
    name: String,
    #[serde(default)]
    scopes: String,
    /// Not empty: the user is there already, and is changed.
    #[serde(default)]
    known: String,
}

type Answer = Result<HttpResponse, PageError>;

/// What the user may do whom a form names; none: there is no such user yet.
async fn may_now(shared: &Shared, form: &Form) -> Result<Option<String>, ApiError> {
    let users = shared.store.users().await?;
    let user = users.into_iter().find(|user| user.name.as_str() == form.name.trim());
    Ok(user.map(|user| user.scopes.iter().map(Scope::to_string).collect::<Vec<_>>().join(" ")))
}

fn adding(viewer: &Viewer, form: Form, now: Option<String>) -> Named {
    let is_known = !form.known.is_empty();
    let mut page = Named::new(viewer, Place::Users, "/users/new", "/users");
    let point = if is_known { "It holds for what the user does from now on." } else { "A code that logs them in once is shown next." };
    page.points.insert(0, point.to_owned());
    page.points.extend(now.filter(|_| is_known).map(|now| format!("Until now {} may do: {now}.", form.name)));
    let title = if is_known { format!("What may {} do?", form.name) } else { "Add a user".to_owned() };
    let scopes = if form.scopes.is_empty() { "read".to_owned() } else { form.scopes };
    let button = if is_known { "Change" } else { "Add" };
    Named { title, name_label: "Name", name: form.name, is_known, scopes: Some(scopes), button, ..page }
}

pub(in crate::http) async fn add(page: Page<ByOperator<Form>>, shared: web::Data<Shared>) -> Answer {
    // A link names somebody. It prepares no permission that a person would have to notice before they press the button.
    let link: Form = page.viewer.query()?;
    let now = may_now(&shared, &link).await?;
    let known = now.as_ref().map(|_| "1".to_owned()).unwrap_or_default();
    let form = Form { name: link.name, scopes: now.clone().unwrap_or_default(), known };
    Ok(adding(&page.viewer, form, now).answer())
}

pub(in crate::http) async fn order_add(change: Change<ByOperator<Form>>, shared: web::Data<Shared>) -> Answer {
    let Change { viewer, ask: ByOperator(form), .. } = change;
    let now = may_now(&shared, &form).await?;
    let done = added(&viewer, &shared, &form, now.is_some()).await;
    Ok(done.unwrap_or_else(|error| adding(&viewer, form, now).refused(&error)))
}

async fn added(viewer: &Viewer, shared: &Shared, form: &Form, is_there: bool) -> Result<HttpResponse, ApiError> {
    let name = UserName::parse(form.name.trim()).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let typed = form.scopes.split([' ', ',', '\t']).filter(|text| !text.is_empty());
    let scopes = people::scopes_of(&shared.config.now(), typed)?;
    let name = people::of_this_server(name)?;
    if is_there && form.known.is_empty() {
        return Err(ApiError::conflict(
            "user_is_there",
            format!("There is a user {name} already; change what {name} may do on the page of the users."),
        ));
    }
    if !is_there && !form.known.is_empty() {
        return Err(people::nobody(name.as_str()));
    }
    let is_new = people::change(shared, &name, Changed::Scopes(&scopes), &viewer.caller()).await? == 1;
    if !is_new {
        return Ok(to("/users"));
    }
    let scopes: Vec<String> = scopes.iter().map(Scope::to_string).collect();
    let shown = code_of(viewer, shared, &name).await?;
    Ok(shown.done(format!("{name} was added and may do {}.", scopes.join(", "))).answer())
}

async fn code_of(viewer: &Viewer, shared: &Shared, name: &UserName) -> Result<Shown, ApiError> {
    let (code, until_ms) = people::new_code(shared, name, &viewer.caller()).await?;
    let address = people::login_address(&shared.config.now()).unwrap_or_else(|| "the page /login of this server".to_owned());
    let what = format!("Whoever has this code can log in as {name}.");
    let shown = Shown::new(viewer, Place::Users, format!("A code for {name}"), what, (code.grouped(), until_ms), "/users");
    Ok(shown.point(format!("It is entered at {address}, under \"Log in with a one-time code\".")))
}

/// What is done about a user with one question.
#[derive(Debug, Clone, Copy)]
enum Act {
    Code,
    Logout,
    Disable,
    Enable,
    Remove,
}

impl Act {
    fn ask(self, viewer: &Viewer, name: &UserName) -> Confirm {
        let (question, verb, button, point, is_danger) = match self {
            Self::Code => {
                let point = "It logs them in once, within 15 minutes. A code that they had before is void.";
                (format!("Make a code for {name}?"), "code", "Make a code", point, false)
            }
            Self::Logout => (format!("Log {name} out everywhere?"), "logout", "Log out", "Every session of theirs ends.", true),
            Self::Disable => {
                let point = "Every session of theirs ends, and they cannot log in until they are enabled.";
                (format!("Disable {name}?"), "disable", "Disable", point, true)
            }
            Self::Enable => (format!("Enable {name}?"), "enable", "Enable", "They can log in again.", false),
            Self::Remove => {
                let point = "Every session of theirs ends. What they have done stays in the record under their name.";
                (format!("Remove {name}?"), "remove", "Remove", point, true)
            }
        };
        let confirm =
            Confirm::new(viewer, Place::Users, question, format!("/users/{name}/{verb}"), button, "/users".to_owned()).point(point);
        let confirm = if name == viewer.user() && is_danger { confirm.point("That is you.") } else { confirm };
        if is_danger { confirm.dangerous() } else { confirm }
    }

    async fn done(self, viewer: &Viewer, shared: &Shared, name: &UserName) -> Result<HttpResponse, ApiError> {
        let by = viewer.caller();
        let what = match self {
            Self::Code => return Ok(code_of(viewer, shared, name).await?.answer()),
            Self::Logout => Changed::LoggedOut,
            Self::Disable => Changed::Disabled,
            Self::Enable => Changed::Enabled,
            Self::Remove => Changed::Removed,
        };
        let done = people::change(shared, name, what, &by).await?;
        // Whoever is logged in nowhere is logged out.
        if done > 0 || matches!(self, Self::Logout) { Ok(to("/users")) } else { Err(people::nobody(name.as_str())) }
    }
}

fn asked(act: Act, page: &Page<OverUser>) -> HttpResponse {
    act.ask(&page.viewer, &page.ask.name).answer()
}

async fn ordered(act: Act, change: Change<OverUser>, shared: &Shared) -> Answer {
    let OverUser { name, .. } = change.ask;
    let done = act.done(&change.viewer, shared, &name).await;
    Ok(done.unwrap_or_else(|error| act.ask(&change.viewer, &name).refused(&error)))
}

pub(in crate::http) async fn code(page: Page<OverUser>, _: web::Data<Shared>) -> Answer {
    Ok(asked(Act::Code, &page))
}

pub(in crate::http) async fn order_code(change: Change<OverUser>, shared: web::Data<Shared>) -> Answer {
    ordered(Act::Code, change, &shared).await
}

pub(in crate::http) async fn logout(page: Page<OverUser>, _: web::Data<Shared>) -> Answer {
    Ok(asked(Act::Logout, &page))
}

pub(in crate::http) async fn order_logout(change: Change<OverUser>, shared: web::Data<Shared>) -> Answer {
    ordered(Act::Logout, change, &shared).await
}

pub(in crate::http) async fn disable(page: Page<OverUser>, _: web::Data<Shared>) -> Answer {
    Ok(asked(Act::Disable, &page))
}

pub(in crate::http) async fn order_disable(change: Change<OverUser>, shared: web::Data<Shared>) -> Answer {
    ordered(Act::Disable, change, &shared).await
}

pub(in crate::http) async fn enable(page: Page<OverUser>, _: web::Data<Shared>) -> Answer {
    Ok(asked(Act::Enable, &page))
}

pub(in crate::http) async fn order_enable(change: Change<OverUser>, shared: web::Data<Shared>) -> Answer {
    ordered(Act::Enable, change, &shared).await
}

pub(in crate::http) async fn remove(page: Page<OverUser>, _: web::Data<Shared>) -> Answer {
    Ok(asked(Act::Remove, &page))
}

pub(in crate::http) async fn order_remove(change: Change<OverUser>, shared: web::Data<Shared>) -> Answer {
    ordered(Act::Remove, change, &shared).await
}

/// A session of the user of the path ends.
pub(in crate::http) async fn end_session(change: Change<OverUser>, shared: web::Data<Shared>) -> Answer {
    let OverUser { name, session } = change.ask;
    if people::change(&shared, &name, Changed::SessionEnded(&session), &change.viewer.caller()).await? == 0 {
        return Err(ApiError::not_found("There is no such session; it may have ended.").into());
    }
    Ok(to("/users"))
}
