//! `/hooks/github` and `/hooks/forgejo`: native webhooks. Both take those of every forge, since the headers say which one it is.

use actix_web::HttpResponse;
use actix_web::web;

use crate::api::HookAnswer;
use crate::api::NewDeployment;
use crate::api::RuleAnswer;
use crate::http::Shared;
use crate::http::auth::Delivered;
use crate::http::error::ApiError;
use crate::http::reloading::carry_out;
use crate::model::CommitName;
use crate::model::DatasetName;
use crate::reload;
use crate::reload::TellPeers;
use crate::store::Came;
use crate::webhooks;
use crate::webhooks::Act;
use crate::webhooks::Payload;
use crate::webhooks::Verdict;

type Answer = Result<HttpResponse, ApiError>;

pub(super) async fn take(delivered: Delivered, shared: web::Data<Shared>) -> Answer {
    let payload = webhooks::read(delivered.forge().kind, delivered.event(), delivered.payload());
    let notice = match payload.map_err(|error| ApiError::bad_request(error.to_string()))? {
        Payload::Ping => return Ok(nothing_done("tagalong takes the webhooks of this forge.".to_owned(), Vec::new())),
        Payload::Nothing(why) => return Ok(nothing_done(format!("Nothing was done: {why}."), Vec::new())),
        Payload::Notice(notice) => notice,
    };
    let config = delivered.config();
    let rules = config.webhook_rules.iter().filter(|rule| rule.forge == delivered.forge().id);
    let verdicts = webhooks::judge(rules, &notice);
    if verdicts.iter().all(|verdict| verdict.outcome.is_err()) {
        let message = "Nothing was done: no [[hook]] of the configuration matches.";
        return Ok(nothing_done(message.to_owned(), verdicts.iter().map(Verdict::view).collect()));
    }
    // The id is not signed. All that it is good for is to find out that it was given to something else.
    let by_id = delivered.by_id();
    let came = match &by_id {
        Some(by_id) => shared.store.remember(by_id).await?,
        None => Came::Before,
    };
    if came == Came::OtherBody {
        return Err(ApiError::id_reused("The delivery id was already used for a different body."));
    }
    let (answers, refused) = act_upon(&delivered, &verdicts, &shared).await;
    match refused {
        Some(error) if !answers.iter().any(|answer| answer.matches && answer.code.is_none()) => {
            if let Some(by_id) = by_id.filter(|_| came == Came::First) {
                // Nothing was done, so it may come again.
                shared.store.forget(&by_id).await?;
            }
            Err(error)
        }
        _ => Ok(HttpResponse::Accepted().json(HookAnswer { message: summary(&answers), rules: answers })),
    }
}

fn nothing_done(message: String, rules: Vec<RuleAnswer>) -> HttpResponse {
    HttpResponse::Ok().json(HookAnswer { message, rules })
}

/// What each rule came to, and the first refusal.
async fn act_upon(delivered: &Delivered, verdicts: &[Verdict<'_>], shared: &web::Data<Shared>) -> (Vec<RuleAnswer>, Option<ApiError>) {
    let mut answers = Vec::new();
    let mut refused = None;
    for verdict in verdicts {
        let mut view = verdict.view();
        let done = match &verdict.outcome {
            Err(_) => Ok(()),
            Ok(Act::Deploy(ask)) => order(delivered, ask, &mut view, shared).await,
            Ok(Act::Reload { dataset, branch, commit }) => {
                let ask = reload::Ask { branch: branch.clone(), commit: commit.clone(), peers: TellPeers::Later };
                begin_reload(delivered, dataset, ask, shared).await
            }
        };
        if let Err(error) = done {
            view.why = Some(error.to_string());
            view.code = Some(error.code().to_owned());
            refused.get_or_insert(error);
        }
        answers.push(view);
    }
    (answers, refused)
}

async fn order(delivered: &Delivered, ask: &NewDeployment, view: &mut RuleAnswer, shared: &Shared) -> Result<(), ApiError> {
    let delivery = delivered.to(&format!("service {}", ask.service));
    let accepted = shared.deployer.order_deployment(ask.clone(), delivered.caller(), Some(delivery)).await?;
    view.location = Some(format!("/api/v1/deployments/{}", accepted.id));
    view.deployment = Some(accepted.id);
    Ok(())
}

/// Begins a reload, which may take longer than a forge waits for an answer. Servers on one database each have a checkout of their own.
async fn begin_reload(delivered: &Delivered, dataset: &DatasetName, ask: reload::Ask, shared: &web::Data<Shared>) -> Result<(), ApiError> {
    let delivery = delivered.to(&format!("dataset {dataset} {}", shared.deployer.executor()));
    if shared.store.remember(&delivery).await? != Came::First {
        return Ok(());
    }
    let shared = shared.clone();
    let caller = delivered.caller().to_string();
    let dataset = dataset.clone();
    tokio::spawn(async move {
        let commit = ask.commit.as_ref().map(CommitName::to_string);
        let failed = match carry_out(&shared, &caller, &dataset, &ask).await {
            Ok(reply) if reply.is_ok() => return,
            Ok(reply) => reply.view(&dataset).why.unwrap_or_default(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(%dataset, %caller, commit, why = failed, "a reload that a webhook asked for failed");
        // Redelivered, it is tried again.
        if let Err(error) = shared.store.forget(&delivery).await {
            tracing::warn!(%error, "a webhook whose reload failed could not be removed from the record of deliveries");
        }
    });
    Ok(())
}

fn summary(answers: &[RuleAnswer]) -> String {
    let done = answers.iter().filter(|answer| answer.matches && answer.code.is_none());
    let words: Vec<String> = done
        .map(|answer| match (&answer.service, &answer.tag, &answer.dataset) {
            (Some(service), Some(tag), _) => format!("a deployment of {service} with the tag {tag} was ordered"),
            (_, _, Some(dataset)) => format!("a reload of {dataset} has begun"),
            _ => String::new(),
        })
        .collect();
    let text = format!("{}.", words.join(", and "));
    format!("{}{}", text[..1].to_uppercase(), &text[1..])
}
