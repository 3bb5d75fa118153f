//! What operators do about agents: a code that enrols a host, and the end of an agent's keys.

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
use crate::http::dashboard::asks::OverAgent;
use crate::http::dashboard::confirm::Confirm;
use crate::http::dashboard::named::Named;
use crate::http::dashboard::named::Shown;
use crate::http::dashboard::page::Place;
use crate::http::enrolment;
use crate::http::error::ApiError;
use crate::model::AgentName;

/// The name of an agent, as it is typed.
#[derive(Debug, Default, Deserialize)]
pub(in crate::http) struct Form {
    #[serde(default)]
    name: String,
}

type Answer = Result<HttpResponse, PageError>;

fn enrolling(viewer: &Viewer, form: Form) -> Named {
    let mut page = Named::new(viewer, Place::Agents, "/agents/new", "/agents");
    page.points
        .insert(0, "A code enrols one host, once. A host that had this name before counts no more when another is enrolled.".to_owned());
    Named { title: "Enrol a host".to_owned(), name_label: "Name of the agent", name: form.name, button: "Make a code", ..page }
}

pub(in crate::http) async fn enrol(page: Page<ByOperator<Form>>, _: web::Data<Shared>) -> Answer {
    let form = page.viewer.query()?;
    Ok(enrolling(&page.viewer, form).answer())
}

pub(in crate::http) async fn order_enrol(change: Change<ByOperator<Form>>, shared: web::Data<Shared>) -> Answer {
    let Change { viewer, ask: ByOperator(form), .. } = change;
    let name = match AgentName::parse(form.name.trim()) {
        Ok(name) => name,
        Err(error) => return Ok(enrolling(&viewer, form).refused(&ApiError::bad_request(error.to_string()))),
    };
    let (code, until_ms) = match enrolment::new_code(&shared, &name, &viewer.caller()).await {
        Ok(made) => made,
        Err(error) => return Ok(enrolling(&viewer, form).refused(&error)),
    };
    let config = shared.config.now();
    let public = config.server.public().unwrap_or("https://THIS-SERVER");
    let what = format!("Whoever has this code can enrol a host as the agent {name}.");
    let shown = Shown::new(&viewer, Place::Agents, format!("A code for {name}"), what, (code.reveal().to_owned(), until_ms), "/agents");
    let command = format!("tagalong --url {public} agent enrol --code-file FILE");
    let shown = shown.point("On that host, write the code into a file that only its owner can read, and type the line below.");
    Ok(shown.point("The line asks for https: an agent is enrolled over nothing else.").command(command).answer())
}

fn revoking(viewer: &Viewer, name: &AgentName) -> Confirm {
    let question = format!("Revoke the agent {name}?");
    let confirm = Confirm::new(viewer, Place::Agents, question, format!("/agents/{name}/revoke"), "Revoke", "/agents".to_owned())
        .point("Its keys count no more, and its line is cut at once.")
        .point("What runs on its host goes on running. An order that it may be at ends as needs_operator: look at what runs there.")
        .point("Orders that wait for a service which only this agent names end. Those for a service of the configuration wait as long as max_wait_s says.");
    confirm.dangerous()
}

pub(in crate::http) async fn revoke(page: Page<OverAgent>, _: web::Data<Shared>) -> Answer {
    Ok(revoking(&page.viewer, &page.ask.0).answer())
}

pub(in crate::http) async fn order_revoke(change: Change<OverAgent>, shared: web::Data<Shared>) -> Answer {
    let OverAgent(name) = change.ask;
    Ok(match enrolment::revoke(&shared, &name, &change.viewer.caller()).await {
        Ok(()) => to("/agents"),
        Err(error) => revoking(&change.viewer, &name).refused(&error),
    })
}
