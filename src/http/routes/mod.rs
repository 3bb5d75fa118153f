//! All routes on one screen: what each needs stands beside it, and the OpenAPI file is made from here.

mod deployments;
mod health;
mod log;
mod reloads;
mod services;

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::web;
use utoipa::openapi::path::Parameter;

use crate::model::Verb;

/// What a call must prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: it tells nothing that is not public.
    Open,
    /// A key with this verb on the service concerned.
    Verb(Verb),
    /// The reload secret of a dataset, which says the dataset too. Such a route does not stand in the contract.
    ReloadSecret,
}

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
    handler: fn() -> actix_web::Route,
}

const fn route(
    method: Method,
    path: &'static str,
    need: Need,
    summary: &'static str,
    body: Option<&'static str>,
    answer: (u16, Option<&'static str>),
    handler: fn() -> actix_web::Route,
) -> Route {
    Route { method, path, need, summary, body, answer, takes: Vec::new, handler }
}

impl Route {
    const fn taking(mut self, takes: fn() -> Vec<Parameter>) -> Self {
        self.takes = takes;
        self
    }
}

const DEPLOY: Need = Need::Verb(Verb::Deploy);
const ROLLBACK: Need = Need::Verb(Verb::Rollback);
const READ: Need = Need::Verb(Verb::Read);
const RELOAD: Need = Need::Verb(Verb::Reload);

/// Every route.
#[rustfmt::skip]
pub static ROUTES: [Route; 21] = [
    route(Method::POST, "/api/v1/deployments", DEPLOY, "Order a deployment", Some("NewDeployment"), (202, Some("Accepted")), || web::route().to(deployments::create)),
    route(Method::GET, "/api/v1/deployments", READ, "List deployments, newest first", None, (200, Some("Deployments")), || web::route().to(deployments::list)).taking(deployments::list_takes),
    route(Method::GET, "/api/v1/deployments/{id}", READ, "Show a deployment", None, (200, Some("Deployment")), || web::route().to(deployments::show)),
    route(Method::POST, "/api/v1/deployments/{id}/cancel", DEPLOY, "Cancel a deployment", None, (200, Some("Done")), || web::route().to(deployments::cancel)),
    route(Method::POST, "/api/v1/deployments/{id}/retry", DEPLOY, "Order an ended deployment once more", None, (202, Some("Accepted")), || web::route().to(deployments::retry)),
    route(Method::GET, "/api/v1/deployments/{id}/log", READ, "Follow a journal, as text or server-sent events", None, (200, None), || web::route().to(log::follow)).taking(log::takes),
    route(Method::POST, "/api/v1/rollbacks", ROLLBACK, "Order a rollback", Some("NewRollback"), (202, Some("Accepted")), || web::route().to(deployments::roll_back)),
    route(Method::GET, "/api/v1/services", READ, "Show every service", None, (200, Some("Services")), || web::route().to(services::list)),
    route(Method::GET, "/api/v1/services/{name}", READ, "Show a service", None, (200, Some("Service")), || web::route().to(services::show)),
    route(Method::POST, "/api/v1/services/{name}/adopt", ROLLBACK, "Take over what runs", None, (202, Some("Accepted")), || web::route().to(services::adopt)),
    route(Method::POST, "/api/v1/services/{name}/resume", ROLLBACK, "End the hold of a rollback", None, (200, Some("Done")), || web::route().to(services::resume)),
    route(Method::POST, "/api/v1/reloads", RELOAD, "Bring what is new in a dataset to its readers", Some("NewReload"), (200, Some("Reloaded")), || web::route().to(reloads::create)),
    route(Method::POST, "/api/_internal/reload-data", Need::ReloadSecret, "The same, as data repositories have long called it", None, (200, None), || web::route().to(reloads::reload_data)),
    route(Method::GET, "/api/v1/datasets", READ, "Show every dataset", None, (200, Some("Datasets")), || web::route().to(reloads::list)),
    route(Method::GET, "/api/v1/datasets/{name}", READ, "Show a dataset", None, (200, Some("Dataset")), || web::route().to(reloads::show)),
    route(Method::GET, "/metrics", READ, "Metrics in the OpenMetrics text format", None, (200, None), || web::route().to(health::metrics)),
    route(Method::GET, "/healthz", Need::Open, "Whether the process answers", None, (200, None), || web::route().to(health::healthz)),
    route(Method::HEAD, "/healthz", Need::Open, "Whether the process answers", None, (200, None), || web::route().to(health::healthz)),
    route(Method::GET, "/readyz", Need::Open, "Whether orders are taken", None, (200, Some("Readiness")), || web::route().to(health::readyz)),
    route(Method::HEAD, "/readyz", Need::Open, "Whether orders are taken", None, (200, Some("Readiness")), || web::route().to(health::readyz)),
    route(Method::GET, "/api/v1/openapi.json", Need::Open, "This contract", None, (200, None), || web::route().to(health::openapi_json)),
];

/// Registers every route.
pub(super) fn configure(app: &mut web::ServiceConfig) {
    let mut paths: Vec<&'static str> = ROUTES.iter().map(|route| route.path).collect();
    paths.dedup();
    for path in paths {
        let resource = ROUTES
            .iter()
            .filter(|route| route.path == path)
            .fold(web::resource(path), |resource, route| resource.route((route.handler)().method(route.method.clone())));
        app.service(resource.default_service(web::to(health::unknown)));
    }
}

pub(in crate::http) use health::unknown;

/// What the route of `request` needs. A route that is not in the table needs what nobody has.
pub(super) fn need_of(request: &HttpRequest) -> Need {
    let pattern = request.match_pattern();
    let route = ROUTES.iter().find(|route| Some(route.path) == pattern.as_deref() && route.method == *request.method());
    route.map_or(Need::Open, |route| route.need)
}
