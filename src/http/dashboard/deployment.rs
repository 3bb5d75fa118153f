//! `/deployments/{id}`: what became of one order.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web;
use askama::Template;
use smoke::Finding;
use smoke::Report;
use smoke::Severity;

use crate::api;
use crate::http::Shared;
use crate::http::auth::Page;
use crate::http::auth::PageError;
use crate::http::auth::Viewer;
use crate::http::dashboard::Log;
use crate::http::dashboard::asks::SeeDeployment;
use crate::http::dashboard::changed;
use crate::http::dashboard::hosts;
use crate::http::dashboard::hosts::Host;
use crate::http::dashboard::link;
use crate::http::dashboard::page::Frame;
use crate::http::dashboard::page::Place;
use crate::http::dashboard::page::answer;
use crate::http::dashboard::steps;
use crate::http::dashboard::steps::Drawn;
use crate::http::dashboard::words;
use crate::http::dashboard::words::Moment;
use crate::http::dashboard::words::Pill;
use crate::http::dashboard::words::Tone;
use crate::http::dashboard::words::many;
use crate::http::dashboard::words::span;
use crate::model::OrderKind;
use crate::model::Scope;
use crate::model::ServiceName;
use crate::model::State;
use crate::model::Verb;
use crate::model::WaitsFor;
use crate::store::Deployment as Stored;

/// How many findings of a report are shown.
const MOST_FINDINGS: usize = 40;

#[derive(Template)]
#[template(path = "deployment.html")]
struct Deployment {
    frame: Frame,
    id: String,
    service: ServiceName,
    title: String,
    pill: Pill,
    said: Option<(Tone, String)>,
    next_step: Option<String>,
    acts: Acts,
    facts: Vec<(&'static str, String, Option<String>)>,
    ordered: Moment,
    took: Option<String>,
    images: Vec<String>,
    approval: Option<Approval>,
    hosts: Vec<Host>,
    steps: Vec<Drawn>,
    away: Option<String>,
    reports: Vec<Looked>,
    changed: Vec<changed::Line>,
    changed_from: Option<(String, String)>,
    log: Log,
}

/// What this person may do about it.
#[derive(Default)]
struct Acts {
    cancel: bool,
    retry: bool,
    approve: bool,
}

/// Who approved, and who still can.
struct Approval {
    by: Vec<(String, Moment)>,
    needed: Option<usize>,
    approvers: Vec<String>,
    until: Option<Moment>,
}

/// A report of the page.
struct Looked {
    name: &'static str,
    pill: Pill,
    counted: String,
    status: Option<u16>,
    latency: Option<String>,
    certificate: Option<String>,
    url: String,
    findings: Vec<Found>,
    omitted: usize,
}

/// One finding.
struct Found {
    tone: Tone,
    severity: &'static str,
    rule: String,
    message: String,
    newness: String,
    effect: &'static str,
    fix: String,
    place: Option<String>,
}

pub(in crate::http) async fn show(page: Page<SeeDeployment>, shared: web::Data<Shared>) -> Result<HttpResponse, PageError> {
    let Page { viewer, ask: SeeDeployment(stored) } = page;
    let shown = shared.deployer.view(&stored).await?;
    let spans = shared.dashboard.steps.of(&shared.store, &stored).await?;
    let (changed, changed_from) = configuration(&shared, &stored).await?;
    let is_over = matches!(stored.state, State::Done { .. });
    let next_step = if let State::Done { outcome } = &stored.state { outcome.next_step(&stored.id, &stored.order.service) } else { None };
    let deployment = Deployment {
        frame: Frame { fresh_s: if is_over { 0 } else { 2 }, ..Frame::of(&viewer, Place::Deployments) },
        id: stored.id.to_string(),
        service: stored.order.service.clone(),
        title: title(&shown),
        pill: Pill::of(shown.kind, &shown.state),
        said: outcome_said(&shown),
        next_step,
        acts: acts(&viewer, &stored),
        facts: facts(&shown, &stored),
        ordered: Moment(shown.created_ms),
        took: shown.took_ms.map(span),
        images: shown.images.clone(),
        approval: shown.approval.as_ref().map(approval),
        hosts: hosts::of_deployment(&shown),
        steps: steps::drawn(&spans, &stored.state),
        away: stored.away.map(|away| away.to_string()),
        reports: reports(&stored),
        changed,
        changed_from,
        log: Log::of(&shared.store, &stored).await?,
    };
    Ok(answer(StatusCode::OK, &deployment))
}

fn title(one: &api::Deployment) -> String {
    let tag = words::tag(one);
    match one.kind {
        OrderKind::Deploy => format!("Deploy of {tag}"),
        OrderKind::Rollback => format!("Rollback to {tag}"),
        OrderKind::Adopt => "Adoption of what runs".to_owned(),
        OrderKind::Repair => format!("Repair to {tag}"),
    }
}

/// How it ended, or what it waits for.
fn outcome_said(one: &api::Deployment) -> Option<(Tone, String)> {
    let tone = Pill::of(one.kind, &one.state).tone;
    let text = match &one.state {
        State::Done { .. } => one.summary.clone(),
        State::Waiting { .. } | State::Running { .. } => one.waits_why.clone(),
    };
    text.map(|text| (tone, text))
}

fn acts(viewer: &Viewer, one: &Stored) -> Acts {
    let order = &one.order;
    let verb = if order.kind == OrderKind::Deploy { Verb::Deploy } else { Verb::Rollback };
    let may = viewer.may_on(verb, &order.service) && (!order.force || viewer.may_on(Verb::Rollback, &order.service));
    let is_over = matches!(one.state, State::Done { .. });
    let is_unapproved = matches!(one.state, State::Waiting { waits_for: WaitsFor::Approval });
    Acts {
        cancel: may && !is_over && one.cancel_by.is_none(),
        retry: may && is_over,
        approve: is_unapproved && viewer.may(&Scope::on(Verb::Approve, &order.service)),
    }
}

/// Name, value, and where it leads.
fn facts(one: &api::Deployment, stored: &Stored) -> Vec<(&'static str, String, Option<String>)> {
    let fact = |name: &'static str, value: Option<String>| value.map(|value| (name, value, None));
    let of_deployment = |id: &str| Some(format!("/deployments/{id}"));
    let actor = one.actor.as_ref().map_or_else(|| words::caller(&one.caller), |actor| format!("{actor} ({})", words::caller(&one.caller)));
    let run = one.run_number.map_or_else(|| "workflow run".to_owned(), |number| format!("workflow run {number}"));
    let run = link::of_the_web(one.run_url.as_deref()).map(|url| ("Run", run, Some(url)));
    let cause = one.cause.as_deref().map(|cause| ("Repeats", cause.to_owned(), cause.split(' ').next_back().and_then(of_deployment)));
    let cancelled = stored.cancel_by.as_ref().filter(|_| !matches!(stored.state, State::Done { .. }));
    [
        Some(("Service", one.service.to_string(), Some(format!("/services/{}", one.service)))),
        fact("Ordered by", Some(actor)),
        fact("Reason", one.reason.clone()),
        fact("Commit", one.commit.clone()),
        fact("Ref", one.git_ref.clone()),
        run,
        cause,
        fact("Ran before", one.ran_before.clone()),
        fact("Cancelled by", cancelled.map(ToString::to_string)),
        fact("Forced", stored.order.force.then(|| "yes".to_owned())),
        fact("Dry run", stored.order.dry_run.then(|| "yes: nothing is changed".to_owned())),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn approval(given: &api::Approval) -> Approval {
    Approval {
        by: given.by.iter().map(|one| (one.who.to_string(), Moment(one.at_ms))).collect(),
        needed: given.needed,
        approvers: given.approvers.clone(),
        until: given.until_ms.map(Moment),
    }
}

/// How the page was before and after.
fn reports(stored: &Stored) -> Vec<Looked> {
    let before = stored.baseline.as_ref().map(|report| looked("Before", report, None));
    let after = stored.report.as_ref().map(|report| looked("After", report, stored.baseline.as_ref()));
    after.into_iter().chain(before).collect()
}

fn looked(name: &'static str, report: &Report, before: Option<&Report>) -> Looked {
    let pill = match (report.passed(), report.findings.len()) {
        (true, 0) => Pill::new(Tone::Good, "passed"),
        (true, count) => Pill::new(Tone::Warn, format!("passed, {}", many(count, "finding"))),
        (false, count) => Pill::new(Tone::Bad, many(count, "finding")),
    };
    // What the page had before is no news.
    let is_known = |finding: &Finding| before.is_some_and(|before| before.findings.iter().any(|old| old.same_fault(finding)));
    let mut findings: Vec<&Finding> = report.findings.iter().collect();
    findings.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), is_known(finding)));
    Looked {
        name,
        pill,
        counted: report.counted(),
        status: report.status,
        latency: report.latency_ms.map(|ms| span(i64::try_from(ms).unwrap_or(i64::MAX))),
        certificate: report.certificate.as_ref().map(smoke::Certificate::lasts),
        url: report.final_url.clone().unwrap_or_else(|| report.url.clone()),
        omitted: findings.len().saturating_sub(MOST_FINDINGS) + report.omitted as usize,
        findings: findings.into_iter().take(MOST_FINDINGS).map(|finding| found(report, finding)).collect(),
    }
}

fn found(report: &Report, finding: &Finding) -> Found {
    let tone = match finding.severity {
        Severity::Error => Tone::Bad,
        Severity::Warning => Tone::Warn,
        Severity::Note => Tone::Still,
    };
    let line = finding.line.map_or(String::new(), |line| format!(", line {line}"));
    let place = finding.element.as_ref().map(|element| format!("{element}{line}"));
    Found {
        tone,
        severity: finding.severity.as_str(),
        rule: finding.rule.clone(),
        message: finding.message.clone(),
        newness: report.newness(finding),
        effect: finding.effect.in_words(),
        fix: finding.fix.clone(),
        place: place.or_else(|| finding.resolved.clone()),
    }
}

/// What differs from the release before: the lines, and which release that is.
type Changed = (Vec<changed::Line>, Option<(String, String)>);

async fn configuration(shared: &Shared, stored: &Stored) -> Result<Changed, PageError> {
    let Some(after) = &stored.resolved else { return Ok((Vec::new(), None)) };
    let Some(before) = shared.store.verified_before(&stored.order.service, &stored.id).await? else { return Ok((Vec::new(), None)) };
    let Some(text) = &before.resolved else { return Ok((Vec::new(), None)) };
    let tag = before.order.tag.as_ref().or(before.images.first().and_then(|image| image.tag.as_ref()));
    let tag = tag.map_or_else(|| before.id.to_string(), ToString::to_string);
    Ok((changed::lines(&pretty(text), &pretty(after)), Some((before.id.to_string(), tag))))
}

/// A configuration that is stored as one line of JSON is compared by its fields.
fn pretty(text: &str) -> String {
    let value = serde_json::from_str::<serde_json::Value>(text).ok();
    value.and_then(|value| serde_json::to_string_pretty(&value).ok()).unwrap_or_else(|| text.to_owned())
}
