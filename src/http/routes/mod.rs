//! All routes on one screen; the OpenAPI file is made from here. What each needs, its handler's first argument says ([`auth`]).

mod agents;
mod approvals;
mod deployments;
mod health;
mod hooks;
mod incidents;
mod log;
mod reloads;
mod services;

use std::sync::LazyLock;

use actix_web::http::Method;
use actix_web::web;
use utoipa::openapi::path::Parameter;

use crate::http::auth;
use crate::http::auth::Handler;
use crate::http::auth::Need;
use crate::http::auth::open;
use crate::http::auth::proven;

/// One route.
#[derive(Debug)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path.
    pub path: &'static str,
    /// What it must prove.
    pub need: Need,
    /// What it does, for the OpenAPI file.
    pub summary: &'static str,
    /// The name of the body's schema.
    pub body: Option<&'static str>,
    /// The status of success and the name of its schema.
    pub answer: (u16, Option<&'static str>),
    /// What it takes besides its path and body.
    pub takes: fn() -> Vec<Parameter>,
    handler: Handler,
}

fn route(method: Method, path: &'static str, summary: &'static str, answer: (u16, Option<&'static str>), handler: Handler) -> Route {
    Route { method, path, need: handler.need(), summary, body: None, answer, takes: Vec::new, handler }
}

impl Route {
    fn body(self, schema: &'static str) -> Self {
        Self { body: Some(schema), ..self }
    }

    fn taking(self, takes: fn() -> Vec<Parameter>) -> Self {
        Self { takes, ..self }
    }
}

/// Every route.
#[rustfmt::skip]
pub static ROUTES: LazyLock<[Route; 37]> = LazyLock::new(|| [
    route(Method::POST, "/api/v1/deployments", "Order a deployment", (202, Some("Accepted")), proven(deployments::create)).body("NewDeployment"),
    route(Method::GET, "/api/v1/deployments", "List deployments, newest first", (200, Some("Deployments")), proven(deployments::list)).taking(deployments::list_takes),
    route(Method::GET, "/api/v1/deployments/{id}", "Show a deployment", (200, Some("Deployment")), proven(deployments::show)),
    route(Method::POST, "/api/v1/deployments/{id}/cancel", "Cancel a deployment", (200, Some("Done")), proven(deployments::cancel)),
    route(Method::POST, "/api/v1/deployments/{id}/retry", "Repeat a deployment that has \
    ended", (202, Some("Accepted")), proven(deployments::retry)),
    route(Method::POST, "/api/v1/deployments/{id}/approval", "Approve a deployment that waits for \
    it", (200, Some("Done")), proven(approvals::approve)).body("NewApproval"),
    route(Method::GET, "/approve/{id}", "Show the form in which an approver enters a code", (200, None), auth::by_form(approvals::show)),
    route(Method::POST, "/approve/{id}", "Enter a code into that form", (200, None), auth::by_form(approvals::enter)),
    route(Method::GET, "/api/v1/deployments/{id}/log", "Follow a journal, as text or server-sent events", (200, None), proven(log::follow)).taking(log::takes),
    route(Method::POST, "/api/v1/rollbacks", "Order a rollback", (202, Some("Accepted")), proven(deployments::roll_back)).body("NewRollback"),
    route(Method::GET, "/api/v1/services", "Show every service", (200, Some("Services")), proven(services::list)),
    route(Method::GET, "/api/v1/services/{name}", "Show a service", (200, Some("Service")), proven(services::show)),
    route(Method::GET, "/api/v1/services/{name}/tags", "Show the tags that a service can be deployed with or rolled back to", (200, Some("Tags")), proven(services::tags)),
    route(Method::GET, "/api/v1/services/{name}/looks", "Show the results of the looks at a service", (200, Some("Looks")), proven(services::looks)),
    route(Method::POST, "/api/v1/services/{name}/adopt", "Adopt the running release", (202, Some("Accepted")), proven(services::adopt)),
    route(Method::POST, "/api/v1/services/{name}/repair", "Deploy the last verified release again", (202, Some("Accepted")), proven(services::repair)),
    route(Method::POST, "/api/v1/services/{name}/resume", "End the hold of a rollback", (200, Some("Done")), proven(services::resume)),
    route(Method::GET, "/api/v1/incidents", "List incidents, newest first", (200, Some("Incidents")), proven(incidents::list)).taking(incidents::list_takes),
    route(Method::POST, "/api/v1/reloads", "Reload a dataset", (200, Some("Reloaded")), proven(reloads::create)).body("NewReload"),
    route(Method::POST, "/api/_internal/reload-data", "Reload a dataset, by the path that data repositories have long \
    used", (200, None), auth::by_reload_secret(reloads::reload_data)),
    route(Method::POST, "/hooks/github", "Take a native webhook of GitHub", (202, Some("HookAnswer")), auth::by_forge(hooks::take)),
    route(Method::POST, "/hooks/forgejo", "Take a native webhook of Forgejo or Gitea", (202, Some("HookAnswer")), auth::by_forge(hooks::take)),
    route(Method::GET, "/api/v1/datasets", "Show every dataset", (200, Some("Datasets")), proven(reloads::list)),
    route(Method::GET, "/api/v1/datasets/{name}", "Show a dataset", (200, Some("Dataset")), proven(reloads::show)),
    route(Method::GET, "/api/v1/agents", "Show every agent", (200, Some("Agents")), proven(agents::list)),
    route(Method::POST, "/api/v1/agents/enrol", "Enrol a host as an agent", (200, None), auth::by_code(agents::enrol)),
    route(Method::POST, "/api/v1/agents/{name}/code", "Make a code that enrols an agent, for the operator", (200, Some("AgentCode")), proven(agents::code)),
    route(Method::POST, "/api/v1/agents/{name}/revoke", "Revoke an agent, for the operator", (200, Some("Done")), proven(agents::revoke)),
    route(Method::GET, "/ws/agent", "Open the line of an agent", (101, None), auth::by_agent_key(agents::dial)),
    route(Method::GET, "/api/v1/refused", "Show which calls were refused and why, to the operator", (200, Some("RefusedCalls")), proven(health::refused)),
    route(Method::POST, "/api/v1/configuration/read", "Read the configuration again, for the operator", (200, Some("ReadAgain")), proven(health::read_again)),
    route(Method::GET, "/metrics", "Metrics in the OpenMetrics text format", (200, None), proven(health::metrics)),
    route(Method::GET, "/healthz", "Whether the process is alive", (200, None), open(health::healthz)),
    route(Method::HEAD, "/healthz", "Whether the process is alive", (200, None), open(health::healthz)),
    route(Method::GET, "/readyz", "Whether the server accepts orders", (200, Some("Readiness")), open(health::readyz)),
    route(Method::HEAD, "/readyz", "Whether the server accepts orders", (200, Some("Readiness")), open(health::readyz)),
    route(Method::GET, "/api/v1/openapi.json", "This OpenAPI document", (200, None), open(health::openapi_json)),
]);

/// Registers every route.
pub(super) fn configure(app: &mut web::ServiceConfig) {
    let mut paths: Vec<&'static str> = ROUTES.iter().map(|route| route.path).collect();
    paths.dedup();
    for path in paths {
        let resource = ROUTES
            .iter()
            .filter(|route| route.path == path)
            .fold(web::resource(path), |resource, route| resource.route(route.handler.route().method(route.method.clone())));
        app.service(resource.default_service(web::to(health::unknown)));
    }
}

pub(in crate::http) use health::unknown;
