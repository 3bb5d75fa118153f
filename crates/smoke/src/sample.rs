//! One attempt: a look at the page and everything that was found.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::HeaderName;
use sha2::Digest as _;
use sha2::Sha256;

use crate::assets;
use crate::assets::Seen;
use crate::browser;
use crate::catalogue;
use crate::certificate;
use crate::client::Answer;
use crate::client::Visitor;
use crate::expect;
use crate::families;
use crate::plan::Release;
use crate::plan::SmokePlan;
use crate::redirect;
use crate::redirect::Walk;
use crate::release;
use crate::report::Certificate;
use crate::report::Finding;
use crate::report::Report;
use crate::report::Severity;
use crate::rules;
use crate::tls::Handshake;
use crate::written::without_credentials;

/// What a finding's address asks the server for: without the fragment, which the browser keeps and the static check does not.
fn asked_for(finding: &Finding) -> Option<String> {
    finding.resolved.as_ref().map(|url| url.split('#').next().unwrap_or_default().to_owned())
}

/// What one look saw.
#[derive(Debug, Default)]
pub(super) struct Sample {
    url: String,
    final_url: Option<String>,
    /// The status of the last answer.
    pub(super) status: Option<u16>,
    latency_ms: Option<u64>,
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
    /// Whether there was an answer to judge; else what is found says why there was none.
    judged: bool,
    /// The hosts that answered on the way to the page, and where.
    met: Vec<(String, IpAddr)>,
    /// The page that was taken apart, as a hash, and what was seen in it, for further answers of the same look.
    taken_apart: Option<([u8; 32], Seen)>,
}

impl Sample {
    /// An attempt that could not start.
    pub(super) fn failed(plan: &SmokePlan, finding: Finding) -> Self {
        Self { url: without_credentials(&plan.url).to_string(), findings: vec![finding], ..Self::default() }
    }

    /// Asks once. A page that is the same as one of `earlier` is not taken apart again.
    pub(super) async fn take(visitor: &Visitor, plan: &SmokePlan, release: Option<&Release>, earlier: &[Self]) -> Self {
        let mut sample = Self { url: without_credentials(&plan.url).to_string(), ..Self::default() };
        visitor.handshakes.take();
        let mut walk = redirect::follow(visitor, plan, &plan.url).await;
        sample.note_handshakes(plan, &visitor.handshakes.take(), walk.finding.take());
        sample.met.clone_from(&walk.met);
        if let Some(answer) = walk.answer.take() {
            sample.note_answer(visitor, plan, release, (answer, walk), earlier).await;
        }
        sample.settle(plan);
        sample
    }

    /// Makes the findings as bad as the service takes them to be. What kept the page from being seen stays as it is where
    /// nothing else fails, or a page that nobody saw would pass.
    fn settle(&mut self, plan: &SmokePlan) {
        let settled = rules::settle(self.findings.clone(), &plan.rules);
        if self.judged || settled.iter().any(|finding| finding.severity == Severity::Error) {
            self.findings = settled;
        }
        self.findings.sort_by_key(|finding| Reverse(finding.severity));
    }

    /// Takes in another answer of the same look; its findings are the caller's.
    pub(super) fn take_in(&mut self, other: Self) {
        self.assets = self.assets.max(other.assets);
        self.fetched = self.fetched.max(other.fetched);
        self.omitted = self.omitted.max(other.omitted);
        self.proven &= other.proven;
        let ours = self.certificate.take();
        let theirs = other.certificate;
        self.certificate = ours.into_iter().chain(theirs).min_by_key(|certificate| certificate.days_left);
        self.met.extend(other.met);
        self.trusted.extend(other.trusted);
        self.trusted.sort_unstable();
        self.trusted.dedup();
    }

    /// Tries IPv4 and IPv6, where there was an answer by one of them.
    pub(super) async fn try_families(&mut self, plan: &SmokePlan) {
        if self.status.is_none() || rules::is_off(catalogue::ADDRESS_FAMILY.name, &plan.rules) {
            return;
        }
        let lost = families::compare(plan).await.and_then(|lost| rules::settled(lost, &plan.rules));
        self.findings.extend(lost);
        self.findings.sort_by_key(|finding| Reverse(finding.severity));
    }

    /// Lets a browser look too, where the plan asks for it and there is a page to look at. What both saw is listed once.
    pub(super) async fn render(&mut self, plan: &SmokePlan, progress: &mut (dyn FnMut(String) + Send)) {
        let Some(browser) = plan.browser.as_ref().filter(|_| self.status.is_some_and(|status| plan.status.contains(&status))) else {
            return;
        };
        progress("Chromium is checking the page.".to_owned());
        let rendered = rules::settle(browser::render(plan, browser, &self.trusted, &self.met).await.findings, &plan.rules);
        let known: Vec<String> = self.findings.iter().filter_map(asked_for).collect();
        self.findings.extend(rendered.into_iter().filter(|new| asked_for(new).is_none_or(|url| !known.contains(&url))));
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
            latency_ms: self.latency_ms,
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

    async fn note_answer(
        &mut self,
        visitor: &Visitor,
        plan: &SmokePlan,
        release: Option<&Release>,
        (answer, walk): (Answer, Walk),
        earlier: &[Self],
    ) {
        let last = without_credentials(&answer.url);
        self.final_url = (last != without_credentials(&plan.url)).then(|| last.to_string());
        self.status = Some(answer.status);
        self.latency_ms = Some(answer.head_after.as_millis() as u64);
        if !self.findings.iter().all(|finding| finding.rule == catalogue::CERTIFICATE_DAYS.name) {
            // A redirect that is wrong explains the status and the body of its answer.
            return;
        }
        self.judged = !answer.is_broken();
        self.findings.extend(expect::findings(plan, &answer, answer.text().as_deref()));
        if let (Some(proof), Some(release)) = (&plan.release, release) {
            let wrong = release::prove(visitor, plan, proof, release, &answer).await;
            self.proven = wrong.is_none();
            self.findings.extend(wrong);
        }
        if plan.assets && plan.status.contains(&answer.status) {
            let page = (plan.samples > 1).then(|| hash(&answer));
            let same = earlier.iter().filter_map(|other| other.taken_apart.as_ref()).find(|(other, _)| Some(*other) == page);
            let seen = if let Some((_, seen)) = same {
                seen.clone()
            } else {
                let last = earlier.iter().rev().find_map(|other| other.taken_apart.as_ref()).map(|(_, seen)| seen);
                // The story of a whole round is large, and most of the time it is not told.
                Box::pin(assets::judge_all(visitor, plan, answer, walk.cookies, last)).await
            };
            self.assets = seen.assets;
            self.fetched = seen.fetched;
            self.omitted = seen.omitted;
            self.findings.extend(seen.findings.iter().cloned());
            self.taken_apart = page.map(|page| (page, seen));
        }
    }
}

/// The same for two answers when what they ask a browser for is the same.
fn hash(answer: &Answer) -> [u8; 32] {
    const DECIDING: [HeaderName; 4] =
        [reqwest::header::CONTENT_TYPE, reqwest::header::CONTENT_ENCODING, reqwest::header::CONTENT_SECURITY_POLICY, reqwest::header::LINK];
    let mut hash = Sha256::new();
    let mut take = |part: &[u8]| {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    take(answer.url.as_str().as_bytes());
    for name in &DECIDING {
        let values: Vec<_> = answer.headers.get_all(name).iter().collect();
        take(&values.len().to_le_bytes());
        for value in values {
            take(value.as_bytes());
        }
    }
    take(&answer.body);
    hash.finalize().into()
}
