//! The OpenAPI file, made from the route table and the types that the server and the CLI share.

use utoipa::PartialSchema;
use utoipa::ToSchema;
use utoipa::openapi::ComponentsBuilder;
use utoipa::openapi::ContentBuilder;
use utoipa::openapi::InfoBuilder;
use utoipa::openapi::OpenApi;
use utoipa::openapi::OpenApiBuilder;
use utoipa::openapi::PathItem;
use utoipa::openapi::PathsBuilder;
use utoipa::openapi::Ref;
use utoipa::openapi::RefOr;
use utoipa::openapi::Required;
use utoipa::openapi::ResponseBuilder;
use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::path::OperationBuilder;
use utoipa::openapi::path::ParameterBuilder;
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::security::ApiKey;
use utoipa::openapi::security::ApiKeyValue;
use utoipa::openapi::security::HttpAuthScheme;
use utoipa::openapi::security::HttpBuilder;
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::security::SecurityScheme;

use crate::api;
use crate::http::Need;
use crate::http::ROUTES;
use crate::http::Route;

/// The three headers of a signed call, which come together.
const SIGNED: [(&str, &str); 3] = [
    ("webhook-id", "An id chosen by the sender; a repeated call with the same id and body gets the first answer"),
    ("webhook-timestamp", "The time in seconds since 1970; it may differ by at most 300 seconds"),
    ("webhook-signature", "v1,<base64 of HMAC-SHA256 over id.timestamp.body>, as in the Standard Webhooks specification"),
];

/// What proves a native webhook.
const FORGE_SIGNATURE: &str = "sha256=<hex of HMAC-SHA256 over the body> from GitHub; the bare hex in x-forgejo-signature or \
x-gitea-signature from the others. The event is in x-github-event, x-forgejo-event or x-gitea-event";

/// The contract of this server.
#[must_use]
pub fn openapi() -> OpenApi {
    let paths = ROUTES.iter().filter(|route| route.need.is_in_openapi()).fold(PathsBuilder::new(), |paths, route| {
        let method = match route.method.as_str() {
            "POST" => HttpMethod::Post,
            "HEAD" => HttpMethod::Head,
            _ => HttpMethod::Get,
        };
        paths.path(route.path, PathItem::new(method, operation(route)))
    });
    let mut schemas: Vec<(String, RefOr<Schema>)> = Vec::new();
    add::<api::NewDeployment>(&mut schemas);
    add::<api::NewRollback>(&mut schemas);
    add::<api::NewApproval>(&mut schemas);
    add::<api::Accepted>(&mut schemas);
    add::<api::Deployment>(&mut schemas);
    add::<api::Deployments>(&mut schemas);
    add::<api::Service>(&mut schemas);
    add::<api::Services>(&mut schemas);
    add::<api::Tags>(&mut schemas);
    add::<api::Looks>(&mut schemas);
    add::<api::NewLook>(&mut schemas);
    add::<api::Incidents>(&mut schemas);
    add::<api::ReadAgain>(&mut schemas);
    add::<api::Lines>(&mut schemas);
    add::<api::FoundLines>(&mut schemas);
    add::<api::NewReload>(&mut schemas);
    add::<api::Reloaded>(&mut schemas);
    add::<api::Dataset>(&mut schemas);
    add::<api::Datasets>(&mut schemas);
    add::<api::Agents>(&mut schemas);
    add::<api::AgentCode>(&mut schemas);
    add::<api::RefusedCalls>(&mut schemas);
    add::<api::HookAnswer>(&mut schemas);
    add::<api::Done>(&mut schemas);
    add::<api::Problem>(&mut schemas);
    add::<api::Readiness>(&mut schemas);
    add::<api::NewUser>(&mut schemas);
    add::<api::UserChange>(&mut schemas);
    add::<api::Users>(&mut schemas);
    add::<api::LoginCode>(&mut schemas);
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    let components = SIGNED.iter().fold(
        ComponentsBuilder::new().schemas_from_iter(schemas).security_scheme("bearer", bearer),
        |components, (name, what)| {
            let header = ApiKeyValue::with_description(*name, *what);
            components.security_scheme(*name, SecurityScheme::ApiKey(ApiKey::Header(header)))
        },
    );
    let header = ApiKeyValue::with_description("x-hub-signature-256", FORGE_SIGNATURE);
    let components = components.security_scheme("forge", SecurityScheme::ApiKey(ApiKey::Header(header)));
    let info = InfoBuilder::new()
        .title("tagalong")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "A call has a bearer token (of a key, or the OIDC token of a job of GitHub or Forgejo Actions), or it is signed with the \
            Standard Webhooks scheme (webhook-id, webhook-timestamp, webhook-signature).",
        ))
        .build();
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components.build())).build()
}

fn add<T: PartialSchema + ToSchema>(to: &mut Vec<(String, RefOr<Schema>)>) {
    to.push((T::name().into_owned(), T::schema()));
    T::schemas(to);
}

fn operation(route: &Route) -> OperationBuilder {
    let content = |name: &str| ContentBuilder::new().schema(Some(Ref::from_schema_name(name))).build();
    let (status, answer) = route.answer;
    let mut good = ResponseBuilder::new().description("The answer");
    if let Some(name) = answer {
        good = good.content("application/json", content(name));
    }
    let problem = || ResponseBuilder::new().description("The problem").content("application/problem+json", content("Problem")).build();
    let mut operation = OperationBuilder::new().summary(Some(route.summary)).response(status.to_string(), good.build());
    if route.need != Need::Open {
        let statuses = ["400", "401", "403", "404", "408", "409", "413", "422", "429", "503"];
        operation = statuses.iter().fold(operation, |operation, status| operation.response(*status, problem()));
        let none = Vec::<String>::new;
        let signed = SIGNED.iter().fold(SecurityRequirement::default(), |all, (name, _)| all.add(*name, none()));
        operation = if route.need == Need::ForgeSignature {
            let nothing = ResponseBuilder::new().description("Why nothing was done").content("application/json", content("HookAnswer"));
            operation.response("200", nothing.build()).security(SecurityRequirement::new("forge", none()))
        } else {
            operation.security(SecurityRequirement::new("bearer", none())).security(signed)
        };
    }
    if route.body == Some("NewReload") {
        let partly = ResponseBuilder::new().description("Not all peers serve it").content("application/json", content("Reloaded"));
        operation = operation.response("207", partly.build()).response("502", problem());
    }
    if let Some(name) = route.body {
        operation = operation.request_body(Some(
            RequestBodyBuilder::new().content("application/json", content(name)).required(Some(Required::True)).build(),
        ));
    }
    for name in ["id", "name"].into_iter().filter(|name| route.path.contains(&format!("{{{name}}}"))) {
        let parameter =
            ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True).schema(Some(String::schema()));
        operation = operation.parameter(parameter.build());
    }
    (route.takes)().into_iter().fold(operation, OperationBuilder::parameter)
}
