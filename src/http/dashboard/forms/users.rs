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
use crate::http::dashboard::asks::Nothing;
use crate::http::dashboard::asks::OverUsers;
use crate::http::dashboard::confirm::Confirm;
use crate::http::dashboard::named::Named;
use crate::http::dashboard::named::Shown;
use crate::http::dashboard::page::Place;
use crate::http::error::ApiError;
use crate::http::people;
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

fn adding(viewer: &Viewer, form: Form) -> Named {
    let is_known = !form.known.is_empty();
    let mut page = Named::new(viewer, Place::Users, "/users/new", "/users");
    let point = if is_known { "It holds for what the user does from now on." } else { "A code that logs them in once is shown next." };
    page.points.insert(0, point.to_owned());
    let title = if is_known { format!("What may {} do?", form.name) } else { "Add a user".to_owned() };
    let scopes = if form.scopes.is_empty() { "read".to_owned() } else { form.scopes };
    let button = if is_known { "Change" } else { "Add" };
    Named { title, name_label: "Name", name: form.name, is_known, scopes: Some(scopes), button, ..page }
}

pub(in crate::http) async fn add(page: Page<OverUsers<Form>>, _: web::Data<Shared>) -> Answer {
    let form = page.viewer.query()?;
    Ok(adding(&page.viewer, form).answer())
}

pub(in crate::http) async fn order_add(change: Change<OverUsers<Form>>, shared: web::Data<Shared>) -> Answer {
    let Change { viewer, ask: OverUsers { form, .. }, .. } = change;
    match added(&viewer, &shared, &form).await {
        Ok(shown) => Ok(shown),
        Err(error) => Ok(adding(&viewer, form).refused(&error)),
    }
}

async fn added(viewer: &Viewer, shared: &Shared, form: &Form) -> Result<HttpResponse, ApiError> {
    let name = UserName::parse(form.name.trim()).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let typed = form.scopes.split([' ', ',', '\t']).filter(|text| !text.is_empty());
    let scopes = people::scopes_of(&shared.config.now(), typed)?;
    let name = people::of_this_server(name)?;
    let is_there = shared.store.lock_of(&name).await?.is_some();
    if is_there && form.known.is_empty() {
        return Err(ApiError::conflict(
            "user_is_there",
            format!("There is a user {name} already; change what {name} may do on the page of the users."),
        ));
    }
    if !is_there && !form.known.is_empty() {
        return Err(people::nobody(name.as_str()));
    }
    let is_new = shared.store.put_user(&name, &scopes, &viewer.caller()).await?;
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
        let is_done = match self {
            Self::Code => return Ok(code_of(viewer, shared, name).await?.answer()),
            Self::Logout => {
                shared.store.end_sessions(name, &by).await?;
                true
            }
            Self::Disable | Self::Enable => shared.store.disable_user(name, matches!(self, Self::Disable), &by).await?,
            Self::Remove => shared.store.remove_user(name, &by).await?,
        };
        if is_done { Ok(to("/users")) } else { Err(people::nobody(name.as_str())) }
    }
}

fn named(name: Option<UserName>) -> Result<UserName, ApiError> {
    name.ok_or_else(|| people::nobody(""))
}

fn asked(act: Act, page: Page<OverUsers<Nothing>>) -> Answer {
    Ok(act.ask(&page.viewer, &named(page.ask.name)?).answer())
}

async fn ordered(act: Act, change: Change<OverUsers<Nothing>>, shared: &Shared) -> Answer {
    let name = named(change.ask.name)?;
    let done = act.done(&change.viewer, shared, &name).await;
    Ok(done.unwrap_or_else(|error| act.ask(&change.viewer, &name).refused(&error)))
}

pub(in crate::http) async fn code(page: Page<OverUsers<Nothing>>, _: web::Data<Shared>) -> Answer {
    asked(Act::Code, page)
}

pub(in crate::http) async fn order_code(change: Change<OverUsers<Nothing>>, shared: web::Data<Shared>) -> Answer {
    ordered(Act::Code, change, &shared).await
}

pub(in crate::http) async fn logout(page: Page<OverUsers<Nothing>>, _: web::Data<Shared>) -> Answer {
    asked(Act::Logout, page)
}

pub(in crate::http) async fn order_logout(change: Change<OverUsers<Nothing>>, shared: web::Data<Shared>) -> Answer {
    ordered(Act::Logout, change, &shared).await
}

pub(in crate::http) async fn disable(page: Page<OverUsers<Nothing>>, _: web::Data<Shared>) -> Answer {
    asked(Act::Disable, page)
}

pub(in crate::http) async fn order_disable(change: Change<OverUsers<Nothing>>, shared: web::Data<Shared>) -> Answer {
    ordered(Act::Disable, change, &shared).await
}

pub(in crate::http) async fn enable(page: Page<OverUsers<Nothing>>, _: web::Data<Shared>) -> Answer {
    asked(Act::Enable, page)
}

pub(in crate::http) async fn order_enable(change: Change<OverUsers<Nothing>>, shared: web::Data<Shared>) -> Answer {
    ordered(Act::Enable, change, &shared).await
}

pub(in crate::http) async fn remove(page: Page<OverUsers<Nothing>>, _: web::Data<Shared>) -> Answer {
    asked(Act::Remove, page)
}

pub(in crate::http) async fn order_remove(change: Change<OverUsers<Nothing>>, shared: web::Data<Shared>) -> Answer {
    ordered(Act::Remove, change, &shared).await
}

/// A session of the user of the path ends.
pub(in crate::http) async fn end_session(change: Change<OverUsers<Nothing>>, shared: web::Data<Shared>) -> Answer {
    let OverUsers { name, session, .. } = change.ask;
    let name = named(name)?;
    if !shared.store.end_session(&name, &session, &change.viewer.caller()).await? {
        return Err(ApiError::not_found("There is no such session; it may have ended.").into());
    }
    Ok(to("/users"))
}
