//! All routes on one screen; the OpenAPI file is made from here. What each needs, its handler's first argument says ([`auth`]).

mod agents;
mod approvals;
mod deployments;
mod health;
mod hooks;
mod incidents;
mod lines;
mod log;
mod reloads;
mod services;
mod socket;
mod users;

use std::sync::LazyLock;

use actix_web::http::Method;
use actix_web::web;
use utoipa::openapi::path::Parameter;

use crate::http::auth;
use crate::http::auth::Handler;
use crate::http::auth::Need;
use crate::http::auth::arrived;
use crate::http::auth::changed;
use crate::http::auth::changed_own;
use crate::http::auth::open;
use crate::http::auth::open_file;
use crate::http::auth::page;
use crate::http::auth::proven;
use crate::http::auth::viewed;
use crate::http::dashboard;
use crate::http::dashboard::audit;
use crate::http::dashboard::forms;
use crate::http::dashboard::forms::agents as agent_forms;
use crate::http::dashboard::forms::users as user_forms;
use crate::http::dashboard::login;

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
pub static ROUTES: LazyLock<[Route; 104]> = LazyLock::new(|| [
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
    route(Method::GET, "/api/v1/deployments/{id}/log/lines", "Show some lines of a journal", (200, Some("Lines")), proven(lines::list)).taking(lines::list_takes),
    route(Method::GET, "/api/v1/deployments/{id}/log/search", "Search a journal", (200, Some("FoundLines")), proven(lines::search)).taking(lines::search_takes),
    route(Method::GET, "/deployments/{id}/log", "Show a journal as text", (200, None), auth::page(lines::text_page)),
    route(Method::GET, "/deployments/{id}/log/lines", "Show some lines of a journal", (200, None), auth::page(lines::list_page)),
    route(Method::GET, "/deployments/{id}/log/search", "Search a journal", (200, None), auth::page(lines::search_page)),
    route(Method::GET, "/ws/deployments/{id}", "Follow a journal over a WebSocket, which a first message {\"token\": \"…\"} may \
    prove", (101, None), auth::opening(socket::follow)).taking(socket::takes),
    route(Method::POST, "/api/v1/rollbacks", "Order a rollback", (202, Some("Accepted")), proven(deployments::roll_back)).body("NewRollback"),
    route(Method::GET, "/api/v1/services", "Show every service", (200, Some("Services")), proven(services::list)),
    route(Method::GET, "/api/v1/services/{name}", "Show a service", (200, Some("Service")), proven(services::show)),
    route(Method::GET, "/api/v1/services/{name}/tags", "Show the tags that a service can be deployed with or rolled back to", (200, Some("Tags")), proven(services::tags)),
    route(Method::GET, "/api/v1/services/{name}/looks", "Show the results of the looks at a service", (200, Some("Looks")), proven(services::looks)),
    route(Method::POST, "/api/v1/services/{name}/look", "Look at the page of a service now", (200, Some("Report")), proven(services::look)).body("NewLook"),
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
    route(Method::POST, "/api/v1/agents/{name}/readmit", "Readmit an agent that was lost with the database, for the operator", (200, Some("Done")), proven(agents::readmit)),
    route(Method::GET, "/ws/agent", "Open the line of an agent", (101, None), auth::by_agent_key(agents::dial)),
    route(Method::GET, "/api/v1/refused", "Show which calls were refused and why, to the operator", (200, Some("RefusedCalls")), proven(health::refused)),
    route(Method::POST, "/api/v1/configuration/read", "Read the configuration again, for the operator", (200, Some("ReadAgain")), proven(health::read_again)),
    route(Method::GET, "/api/v1/users", "List the users, for the operator", (200, Some("Users")), proven(users::list)),
    route(Method::POST, "/api/v1/users", "Add a user, or change what a user may do, for the operator", (200, Some("Done")), proven(users::add)).body("NewUser"),
    route(Method::POST, "/api/v1/users/{name}", "Change a user, for the operator", (200, Some("Done")), proven(users::change)).body("UserChange"),
    route(Method::POST, "/api/v1/users/{name}/code", "Make a code that logs a user in once, for the operator", (200, Some("LoginCode")), proven(users::code)),
    route(Method::POST, "/api/v1/users/{name}/remove", "Remove a user, for the operator", (200, Some("Done")), proven(users::remove)),
    route(Method::GET, "/metrics", "Metrics in the OpenMetrics text format", (200, None), proven(health::metrics)),
    route(Method::GET, "/healthz", "Whether the process is alive", (200, None), open(health::healthz)),
    route(Method::HEAD, "/healthz", "Whether the process is alive", (200, None), open(health::healthz)),
    route(Method::GET, "/readyz", "Whether the server accepts orders", (200, Some("Readiness")), open(health::readyz)),
    route(Method::HEAD, "/readyz", "Whether the server accepts orders", (200, Some("Readiness")), open(health::readyz)),
    route(Method::GET, "/login", "Show the login page", (200, None), arrived(login::show)),
    route(Method::POST, "/login", "Log in by name and password, or by a one-time code", (303, None), arrived(login::enter)),
    route(Method::POST, "/login/{forge}", "Log in by a forge", (303, None), arrived(login::to_forge)),
    route(Method::GET, "/login/{forge}/callback", "Come back from a forge", (303, None), arrived(login::callback)),
    route(Method::POST, "/logout", "Log out", (303, None), changed_own(login::leave)),
    route(Method::GET, "/sessions", "Show where the user is logged in", (200, None), viewed(login::list)),
    route(Method::POST, "/sessions/{id}/end", "End a session of the user", (303, None), changed_own(login::end)),
    route(Method::GET, "/assets/{file}", "A style sheet, script or picture of the dashboard", (200, None), open_file(dashboard::asset)),
    route(Method::GET, "/", "Show every service, and what waits for a person", (200, None), viewed(dashboard::overview::show)),
    route(Method::GET, "/deployments", "Show deployments, newest first", (200, None), viewed(dashboard::deployments::show)),
    route(Method::GET, "/deployments/{id}", "Show a deployment", (200, None), page(dashboard::deployment::show)),
    route(Method::GET, "/deployments/{id}/cancel", "Ask whether to cancel", (200, None), page(forms::cancel)),
    route(Method::POST, "/deployments/{id}/cancel", "Cancel a deployment", (303, None), changed(forms::order_cancel)),
    route(Method::GET, "/deployments/{id}/retry", "Ask whether to retry", (200, None), page(forms::retry)),
    route(Method::POST, "/deployments/{id}/retry", "Repeat a deployment that has ended", (303, None), changed(forms::order_retry)),
    route(Method::GET, "/deployments/{id}/approval", "Ask for the code of an approval", (200, None), page(forms::approval)),
    route(Method::POST, "/deployments/{id}/approval", "Approve a deployment that waits for it", (303, None), changed(forms::approve)),
    route(Method::GET, "/services/{name}", "Show a service", (200, None), page(dashboard::service::show)),
    route(Method::GET, "/services/{name}/deploy", "Show the tags that can be deployed", (200, None), page(forms::show_deploy)),
    route(Method::POST, "/services/{name}/deploy", "Order a deployment", (303, None), changed(forms::order_deploy)),
    route(Method::GET, "/services/{name}/rollback", "Show from what to what a rollback goes", (200, None), page(forms::show_rollback)),
    route(Method::POST, "/services/{name}/rollback", "Order a rollback", (303, None), changed(forms::order_rollback)),
    route(Method::GET, "/services/{name}/repair", "Ask whether to repair", (200, None), page(forms::repair)),
    route(Method::POST, "/services/{name}/repair", "Deploy the last verified release again", (303, None), changed(forms::order_repair)),
    route(Method::GET, "/services/{name}/adopt", "Ask whether to adopt", (200, None), page(forms::adopt)),
    route(Method::POST, "/services/{name}/adopt", "Adopt the running release", (303, None), changed(forms::order_adopt)),
    route(Method::GET, "/services/{name}/resume", "Ask whether to resume", (200, None), page(forms::resume)),
    route(Method::POST, "/services/{name}/resume", "End the hold of a rollback", (303, None), changed(forms::order_resume)),
    route(Method::GET, "/incidents", "Show incidents, newest first", (200, None), viewed(dashboard::incidents::show)),
    route(Method::GET, "/data", "Show every dataset", (200, None), viewed(dashboard::data::show)),
    route(Method::GET, "/data/{name}/reload", "Ask whether to reload a dataset", (200, None), page(forms::data::reload)),
    route(Method::POST, "/data/{name}/reload", "Reload a dataset", (303, None), changed(forms::data::order_reload)),
    route(Method::GET, "/agents", "Show the hosts of agents", (200, None), page(dashboard::agents::show)),
    route(Method::GET, "/agents/new", "Ask for the name of an agent", (200, None), page(agent_forms::enrol)),
    route(Method::POST, "/agents/new", "Make a code that enrols an agent", (200, None), changed(agent_forms::order_enrol)),
    route(Method::GET, "/agents/{name}/revoke", "Ask whether to revoke an agent", (200, None), page(agent_forms::revoke)),
    route(Method::POST, "/agents/{name}/revoke", "Revoke an agent", (303, None), changed(agent_forms::order_revoke)),
    route(Method::GET, "/users", "Show who may log in, and where they are logged in", (200, None), page(dashboard::users::show)),
    route(Method::GET, "/users/new", "Ask who the user is and what they may do", (200, None), page(user_forms::add)),
    route(Method::POST, "/users/new", "Add a user, or change what a user may do", (200, None), changed(user_forms::order_add)),
    route(Method::GET, "/users/{name}/code", "Ask whether to make a code", (200, None), page(user_forms::code)),
    route(Method::POST, "/users/{name}/code", "Make a code that logs a user in once", (200, None), changed(user_forms::order_code)),
    route(Method::GET, "/users/{name}/logout", "Ask whether to log a user out", (200, None), page(user_forms::logout)),
    route(Method::POST, "/users/{name}/logout", "Log a user out everywhere", (303, None), changed(user_forms::order_logout)),
    route(Method::GET, "/users/{name}/disable", "Ask whether to disable a user", (200, None), page(user_forms::disable)),
    route(Method::POST, "/users/{name}/disable", "Disable a user", (303, None), changed(user_forms::order_disable)),
    route(Method::GET, "/users/{name}/enable", "Ask whether to enable a user", (200, None), page(user_forms::enable)),
    route(Method::POST, "/users/{name}/enable", "Enable a user", (303, None), changed(user_forms::order_enable)),
    route(Method::GET, "/users/{name}/remove", "Ask whether to remove a user", (200, None), page(user_forms::remove)),
    route(Method::POST, "/users/{name}/remove", "Remove a user", (303, None), changed(user_forms::order_remove)),
    route(Method::POST, "/users/{name}/sessions/{id}/end", "End a session of a user", (303, None), changed(user_forms::end_session)),
    route(Method::GET, "/keys", "Show who may call, never a secret", (200, None), page(dashboard::keys::show)),
    route(Method::GET, "/audit", "Show who did what", (200, None), page(audit::show)),
    route(Method::POST, "/audit/verify", "Verify the whole audit trail", (303, None), changed(audit::verify)),
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
