//! One look at the page and everything that is to be said about it.

use std::cmp::Reverse;
use std::time::Duration;

use crate::config::SmokePlan;
use crate::model::Certificate;
use crate::model::Finding;
use crate::model::Report;

use crate::smoke::Release;
use crate::smoke::assets;
use crate::smoke::browser;
use crate::smoke::certificate;
use crate::smoke::client::Answer;
use crate::smoke::client::Visitor;
use crate::smoke::client::without_credentials;
use crate::smoke::cookies::Cookies;
use crate::smoke::expect;
use crate::smoke::redirect;
use crate::smoke::release;
use crate::smoke::rules;
use crate::smoke::tls::Handshake;

/// What a finding's address asks the server for: without the fragment, which the browser keeps and the static check does not.
fn asked_for(finding: &Finding) -> Option<String> {
    finding.resolved.as_ref().map(|url| url.split('#').next().unwrap_or_default().to_owned())
}

/// What one look saw.
#[derive(Debug, Default)]
pub(super) struct Sample {
    url: String,
    final_url: Option<String>,
    status: Option<u16>,
    certificate: Option<Certificate>,
    assets: u32,
    fetched: u32,
    omitted: u32,
    /// What is not right.
    pub(super) findings: Vec<Finding>,
    /// The keys of certificates that the plan's own roots vouch for, as SHA-256 in base64.
    trusted: Vec<String>,
    /// Whether the page showed the release, so that nothing old can have answered.
    pub(super) proven: bool,
}

impl Sample {
    /// A look that could not begin.
    pub(super) fn failed(plan: &SmokePlan, finding: Finding) -> Self {
        Self { url: without_credentials(&plan.url).to_string(), findings: vec![finding], ..Self::default() }
    }

    /// Looks once.
    pub(super) async fn take(visitor: &Visitor, plan: &SmokePlan, release: Option<&Release>) -> Self {
        let mut sample = Self { url: without_credentials(&plan.url).to_string(), ..Self::default() };
        visitor.handshakes.take();
        let walk = redirect::follow(visitor, plan, &plan.url).await;
        sample.note_handshakes(plan, &visitor.handshakes.take(), walk.finding);
        if let Some(answer) = walk.answer {
            sample.note_answer(visitor, plan, release, answer, walk.cookies).await;
        }
        sample.findings.sort_by_key(|finding| Reverse(finding.severity));
        sample
    }

    /// Lets a browser look too, where the plan asks for it and there is a page to look at. What both saw is listed once.
    pub(super) async fn render(&mut self, plan: &SmokePlan, progress: &mut (dyn FnMut(String) + Send)) {
        let Some(browser) = plan.browser.as_ref().filter(|_| self.status.is_some_and(|status| plan.status.contains(&status))) else {
            return;
        };
        progress("Chromium looks at the page.".to_owned());
        let rendered = browser::look(plan, browser, &self.trusted).await;
        let known: Vec<String> = self.findings.iter().filter_map(asked_for).collect();
        self.findings.extend(rendered.findings.into_iter().filter(|new| asked_for(new).is_none_or(|url| !known.contains(&url))));
        self.findings.sort_by_key(|finding| Reverse(finding.severity));
    }

    /// Whether the other look saw the same faults.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        self.findings.len() == other.findings.len() && self.findings.iter().zip(&other.findings).all(|(a, b)| a.same_fault(b))
    }

    /// The report, when this look is the one that stands.
    pub(super) fn into_report(self, attempts: u32, took: Duration) -> Report {
        Report {
            url: self.url,
            final_url: self.final_url,
            status: self.status,
            attempts,
            duration_ms: took.as_millis() as u64,
            certificate: self.certificate,
            assets: self.assets,
            fetched: self.fetched,
            release: None,
            since: None,
            findings: self.findings,
            omitted: self.omitted,
        }
    }

    /// A certificate that was refused explains a request that failed better than the transport's error does.
    fn note_handshakes(&mut self, plan: &SmokePlan, handshakes: &[Handshake], fault: Option<Finding>) {
        self.certificate = handshakes.last().map(certificate::describe);
        if plan.ca_file.is_some() {
            self.trusted = handshakes.iter().filter(|handshake| handshake.verdict.is_ok()).filter_map(certificate::key_hash).collect();
        }
        let judged = handshakes.iter().filter_map(|handshake| certificate::judge(handshake, plan.certificate_days));
        for finding in judged {
            if !self.findings.contains(&finding) {
                self.findings.push(finding);
            }
        }
        let refused = handshakes.last().is_some_and(|handshake| handshake.verdict.is_err());
        self.findings.extend(fault.filter(|_| !refused));
    }

    async fn note_answer(&mut self, visitor: &Visitor, plan: &SmokePlan, release: Option<&Release>, answer: Answer, cookies: Cookies) {
        let last = without_credentials(&answer.url);
        self.final_url = (last != without_credentials(&plan.url)).then(|| last.to_string());
        self.status = Some(answer.status);
        if !self.findings.iter().all(|finding| finding.rule == rules::certificate_days::RULE.name) {
            // A redirect that is wrong explains the status and the body of its answer.
            return;
        }
        let text = answer.text();
        self.findings.extend(expect::findings(plan, &answer, text.as_deref()));
        if let (Some(proof), Some(release)) = (&plan.release, release) {
            let wrong = release::prove(visitor, plan, proof, release, &answer).await;
            self.proven = wrong.is_none();
            self.findings.extend(wrong);
        }
        if plan.assets && plan.status.contains(&answer.status) {
            let seen = assets::look(visitor, plan, answer, text, cookies).await;
            self.assets = seen.assets;
            self.fetched = seen.fetched;
            self.omitted = seen.omitted;
            self.findings.extend(seen.findings);
        }
    }
}
